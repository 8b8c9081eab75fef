//! A store in one local file, for one process.
//!
//! ```text
//! get, list, commit, …──► [ worker: State::…, then one commit of the file for all waiting ]──► responses, watches
//! ```
//!
//! * Acknowledged writes are on disk (fsync(2)): they survive a SIGKILL at any instant and a power failure.
//! * All waiting requests are written with one fsync.
//! * A keepalive writes nothing. Leases that were alive when the store was closed start again when it is reopened:
//!   nothing could renew them meanwhile, and nothing else could acquire what they hold.
//! * Times are those of the monotonic clock: setting the clock has no effect.
//! * A full or failing disk is reported to the client; the store is reopened and continues with what was written
//!   before. A file that is damaged or not a store is reported and not modified.

mod disk;
pub(crate) mod state;

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::stream;
use tokio::sync::{broadcast, oneshot};

use crate::store::{
    Changes, Committed, Entry, Lease, LeaseId, Page, Revision, Store, StoreError, StoreFuture, Transaction,
    Watch,
};
use disk::Disk;
use state::State;

/// Maximum number of requests per commit.
const MAX_BATCH: usize = 1024;
/// Writes that a watch may lag behind before the client has to list again.
const MAX_LAG: usize = 4096;
/// Pause before reopening a file is retried after a failure of its disk.
const REOPEN_RETRY: Duration = Duration::from_secs(1);

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

/// Past changes, and the channel of future ones.
type Subscription = (Vec<Changes>, broadcast::Receiver<Changes>);

/// A store in a file.
#[derive(Debug)]
pub struct Embedded {
    requests: Option<Sender<Request>>,
    worker: Option<JoinHandle<()>>,
    created: bool,
}

impl Embedded {
    /// Opens the store in this file, or creates it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`]: the file is damaged or not a store; it is not modified. [`StoreError::Unavailable`]:
    /// another process uses it. [`StoreError::Refused`]: no permission, or no such directory.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let (disk, state, created) = Disk::open(path)?;
        let (requests, inbox) = channel();
        let worker = Worker {
            disk,
            state,
            opened: Instant::now(),
            changes: broadcast::channel(MAX_LAG).0,
            failed: None,
        };
        let worker =
            std::thread::Builder::new().name("store".to_owned()).spawn(move || worker.work(&inbox)).map_err(
                |error| StoreError::Unavailable(format!("cannot start the thread of the store: {error}")),
            )?;
        Ok(Self { requests: Some(requests), worker: Some(worker), created })
    }

    /// Returns whether the file was created: leases of a lost previous store may still be held.
    #[must_use]
    pub const fn was_created(&self) -> bool {
        self.created
    }

    async fn request<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable("the store is closed".to_owned());
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(closed)?;
        requests.send(request(reply)).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(worker) = self.worker.take() {
            // A panic was reported by the thread itself.
            let _ = worker.join();
        }
    }
}

impl Store for Embedded {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Entry>> {
        Box::pin(self.request(|reply| Request::Get(key.to_owned(), reply)))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, most: usize) -> StoreFuture<'a, Page> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        Box::pin(self.request(move |reply| Request::List { prefix, after, most, reply }))
    }

    fn commit(&self, transaction: Transaction) -> StoreFuture<'_, Committed> {
        Box::pin(self.request(|reply| Request::Commit(transaction, reply)))
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        let (reply, answer) = oneshot::channel();
        if let Some(requests) = &self.requests {
            // If the store is closed, so is the reply.
            let _ = requests.send(Request::Watch(after, reply));
        }
        let state = WatchState { prefix: prefix.to_owned(), phase: WatchPhase::Requested(answer) };
        Box::pin(stream::unfold(state, |mut state| async move {
            let next = state.next().await?;
            Some((next, state))
        }))
    }

    fn grant(&self, ttl: Duration) -> StoreFuture<'_, Lease> {
        Box::pin(self.request(move |reply| Request::Grant(ttl, reply)))
    }

    fn keep_alive(&self, lease: LeaseId) -> StoreFuture<'_, Duration> {
        Box::pin(self.request(move |reply| Request::KeepAlive(lease, reply)))
    }

    fn revoke(&self, lease: LeaseId) -> StoreFuture<'_, ()> {
        Box::pin(self.request(move |reply| Request::Revoke(lease, reply)))
    }
}

/// The state of a watch.
struct WatchState {
    prefix: String,
    phase: WatchPhase,
}

enum WatchPhase {
    Requested(oneshot::Receiver<Result<Subscription, StoreError>>),
    Following { past: std::vec::IntoIter<Changes>, seen: Revision, future: broadcast::Receiver<Changes> },
    Closed,
}

