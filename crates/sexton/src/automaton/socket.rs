//! Clients of the automaton: each sends one line and gets one response, and none delays the others.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::automaton::{Request, Response};
use net::listen::has_pending_connection;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::protocol::{self, Command, MAX_LINE};

/// The length of the queue of requests to the driver; when it is full, clients wait.
pub const QUEUE: usize = 64;
/// The maximum number of concurrent clients, if the descriptor limit allows it. Others wait in the kernel's queue.
const MAX_CLIENTS: usize = 4096;
/// Descriptors reserved for other purposes: scripts, pipes, HTTP.
const RESERVED_DESCRIPTORS: usize = 64;
/// How often waiting clients are checked for a hang-up.
const HANGUP_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Time limit for the last responses at shutdown.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a client may take to send its command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may take to read a response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time and size limit for input after the command, which is drained so that closing does not discard the response.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 1 << 20);
/// Delay after a failed accept, for example without a free descriptor.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// A request to the driver.
#[derive(Debug)]
pub struct ClientRequest {
    pub query: Query,
    /// Receives the response.
    pub reply: oneshot::Sender<Response>,
}

/// The kinds of requests to the driver.
#[derive(Debug)]
pub enum Query {
    /// A request to the state machine.
    Machine(Request),
    /// List the last transitions.
    History,
}

/// Sets the mode of a socket file.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// The running server.
#[derive(Debug)]
pub struct Server {
    accepting: AbortHandle,
    busy: (mpsc::Sender<()>, mpsc::Receiver<()>),
}

impl Server {
    /// Stops accepting clients and waits until pending responses are read, with a time limit.
    pub async fn finish(self) {
        self.accepting.abort();
        let (busy, mut all) = self.busy;
        drop(busy);
        let _ = timeout(FINISH_TIMEOUT, all.recv()).await;
    }
}

/// The context of a client's task.
#[derive(Clone)]
struct Service {
    requests: mpsc::Sender<ClientRequest>,
    transitions: broadcast::WeakSender<Arc<str>>,
    /// Held while a response is owed; a client that has not sent its command is owed none.
    busy: mpsc::WeakSender<()>,
    /// Limits the clients that wait for a transition, so that there is always room for others.
    waiting: Arc<Semaphore>,
}

