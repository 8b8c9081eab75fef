//! Events of a job for the log, the metrics and subscribers.

use std::time::Duration;

use crate::cause::{Cause, SpawnError};
use crate::condition::Condition;
use crate::plan::HookKind;
use crate::probe::ProbeKind;
use crate::{Exit, JobId, RunId, Signal, Time};

/// An event of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEvent {
    pub at: Time,
    pub job: JobId,
    /// The run it is about, if any.
    pub run: Option<RunId>,
    pub kind: JobEventKind,
}

/// The kind of a [`JobEvent`] and its details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEventKind {
    /// The process was started.
    Started {
        /// Its time to live, if limited.
        ttl: Option<Duration>,
    },
    StartFailed(SpawnError),
    Exited {
        exit: Exit,
        /// What stopped it, if it did not exit on its own.
        cause: Option<Cause>,
        /// It left processes behind.
        leftovers: bool,
        /// It was killed at its memory limit.
        out_of_memory: bool,
    },
    /// The process is not started yet, because a dependency is pending.
    Waiting {
        /// The pending conditions: `db to be ready`.
        need: String,
    },
    /// A start dependency was not satisfied in time.
    DependencyTimedOut {
        /// The pending conditions.
        missing: String,
        timeout: Duration,
        /// The process is started without it.
        started_anyway: bool,
    },
    /// The process will not be started, because a dependency can no longer be satisfied.
    NeedFailed {
        /// The name of the process it depends on.
        need: String,
        condition: Condition,
    },
    Ready,
    /// The process is no longer ready.
    Unready {
        reason: String,
    },
    /// A probe failed or could not be carried out.
    ProbeFailed {
        kind: ProbeKind,
        reason: String,
        /// Consecutive failures.
        failures: u32,
        /// The number of consecutive failures at which the probe fails.
        threshold: u32,
    },
    HookStarted(HookKind),
    HookFailed {
        kind: HookKind,
        reason: String,
    },
    /// A stop was requested. The process is stopped when its dependents have exited.
    Ending {
        cause: Cause,
    },
    /// The stop signal was sent.
    Stopping {
        cause: Cause,
        /// When SIGKILL will be sent.
        kill_at: Time,
        /// The stop signal.
        signal: Signal,
        /// The main process has exited: it was sent to the processes left behind.
        leftovers: bool,
    },
    /// SIGKILL was sent.
    Killing {
        cause: Cause,
    },
    /// The process is still alive after SIGKILL.
    Stuck {
        /// It is no longer waited for.
        abandoned: bool,
    },
    /// A signal was forwarded to the process.
    Forwarded(Signal),
    /// Another stop signal during shutdown, without effect.
    StopRepeated(Signal),
    /// The process will be restarted.
    Restarting {
        /// When; the time of the event, if there is no back-off delay.
        retry_at: Time,
        cause: Cause,
    },
    RestartLimitReached {
        /// The number of restarts that are allowed within the window.
        limit: u32,
        window: Duration,
        /// It stays stopped until it is started on request.
        held: bool,
    },
    /// The process was stopped by job control.
    Suspended(Signal),
    /// The process was resumed (SIGCONT).
    Resumed,
    /// The job has completed and will not be restarted.
    Done,
}

impl JobEventKind {
    /// The stable word for machines.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::StartFailed(_) => "startFailed",
            Self::Exited { .. } => "exited",
            Self::Waiting { .. } => "waiting",
            Self::DependencyTimedOut { .. } => "dependencyTimeout",
            Self::NeedFailed { .. } => "needFailed",
            Self::Ready => "ready",
            Self::Unready { .. } => "unready",
            Self::ProbeFailed { .. } => "probeFailed",
            Self::HookStarted(_) => "hookStarted",
            Self::HookFailed { .. } => "hookFailed",
            Self::Ending { .. } => "ending",
            Self::Stopping { .. } => "stopping",
            Self::Killing { .. } => "killing",
            Self::Stuck { .. } => "stuck",
            Self::Forwarded(_) => "forwarded",
            Self::StopRepeated(_) => "stopRepeated",
            Self::Restarting { .. } => "restarting",
            Self::RestartLimitReached { .. } => "restartLimitReached",
            Self::Suspended(_) => "suspended",
            Self::Resumed => "resumed",
            Self::Done => "done",
        }
    }
}
