//! What others may see of a pod: a copy, taken after a step. Readers never ask the machine itself.

use crate::job::{Intent, Job, Outcome, Phase};
use crate::{Cause, Exit, RunId, Signal, Time};
use std::time::Duration;

/// A pod at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Grows with each step that did something.
    pub generation: u64,
    /// The whole.
    pub phase: PodPhase,
    /// Its processes, in the plan's order.
    pub jobs: Vec<JobSnapshot>,
}

/// The life of the whole; [`crate::pod`] draws it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodPhase {
    /// As planned.
    Up,
    /// Everything is being ended.
    Stopping {
        /// Why.
        cause: Cause,
    },
    /// All have ended; we stay a while to be asked.
    Lingering {
        /// Until when.
        until: Time,
    },
    /// Over.
    Ended {
        /// With this code.
        code: i32,
    },
}

/// A process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSnapshot {
    /// Where in its life it is.
    pub phase: JobPhase,
    /// Since when.
    pub since: Time,
    /// The present attempt.
    pub run: Option<RunId>,
    /// Processes started so far.
    pub starts: u64,
    /// When the present process, or else the last, was started.
    pub started_at: Option<Time>,
    /// How the last attempt ended, if one has.
    pub last: Option<LastEnd>,
    /// Somebody asked for the end for good, with this cause.
    pub ending: Option<Cause>,
}

/// The phase of a process with what belongs to it; [`crate::job`] draws it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobPhase {
    /// Never started.
    Waiting,
    /// Being started.
    Starting,
    /// There.
    Running {
        /// How long it may live, and until when.
        ttl: Option<(Duration, Time)>,
        /// Stopped by this signal, and not gone on since.
        suspended: Option<Signal>,
    },
    /// Asked to end.
    Stopping {
        /// Why.
        why: Cause,
        /// When it will be killed.
        kill_at: Time,
        /// The process itself has ended; we wait for what it left behind.
        leftovers: bool,
    },
    /// Sent KILL.
    Killing {
        /// Why it was asked to end.
        why: Cause,
        /// The process itself has ended; we wait for what it left behind.
        leftovers: bool,
    },
    /// To be started again.
    Pausing {
        /// When.
        retry_at: Time,
        /// Why.
        cause: Cause,
    },
    /// Ended for good.
    Done,
}

impl JobPhase {
    /// A stable word for machines.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Running { .. } => "running",
            Self::Stopping { .. } => "stopping",
            Self::Killing { .. } => "killing",
            Self::Pausing { .. } => "pausing",
            Self::Done => "done",
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastEnd {
    /// When.
    pub at: Time,
    /// How the process ended; None: it never was there, or KILL did not end it.
    pub exit: Option<Exit>,
    /// The exit code it stands for.
    pub code: i32,
    /// What ended it, where that was our doing or went through us.
    pub by: Option<Cause>,
}

impl JobSnapshot {
    /// The process itself is there (and not only what it left behind).
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        match &self.phase {
            JobPhase::Running { .. } => true,
            JobPhase::Stopping { leftovers, .. } | JobPhase::Killing { leftovers, .. } => !*leftovers,
            JobPhase::Waiting | JobPhase::Starting | JobPhase::Pausing { .. } | JobPhase::Done => false,
        }
    }

    pub(crate) fn of(job: &Job) -> Self {
        let phase = match job.phase.clone() {
            Phase::Waiting => JobPhase::Waiting,
            Phase::Starting { .. } => JobPhase::Starting,
            Phase::Running { ttl_at, suspended, .. } => {
                JobPhase::Running { ttl: ttl_at.map(|(at, ttl)| (ttl, at)), suspended }
            }
            Phase::Stopping { why, kill_at, exit, .. } => {
                JobPhase::Stopping { why, kill_at, leftovers: exit.is_some() }
            }
            Phase::Killing { why, exit, .. } => JobPhase::Killing { why, leftovers: exit.is_some() },
            Phase::Pausing { retry_at, cause } => JobPhase::Pausing { retry_at, cause },
            Phase::Done => JobPhase::Done,
        };
        let last = job.last.clone().map(|(outcome, at)| match outcome {
            Outcome::Exited { exit, by } => LastEnd { at, exit: Some(exit), code: exit.shell_code(), by },
            Outcome::SpawnFailed(kind) => {
                LastEnd { at, exit: None, code: kind.exit_code(), by: Some(Cause::SpawnFailed(kind)) }
            }
            Outcome::Abandoned => LastEnd { at, exit: None, code: 128 + Signal::KILL.0, by: None },
        });
        let ending = match &job.intent {
            Intent::Up => None,
            Intent::Down(cause) => Some(cause.clone()),
        };
        Self {
            phase,
            since: job.phase_since,
            run: job.run(),
            starts: job.starts,
            started_at: job.started_at,
            last,
            ending,
        }
    }
}
