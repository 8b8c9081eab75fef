//! The state of a job: what is intended, what is, and how the last run ended.

use std::time::Duration;

use super::running::RunningState;
use crate::cause::{Cause, SpawnError, TerminalReason};
use crate::{AttemptId, Exit, RunId, Signal, Time};

/// What is intended for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intent {
    /// It runs, subject to its restart policy.
    Up,
    /// It stops permanently.
    Down {
        cause: Cause,
        /// The stop signal, sent when its dependents have exited.
        signal: Signal,
    },
}

/// The phase of a job. Each phase owns its deadlines and the run it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A dependency is pending. `since`: when it started to wait for peers. `until`: the next timeout of a dependency.
    Waiting {
        since: Option<Time>,
        until: Option<Time>,
    },
    /// All dependencies are satisfied except the lease. `since` as in `Waiting`.
    Campaigning {
        run: RunId,
        since: Option<Time>,
        won: bool,
    },
    /// The driver is starting the process.
    Starting {
        run: RunId,
    },
    Running(Box<RunningState>),
    /// The preStop hook is running.
    Draining {
        state: Box<RunningState>,
        why: Cause,
        signal: Signal,
        attempt: AttemptId,
        until: Time,
        kill_at: Time,
    },
    /// The stop signal was sent. `exit` is known if only processes that it left behind are running.
    Stopping {
        state: Box<RunningState>,
        exit: Option<Exit>,
        why: Cause,
        kill_at: Time,
    },
    /// SIGKILL was sent. `exit` as in `Stopping`.
    Killing {
        state: Box<RunningState>,
        exit: Option<Exit>,
        why: Cause,
        abandon_at: Time,
    },
    /// It will be restarted.
    Pausing {
        retry_at: Time,
        cause: Cause,
    },
    /// Not running, and not started again automatically.
    Done(TerminalReason),
}

impl Phase {
    pub(crate) const WAITING: Self = Self::Waiting { since: None, until: None };
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunResult {
    Exited {
        exit: Exit,
        /// What stopped it, if it did not exit on its own.
        by: Option<Cause>,
        out_of_memory: bool,
    },
    SpawnFailed(SpawnError),
    /// Not started: these conditions were not met within the timeout.
    DependencyTimedOut(String, Duration),
    /// Still alive after SIGKILL.
    Abandoned,
}

impl RunResult {
    /// The exit code that the result stands for; 1 for a dependency timeout, as in kubexit.
    pub(crate) const fn code(&self) -> i32 {
        match self {
            Self::Exited { exit, .. } => exit.shell_code(),
            Self::SpawnFailed(error) => error.kind.exit_code(),
            Self::DependencyTimedOut(..) => 1,
            Self::Abandoned => 128 + Signal::KILL.0,
        }
    }
}
