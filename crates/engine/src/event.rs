//! The vocabulary: facts in, wishes out.
//!
//! Events are in the past tense, effects in the imperative. Only [`Event::Began`], [`Event::Woke`] and
//! [`Event::Signalled`] are not about a run.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Exit, JobId, RunId, Signal, Time};

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// Everything is prepared: start what is to be started. The first event.
    Began,
    /// Time has passed. Sent when [`crate::Pod::deadline`] has come; harmless at any other time.
    Woke,
    /// Somebody sent us a signal.
    Signalled(Signal),
    /// The process of this run is there.
    Spawned(RunId),
    /// The process of this run could not be started.
    SpawnFailed(RunId, SpawnError),
    /// The process of this run has ended and was reaped. `leftovers` tells that it left processes behind,
    /// for which a [`Event::Cleared`] will come.
    Exited {
        /// Which run.
        run: RunId,
        /// How.
        exit: Exit,
        /// It left processes behind.
        leftovers: bool,
    },
    /// Nothing of this run is left.
    Cleared(RunId),
    /// The process was stopped, as by STOP or Ctrl-Z: it is there but does nothing.
    Suspended(RunId, Signal),
    /// It goes on.
    Resumed(RunId),
}

/// Something to be done, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start a process; answer with [`Event::Spawned`] or [`Event::SpawnFailed`].
    Spawn {
        /// Which process of the plan.
        job: JobId,
        /// The name of this attempt.
        run: RunId,
    },
    /// Send a signal to a run.
    Signal {
        /// Which run.
        run: RunId,
        /// What to send.
        signal: Signal,
        /// To whom.
        reach: Reach,
    },
    /// Tell the world.
    Tell(News),
    /// All is done: end with this code. The last effect; nothing comes after it.
    End {
        /// The exit code.
        code: i32,
    },
}

/// How much of a run a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Its process group: what a terminal would send a signal to.
    Group,
    /// Everything that belongs to it, those who have left the group included, and those of them who
    /// appear only now: it is to end.
    Everything,
}

/// Why something was done. It travels from the event that made it to the log, the metrics and the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// Somebody sent us this signal.
    Signal(Signal),
    /// Somebody sent us a second signal while we were ending: no more patience.
    SecondSignal(Signal),
    /// Its time to live was over.
    Ttl(Duration),
    /// The grace period was over.
    GraceOver(Duration),
    /// The process that was started has ended, what it left behind has to go too.
    LeaderExited(Exit),
    /// It ended by itself.
    Exited(Exit),
    /// It could not be started.
    SpawnFailed(SpawnErrorKind),
    /// A key of its terminal ended it.
    Terminal(Signal),
}

impl Cause {
    /// A stable word for metric labels and machines.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Signal(_) => "signal",
            Self::SecondSignal(_) => "second_signal",
            Self::Ttl(_) => "ttl",
            Self::GraceOver(_) => "grace_over",
            Self::LeaderExited(_) => "leader_exited",
            Self::Exited(_) => "exited",
            Self::SpawnFailed(_) => "spawn_failed",
            Self::Terminal(_) => "terminal",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "we got {signal}"),
            Self::SecondSignal(signal) => write!(f, "we got {signal} while already ending"),
            Self::Ttl(ttl) => write!(f, "its time to live of {ttl:?} was over"),
            Self::GraceOver(grace) => write!(f, "the grace period of {grace:?} was over"),
            Self::LeaderExited(exit) => write!(f, "the process that was started has ended with {exit}"),
            Self::Exited(exit) => write!(f, "it ended with {exit}"),
            Self::SpawnFailed(kind) => write!(f, "it could not be started: {kind}"),
            Self::Terminal(signal) => write!(f, "{signal} from its terminal ended it"),
        }
    }
}

/// Why a process could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpawnError {
    /// What sort of failure.
    pub kind: SpawnErrorKind,
    /// What was attempted, with what, and why it failed.
    pub message: String,
}

/// What sort of failure to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SpawnErrorKind {
    /// There is no such program.
    NotFound,
    /// There is one, but it cannot be executed.
    NotExecutable,
    /// The system was short of something (processes, memory, descriptors): it may work later.
    System,
}

impl SpawnErrorKind {
    /// 127 and 126 as shells have it; 71 is `EX_OSERR` of sysexits.h.
    #[must_use]
    pub const fn exit_code(self) -> i32 {
        match self {
            Self::NotFound => 127,
            Self::NotExecutable => 126,
            Self::System => 71,
        }
    }
}

impl fmt::Display for SpawnErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::NotExecutable => "not executable",
            Self::System => "system error",
        })
    }
}

/// A fact worth telling: to the log, the metrics and whoever follows the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// When.
    pub at: Time,
    /// About which process.
    pub job: JobId,
    /// About which attempt, if about one.
    pub run: Option<RunId>,
    /// What.
    pub what: What,
}

/// What there is to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The process is there.
    Started {
        /// How long it may live.
        ttl: Option<Duration>,
    },
    /// It could not be started.
    StartFailed(SpawnError),
    /// It has ended.
    Exited {
        /// How.
        exit: Exit,
        /// What ended it, where that was our doing or went through us.
        cause: Option<Cause>,
        /// It left processes behind.
        leftovers: bool,
    },
    /// It is to end for good, as soon as it can.
    Ending {
        /// Why.
        cause: Cause,
    },
    /// It was sent its stop signal.
    Stopping {
        /// Why.
        cause: Cause,
        /// When it will be killed.
        kill_at: Time,
    },
    /// It was sent KILL.
    Killing {
        /// Why.
        cause: Cause,
    },
    /// Even KILL has not ended it.
    Stuck {
        /// We go on without it.
        abandoned: bool,
    },
    /// A signal was handed on.
    Forwarded(Signal),
    /// A request to end came again while it was ending; it changes nothing.
    StopRepeated(Signal),
    /// It will be started again.
    Restarting {
        /// When; now, if there is no pause.
        retry_at: Time,
        /// Why.
        cause: Cause,
    },
    /// It has ended too often.
    GaveUp {
        /// How many restarts were allowed.
        limit: u32,
        /// Within what time.
        window: Duration,
    },
    /// It was stopped for a while.
    Suspended(Signal),
    /// It goes on.
    Resumed,
    /// It has ended for good.
    Done,
}

impl What {
    /// A stable word for machines.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::StartFailed(_) => "startFailed",
            Self::Exited { .. } => "exited",
            Self::Ending { .. } => "ending",
            Self::Stopping { .. } => "stopping",
            Self::Killing { .. } => "killing",
            Self::Stuck { .. } => "stuck",
            Self::Forwarded(_) => "forwarded",
            Self::StopRepeated(_) => "stopRepeated",
            Self::Restarting { .. } => "restarting",
            Self::GaveUp { .. } => "gaveUp",
            Self::Suspended(_) => "suspended",
            Self::Resumed => "resumed",
            Self::Done => "done",
        }
    }
}
