//! The command line: words in, an [`Invocation`] out. No side effects; `--help` is a text to print.

pub mod args;
pub mod install;
pub mod kapo;
pub mod replay;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};

use crate::config::Settings;
use crate::config::environment::Environment;
use crate::config::resolve::{
    Personality, RawMode, RawOptions, RawOwn, RawSupervise, RawWatch, UsageError, resolve,
};
use crate::logging::{self, LogSettings};
use crate::words::base_name;
use args::{Command, Debug, Sexton, Shared};

/// What to do.
#[derive(Debug)]
pub enum Invocation {
    /// Look after processes.
    Live(Box<Settings>),
    /// Print this, on standard output, and be done.
    Print(String),
    /// Make links under the names of the tools that we stand in for.
    Install(PathBuf),
    /// Repeat a journal.
    Replay(PathBuf),
}

/// Reads the command line. The name by which we were called decides whose it is.
pub fn parse(
    words: Vec<OsString>,
    environment: &dyn Environment,
    terminal: bool,
) -> Result<(Invocation, LogSettings), UsageError> {
    let called = words.first().map(|word| base_name(word)).unwrap_or_default();
    if called == kapo::NAME {
        let (options, mode) = match kapo::parse(words) {
            Ok(raw) => raw,
            Err(error) => return printed(&error, kapo::NAME).map(|it| (it, LogSettings::default())),
        };
        let settings = resolve(Personality::Kapo, &options, mode, environment, terminal)?;
        return Ok((Invocation::Live(Box::new(settings)), logging::settings(0, None, environment)?));
    }
    let parsed =
        match Sexton::command().try_get_matches_from(words).and_then(|m| Sexton::from_arg_matches(&m)) {
            Ok(parsed) => parsed,
            Err(error) => return printed(&error, "sexton").map(|it| (it, LogSettings::default())),
        };
    let front = parsed.shared.raw(parsed.port);
    let verbose = parsed.shared.verbose;
    let log_format = parsed.shared.log_format;
    let (behind, mode) = match parsed.command {
        Command::Run { wait, own, shared, port, words } => {
            (shared.split(port), RawMode::Run(own.raw(wait, words)))
        }
        Command::Supervise { wait, more, own, shared, port, words } => {
            (shared.split(port), RawMode::Supervise(own.raw(wait, words), more.raw()))
        }
        Command::Watch { shared, port, pid, wait, name } => {
            (shared.split(port), RawMode::Watch(RawWatch { name, pid, wait }))
        }
        Command::Install { directory } => {
            return Ok((Invocation::Install(directory), LogSettings::default()));
        }
        Command::Debug { command: Debug::Replay { file } } => {
            return Ok((Invocation::Replay(file), LogSettings::default()));
        }
    };
    let (behind, behind_verbose, behind_format) = behind;
    let log = logging::settings(verbose + behind_verbose, behind_format.or(log_format), environment)?;
    let settings = resolve(Personality::Sexton, &behind.or(front), mode, environment, terminal)?;
    Ok((Invocation::Live(Box::new(settings)), log))
}

impl Shared {
    fn raw(&self, port: Option<String>) -> RawOptions {
        let this = self.clone();
        RawOptions {
            port,
            interface: this.interface,
            sidebind: this.sidebind,
            socket_activation: this.socket_activation,
            stdout: this.stdout,
            stderr: this.stderr,
            stdlog: this.stdlog,
            status_format: this.status_format,
            debug_journal: this.debug_journal,
        }
    }

    fn split(self, port: Option<String>) -> (RawOptions, u8, Option<String>) {
        (self.raw(port), self.verbose, self.log_format)
    }
}

/// Help and version are no errors; everything else becomes one line.
fn printed(error: &clap::Error, program: &str) -> Result<Invocation, UsageError> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Invocation::Print(error.to_string())),
        _ => Err(UsageError(format!("{} (see '{program} --help')", one_line(error)))),
    }
}

fn one_line(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let suggestion = context(ContextKind::SuggestedArg).or_else(|| context(ContextKind::SuggestedSubcommand));
    let hint = suggestion.map(|text| format!(", did you mean '{text}'?")).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => {
            format!("unknown option '{}'{hint}", context(ContextKind::InvalidArg).unwrap_or_default())
        }
        ErrorKind::InvalidSubcommand => {
            format!("unknown command '{}'{hint}", context(ContextKind::InvalidSubcommand).unwrap_or_default())
        }
        ErrorKind::MissingRequiredArgument => {
            format!("missing {}", context(ContextKind::InvalidArg).unwrap_or_default())
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "no command given".to_owned()
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    }
}

/// The whole command line, for manuals and completions.
#[must_use]
pub fn command() -> clap::Command {
    Sexton::command()
}

impl args::OwnOptions {
    fn raw(self, wait: Option<String>, words: Vec<OsString>) -> RawOwn {
        RawOwn {
            name: self.name,
            ttl: self.ttl,
            wait,
            grace_period: self.grace_period,
            stop_signal: self.stop_signal,
            words,
        }
    }
}

impl args::SuperviseOptions {
    fn raw(self) -> RawSupervise {
        RawSupervise {
            backoff: self.backoff,
            backoff_reset: self.backoff_reset,
            max_restarts: self.max_restarts,
            restart_window: self.restart_window,
        }
    }
}
