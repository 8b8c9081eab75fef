//! Snapshots: copies of the state for status queries, taken after a step.

use std::time::Duration;

pub use crate::cause::TerminalReason;
use crate::plan::StartLimitAction;
use crate::probe::ProbeKind;
use crate::{Cause, Exit, RunId, Signal, Time};

/// The state of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Increases with each step that changed something.
    pub generation: u64,
    pub phase: PodPhase,
    /// In plan order.
    pub jobs: Vec<JobSnapshot>,
}

/// The phase of a pod; [`crate::pod`] draws the transitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodPhase {
    Up,
    /// Shutting down.
    Stopping {
        cause: Cause,
    },
    /// All processes have exited; the status can still be queried.
    Lingering {
        until: Time,
    },
    /// Shut down with this exit code.
    Ended {
        code: i32,
    },
}

/// The state of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSnapshot {
    pub phase: JobPhase,
    /// When the phase was entered.
    pub since: Time,
    /// The current run.
    pub run: Option<RunId>,
    /// Number of processes started.
    pub starts: u64,
    /// Start time of the current or else the last process.
    pub started_at: Option<Time>,
    /// How the last run ended.
    pub last: Option<LastRun>,
    /// A permanent stop was requested, for this reason.
    pub ending: Option<Cause>,
    /// Running, its startup probe has passed and its postStart hook is done.
    pub started: bool,
    pub ready: bool,
    /// Ready, or completed with exit code 0, or excluded by [`StartLimitAction::Ignore`].
    pub healthy: bool,
    /// Why a running process is not ready.
    pub unready_reason: Option<String>,
    pub probes: Vec<ProbeSnapshot>,
    /// It was removed from the configuration.
    pub retired: bool,
}

/// The state of a probe of a running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSnapshot {
    pub kind: ProbeKind,
    pub passes: bool,
    /// Consecutive failures.
    pub failures: u32,
    /// The reason of the last failure.
    pub reason: Option<String>,
}

/// The phase of a job with its details; [`crate::job`] draws the transitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobPhase {
    /// Not started yet.
    Waiting {
        /// The pending conditions: `db to be ready`.
        need: Option<String>,
    },
    /// Being started.
    Starting,
    Running {
        /// Time to live and when it is reached.
        ttl: Option<(Duration, Time)>,
        /// Stopped by job control with this signal.
        suspended: Option<Signal>,
    },
    /// Its preStop hook is running.
    Draining {
        why: Cause,
        /// When SIGKILL will be sent.
        kill_at: Time,
    },
    /// The stop signal was sent.
    Stopping {
        why: Cause,
        /// When SIGKILL will be sent.
        kill_at: Time,
        /// The main process has exited, processes that it left behind have not.
        leftovers: bool,
    },
    /// SIGKILL was sent.
    Killing {
        /// Why it was stopped.
        why: Cause,
        /// The main process has exited, processes that it left behind have not.
        leftovers: bool,
    },
    /// Waiting for its restart.
    Pausing { retry_at: Time, cause: Cause },
    /// Not running, and not started again automatically.
    Done(TerminalReason),
}

impl JobPhase {
    /// The stable word for machines.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Starting => "starting",
            Self::Running { .. } => "running",
            Self::Draining { .. } => "draining",
            Self::Stopping { .. } => "stopping",
            Self::Killing { .. } => "killing",
            Self::Pausing { .. } => "pausing",
            Self::Done(TerminalReason::Exited) => "done",
            Self::Done(TerminalReason::Stopped) => "stopped",
            Self::Done(TerminalReason::RestartLimit(_)) => "restartLimitReached",
            Self::Done(TerminalReason::NeedFailed { .. }) => "blocked",
        }
    }
}

/// The end of the last run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    pub at: Time,
    /// The exit status; None: the process was not started, or is still alive after SIGKILL.
    pub exit: Option<Exit>,
    /// The exit code that it stands for.
    pub code: i32,
    /// What stopped it, if it did not exit on its own.
    pub by: Option<Cause>,
    /// It was killed at its memory limit, by the kernel or by the supervisor.
    pub out_of_memory: bool,
}

impl JobSnapshot {
    /// Whether the main process is running (not only processes that it left behind).
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        match &self.phase {
            JobPhase::Running { .. } | JobPhase::Draining { .. } => true,
            JobPhase::Stopping { leftovers, .. } | JobPhase::Killing { leftovers, .. } => !*leftovers,
            JobPhase::Waiting { .. } | JobPhase::Starting | JobPhase::Pausing { .. } | JobPhase::Done(_) => {
                false
            }
        }
    }

    /// Whether it has failed and will not recover without intervention.
    #[must_use]
    pub fn has_failed_permanently(&self) -> bool {
        match &self.phase {
            JobPhase::Done(TerminalReason::Exited) => !self.healthy,
            JobPhase::Done(TerminalReason::RestartLimit(action)) => *action != StartLimitAction::Ignore,
            JobPhase::Done(TerminalReason::NeedFailed { .. }) => true,
            _ => false,
        }
    }
}
