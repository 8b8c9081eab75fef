//! How long to pause after a failure: numbers in, numbers out.

use std::time::Duration;

use crate::Pace;

/// A pause that grows with each failure in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next pause, with `chance` in `0.0..=1.0`. It lies between half of what the failures have doubled it to
    /// and the whole, and always within the pace, so that a fleet that failed together does not come back
    /// together even at the longest pause.
    pub(super) fn next(&mut self, pace: Pace, chance: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let longest = pace.longest.max(pace.first);
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let whole = pace.first.saturating_mul(factor).min(longest);
        let half = (whole / 2).max(pace.first);
        half + (whole - half).mul_f64(chance.clamp(0.0, 1.0))
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
    fn pauses_double_from_the_first_to_the_longest() {
        let mut backoff = Backoff::default();
        let mut pauses =
            |chance| (0..8).map(|_| backoff.next(Pace::default(), chance).as_millis()).collect::<Vec<_>>();
        assert_eq!(pauses(0.0), [800, 1600, 3200, 6400, 12_800, 15_000, 15_000, 15_000]);
        backoff.reset();
        let mut pauses =
            |chance| (0..8).map(|_| backoff.next(Pace::default(), chance).as_millis()).collect::<Vec<_>>();
        assert_eq!(pauses(1.0), [1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000]);
    }

    proptest! {
        #[test]
        fn every_pause_is_within_the_pace(first in 1u64..10_000, longest in 0u64..100_000, failures in 0u32..100, chance in 0.0..=1.0f64) {
            let pace = Pace { first: Duration::from_millis(first), longest: Duration::from_millis(longest), ..Pace::default() };
            let mut backoff = Backoff::default();
            for _ in 0..=failures {
                let pause = backoff.next(pace, chance);
                prop_assert!(pause >= pace.first && pause <= pace.longest.max(pace.first), "{pause:?}");
            }
        }
    }
}
