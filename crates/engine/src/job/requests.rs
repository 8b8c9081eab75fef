//! What somebody wants of a process, and when that has come true: each wish is answered exactly once.

use super::{Context, Intent, Job, Phase, RunResult, TerminalReason};
use crate::event::{Cause, Effect, Outcome, Refusal};
use crate::plan::StartLimitAction;
use crate::{RequestId, RunId};

/// What somebody waits for.
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
            return answer(request, Ok(Outcome::Unchanged), cx);
        }
        self.intent = Intent::Up;
        if matches!(self.phase, Phase::Done(_) | Phase::Pausing { .. }) {
            self.streak = 0;
            self.enter(Phase::WAITING, cx);
        }
        // What is on its way down comes up again when it has got there: see `settle`.
        let from = if self.run().is_some_and(|_| !self.is_ending()) { 0 } else { *cx.next_id };
        self.expect(request, PendingRequest::Up(RunId(from)), cx);
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
            return answer(request, Ok(Outcome::Unchanged), cx);
        }
        self.request_stop(&Cause::Request, self.plan.stop_signal, cx);
        self.expect(request, PendingRequest::Down, cx);
    }

    pub(crate) fn handle_restart(&mut self, request: RequestId, cx: &mut Context<'_>) {
        if let Phase::Running(life) = &self.phase {
            // Also of one that waits for its turn to end: the last wish counts.
            let run = life.run;
            self.intent = Intent::Up;
            self.begin_end(run, Cause::Request, self.plan.grace, cx);
            return self.expect(request, PendingRequest::Up(RunId(*cx.next_id)), cx);
        }
        if let Phase::Starting { .. } = self.phase {
            // It is as new as can be.
            self.intent = Intent::Up;
            return self.expect(request, PendingRequest::Up(RunId(0)), cx);
        }
        self.handle_start(request, cx);
    }

    fn expect(&mut self, request: RequestId, goal: PendingRequest, cx: &mut Context<'_>) {
        let contrary = |other: &PendingRequest| {
            matches!(
                (goal, other),
                (PendingRequest::Up(_), PendingRequest::Down) | (PendingRequest::Down, PendingRequest::Up(_))
            )
        };
        for (other, _) in self.requests.extract_if(.., |(_, other)| contrary(other)) {
            answer(other, Err(Refusal::Superseded), cx);
        }
        self.requests.push((request, goal));
    }

    /// Answers those whose wish has come true, or cannot.
    pub(super) fn answer_requests(&mut self, cx: &mut Context<'_>) {
        if self.requests.is_empty() {
            return;
        }
        let started = self.has_started().then(|| self.run()).flatten();
        let ended_well = self.last.is_some() && self.code() == 0;
        let in_vain =
            matches!(self.last, Some((RunResult::DependencyTimedOut(..), _))).then(|| self.last_words());
        let newest = self.newest_run;
        let (phase, wanted) = (&self.phase, self.is_wanted());
        self.requests.retain(|(request, goal)| {
            let told = match (goal, phase) {
                (PendingRequest::Down, Phase::Done(_)) => Ok(Outcome::Changed),
                (PendingRequest::Up(from), Phase::Running(_)) if started.is_some_and(|run| run >= *from) => {
                    Ok(Outcome::Changed)
                }
                (PendingRequest::Up(_), Phase::Done(TerminalReason::Exited)) if let Some(why) = &in_vain => {
                    Err(Refusal::Failed(why.clone()))
                }
                // Something that runs once has run.
                (PendingRequest::Up(from), Phase::Done(TerminalReason::Exited)) if newest >= *from => {
                    if ended_well {
                        Ok(Outcome::Changed)
                    } else {
                        Err(Refusal::Failed("it has failed".to_owned()))
                    }
                }
                (PendingRequest::Up(_), Phase::Done(TerminalReason::NeedFailed { need, condition })) => Err(
                    Refusal::Failed(format!("it needs {need} to be {}, which has failed", condition.label())),
                ),
                (PendingRequest::Up(_), Phase::Done(TerminalReason::RestartLimit(_))) => {
                    Err(Refusal::Failed("given up".to_owned()))
                }
                (PendingRequest::Up(_), _) if !wanted => Err(Refusal::ShuttingDown),
                _ => return true,
            };
            answer(*request, told, cx);
            false
        });
    }

    /// Somebody wants a run of it that has not begun.
    pub(crate) fn has_pending_start(&self) -> bool {
        self.requests
            .iter()
            .any(|(_, goal)| matches!(goal, PendingRequest::Up(from) if self.newest_run < *from))
    }
}

pub(super) fn answer(request: RequestId, answer: Result<Outcome, Refusal>, cx: &mut Context<'_>) {
    cx.out.push(Effect::Respond { request, response: answer });
}
