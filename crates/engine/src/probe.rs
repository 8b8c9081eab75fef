//! What the answers to probes amount to: results in, verdicts out, with the kubelet's semantics.
//!
//! | probe | asks | before any answer | when it has failed |
//! | --- | --- | --- | --- |
//! | startup | has it started? | no | it is started anew |
//! | liveness | is it worth keeping? | yes | it is started anew |
//! | readiness | may it be given work? | no | it gets none |
//!
//! * A probe is carried out at once (or after its initial delay) and then at each tick of its period. A slow
//!   answer lets ticks pass; a probe never overlaps itself.
//! * Only answers in a row count. A threshold that is reached changes the verdict; nothing else does.
//! * While the startup probe has not passed, the other two wait; once it has, it rests.
//! * A probe that could not be carried out (which says nothing about the process) is tried [`TRIES`] times
//!   at once, and then that tick is forgotten.
//! * A new run begins anew. (The kubelet carries a row of answers over to the next container.)
//!
//! Source: `pkg/kubelet/prober/worker.go` of Kubernetes 1.32, and the API's `Probe` type.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::ProbePlan;
use crate::{AttemptId, Time};

/// How often a probe is tried that cannot be carried out.
pub const TRIES: u8 = 3;

/// No probe is carried out more often than this.
const SHORTEST_PERIOD: Duration = Duration::from_millis(1);

/// Which of the three probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProbeKind {
    /// Has it started?
    Startup,
    /// Is it worth keeping?
    Liveness,
    /// May it be given work?
    Readiness,
}

impl ProbeKind {
    /// All three, in the order in which they matter.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// The stable word.
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

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProbeResult {
    /// It passed.
    Passed,
    /// It failed, for this reason.
    Failed(String),
    /// It could not be carried out, for this reason.
    Impossible(String),
}

/// What an answer has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    AsBefore,
    /// Nothing; ask again at once.
    Again,
    /// It passes now, and did not before.
    Passes,
    /// It has failed as often in a row as it may, now or before.
    Fails,
}

/// A probe of a process that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    next_at: Time,
    asking: Option<AttemptId>,
    tries: u8,
    /// Whether the last answers were passes, and how many in a row.
    row: (bool, u32),
    passes: bool,
    /// Why it failed last.
    reason: Option<String>,
}

impl Probe {
    /// A probe that was never carried out.
    pub(crate) fn new(kind: ProbeKind, plan: &ProbePlan, now: Time) -> Self {
        Self {
            next_at: now + plan.initial_delay,
            asking: None,
            tries: 0,
            row: (false, 0),
            passes: kind == ProbeKind::Liveness,
            reason: None,
        }
    }

    /// When it is to be carried out next; None: it is being carried out.
    pub(crate) const fn due_at(&self) -> Option<Time> {
        if self.asking.is_none() { Some(self.next_at) } else { None }
    }

    /// It is carried out now. The ticks that have passed meanwhile are skipped; the next comes after `part`
    /// (0.0 to 1.0) of a period, which moves all that follow.
    pub(crate) fn ask(&mut self, attempt: AttemptId, plan: &ProbePlan, now: Time, part: f64) {
        let period = plan.period.max(SHORTEST_PERIOD);
        let late = now.since(self.next_at);
        let ticks = u32::try_from(late.as_nanos() / period.as_nanos()).unwrap_or(u32::MAX);
        self.next_at =
            self.next_at + period.saturating_mul(ticks) + period.mul_f64(part).max(SHORTEST_PERIOD);
        self.asking = Some(attempt);
        self.tries = 1;
    }

    /// It is tried again: it could not be carried out.
    pub(crate) const fn ask_again(&mut self, attempt: AttemptId) {
        self.asking = Some(attempt);
        self.tries += 1;
    }

    /// Is this the attempt that we wait for?
    pub(crate) fn awaits(&self, attempt: AttemptId) -> bool {
        self.asking == Some(attempt)
    }

    /// The attempt that is under way is given up.
    pub(crate) const fn give_up(&mut self) -> Option<AttemptId> {
        self.asking.take()
    }

