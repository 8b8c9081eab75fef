//! The two clocks: the monotonic clock for decisions, and the time of day for display.

use std::time::Duration;

use engine::Time;
use engine::lease::BootInstant;
use jiff::Timestamp;
use tokio::time::Instant;

/// The monotonic clock, counted from the start of the program.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts a clock at zero.
    #[must_use]
    pub fn begin() -> Self {
        Self { started: Instant::now() }
    }

    /// The time for the engine.
    #[must_use]
    pub fn now(self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    /// The instant to sleep until.
    #[must_use]
    pub fn instant(self, at: Time) -> Instant {
        // A time beyond the range of the clock becomes a month: after that, the caller asks again.
        const FAR: Duration = Duration::from_secs(30 * 24 * 3600);
        let after = at.since(Time::ZERO);
        self.started.checked_add(after).unwrap_or_else(|| Instant::now() + FAR)
    }

    /// The time of day at `at`, by the present setting of the system clock. None: out of range.
    #[must_use]
    pub fn of_day(self, at: Time) -> Option<Timestamp> {
        of_day_by(at, (self.now(), Timestamp::now()))
    }
}

/// The time of day at `at`, relative to a moment of both clocks: distances between several times are kept.
#[must_use]
pub fn of_day_by(at: Time, (now, day): (Time, Timestamp)) -> Option<Timestamp> {
    if at >= now { day.checked_add(at.since(now)).ok() } else { day.checked_sub(now.since(at)).ok() }
}

/// A moment of both clocks. It is kept until the system clock is set: the two clocks are never read at exactly the same
/// time, and equal times must be displayed as equal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moment(Option<(Time, Timestamp)>);

impl Moment {
    /// The moment that is valid now.
    pub fn look(&mut self, clock: Clock) -> (Time, Timestamp) {
        self.at((clock.now(), Timestamp::now()))
    }

    fn at(&mut self, now: (Time, Timestamp)) -> (Time, Timestamp) {
        const TOLERANCE: Duration = Duration::from_micros(100);
        let valid = |kept: &(Time, Timestamp)| {
            of_day_by(now.0, *kept).is_some_and(|day| now.1.duration_since(day).unsigned_abs() <= TOLERANCE)
        };
        *self.0.insert(self.0.filter(valid).unwrap_or(now))
    }
}

/// The time by `CLOCK_BOOTTIME` (clock_gettime(2)), which advances while the machine is suspended.
#[must_use]
pub fn boot_now() -> BootInstant {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    BootInstant(seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// Formats as RFC 3339 in UTC with nanoseconds.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    format!("{at:.9}")
}

/// Formats as RFC 3339 in UTC with milliseconds, for logs.
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
    fn keeps_a_moment_until_the_clock_is_set() {
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
