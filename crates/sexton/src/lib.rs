//! sexton looks after the life of processes.
//!
//! ```text
//! words, environment ─► cli ─► config::options ─► Settings
//!                                                    │
//!   listen (binds first) ─► signals ─► driver or watch ─► exit code
//!                                        │
//!                                       hub ─► http
//! ```

pub mod automaton;
pub mod cli;
pub mod client;
pub mod config;
pub mod control;
pub mod driver;
pub mod ensemble;
pub mod journal;
pub mod life;
pub mod locks;
pub mod logs;
pub mod probes;
pub mod status;
pub mod store;
pub mod tombstones;
pub mod watch;
