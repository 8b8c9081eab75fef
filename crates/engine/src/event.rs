//! The vocabulary: facts in, wishes out.
//!
//! Events are in the past tense, effects in the imperative. Most events are about a run, or about an attempt
//! (a probe or a hook) that was made for one; late news about an older one changes nothing.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::peer::{LifecycleRecord, PeerStatus};
use crate::plan::{Condition, JobPlan, PodSettings, StartLimitAction};
use crate::probe::{ProbeKind, ProbeResult};
use crate::{AttemptId, Exit, JobId, RequestId, RunId, Signal, Time};

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// Everything is prepared: start what is to be started. The first event.
    Started,
    /// Time has passed. Sent when [`crate::Pod::deadline`] has come; harmless at any other time.
    TimerFired,
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
        /// The kernel killed it, or something of it, because its memory was at its limit.
        #[serde(default)]
        out_of_memory: bool,
    },
    /// Nothing of this run is left.
    Cleared(RunId),
    /// The process was stopped, as by STOP or Ctrl-Z: it is there but does nothing.
    Suspended(RunId, Signal),
    /// It goes on.
    Resumed(RunId),
    /// A probe was carried out, or could not be.
    Probed {
        /// Which attempt.
        attempt: AttemptId,
        /// What came of it.
        result: ProbeResult,
    },
    /// A hook is done, or has failed.
    HookFinished {
        /// Which attempt.
        attempt: AttemptId,
        /// Why it has failed, if it has.
        failed: Option<String>,
    },
    /// The process has said something about itself.
    Notified(RunId, NotifyMessage),
    /// The processes of this run use more memory than they may.
    OverMemory {
        /// Which run.
        run: RunId,
        /// How much they use, in bytes.
        used: u64,
        /// How much they may use, in bytes.
        limit: u64,
    },
    /// What only one can hold is ours, for this run.
    Won(RunId),
    /// It is not yet, for this reason.
    Campaigning(RunId, String),
    /// It is not ours any more, or will not be soon.
    Lost {
        /// For which run.
        run: RunId,
        /// Why.
        why: String,
        /// When nothing of the run may be there any more: somebody else's may be, from then on.
        gone_by: Time,
    },
    /// What is known of a peer is another now.
    PeerChanged {
        /// Of which.
        peer: String,
        /// What is known.
        status: PeerStatus,
    },
    /// Somebody wants something; [`Effect::Respond`] will come exactly once.
    Requested {
        /// To name it by in the answer.
        request: RequestId,
        /// What.
        action: Request,
    },
    /// There is a new plan. A place that was there keeps what runs in it; one that is new is begun; what is
    /// not mentioned any more is ended.
    Reloaded {
        /// To name it by in the answer.
        request: RequestId,
        /// The new order, each with its place: one that is there, or the next that is free ([`crate::Pod::job_count`]).
        jobs: Vec<(JobId, JobPlan)>,
        /// What concerns the whole.
        pod: PodSettings,
    },
}

/// What a process may say about itself; sd_notify(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NotifyMessage {
    /// It has started.
    Ready,
    /// It is ending.
    Stopping,
    /// It is alive.
    Watchdog,
    /// It wants to be given up.
    WatchdogTrigger,
    /// It needs so long from now on for what it is at: starting, ending.
    ExtendTimeout(Duration),
}

/// What somebody may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// That it runs.
    Start(JobId),
    /// That it does not run until somebody wants it to.
    Stop(JobId),
    /// That it runs anew.
    Restart(JobId),
    /// That it gets this signal.
    Signal(JobId, Signal),
    /// That everything ends.
    End,
}

