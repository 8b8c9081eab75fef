//! Probes: when they are carried out, and how their results add up, with the semantics of the kubelet.
//!
//! ```text
//!            tick                 success_threshold successes in a row
//! waiting ─────────► under way ──────────────────────────────────────────► passes
//!    ▲                  │  │      failure_threshold failures in a row
//!    └── result ────────┘  └─────────────────────────────────────────────► fails
//! ```
//!
//! | probe | question | before the first result | after a failure |
//! | --- | --- | --- | --- |
//! | startup | is start-up complete? | no | the process is restarted |
//! | liveness | must it be restarted? | it passes | the process is restarted |
//! | readiness | can it receive traffic? | no | it receives none |
//!
//! * A probe is carried out at once (or after its initial delay) and then at each tick of its period. A slow probe
//!   skips ticks; a probe never overlaps itself.
//! * Only consecutive results count. A verdict changes when a threshold is reached.
//! * Until the startup probe has passed, the other two wait; afterwards it is not carried out any more.
//! * A probe that could not be carried out (which says nothing about the process) is tried [`TRIES`] times in a row,
//!   then the tick is skipped.
//! * Counts are reset when the process restarts. (The kubelet carries them over to the next container.)
//!
//! Source: `pkg/kubelet/prober/worker.go` of Kubernetes 1.32, and the API's `Probe` type.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::ProbePlan;
use crate::{AttemptId, Time};

/// Attempts per tick if a probe cannot be carried out.
pub const TRIES: u8 = 3;

/// The minimum interval between probes.
const SHORTEST_PERIOD: Duration = Duration::from_millis(1);

/// The kind of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProbeKind {
    /// Whether start-up is complete.
    Startup,
    /// Whether the process must be restarted.
    Liveness,
    /// Whether the process can receive traffic.
    Readiness,
}

impl ProbeKind {
    /// All kinds, in order of precedence.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// The stable word for configuration files and machines.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        }
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The result of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProbeResult {
    Passed,
    /// With the reason.
    Failed(String),
    /// The probe could not be carried out, for this reason.
    Impossible(String),
}

/// The effect of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Unchanged,
    /// The probe must be repeated at once.
    Retry,
    /// It passes from now on.
    Passes,
    /// The failure threshold is reached, now or before.
    Fails,
}

/// A probe of a running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    next_at: Time,
    /// The attempt under way.
    attempt: Option<AttemptId>,
    tries: u8,
    /// The last result, and how often it occurred in a row.
    streak: (bool, u32),
    passes: bool,
    /// The reason of the last failure.
    reason: Option<String>,
}

impl Probe {
    /// A probe before its first attempt.
    pub(crate) fn new(kind: ProbeKind, plan: &ProbePlan, now: Time) -> Self {
        Self {
            next_at: now + plan.initial_delay,
            attempt: None,
            tries: 0,
            streak: (false, 0),
            passes: kind == ProbeKind::Liveness,
            reason: None,
        }
    }

    /// When it is due next; None: it is under way.
    pub(crate) const fn due_at(&self) -> Option<Time> {
        if self.attempt.is_none() { Some(self.next_at) } else { None }
    }

    /// Starts an attempt. The next one starts a period later: two are never closer, so that a process has at least the
    /// threshold's number of periods, less one, before it fails.
    pub(crate) fn begin(&mut self, attempt: AttemptId, plan: &ProbePlan, now: Time) {
        self.next_at = now + plan.period.max(SHORTEST_PERIOD);
        self.attempt = Some(attempt);
        self.tries = 1;
    }

    /// Starts another attempt of the same tick.
    pub(crate) const fn retry(&mut self, attempt: AttemptId) {
        self.attempt = Some(attempt);
        self.tries += 1;
    }

    /// Whether this attempt is under way.
    pub(crate) fn is_waiting_for(&self, attempt: AttemptId) -> bool {
        self.attempt == Some(attempt)
    }

    /// Cancels the attempt under way and returns it.
    pub(crate) const fn cancel(&mut self) -> Option<AttemptId> {
        self.attempt.take()
    }

