//! A process and those of others: what it waits for of them, and what they are told of it.

use std::time::Duration;

use super::{Context, Intent, Job, Phase, RunResult, TerminalReason};
use crate::event::{Cause, JobEventKind};
use crate::peer::{Death, LifecycleRecord, Peers, TimeoutAction};
use crate::plan::CodeMap;
use crate::{Exit, Signal, Time};

impl Job {
    /// What it awaits of peers. Nothing of its neighbours is missing.
    pub(crate) fn await_peers(&mut self, peers: &Peers, cx: &mut Context<'_>) {
        // Whoever has won looks once more; what is missing now is waited for as if for the first time.
        let (since, again) = match &self.phase {
            Phase::Waiting { since, .. } => (since.unwrap_or(cx.now), false),
            Phase::Campaigning { since, won: true, .. } => (since.unwrap_or(cx.now), true),
            _ => return,
        };
        let begun = if again { cx.now } else { since };
        let mut open = Vec::new();
        let mut given_up = Vec::new();
        let mut in_vain: Option<Duration> = None;
        let mut until: Option<Time> = None;
        for it in self.plan.start_dependencies.iter().filter(|it| !peers.hold(&it.expression)) {
            match (it.timeout, it.at_timeout) {
                (Some(timeout), TimeoutAction::StartAnyway) if since + timeout <= cx.now => {
                    given_up.push((it.expression.to_string(), timeout));
                    continue;
                }
                (Some(timeout), TimeoutAction::Fail) if begun + timeout <= cx.now => {
                    in_vain = Some(in_vain.map_or(timeout, |other| other.min(timeout)));
                }
                (Some(timeout), _) => {
                    until = Some(until.map_or(begun + timeout, |at| at.min(begun + timeout)));
                }
                (None, _) => {}
            }
            open.push(it.expression.to_string());
        }
        let missing = open.join("; ");
        if let Some(timeout) = in_vain {
            let what =
                JobEventKind::DependencyTimedOut { missing: missing.clone(), timeout, started_anyway: false };
            self.tell(None, what, cx);
            self.last = Some((RunResult::DependencyTimedOut(missing, timeout), cx.now));
            self.finish(TerminalReason::Exited, cx);
        } else if open.is_empty() {
            for (missing, timeout) in given_up.into_iter().filter(|_| !again) {
                self.tell(
                    None,
                    JobEventKind::DependencyTimedOut { missing, timeout, started_anyway: true },
                    cx,
                );
            }
            self.proceed_since(Some(since), cx);
        } else {
            self.waits(missing, cx);
            self.phase = Phase::Waiting { since: Some(begun), until };
        }
    }

    /// The exit code that it stands for, as the plan has it.
    pub(crate) fn mapped_code(&self, codes: &CodeMap) -> i32 {
        let caused = match &self.last {
            Some((RunResult::Exited { by: Some(by), .. }, _)) => by.is_intentional(),
            Some((RunResult::Abandoned, _)) | None => !self.is_wanted(),
            Some(_) => false,
        };
        codes.apply(self.code(), caused)
    }

    /// The signal that ended it last.
    pub(crate) const fn last_signal(&self) -> Option<Signal> {
        match self.last {
            Some((RunResult::Exited { exit: Exit::Signal(signal), .. }, _)) => Some(signal),
            _ => None,
        }
    }

    /// How it ended last, in words.
    pub(crate) fn last_words(&self) -> String {
        match (&self.last, &self.intent, &self.phase) {
            (Some((RunResult::Exited { exit, by: None, .. }, _)), ..) => format!("it ended with {exit}"),
            (Some((RunResult::Exited { exit, by: Some(by), .. }, _)), ..) => {
                format!("it ended with {exit}, because {by}")
            }
            (Some((RunResult::SpawnFailed(error), _)), ..) => error.message.clone(),
            (Some((RunResult::DependencyTimedOut(what, timeout), _)), ..) => {
                Cause::BirthTimeout(what.clone(), *timeout).to_string()
            }
            (Some((RunResult::Abandoned, _)), ..) => "KILL did not end it".to_owned(),
            (None, _, Phase::Done(TerminalReason::NeedFailed { need, condition })) => {
                format!("never started: {need} cannot be {} any more", condition.label())
            }
            (None, Intent::Down { cause, .. }, _) => format!("never started, because {cause}"),
            (None, Intent::Up, _) => "never started".to_owned(),
        }
    }

    /// What others are to be told of it, if that is news; true: it says only that it is not ready any more.
    pub(crate) fn carve(&mut self, codes: &CodeMap, now: Time) -> Option<(LifecycleRecord, bool)> {
        let before = self.carved.as_ref();
        let ready = self.is_ready().then(|| before.and_then(|stone| stone.ready).unwrap_or(now));
        let known = before.and_then(|stone| stone.died.clone()).filter(|_| !self.risen);
        let death = || Death {
            at: now,
            code: self.mapped_code(codes),
            signal: self.last_signal(),
            reason: self.last_words(),
        };
        let died = self.is_done().then(|| known.unwrap_or_else(death));
        self.risen = false;
        let stone = LifecycleRecord { born: self.born, ready, died };
        if self.carved.as_ref() == Some(&stone) {
            return None;
        }
        let withdraws = stone.only_withdraws(self.carved.as_ref());
        self.carved = Some(stone.clone());
        Some((stone, withdraws))
    }
}
