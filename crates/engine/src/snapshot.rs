//! What others may see of a pod: a copy, taken after a step. Readers never ask the machine itself.

use std::time::Duration;

pub use crate::event::TerminalReason;
use crate::job::{Intent, Job, NOT_BORN, Phase, RunResult};
use crate::plan::StartLimitAction;
use crate::probe::ProbeKind;
use crate::{Cause, Exit, RunId, Signal, Time};

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
    pub last: Option<LastRun>,
    /// Somebody asked for the end for good, with this cause.
    pub ending: Option<Cause>,
    /// It is there, its startup probe has passed and its hook is done.
    pub started: bool,
    /// It may be given work.
    pub ready: bool,
    /// It is as it should be: ready, or done with what it had to do, or of no account.
    pub healthy: bool,
    /// Why it is not ready, of a process that is there.
    pub unready_reason: Option<String>,
    /// Its probes.
    pub probes: Vec<ProbeSnapshot>,
    /// It is not planned any more.
    pub retired: bool,
}

/// A probe of a process that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSnapshot {
    /// Which.
    pub kind: ProbeKind,
    /// What its answers amount to.
    pub passes: bool,
    /// Failures in a row.
    pub failures: u32,
    /// Why it failed last.
    pub reason: Option<String>,
}

/// The phase of a process with what belongs to it; [`crate::job`] draws it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobPhase {
    /// To be started as soon as this holds.
    Waiting {
        /// What does not hold yet: "db to be ready".
        need: Option<String>,
    },
    /// Being started.
    Starting,
    /// There.
    Running {
        /// How long it may live, and until when.
        ttl: Option<(Duration, Time)>,
        /// Stopped by this signal, and not gone on since.
        suspended: Option<Signal>,
    },
    /// Its preStop hook is carried out.
    Draining {
        /// Why it is to end.
        why: Cause,
        /// When it will be killed.
        kill_at: Time,
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
    /// It is not there, and will not be by itself.
    Done(TerminalReason),
}

impl JobPhase {
    /// A stable word for machines.
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

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// When.
    pub at: Time,
    /// How the process ended; None: it never was there, or KILL did not end it.
    pub exit: Option<Exit>,
    /// The exit code it stands for.
    pub code: i32,
    /// What ended it, where that was our doing or went through us.
    pub by: Option<Cause>,
    /// The kernel, or we for it, killed it because its memory was at its limit.
    pub out_of_memory: bool,
}

impl JobSnapshot {
    /// The process itself is there (and not only what it left behind).
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

    /// It has failed in a way that only somebody else can mend.
    #[must_use]
    pub fn has_failed_permanently(&self) -> bool {
        match &self.phase {
            JobPhase::Done(TerminalReason::Exited) => !self.healthy,
            JobPhase::Done(TerminalReason::RestartLimit(at)) => *at != StartLimitAction::Ignore,
            JobPhase::Done(TerminalReason::NeedFailed { .. }) => true,
            _ => false,
        }
    }

    pub(crate) fn of(job: &Job) -> Self {
        let phase = match job.phase.clone() {
            Phase::Waiting { .. } | Phase::Campaigning { .. } => {
                JobPhase::Waiting { need: job.waits_for.clone() }
            }
            Phase::Starting { .. } => JobPhase::Starting,
            Phase::Running(life) => {
                JobPhase::Running { ttl: life.ttl.map(|(at, ttl)| (ttl, at)), suspended: life.suspended }
            }
            Phase::Draining { why, kill_at, .. } => JobPhase::Draining { why, kill_at },
            Phase::Stopping { why, kill_at, exit, .. } => {
                JobPhase::Stopping { why, kill_at, leftovers: exit.is_some() }
            }
            Phase::Killing { why, exit, .. } => JobPhase::Killing { why, leftovers: exit.is_some() },
            Phase::Pausing { retry_at, cause } => JobPhase::Pausing { retry_at, cause },
            Phase::Done(reason) => JobPhase::Done(reason),
        };
        let last = job.last.clone().map(|(outcome, at)| match outcome {
            RunResult::Exited { exit, by, out_of_memory } => {
                LastRun { at, exit: Some(exit), code: exit.shell_code(), by, out_of_memory }
            }
            RunResult::SpawnFailed(error) => {
                let code = error.kind.exit_code();
                LastRun { at, exit: None, code, by: Some(Cause::SpawnFailed(error)), out_of_memory: false }
            }
            RunResult::DependencyTimedOut(what, timeout) => {
                let by = Some(Cause::BirthTimeout(what, timeout));
                LastRun { at, exit: None, code: NOT_BORN, by, out_of_memory: false }
            }
            RunResult::Abandoned => {
                LastRun { at, exit: None, code: 128 + Signal::KILL.0, by: None, out_of_memory: false }
            }
        });
        let ending = match &job.intent {
            Intent::Up => None,
            Intent::Down { cause, .. } => Some(cause.clone()),
        };
        let life = job.life();
        let probe = |kind| {
            let (passes, failures, reason) = life?.probe_state(kind)?;
            Some(ProbeSnapshot { kind, passes, failures, reason })
        };
        Self {
            phase,
            since: job.phase_since,
            run: job.run(),
            starts: job.starts,
            started_at: job.started_at,
            last,
            ending,
            started: job.has_started(),
            ready: job.is_ready(),
            healthy: job.is_healthy(),
            unready_reason: life.and_then(|life| life.unready_reason(&job.plan)),
            probes: ProbeKind::ALL.into_iter().filter_map(probe).collect(),
            retired: job.retired,
        }
    }
}
