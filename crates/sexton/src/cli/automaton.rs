//! The command line of `automaton`, and what clients of a running one say.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use thiserror::Error;

use crate::config::automaton::DEFAULT_SOCKET;
use crate::config::resolve::{RawAutomaton, RawMode, RawOptions};
use spec::text::describe;

/// The name by which this personality is called.
pub const NAME: &str = "automaton";
/// Its log file.
const LOG_FILE: &str = "automaton.log";

/// A state machine of shell scripts, driven over a unix socket (sexton, standing in for automaton).
#[derive(Debug, Parser)]
#[command(name = NAME, version, max_term_width = 100)]
struct Old {
    /// The file with the states
    file: String,
    /// Where it is asked [default: /var/run/automaton.sock]
    #[arg(short, value_name = "SOCKET")]
    socket: Option<String>,
    /// The log file; it is put aside when it has 64 KiB, and three of those are kept
    #[arg(short, value_name = "LOGFILE", default_value = LOG_FILE)]
    log: PathBuf,
    /// Log what the scripts print
    #[arg(short)]
    debug: bool,
}

/// Reads automaton's command line: what to do, and where to log.
pub fn parse(words: Vec<OsString>) -> Result<(RawOptions, RawMode, PathBuf), clap::Error> {
    let matches = Old::command().try_get_matches_from(words)?;
    let Old { file, socket, log, debug } = Old::from_arg_matches(&matches)?;
    // It answers nobody but on its socket.
    let options = RawOptions { port: Some("none".to_owned()), ..RawOptions::default() };
    let raw = RawAutomaton { file, section: None, socket, socket_mode: None, debug };
    Ok((options, RawMode::Automaton(raw), log))
}

/// What somebody says to a running automaton.
#[derive(Debug)]
pub struct Say {
    /// Where.
    pub socket: PathBuf,
    /// What.
    pub words: Vec<OsString>,
}

/// Why that came to nothing.
#[derive(Debug, Error)]
pub enum SayError {
    /// Nobody is there.
    #[error("cannot ask the automaton at {socket}: {why}")]
    Nobody {
        /// Where.
        socket: String,
        /// What the system says.
        why: String,
    },
    /// It cannot be said.
    #[error("a line cannot hold a line end")]
    LineEnd,
    /// It has ended before it could answer.
    #[error("the automaton at {socket} has hung up without an answer")]
    Silent {
        /// Where.
        socket: String,
    },
    /// It says no.
    #[error("{0}")]
    Ko(String),
}

impl SayError {
    /// 1 as usual for what was refused; `EX_UNAVAILABLE` and `EX_USAGE` of sysexits.h.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Nobody { .. } | Self::Silent { .. } => 69,
            Self::LineEnd => 64,
            Self::Ko(_) => 1,
        }
    }
}

/// Says it, and prints what is answered as it comes.
pub fn say(say: &Say) -> Result<(), SayError> {
    let nobody = |error: std::io::Error| SayError::Nobody {
        socket: say.socket.display().to_string(),
        why: describe(&error),
    };
    let words: Vec<_> = say.words.iter().map(|word| word.as_encoded_bytes()).collect();
    let mut line = words.join(&b' ');
    if line.contains(&b'\n') {
        return Err(SayError::LineEnd);
    }
    line.push(b'\n');
    let mut stream = UnixStream::connect(&say.socket).map_err(nobody)?;
    stream.write_all(&line).and_then(|()| stream.shutdown(Shutdown::Write)).map_err(nobody)?;
    let mut first = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).map_err(nobody)?;
        if length == 0 {
            break;
        }
        if first.len() < 64 {
            first.extend_from_slice(&buffer[..length.min(64)]);
        }
        if !is_ko(&first) {
            // Whoever does not want to read on (`| head`) makes no error of it.
            let out = std::io::stdout();
            if out.lock().write_all(&buffer[..length]).and_then(|()| out.lock().flush()).is_err() {
                break;
            }
        }
    }
    if first.is_empty() && say.words.first().is_none_or(|word| word != "WATCH") {
        return Err(SayError::Silent { socket: say.socket.display().to_string() });
    }
    if is_ko(&first) {
        return Err(SayError::Ko(String::from_utf8_lossy(&first).trim_end().to_owned()));
    }
    Ok(())
}

/// A state may be called KOALA.
fn is_ko(first: &[u8]) -> bool {
    first == b"KO" || first.starts_with(b"KO\n") || first.starts_with(b"KO ")
}

/// Where an automaton is asked, unless somebody says otherwise.
#[must_use]
pub fn socket(given: Option<PathBuf>) -> PathBuf {
    given.unwrap_or_else(|| DEFAULT_SOCKET.into())
}