/// Why a request was not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such process.
    Unknown,
    /// Everything is ending.
    ShuttingDown,
    /// It is not there.
    NotRunning,
    /// Somebody wanted something else since.
    Superseded,
    /// It did not come to run, for this reason.
    Failed(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("there is no such process"),
            Self::ShuttingDown => f.write_str("everything is ending"),
            Self::NotRunning => f.write_str("it is not running"),
            Self::Superseded => f.write_str("another request came in between"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// How a request was fulfilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// By doing something.
    Changed,
    /// It was so already.
    Unchanged,
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
    /// Try to get what only one can hold at a time, as long as it takes; answer with [`Event::Won`] when we have it,
    /// and with [`Event::Lost`] when we have it no more.
    Campaign {
        /// Which process of the plan it is for.
        job: JobId,
        /// The run that it is for.
        run: RunId,
    },
    /// Give it up, or stop trying: nothing of the run is there.
    Resign(RunId),
    /// Send a signal to a run.
    Signal {
        /// Which run.
        run: RunId,
        /// What to send.
        signal: Signal,
        /// To whom.
        scope: SignalScope,
    },
    /// Carry out a probe; answer with [`Event::Probed`], at the latest when its plan's timeout is over.
    Probe {
        /// Which process of the plan.
        job: JobId,
        /// Which run of it.
        run: RunId,
        /// Which probe.
        kind: ProbeKind,
        /// The name of this attempt.
        attempt: AttemptId,
    },
    /// Carry out a hook; answer with [`Event::HookFinished`].
    Hook {
        /// Which process of the plan.
        job: JobId,
        /// Which run of it.
        run: RunId,
        /// Which hook.
        kind: HookKind,
        /// The name of this attempt.
        attempt: AttemptId,
    },
    /// What was begun is not wanted any more.
    Abort(AttemptId),
    /// Tell the peers, before anything that follows is told or done.
    WriteTombstone {
        /// Of which process; None: of the whole.
        job: Option<JobId>,
        /// What.
        record: LifecycleRecord,
    },
    /// Tell the world.
    Publish(JobEvent),
    /// A request was fulfilled, or will not be.
    Respond {
        /// Which.
        request: RequestId,
        /// How.
        response: Result<Outcome, Refusal>,
    },
    /// Nothing is left of a process that is not planned any more.
    JobRemoved(JobId),
    /// All is done: end with this code. The last effect; nothing comes after it.
    End {
        /// The exit code.
        code: i32,
        /// The process whose code it is.
        from: Option<JobId>,
    },
}

/// Which hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HookKind {
    /// When it is there.
    PostStart,
    /// Before its stop signal.
    PreStop,
}

impl fmt::Display for HookKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PostStart => "postStart",
            Self::PreStop => "preStop",
        })
    }
}

/// How much of a run a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalScope {
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
    GracePeriodOver(Duration),
    /// The process that was started has ended, what it left behind has to go too.
    LeaderExited(Exit),
    /// It ended by itself.
    Exited(Exit),
    /// It could not be started.
    SpawnFailed(SpawnError),
    /// A key of its terminal ended it.
    Terminal(Signal),
    /// A probe has failed, last for this reason.
    Probe(ProbeKind, String),
    /// A hook has failed, for this reason.
    Hook(HookKind, String),
    /// It was not ready in time.
    StartDeadline(Duration),
    /// What it waited for did not come to hold in time.
    BirthTimeout(String, Duration),
    /// This has become of a peer.
    Peer(String),
    /// What only one can hold is not ours any more, for this reason.
    LeaseLost(String),
    /// It gave no sign of life for so long, or said that it is in trouble (then none).
    Watchdog(Option<Duration>),
    /// Its processes used more memory than they may (in bytes: used, limit).
    Memory(u64, u64),
    /// Somebody wanted it.
    Request,
    /// It is not planned any more, or otherwise.
    Reload,
    /// This process, on whose end everything was to end, has ended.
    ExitFrom(String),
    /// This process had to be restarted too often.
    RestartLimit(String),
    /// All that it served have ended.
    AllExited,
}

impl Cause {
    /// Somebody wanted it: no fault of the process.
    #[must_use]
    pub const fn is_intentional(&self) -> bool {
        matches!(
            self,
            Self::Signal(_)
                | Self::SecondSignal(_)
                | Self::Ttl(_)
                | Self::Peer(_)
                | Self::Request
                | Self::Reload
                | Self::ExitFrom(_)
                | Self::RestartLimit(_)
                | Self::AllExited
        )
    }

