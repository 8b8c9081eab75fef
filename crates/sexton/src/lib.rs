//! A process supervisor and container init.
//!
//! ```text
//! arguments, environment ─► cli ─► config::options ─► Settings
//!                                                        │
//! app: open files and listeners ─► block signals ─► supervisor, watch, automaton, … ─► exit code
//!                                                        │
//!                                                     status ─► HTTP
//! ```

pub mod app;
pub mod automaton;
pub mod cli;
pub mod client;
pub mod control;
pub mod ensemble;
pub mod journal;
pub mod locks;
pub mod logs;
pub mod probes;
pub mod status;
pub mod store;
pub mod supervisor;
pub mod sysexits;
pub mod tombstones;
pub mod watch;