    /// Takes the answer that we wait for.
    pub(crate) fn answered(&mut self, plan: &ProbePlan, result: ProbeResult) -> Verdict {
        self.asking = None;
        let passed = match result {
            ProbeResult::Impossible(_) if self.tries < TRIES => return Verdict::Again,
            ProbeResult::Impossible(reason) => {
                self.reason = Some(reason);
                return Verdict::AsBefore;
            }
            ProbeResult::Passed => true,
            ProbeResult::Failed(reason) => {
                self.reason = Some(reason);
                false
            }
        };
        self.row = if self.row.0 == passed { (passed, self.row.1.saturating_add(1)) } else { (passed, 1) };
        if passed && self.row.1 >= plan.success_threshold {
            let was = std::mem::replace(&mut self.passes, true);
            return if was { Verdict::AsBefore } else { Verdict::Passes };
        }
        if !passed && self.row.1 >= plan.failure_threshold {
            self.passes = false;
            return Verdict::Fails;
        }
        Verdict::AsBefore
    }

    pub(crate) const fn passes(&self) -> bool {
        self.passes
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Failures in a row.
    pub(crate) const fn failures(&self) -> u32 {
        if self.row.0 { 0 } else { self.row.1 }
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

    fn verdicts(kind: ProbeKind, success: u32, failure: u32, answers: &str) -> Vec<(Verdict, bool)> {
        let plan = plan(success, failure);
        let mut probe = Probe::new(kind, &plan, at(0));
        let answer = |c| match c {
            '+' => ProbeResult::Passed,
            '-' => ProbeResult::Failed("no".to_owned()),
            _ => ProbeResult::Impossible("cannot".to_owned()),
        };
        let mut told = |(n, c)| {
            probe.ask(AttemptId(n), &plan, at(3 + 10 * n), 1.0);
            let verdict = probe.answered(&plan, answer(c));
            (verdict, probe.passes())
        };
        (0..).zip(answers.chars()).map(&mut told).collect()
    }

    #[test]
    fn only_answers_in_a_row_reach_a_threshold() {
        use Verdict::{AsBefore, Fails, Passes};
        assert_eq!(
            verdicts(ProbeKind::Readiness, 2, 3, "+-++--+---"),
            [
                (AsBefore, false),
                (AsBefore, false),
                (AsBefore, false),
                (Passes, true),
                (AsBefore, true),
                (AsBefore, true),
                (AsBefore, true),
                (AsBefore, true),
                (AsBefore, true),
                (Fails, false)
            ]
        );
        assert_eq!(
            verdicts(ProbeKind::Liveness, 1, 2, "+--")[2],
            (Fails, false),
            "liveness passes before any answer"
        );
    }

    #[test]
    fn what_could_not_be_carried_out_is_tried_three_times_and_does_not_count() {
        let plan = plan(1, 1);
        let mut probe = Probe::new(ProbeKind::Liveness, &plan, at(0));
        let cannot = || ProbeResult::Impossible("no descriptor".to_owned());
        probe.ask(AttemptId(1), &plan, at(3), 1.0);
        assert_eq!(probe.answered(&plan, cannot()), Verdict::Again);
        probe.ask_again(AttemptId(2));
        assert_eq!(probe.answered(&plan, cannot()), Verdict::Again);
        probe.ask_again(AttemptId(3));
        assert_eq!(probe.answered(&plan, cannot()), Verdict::AsBefore);
        assert!(probe.passes());
        assert_eq!(probe.due_at(), Some(at(13)), "and then waits for its tick");
    }

    #[test]
    fn ticks_stay_where_they_are_and_slow_answers_skip_them() {
        let plan = plan(1, 3);
        let mut probe = Probe::new(ProbeKind::Readiness, &plan, at(0));
        assert_eq!(probe.due_at(), Some(at(3)));
        probe.ask(AttemptId(1), &plan, at(3), 1.0);
        assert_eq!(probe.due_at(), None, "it never overlaps itself");
        probe.answered(&plan, ProbeResult::Passed);
        assert_eq!(probe.due_at(), Some(at(13)));
        probe.ask(AttemptId(2), &plan, at(38), 1.0);
        probe.answered(&plan, ProbeResult::Passed);
        assert_eq!(probe.due_at(), Some(at(43)));
    }
}
