//! The register of members, in a store that several masters may share.
//!
//! ```text
//! keepalive ──► known, and says nothing new ──► its lease is kept alive: no write
//!          ├──► known, and says something new ─► one write, on the condition that nobody else has written
//!          ├──► unknown ─► [ registrar: all that wait get numbers in one transaction ]
//!          └──► down ────► its entry and its lease are gone
//! store ──watch──► roster (what this master knows)
//! ```
//!
//! Keys below the prefix: `members/ID` with what a member has told, bound to its lease; `seq`, the last number given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::sleep;

use crate::member::{Keepalive, Member};
use crate::roster::{Known, Roster};
use crate::store::{
    Change, Committed, Condition, Entry, LeaseId, Revision, Store, StoreError, Transaction, Write,
};

/// How many newcomers get their numbers together: etcd takes 128 operations in one transaction, by default.
const TOGETHER: usize = 50;
/// How long what they tell may be together, unless one of them alone is longer: etcd takes requests of 1.5 MiB, by
/// default.
const BYTES_TOGETHER: usize = 1 << 20;
/// How many newcomers may wait; who comes then is told to come again.
const WAITING: usize = 20_000;
/// How long what they tell may be, in bytes.
const BYTES_WAITING: usize = 64 << 20;
/// How many members are listed at once.
const PAGE: usize = 500;
/// How often a write is tried that others get in the way of.
const TRIES: usize = 20;
/// The pause before a store that has failed is asked again, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The register.
#[derive(Debug)]
pub struct Registry {
    store: Arc<dyn Store>,
    /// Below which the keys of members are.
    members: String,
    /// Where the last number is.
    seq: String,
    ttl: Duration,
    roster: Mutex<Roster>,
    changed: watch::Sender<u64>,
    listed: watch::Sender<bool>,
    room: Arc<Semaphore>,
    newcomers: mpsc::Sender<Newcomer>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<Newcomer>>,
}

/// Somebody who is to get a number. The answer says whether he has: else he looks again.
#[derive(Debug)]
struct Newcomer {
    keepalive: Keepalive,
    reply: oneshot::Sender<Result<bool, StoreError>>,
    /// The room that it takes.
    room: OwnedSemaphorePermit,
}

