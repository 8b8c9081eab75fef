//! Locks of which one holder has one at a time, over HTTP: a process runs only while we hold its lock.
//!
//! ```text
//!            acquire, keep alive, release            Won, Lost ──► engine
//! server ◄────────────────────────────── holder ──────────────────────────┐
//!   │                                      │ until when it is ours          ▼
//!   ▼                                      ▼                             process
//! ensemble::lock (embedded, etcd)        guard (a process of its own) ──KILL──▲
//! ```
//!
//! * [`server`]: what `sexton lock serve` answers
//! * [`client`]: the same from the other side

//! * [`holder`]: one lock for one run
//! * [`guard`]: what kills the process in time when we cannot, because we were stopped or killed ourselves
//!
//! What is guaranteed: measured on this machine's clock (`CLOCK_BOOTTIME`), KILL was sent to the whole run before its
//! lease can have lapsed at a server whose clock does not go more than a tenth faster; what would be executed later than
//! that is not. The whole run is its process group, and what has left it and was started with its mark
//! ([`MARK`](linux::process_table::MARK)). That holds while `sexton` itself
//! is stopped (SIGSTOP) or killed, since the guard is another process; it does not when both are stopped together (a
//! frozen control group, a machine that is paused): then the run is stopped with them, and killed when they wake, a
//! moment after it may have woken itself. For that moment there is the fencing number.

pub mod client;
pub mod guard;
pub mod guard_start;
pub mod holder;

pub mod server;

/// Below the store's keys.
pub const PREFIX: &str = "/shared-lock/";
/// How a process is told the number of its lock.
pub const FENCE: &str = "FENCE";
