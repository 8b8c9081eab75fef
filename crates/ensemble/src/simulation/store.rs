//! The store, and the link of one master to it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream;
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::chance::Chance;
use super::world::World;
use crate::embedded::state::State;
use crate::state;
use crate::store::{
    Changes, Committed, Entry, Lease, LeaseId, Page, Revision, Store, StoreError, StoreFuture, Transaction,
    Watch,
};

/// The prefix of all keys.
pub(super) const PREFIX: &str = "/kontrol/default/demo/";
/// The time limit of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// The interval of checks for expired leases and cut watches.
const TICK: Duration = Duration::from_millis(100);

/// The store.
pub(super) struct Shared {
    chance: Chance,
    world: Arc<World>,
    began: Instant,
    state: Mutex<State>,
    leases: Mutex<BTreeSet<LeaseId>>,
    changes: broadcast::Sender<Changes>,
    down: AtomicBool,
    down_until: Mutex<Option<Instant>>,
    /// A watch from an earlier revision has to list again.
    compacted: AtomicU64,
    ends_leases: bool,
    leaderships: AtomicU64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    pub(super) fn new(chance: Chance, world: Arc<World>, ends_leases: bool) -> Arc<Self> {
        Arc::new(Self {
            chance,
            world,
            began: Instant::now(),
            state: Mutex::default(),
            leases: Mutex::default(),
            changes: broadcast::channel(4096).0,
            down: AtomicBool::new(false),
            down_until: Mutex::default(),
            compacted: AtomicU64::new(0),
            ends_leases,
            leaderships: AtomicU64::new(0),
        })
    }

    pub(super) const fn chance(&self) -> &Chance {
        &self.chance
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> MutexGuard<'_, BTreeSet<LeaseId>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a request, and notifies the watches.
    fn act<T>(&self, act: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.state();
        let now = self.began.elapsed();
        state.lapse(now);
        let result = act(&mut state, now);
        let (_, changes_made) = state.take();
        for changes in changes_made {
            for change in &changes.changes {
                self.world.written(PREFIX, change);
                if change.key().strip_prefix(PREFIX) == Some(state::LEADER)
                    && matches!(change, crate::store::Change::Put(_))
                {
                    self.leaderships.fetch_add(1, Ordering::Relaxed);
                }
            }
            // Err: there is no watch.
            let _ = self.changes.send(changes);
        }
        result
    }

    /// Expires leases, also without requests.
    pub(super) async fn tick(self: Arc<Self>) {
        loop {
            sleep(TICK).await;
            self.act(|_, _| ());
            let mut until = self.down_until.lock().unwrap_or_else(PoisonError::into_inner);
            if until.is_some_and(|until| until <= Instant::now()) {
                *until = None;
                self.down.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Makes it unavailable for a while. Leases continue to expire.
    pub(super) fn go_down(&self, time: Duration) {
        *self.down_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + time);
        self.down.store(true, Ordering::Relaxed);
    }

    /// Compacts all earlier revisions.
    pub(super) fn compact(&self) {
        self.compacted.store(self.state().revision.0, Ordering::Relaxed);
    }

    /// Expires a live lease, if the store may do that.
    pub(super) fn end_a_lease(&self) {
        if !self.ends_leases {
            return;
        }
        let leader = self.state().get(&format!("{PREFIX}{}", state::LEADER)).and_then(|entry| entry.lease);
        let some = if self.chance.once_in(2) && leader.is_some() {
            leader
        } else {
            let leases = self.leases();
            let count = leases.len().max(1) as u64;
            leases.iter().nth(self.chance.below(count) as usize).copied()
        };
        if let Some(id) = some {
            self.leases().remove(&id);
            self.act(|state, _| state.revoke(id));
        }
    }

    pub(super) fn heal(&self) {
        *self.down_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.down.store(false, Ordering::Relaxed);
    }

    /// The final state: the newest revision and the number of leaderships.
    pub(super) fn counted(&self, digest: &str) -> (u64, u64) {
        let kept = self.state().get(&format!("{PREFIX}state"));
        let kept: Option<state::State> = kept.and_then(|entry| serde_json::from_slice(&entry.value).ok());
        assert_eq!(
            kept.and_then(|state| state.digest).as_deref(),
            Some(digest),
            "the store knows what was seen"
        );
        (self.state().revision.0, self.leaderships.load(Ordering::Relaxed))
    }
}

/// The link of one master to the store.
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    /// Cut: nothing passes.
    pub(super) cut: Arc<AtomicBool>,
}

/// A request of a dead master may still arrive.
type Late = Box<dyn FnOnce(&mut State, Duration) + Send>;

impl Link {
    pub(super) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { shared, cut: Arc::default() })
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed) || self.shared.down.load(Ordering::Relaxed)
    }

    fn fault(&self) {
        self.shared.world.faults.fetch_add(1, Ordering::Relaxed);
    }

    async fn through<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut State, Duration) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Self { shared, .. } = self;
        let chance = &shared.chance;
        let unknown = |why: &str| Err(StoreError::Unknown(why.to_owned()));
        sleep(chance.between(1, 40)).await;
        if self.is_cut() {
            self.fault();
            sleep(REQUEST_TIMEOUT).await;
            return Err(StoreError::Unavailable("cut off".to_owned()));
        }
        if !shared.world.is_calm() {
            if chance.once_in(40) {
                self.fault();
                sleep(REQUEST_TIMEOUT).await;
                return unknown("the request was lost");
            }
            if chance.once_in(60) {
                // It arrives late, perhaps long after its sender has given up.
                self.fault();
                let late: Late = Box::new(move |state, now| drop(act(state, now)));
                let (shared, delay) = (Arc::clone(shared), chance.between(1_000, 40_000));
                tokio::spawn(async move {
                    sleep(delay).await;
                    shared.act(late);
                });
                sleep(REQUEST_TIMEOUT).await;
                return unknown("the request is late");
            }
        }
        let result = shared.act(act);
        sleep(chance.between(1, 40)).await;
        if self.is_cut() || (!shared.world.is_calm() && chance.once_in(40)) {
            self.fault();
            sleep(REQUEST_TIMEOUT).await;
            return unknown("the answer was lost");
        }
        result
    }
}

