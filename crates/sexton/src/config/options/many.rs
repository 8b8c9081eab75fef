//! The options of `up`, `watch` and `automaton`.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;

use super::single::DEFAULT_WAIT;
use super::values::{parse_log_format, parse_mode, parse_pid};
use super::{ListenOptions, LogOptions, Personality, Resolver, UsageError, default_control};
use crate::config::up::{CliOverrides, Source};
use crate::config::{Automaton, ControlPath, Up};
use spec::watch::{ProcessSelector, Watch};

/// The default configuration file of `up`.
pub const DEFAULT_FILE: &str = "sexton.yaml";

/// Options of `up`.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of up")]
pub struct UpOptions {
    /// Configuration file [default: sexton.yaml]
    #[arg(value_name = "FILE", help_heading = None)]
    pub file: Option<String>,
    /// Path of the control socket, or 'none' [default: /run/sexton.sock; if not root, sexton.sock in $XDG_RUNTIME_DIR or $HOME]
    #[arg(long, value_name = "PATH")]
    pub control: Option<String>,
    /// File that exists while all processes are healthy
    #[arg(long, value_name = "FILE")]
    pub readiness_file: Option<String>,
    /// Keep the readiness file when a process becomes unhealthy; it is still removed at shutdown [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub readiness_file_sticky: Option<String>,
    /// Process whose exit shuts everything down, and whose exit code becomes that of sexton
    #[arg(long, value_name = "NAME")]
    pub exit_from: Option<String>,
    /// Time limit of the shutdown of all processes [default: terminationGracePeriodSeconds of the file, minus 10% of it or 1s, whichever is less]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub shutdown_deadline: Option<String>,
    /// process-wrapper's `-skip-commands`.
    #[arg(skip)]
    pub skip: Vec<String>,
    /// process-wrapper's `-shared-lock-url`.
    #[arg(skip)]
    pub lock_url: Option<String>,
    /// process-wrapper's `-shared-lock`: the arguments of `lock serve`.
    #[arg(skip)]
    pub lock_server: Option<Vec<String>>,
}

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

/// Options of `automaton`.
#[derive(Debug, Clone, Default, Args)]
pub struct AutomatonOptions {
    /// File with the states, or a file for `up` with a section 'automaton'
    #[arg(required = true)]
    pub file: Option<String>,
    /// Control socket path [default: the file's, else /var/run/automaton.sock]
    #[arg(short, long, value_name = "PATH")]
    pub socket: Option<String>,
    /// Socket file mode, in octal [default: the file's, else 600]
    #[arg(long, value_name = "OCTAL")]
    pub socket_mode: Option<String>,
    /// Log file, rotated at 64 KiB (three old files are kept) [default: standard error]
    #[arg(short, long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Log the output of the scripts
    #[arg(short, long)]
    pub debug: bool,
    /// Check the file and exit
    #[arg(long, conflicts_with_all = ["dot"])]
    pub check: bool,
    /// Print the state machine as a Graphviz graph and exit
    #[arg(long)]
    pub dot: bool,
    /// Path of the section in the file, with / between keys
    #[arg(long, hide = true)]
    pub section: Option<String>,
    #[command(flatten)]
    pub listen: ListenOptions,
    #[command(flatten)]
    pub logging: LogOptions,
}

impl Resolver<'_> {
    pub(super) fn up(&self, options: UpOptions) -> Result<Up, UsageError> {
        let file = self.given(options.file, "FILE", "CONFIG")?;
        let inline =
            self.environment.get("CONFIG").filter(|_| self.personality == Personality::ProcessWrapper);
        let source = match (file, inline) {
            (Some(file), _) => Source::File(PathBuf::from(file.text)),
            (None, Some(text)) => Source::Variable(text),
            // Only a lock server.
            (None, None) if options.lock_server.is_some() => Source::Variable("[]".into()),
            (None, None) => Source::File(PathBuf::from(DEFAULT_FILE)),
        };
        let log_format = self.environment.get("LOG_FORMAT").map(|word| word.to_string_lossy().into_owned());
        let log_format = log_format.map(|word| parse_log_format(&word)).transpose();
        let control = match self.given(options.control, "--control", "CONTROL")? {
            Some(given) if given.text == "none" => None,
            Some(given) => Some(ControlPath { path: PathBuf::from(given.text), asked_for: true }),
            None if self.personality == Personality::ProcessWrapper => None,
            None => Some(ControlPath { path: default_control(self.environment), asked_for: false }),
        };
        let beside = CliOverrides {
            log_format: log_format.map_err(UsageError)?,
            terminal: std::io::stdout().is_terminal(),
            skip: options.skip,
            readiness_file: self
                .text(options.readiness_file, "--readiness-file", "READINESS_FILE")?
                .map(PathBuf::from),
            readiness_file_sticky: self.switch(
                options.readiness_file_sticky,
                "--readiness-file-sticky",
                "READINESS_FILE_STICKY",
            )?,
            deadline: self.duration(options.shutdown_deadline, "--shutdown-deadline", "SHUTDOWN_DEADLINE")?,
            exit_from: self.text(options.exit_from, "--exit-from", "EXIT_FROM")?,
            lock_url: self.text(options.lock_url, "-shared-lock-url", "LOCK_URL")?,
            lock_server: options.lock_server,
            control: control.as_ref().map(|control| control.path.clone()),
        };
        Ok(Up { source, beside, control })
    }

    pub(super) fn automaton(&self, options: AutomatonOptions) -> Result<Automaton, UsageError> {
        let socket = self.text(options.socket, "--socket", "AUTOMATON_SOCKET")?;
        let mode = self.given(options.socket_mode, "--socket-mode", "AUTOMATON_SOCKET_MODE")?;
        Ok(Automaton {
            file: options.file.unwrap_or_default().into(),
            section: options.section,
            socket: socket.map(PathBuf::from),
            socket_mode: mode.map(|given| given.parse(parse_mode)).transpose()?,
            debug: options.debug,
        })
    }

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
