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
pub mod holder;

pub mod server;

use std::time::Duration;

use client::Server;

/// Below the store's keys.
pub const PREFIX: &str = "/shared-lock/";
/// The port of a lock server.
pub const DEFAULT_PORT: u16 = 8191;
/// Where it is asked, unless somebody says otherwise.
pub const DEFAULT_URL: &str = "http://localhost:8191";
/// How long a lock lasts without a sign of life of its holder.
pub const DEFAULT_TTL: Duration = Duration::from_secs(2);
/// The shortest and the longest.
pub const TTLS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(24 * 3600));
/// How a process is told the number of its lock.
pub const FENCE: &str = "FENCE";

/// The lock that a process runs by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockPlan {
    /// Its name.
    pub name: String,
    /// How long it lasts without a sign of life.
    pub ttl: Duration,
    /// Where it is asked for.
    pub server: Server,
}

impl LockPlan {
    /// Checks what somebody wants.
    pub fn new(name: &str, ttl: Duration, url: &str) -> Result<Self, String> {
        ensemble::lock::Locks::check_name(name)?;
        check_ttl(ttl)?;
        Ok(Self { name: name.to_owned(), ttl, server: url.parse()? })
    }
}

/// Is it a time to live that we can keep?
pub fn check_ttl(ttl: Duration) -> Result<(), String> {
    if ttl < TTLS.0 || ttl > TTLS.1 {
        return Err(format!("expected a time to live from {:?} to 24h, found {ttl:?}", TTLS.0));
    }
    Ok(())
}
