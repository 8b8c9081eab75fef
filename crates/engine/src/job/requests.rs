//! Client requests: each is answered exactly once, when it is fulfilled or cannot be fulfilled any more.

use super::phases::{Intent, Phase, RunResult};
use super::{Context, Job};
use crate::cause::{Cause, TerminalReason};
use crate::effect::{Outcome, Refusal};
use crate::plan::StartLimitAction;
use crate::{RequestId, RunId};

/// What an unanswered request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingRequest {
    /// That a run with this number or a later one has started.
    Up(RunId),
    Down,
}

impl Job {
    pub(crate) fn handle_start(&mut self, request: RequestId, cx: &mut Context<'_>) {
        let running = matches!(self.phase, Phase::Starting { .. } | Phase::Running(_));
        if self.is_wanted() && running {
            return cx.respond(request, Ok(Outcome::Unchanged));
        }
        self.intent = Intent::Up;
        if matches!(self.phase, Phase::Done(_) | Phase::Pausing { .. }) {
            self.streak = 0;
            self.enter(Phase::WAITING, cx);
        }
        // A run that is being stopped is followed by a new one: see `decide_after_exit`.
        let from = if self.run().is_some_and(|_| !self.is_stopping()) { 0 } else { *cx.next_id };
        self.add_request(request, PendingRequest::Up(RunId(from)), cx);
    }

    pub(crate) fn handle_stop(&mut self, request: RequestId, cx: &mut Context<'_>) {
        if self.is_done() {
            self.intent = Intent::Down { cause: Cause::Request, signal: self.plan.stop_signal };
            if matches!(
                self.phase,
                Phase::Done(
                    TerminalReason::RestartLimit(StartLimitAction::Hold) | TerminalReason::NeedFailed { .. }
                )
            ) {
                self.finish(TerminalReason::Stopped, cx);
            }
            return cx.respond(request, Ok(Outcome::Unchanged));
        }
        self.request_stop(&Cause::Request, self.plan.stop_signal, cx);
        self.add_request(request, PendingRequest::Down, cx);
    }

    pub(crate) fn handle_restart(&mut self, request: RequestId, cx: &mut Context<'_>) {
        if let Phase::Running(state) = &self.phase {
            // Also if a stop is pending: the last request counts.
            let run = state.run;
            self.intent = Intent::Up;
            self.stop_run(run, Cause::Request, self.plan.grace, cx);
            return self.add_request(request, PendingRequest::Up(RunId(*cx.next_id)), cx);
        }
        if let Phase::Starting { .. } = self.phase {
            // It is being started anyway.
            self.intent = Intent::Up;
            return self.add_request(request, PendingRequest::Up(RunId(0)), cx);
        }
        self.handle_start(request, cx);
    }

    fn add_request(&mut self, request: RequestId, pending: PendingRequest, cx: &mut Context<'_>) {
        let contrary = |other: &PendingRequest| {
            matches!(
                (pending, other),
                (PendingRequest::Up(_), PendingRequest::Down) | (PendingRequest::Down, PendingRequest::Up(_))
            )
        };
        for (other, _) in self.requests.extract_if(.., |(_, other)| contrary(other)) {
            cx.respond(other, Err(Refusal::Superseded));
        }
        self.requests.push((request, pending));
    }

    /// Refuses the requests that wait for this run, which could not be started.
    pub(super) fn refuse_starts(&mut self, run: RunId, why: &str, cx: &mut Context<'_>) {
        let waits = |pending: &PendingRequest| matches!(pending, PendingRequest::Up(from) if *from <= run);
        for (request, _) in self.requests.extract_if(.., |(_, pending)| waits(pending)) {
            cx.respond(request, Err(Refusal::Failed(why.to_owned())));
        }
    }

    /// Answers the requests that are fulfilled or cannot be fulfilled.
    pub(super) fn answer_requests(&mut self, cx: &mut Context<'_>) {
        if self.requests.is_empty() {
            return;
        }
        let started = self.has_started().then(|| self.run()).flatten();
        let succeeded = self.has_succeeded();
        let timed_out =
            matches!(self.last, Some((RunResult::DependencyTimedOut(..), _))).then(|| self.describe_end());
        let newest = self.newest_run;
        let (phase, wanted) = (&self.phase, self.is_wanted());
        self.requests.retain(|(request, pending)| {
            let response = match (pending, phase) {
                (PendingRequest::Down, Phase::Done(_)) => Ok(Outcome::Changed),
                (PendingRequest::Up(from), Phase::Running(_)) if started.is_some_and(|run| run >= *from) => {
                    Ok(Outcome::Changed)
                }
                (PendingRequest::Up(_), Phase::Done(TerminalReason::Exited))
                    if let Some(why) = &timed_out =>
                {
                    Err(Refusal::Failed(why.clone()))
                }
                // A process that runs once has completed.
                (PendingRequest::Up(from), Phase::Done(TerminalReason::Exited)) if newest >= *from => {
                    if succeeded {
                        Ok(Outcome::Changed)
                    } else {
                        Err(Refusal::Failed("the process failed".to_owned()))
                    }
                }
                (PendingRequest::Up(_), Phase::Done(TerminalReason::NeedFailed { need, condition })) => {
                    Err(Refusal::Failed(format!(
                        "it depends on {need} to be {}, which can no longer be satisfied",
                        condition.label()
                    )))
                }
                (PendingRequest::Up(_), Phase::Done(TerminalReason::RestartLimit(_))) => {
                    Err(Refusal::Failed("restart limit reached".to_owned()))
                }
                (PendingRequest::Up(_), _) if !wanted => Err(Refusal::ShuttingDown),
                _ => return true,
            };
            cx.respond(*request, response);
            false
        });
    }

    /// Whether a start request waits for a run that has not started.
    pub(crate) fn has_pending_start(&self) -> bool {
        self.requests
            .iter()
            .any(|(_, pending)| matches!(pending, PendingRequest::Up(from) if self.newest_run < *from))
    }
}