    /// A stable word for metric labels and machines.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Signal(_) => "signal",
            Self::SecondSignal(_) => "second_signal",
            Self::Ttl(_) => "ttl",
            Self::GracePeriodOver(_) => "grace_over",
            Self::LeaderExited(_) => "leader_exited",
            Self::Exited(_) => "exited",
            Self::SpawnFailed(_) => "spawn_failed",
            Self::Terminal(_) => "terminal",
            Self::Probe(ProbeKind::Startup, _) => "startup_probe",
            Self::Probe(ProbeKind::Liveness, _) => "liveness_probe",
            Self::Probe(ProbeKind::Readiness, _) => "readiness_probe",
            Self::Hook(HookKind::PostStart, _) => "post_start",
            Self::Hook(HookKind::PreStop, _) => "pre_stop",
            Self::StartDeadline(_) => "start_deadline",
            Self::BirthTimeout(..) => "birth_timeout",
            Self::Peer(_) => "peer",
            Self::LeaseLost(_) => "lease_lost",
            Self::Watchdog(_) => "watchdog",
            Self::Memory(..) => "memory",
            Self::Request => "request",
            Self::Reload => "reload",
            Self::ExitFrom(_) => "exit_from",
            Self::RestartLimit(_) => "restart_limit",
            Self::AllExited => "all_exited",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "we got {signal}"),
            Self::SecondSignal(signal) => write!(f, "we got {signal} while already ending"),
            Self::Ttl(ttl) => write!(f, "its time to live of {ttl:?} was over"),
            Self::GracePeriodOver(grace) => write!(f, "the grace period of {grace:?} was over"),
            Self::LeaderExited(exit) => write!(f, "the process that was started has ended with {exit}"),
            Self::Exited(exit) => write!(f, "it ended with {exit}"),
            Self::SpawnFailed(error) => f.write_str(&error.message),
            Self::Terminal(signal) => write!(f, "{signal} from its terminal ended it"),
            Self::Probe(kind, reason) => write!(f, "its {kind} probe has failed: {reason}"),
            Self::Hook(kind, reason) => write!(f, "its {kind} hook has failed: {reason}"),
            Self::StartDeadline(limit) => write!(f, "it was not ready within {limit:?}"),
            Self::BirthTimeout(what, limit) => write!(f, "it waited {limit:?} for {what}"),
            Self::Peer(what) | Self::LeaseLost(what) => f.write_str(what),
            Self::Watchdog(Some(limit)) => write!(f, "it gave no sign of life for {limit:?}"),
            Self::Watchdog(None) => f.write_str("it said that it is in trouble"),
            Self::Memory(used, limit) => {
                write!(f, "it used {} MiB of memory, its limit is {} MiB", used >> 20, limit >> 20)
            }
            Self::Request => f.write_str("somebody asked for it"),
            Self::Reload => f.write_str("the configuration has changed"),
            Self::ExitFrom(name) => write!(f, "{name} has ended, and everything with it"),
            Self::RestartLimit(name) => write!(f, "{name} would have to be restarted too often"),
            Self::AllExited => f.write_str("all that it served have ended"),
        }
    }
}

/// Why a process will not be started again automatically.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminalReason {
    /// It has exited, and its restart policy does not start it again.
    Exited,
    /// It was stopped on request.
    Stopped,
    /// The restart limit was reached.
    RestartLimit(StartLimitAction),
    /// A dependency can no longer be satisfied.
    NeedFailed {
        /// Name of the process it depends on.
        need: String,
        /// The condition that cannot be met.
        condition: Condition,
    },
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
pub struct JobEvent {
    /// When.
    pub at: Time,
    /// About which process.
    pub job: JobId,
    /// About which attempt, if about one.
    pub run: Option<RunId>,
    /// What.
    pub kind: JobEventKind,
}

/// What there is to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEventKind {
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
        /// The kernel killed it because its memory was at its limit.
        out_of_memory: bool,
    },
    /// It has not been started, because this does not hold yet.
    Waiting {
        /// Of which process, and what: "db to be ready".
        need: String,
    },
    /// What it waited for did not come to hold in time.
    DependencyTimedOut {
        /// What.
        missing: String,
        /// How long it waited.
        timeout: Duration,
        /// It is started all the same.
        started_anyway: bool,
    },
    /// It will not be started, because this cannot hold any more.
    NeedFailed {
        /// Of which process.
        need: String,
        /// What.
        condition: Condition,
    },
    /// It is ready.
    Ready,
    /// It is not ready any more.
    Unready {
        /// Why.
        reason: String,
    },
    /// A probe has failed, or could not be carried out.
    ProbeFailed {
        /// Which.
        kind: ProbeKind,
        /// Why.
        reason: String,
        /// Failures in a row.
        failures: u32,
        /// How many of them are too many.
        threshold: u32,
    },
    /// A hook is being carried out.
    HookStarted(HookKind),
    /// A hook has failed.
    HookFailed {
        /// Which.
        kind: HookKind,
        /// Why.
        reason: String,
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
    RestartLimitReached {
        /// How many restarts were allowed.
        limit: u32,
        /// Within what time.
        window: Duration,
        /// It stays down, and may be started by hand.
        held: bool,
    },
    /// It was stopped for a while.
    Suspended(Signal),
    /// It goes on.
    Resumed,
    /// It has ended for good.
    Done,
}

impl JobEventKind {
    /// A stable word for machines.
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
