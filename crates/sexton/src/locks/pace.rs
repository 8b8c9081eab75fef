//! When to keep a lock alive, and when it has to be let go. Pure.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A time by the clock that goes on when the machine sleeps (`CLOCK_BOOTTIME` of clock_gettime(2)): a lease at a server
/// goes on meanwhile, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Boot(pub u64);

impl Boot {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        Self(seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0))
    }

    /// How long it is until then; nothing if that is past.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_nanos(later.0.saturating_sub(self.0))
    }
}

impl std::ops::Add<Duration> for Boot {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The times of one lease, each counted from when the last keepalive that was answered was *sent*: the server has heard
/// it later than that, and counts from there.
///
/// ```text
/// 0            1/3          3/5            17/20    9/10     1
/// ├─────────────┼────────────┼───────────────┼───────┼───────┤
/// confirmed   keep alive   the process    KILL    the guard  another may
///             again, and   is asked       by us   kills      hold it
///             again        to end
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    ttl: Duration,
}

impl Pace {
    /// Of a lease that lasts so long.
    #[must_use]
    pub const fn of(ttl: Duration) -> Self {
        Self { ttl }
    }

    /// When it is kept alive again.
    #[must_use]
    pub fn renew_after(self) -> Duration {
        self.ttl / 3
    }

    /// How soon that is tried again when it has failed.
    #[must_use]
    pub fn retry_after(self) -> Duration {
        (self.ttl / 15).clamp(Duration::from_millis(10), Duration::from_secs(2))
    }

    /// How long an answer is waited for.
    #[must_use]
    pub fn answer_within(self) -> Duration {
        (self.ttl / 6).min(Duration::from_secs(5))
    }

    /// When it is given up, and the process asked to end.
    #[must_use]
    pub fn stop_after(self) -> Duration {
        self.ttl * 3 / 5
    }

    /// When the process is sent KILL.
    #[must_use]
    pub fn gone_after(self) -> Duration {
        self.ttl * 17 / 20
    }

    /// When the guard does it.
    #[must_use]
    pub fn guard_after(self) -> Duration {
        self.ttl * 9 / 10
    }

    /// When another may hold it.
    #[must_use]
    pub const fn over_after(self) -> Duration {
        self.ttl
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::locks::TTLS;

    proptest! {
        #[test]
        fn all_is_over_before_another_may_hold_it(ms in 500u64..86_400_000) {
            let ttl = Duration::from_millis(ms);
            prop_assert!(ttl >= TTLS.0 && ttl <= TTLS.1);
            let pace = Pace::of(ttl);
            // A keepalive is tried twice at least before it is given up.
            let second = pace.renew_after() + pace.answer_within() + pace.retry_after();
            prop_assert!(second < pace.stop_after(), "{second:?} of {ttl:?}");
            prop_assert!(pace.stop_after() < pace.gone_after());
            prop_assert!(pace.gone_after() < pace.guard_after());
            // A server whose clock goes faster by a tenth.
            prop_assert!(pace.guard_after().mul_f64(1.1) < pace.over_after());
        }
    }

    #[test]
    fn the_clock_goes_on() {
        let (before, after) = (Boot::now(), Boot::now());
        assert!(before <= after && before.0 > 0);
        assert_eq!(after.until(before), Duration::ZERO);
        assert_eq!(before.until(before + Duration::from_secs(1)), Duration::from_secs(1));
    }
}
