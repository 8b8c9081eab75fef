//! Listening sockets: bound before any process is started, so that nothing is started if a port is in use.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketType, sockopt};
use thiserror::Error;

use spec::listen::Listen;

/// The first descriptor that a service manager passes; sd_listen_fds(3).
const FIRST_PASSED: i32 = 3;

/// The length of the accept queue. A connection that does not fit in during a burst is retried after one second at the
/// earliest.
const BACKLOG: i32 = 4096;

/// The maximum path length in `sockaddr_un`, without the final NUL; unix(7).
const MAX_SOCKET_PATH: usize = 107;

/// Returns whether a connection waits to be accepted.
///
/// accept(2) takes a descriptor before it looks at the queue: without a free one it fails even if no connection waits.
#[must_use]
pub fn has_pending_connection(listener: &impl AsFd) -> bool {
    poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// A bound socket that is not registered with a runtime yet.
#[derive(Debug)]
pub enum Bound {
    /// TCP.
    Tcp(StdTcpListener),
    /// Unix socket.
    Unix(StdUnixListener),
    /// Control socket: a unix socket for the user of sexton and root only.
    Control(StdUnixListener),
}

/// The bound sockets.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Sockets of the HTTP server.
    pub bound: Vec<Bound>,
    /// The second port, above the requested one; 0 if there is none.
    pub side_port: u16,
}

/// The reason why a socket cannot be opened.
#[derive(Debug, Error)]
pub enum ListenError {
    /// An address cannot be bound.
    #[error("cannot listen on {address}: {}", spec::text::describe(source))]
    Bind { address: SocketAddr, source: io::Error },
    /// No higher port is free.
    #[error("cannot listen on a second port: none above {0} is free")]
    NoSidePort(u16),
    /// The control socket cannot be opened.
    #[error("cannot listen on socket {}: {why}", path.display())]
    Control { path: PathBuf, why: String },
    /// The service manager did not pass a usable socket.
    #[error("cannot take a socket from the service manager: {0}")]
    NotActivated(String),
}

/// Binds the sockets of the HTTP server.
pub fn open(listen: &Listen) -> Result<Listeners, ListenError> {
    match listen {
        Listen::Nowhere => Ok(Listeners::default()),
        Listen::Activated => Ok(Listeners { bound: vec![take_passed_listener()?], side_port: 0 }),
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
        // Longer than the standard library's; the system limits it (listen(2)).
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(listener)
    });
    bound.map_err(|source| ListenError::Bind { address, source })
}

/// The control socket and its lock.
#[derive(Debug)]
pub struct ControlSocket {
    /// The socket to serve.
    pub listener: StdUnixListener,
    /// Removes the socket and releases the lock when it is dropped.
    pub guard: ControlGuard,
}

/// Holds the lock file of the control socket.
#[derive(Debug)]
pub struct ControlGuard {
    path: PathBuf,
    _lock: File,
}

impl Drop for ControlGuard {
    fn drop(&mut self) {
        // The lock file stays: another process that waits for the lock has it open.
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds the control socket. A lock file next to it shows whether another sexton uses it; a socket without a held lock
/// is left over from a killed process and is removed.
pub fn control(path: &Path) -> Result<ControlSocket, ListenError> {
    let failed = |why: String| ListenError::Control { path: path.to_owned(), why };
    let io = |error: io::Error| failed(spec::text::describe(&error));
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(failed(format!("the path is too long: at most {MAX_SOCKET_PATH} bytes for a socket")));
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
        return Err(failed("in use by another sexton".to_owned()));
    }
    match fs::symlink_metadata(path) {
        Ok(existing) if existing.file_type().is_socket() => {
            // Another program that does not use the lock may listen on it.
            if StdUnixStream::connect(path).is_ok() {
                return Err(failed("in use by another program".to_owned()));
            }
            fs::remove_file(path).map_err(io)?;
        }
        Ok(_) => return Err(failed("a file of this name exists and is not a socket".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    // The umask covers the time between bind and chmod: no other user may connect. There is no other thread yet.
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = StdUnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound.map_err(io)?;
    let guard = ControlGuard { path: path.to_owned(), _lock: lock };
    Ok(ControlSocket { listener, guard })
}

/// Binds the next free port above the given address.
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

/// Takes the listener that the service manager passes.
fn take_passed_listener() -> Result<Bound, ListenError> {
    let failed = |why: String| Err(ListenError::NotActivated(why));
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    match number("LISTEN_PID") {
        Some(pid) if pid == std::process::id() => {}
        Some(pid) => return failed(format!("LISTEN_PID is {pid}, which is not this process")),
        None => return failed("LISTEN_PID is not set".to_owned()),
    }
    match number("LISTEN_FDS") {
        Some(1) => {}
        Some(count) => return failed(format!("LISTEN_FDS is {count}, expected 1")),
        None => return failed("LISTEN_FDS is not set".to_owned()),
    }
    // By the protocol of sd_listen_fds(3), verified above, the descriptor belongs to this process.
    let socket = linux::sys::inherited_descriptor(FIRST_PASSED)
        .map_err(|error| ListenError::NotActivated(format!("descriptor 3: {error}")))?;
    let described = |error: rustix::io::Errno| ListenError::NotActivated(format!("descriptor 3: {error}"));
    fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(described)?;
    let stream = sockopt::socket_type(socket.as_fd()).map_err(described)? == SocketType::STREAM;
    let listening = sockopt::socket_acceptconn(socket.as_fd()).map_err(described)?;
    if !stream || !listening {
        return failed("descriptor 3 is not a listening stream socket (ListenStream=, Accept=no)".to_owned());
    }
    match sockopt::socket_domain(socket.as_fd()).map_err(described)? {
        AddressFamily::INET | AddressFamily::INET6 => Ok(Bound::Tcp(socket.into())),
        AddressFamily::UNIX => Ok(Bound::Unix(socket.into())),
        other => failed(format!("descriptor 3 is of address family {}", other.as_raw())),
    }
}
