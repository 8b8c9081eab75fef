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
//! * [`store`]: the interface: transactions, leases, a watch by revision
//! * [`embedded`]: a store in a file of this machine
//! * [`lock`]: locks on top of any store
//! * `conformance` (a feature): what every store has to do, as tests

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod embedded;
pub mod lock;
pub mod store;

pub use store::{
    Answer, Change, Changes, Committed, Condition, Entry, Lease, LeaseId, Page, Revision, Store, StoreError,
    Transaction, Watch, Write,
};
