//! What processes say about themselves: over a socket as systemd has it (sd_notify(3)), or with a line on a
//! descriptor as s6 has it.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use engine::{RunId, Word};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::config::up::NotifyKind;
use crate::output::pipe;
use crate::process::spawn::Start;
use crate::readable::readable;

/// The longest message that is read.
const LONGEST: usize = 4096;

/// Something that a process has said.
#[derive(Debug)]
pub enum Said {
    /// To the engine.
    Word(RunId, Word),
    /// To people.
    Status(RunId, String),
}

/// Where a process that is about to be started will speak.
#[derive(Debug)]
pub enum Ear {
    /// On a socket of its own; only these users are heard.
    Socket(AsyncFd<OwnedFd>, [u32; 3]),
    /// On a pipe.
    Pipe(AsyncFd<OwnedFd>),
}

/// Makes a place for a process to speak, and tells it where.
pub fn prepare(
    kind: NotifyKind,
    run: RunId,
    user: Option<u32>,
    watchdog: Option<Duration>,
    start: &mut Start,
) -> io::Result<Ear> {
    match kind {
        NotifyKind::Descriptor(number) => {
            let (reader, writer) = pipe()?;
            start.descriptor = Some((writer, number));
            Ok(Ear::Pipe(reader))
        }
        NotifyKind::Systemd => {
            let name = format!("sexton/{}/{}", std::process::id(), run.0);
            let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
            socket.set_nonblocking(true)?;
            sockopt::set_socket_passcred(&socket, true)?;
            start.variables.push(("NOTIFY_SOCKET", OsString::from(format!("@{name}"))));
            if let Some(limit) = watchdog {
                start.variables.push(("WATCHDOG_USEC", OsString::from(limit.as_micros().to_string())));
            }
            let own = rustix::process::getuid().as_raw();
            Ok(Ear::Socket(readable(socket.into())?, [0, own, user.unwrap_or(own)]))
        }
    }
}

/// Listens until it is aborted, or there is nothing more to hear.
pub fn listen(run: RunId, ear: Ear, said: mpsc::UnboundedSender<Said>) -> AbortHandle {
    let task = tokio::spawn(async move {
        match ear {
            Ear::Pipe(pipe) => {
                let mut buffer = [0; 256];
                while let Ok(mut ready) = pipe.readable().await {
                    match rustix::io::read(pipe.get_ref(), &mut buffer) {
                        Ok(0) => return,
                        Ok(length) if buffer[..length].contains(&b'\n') => {
                            let _ = said.send(Said::Word(run, Word::Ready));
                            return;
                        }
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                        Err(_) => return,
                    }
                }
            }
            Ear::Socket(socket, users) => {
                while let Ok(mut ready) = socket.readable().await {
                    match receive(socket.get_ref(), users) {
                        Ok(message) => {
                            for said_now in words(run, &message) {
                                let _ = said.send(said_now);
                            }
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(_) => return,
                    }
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    task.abort_handle()
}

/// A message, if it comes from somebody who may speak for the process; else an empty one.
fn receive(socket: &OwnedFd, users: [u32; 3]) -> io::Result<Vec<u8>> {
    let mut buffer = [0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket.as_fd(),
        &mut [io::IoSliceMut::new(&mut buffer)],
        &mut ancillary,
        RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
    )?;
    let sender = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(credentials) => Some(credentials.uid.as_raw()),
        _ => None,
    });
    let heard = sender.is_some_and(|sender| users.contains(&sender));
    Ok(if heard { buffer[..received.bytes.min(LONGEST)].to_vec() } else { Vec::new() })
}

/// The words of a message that we know; see sd_notify(3), "Well-known assignments".
fn words(run: RunId, message: &[u8]) -> Vec<Said> {
    let text = String::from_utf8_lossy(message);
    let word = |line: &str| {
        let (name, value) = line.split_once('=')?;
        Some(match (name, value) {
            ("READY", "1") => Said::Word(run, Word::Ready),
            ("STOPPING", "1") => Said::Word(run, Word::Stopping),
            ("WATCHDOG", "1") => Said::Word(run, Word::Alive),
            ("WATCHDOG", "trigger") => Said::Word(run, Word::Trouble),
            ("EXTEND_TIMEOUT_USEC", micros) => {
                Said::Word(run, Word::MoreTime(Duration::from_micros(micros.parse().ok()?)))
            }
            ("STATUS", status) => Said::Status(run, crate::words::one_line(status)),
            _ => return None,
        })
    };
    text.lines().filter_map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_and_others_are_passed_over() {
        let said = words(
            RunId(3),
            b"READY=1\nSTATUS=warm\x1bing\nFDSTORE=1\nEXTEND_TIMEOUT_USEC=x\nWATCHDOG=1\nnonsense",
        );
        let shown: Vec<_> = said.iter().map(|said| format!("{said:?}")).collect();
        assert_eq!(
            shown,
            ["Word(RunId(3), Ready)", "Status(RunId(3), \"warm\\\\u{1b}ing\")", "Word(RunId(3), Alive)"]
        );
    }
}
