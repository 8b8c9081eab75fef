//! The options of `automaton`.

use std::path::PathBuf;

use clap::Args;

use super::values::parse_mode;
use super::{ListenOptions, LogOptions, Resolver, UsageError};
use crate::Automaton;

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
}
