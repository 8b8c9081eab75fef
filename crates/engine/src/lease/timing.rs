//! The times of a lease.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant of the clock that goes on while the machine is suspended: nanoseconds of `CLOCK_BOOTTIME`
/// (clock_gettime(2)). A lease at a server goes on meanwhile, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BootInstant(pub u64);

impl BootInstant {
    /// The time until `later`; zero if that is past.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_nanos(later.0.saturating_sub(self.0))
    }
}

impl std::ops::Add<Duration> for BootInstant {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The times of one lease, each counted from the *sending* of the last keepalive that was answered.
///
/// ```text
/// 0            1/3          3/5            17/20    9/10     1
/// ├─────────────┼────────────┼───────────────┼───────┼───────┤
/// confirmed   renew: next  stop: the run   kill: the  guard   expired: another
///             keepalive    is stopped      supervisor kills   holder may have it
///                                          kills
/// ```
///
/// A server whose clock is up to a tenth faster still expires the lease after the guard has killed the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTiming {
    ttl: Duration,
}

impl LeaseTiming {
    /// The times of a lease of `ttl`.
    #[must_use]
    pub const fn of(ttl: Duration) -> Self {
        Self { ttl }
    }

    /// The time to live.
    #[must_use]
    pub const fn ttl(self) -> Duration {
        self.ttl
    }

    /// When the next keepalive is sent.
    #[must_use]
    pub fn renew_after(self) -> Duration {
        self.ttl / 3
    }

    /// The pause after a failed keepalive or release: a fifteenth of the ttl, 10 ms to 2 s.
    #[must_use]
    pub fn retry_after(self) -> Duration {
        (self.ttl / 15).clamp(Duration::from_millis(10), Duration::from_secs(2))
    }

    /// The timeout of a keepalive or release: a sixth of the ttl, 5 s at most.
    #[must_use]
    pub fn answer_within(self) -> Duration {
        (self.ttl / 6).min(Duration::from_secs(5))
    }

    /// When the lock counts as lost and the run is stopped.
    #[must_use]
    pub fn stop_after(self) -> Duration {
        self.ttl * 3 / 5
    }

    /// When the supervisor sends SIGKILL.
    #[must_use]
    pub fn kill_after(self) -> Duration {
        self.ttl * 17 / 20
    }

    /// When the guard sends SIGKILL.
    #[must_use]
    pub fn guard_after(self) -> Duration {
        self.ttl * 9 / 10
    }

    /// When another holder may have the lock.
    #[must_use]
    pub const fn expires_after(self) -> Duration {
        self.ttl
    }
}
