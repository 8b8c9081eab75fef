//! Clients of the automaton: each sends one line, gets one answer, and holds up nobody.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::automaton::{Request, Response};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::protocol::{self, LONGEST_LINE, Wish};

/// How many wishes wait for the driver; who asks then waits too.
pub const QUEUE: usize = 64;
/// How many clients are served at a time, if we may have as many descriptors. Others wait in the queue of the kernel.
const MOST_CLIENTS: usize = 4096;
/// Descriptors that are kept for all else: scripts, pipes, HTTP.
const KEPT_DESCRIPTORS: usize = 64;
/// How often those who wait are looked at, whether they are still there.
const STILL_THERE: Duration = Duration::from_secs(5);
/// How long the last answers may take.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a client may take to read an answer.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// How long and how much is still read behind the line, so that the answer is not lost by our hanging up.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 1 << 20);
/// How long to wait when the system has no descriptor for us.
const NO_DESCRIPTOR: Duration = Duration::from_millis(100);

/// A wish and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// What is wanted.
    pub what: Wanted,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Response>,
}

/// What the driver can be asked.
#[derive(Debug)]
pub enum Wanted {
    /// Something of the machine.
    Machine(Request),
    /// The last transitions.
    History,
}

/// Lets these have access to a socket.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Who serves clients.
#[derive(Debug)]
pub struct Server {
    accepting: AbortHandle,
    busy: (mpsc::Sender<()>, mpsc::Receiver<()>),
}

impl Server {
    /// Takes no more clients, and gives those who wait for an answer the time to read it.
    pub async fn finish(self) {
        self.accepting.abort();
        let (busy, mut all) = self.busy;
        drop(busy);
        let _ = timeout(LAST_ANSWERS, all.recv()).await;
    }
}

/// What a client needs of us.
#[derive(Clone)]
struct Service {
    wishes: mpsc::Sender<Asked>,
    told: broadcast::WeakSender<Arc<str>>,
    /// Held while somebody is owed an answer. Those who have not spoken yet are owed none.
    busy: mpsc::WeakSender<()>,
    /// Places for those who wait for something to happen: there is always room for others.
    patient: Arc<Semaphore>,
}

/// Serves clients until it is told to finish.
pub fn serve(
    listener: std::os::unix::net::UnixListener,
    wishes: mpsc::Sender<Asked>,
    told: broadcast::WeakSender<Arc<str>>,
) -> io::Result<Server> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let places = places();
    let room = Arc::new(Semaphore::new(places));
    let busy = mpsc::channel(1);
    let patient = Arc::new(Semaphore::new((places / 4 * 3).max(1)));
    let service = Service { wishes, told, busy: busy.0.downgrade(), patient };
    let task = tokio::spawn(async move {
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let service = service.clone();
                    tokio::spawn(async move {
                        // Whoever has gone has gone.
                        let _ = client(stream, service).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    log::warn!("a client of the automaton has to wait: {error}");
                    sleep(NO_DESCRIPTOR).await;
                }
            }
        }
    });
    Ok(Server { accepting: task.abort_handle(), busy })
}

fn places() -> usize {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let descriptors = descriptors.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    descriptors.saturating_sub(KEPT_DESCRIPTORS).clamp(1, MOST_CLIENTS)
}

async fn client(stream: UnixStream, service: Service) -> io::Result<()> {
    let line = match timeout(PATIENCE, read_line(&stream)).await {
        Ok(line) => line?,
        Err(_) => None,
    };
    // None: we are about to end.
    let Some(busy) = service.busy.upgrade() else { return Ok(()) };
    let wish = line.as_deref().map(protocol::parse);
    let answer = match wish {
        None => answer_to(&Response::No),
        Some(Err(nonsense)) => {
            log::info!("a client of the automaton is told KO: {nonsense}");
            answer_to(&Response::No)
        }
        Some(Ok(wish)) => {
            let waits = matches!(wish, Wish::Watch | Wish::Machine(Request::Goto { .. }));
            let place = waits.then(|| service.patient.try_acquire());
            let answer = match (place.transpose(), wish) {
                (Err(_), _) => {
                    log::warn!("a client of the automaton is told KO: too many wait already");
                    Response::No
                }
                (Ok(_place), Wish::Watch) => {
                    let Some(told) = service.told.upgrade().map(|told| told.subscribe()) else {
                        return Ok(());
                    };
                    return follow(&stream, told).await;
                }
                (Ok(_place), Wish::History) => ask(Wanted::History, &stream, &service.wishes).await?,
                (Ok(_place), Wish::Machine(request)) => {
                    ask(Wanted::Machine(request), &stream, &service.wishes).await?
                }
            };
            answer_to(&answer)
        }
    };
    say(&stream, answer.as_bytes()).await?;
    rustix::net::shutdown(&stream, rustix::net::Shutdown::Write)?;
    drop(busy);
    // A socket that is closed with something unread in it may take the answer with it.
    let rest = async {
        let mut left = LINGER.1;
        let mut buffer = vec![0; 16 << 10];
        while let Ok(length @ 1..) = read(&stream, &mut buffer).await {
            left = left.saturating_sub(length);
            if left == 0 {
                return;
            }
        }
    };
    let _ = timeout(LINGER.0, rest).await;
    Ok(())
}

/// Asks the driver. An error: whoever asked has gone; what it asked for happens nevertheless.
async fn ask(what: Wanted, stream: &UnixStream, wishes: &mpsc::Sender<Asked>) -> io::Result<Response> {
    let (reply, answer) = oneshot::channel();
    if wishes.send(Asked { what, reply }).await.is_err() {
        return Ok(Response::No);
    }
    tokio::select! {
        biased;
        answer = answer => Ok(answer.unwrap_or(Response::No)),
        error = hung_up(stream) => Err(error),
    }
}

/// Ends when the other side is gone. Whoever has said all, and closed only that direction, is still there.
async fn hung_up(stream: &UnixStream) -> io::Error {
    loop {
        sleep(STILL_THERE).await;
        let mut watched = [PollFd::new(stream, PollFlags::empty())];
        if poll(&mut watched, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
            return io::Error::from(io::ErrorKind::ConnectionReset);
        }
    }
}

fn answer_to(answer: &Response) -> String {
    match answer {
        Response::Ok => "OK\n".to_owned(),
        Response::No => "KO\n".to_owned(),
        Response::Failed(code) => format!("KO {code}\n"),
        Response::Tag(text) => format!("{text}\n"),
    }
}

/// The first line, without its end; None: it is too long.
async fn read_line(stream: &UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut buffer = vec![0; 4096];
    loop {
        let length = read(stream, &mut buffer).await?;
        let piece = &buffer[..length];
        if let Some(end) = memchr::memchr(b'\n', piece) {
            line.extend_from_slice(&piece[..end]);
            return Ok(Some(line).filter(|line| line.len() <= LONGEST_LINE));
        }
        line.extend_from_slice(piece);
        if line.len() > LONGEST_LINE {
            return Ok(None);
        }
        if length == 0 {
            return Ok(Some(line));
        }
    }
}

/// A line for each transition, until the client hangs up or reads too slowly.
async fn follow(stream: &UnixStream, mut told: broadcast::Receiver<Arc<str>>) -> io::Result<()> {
    loop {
        let line = tokio::select! {
            biased;
            line = told.recv() => line,
            error = hung_up(stream) => return Err(error),
        };
        match line {
            Ok(line) => say(stream, format!("{line}\n").as_bytes()).await?,
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                say(stream, format!("missed={missed}\n").as_bytes()).await?;
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

async fn say(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
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
    timeout(READ_WITHIN, all).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