impl Store for Link {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Entry>> {
        let key = key.to_owned();
        Box::pin(self.through(move |state, _| Ok(state.get(&key))))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, most: usize) -> StoreFuture<'a, Page> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        // Small pages, so that changes happen between them.
        let most = if self.shared.world.is_calm() { most } else { most.min(4) };
        Box::pin(self.through(move |state, _| Ok(state.list(&prefix, after.as_deref(), most))))
    }

    fn commit(&self, transaction: Transaction) -> StoreFuture<'_, Committed> {
        Box::pin(self.through(move |state, _| state.commit(transaction)))
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        let shared = Arc::clone(&self.shared);
        let receiver = shared.changes.subscribe();
        let too_old = after.0 < shared.compacted.load(Ordering::Relaxed);
        let past = if too_old { Err(StoreError::Compacted(after)) } else { shared.state().since(after) };
        let mut ready: Vec<_> = match past {
            Ok(past) => past.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        ready.reverse();
        let (cut, over) = (Arc::clone(&self.cut), self.is_cut());
        let prefix = prefix.to_owned();
        let watching = Watching { shared, cut, silent: None, receiver, ready, prefix, revision: after, over };
        Box::pin(stream::unfold(watching, |mut watching| async move {
            let next = watching.next().await?;
            Some((next, watching))
        }))
    }

    fn grant(&self, ttl: Duration) -> StoreFuture<'_, Lease> {
        let shared = Arc::clone(&self.shared);
        Box::pin(self.through(move |state, now| {
            let lease = state.grant(ttl, now);
            shared.leases().insert(lease.id);
            Ok(lease)
        }))
    }

    fn keep_alive(&self, lease: LeaseId) -> StoreFuture<'_, Duration> {
        Box::pin(self.through(move |state, now| state.keep_alive(lease, now)))
    }

    fn may_lapse_early(&self) -> bool {
        self.shared.ends_leases
    }

    fn revoke(&self, lease: LeaseId) -> StoreFuture<'_, ()> {
        let shared = Arc::clone(&self.shared);
        Box::pin(self.through(move |state, _| {
            shared.leases().remove(&lease);
            state.revoke(lease);
            Ok(())
        }))
    }
}

struct Watching {
    shared: Arc<Shared>,
    cut: Arc<AtomicBool>,
    /// The watch is cut, and when that is noticed.
    silent: Option<Instant>,
    receiver: broadcast::Receiver<Changes>,
    /// Earlier changes, the newest first.
    ready: Vec<Result<Changes, StoreError>>,
    prefix: String,
    revision: Revision,
    over: bool,
}

impl Watching {
    async fn next(&mut self) -> Option<Result<Changes, StoreError>> {
        loop {
            if self.over {
                sleep(REQUEST_TIMEOUT).await;
                return None;
            }
            if self.silent.is_none() && self.cut.load(Ordering::Relaxed) {
                self.silent = Some(Instant::now() + self.shared.chance.between(1_000, 15_000));
            }
            if let Some(until) = self.silent {
                sleep_until(until).await;
                self.over = true;
                return Some(Err(StoreError::Unavailable("the watch was cut".to_owned())));
            }
            let next = match self.ready.pop() {
                Some(next) => next,
                None => match timeout(TICK, self.receiver.recv()).await {
                    Ok(Ok(changes)) => Ok(changes),
                    Ok(Err(_)) => Err(StoreError::Compacted(self.revision)),
                    Err(_) => {
                        self.over = self.shared.down.load(Ordering::Relaxed);
                        continue;
                    }
                },
            };
            let mut changes = match next {
                Ok(changes) => changes,
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            };
            if changes.revision <= self.revision {
                continue;
            }
            self.revision = changes.revision;
            sleep(self.shared.chance.between(1, 40)).await;
            if !self.shared.world.is_calm() && self.shared.chance.once_in(80) {
                self.over = true;
                return Some(Err(StoreError::Unavailable("the watch is broken".to_owned())));
            }
            changes.changes.retain(|change| change.key().starts_with(&self.prefix));
            if !changes.changes.is_empty() {
                return Some(Ok(changes));
            }
        }
    }
}
