//! Client requests.

use super::Pod;
use crate::cause::Cause;
use crate::effect::{Effect, Outcome, Refusal};
use crate::event::Request;
use crate::{JobId, PodPhase, RequestId, Time};

impl Pod {
    pub(super) fn requested(
        &mut self,
        request: RequestId,
        action: Request,
        now: Time,
        out: &mut Vec<Effect>,
    ) {
        let job = match action {
            Request::Start(job)
            | Request::Stop(job)
            | Request::Restart(job)
            | Request::Signal(job, _)
            | Request::SignalGroup(job, _) => Some(job),
            Request::End => None,
        };
        let known = |id: JobId| self.jobs.get(id.0).is_some_and(|job| !job.retired);
        let refusal = if job.is_some_and(|id| !known(id)) {
            Some(Refusal::Unknown)
        } else if self.phase != PodPhase::Up
            && !matches!(action, Request::End | Request::Signal(..) | Request::SignalGroup(..))
        {
            Some(Refusal::ShuttingDown)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return out.push(Effect::Respond { request, response: Err(refusal) });
        }
        match action {
            Request::Start(id) => {
                self.with(id, now, out, |job, cx| job.handle_start(request, cx));
                self.dirty.insert(id);
            }
            Request::Stop(id) => {
                self.with(id, now, out, |job, cx| job.handle_stop(request, cx));
                self.dirty.insert(id);
            }
            Request::Restart(id) => {
                self.with(id, now, out, |job, cx| job.handle_restart(request, cx));
                self.dirty.insert(id);
            }
            Request::Signal(id, signal) | Request::SignalGroup(id, signal) => {
                let group = matches!(action, Request::SignalGroup(..));
                let mut forwarded = false;
                self.with(id, now, out, |job, cx| forwarded = job.forward(signal, group, cx));
                let response = if forwarded { Ok(Outcome::Changed) } else { Err(Refusal::NotRunning) };
                out.push(Effect::Respond { request, response });
            }
            Request::End => {
                let up = self.phase == PodPhase::Up;
                self.stop(&Cause::Request, None, now, out);
                if let PodPhase::Lingering { .. } = self.phase {
                    self.end(out);
                }
                let outcome = if up { Outcome::Changed } else { Outcome::Unchanged };
                out.push(Effect::Respond { request, response: Ok(outcome) });
            }
        }
    }
}
