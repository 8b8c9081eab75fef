//! The real binary with real processes. One file for each subject; each test has its own directory and
//! port, and waits for conditions, never for time to pass.

#![expect(clippy::disallowed_methods, reason = "tests start programs as anybody does")]

mod cluster;
mod harness;

mod automaton;
mod confinement;
mod exhaustion;

mod documents;
mod ensemble;
mod graveyard;
mod health;
mod http_limits;
mod job_control;
mod journal;
mod listening;
mod lock;
mod log_delivery;
mod orphans;
mod output;
mod personality_kapo;
mod run;
mod servers;
mod service_manager;
mod signals;
mod status;
mod supervise;
mod up;
mod watch;
