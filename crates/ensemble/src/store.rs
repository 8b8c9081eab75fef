//! The interface of a store: small enough for one file on one machine, enough for locks, leadership and membership
//! on many.
//!
//! * There is one order of all writes: each transaction that writes has a [`Revision`] of its own, and revisions rise.
//!   They are what a fencing number is made of.
//! * A [`Lease`] is a promise to come back. Entries that are bound to it are deleted when it lapses, which is a write
//!   like any other: it has its revision, and whoever watches is told. A lease never lapses earlier than its time to
//!   live after the last keepalive was received; it may lapse later.
//! * A [`Watch`] tells every change of a prefix from a revision on, in order, none left out and none told twice; or it
//!   ends with [`StoreError::Compacted`], and whoever watches lists anew.
//! * A list comes in pages, each as the store was when it was asked for. Whoever watches from the revision of the
//!   *first* page sees every change that a later page may or may not show: to apply them all gives the truth.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::Stream;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The place of a write in the one order of all writes. It rises and is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a lease. Never given twice by the same store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    /// Sixteen digits of hexadecimal, as etcdctl has it.
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

/// A lease that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// How long it lasts from each keepalive; a store may make it longer than it was asked for, never shorter.
    pub ttl: Duration,
}

/// A key and what is stored there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub key: String,
    /// What.
    pub value: Vec<u8>,
    /// Since when there has been something.
    pub created: Revision,
    /// Since when it has been this.
    pub changed: Revision,
    /// It goes with this lease.
    pub lease: Option<LeaseId>,
}

/// Part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of their keys (bytes).
    pub entries: Vec<Entry>,
    /// There are more behind the last of them.
    pub more: bool,
    /// The newest write that it shows.
    pub revision: Revision,
}

/// What must hold for a transaction to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// There is nothing at this key.
    Absent(String),
    /// What is there was written last at this revision.
    Unchanged(String, Revision),
    /// What is there has been there since this revision, whatever was written since.
    Since(String, Revision),
}

impl Condition {
    /// What it is about.
    #[must_use]
    pub fn key(&self) -> &str {
        let (Self::Absent(key) | Self::Unchanged(key, _) | Self::Since(key, _)) = self;
        key
    }
}

/// What a transaction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Puts a value, in place of another or where there was none.
    Put {
        /// Where.
        key: String,
        /// What.
        value: Vec<u8>,
        /// With which lease it goes; None: with none.
        lease: Option<LeaseId>,
    },
    /// Deletes what is there, if anything is.
    Delete(String),
}

/// All of it, or nothing. A key is written at most once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// What is done then.
    pub writes: Vec<Write>,
}

/// What has become of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// It was carried out, and will not be lost.
    Done(Revision),
    /// A condition did not hold. For each condition what was there.
    Refused(Vec<Option<Entry>>),
}

/// A change of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This is there now.
    Put(Entry),
    /// Nothing is there any more.
    Deleted(String),
}

impl Change {
    /// What it is about.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Deleted(key) => key,
        }
    }
}

/// What one write has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Which write.
    pub revision: Revision,
    /// In the order of the transaction.
    pub changes: Vec<Change>,
}

/// Why a store did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// It cannot be reached, or cannot do anything at present. Nothing was written.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The answer was lost: it may have been done, or may yet be.
    #[error("the store did not answer, and may have done it: {0}")]
    Unknown(String),
    /// The lease has lapsed or was revoked, or never was.
    #[error("lease {0} has lapsed")]
    LeaseGone(LeaseId),
    /// What was before this revision is not known any more.
    #[error("the store has forgotten what was before revision {0}")]
    Compacted(Revision),
    /// There is no room for more. Nothing was written.
    #[error("the store is full: {0}")]
    Full(String),
    /// Who we are, or what we want, is not accepted.
    #[error("the store refuses: {0}")]
    Refused(String),
    /// What is stored cannot be understood.
    #[error("{0}")]
    Corrupt(String),
}

impl StoreError {
    /// Is it worth asking again, after a while?
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unknown(_) | Self::Full(_))
    }
}

/// An answer that is still to come.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Changes as they come. It ends after an error.
pub type Watch = Pin<Box<dyn Stream<Item = Result<Changes, StoreError>> + Send>>;

/// A store.
pub trait Store: Send + Sync + fmt::Debug {
    /// What is at a key; as new as the newest write that was acknowledged to anybody.
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>>;

    /// What there is below a prefix, behind a key, at most so many.
    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, most: usize) -> Answer<'a, Page>;

    /// Writes, if all conditions hold. [`StoreError::LeaseGone`] when it is bound to a lease that is none any more.
    fn commit(&self, transaction: Transaction) -> Answer<'_, Committed>;

    /// Tells all changes below a prefix after this revision.
    fn watch(&self, prefix: &str, after: Revision) -> Watch;

    /// A new lease that lasts for at least this long.
    fn grant(&self, ttl: Duration) -> Answer<'_, Lease>;

    /// The lease lasts anew from now on: for how long. [`StoreError::LeaseGone`] when it is none any more.
    fn keep_alive(&self, lease: LeaseId) -> Answer<'_, Duration>;

    /// May a lease lapse although it was kept alive? Then whoever relies on it waits for its time to live once more
    /// before he takes what was bound to it.
    fn may_lapse_early(&self) -> bool {
        false
    }

    /// The lease is not needed any more: what is bound to it is deleted. Also when it is gone already.
    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()>;
}
