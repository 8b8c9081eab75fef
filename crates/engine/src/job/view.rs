//! What others see of a job: conditions, health, exit code, snapshot.

use super::Job;
use super::phases::{Intent, Phase, RunResult};
use crate::cause::{Cause, TerminalReason};
use crate::condition::{Condition, ConditionStatus};
use crate::plan::StartLimitAction;
use crate::probe::ProbeKind;
use crate::snapshot::{JobPhase, JobSnapshot, LastRun, ProbeSnapshot};

impl Job {
    /// Whether it is done and does not keep the pod from completing. Jobs that are stopped or held can be started
    /// again.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(
            self.phase,
            Phase::Done(
                TerminalReason::Exited
                    | TerminalReason::NeedFailed { .. }
                    | TerminalReason::RestartLimit(
                        StartLimitAction::End | StartLimitAction::Exit | StartLimitAction::Ignore
                    )
            )
        )
    }

    /// Healthy: ready, or completed with exit code 0, or excluded by `StartLimitAction::Ignore`.
    pub(crate) fn is_healthy(&self) -> bool {
        match &self.phase {
            Phase::Done(TerminalReason::Exited) => self.has_succeeded(),
            Phase::Done(TerminalReason::RestartLimit(StartLimitAction::Ignore)) => true,
            _ => self.is_ready(),
        }
    }

    /// Whether the main process is running, has started and is not to be stopped.
    pub(crate) fn has_started(&self) -> bool {
        match &self.phase {
            Phase::Running(state) => self.is_wanted() && state.has_started(&self.plan),
            _ => false,
        }
    }

    /// Whether the main process is running, is ready and is not to be stopped.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.phase {
            Phase::Running(state) => self.is_wanted() && state.is_ready(&self.plan),
            _ => false,
        }
    }

    /// Whether the last run ended with exit code 0.
    pub(super) fn has_succeeded(&self) -> bool {
        self.last.is_some() && self.code() == 0
    }

    /// The status of a condition on this job.
    pub(crate) fn status_of(&self, condition: Condition) -> ConditionStatus {
        let completed_well = match &self.phase {
            Phase::Done(TerminalReason::Exited) => Some(self.has_succeeded()),
            Phase::Done(
                TerminalReason::NeedFailed { .. }
                | TerminalReason::RestartLimit(
                    StartLimitAction::End | StartLimitAction::Exit | StartLimitAction::Ignore,
                ),
            ) => Some(false),
            _ => None,
        };
        let met = match (condition, completed_well) {
            (Condition::Exited, Some(_)) => self.last.is_some(),
            (Condition::Failed, Some(well)) => !well && self.last.is_some(),
            (_, Some(well)) => well,
            (Condition::Started, None) => self.has_started(),
            (Condition::Ready, None) => self.is_ready(),
            (Condition::Succeeded | Condition::Failed | Condition::Exited, None) => false,
        };
        match (met, completed_well) {
            (true, _) => ConditionStatus::Met,
            (false, None) => ConditionStatus::Pending,
            (false, Some(_)) => ConditionStatus::Impossible,
        }
    }

    /// The exit code of the last run. A job that never ran has 0, or 128 + the signal that shut down the pod.
    pub(crate) const fn code(&self) -> i32 {
        match (&self.last, &self.intent) {
            (Some((result, _)), _) => result.code(),
            (None, Intent::Down { cause: Cause::Signal(signal) | Cause::SecondSignal(signal), .. }) => {
                128 + signal.0
            }
            (None, _) => 0,
        }
    }

    pub(crate) fn snapshot(&self) -> JobSnapshot {
        let phase = match self.phase.clone() {
            Phase::Waiting { .. } | Phase::Campaigning { .. } => {
                JobPhase::Waiting { need: self.waits_for.clone() }
            }
            Phase::Starting { .. } => JobPhase::Starting,
            Phase::Running(state) => {
                JobPhase::Running { ttl: state.ttl.map(|(at, ttl)| (ttl, at)), suspended: state.suspended }
            }
            Phase::Draining { why, kill_at, .. } => JobPhase::Draining { why, kill_at },
            Phase::Stopping { why, kill_at, exit, .. } => {
                JobPhase::Stopping { why, kill_at, leftovers: exit.is_some() }
            }
            Phase::Killing { why, exit, .. } => JobPhase::Killing { why, leftovers: exit.is_some() },
            Phase::Pausing { retry_at, cause } => JobPhase::Pausing { retry_at, cause },
            Phase::Done(reason) => JobPhase::Done(reason),
        };
        let last = self.last.clone().map(|(result, at)| {
            let code = result.code();
            match result {
                RunResult::Exited { exit, by, out_of_memory } => {
                    LastRun { at, exit: Some(exit), code, by, out_of_memory }
                }
                RunResult::SpawnFailed(error) => LastRun {
                    at,
                    exit: None,
                    code,
                    by: Some(Cause::SpawnFailed(error)),
                    out_of_memory: false,
                },
                RunResult::DependencyTimedOut(missing, timeout) => {
                    let by = Some(Cause::BirthTimeout(missing, timeout));
                    LastRun { at, exit: None, code, by, out_of_memory: false }
                }
                RunResult::Abandoned => LastRun { at, exit: None, code, by: None, out_of_memory: false },
            }
        });
        let ending = match &self.intent {
            Intent::Up => None,
            Intent::Down { cause, .. } => Some(cause.clone()),
        };
        let state = self.running();
        let probe = |kind| {
            let (passes, failures, reason) = state?.probe_state(kind)?;
            Some(ProbeSnapshot { kind, passes, failures, reason })
        };
        JobSnapshot {
            phase,
            since: self.phase_since,
            run: self.run(),
            starts: self.starts,
            started_at: self.started_at,
            last,
            ending,
            started: self.has_started(),
            ready: self.is_ready(),
            healthy: self.is_healthy(),
            unready_reason: state.and_then(|state| state.unready_reason(&self.plan)),
            probes: ProbeKind::ALL.into_iter().filter_map(probe).collect(),
            retired: self.retired,
        }
    }
}
