//! Back-off delays and restart limits.

use std::collections::VecDeque;
use std::time::Duration;

use crate::{RestartDelay, RestartLimit, Time};

/// The jitter of an exponential delay, as a fraction in both directions.
const JITTER: f64 = 0.2;

/// Returns the delay before the next start after `streak` consecutive failed runs (0 for the first), with `chance` in
/// `0.0..1.0` for the jitter. Jitter spreads the restarts of many hosts that failed at the same time.
#[must_use]
pub fn delay(plan: &RestartDelay, streak: u32, chance: f64) -> Duration {
    match plan {
        RestartDelay::Fixed(delay) => *delay,
        RestartDelay::Exponential { first_at_once: true, .. } if streak == 0 => Duration::ZERO,
        RestartDelay::Exponential { range, first_at_once, .. } => {
            let streak = streak - u32::from(*first_at_once);
            let grown = range.from.saturating_mul(1u32.checked_shl(streak).unwrap_or(u32::MAX)).min(range.to);
            let factor = 1.0 - JITTER + 2.0 * JITTER * chance;
            grown.mul_f64(factor).clamp(range.from, range.to)
        }
    }
}

/// Whether a run of this length resets the back-off.
#[must_use]
pub fn resets(plan: &RestartDelay, ran: Duration) -> bool {
    match plan {
        RestartDelay::Fixed(_) => false,
        RestartDelay::Exponential { reset_after, .. } => ran >= *reset_after,
    }
}

/// The restarts within the window of a [`RestartLimit`].
#[derive(Debug, Clone, Default)]
pub struct Restarts {
    at: VecDeque<Time>,
}

impl Restarts {
    /// Counts a restart and returns true if the limit allows it.
    pub fn allow(&mut self, limit: RestartLimit, now: Time) -> bool {
        while self.at.front().is_some_and(|at| now.since(*at) >= limit.window) {
            self.at.pop_front();
        }
        let allowed = self.at.len() < usize::try_from(limit.restarts).unwrap_or(usize::MAX);
        if allowed {
            self.at.push_back(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DurationRange;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn growing() -> RestartDelay {
        let range = DurationRange { from: secs(5), to: secs(300) };
        RestartDelay::Exponential { range, reset_after: secs(60), first_at_once: false }
    }

    #[test]
    fn delays_double_up_to_the_maximum() {
        let delays: Vec<u64> = (0..9).map(|streak| delay(&growing(), streak, 0.5).as_secs()).collect();
        assert_eq!(delays, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn the_first_restart_can_be_immediate() {
        let range = DurationRange { from: secs(10), to: secs(300) };
        let kubelet = RestartDelay::Exponential { range, reset_after: secs(600), first_at_once: true };
        let delays: Vec<u64> = (0..8).map(|streak| delay(&kubelet, streak, 0.5).as_secs()).collect();
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn jitter_stays_within_a_fifth_and_within_the_range() {
        for streak in [0, 3, 31, 32, 1000, u32::MAX] {
            for chance in [0.0, 0.3, 0.999] {
                let middle = delay(&growing(), streak, 0.5);
                let drawn = delay(&growing(), streak, chance);
                assert!(drawn >= secs(5) && drawn <= secs(300), "{drawn:?}");
                assert!(drawn >= middle.mul_f64(0.79) && drawn <= middle.mul_f64(1.21), "{drawn:?}");
            }
        }
        assert_ne!(delay(&growing(), 3, 0.1), delay(&growing(), 3, 0.9));
    }

    #[test]
    fn a_fixed_delay_has_no_jitter_and_does_not_grow() {
        assert_eq!(delay(&RestartDelay::Fixed(secs(30)), 17, 0.9), secs(30));
        assert!(!resets(&RestartDelay::Fixed(secs(30)), secs(100_000)));
    }

    #[test]
    fn counts_only_restarts_within_the_window() {
        let limit = RestartLimit { restarts: 2, window: secs(10) };
        let mut restarts = Restarts::default();
        let at = |s: u64| Time::ZERO + secs(s);
        assert!(restarts.allow(limit, at(0)));
        assert!(restarts.allow(limit, at(4)));
        assert!(!restarts.allow(limit, at(9)));
        assert!(restarts.allow(limit, at(10)));
        assert!(!restarts.allow(limit, at(11)));
        assert!(!Restarts::default().allow(RestartLimit { restarts: 0, window: secs(1) }, at(0)));
    }
}
