//! Time, which is an input of the engine.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant on the driver's monotonic clock, in nanoseconds since the driver started.
///
/// It never goes backwards and is independent of the time of day: setting the clock moves no deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// The instant at which the driver started.
    pub const ZERO: Self = Self(0);

    /// The time since `earlier`; zero if `earlier` lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates: a deadline that does not fit (584 years) is never reached.
    fn add(self, after: Duration) -> Self {
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// A duration for people: `250ms`, `2.1s`, `29s`, `5m`, `1h 30m`.
pub fn rounded(duration: Duration) -> impl fmt::Display {
    Rounded(duration)
}

struct Rounded(Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = (self.0.as_nanos() + 500_000) / 1_000_000;
        let tenths = (millis + 50) / 100;
        let seconds = (millis + 500) / 1000;
        let with_rest = |f: &mut fmt::Formatter<'_>, whole, unit, rest, smaller| match rest {
            0 => write!(f, "{whole}{unit}"),
            rest => write!(f, "{whole}{unit} {rest}{smaller}"),
        };
        match millis {
            0 => f.write_str("0s"),
            1..1000 => write!(f, "{millis}ms"),
            1000..9950 if !tenths.is_multiple_of(10) => write!(f, "{}.{}s", tenths / 10, tenths % 10),
            1000..119_500 => write!(f, "{seconds}s"),
            119_500..3_599_500 => with_rest(f, seconds / 60, 'm', seconds % 60, 's'),
            _ => with_rest(f, seconds / 3600, 'h', seconds % 3600 / 60, 'm'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_for_people() {
        for (millis, text) in [
            (0, "0s"),
            (80, "80ms"),
            (999, "999ms"),
            (1000, "1s"),
            (2149, "2.1s"),
            (9949, "9.9s"),
            (9999, "10s"),
            (28_996, "29s"),
            (60_000, "60s"),
            (119_499, "119s"),
            (300_000, "5m"),
            (150_000, "2m 30s"),
            (5_400_000, "1h 30m"),
            (86_400_000, "24h"),
        ] {
            assert_eq!(rounded(Duration::from_millis(millis)).to_string(), text);
        }
        assert_eq!(rounded(Duration::from_nanos(2_099_999_999)).to_string(), "2.1s");
    }
}
