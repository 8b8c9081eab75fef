//! Receiver of notifications from processes: over a socket as in systemd (sd_notify(3)), or a line on a descriptor as
//! in s6.

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
use spec::random::random_u64;

/// The maximum length of a message.
const MAX_MESSAGE: usize = 4096;

/// A parsed notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyDatagram {
    /// The run that sent it.
    pub run: RunId,
    /// Messages for the engine, each kind at most once.
    pub assignments: Vec<NotifyMessage>,
    /// Status text for people.
    pub status: Option<String>,
}

/// The socket or pipe on which a process sends notifications.
#[derive(Debug)]
pub enum NotifyReceiver {
    /// A socket for this process; messages of these users only are accepted.
    Socket(AsyncFd<OwnedFd>, [u32; 3]),
    /// A pipe.
    Pipe(AsyncFd<OwnedFd>),
}

/// Creates the socket or pipe for a process that is about to be started, and passes it in `start`.
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
            // The name must not be guessable: it is visible in the complete network namespace.
            let name = format!("sexton/{}/{:016x}{:016x}", run.0, random_u64(), random_u64());
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

/// Receives notifications until it is aborted or the channel is closed.
pub fn listen(
    run: RunId,
    leader: Pid,
    ear: NotifyReceiver,
    sender: mpsc::Sender<NotifyDatagram>,
) -> AbortHandle {
    let task = tokio::spawn(async move {
        match ear {
            NotifyReceiver::Pipe(pipe) => {
                let mut buffer = [0; 256];
                while let Ok(mut ready) = pipe.readable().await {
                    match rustix::io::read(pipe.get_ref(), &mut buffer) {
                        Ok(0) => return,
                        Ok(length) if buffer[..length].contains(&b'\n') => {
                            let _ = sender
                                .send(NotifyDatagram {
                                    run,
                                    assignments: vec![NotifyMessage::Ready],
                                    status: None,
                                })
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
                            let message = parse(run, &message);
                            // If the channel is full, the socket fills up too, and the sender blocks.
                            if (!message.assignments.is_empty() || message.status.is_some())
                                && sender.send(message).await.is_err()
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

/// Receives a message; an empty one if the sender is not authorized.
fn receive(socket: &OwnedFd, users: [u32; 3], leader: Pid) -> io::Result<Vec<u8>> {
    let mut buffer = [0; MAX_MESSAGE];
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
    let accepted = sender.is_some_and(|(user, pid)| users.contains(&user) && is_descendant(pid, leader));
    Ok(if accepted { buffer[..received.bytes.min(MAX_MESSAGE)].to_vec() } else { Vec::new() })
}

/// Whether a process is the leader, in its group or a descendant. One that has exited in the meantime is trusted.
fn is_descendant(pid: Pid, leader: Pid) -> bool {
    let mut ancestor = pid;
    for _ in 0..64 {
        let Ok(stat) = procfs::stat(ancestor) else { return true };
        if stat.pgrp == leader || stat.pid == leader {
            return true;
        }
        if stat.ppid <= 1 {
            return false;
        }
        ancestor = stat.ppid;
    }
    false
}

/// Parses the known assignments of a message; see sd_notify(3), "Well-known assignments".
#[must_use]
pub fn parse(run: RunId, message: &[u8]) -> NotifyDatagram {
    let text = String::from_utf8_lossy(message);
    let mut parsed = NotifyDatagram { run, assignments: Vec::new(), status: None };
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let assignment = match (name, value) {
            ("READY", "1") => NotifyMessage::Ready,
            ("STOPPING", "1") => NotifyMessage::Stopping,
            ("WATCHDOG", "1") => NotifyMessage::Watchdog,
            ("WATCHDOG", "trigger") => NotifyMessage::WatchdogTrigger,
            ("EXTEND_TIMEOUT_USEC", micros) => match micros.parse() {
                Ok(micros) => NotifyMessage::ExtendTimeout(Duration::from_micros(micros)),
                Err(_) => continue,
            },
            ("STATUS", status) => {
                parsed.status = Some(spec::text::one_line(status));
                continue;
            }
            _ => continue,
        };
        if !parsed
            .assignments
            .iter()
            .any(|known| std::mem::discriminant(known) == std::mem::discriminant(&assignment))
        {
            parsed.assignments.push(assignment);
        }
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_known_assignments_and_ignores_others() {
        let message =
            b"READY=1\nSTATUS=warm\x1bing\nFDSTORE=1\nEXTEND_TIMEOUT_USEC=x\nWATCHDOG=1\nREADY=1\nnonsense";
        let expected = NotifyDatagram {
            run: RunId(3),
            assignments: vec![NotifyMessage::Ready, NotifyMessage::Watchdog],
            status: Some("warm\\u{1b}ing".to_owned()),
        };
        assert_eq!(parse(RunId(3), message), expected);
    }
}
