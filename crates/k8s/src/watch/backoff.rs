//! Back-off delays. Pure.

use std::time::Duration;

use crate::Pace;

/// A delay that doubles with each consecutive failure.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Returns the next delay, with `random` in `0.0..=1.0`: between half and all of the doubled delay, and always within
    /// the pace, so that clients that failed together do not retry together even at the maximum.
    pub(super) fn next(&mut self, pace: Pace, random: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let longest = pace.longest.max(pace.first);
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let whole = pace.first.saturating_mul(factor).min(longest);
        let half = (whole / 2).max(pace.first);
        half + (whole - half).mul_f64(random.clamp(0.0, 1.0))
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum() {
        let mut backoff = Backoff::default();
        let mut pauses =
            |random| (0..8).map(|_| backoff.next(Pace::default(), random).as_millis()).collect::<Vec<_>>();
        assert_eq!(pauses(0.0), [800, 1600, 3200, 6400, 12_800, 15_000, 15_000, 15_000]);
        backoff.reset();
        let mut pauses =
            |random| (0..8).map(|_| backoff.next(Pace::default(), random).as_millis()).collect::<Vec<_>>();
        assert_eq!(pauses(1.0), [1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000]);
    }

    proptest! {
        #[test]
        fn every_delay_is_within_the_pace(first in 1u64..10_000, longest in 0u64..100_000, failures in 0u32..100, random in 0.0..=1.0f64) {
            let pace = Pace { first: Duration::from_millis(first), longest: Duration::from_millis(longest), ..Pace::default() };
            let mut backoff = Backoff::default();
            for _ in 0..=failures {
                let pause = backoff.next(pace, random);
                prop_assert!(pause >= pace.first && pause <= pace.longest.max(pace.first), "{pause:?}");
            }
        }
    }
}