/// Serves clients until `finish` is called.
pub fn serve(
    listener: std::os::unix::net::UnixListener,
    requests: mpsc::Sender<ClientRequest>,
    transitions: broadcast::WeakSender<Arc<str>>,
) -> io::Result<Server> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let max_clients = max_clients();
    let clients = Arc::new(Semaphore::new(max_clients));
    let busy = mpsc::channel(1);
    let waiting = Arc::new(Semaphore::new((max_clients / 4 * 3).max(1)));
    let service = Service { requests, transitions, busy: busy.0.downgrade(), waiting };
    let task = tokio::spawn(async move {
        let mut refused = false;
        loop {
            let Ok(permit) = Arc::clone(&clients).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    refused = false;
                    let service = service.clone();
                    tokio::spawn(async move {
                        // Err: the client has disconnected.
                        let _ = client(stream, service).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    if !refused && has_pending_connection(&listener) {
                        log::warn!("cannot accept a client of the automaton: {error}");
                        refused = true;
                    }
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    });
    Ok(Server { accepting: task.abort_handle(), busy })
}

fn max_clients() -> usize {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let descriptors = descriptors.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    descriptors.saturating_sub(RESERVED_DESCRIPTORS).clamp(1, MAX_CLIENTS)
}

async fn client(stream: UnixStream, service: Service) -> io::Result<()> {
    let line = match timeout(COMMAND_TIMEOUT, read_line(&stream)).await {
        Ok(line) => line?,
        Err(_) => None,
    };
    // None: the automaton is shutting down.
    let Some(busy) = service.busy.upgrade() else { return Ok(()) };
    let command = line.as_deref().map(protocol::parse);
    let answer = match command {
        None => format_answer(&Response::No),
        Some(Err(error)) => {
            log::info!("rejected a request to the automaton: {error}");
            format_answer(&Response::No)
        }
        Some(Ok(command)) => {
            let waits = matches!(command, Command::Watch | Command::Machine(Request::Goto { .. }));
            let permit = waits.then(|| service.waiting.try_acquire());
            let answer = match (permit.transpose(), command) {
                (Err(_), _) => {
                    log::warn!("rejected a request to the automaton: too many clients are waiting");
                    Response::No
                }
                (Ok(_permit), Command::Watch) => {
                    let Some(transitions) =
                        service.transitions.upgrade().map(|transitions| transitions.subscribe())
                    else {
                        return Ok(());
                    };
                    return follow(&stream, transitions).await;
                }
                (Ok(_permit), Command::History) => {
                    query_driver(Query::History, &stream, &service.requests).await?
                }
                (Ok(_permit), Command::Machine(request)) => {
                    query_driver(Query::Machine(request), &stream, &service.requests).await?
                }
            };
            format_answer(&answer)
        }
    };
    write(&stream, answer.as_bytes()).await?;
    rustix::net::shutdown(&stream, rustix::net::Shutdown::Write)?;
    drop(busy);
    // Closing a socket with unread input may discard the response.
    let rest = async {
        let mut remaining = LINGER.1;
        let mut buffer = vec![0; 16 << 10];
        while let Ok(length @ 1..) = read(&stream, &mut buffer).await {
            remaining = remaining.saturating_sub(length);
            if remaining == 0 {
                return;
            }
        }
    };
    let _ = timeout(LINGER.0, rest).await;
    Ok(())
}

/// Sends a request to the driver. Fails if the client has disconnected; the request is performed nevertheless.
async fn query_driver(
    query: Query,
    stream: &UnixStream,
    requests: &mpsc::Sender<ClientRequest>,
) -> io::Result<Response> {
    let (reply, answer) = oneshot::channel();
    if requests.send(ClientRequest { query, reply }).await.is_err() {
        return Ok(Response::No);
    }
    tokio::select! {
        biased;
        answer = answer => Ok(answer.unwrap_or(Response::No)),
        error = wait_for_hangup(stream) => Err(error),
    }
}

/// Returns when the client has disconnected; a half-closed connection does not count.
async fn wait_for_hangup(stream: &UnixStream) -> io::Error {
    loop {
        sleep(HANGUP_CHECK_INTERVAL).await;
        let mut watched = [PollFd::new(stream, PollFlags::empty())];
        if poll(&mut watched, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
            return io::Error::from(io::ErrorKind::ConnectionReset);
        }
    }
}

fn format_answer(answer: &Response) -> String {
    match answer {
        Response::Ok => "OK\n".to_owned(),
        Response::No => "KO\n".to_owned(),
        Response::Failed(code) => format!("KO {code}\n"),
        Response::Tag(text) => format!("{text}\n"),
    }
}

/// Reads the first line, without its newline; None: it is too long.
async fn read_line(stream: &UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut buffer = vec![0; 4096];
    loop {
        let length = read(stream, &mut buffer).await?;
        let chunk = &buffer[..length];
        if let Some(end) = memchr::memchr(b'\n', chunk) {
            line.extend_from_slice(&chunk[..end]);
            return Ok(Some(line).filter(|line| line.len() <= MAX_LINE));
        }
        line.extend_from_slice(chunk);
        if line.len() > MAX_LINE {
            return Ok(None);
        }
        if length == 0 {
            return Ok(Some(line));
        }
    }
}

/// Writes a line for each transition, until the client disconnects or reads too slowly.
async fn follow(stream: &UnixStream, mut transitions: broadcast::Receiver<Arc<str>>) -> io::Result<()> {
    loop {
        let line = tokio::select! {
            biased;
            line = transitions.recv() => line,
            error = wait_for_hangup(stream) => return Err(error),
        };
        match line {
            Ok(line) => write(stream, format!("{line}\n").as_bytes()).await?,
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                write(stream, format!("missed={missed}\n").as_bytes()).await?;
            }
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        }
    }
}

async fn read(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

async fn write(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    let all = async {
        while !bytes.is_empty() {
            stream.writable().await?;
            match stream.try_write(bytes) {
                Ok(length) => bytes = &bytes[length..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    timeout(WRITE_TIMEOUT, all).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
