//! Locks on top of any store: one holder at a time, and a fencing token that increases with every holder.
//!
//! A lock is an entry that is bound to the lease of its holder. The client that creates the entry holds the lock. The
//! revision of the entry is the *fence*: a resource that rejects commands with a lower fence than the highest one it has
//! seen is safe from a holder that has lost the lock without knowing it.
//!
//! ```text
//! free ──acquire──► held ──release──► free
//!                    │ ▲
//!         keep_alive └─┘ └──lapse────► free
//! ```
//!
//! If a store may expire a lease that was kept alive ([`Store::may_lapse_early`]), each holder leaves a *trace*: an entry
//! with its time to live that is not bound to a lease, and is deleted when the lock is released. A lock that has
//! disappeared and left its trace is not granted again before the time to live of the former holder has passed once more:
//! by then that holder has learned of the loss, or has given up for lack of a response.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use crate::store::{
    Change, Committed, Condition, Entry, LeaseId, Revision, Store, StoreError, Transaction, Write,
};

/// The page size of a list of locks.
const PAGE: usize = 1000;

/// The description of a holder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Holder {
    /// Its name for itself.
    #[serde(default)]
    pub value: String,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The time of its request, as it reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

/// A held lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The name of the lock.
    pub name: String,
    /// The holder.
    pub holder: Holder,
    /// The fencing token.
    pub fence: Revision,
}

/// The result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// Acquired.
    Held {
        /// The lease, which has to be kept alive.
        lease: LeaseId,
        /// The time to live of the lease from each keepalive.
        ttl: Duration,
        /// The fencing token: higher than that of each earlier holder.
        fence: Revision,
    },
    /// Another client holds it.
    Taken(Taken),
}

/// The trace of a lock, which exists until it is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    ttl_ms: u64,
    holder: Holder,
}

/// The locks below a prefix of a store.
#[derive(Debug, Clone)]
pub struct Locks {
    store: Arc<dyn Store>,
    prefix: String,
    /// The prefix of traces.
    traces: String,
    /// The store is new: leases granted by an older one may still be in use.
    made: Option<Instant>,
    memory: Arc<Mutex<Memory>>,
}

/// The state between requests.
#[derive(Debug, Default)]
struct Memory {
    /// Locks that have disappeared, by name: since when that is known, and the trace.
    vanished: BTreeMap<String, (Revision, Instant)>,
    /// The locks of the leases that were granted here.
    held: BTreeMap<LeaseId, (String, Revision)>,
}

/// The maximum number of remembered locks.
const MAX_REMEMBERED: usize = 100_000;

/// Why a free lock is not granted.
struct Blocked {
    at: Instant,
    holder: Holder,
    fence: Revision,
}

