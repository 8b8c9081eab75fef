//! A process supervisor and container init.
//!
//! ```text
//! arguments, environment ─► cli ─► config::resolve ─► Settings
//!                                                        │
//! app: open files and listeners ─► block signals ─► supervisor, watch, automaton, … ─► exit code
//!                                                        │
//!                                                       hub ─► http
//! ```

pub mod announce;
pub mod app;
pub mod automaton;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod control;
pub mod ensemble;
pub mod figures;
pub mod graveyard;
pub mod http;
pub mod hub;
pub mod journal;
pub mod listen;
pub mod lock;
pub mod logfmt;
pub mod logging;
pub mod logs;
pub mod metrics;
pub mod notify;
pub mod output;
pub mod probe;
pub mod process;
pub mod random;
pub mod readable;
pub mod sink;
pub mod store;
pub mod supervisor;
pub mod sysexits;
pub mod tell;
pub mod termination;
pub mod tls;
pub mod view;
pub mod watch;
pub mod words;
