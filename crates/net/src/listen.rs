//! Where we answer: bound before anything is started, so that a port that is taken starts nothing.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketType, sockopt};
use thiserror::Error;

use spec::listen::Listen;

/// The first descriptor that a service manager hands over; sd_listen_fds(3).
const FIRST_HANDED: i32 = 3;

/// How many connections may wait to be accepted: in a storm of them, one that is not queued comes again
/// after a second at the earliest.
const QUEUE: i32 = 4096;

/// What `sockaddr_un` holds, less the end; unix(7).
const LONGEST_SOCKET_PATH: usize = 107;

/// A bound socket that does not listen on any runtime yet.
#[derive(Debug)]
pub enum Bound {
    /// Of the internet.
    Tcp(StdTcpListener),
    /// Of this machine.
    Unix(StdUnixListener),
    /// Of this machine, and only for ourselves and root.
    Control(StdUnixListener),
}

/// All that we have bound.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Sockets to answer on.
    pub bound: Vec<Bound>,
    /// The port above the one asked for, or 0.
    pub side_port: u16,
}

/// Why we cannot listen.
#[derive(Debug, Error)]
pub enum ListenError {
    /// An address cannot be bound.
    #[error("cannot listen at {address}: {}", spec::text::describe(source))]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No port above is free.
    #[error("cannot listen at a second port: none above {0} is free")]
    NoSidePort(u16),
    /// A socket that has one owner cannot be had.
    #[error("cannot listen at the socket {}: {why}", path.display())]
    Control {
        /// Where.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The service manager handed us nothing.
    #[error("cannot take a socket from the service manager: {0}")]
    NotActivated(String),
}

/// Binds.
pub fn open(listen: &Listen) -> Result<Listeners, ListenError> {
    match listen {
        Listen::Nowhere => Ok(Listeners::default()),
        Listen::Activated => Ok(Listeners { bound: vec![handed_over()?], side_port: 0 }),
        Listen::At { address, side } => {
            let main = bind(*address)?;
            let actual =
                main.local_addr().map_err(|source| ListenError::Bind { address: *address, source })?;
            let mut listeners = Listeners { bound: vec![Bound::Tcp(main)], side_port: 0 };
            if *side {
                let bound = bind_above(actual)?;
                listeners.side_port = bound.local_addr().map_or(0, |address| address.port());
                listeners.bound.push(Bound::Tcp(bound));
            }
            Ok(listeners)
        }
    }
}

fn bind(address: SocketAddr) -> Result<StdTcpListener, ListenError> {
    let bound = StdTcpListener::bind(address).and_then(|listener| {
        // A longer queue than the standard library's; the system cuts it to what it allows (listen(2)).
        rustix::net::listen(&listener, QUEUE)?;
        Ok(listener)
    });
    bound.map_err(|source| ListenError::Bind { address, source })
}

/// The control socket, for as long as it is ours.
#[derive(Debug)]
pub struct ControlSocket {
    /// To answer on.
    pub bound: Bound,
    /// Removes the socket, and gives up the lock, when all is over.
    pub guard: ControlGuard,
}

/// Holds the lock beside the socket.
#[derive(Debug)]
pub struct ControlGuard {
    path: PathBuf,
    _lock: File,
}

impl Drop for ControlGuard {
    fn drop(&mut self) {
        // The lock file stays: whoever waits for it has it open.
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds the control socket. A lock beside it tells whether another has it; a socket without one is left over from
/// somebody who was killed, and goes.
pub fn control(path: &Path) -> Result<ControlSocket, ListenError> {
    let wrong = |why: String| ListenError::Control { path: path.to_owned(), why };
    let io = |error: io::Error| wrong(spec::text::describe(&error));
    if path.as_os_str().len() > LONGEST_SOCKET_PATH {
        return Err(wrong(format!("the path is too long for a socket: at most {LONGEST_SOCKET_PATH} bytes")));
    }
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(lock)
        .map_err(io)?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(wrong("another sexton has it".to_owned()));
    }
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => {
            // Somebody may answer there who knows no such lock.
            if StdUnixStream::connect(path).is_ok() {
                return Err(wrong("another program answers there".to_owned()));
            }
            fs::remove_file(path).map_err(io)?;
        }
        Ok(_) => return Err(wrong("there is a file of that name which is no socket".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    // For the time between bind and chmod too: nobody else may connect. There is no other thread yet.
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = StdUnixListener::bind(path);
    rustix::process::umask(before);
    let bound = bound.map_err(io)?;
    let guard = ControlGuard { path: path.to_owned(), _lock: lock };
    Ok(ControlSocket { bound: Bound::Control(bound), guard })
}

/// The next port above that is free.
fn bind_above(address: SocketAddr) -> Result<StdTcpListener, ListenError> {
    for port in u32::from(address.port()) + 1..=u32::from(u16::MAX) {
        let Ok(port) = u16::try_from(port) else { break };
        match bind(SocketAddr::new(address.ip(), port)) {
            Err(ListenError::Bind { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    Err(ListenError::NoSidePort(address.port()))
}

/// The one listener that the service manager hands us.
fn handed_over() -> Result<Bound, ListenError> {
    let wrong = |what: String| Err(ListenError::NotActivated(what));
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    match number("LISTEN_PID") {
        Some(pid) if pid == std::process::id() => {}
        Some(pid) => return wrong(format!("LISTEN_PID is {pid}, which is not us")),
        None => return wrong("LISTEN_PID is not set, so there is none".to_owned()),
    }
    match number("LISTEN_FDS") {
        Some(1) => {}
        Some(count) => return wrong(format!("LISTEN_FDS is {count}, expected 1")),
        None => return wrong("LISTEN_FDS is not set".to_owned()),
    }
    // The protocol of sd_listen_fds(3), checked above, gives this descriptor to this process.
    let socket = linux::sys::inherited_descriptor(FIRST_HANDED)
        .map_err(|error| ListenError::NotActivated(format!("descriptor 3: {error}")))?;
    let described = |error: rustix::io::Errno| ListenError::NotActivated(format!("descriptor 3: {error}"));
    fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(described)?;
    let stream = sockopt::socket_type(socket.as_fd()).map_err(described)? == SocketType::STREAM;
    let listening = sockopt::socket_acceptconn(socket.as_fd()).map_err(described)?;
    if !stream || !listening {
        return wrong("descriptor 3 is no listening stream socket (ListenStream=, Accept=no)".to_owned());
    }
    match sockopt::socket_domain(socket.as_fd()).map_err(described)? {
        AddressFamily::INET | AddressFamily::INET6 => Ok(Bound::Tcp(socket.into())),
        AddressFamily::UNIX => Ok(Bound::Unix(socket.into())),
        other => wrong(format!("descriptor 3 is of address family {}", other.as_raw())),
    }
}
