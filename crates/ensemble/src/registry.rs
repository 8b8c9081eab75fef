//! The registration of members, in a store that several masters may share.
//!
//! ```text
//! keepalive ──► known, unchanged ──► the lease is renewed: no write
//!          ├──► known, changed ────► one write, on condition that the entry is unchanged
//!          ├──► unknown ───────────► [ registrar: numbers for all waiting members in one transaction ]
//!          └──► down ──────────────► the entry and the lease are deleted
//! store ──watch──► roster (the list of this master)
//! ```
//!
//! Keys below the prefix: `members/ID` with the member, bound to its lease; `seq` with the last sequence number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::sleep;

use crate::member::{Keepalive, Member};
use crate::roster::{RegisteredMember, Roster};
use crate::store::{
    Change, Committed, Condition, Entry, LeaseId, Revision, Store, StoreError, Transaction, Write,
};

/// New members per transaction: etcd takes 128 operations in one, by default.
const TOGETHER: usize = 50;
/// Bytes of new members per transaction, unless one alone is longer: etcd takes requests of 1.5 MiB, by default.
const BYTES_TOGETHER: usize = 1 << 20;
/// New members that may wait for a number; more are rejected and have to retry.
const WAITING: usize = 20_000;
/// Bytes of waiting new members.
const BYTES_WAITING: usize = 64 << 20;
/// Members per page of a list.
const PAGE: usize = 500;
/// Attempts of a write that conflicts with others.
const TRIES: usize = 20;
/// First and maximum pause before a failed request to the store is retried.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The registration of members.
#[derive(Debug)]
pub struct Registry {
    store: Arc<dyn Store>,
    /// Prefix of the keys of members.
    members: String,
    /// Key of the last sequence number.
    seq: String,
    ttl: Duration,
    roster: Mutex<Roster>,
    changed: watch::Sender<u64>,
    listed: watch::Sender<bool>,
    room: Arc<Semaphore>,
    newcomers: mpsc::Sender<Newcomer>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<Newcomer>>,
}

/// A new member that needs a number. The reply says whether it got one; if not, its state is read again.
#[derive(Debug)]
struct Newcomer {
    keepalive: Keepalive,
    reply: oneshot::Sender<Result<bool, StoreError>>,
    /// The bytes that it occupies.
    room: OwnedSemaphorePermit,
}

