//! Locks over HTTP, each with one holder at a time: a process runs only while sexton holds its lock.
//!
//! ```text
//!            acquire, keep alive, release            Won, Lost ──► engine
//! server ◄────────────────────────────── holder ──────────────────────────┐
//!   │                                      │ end of the lease               ▼
//!   ▼                                      ▼                             process
//! ensemble::lock (embedded, etcd)        guard (a separate process) ──SIGKILL──▲
//! ```
//!
//! * [`server`]: the server, `sexton lock serve`
//! * [`client`]: its client

//! * [`holder`]: the lock of one run
//! * [`guard`]: the process that kills the run in time if the supervisor cannot, because it was suspended or killed
//!
//! The guarantee: by the clock of this machine (`CLOCK_BOOTTIME`), SIGKILL was sent to the whole run before its lease can
//! have expired at a server whose clock is at most a tenth faster; a program that would be executed later is not
//! executed. The whole run is its process group, and processes outside of it that carry its mark
//! ([`MARK`](linux::process_table::MARK)). That holds while `sexton` itself
//! is suspended (SIGSTOP) or killed, since the guard is another process. It does not hold if both are suspended together (a
//! frozen control group, a paused machine): then the run is suspended with them, and killed when they resume, a moment
//! after it may have resumed itself. The fencing token covers that moment.

pub mod client;
pub mod guard;
pub mod guard_start;
pub mod holder;

pub mod server;

/// The prefix of the keys in the store.
pub const PREFIX: &str = "/shared-lock/";
/// The variable with the fencing token of the lock.
pub const FENCE: &str = "FENCE";
