//! A store in one file of this machine, for one process.
//!
//! ```text
//! get, list, commit, …──► [ worker: State::…, then one commit of the file for all that waited ]──► answers, watches
//! ```
//!
//! * What was acknowledged is on the disk (fsync(2)): it is there after a KILL at any instant and after a power cut.
//! * All requests that wait together are written with one fsync.
//! * A keepalive writes nothing. Leases that were alive when the store went down are as if just kept alive when it
//!   comes back: nobody could keep them alive in between, and nobody else could get what they hold.
//! * Times are those of the monotonic clock: a clock that is set moves nothing.
//! * A disk that is full, or fails, is told to whoever asked; the store is opened again and goes on with what was
//!   written before. A file that is damaged, or is none of ours, is reported and left as it is.

mod disk;
pub(crate) mod state;

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::stream;
use tokio::sync::{broadcast, oneshot};

use crate::store::{
    Answer, Changes, Committed, Entry, Lease, LeaseId, Page, Revision, Store, StoreError, Transaction, Watch,
};
use disk::Disk;
use state::State;

/// How many requests are written together at most.
const AT_ONCE: usize = 1024;
/// How many writes a watch may be behind before it has to list anew.
const BEHIND: usize = 4096;
/// A file that could not be read back after a failure of its disk: how soon that is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

#[derive(Debug)]
enum Request {
    Get(String, Reply<Option<Entry>>),
    List { prefix: String, after: Option<String>, most: usize, reply: Reply<Page> },
    Commit(Transaction, Reply<Committed>),
    Watch(Revision, Reply<Subscription>),
    Grant(Duration, Reply<Lease>),
    KeepAlive(LeaseId, Reply<Duration>),
    Revoke(LeaseId, Reply<()>),
}

/// What was, and where what comes is told.
type Subscription = (Vec<Changes>, broadcast::Receiver<Changes>);

/// A store in a file.
#[derive(Debug)]
pub struct Embedded {
    requests: Option<Sender<Request>>,
    worker: Option<JoinHandle<()>>,
    made: bool,
}

impl Embedded {
    /// Opens the store in this file, or makes it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`]: it is damaged, or something else; it is left as it is. [`StoreError::Unavailable`]:
    /// another process has it. [`StoreError::Refused`]: we may not, or there is no such directory.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let (disk, state, made) = Disk::open(path)?;
        let (requests, inbox) = channel();
        let worker = Worker {
            disk,
            state,
            opened: Instant::now(),
            changes: broadcast::channel(BEHIND).0,
            broken: None,
        };
        let worker = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || worker.work(&inbox))
            .map_err(|error| StoreError::Unavailable(format!("no thread for the store: {error}")))?;
        Ok(Self { requests: Some(requests), worker: Some(worker), made })
    }

    /// There was none before: what an older one has granted may still be held.
    #[must_use]
    pub const fn was_made(&self) -> bool {
        self.made
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StoreError> {
        let over = || StoreError::Unavailable("the store is closed".to_owned());
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(over)?;
        requests.send(request(reply)).map_err(|_| over())?;
        answer.await.map_err(|_| over())?
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(worker) = self.worker.take() {
            // It has said itself why it panicked, if it did.
            let _ = worker.join();
        }
    }
}

impl Store for Embedded {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(self.ask(|reply| Request::Get(key.to_owned(), reply)))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, most: usize) -> Answer<'a, Page> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        Box::pin(self.ask(move |reply| Request::List { prefix, after, most, reply }))
    }

    fn commit(&self, transaction: Transaction) -> Answer<'_, Committed> {
        Box::pin(self.ask(|reply| Request::Commit(transaction, reply)))
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        let (reply, answer) = oneshot::channel();
        if let Some(requests) = &self.requests {
            // Closed: so is the answer.
            let _ = requests.send(Request::Watch(after, reply));
        }
        let watching = Watching { prefix: prefix.to_owned(), at: At::Asked(answer) };
        Box::pin(stream::unfold(watching, |mut watching| async move {
            let next = watching.next().await?;
            Some((next, watching))
        }))
    }

    fn grant(&self, ttl: Duration) -> Answer<'_, Lease> {
        Box::pin(self.ask(move |reply| Request::Grant(ttl, reply)))
    }

    fn keep_alive(&self, lease: LeaseId) -> Answer<'_, Duration> {
        Box::pin(self.ask(move |reply| Request::KeepAlive(lease, reply)))
    }

    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()> {
        Box::pin(self.ask(move |reply| Request::Revoke(lease, reply)))
    }
}

/// A watch.
struct Watching {
    prefix: String,
    at: At,
}

enum At {
    Asked(oneshot::Receiver<Result<Subscription, StoreError>>),
    Following { before: std::vec::IntoIter<Changes>, told: Revision, coming: broadcast::Receiver<Changes> },
    Over,
}