impl Locks {
    /// Creates locks below this prefix, such as `/shared-lock/`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, prefix: &str) -> Self {
        let traces = format!("{}-last/", prefix.trim_end_matches('/'));
        Self { store, prefix: prefix.to_owned(), traces, made: None, memory: Arc::default() }
    }

    /// Keeps traces below this prefix, instead of that of the locks followed by `-last`.
    #[must_use]
    pub fn with_traces(self, traces: &str) -> Self {
        Self { traces: traces.to_owned(), ..self }
    }

    /// Marks the store as new. If an older one was lost, its leases may still be in use: no lock is granted before its
    /// time to live has passed.
    #[must_use]
    pub fn of_new_store(self) -> Self {
        Self { made: Some(Instant::now()), ..self }
    }

    /// Whether an expired lock is granted only after its time to live has passed once more.
    #[must_use]
    pub fn wait_after_lapse(&self) -> bool {
        self.store.may_lapse_early()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acquires a lock if it is free, or becomes free before `until`.
    ///
    /// # Errors
    ///
    /// Those of the store. After [`StoreError::Unknown`] it may be held by a lease that is not kept alive, and so expires.
    pub async fn acquire(
        &self,
        name: &str,
        holder: &Holder,
        ttl: Duration,
        until: Instant,
    ) -> Result<Acquired, StoreError> {
        let key = format!("{}{name}", self.prefix);
        loop {
            let (mut found, revision) = self.read_with_revision(&key).await?;
            if found.is_none() {
                let trace = self.trace(name).await?;
                if self.blocked_until(name, trace.as_ref(), ttl).is_some() {
                    // It may have been acquired between the two reads: then it has not disappeared.
                    let (again, _) = self.read_with_revision(&key).await?;
                    if again.is_none() {
                        self.remember_disappearance(name, trace.as_ref());
                        let Some(blocked_until) = self.blocked_until(name, trace.as_ref(), ttl) else {
                            continue;
                        };
                        let at = format!("{}{name}", self.traces);
                        let until_then = blocked_until.at.min(until);
                        // It may have been released after all, and another client may be faster.
                        let changed = self
                            .wait_for_change(&at, blocked_until.fence.max(revision), until_then, |_| true)
                            .await?;
                        if !changed && Instant::now() < blocked_until.at {
                            let Blocked { holder, fence, .. } = blocked_until;
                            return Ok(Acquired::Taken(Taken { name: name.to_owned(), holder, fence }));
                        }
                        continue;
                    }
                    found = again;
                } else {
                    match self.take(name, holder, ttl, trace.map(|(entry, _)| entry)).await? {
                        Ok(held) => return Ok(held),
                        Err(by) => found = by,
                    }
                }
            }
            if let Some(entry) = found {
                let after = entry.changed.max(revision);
                let freed = |change: &Change| matches!(change, Change::Deleted(_));
                if !self.wait_for_change(&key, after, until, freed).await? {
                    return Ok(Acquired::Taken(self.taken(entry)));
                }
            }
        }
    }

    /// Reads a key. Returns the entry and the revision of the read.
    async fn read_with_revision(&self, key: &str) -> Result<(Option<Entry>, Revision), StoreError> {
        // The key itself is the first one with this prefix.
        let page = self.store.list(key, None, 1).await?;
        Ok((page.entries.into_iter().next().filter(|entry| entry.key == key), page.revision))
    }

    /// The trace of the last holder, if traces are used.
    async fn trace(&self, name: &str) -> Result<Option<(Entry, Option<Trace>)>, StoreError> {
        if !self.store.may_lapse_early() {
            return Ok(None);
        }
        let found = self.store.get(&format!("{}{name}", self.traces)).await?;
        Ok(found.map(|entry| {
            let trace = serde_json::from_slice(&entry.value).ok();
            (entry, trace)
        }))
    }

    /// Whether a lock without a holder may be granted.
    fn blocked_until(
        &self,
        name: &str,
        trace: Option<&(Entry, Option<Trace>)>,
        ttl: Duration,
    ) -> Option<Blocked> {
        let now = Instant::now();
        if let Some(made) = self.made.filter(|made| now < *made + ttl) {
            let value = "unknown, since the store is new".to_owned();
            let holder = Holder { value, ..Holder::default() };
            return Some(Blocked { at: made + ttl, holder, fence: Revision(0) });
        }
        let (entry, trace) = trace?;
        let trace = trace.as_ref()?;
        let since =
            self.memory().vanished.get(name).filter(|seen| seen.0 == entry.changed).map(|seen| seen.1);
        let at = since.unwrap_or(now) + Duration::from_millis(trace.ttl_ms);
        (now < at).then(|| Blocked { at, holder: trace.holder.clone(), fence: entry.changed })
    }

    /// Remembers since when a lock with a trace has disappeared.
    fn remember_disappearance(&self, name: &str, trace: Option<&(Entry, Option<Trace>)>) {
        let Some((entry, _)) = trace else { return };
        let now = Instant::now();
        let mut memory = self.memory();
        if memory.vanished.len() > MAX_REMEMBERED {
            // A late time is safe.
            memory.vanished.clear();
        }
        let seen = memory.vanished.entry(name.to_owned()).or_insert((entry.changed, now));
        if seen.0 != entry.changed {
            *seen = (entry.changed, now);
        }
    }

    async fn take(
        &self,
        name: &str,
        holder: &Holder,
        ttl: Duration,
        trace: Option<Entry>,
    ) -> Result<Result<Acquired, Option<Entry>>, StoreError> {
        let key = format!("{}{name}", self.prefix);
        let lease = self.store.grant(ttl).await?;
        let value = serde_json::to_vec(holder).map_err(|error| StoreError::Refused(error.to_string()))?;
        let mut transaction = Transaction {
            conditions: vec![Condition::Absent(key.clone())],
            writes: vec![Write::Put { key, value, lease: Some(lease.id) }],
        };
        if self.store.may_lapse_early() {
            let at = format!("{}{name}", self.traces);
            transaction.conditions.push(match trace {
                Some(entry) => Condition::Unchanged(at.clone(), entry.changed),
                None => Condition::Absent(at.clone()),
            });
            let ttl_ms = u64::try_from(lease.ttl.as_millis()).unwrap_or(u64::MAX);
            let trace = serde_json::to_vec(&Trace { ttl_ms, holder: holder.clone() });
            let value = trace.map_err(|error| StoreError::Refused(error.to_string()))?;
            transaction.writes.push(Write::Put { key: at, value, lease: None });
        }
        let committed = self.store.commit(transaction).await;
        if let Ok(Committed::Done(fence)) = committed {
            let mut memory = self.memory();
            memory.vanished.remove(name);
            if memory.held.len() > MAX_REMEMBERED {
                memory.held.clear();
            }
            memory.held.insert(lease.id, (name.to_owned(), fence));
            return Ok(Ok(Acquired::Held { lease: lease.id, ttl: lease.ttl, fence }));
        }
        // Also if the response was lost: it will not be kept alive. If this fails, it expires.
        let _ = self.store.revoke(lease.id).await;
        match committed? {
            Committed::Refused(found) => Ok(Err(found.into_iter().next().flatten())),
            Committed::Done(_) => Ok(Err(None)),
        }
    }

    /// Waits for a change of a key after this revision, or for a reason to read again. False: there was none in time.
    async fn wait_for_change(
        &self,
        key: &str,
        after: Revision,
        until: Instant,
        wanted: impl Fn(&Change) -> bool,
    ) -> Result<bool, StoreError> {
        if Instant::now() >= until {
            return Ok(false);
        }
        let mut watch = self.store.watch(key, after);
        loop {
            match timeout_at(until, watch.next()).await {
                Err(_) => return Ok(false),
                // The revision was compacted, or the store reopened: read again.
                Ok(None | Some(Err(StoreError::Compacted(_)))) => return Ok(true),
                Ok(Some(Err(error))) => return Err(error),
                Ok(Some(Ok(changes))) => {
                    if changes.changes.iter().any(|change| change.key() == key && wanted(change)) {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Renews the lease, and returns its time to live.
    ///
    /// # Errors
    ///
    /// [`StoreError::LeaseGone`]: it is no longer held. Otherwise those of the store.
    pub async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.store.keep_alive(lease).await
    }

    /// Releases it; it is no error if it has expired.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn release(&self, lease: LeaseId) -> Result<(), StoreError> {
        let known = self.memory().held.get(&lease).cloned();
        if self.store.may_lapse_early() {
            let known = match known {
                Some(known) => Some(known),
                None => self.held_by(lease).await?,
            };
            if let Some((name, fence)) = known {
                let key = format!("{}{name}", self.prefix);
                let at = format!("{}{name}", self.traces);
                let writes = vec![Write::Delete(key.clone()), Write::Delete(at.clone())];
                let conditions = vec![Condition::Since(key.clone(), fence)];
                let given_back = self.store.commit(Transaction { conditions, writes }).await?;
                if matches!(given_back, Committed::Refused(_)) {
                    // It has expired, and its trace is not needed any more. Failed again: another client holds it.
                    let conditions = vec![Condition::Absent(key), Condition::Unchanged(at.clone(), fence)];
                    self.store.commit(Transaction { conditions, writes: vec![Write::Delete(at)] }).await?;
                }
            }
        }
        self.store.revoke(lease).await?;
        self.memory().held.remove(&lease);
        Ok(())
    }

    /// The lock of a lease that was granted by another server.
    async fn held_by(&self, lease: LeaseId) -> Result<Option<(String, Revision)>, StoreError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.store.list(&self.prefix, after.as_deref(), PAGE).await?;
            after = page.entries.last().map(|entry| entry.key.clone());
            if let Some(entry) = page.entries.into_iter().find(|entry| entry.lease == Some(lease)) {
                let name = entry.key.strip_prefix(&self.prefix).unwrap_or(&entry.key).to_owned();
                return Ok(Some((name, entry.created)));
            }
            if !page.more {
                return Ok(None);
            }
        }
    }

    /// Checks whether the store responds.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn look(&self) -> Result<(), StoreError> {
        self.store.list(&self.prefix, None, 1).await.map(drop)
    }

    /// Lists the held locks, ordered by name.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn list(&self) -> Result<Vec<Taken>, StoreError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.store.list(&self.prefix, after.as_deref(), PAGE).await?;
            after = page.entries.last().map(|entry| entry.key.clone());
            all.extend(page.entries.into_iter().map(|entry| self.taken(entry)));
            if !page.more {
                return Ok(all);
            }
        }
    }

    fn taken(&self, Entry { key, value, created, .. }: Entry) -> Taken {
        // Foreign data at the key also holds the lock.
        let holder = serde_json::from_slice(&value).unwrap_or_else(|_| Holder {
            value: String::from_utf8_lossy(&value).chars().take(256).collect(),
            ..Holder::default()
        });
        Taken { name: key.strip_prefix(&self.prefix).unwrap_or(&key).to_owned(), holder, fence: created }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::Embedded;
    use crate::store::{Lease, Page, StoreFuture, Watch};

    const TTL: Duration = Duration::from_millis(300);

    /// A store whose leases may expire early, and where another client acquires a lock between two reads.
    #[derive(Debug)]
    struct Between {
        store: Arc<Embedded>,
        other: Mutex<Option<Locks>>,
        lease: Mutex<Option<LeaseId>>,
    }

    impl Store for Between {
        fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Entry>> {
            Box::pin(async move {
                let other = self.other.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(other) = other {
                    let held = other.acquire("l", &Holder::default(), TTL, Instant::now()).await?;
                    let Acquired::Held { lease, .. } = held else { panic!("{held:?}") };
                    *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = Some(lease);
                }
                self.store.get(key).await
            })
        }
        fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, most: usize) -> StoreFuture<'a, Page> {
            self.store.list(prefix, after, most)
        }
        fn commit(&self, transaction: Transaction) -> StoreFuture<'_, Committed> {
            self.store.commit(transaction)
        }
        fn watch(&self, prefix: &str, after: Revision) -> Watch {
            self.store.watch(prefix, after)
        }
        fn grant(&self, ttl: Duration) -> StoreFuture<'_, Lease> {
            self.store.grant(ttl)
        }
        fn keep_alive(&self, lease: LeaseId) -> StoreFuture<'_, Duration> {
            self.store.keep_alive(lease)
        }
        fn may_lapse_early(&self) -> bool {
            true
        }
        fn revoke(&self, lease: LeaseId) -> StoreFuture<'_, ()> {
            self.store.revoke(lease)
        }
    }

    #[tokio::test]
    async fn a_lock_acquired_between_two_reads_has_not_disappeared() {
        let directory = testkit::private_directory();
        let store = Embedded::open(&directory.path().join("store")).unwrap_or_else(|error| panic!("{error}"));
        let store =
            Arc::new(Between { store: Arc::new(store), other: Mutex::default(), lease: Mutex::default() });
        let [one, other] = [0, 1].map(|_| Locks::new(Arc::clone(&store) as Arc<dyn Store>, "/locks/"));
        let free = async || {
            matches!(
                one.acquire("l", &Holder::default(), TTL, Instant::now()).await,
                Ok(Acquired::Held { .. })
            )
        };
        *store.other.lock().unwrap_or_else(PoisonError::into_inner) = Some(other);
        assert!(!free().await, "another was quicker");
        let lease = store.lease.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(|| panic!());
        let begun = Instant::now();
        while begun.elapsed() < TTL * 2 {
            assert!(store.keep_alive(lease).await.is_ok());
            tokio::time::sleep(TTL / 5).await;
        }
        // The lease expires although it was kept alive: its holder notices within its time to live.
        assert_eq!(store.revoke(lease).await, Ok(()));
        let begun = Instant::now();
        while !free().await {
            assert!(begun.elapsed() < TTL * 30);
            tokio::time::sleep(TTL / 20).await;
        }
        assert!(begun.elapsed() >= TTL, "after {:?}", begun.elapsed());
    }
}
