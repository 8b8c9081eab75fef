//! The two clocks: the monotonic one that decides, and the time of day that is shown.

use std::collections::BTreeMap;
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
        let (now, day) = (self.now(), Timestamp::now());
        if at >= now { day.checked_add(at.since(now)).ok() } else { day.checked_sub(now.since(at)).ok() }
    }
}

/// Times of day of what has happened: each is fixed when it is first asked for, so that the start of a
/// process stays the same for those who compare it, also when the system's clock is set later.
#[derive(Debug, Clone)]
pub struct Calendar {
    clock: Clock,
    fixed: BTreeMap<Time, Timestamp>,
}

impl Calendar {
    /// More than are shown at any moment.
    const KEPT: usize = 64;

    /// An empty one.
    #[must_use]
    pub const fn new(clock: Clock) -> Self {
        Self { clock, fixed: BTreeMap::new() }
    }

    /// The time of day of something that has happened.
    pub fn past(&mut self, at: Time) -> Option<Timestamp> {
        if let Some(fixed) = self.fixed.get(&at) {
            return Some(*fixed);
        }
        let day = self.clock.of_day(at)?;
        self.fixed.insert(at, day);
        if self.fixed.len() > Self::KEPT {
            self.fixed.pop_first();
        }
        Some(day)
    }

    /// The time of day of something that is to happen, as the system's clock stands now.
    #[must_use]
    pub fn future(&self, at: Time) -> Option<Timestamp> {
        self.clock.of_day(at)
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