impl Registry {
    /// Creates a registry below a prefix such as `/kontrol/default/app/`. A member without a keepalive for `ttl` is
    /// removed. [`follow`](Self::follow) and [`register`](Self::register) have to run concurrently.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, prefix: &str, ttl: Duration) -> Self {
        let members = format!("{prefix}members/");
        let (newcomers, waiting) = mpsc::channel(WAITING);
        Self {
            store,
            seq: format!("{prefix}seq"),
            ttl,
            roster: Mutex::new(Roster::with_prefix(&members)),
            members,
            changed: watch::Sender::new(0),
            listed: watch::Sender::new(false),
            room: Arc::new(Semaphore::new(BYTES_WAITING)),
            newcomers,
            waiting: tokio::sync::Mutex::new(waiting),
        }
    }

    /// Returns the list of this master.
    pub fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a counter of changes of the list.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until the list of this master is complete.
    pub async fn wait_listed(&self) {
        // Cannot fail: self holds the sender.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    fn key(&self, id: &str) -> String {
        format!("{}{id}", self.members)
    }

    fn known(&self, id: &str) -> Option<RegisteredMember> {
        self.roster().get(id).cloned()
    }

    fn apply(&self, change: &Change) {
        if self.roster().apply(change) {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// Removes a member that was absent as of this revision. A later write of another master stays.
    fn remove(&self, id: &str, as_of: Revision) {
        let mut roster = self.roster();
        let is_old = roster.get(id).is_some_and(|known| known.changed <= as_of);
        if is_old && roster.apply(&Change::Deleted(self.key(id))) {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// Handles a keepalive.
    ///
    /// # Errors
    ///
    /// Those of the store; the member has to send it again.
    pub async fn report(&self, keepalive: &Keepalive) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let known = self.known(&keepalive.id);
            let done = match (known, keepalive.down) {
                // From a previous incarnation: the member has restarted since.
                (Some(known), true)
                    if !keepalive.nonce.is_empty() && known.member.nonce != keepalive.nonce =>
                {
                    return Ok(());
                }
                (Some(known), true) => return self.leave(&keepalive.id, &known).await,
                (None, true) => match self.refresh(&keepalive.id).await? {
                    // Another master may know it.
                    Some(_) => false,
                    None => return Ok(()),
                },
                (Some(known), false) => self.keep(keepalive, &known).await?,
                (None, false) => self.enter(keepalive).await?,
            };
            if done {
                return Ok(());
            }
            self.refresh(&keepalive.id).await?;
        }
        Err(StoreError::Unavailable(format!("concurrent writes of member '{}'", keepalive.id)))
    }

    /// Reads a member from the store: the list of this master may be out of date.
    async fn refresh(&self, id: &str) -> Result<Option<Entry>, StoreError> {
        let key = self.key(id);
        // The key itself sorts first among those that begin with it.
        let page = self.store.list(&key, None, 1).await?;
        let found = page.entries.into_iter().next().filter(|entry| entry.key == key);
        match &found {
            Some(entry) => self.apply(&Change::Put(entry.clone())),
            None => self.remove(id, page.revision),
        }
        Ok(found)
    }

    async fn leave(&self, id: &str, known: &RegisteredMember) -> Result<(), StoreError> {
        let writes = vec![Write::Delete(self.key(id))];
        let committed = self.store.commit(Transaction { conditions: Vec::new(), writes }).await?;
        if let Committed::Done(at) = committed {
            self.remove(id, at);
        }
        if let Some(lease) = known.lease {
            self.store.revoke(lease).await?;
        }
        Ok(())
    }

    /// Handles a keepalive of a known member; `false`: the store has another state of it.
    async fn keep(&self, keepalive: &Keepalive, known: &RegisteredMember) -> Result<bool, StoreError> {
        let Some(lease) = known.lease else { return self.put(keepalive, known, None).await };
        match self.store.keep_alive(lease).await {
            Err(StoreError::LeaseGone(_)) => return Ok(false),
            kept => kept?,
        };
        if known.member.matches(keepalive) {
            return Ok(true);
        }
        self.put(keepalive, known, Some(lease)).await
    }

    /// Writes a changed member and keeps its sequence number.
    async fn put(
        &self,
        keepalive: &Keepalive,
        known: &RegisteredMember,
        lease: Option<LeaseId>,
    ) -> Result<bool, StoreError> {
        let lease = match lease {
            Some(lease) => lease,
            None => self.store.grant(self.ttl).await?.id,
        };
        let key = self.key(&keepalive.id);
        let value = serde_json::to_vec(&Member::of(keepalive, known.member.seq)).unwrap_or_default();
        let transaction = Transaction {
            conditions: vec![Condition::Unchanged(key.clone(), known.changed)],
            writes: vec![Write::Put { key: key.clone(), value: value.clone(), lease: Some(lease) }],
        };
        match self.store.commit(transaction).await {
            Ok(Committed::Done(at)) => {
                let entry = Entry { key, value, created: at, changed: at, lease: Some(lease) };
                self.apply(&Change::Put(entry));
                Ok(true)
            }
            Ok(Committed::Refused(_)) | Err(StoreError::LeaseGone(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Handles a keepalive of an unknown member.
    async fn enter(&self, keepalive: &Keepalive) -> Result<bool, StoreError> {
        let (reply, answer) = oneshot::channel();
        let full =
            |what: String| Err(StoreError::Unavailable(format!("too many new members: {what} are waiting")));
        let bytes = serde_json::to_vec(keepalive).map_or(0, |text| text.len());
        let room = Arc::clone(&self.room).try_acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX));
        let Ok(room) = room else { return full(format!("{BYTES_WAITING} bytes")) };
        let closed = || StoreError::Unavailable("the registry is closed".to_owned());
        match self.newcomers.try_send(Newcomer { keepalive: keepalive.clone(), reply, room }) {
            Ok(()) => answer.await.map_err(|_| closed())?,
            Err(mpsc::error::TrySendError::Full(_)) => full(format!("{WAITING}")),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(closed()),
        }
    }

    /// Gives numbers to new members, in an endless loop.
    pub async fn register(&self) {
        let mut waiting = self.waiting.lock().await;
        let mut left = None;
        loop {
            let first = match left.take() {
                Some(left) => Some(left),
                None => waiting.recv().await,
            };
            let Some(first) = first else { return };
            let mut together = BTreeMap::new();
            let mut superseded = Vec::new();
            let mut bytes = first.room.num_permits();
            let mut next = Some(first);
            while let Some(newcomer) = next {
                if let Some(before) = together.insert(newcomer.keepalive.id.clone(), newcomer) {
                    superseded.push(before);
                }
                next = if together.len() < TOGETHER { waiting.try_recv().ok() } else { None };
                bytes += next.as_ref().map_or(0, |newcomer| newcomer.room.num_permits());
                if bytes > BYTES_TOGETHER {
                    left = next.take();
                }
            }
            let keepalives: Vec<_> =
                together.values().map(|newcomer: &Newcomer| newcomer.keepalive.clone()).collect();
            let result = self.number(&keepalives).await;
            // If a batch is refused, each member is tried alone.
            let alone = keepalives.len() > 1 && result.as_ref().is_err_and(|error| !error.is_retryable());
            for (id, newcomer) in together {
                let own = if alone {
                    self.number(std::slice::from_ref(&newcomer.keepalive)).await
                } else {
                    result.clone()
                };
                // Fails if the request was cancelled.
                let _ = newcomer.reply.send(own.map(|done| done.contains(&id)));
            }
            for newcomer in superseded {
                let _ = newcomer.reply.send(Ok(false));
            }
        }
    }

    /// Gives numbers in one transaction. Returns the names of the members that got one.
    async fn number(&self, keepalives: &[Keepalive]) -> Result<BTreeSet<String>, StoreError> {
        let granted = join_all(keepalives.iter().map(|_| self.store.grant(self.ttl))).await;
        let mut leases: Vec<LeaseId> = Vec::new();
        let mut failed = None;
        for lease in granted {
            match lease {
                Ok(lease) => leases.push(lease.id),
                Err(error) => failed = Some(error),
            }
        }
        let result = match failed {
            None => self.number_with(keepalives, &leases).await,
            Some(error) => Err(error),
        };
        // Revoke the leases that are not used. If this fails, they lapse.
        let used = result.as_ref().map(|done| done.iter().map(|(_, lease)| *lease).collect::<BTreeSet<_>>());
        let used = used.unwrap_or_default();
        join_all(leases.iter().filter(|lease| !used.contains(lease)).map(|lease| self.store.revoke(*lease)))
            .await;
        Ok(result?.into_iter().map(|(id, _)| id).collect())
    }

    async fn number_with(
        &self,
        keepalives: &[Keepalive],
        leases: &[LeaseId],
    ) -> Result<Vec<(String, LeaseId)>, StoreError> {
        let mut wanted: Vec<(&Keepalive, LeaseId)> = keepalives.iter().zip(leases.iter().copied()).collect();
        for _ in 0..TRIES {
            let last = self.store.get(&self.seq).await?;
            let before = match &last {
                Some(entry) => number_of(entry)?,
                None => 0,
            };
            let mut conditions = vec![match &last {
                Some(entry) => Condition::Unchanged(self.seq.clone(), entry.changed),
                None => Condition::Absent(self.seq.clone()),
            }];
            let newest = before + wanted.len() as u64;
            let mut writes = vec![Write::Put {
                key: self.seq.clone(),
                value: newest.to_string().into_bytes(),
                lease: None,
            }];
            let members: Vec<_> = wanted
                .iter()
                .zip(before + 1..)
                .map(|((keepalive, lease), seq)| (Member::of(keepalive, seq), *lease))
                .collect();
            for (member, lease) in &members {
                let (key, value) = (self.key(&member.id), serde_json::to_vec(member).unwrap_or_default());
                conditions.push(Condition::Absent(key.clone()));
                writes.push(Write::Put { key, value, lease: Some(*lease) });
            }
            let puts = writes.clone();
            match self.store.commit(Transaction { conditions, writes }).await? {
                Committed::Done(at) => {
                    for put in puts {
                        if let Write::Put { key, value, lease } = put {
                            self.apply(&Change::Put(Entry { key, value, created: at, changed: at, lease }));
                        }
                    }
                    return Ok(members.into_iter().map(|(member, lease)| (member.id, lease)).collect());
                }
                Committed::Refused(found) => {
                    // Members that another master has registered are known now; retry the others.
                    let there: Vec<bool> = found.iter().skip(1).map(Option::is_some).collect();
                    for entry in found.into_iter().skip(1).flatten() {
                        self.apply(&Change::Put(entry));
                    }
                    let mut there = there.into_iter();
                    wanted.retain(|_| !there.next().unwrap_or(false));
                    if wanted.is_empty() {
                        return Ok(Vec::new());
                    }
                }
            }
        }
        Err(StoreError::Unavailable("concurrent registrations of members".to_owned()))
    }

    /// Keeps the list up to date with the store, in an endless loop.
    pub async fn follow(&self) {
        let mut pause = PAUSES.0;
        loop {
            match self.list().await {
                Ok(revision) => {
                    pause = PAUSES.0;
                    let mut watch = self.store.watch(&self.members, revision);
                    while let Some(Ok(changes)) = watch.next().await {
                        changes.changes.iter().for_each(|change| self.apply(change));
                    }
                }
                Err(_) => {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Lists all members. The watch that follows reports all changes since the first page.
    async fn list(&self) -> Result<Revision, StoreError> {
        let (mut after, mut revision) = (None::<String>, None);
        let mut all = Vec::new();
        loop {
            let page = self.store.list(&self.members, after.as_deref(), PAGE).await?;
            let revision = *revision.get_or_insert(page.revision);
            after = page.entries.last().map(|entry| entry.key.clone());
            all.extend(page.entries);
            if !page.more {
                // All at once, so that no partial list is seen.
                let mut roster = self.roster();
                let ids = all.iter().filter_map(|entry| entry.key.strip_prefix(&self.members));
                let listed: BTreeSet<_> = ids.map(str::to_owned).collect();
                let mut changed = roster.retain(&listed);
                for entry in all {
                    changed |= roster.apply(&Change::Put(entry));
                }
                if changed {
                    self.changed.send_modify(|count| *count += 1);
                }
                self.listed.send_replace(true);
                return Ok(revision);
            }
        }
    }
}

fn number_of(entry: &Entry) -> Result<u64, StoreError> {
    let text = String::from_utf8_lossy(&entry.value);
    text.trim().parse().map_err(|_| {
        StoreError::Corrupt(format!(
            "{} contains '{:.40}': expected the last sequence number",
            entry.key, text
        ))
    })
}
