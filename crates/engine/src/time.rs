//! Time as the engine knows it: an input.

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant on the driver's monotonic clock, in nanoseconds since the driver began.
///
/// It never steps back and has nothing to do with the time of day: a clock that is set moves no deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// The instant at which the driver began.
    pub const ZERO: Self = Self(0);

    /// How long it is since `earlier`; zero when `earlier` lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates: a deadline too far away to count (584 years) is one that never comes.
    fn add(self, after: Duration) -> Self {
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}
