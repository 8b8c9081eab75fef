//! The options of `up`.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;

use super::common::CommonOptions;
use super::values::parse_log_format;
use super::{Personality, Resolver, UsageError, default_control};
use crate::compile::{CliOverrides, Source};
use crate::{ControlPath, Up};

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
    /// Time limit of the shutdown of all processes [default: terminationGracePeriodSeconds of the file, minus 5s for the reader of the output, or minus half of it if it is shorter than 10s]
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

impl Resolver<'_> {
    pub(super) fn up(&self, common: &CommonOptions, options: UpOptions) -> Result<Up, UsageError> {
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
        let overrides = CliOverrides {
            log_format: log_format.map_err(UsageError)?,
            on_full: self.on_full(common)?,
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
        Ok(Up { source, overrides, control })
    }
}
