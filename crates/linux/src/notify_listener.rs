//! What processes say about themselves: over a socket as systemd has it (sd_notify(3)), or with a line on a
//! descriptor as s6 has it.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use engine::{NotifyMessage, RunId};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::pipe::pipe;
use crate::procfs;
use crate::readable::readable;
use crate::spawn::Start;
use spec::notify::NotifyKind;
use spec::program::Pid;

/// The longest message that is read.
const LONGEST: usize = 4096;

/// What a process has said in one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyDatagram {
    /// Of which run.
    pub run: RunId,
    /// To the engine; each word at most once.
    pub words: Vec<NotifyMessage>,
    /// To people.
    pub status: Option<String>,
}

/// Where a process that is about to be started will speak.
#[derive(Debug)]
pub enum NotifyReceiver {
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
) -> io::Result<NotifyReceiver> {
    match kind {
        NotifyKind::Descriptor(number) => {
            let (reader, writer) = pipe()?;
            start.descriptor = Some((writer, number));
            Ok(NotifyReceiver::Pipe(reader))
        }
        NotifyKind::Systemd => {
            // Not to be guessed: the name is seen by all who share our network.
            let name = format!("sexton/{}/{:016x}{:016x}", run.0, chance(run), chance(run));
            let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
            socket.set_nonblocking(true)?;
            sockopt::set_socket_passcred(&socket, true)?;
            start.variables.push(("NOTIFY_SOCKET", OsString::from(format!("@{name}"))));
            if let Some(limit) = watchdog {
                start.variables.push(("WATCHDOG_USEC", OsString::from(limit.as_micros().to_string())));
            }
            let own = rustix::process::getuid().as_raw();
            Ok(NotifyReceiver::Socket(readable(socket.into())?, [0, own, user.unwrap_or(own)]))
        }
    }
}

/// Something that nobody can guess: the standard library seeds its hash tables from the system's source of chance.
fn chance(run: RunId) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(run.0)
}

/// Listens until it is aborted, or there is nothing more to hear.
pub fn listen(
    run: RunId,
    leader: Pid,
    ear: NotifyReceiver,
    said: mpsc::Sender<NotifyDatagram>,
) -> AbortHandle {
    let task = tokio::spawn(async move {
        match ear {
            NotifyReceiver::Pipe(pipe) => {
                let mut buffer = [0; 256];
                while let Ok(mut ready) = pipe.readable().await {
                    match rustix::io::read(pipe.get_ref(), &mut buffer) {
                        Ok(0) => return,
                        Ok(length) if buffer[..length].contains(&b'\n') => {
                            let _ = said
                                .send(NotifyDatagram { run, words: vec![NotifyMessage::Ready], status: None })
                                .await;
                            return;
                        }
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                        Err(_) => return,
                    }
                }
            }
            NotifyReceiver::Socket(socket, users) => {
                while let Ok(mut ready) = socket.readable().await {
                    match receive(socket.get_ref(), users, leader) {
                        Ok(message) => {
                            let message = understood(run, &message);
                            // Whoever says more than we can hear waits: so does whoever sends to a full socket.
                            if (!message.words.is_empty() || message.status.is_some())
                                && said.send(message).await.is_err()
                            {
                                return;
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
fn receive(socket: &OwnedFd, users: [u32; 3], leader: Pid) -> io::Result<Vec<u8>> {
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
        RecvAncillaryMessage::ScmCredentials(credentials) => {
            Some((credentials.uid.as_raw(), credentials.pid.as_raw_nonzero().get()))
        }
        _ => None,
    });
    let heard = sender.is_some_and(|(user, pid)| users.contains(&user) && belongs(pid, leader));
    Ok(if heard { buffer[..received.bytes.min(LONGEST)].to_vec() } else { Vec::new() })
}

/// Is it of the process's group, or a descendant? One that has ended since it spoke cannot be asked; it is believed.
fn belongs(pid: Pid, leader: Pid) -> bool {
    let mut at = pid;
    for _ in 0..64 {
        let Ok(stat) = procfs::stat(at) else { return true };
        if stat.pgrp == leader || stat.pid == leader {
            return true;
        }
        if stat.ppid <= 1 {
            return false;
        }
        at = stat.ppid;
    }
    false
}

/// What of a message we know; see sd_notify(3), "Well-known assignments".
fn understood(run: RunId, message: &[u8]) -> NotifyDatagram {
    let text = String::from_utf8_lossy(message);
    let mut said = NotifyDatagram { run, words: Vec::new(), status: None };
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let word = match (name, value) {
            ("READY", "1") => NotifyMessage::Ready,
            ("STOPPING", "1") => NotifyMessage::Stopping,
            ("WATCHDOG", "1") => NotifyMessage::Watchdog,
            ("WATCHDOG", "trigger") => NotifyMessage::WatchdogTrigger,
            ("EXTEND_TIMEOUT_USEC", micros) => match micros.parse() {
                Ok(micros) => NotifyMessage::ExtendTimeout(Duration::from_micros(micros)),
                Err(_) => continue,
            },
            ("STATUS", status) => {
                said.status = Some(spec::text::one_line(status));
                continue;
            }
            _ => continue,
        };
        if !said.words.iter().any(|known| std::mem::discriminant(known) == std::mem::discriminant(&word)) {
            said.words.push(word);
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_and_others_are_passed_over() {
        let message =
            b"READY=1\nSTATUS=warm\x1bing\nFDSTORE=1\nEXTEND_TIMEOUT_USEC=x\nWATCHDOG=1\nREADY=1\nnonsense";
        let expected = NotifyDatagram {
            run: RunId(3),
            words: vec![NotifyMessage::Ready, NotifyMessage::Watchdog],
            status: Some("warm\\u{1b}ing".to_owned()),
        };
        assert_eq!(understood(RunId(3), message), expected);
    }
}
