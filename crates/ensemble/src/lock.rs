//! Locks on top of any store: one holder at a time, and a number that rises with every holder.
//!
//! A lock is an entry that is bound to its holder's lease. Whoever makes it where there was none holds the lock; its
//! revision is the *fence*: a resource that takes no command with a lower fence than one that it has seen is safe from
//! a holder that does not know that it is none any more.
//!
//! ```text
//! free ──acquire──► held ──release──► free
//!                    │ ▲
//!         keep_alive └─┘ └──lapse────► free
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use crate::store::{
    Change, Committed, Condition, Entry, LeaseId, Revision, Store, StoreError, Transaction, Write,
};

/// The longest name of a lock, in bytes.
pub const LONGEST_NAME: usize = 512;
/// How many locks are listed at once.
const PAGE: usize = 1000;

/// What is known of a holder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Holder {
    /// Who it is, in its own words.
    #[serde(default)]
    pub value: String,
    /// More of that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it asked, in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

/// A lock that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its name.
    pub name: String,
    /// Who.
    pub holder: Holder,
    /// Its number.
    pub fence: Revision,
}

/// What an attempt has led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// It is yours.
    Held {
        /// To be kept alive.
        lease: LeaseId,
        /// How long it lasts from each keepalive.
        ttl: Duration,
        /// Higher than that of everybody before.
        fence: Revision,
    },
    /// It is somebody else's.
    Taken(Taken),
}

/// The locks below a prefix of a store.
#[derive(Debug, Clone)]
pub struct Locks {
    store: Arc<dyn Store>,
    prefix: String,
}

impl Locks {
    /// The locks below this prefix, such as `/shared-lock/`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, prefix: &str) -> Self {
        Self { store, prefix: prefix.to_owned() }
    }

    /// Is this the name of a lock?
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check_name(name: &str) -> Result<(), String> {
        if name.is_empty() {
            return Err("the name of a lock is missing".to_owned());
        }
        if name.len() > LONGEST_NAME {
            return Err(format!("the name of a lock is longer than {LONGEST_NAME} bytes"));
        }
        if name.chars().any(char::is_control) {
            return Err("the name of a lock has a control character".to_owned());
        }
        Ok(())
    }

    /// Takes a lock if it is free, or becomes free before `until`.
    ///
    /// # Errors
    ///
    /// As the store's. With [`StoreError::Unknown`] it may be held by a lease that nobody keeps alive, and so lapses.
    pub async fn acquire(
        &self,
        name: &str,
        holder: &Holder,
        ttl: Duration,
        until: Instant,
    ) -> Result<Acquired, StoreError> {
        let key = format!("{}{name}", self.prefix);
        loop {
            // The key itself comes first among those that begin with it.
            let page = self.store.list(&key, None, 1).await?;
            let mut found = page.entries.into_iter().next().filter(|entry| entry.key == key);
            if found.is_none() {
                match self.take(&key, holder, ttl).await? {
                    Ok(held) => return Ok(held),
                    Err(by) => found = by,
                }
            }
            if let Some(entry) = found
                && !self.is_freed(&key, entry.changed.max(page.revision), until).await?
            {
                return Ok(Acquired::Taken(self.taken(entry)));
            }
        }
    }

    async fn take(
        &self,
        key: &str,
        holder: &Holder,
        ttl: Duration,
    ) -> Result<Result<Acquired, Option<Entry>>, StoreError> {
        let lease = self.store.grant(ttl).await?;
        let value = serde_json::to_vec(holder).map_err(|error| StoreError::Refused(error.to_string()))?;
        let put = Write::Put { key: key.to_owned(), value, lease: Some(lease.id) };
        let transaction =
            Transaction { conditions: vec![Condition::Absent(key.to_owned())], writes: vec![put] };
        let committed = self.store.commit(transaction).await;
        if let Ok(Committed::Done(fence)) = committed {
            return Ok(Ok(Acquired::Held { lease: lease.id, ttl: lease.ttl, fence }));
        }
        // Also when the answer was lost: nobody will keep it alive. If this fails, it lapses.
        let _ = self.store.revoke(lease.id).await;
        match committed? {
            Committed::Refused(mut found) => Ok(Err(found.pop().flatten())),
            Committed::Done(_) => Ok(Err(None)),
        }
    }

    /// Waits until a key is deleted, after this revision.
    async fn is_freed(&self, key: &str, after: Revision, until: Instant) -> Result<bool, StoreError> {
        if Instant::now() >= until {
            return Ok(false);
        }
        let mut watch = self.store.watch(key, after);
        loop {
            match timeout_at(until, watch.next()).await {
                Err(_) => return Ok(false),
                // Forgotten, or the store was opened again: look anew.
                Ok(None | Some(Err(StoreError::Compacted(_)))) => return Ok(true),
                Ok(Some(Err(error))) => return Err(error),
                Ok(Some(Ok(changes))) => {
                    let freed =
                        |change: &Change| matches!(change, Change::Deleted(deleted) if deleted == key);
                    if changes.changes.iter().any(freed) {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// The lease lasts anew from now on: for how long.
    ///
    /// # Errors
    ///
    /// [`StoreError::LeaseGone`]: it is not held any more. Else as the store's.
    pub async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.store.keep_alive(lease).await
    }

    /// Gives it back, also when it is gone already.
    ///
    /// # Errors
    ///
    /// As the store's.
    pub async fn release(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.store.revoke(lease).await
    }

    /// All that are held, in the order of their names.
    ///
    /// # Errors
    ///
    /// As the store's.
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
        // Somebody else's data holds the lock as well.
        let holder = serde_json::from_slice(&value).unwrap_or_else(|_| Holder {
            value: String::from_utf8_lossy(&value).chars().take(256).collect(),
            ..Holder::default()
        });
        Taken { name: key.strip_prefix(&self.prefix).unwrap_or(&key).to_owned(), holder, fence: created }
    }
}
