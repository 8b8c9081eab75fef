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
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use crate::member::{Keepalive, Member};
use crate::roster::{Known, Roster};
use crate::store::{
    Change, Committed, Condition, Entry, LeaseId, Revision, Store, StoreError, Transaction, Write,
};

/// How many newcomers get their numbers together: etcd takes 128 operations in one transaction, by default.
const TOGETHER: usize = 50;
/// How many newcomers may wait; who comes then is told to come again.
const WAITING: usize = 20_000;
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
    newcomers: mpsc::Sender<Newcomer>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<Newcomer>>,
}

/// Somebody who is to get a number. The answer says whether he has: else he looks again.
type Newcomer = (Keepalive, oneshot::Sender<Result<bool, StoreError>>);

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

    /// Takes a keepalive.
    ///
    /// # Errors
    ///
    /// As the store's; the member is to say it again.
    pub async fn report(&self, keepalive: &Keepalive) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let known = self.known(&keepalive.id);
            let done = match (known, keepalive.down) {
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
        let found = self.store.get(&key).await?;
        let change = found.clone().map_or(Change::Deleted(key), Change::Put);
        self.apply(&change);
        Ok(found)
    }

    async fn leave(&self, id: &str, known: &Known) -> Result<(), StoreError> {
        let key = self.key(id);
        let writes = vec![Write::Delete(key.clone())];
        self.store.commit(Transaction { conditions: Vec::new(), writes }).await?;
        if let Some(lease) = known.lease {
            self.store.revoke(lease).await?;
        }
        self.apply(&Change::Deleted(key));
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
        let over = || StoreError::Unavailable("the register is closed".to_owned());
        match self.newcomers.try_send((keepalive.clone(), reply)) {
            Ok(()) => answer.await.map_err(|_| over())?,
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(StoreError::Unavailable(format!("{WAITING} newcomers wait already")))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(over()),
        }
    }

    /// Gives numbers to newcomers, for ever.
    pub async fn register(&self) {
        let mut waiting = self.waiting.lock().await;
        while let Some(first) = waiting.recv().await {
            let mut together = BTreeMap::new();
            let mut superseded = Vec::new();
            let mut next = Some(first);
            while let Some((keepalive, reply)) = next {
                if let Some((_, before)) = together.insert(keepalive.id.clone(), (keepalive, reply)) {
                    superseded.push(before);
                }
                next = if together.len() < TOGETHER { waiting.try_recv().ok() } else { None };
            }
            let keepalives: Vec<_> = together.values().map(|(keepalive, _)| keepalive.clone()).collect();
            let result = self.number(&keepalives).await;
            for (id, (_, reply)) in together {
                // Whoever asked may have gone.
                let _ = reply.send(result.as_ref().map(|done| done.contains(&id)).map_err(Clone::clone));
            }
            for reply in superseded {
                let _ = reply.send(Ok(false));
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
        let mut listed = BTreeSet::new();
        loop {
            let page = self.store.list(&self.members, after.as_deref(), PAGE).await?;
            let revision = *revision.get_or_insert(page.revision);
            after = page.entries.last().map(|entry| entry.key.clone());
            for entry in page.entries {
                listed.extend(entry.key.strip_prefix(&self.members).map(str::to_owned));
                self.apply(&Change::Put(entry));
            }
            if !page.more {
                if self.roster().keep(&listed) {
                    self.changed.send_modify(|count| *count += 1);
                }
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