    /// Handles the result of the attempt under way.
    pub(crate) fn finish(&mut self, plan: &ProbePlan, result: ProbeResult) -> Verdict {
        self.attempt = None;
        let passed = match result {
            ProbeResult::Impossible(_) if self.tries < TRIES => return Verdict::Retry,
            ProbeResult::Impossible(reason) => {
                self.reason = Some(reason);
                return Verdict::Unchanged;
            }
            ProbeResult::Passed => true,
            ProbeResult::Failed(reason) => {
                self.reason = Some(reason);
                false
            }
        };
        self.streak =
            if self.streak.0 == passed { (passed, self.streak.1.saturating_add(1)) } else { (passed, 1) };
        if passed && self.streak.1 >= plan.success_threshold {
            let was = std::mem::replace(&mut self.passes, true);
            return if was { Verdict::Unchanged } else { Verdict::Passes };
        }
        if !passed && self.streak.1 >= plan.failure_threshold {
            self.passes = false;
            return Verdict::Fails;
        }
        Verdict::Unchanged
    }

    pub(crate) const fn passes(&self) -> bool {
        self.passes
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Consecutive failures.
    pub(crate) const fn failures(&self) -> u32 {
        if self.streak.0 { 0 } else { self.streak.1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(success: u32, failure: u32) -> ProbePlan {
        ProbePlan {
            initial_delay: Duration::from_secs(3),
            period: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            success_threshold: success,
            failure_threshold: failure,
            grace: None,
            restarts: false,
        }
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn verdicts(kind: ProbeKind, success: u32, failure: u32, results: &str) -> Vec<(Verdict, bool)> {
        let plan = plan(success, failure);
        let mut probe = Probe::new(kind, &plan, at(0));
        let result = |c| match c {
            '+' => ProbeResult::Passed,
            '-' => ProbeResult::Failed("no".to_owned()),
            _ => ProbeResult::Impossible("cannot".to_owned()),
        };
        let mut step = |(n, c)| {
            probe.begin(AttemptId(n), &plan, at(3 + 10 * n));
            let verdict = probe.finish(&plan, result(c));
            (verdict, probe.passes())
        };
        (0..).zip(results.chars()).map(&mut step).collect()
    }

    #[test]
    fn only_consecutive_results_reach_a_threshold() {
        use Verdict::{Fails, Passes, Unchanged};
        assert_eq!(
            verdicts(ProbeKind::Readiness, 2, 3, "+-++--+---"),
            [
                (Unchanged, false),
                (Unchanged, false),
                (Unchanged, false),
                (Passes, true),
                (Unchanged, true),
                (Unchanged, true),
                (Unchanged, true),
                (Unchanged, true),
                (Unchanged, true),
                (Fails, false)
            ]
        );
        assert_eq!(
            verdicts(ProbeKind::Liveness, 1, 2, "+--")[2],
            (Fails, false),
            "liveness passes before the first result"
        );
    }

    #[test]
    fn a_probe_that_cannot_be_carried_out_is_tried_three_times_and_does_not_count() {
        let plan = plan(1, 1);
        let mut probe = Probe::new(ProbeKind::Liveness, &plan, at(0));
        let cannot = || ProbeResult::Impossible("no descriptor".to_owned());
        probe.begin(AttemptId(1), &plan, at(3));
        assert_eq!(probe.finish(&plan, cannot()), Verdict::Retry);
        probe.retry(AttemptId(2));
        assert_eq!(probe.finish(&plan, cannot()), Verdict::Retry);
        probe.retry(AttemptId(3));
        assert_eq!(probe.finish(&plan, cannot()), Verdict::Unchanged);
        assert!(probe.passes());
        assert_eq!(probe.due_at(), Some(at(13)), "then waits for the next tick");
    }

    #[test]
    fn two_probes_are_never_closer_than_the_period() {
        let plan = plan(1, 3);
        let mut probe = Probe::new(ProbeKind::Readiness, &plan, at(0));
        assert_eq!(probe.due_at(), Some(at(3)));
        probe.begin(AttemptId(1), &plan, at(3));
        assert_eq!(probe.due_at(), None, "it never overlaps itself");
        probe.finish(&plan, ProbeResult::Passed);
        assert_eq!(probe.due_at(), Some(at(13)));
        probe.begin(AttemptId(2), &plan, at(38));
        probe.finish(&plan, ProbeResult::Passed);
        assert_eq!(probe.due_at(), Some(at(48)), "also after a late one");
    }
}