impl Registry {
    /// The register below a prefix such as `/kontrol/default/app/`, of members who are gone when they have been silent
    /// for so long. [`follow`](Self::follow) and [`register`](Self::register) have to run beside it.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, prefix: &str, ttl: Duration) -> Self {
        let members = format!("{prefix}members/");
        let (newcomers, waiting) = mpsc::channel(WAITING);
        Self {
            store,
            seq: format!("{prefix}seq"),
            ttl,
            roster: Mutex::new(Roster::below(&members)),
            members,
            changed: watch::Sender::new(0),
            listed: watch::Sender::new(false),
            room: Arc::new(Semaphore::new(BYTES_WAITING)),
            newcomers,
            waiting: tokio::sync::Mutex::new(waiting),
        }
    }

    /// Who is there, as this master knows it.
    pub fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the changes of the roster.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until this master knows all who are there.
    pub async fn is_listed(&self) {
        // The sender is ours.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    fn key(&self, id: &str) -> String {
        format!("{}{id}", self.members)
    }

    fn known(&self, id: &str) -> Option<Known> {
        self.roster().get(id).cloned()
    }

    fn apply(&self, change: &Change) {
        if self.roster().apply(change) {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// It was not there any more as of this revision. What another has written since stays.
    fn gone(&self, id: &str, as_of: Revision) {
        let mut roster = self.roster();
        let is_old = roster.get(id).is_some_and(|known| known.changed <= as_of);
        if is_old && roster.apply(&Change::Deleted(self.key(id))) {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// Takes a keepalive.
    ///
    /// # Errors
    ///
    /// As the store's; the member is to say it again.
    pub async fn report(&self, keepalive: &Keepalive) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let known = self.known(&keepalive.id);
            let done = match (known, keepalive.down) {
                // Of one that is not there any more, while the same place has another life.
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
        Err(StoreError::Unavailable(format!("others write about '{}' all the time", keepalive.id)))
    }

    /// Reads what the store has of a member: this master's knowledge may be older.
    async fn refresh(&self, id: &str) -> Result<Option<Entry>, StoreError> {
        let key = self.key(id);
        // The key itself comes first among those that begin with it.
        let page = self.store.list(&key, None, 1).await?;
        let found = page.entries.into_iter().next().filter(|entry| entry.key == key);
        match &found {
            Some(entry) => self.apply(&Change::Put(entry.clone())),
            None => self.gone(id, page.revision),
        }
        Ok(found)
    }

    async fn leave(&self, id: &str, known: &Known) -> Result<(), StoreError> {
        let writes = vec![Write::Delete(self.key(id))];
        let committed = self.store.commit(Transaction { conditions: Vec::new(), writes }).await?;
        if let Committed::Done(at) = committed {
            self.gone(id, at);
        }
        if let Some(lease) = known.lease {
            self.store.revoke(lease).await?;
        }
        Ok(())
    }

    /// Of a member that is known. False: it is otherwise than we know.
    async fn keep(&self, keepalive: &Keepalive, known: &Known) -> Result<bool, StoreError> {
        let Some(lease) = known.lease else { return self.put(keepalive, known, None).await };
        match self.store.keep_alive(lease).await {
            Err(StoreError::LeaseGone(_)) => return Ok(false),
            kept => kept?,
        };
        if known.member.is_as(keepalive) {
            return Ok(true);
        }
        self.put(keepalive, known, Some(lease)).await
    }

    /// Writes what it says anew, at its place.
    async fn put(
        &self,
        keepalive: &Keepalive,
        known: &Known,
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

    /// Of one that is not known.
    async fn enter(&self, keepalive: &Keepalive) -> Result<bool, StoreError> {
        let (reply, answer) = oneshot::channel();
        let full = |what: String| Err(StoreError::Unavailable(format!("{what} of newcomers wait already")));
        let bytes = serde_json::to_vec(keepalive).map_or(0, |text| text.len());
        let room = Arc::clone(&self.room).try_acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX));
        let Ok(room) = room else { return full(format!("{BYTES_WAITING} bytes")) };
        let over = || StoreError::Unavailable("the register is closed".to_owned());
        match self.newcomers.try_send(Newcomer { keepalive: keepalive.clone(), reply, room }) {
            Ok(()) => answer.await.map_err(|_| over())?,
            Err(mpsc::error::TrySendError::Full(_)) => full(format!("{WAITING}")),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(over()),
        }
    }

    /// Gives numbers to newcomers, for ever.
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
            // If all are refused together, each has to answer for itself.
            let alone = keepalives.len() > 1 && result.as_ref().is_err_and(|error| !error.is_retryable());
            for (id, newcomer) in together {
                let own = if alone {
                    self.number(std::slice::from_ref(&newcomer.keepalive)).await
                } else {
                    result.clone()
                };
                // Whoever asked may have gone.
                let _ = newcomer.reply.send(own.map(|done| done.contains(&id)));
            }
            for newcomer in superseded {
                let _ = newcomer.reply.send(Ok(false));
            }
        }
    }

    /// Gives numbers, in one transaction. Returns who has got one.
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
        // Leases of those who have not got in keep nothing. If this fails, they lapse.
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
                    // Those that another master has let in are known now; the others try again.
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
        Err(StoreError::Unavailable("others give numbers all the time".to_owned()))
    }

    /// Follows what the store has, for ever.
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

    /// Lists all members. What happens from the first page on is told by the watch that follows.
    async fn list(&self) -> Result<Revision, StoreError> {
        let (mut after, mut revision) = (None::<String>, None);
        let mut all = Vec::new();
        loop {
            let page = self.store.list(&self.members, after.as_deref(), PAGE).await?;
            let revision = *revision.get_or_insert(page.revision);
            after = page.entries.last().map(|entry| entry.key.clone());
            all.extend(page.entries);
            if !page.more {
                // All at once: nobody sees half a list.
                let mut roster = self.roster();
                let ids = all.iter().filter_map(|entry| entry.key.strip_prefix(&self.members));
                let listed: BTreeSet<_> = ids.map(str::to_owned).collect();
                let mut changed = roster.keep(&listed);
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
            "{} holds '{:.40}', expected the last number that was given",
            entry.key, text
        ))
    })
}
