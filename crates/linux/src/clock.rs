//! The two clocks: the monotonic one that decides, and the time of day that is shown.

use std::time::Duration;

use engine::Time;
use engine::lease::BootInstant;
use jiff::Timestamp;
use tokio::time::Instant;

/// The monotonic clock, counted from when we began.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// Begins now.
    #[must_use]
    pub fn begin() -> Self {
        Self { began: Instant::now() }
    }

    /// The time for the engine.
    #[must_use]
    pub fn now(self) -> Time {
        Time::ZERO + self.began.elapsed()
    }

    /// The instant to sleep until.
    #[must_use]
    pub fn instant(self, at: Time) -> Instant {
        // A time that no clock reaches is as good as a month: whoever sleeps until then looks again.
        const FAR: Duration = Duration::from_secs(30 * 24 * 3600);
        let after = at.since(Time::ZERO);
        self.began.checked_add(after).unwrap_or_else(|| Instant::now() + FAR)
    }

    /// The time of day that belongs to `at`, as the system's clock stands now. None: too far away to say.
    #[must_use]
    pub fn of_day(self, at: Time) -> Option<Timestamp> {
        of_day_by(at, (self.now(), Timestamp::now()))
    }
}

/// The same by a moment of which both are known: several times keep their distance.
#[must_use]
pub fn of_day_by(at: Time, (now, day): (Time, Timestamp)) -> Option<Timestamp> {
    if at >= now { day.checked_add(at.since(now)).ok() } else { day.checked_sub(now.since(at)).ok() }
}

/// A moment of both clocks. It stays as long as they go alike, since no two looks at both are quite the same: what has
/// happened at once is told as such.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moment(Option<(Time, Timestamp)>);

impl Moment {
    /// The one that holds now.
    pub fn look(&mut self, clock: Clock) -> (Time, Timestamp) {
        self.at((clock.now(), Timestamp::now()))
    }

    fn at(&mut self, now: (Time, Timestamp)) -> (Time, Timestamp) {
        const ALIKE: Duration = Duration::from_micros(100);
        let alike = |kept: &(Time, Timestamp)| {
            of_day_by(now.0, *kept).is_some_and(|day| now.1.duration_since(day).unsigned_abs() <= ALIKE)
        };
        *self.0.insert(self.0.filter(alike).unwrap_or(now))
    }
}

/// The time by `CLOCK_BOOTTIME` (clock_gettime(2)), which goes on while the machine is suspended.
#[must_use]
pub fn boot_now() -> BootInstant {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    BootInstant(seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// RFC 3339, UTC, nanoseconds.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    format!("{at:.9}")
}

/// RFC 3339, UTC, milliseconds: for logs.
#[must_use]
pub fn rfc3339_millis(at: Timestamp) -> String {
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_advances() {
        let (before, after) = (boot_now(), boot_now());
        assert!(before <= after && before.0 > 0);
    }

    #[test]
    fn what_happens_at_once_is_told_as_such_until_the_clock_is_set() {
        let after = |seconds| Time::ZERO + Duration::from_secs(seconds);
        let day = |nanoseconds| Timestamp::from_nanosecond(nanoseconds).unwrap_or_default();
        let mut moment = Moment::default();
        let first = moment.at((after(1), day(1_000_000_000)));
        assert_eq!(moment.at((after(2), day(2_000_000_006))), first);
        assert_eq!(moment.at((after(3), day(2_999_999_990))), first);
        assert_eq!(of_day_by(after(3), first), Some(day(3_000_000_000)));
        let set = moment.at((after(4), day(5_000_000_000)));
        assert_eq!(of_day_by(after(3), set), Some(day(4_000_000_000)));
    }
}
