//! What somebody wants of a process, and when that has come true: each wish is answered exactly once.

use super::{Context, Intent, Job, Outcome, Phase, Rest};
use crate::event::{Cause, Effect, Fulfilled, Refusal};
use crate::plan::AtLimit;
use crate::{RequestId, RunId};

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// That a run with this number or a later one has started.
    Up(RunId),
    Down,
}

impl Job {
    pub(crate) fn wish_up(&mut self, request: RequestId, cx: &mut Context<'_>) {
        let running = matches!(self.phase, Phase::Starting { .. } | Phase::Running(_));
        if self.is_wanted() && running {
            return answer(request, Ok(Fulfilled::AlreadySo), cx);
        }
        self.intent = Intent::Up;
        if matches!(self.phase, Phase::Done(_) | Phase::Pausing { .. }) {
            self.streak = 0;
            self.enter(Phase::WAITING, cx);
        }
        // What is on its way down comes up again when it has got there: see `settle`.
        let from = if self.run().is_some_and(|_| !self.is_ending()) { 0 } else { *cx.next_id };
        self.expect(request, Goal::Up(RunId(from)), cx);
    }

    pub(crate) fn wish_down(&mut self, request: RequestId, cx: &mut Context<'_>) {
        if self.is_done() {
            self.intent = Intent::Down { cause: Cause::Request, signal: self.plan.stop_signal };
            if matches!(self.phase, Phase::Done(Rest::GaveUp(AtLimit::Hold) | Rest::NeedFailed { .. })) {
                self.finish(Rest::Stopped, cx);
            }
            return answer(request, Ok(Fulfilled::AlreadySo), cx);
        }
        self.condemn(&Cause::Request, self.plan.stop_signal, cx);
        self.expect(request, Goal::Down, cx);
    }

    pub(crate) fn wish_anew(&mut self, request: RequestId, cx: &mut Context<'_>) {
        if let Phase::Running(life) = &self.phase {
            // Also of one that waits for its turn to end: the last wish counts.
            let run = life.run;
            self.intent = Intent::Up;
            self.begin_end(run, Cause::Request, self.plan.grace, cx);
            return self.expect(request, Goal::Up(RunId(*cx.next_id)), cx);
        }
        if let Phase::Starting { .. } = self.phase {
            // It is as new as can be.
            self.intent = Intent::Up;
            return self.expect(request, Goal::Up(RunId(0)), cx);
        }
        self.wish_up(request, cx);
    }

    fn expect(&mut self, request: RequestId, goal: Goal, cx: &mut Context<'_>) {
        let contrary =
            |other: &Goal| matches!((goal, other), (Goal::Up(_), Goal::Down) | (Goal::Down, Goal::Up(_)));
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
        let in_vain = matches!(self.last, Some((Outcome::NotBorn(..), _))).then(|| self.last_words());
        let newest = self.newest_run;
        let (phase, wanted) = (&self.phase, self.is_wanted());
        self.requests.retain(|(request, goal)| {
            let told = match (goal, phase) {
                (Goal::Down, Phase::Done(_)) => Ok(Fulfilled::Done),
                (Goal::Up(from), Phase::Running(_)) if started.is_some_and(|run| run >= *from) => {
                    Ok(Fulfilled::Done)
                }
                (Goal::Up(_), Phase::Done(Rest::Over)) if let Some(why) = &in_vain => {
                    Err(Refusal::Failed(why.clone()))
                }
                // Something that runs once has run.
                (Goal::Up(from), Phase::Done(Rest::Over)) if newest >= *from => {
                    if ended_well {
                        Ok(Fulfilled::Done)
                    } else {
                        Err(Refusal::Failed("it has failed".to_owned()))
                    }
                }
                (Goal::Up(_), Phase::Done(Rest::NeedFailed { need, condition })) => Err(Refusal::Failed(
                    format!("it needs {need} to be {}, which has failed", condition.label()),
                )),
                (Goal::Up(_), Phase::Done(Rest::GaveUp(_))) => Err(Refusal::Failed("given up".to_owned())),
                (Goal::Up(_), _) if !wanted => Err(Refusal::Ending),
                _ => return true,
            };
            answer(*request, told, cx);
            false
        });
    }

    /// Somebody wants a run of it that has not begun.
    pub(crate) fn somebody_waits_for_it(&self) -> bool {
        self.requests.iter().any(|(_, goal)| matches!(goal, Goal::Up(from) if self.newest_run < *from))
    }
}

pub(super) fn answer(request: RequestId, answer: Result<Fulfilled, Refusal>, cx: &mut Context<'_>) {
    cx.out.push(Effect::Answer { request, answer });
}
