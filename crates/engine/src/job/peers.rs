//! Start dependencies on peers, and the tombstone of a job.

use std::time::Duration;

use super::phases::{Intent, Phase, RunResult};
use super::{Context, Job};
use crate::cause::{Cause, TerminalReason};
use crate::job_event::JobEventKind;
use crate::peer::{Death, LifecycleRecord, Peers, TimeoutAction};
use crate::plan::CodeMap;
use crate::{Exit, Signal, Time};

impl Job {
    /// Checks the start dependencies on peers; the needs on other jobs are met.
    pub(crate) fn await_peers(&mut self, peers: &Peers, cx: &mut Context<'_>) {
        // After a lease was won the dependencies are checked again, with new timeouts.
        let (since, again) = match &self.phase {
            Phase::Waiting { since, .. } => (since.unwrap_or(cx.now), false),
            Phase::Campaigning { since, won: true, .. } => (since.unwrap_or(cx.now), true),
            _ => return,
        };
        let begun = if again { cx.now } else { since };
        let mut open = Vec::new();
        let mut skipped = Vec::new();
        let mut failed: Option<Duration> = None;
        let mut until: Option<Time> = None;
        for it in self.plan.start_dependencies.iter().filter(|it| !peers.hold(&it.expression)) {
            match (it.timeout, it.at_timeout) {
                (Some(timeout), TimeoutAction::StartAnyway) if since + timeout <= cx.now => {
                    skipped.push((it.expression.to_string(), timeout));
                    continue;
                }
                (Some(timeout), TimeoutAction::Fail) if begun + timeout <= cx.now => {
                    failed = Some(failed.map_or(timeout, |other| other.min(timeout)));
                }
                (Some(timeout), _) => {
                    until = Some(until.map_or(begun + timeout, |at| at.min(begun + timeout)));
                }
                (None, _) => {}
            }
            open.push(it.expression.to_string());
        }
        let missing = open.join("; ");
        if let Some(timeout) = failed {
            let kind =
                JobEventKind::DependencyTimedOut { missing: missing.clone(), timeout, started_anyway: false };
            self.publish(None, kind, cx);
            self.last = Some((RunResult::DependencyTimedOut(missing, timeout), cx.now));
            self.finish(TerminalReason::Exited, cx);
        } else if open.is_empty() {
            for (missing, timeout) in skipped.into_iter().filter(|_| !again) {
                let kind = JobEventKind::DependencyTimedOut { missing, timeout, started_anyway: true };
                self.publish(None, kind, cx);
            }
            self.proceed_since(Some(since), cx);
        } else {
            self.wait_for(missing, cx);
            self.phase = Phase::Waiting { since: Some(begun), until };
        }
    }

    /// The exit code after the mapping of the plan.
    pub(crate) fn mapped_code(&self, codes: &CodeMap) -> i32 {
        let caused = match &self.last {
            Some((RunResult::Exited { by: Some(by), .. }, _)) => by.is_intentional(),
            Some((RunResult::Abandoned, _)) | None => !self.is_wanted(),
            Some(_) => false,
        };
        codes.apply(self.code(), caused)
    }

    /// The signal that terminated the last run.
    pub(crate) const fn last_signal(&self) -> Option<Signal> {
        match self.last {
            Some((RunResult::Exited { exit: Exit::Signal(signal), .. }, _)) => Some(signal),
            _ => None,
        }
    }

    /// Describes how the last run ended, or why there was none.
    pub(crate) fn describe_end(&self) -> String {
        match (&self.last, &self.intent, &self.phase) {
            (Some((RunResult::Exited { exit, by: None, .. }, _)), ..) => format!("exited with {exit}"),
            (Some((RunResult::Exited { exit, by: Some(by), .. }, _)), ..) => {
                format!("exited with {exit} ({by})")
            }
            (Some((RunResult::SpawnFailed(error), _)), ..) => error.message.clone(),
            (Some((RunResult::DependencyTimedOut(missing, timeout), _)), ..) => {
                Cause::BirthTimeout(missing.clone(), *timeout).to_string()
            }
            (Some((RunResult::Abandoned, _)), ..) => "still alive after SIGKILL; abandoned".to_owned(),
            (None, _, Phase::Done(TerminalReason::NeedFailed { need, condition })) => {
                format!("never started: {need} can no longer be {}", condition.label())
            }
            (None, Intent::Down { cause, .. }, _) => format!("never started ({cause})"),
            (None, Intent::Up, _) => "never started".to_owned(),
        }
    }

    /// Returns the tombstone if it has changed, and whether the only change is from ready to not ready.
    pub(crate) fn updated_record(&mut self, codes: &CodeMap, now: Time) -> Option<(LifecycleRecord, bool)> {
        let before = self.record.as_ref();
        let ready = self.is_ready().then(|| before.and_then(|record| record.ready).unwrap_or(now));
        let known = before.and_then(|record| record.died.clone()).filter(|_| !self.revived);
        let death = || Death {
            at: now,
            code: self.mapped_code(codes),
            signal: self.last_signal(),
            reason: self.describe_end(),
        };
        let died = self.is_done().then(|| known.unwrap_or_else(death));
        self.revived = false;
        let record = LifecycleRecord { born: self.born, ready, died };
        if self.record.as_ref() == Some(&record) {
            return None;
        }
        let withdraws = record.only_withdraws(self.record.as_ref());
        self.record = Some(record.clone());
        Some((record, withdraws))
    }
}
