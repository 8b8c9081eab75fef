//! The two clocks: the monotonic one that decides, and the time of day that is shown.

use std::time::Duration;

use engine::Time;
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
        self.of_day_by(at, (self.now(), Timestamp::now()))
    }

    /// The same by a moment of which both are known: several times of one moment keep their distance.
    #[must_use]
    pub fn of_day_by(self, at: Time, (now, day): (Time, Timestamp)) -> Option<Timestamp> {
        if at >= now { day.checked_add(at.since(now)).ok() } else { day.checked_sub(now.since(at)).ok() }
    }
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