impl WatchState {
    async fn next(&mut self) -> Option<Result<Changes, StoreError>> {
        loop {
            let next = match &mut self.phase {
                WatchPhase::Requested(answer) => match answer.await {
                    Ok(Ok((past, future))) => {
                        self.phase =
                            WatchPhase::Following { past: past.into_iter(), seen: Revision(0), future };
                        continue;
                    }
                    Ok(Err(error)) => Err(error),
                    Err(_) => Err(StoreError::Unavailable("the store is closed".to_owned())),
                },
                WatchPhase::Following { past, seen, future } => match past.next() {
                    Some(changes) => Ok(changes),
                    None => match future.recv().await {
                        Ok(changes) => Ok(changes),
                        Err(broadcast::error::RecvError::Lagged(_)) => Err(StoreError::Compacted(*seen)),
                        Err(broadcast::error::RecvError::Closed) => {
                            Err(StoreError::Unavailable("the store was reopened".to_owned()))
                        }
                    },
                },
                WatchPhase::Closed => return None,
            };
            match next {
                Ok(mut changes) => {
                    if let WatchPhase::Following { seen, .. } = &mut self.phase {
                        *seen = changes.revision;
                    }
                    changes.changes.retain(|change| change.key().starts_with(&self.prefix));
                    if !changes.changes.is_empty() {
                        return Some(Ok(changes));
                    }
                }
                Err(error) => {
                    self.phase = WatchPhase::Closed;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// The thread that owns the state and the file.
struct Worker {
    disk: Disk,
    state: State,
    opened: Instant,
    changes: broadcast::Sender<Changes>,
    /// The disk has failed and differs from the state: the error, and when reopening is retried.
    failed: Option<(StoreError, Duration)>,
}

impl Worker {
    fn work(mut self, inbox: &Receiver<Request>) {
        loop {
            let deadline = match &self.failed {
                // Leases lapse once that can be written.
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
            self.recover(now);
            let requests = first.into_iter().chain(inbox.try_iter()).take(MAX_BATCH);
            let replies: Vec<PendingReply> =
                requests.map(|request| handle(&mut self.state, &self.changes, request, now)).collect();
            if self.failed.is_none() {
                // After the requests: a keepalive that arrived in time is not late because the disk was slow.
                self.state.lapse(now);
            }
            let written = self.write(now);
            for reply in replies {
                reply(written.clone());
            }
        }
    }

    /// Writes the changes, then publishes them to the watches.
    fn write(&mut self, now: Duration) -> Result<(), StoreError> {
        let (to_disk, published) = self.state.take();
        if let Some((error, _)) = &self.failed {
            return Err(error.clone());
        }
        if to_disk.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.disk.write(&to_disk, self.state.revision, self.state.newest_lease) {
            // The content in memory is ahead of the disk: go back to the disk. Clients that watch have to list again.
            self.changes = broadcast::channel(MAX_LAG).0;
            self.failed = Some((error.clone(), now));
            self.recover(now);
            return Err(error);
        }
        for changes in published {
            // Fails if there is no watch.
            let _ = self.changes.send(changes);
        }
        Ok(())
    }

    /// Reloads the content from disk after a failure, once the retry is due.
    fn recover(&mut self, now: Duration) {
        if self.failed.as_ref().is_some_and(|(_, retry)| *retry <= now) {
            match self.disk.reload(now) {
                Ok(state) => (self.state, self.failed) = (state, None),
                Err(error) => self.failed = Some((error, now + REOPEN_RETRY)),
            }
        }
    }
}

/// A reply that waits for the write to disk.
type PendingReply = Box<dyn FnOnce(Result<(), StoreError>)>;

/// Carries out a request. The reply is sent when all that the request has read or changed is on disk.
fn handle(
    state: &mut State,
    changes: &broadcast::Sender<Changes>,
    request: Request,
    now: Duration,
) -> PendingReply {
    fn after_write<T: 'static>(reply: Reply<T>, result: Result<T, StoreError>) -> PendingReply {
        Box::new(move |written| {
            // Fails if the request was cancelled.
            let _ = reply.send(written.and(result));
        })
    }
    match request {
        Request::Get(key, reply) => after_write(reply, Ok(state.get(&key))),
        Request::List { prefix, after, most, reply } => {
            after_write(reply, Ok(state.list(&prefix, after.as_deref(), most)))
        }
        Request::Commit(transaction, reply) => after_write(reply, state.commit(transaction)),
        Request::Watch(after, reply) => {
            // Changes of the current batch are in the history and will be published too: do not report them twice.
            let (past, future, published) =
                (state.since(after), changes.subscribe(), state.published_up_to());
            after_write(
                reply,
                past.map(|mut past| {
                    past.retain(|changes| changes.revision <= published);
                    (past, future)
                }),
            )
        }
        Request::Grant(ttl, reply) => after_write(reply, Ok(state.grant(ttl, now))),
        Request::KeepAlive(lease, reply) => after_write(reply, state.keep_alive(lease, now)),
        Request::Revoke(lease, reply) => {
            state.revoke(lease);
            after_write(reply, Ok(()))
        }
    }
}
