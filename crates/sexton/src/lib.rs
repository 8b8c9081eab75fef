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
pub mod graveyard;
pub mod http;
pub mod hub;
pub mod journal;
pub mod life;
pub mod lock;
pub mod logfmt;
pub mod logging;
pub mod logs;
pub mod metrics;
pub mod output;
pub mod probe;
pub mod sink;
pub mod store;
pub mod tell;
pub mod termination;
pub mod view;
pub mod watch;
