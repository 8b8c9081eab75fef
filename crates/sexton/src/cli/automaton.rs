//! The command line of `automaton`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use config::options::{AutomatonOptions, CommonOptions, ModeOptions};

/// The executable name of this personality.
pub const NAME: &str = "automaton";
/// The default log file.
const LOG_FILE: &str = "automaton.log";

/// Run shell scripts by a state machine that is driven over a unix socket (sexton as a replacement of automaton)
#[derive(Debug, Parser)]
#[command(name = NAME, version, max_term_width = 100)]
struct Old {
    /// File with the states
    file: String,
    /// Control socket path [default: /var/run/automaton.sock]
    #[arg(short, value_name = "SOCKET")]
    socket: Option<String>,
    /// Log file, rotated at 64 KiB (three old files are kept)
    #[arg(short, value_name = "LOGFILE", default_value = LOG_FILE)]
    log: PathBuf,
    /// Log the output of the scripts
    #[arg(short)]
    debug: bool,
}

/// Parses the command line of automaton: the options, and the log file.
pub fn parse(arguments: Vec<OsString>) -> Result<(CommonOptions, ModeOptions, PathBuf), clap::Error> {
    let matches = Old::command().try_get_matches_from(arguments)?;
    let Old { file, socket, log, debug } = Old::from_arg_matches(&matches)?;
    // It has no HTTP server.
    let options = AutomatonOptions { file: Some(file), socket, debug, ..AutomatonOptions::default() };
    Ok((CommonOptions::without_server(), ModeOptions::Automaton(options), log))
}
