//! Coordination of several machines: a store, locks, and a list of members with a leader.
//!
//! ```text
//!              ┌── lock::Locks        one holder at a time, each with a fencing token
//!  Store ◄─────┤
//!   ▲ ▲        └── (independent of the backend)
//!   │ └── embedded::Embedded   one file, one process; the default
//!   └──── the crate ensemble-etcd
//! ```
//!
//! * [`member`]: keepalives and members
//! * [`roster`]: the ordered list of members and its digest
//! * [`registry`]: the registration of members in a store
//! * [`callbacks`]: schedule of the leader's callback
//! * [`leader`]: state machine of a master that campaigns and leads
//! * [`state`]: the stored state of callbacks
//! * [`store`]: the store interface: transactions, leases, a watch by revision
//! * [`embedded`]: a store in a local file
//! * [`lock`]: locks on top of any store
//! * `conformance` (a feature): the test suite for stores

#![forbid(unsafe_code)]

pub mod callbacks;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod embedded;
pub mod leader;
pub mod lock;
pub mod member;
pub mod registry;
pub mod roster;
#[cfg(test)]
mod simulation;
pub mod state;
pub mod store;

pub use store::{
    Change, Changes, Committed, Condition, Entry, Lease, LeaseId, Page, Revision, Store, StoreError,
    StoreFuture, Transaction, Watch, Write,
};