impl Watching {
    async fn next(&mut self) -> Option<Result<Changes, StoreError>> {
        loop {
            let next = match &mut self.at {
                At::Asked(answer) => match answer.await {
                    Ok(Ok((before, coming))) => {
                        self.at = At::Following { before: before.into_iter(), told: Revision(0), coming };
                        continue;
                    }
                    Ok(Err(error)) => Err(error),
                    Err(_) => Err(StoreError::Unavailable("the store is closed".to_owned())),
                },
                At::Following { before, told, coming } => match before.next() {
                    Some(changes) => Ok(changes),
                    None => match coming.recv().await {
                        Ok(changes) => Ok(changes),
                        Err(broadcast::error::RecvError::Lagged(_)) => Err(StoreError::Compacted(*told)),
                        Err(broadcast::error::RecvError::Closed) => {
                            Err(StoreError::Unavailable("the store was opened again".to_owned()))
                        }
                    },
                },
                At::Over => return None,
            };
            match next {
                Ok(mut changes) => {
                    if let At::Following { told, .. } = &mut self.at {
                        *told = changes.revision;
                    }
                    changes.changes.retain(|change| change.key().starts_with(&self.prefix));
                    if !changes.changes.is_empty() {
                        return Some(Ok(changes));
                    }
                }
                Err(error) => {
                    self.at = At::Over;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Who owns the state and the file.
struct Worker {
    disk: Disk,
    state: State,
    opened: Instant,
    changes: broadcast::Sender<Changes>,
    /// The disk has failed, and the state is not what is on it: since when it is not tried again before this.
    broken: Option<(StoreError, Duration)>,
}

impl Worker {
    fn work(mut self, inbox: &Receiver<Request>) {
        loop {
            let deadline = match &self.broken {
                // Leases lapse when it can be written down.
                Some((_, retry)) => Some(*retry),
                None => self.state.deadline(),
            };
            let first = match deadline {
                Some(at) => match inbox.recv_timeout(at.saturating_sub(self.opened.elapsed())) {
                    Ok(request) => Some(request),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                },
                None => match inbox.recv() {
                    Ok(request) => Some(request),
                    Err(_) => return,
                },
            };
            let now = self.opened.elapsed();
            self.mend(now);
            let requests = first.into_iter().chain(inbox.try_iter()).take(AT_ONCE);
            let waiting: Vec<Waiting> =
                requests.map(|request| answer(&mut self.state, &self.changes, request, now)).collect();
            if self.broken.is_none() {
                // Behind the requests: a keepalive that came in time is not too late because the disk was slow.
                self.state.lapse(now);
            }
            let written = self.write(now);
            for waiting in waiting {
                waiting(written.clone());
            }
        }
    }

    /// Writes what was changed, and tells those who watch.
    fn write(&mut self, now: Duration) -> Result<(), StoreError> {
        let (to_disk, told) = self.state.take();
        if let Some((error, _)) = &self.broken {
            return Err(error.clone());
        }
        if to_disk.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.disk.write(&to_disk, self.state.revision, self.state.newest_lease) {
            // What is in memory is more than what is on disk: what is on disk counts. Who watches lists anew.
            self.changes = broadcast::channel(BEHIND).0;
            self.broken = Some((error.clone(), now));
            self.mend(now);
            return Err(error);
        }
        for changes in told {
            // Nobody watches: nobody is told.
            let _ = self.changes.send(changes);
        }
        Ok(())
    }

    /// Goes back to what is on disk, if that is necessary and it is time to try.
    fn mend(&mut self, now: Duration) {
        if self.broken.as_ref().is_some_and(|(_, retry)| *retry <= now) {
            match self.disk.reload(now) {
                Ok(state) => (self.state, self.broken) = (state, None),
                Err(error) => self.broken = Some((error, now + TRY_AGAIN)),
            }
        }
    }
}

/// An answer that waits for the disk.
type Waiting = Box<dyn FnOnce(Result<(), StoreError>)>;

/// Carries a request out. Its answer goes out when all that it has seen or made is on the disk.
fn answer(
    state: &mut State,
    changes: &broadcast::Sender<Changes>,
    request: Request,
    now: Duration,
) -> Waiting {
    fn later<T: 'static>(reply: Reply<T>, result: Result<T, StoreError>) -> Waiting {
        Box::new(move |written| {
            // Nobody waits for it any more: nobody hears.
            let _ = reply.send(written.and(result));
        })
    }
    match request {
        Request::Get(key, reply) => later(reply, Ok(state.get(&key))),
        Request::List { prefix, after, most, reply } => {
            later(reply, Ok(state.list(&prefix, after.as_deref(), most)))
        }
        Request::Commit(transaction, reply) => later(reply, state.commit(transaction)),
        Request::Watch(after, reply) => {
            // What this batch has changed so far is in the history and will be told as well: once is enough.
            let (known, coming, told) = (state.since(after), changes.subscribe(), state.told_up_to());
            later(
                reply,
                known.map(|mut before| {
                    before.retain(|changes| changes.revision <= told);
                    (before, coming)
                }),
            )
        }
        Request::Grant(ttl, reply) => later(reply, Ok(state.grant(ttl, now))),
        Request::KeepAlive(lease, reply) => later(reply, state.keep_alive(lease, now)),
        Request::Revoke(lease, reply) => {
            state.revoke(lease);
            later(reply, Ok(()))
        }
    }
}
