//! Clients of the automaton: each sends one line, gets one answer, and holds up nobody.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::automaton::{Answer, Request};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::protocol::{self, LONGEST_LINE, Wish};

/// How many wishes wait for the driver; who asks then waits too.
pub const QUEUE: usize = 64;
/// How many clients are served at a time. Others wait in the queue of the kernel.
const MOST_CLIENTS: usize = 4096;
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
    pub reply: oneshot::Sender<Answer>,
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

/// Serves clients until it is aborted.
pub fn serve(
    listener: std::os::unix::net::UnixListener,
    wishes: mpsc::Sender<Asked>,
    told: broadcast::Sender<Arc<str>>,
) -> io::Result<AbortHandle> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(MOST_CLIENTS));
    let task = tokio::spawn(async move {
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (wishes, told) = (wishes.clone(), told.clone());
                    tokio::spawn(async move {
                        // Whoever has gone has gone.
                        let _ = client(stream, wishes, told).await;
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
    Ok(task.abort_handle())
}

async fn client(
    stream: UnixStream,
    wishes: mpsc::Sender<Asked>,
    told: broadcast::Sender<Arc<str>>,
) -> io::Result<()> {
    let line = match timeout(PATIENCE, read_line(&stream)).await {
        Ok(line) => line?,
        Err(_) => None,
    };
    let wish = line.as_deref().map(protocol::parse);
    let answer = match wish {
        None => answer_to(&Answer::No),
        Some(Err(nonsense)) => {
            log::info!("a client of the automaton is told KO: {nonsense}");
            answer_to(&Answer::No)
        }
        Some(Ok(Wish::Watch)) => return follow(&stream, told.subscribe()).await,
        Some(Ok(Wish::History)) => answer_to(&ask(Wanted::History, &wishes).await),
        Some(Ok(Wish::Machine(request))) => answer_to(&ask(Wanted::Machine(request), &wishes).await),
    };
    say(&stream, answer.as_bytes()).await?;
    rustix::net::shutdown(&stream, rustix::net::Shutdown::Write)?;
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

async fn ask(what: Wanted, wishes: &mpsc::Sender<Asked>) -> Answer {
    let (reply, answer) = oneshot::channel();
    if wishes.send(Asked { what, reply }).await.is_err() {
        return Answer::No;
    }
    answer.await.unwrap_or(Answer::No)
}

fn answer_to(answer: &Answer) -> String {
    match answer {
        Answer::Ok => "OK\n".to_owned(),
        Answer::No => "KO\n".to_owned(),
        Answer::Failed(code) => format!("KO {code}\n"),
        Answer::Tag(text) => format!("{text}\n"),
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
        match told.recv().await {
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
