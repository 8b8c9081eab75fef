//! `sexton automaton ctl`: requests to a running automaton.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use thiserror::Error;

use config::automaton::DEFAULT_SOCKET;
use spec::text::describe;

/// One request to an automaton.
#[derive(Debug)]
pub struct CtlRequest {
    socket: PathBuf,
    arguments: Vec<OsString>,
}

/// Why a request failed.
#[derive(Debug, Error)]
pub enum CtlError {
    #[error("cannot connect to the automaton at {socket}: {why}")]
    Unreachable { socket: String, why: String },
    #[error("a request cannot contain a line break")]
    LineBreak,
    #[error("the automaton at {socket} closed the connection without a response")]
    NoResponse { socket: String },
    /// The response `KO`, which holds the reason.
    #[error("{0}")]
    Refused(String),
}

impl CtlError {
    /// 1 as usual for a refused request; `EX_UNAVAILABLE` and `EX_USAGE` of sysexits.h.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } | Self::NoResponse { .. } => 69,
            Self::LineBreak => 64,
            Self::Refused(_) => 1,
        }
    }
}

impl CtlRequest {
    /// A request over this socket, or the default one.
    #[must_use]
    pub fn new(socket: Option<PathBuf>, arguments: Vec<OsString>) -> Self {
        Self { socket: socket.unwrap_or_else(|| DEFAULT_SOCKET.into()), arguments }
    }
}

/// Sends a request, and prints the response as it arrives.
pub fn run(request: &CtlRequest) -> Result<(), CtlError> {
    let socket = || request.socket.display().to_string();
    let unreachable =
        |error: std::io::Error| CtlError::Unreachable { socket: socket(), why: describe(&error) };
    let arguments: Vec<_> = request.arguments.iter().map(|word| word.as_encoded_bytes()).collect();
    let mut line = arguments.join(&b' ');
    if line.contains(&b'\n') {
        return Err(CtlError::LineBreak);
    }
    line.push(b'\n');
    let mut stream = UnixStream::connect(&request.socket).map_err(unreachable)?;
    stream.write_all(&line).and_then(|()| stream.shutdown(Shutdown::Write)).map_err(unreachable)?;
    let mut first = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).map_err(unreachable)?;
        if length == 0 {
            break;
        }
        if first.len() < 64 {
            first.extend_from_slice(&buffer[..length.min(64)]);
        }
        if !is_ko(&first) {
            let out = std::io::stdout();
            // The reader may have closed the pipe (`| head`).
            if out.lock().write_all(&buffer[..length]).and_then(|()| out.lock().flush()).is_err() {
                break;
            }
        }
    }
    if first.is_empty() && request.arguments.first().is_none_or(|word| word != "WATCH") {
        return Err(CtlError::NoResponse { socket: socket() });
    }
    if is_ko(&first) {
        return Err(CtlError::Refused(String::from_utf8_lossy(&first).trim_end().to_owned()));
    }
    Ok(())
}

/// A state may be named KOALA.
fn is_ko(first: &[u8]) -> bool {
    first == b"KO" || first.starts_with(b"KO\n") || first.starts_with(b"KO ")
}
