//! The options of `watch`.

use clap::Args;
use spec::watch::{ProcessSelector, Watch};

use super::single::DEFAULT_WAIT;
use super::values::parse_pid;
use super::{Resolver, UsageError};

/// Options of `watch`.
#[derive(Debug, Clone, Default, Args)]
pub struct WatchOptions {
    /// Watch only the process with this ID
    #[arg(short, long, value_name = "PID", allow_hyphen_values = true)]
    pub pid: Option<String>,
    /// Interval between scans of the process list [default: 5s]
    #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true)]
    pub wait: Option<String>,
    /// Name of the executable
    pub name: Option<String>,
}

impl Resolver<'_> {
    pub(super) fn watch(&self, options: WatchOptions) -> Result<Watch, UsageError> {
        let every = self.duration(options.wait, "--wait", "WAIT")?.unwrap_or(DEFAULT_WAIT);
        if every.is_zero() {
            return Err(UsageError("--wait 0: the interval between scans must be longer than 0".to_owned()));
        }
        let pid = self.given(options.pid, "--pid", "WATCHPID")?;
        let pid = pid.map(|given| given.parse(parse_pid)).transpose()?.flatten();
        let selector = match (options.name, pid) {
            (None, Some(pid)) => ProcessSelector::Numbered(pid),
            (Some(name), None) if !name.is_empty() => ProcessSelector::Named(name),
            (Some(_), Some(_)) => return Err(UsageError("give a name or --pid, not both".to_owned())),
            (Some(_) | None, None) => {
                return Err(UsageError(
                    "nothing to watch: expected a name, as in 'watch puppet', or --pid".to_owned(),
                ));
            }
        };
        Ok(Watch { selector, every })
    }
}
