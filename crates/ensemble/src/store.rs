//! The store interface: small enough for one file on one machine, sufficient for locks, leadership and membership on
//! many.
//!
//! * All writes have one order: each transaction that writes has its own [`Revision`], and revisions rise. Fencing
//!   tokens are revisions.
//! * Entries bound to a [`Lease`] are deleted when it lapses. That is a write like any other: it has a revision, and
//!   watches report it. A lease never lapses earlier than its TTL after the last received keepalive; it may lapse later.
//! * A [`Watch`] yields every change of a prefix after a revision, in order and exactly once; or it ends with
//!   [`StoreError::Compacted`], and the client has to list again.
//! * A list comes in pages, each a snapshot of its own moment. A watch from the revision of the *first* page yields every
//!   change that a later page may or may not show: applying them all gives the current content.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::Stream;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The position of a write in the order of all writes. Rises and is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifier of a lease. Never reused by the same store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    /// Sixteen hexadecimal digits, like etcdctl.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for LeaseId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// A granted lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub id: LeaseId,
    /// Time to live from each keepalive; may be longer than requested, never shorter.
    pub ttl: Duration,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Vec<u8>,
    /// Revision that created the key.
    pub created: Revision,
    /// Revision that last wrote the key.
    pub changed: Revision,
    /// Lease whose end deletes the entry.
    pub lease: Option<LeaseId>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Ordered by key (bytes).
    pub entries: Vec<Entry>,
    /// Whether more entries follow.
    pub more: bool,
    /// Revision of the snapshot.
    pub revision: Revision,
}

/// A precondition of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The key does not exist.
    Absent(String),
    /// The key was last written at this revision.
    Unchanged(String, Revision),
    /// The key was created at this revision, and may have been written since.
    Since(String, Revision),
}

impl Condition {
    /// Returns the key of the condition.
    #[must_use]
    pub fn key(&self) -> &str {
        let (Self::Absent(key) | Self::Unchanged(key, _) | Self::Since(key, _)) = self;
        key
    }
}

/// A write of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Creates or replaces an entry.
    Put {
        key: String,
        value: Vec<u8>,
        /// Lease whose end deletes the entry.
        lease: Option<LeaseId>,
    },
    /// Deletes a key, if it exists.
    Delete(String),
}

/// An atomic set of writes. Each key is written at most once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// Preconditions, all of which must hold.
    pub conditions: Vec<Condition>,
    pub writes: Vec<Write>,
}

/// The result of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// It was carried out, and is durable.
    Done(Revision),
    /// A condition did not hold. Contains the entry found for each condition.
    Refused(Vec<Option<Entry>>),
}

/// A change of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The entry was created or replaced.
    Put(Entry),
    /// The key was deleted.
    Deleted(String),
}

impl Change {
    /// Returns the changed key.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Deleted(key) => key,
        }
    }
}

/// The changes of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    pub revision: Revision,
    /// Changes in the order of the transaction.
    pub changes: Vec<Change>,
}

/// A failure of a store.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// It cannot be reached or does not work at present. Nothing was written.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The response was lost: the request may have been carried out, or may still be.
    #[error("no response from the store, the request may have been carried out: {0}")]
    Unknown(String),
    /// The lease has lapsed, was revoked, or never existed.
    #[error("lease {0} has lapsed")]
    LeaseGone(LeaseId),
    /// The history before this revision is no longer available.
    #[error("the store has no history before revision {0}")]
    Compacted(Revision),
    /// There is no space left. Nothing was written.
    #[error("the store is full: {0}")]
    Full(String),
    /// The credentials or the request are not accepted.
    #[error("refused by the store: {0}")]
    Refused(String),
    /// The stored data is invalid.
    #[error("{0}")]
    Corrupt(String),
}

impl StoreError {
    /// Returns whether a later retry may succeed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unknown(_) | Self::Full(_))
    }
}

/// The pending result of a store request.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A stream of changes. Ends after an error.
pub type Watch = Pin<Box<dyn Stream<Item = Result<Changes, StoreError>> + Send>>;

/// A store.
pub trait Store: Send + Sync + fmt::Debug {
    /// Returns the entry of a key; linearizable: includes every write acknowledged to any client.
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Entry>>;

    /// Lists at most `most` entries below a prefix, after a key.
    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, most: usize) -> StoreFuture<'a, Page>;

    /// Commits a transaction if all conditions hold. [`StoreError::LeaseGone`] if a write is bound to a lease that has lapsed.
    fn commit(&self, transaction: Transaction) -> StoreFuture<'_, Committed>;

    /// Watches all changes below a prefix after this revision.
    fn watch(&self, prefix: &str, after: Revision) -> Watch;

    /// Grants a lease of at least this TTL.
    fn grant(&self, ttl: Duration) -> StoreFuture<'_, Lease>;

    /// Renews a lease and returns its TTL. [`StoreError::LeaseGone`] if it has lapsed.
    fn keep_alive(&self, lease: LeaseId) -> StoreFuture<'_, Duration>;

    /// Returns whether a lease may lapse although it was kept alive. If so, a client waits for its TTL once more before
    /// it takes over what was bound to it.
    fn may_lapse_early(&self) -> bool {
        false
    }

    /// Revokes a lease and deletes the entries bound to it. Succeeds also if the lease is gone.
    fn revoke(&self, lease: LeaseId) -> StoreFuture<'_, ()>;
}
