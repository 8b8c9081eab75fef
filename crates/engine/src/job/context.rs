//! What a step of a job reads and fills.

use std::collections::BTreeMap;

use crate::effect::{Effect, Outcome, Refusal};
use crate::job_event::{JobEvent, JobEventKind};
use crate::rng::Rng;
use crate::{AttemptId, JobId, RequestId, RunId, Time};

/// Inputs and outputs of a step.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) next_id: &'a mut u64,
    pub(crate) rng: &'a mut Rng,
    /// The jobs that wait for the result of an attempt.
    pub(crate) attempts: &'a mut BTreeMap<AttemptId, JobId>,
    pub(crate) out: &'a mut Vec<Effect>,
    /// Visible state has changed without an effect.
    pub(crate) touched: bool,
}

impl Context<'_> {
    /// Returns the next number for a run or an attempt.
    pub(crate) fn number(&mut self) -> u64 {
        let number = *self.next_id;
        *self.next_id += 1;
        number
    }

    /// Registers a new attempt, whose result will be reported.
    pub(crate) fn attempt(&mut self, job: JobId) -> AttemptId {
        let attempt = AttemptId(self.number());
        self.attempts.insert(attempt, job);
        attempt
    }

    /// Cancels an attempt, unless its result was reported.
    pub(crate) fn abort(&mut self, attempt: AttemptId) {
        if self.attempts.remove(&attempt).is_some() {
            self.out.push(Effect::Abort(attempt));
        }
    }

    /// Publishes an event of a job.
    pub(crate) fn publish(&mut self, job: JobId, run: Option<RunId>, kind: JobEventKind) {
        self.out.push(Effect::Publish(JobEvent { at: self.now, job, run, kind }));
    }

    /// Responds to a request.
    pub(crate) fn respond(&mut self, request: RequestId, response: Result<Outcome, Refusal>) {
        self.out.push(Effect::Respond { request, response });
    }
}
