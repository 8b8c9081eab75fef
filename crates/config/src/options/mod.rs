//! Options → [`Settings`].
//!
//! Each option is declared once, as a field of a struct with its clap attributes; the section `ensemble` of a file has its
//! keys in [`section`]. The value is the first of these: the command line, `SEXTON_…`, `KAPO_…`, the default. (The
//! personality `kapo` reads `KAPO_…` only.)

mod automaton;
mod common;
mod ensemble;
mod identity;
mod locks;
mod pod;
mod section;
mod single;
#[cfg(test)]
mod tests;
mod up;
mod values;
mod watch;

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

pub use automaton::AutomatonOptions;
pub use common::{CommonOptions, DEFAULT_PORT, ListenOptions, LogOptions};
pub use ensemble::{EnsembleOptions, EnsembleRole, ResolvedEnsemble, tls_files};
pub use identity::{IdentityOptions, sources};
pub use locks::{LockOptions, StoreOptions};
pub use pod::PodOptions;
pub use single::{HoldOptions, ProcessOptions, RestartOptions, RunOptions, SuperviseOptions};
pub use up::{DEFAULT_FILE, UpOptions};
pub(crate) use values::{parse_mode, parse_stop_signal};
pub use watch::WatchOptions;

use spec::duration::parse as parse_duration;
use spec::environment::Environment;
use spec::listen::HttpCompat;

use super::{Mode, Settings};
use values::parse_switch;

/// The command line that is emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personality {
    Sexton,
    /// An older tool that adds a status socket to a command.
    Kapo,
    /// An older tool that runs many processes.
    ProcessWrapper,
    /// An older tool that records start and exit of containers in tombstones.
    Kubexit,
    /// An older tool that runs scripts by a state machine.
    Automaton,
    /// An older tool that keeps an ensemble.
    Kontrol,
}

impl Personality {
    const fn variable_prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Sexton => &["SEXTON_", "KAPO_"],
            Self::Kapo => &["KAPO_"],
            // Their variables have no prefix; the parsers of their command lines read them.
            Self::ProcessWrapper | Self::Automaton | Self::Kontrol => &[],
            Self::Kubexit => &["KUBEXIT_"],
        }
    }
}

/// The variables of kubexit, without its prefix.
const KUBEXIT_VARIABLES: [&str; 8] = [
    "NAME",
    "GRAVEYARD",
    "DEATH_DEPS",
    "GRACE_PERIOD",
    "BIRTH_DEPS",
    "BIRTH_TIMEOUT",
    "POD_NAME",
    "NAMESPACE",
];

/// A command and its options, as they were written.
#[derive(Debug, Clone)]
pub enum ModeOptions {
    Run(Box<RunOptions>),
    Supervise(Box<SuperviseOptions>),
    /// `lock hold`
    Hold(Box<HoldOptions>),
    Watch(WatchOptions),
    Up(UpOptions),
    Automaton(AutomatonOptions),
    /// `lock serve`
    LockServer(StoreOptions),
    Ensemble(Box<EnsembleOptions>),
}

/// The default path of the control socket.
#[must_use]
pub fn default_control(environment: &dyn Environment) -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/run/sexton.sock");
    }
    // A directory in which no other user can create files.
    let own = environment.get("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = own.or_else(|| environment.get("HOME").map(PathBuf::from));
    own.unwrap_or_else(|| PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw())))
        .join("sexton.sock")
}

/// An invalid option: where the value came from, the value, what was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// The value of an option and its origin.
struct OptionValue {
    /// The option or the variable.
    origin: String,
    text: String,
    /// It is from the command line.
    typed: bool,
}

impl OptionValue {
    fn parse<T, E: Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, UsageError> {
        parse(&self.text).map_err(|error| UsageError(format!("{} '{}': {error}", self.origin, self.text)))
    }
}

struct Resolver<'a> {
    personality: Personality,
    environment: &'a dyn Environment,
    /// Standard input is a terminal and sexton is its foreground job.
    terminal: bool,
}

/// Resolves the options of a command. `terminal` says whether the process will have a terminal.
pub fn resolve(
    personality: Personality,
    common: &CommonOptions,
    mode: ModeOptions,
    environment: &dyn Environment,
    terminal: bool,
) -> Result<Settings, UsageError> {
    let resolver = Resolver { personality, environment, terminal };
    let answers = resolver.http_compat(common.status_format.clone())?;
    let journal = resolver.text(common.debug_journal.clone(), "--debug-journal", "DEBUG_JOURNAL")?;
    let port = match mode {
        ModeOptions::LockServer(_) => spec::lock::DEFAULT_PORT,
        ModeOptions::Ensemble(_) => spec::ensemble::DEFAULT_PORT,
        _ => DEFAULT_PORT,
    };
    let listen = resolver.listen(common, port)?;
    let mode = match mode {
        ModeOptions::Run(run) => Mode::Own(Box::new(resolver.run(common, *run, None)?)),
        ModeOptions::Hold(hold) => Mode::Own(Box::new(resolver.hold(common, *hold)?)),
        ModeOptions::Supervise(supervise) => Mode::Own(Box::new(resolver.supervise(common, *supervise)?)),
        ModeOptions::Watch(watch) => Mode::Watch(resolver.watch(watch)?),
        ModeOptions::Up(up) => Mode::Up(Box::new(resolver.up(common, up)?)),
        ModeOptions::Automaton(automaton) => Mode::Automaton(resolver.automaton(automaton)?),
        ModeOptions::LockServer(store) => Mode::LockServer(resolver.lock_server(store)?),
        ModeOptions::Ensemble(ensemble) => Mode::Ensemble(Box::new(resolver.ensemble(*ensemble)?)),
    };
    let answers = HttpCompat { many: matches!(mode, Mode::Up(_)), ..answers };
    Ok(Settings { listen, answers, mode, journal: journal.map(PathBuf::from) })
}

impl Resolver<'_> {
    fn given(
        &self,
        flag: Option<String>,
        option: &str,
        variable: &str,
    ) -> Result<Option<OptionValue>, UsageError> {
        if let Some(text) = flag {
            return Ok(Some(OptionValue { origin: option.to_owned(), text, typed: true }));
        }
        for prefix in self.personality.variable_prefixes() {
            // kubexit has these and no others.
            if self.personality == Personality::Kubexit && !KUBEXIT_VARIABLES.contains(&variable) {
                continue;
            }
            let origin = format!("{prefix}{variable}");
            if let Some(value) = self.environment.get(&origin) {
                let text = value.into_string();
                let text = text.map_err(|value| UsageError(format!("{origin} {value:?}: not UTF-8")))?;
                return Ok(Some(OptionValue { origin, text, typed: false }));
            }
        }
        Ok(None)
    }

    fn text(&self, flag: Option<String>, option: &str, variable: &str) -> Result<Option<String>, UsageError> {
        Ok(self.given(flag, option, variable)?.map(|given| given.text))
    }

    fn switch(&self, flag: Option<String>, option: &str, variable: &str) -> Result<Option<bool>, UsageError> {
        self.given(flag, option, variable)?.map(|given| given.parse(parse_switch)).transpose()
    }

    fn duration(
        &self,
        flag: Option<String>,
        option: &str,
        variable: &str,
    ) -> Result<Option<Duration>, UsageError> {
        self.given(flag, option, variable)?.map(|given| given.parse(parse_duration)).transpose()
    }
}
