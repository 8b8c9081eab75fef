//! What several machines agree on.
//!
//! ```text
//!              ┌── lock::Locks        one holder at a time, a fencing number for each
//!  Store ◄─────┤
//!   ▲ ▲        └── (what is built on it knows no backend)
//!   │ └── embedded::Embedded   one file, one process; the default
//!   └──── the crate ensemble-etcd
//! ```
//!
//! * [`member`]: what a member says of itself
//! * [`roster`]: who is there, in order, and the digest of it
//! * [`registry`]: the register of members in a store
//! * [`callbacks`]: when the leader runs the callback
//! * [`leader`]: what a master that wants to lead does, step by step
//! * [`state`]: what callbacks leave behind
//! * [`store`]: the interface: transactions, leases, a watch by revision
//! * [`embedded`]: a store in a file of this machine
//! * [`lock`]: locks on top of any store
//! * `conformance` (a feature): what every store has to do, as tests

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
    Answer, Change, Changes, Committed, Condition, Entry, Lease, LeaseId, Page, Revision, Store, StoreError,
    Transaction, Watch, Write,
};
