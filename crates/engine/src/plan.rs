//! What the machine is asked to do: complete and validated, with nothing left to guess.
//!
//! The configuration (command line, environment, files) resolves into a [`Plan`]. How a process is
//! started (its arguments, environment, streams) is the driver's matter and not in here: the engine knows
//! a process by its place in [`Plan::jobs`] alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::peer::{Expression, StartDependency};
use crate::{JobId, Signal};

/// All processes that live and die together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The processes. Their order is that of the answers; what starts before what is said by their needs.
    pub jobs: Vec<JobPlan>,
    /// What concerns the whole.
    #[serde(flatten)]
    pub pod: PodSettings,
}

/// What concerns the whole and not one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSettings {
    /// The signals that ask us to end everything. Any other is handed on to the processes, if at all.
    pub stop_on: Vec<Signal>,
    /// Of those, the signals that ask us not to take long, and the grace that they leave to everybody.
    #[serde(default)]
    pub fast_shutdown: Option<(Vec<Signal>, Duration)>,
    /// Hand on the signals that are not for us.
    pub forward: bool,
    /// How long to stay after the last process has ended by itself, so that its end can be read.
    pub linger: Duration,
    /// How long ending everything may take, shared out over those who end one after the other.
    #[serde(default)]
    pub deadline: Option<Duration>,
    /// Whose exit code becomes ours.
    #[serde(default)]
    pub exit: ExitRule,
    /// And what becomes of it.
    #[serde(default)]
    pub codes: CodeMap,
    /// Everything ends when any of these holds.
    #[serde(default)]
    pub death_dependencies: Vec<Expression>,
    /// An end of a peer by which we have ended before counts again after this time, if it has not come back.
    #[serde(default)]
    pub rebirth: Duration,
    /// Others are told of the whole ([`crate::Effect::WriteTombstone`]).
    #[serde(default)]
    pub tombstone: bool,
}

/// Exit codes that stand for others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CodeMap {
    /// Instead of the code of a process that ended because we wanted it to.
    pub caused: Option<i32>,
    /// Instead of the first, the second.
    pub codes: Vec<(i32, i32)>,
}

impl CodeMap {
    /// What a code stands for.
    #[must_use]
    pub fn apply(&self, code: i32, caused: bool) -> i32 {
        if let (true, Some(instead)) = (caused, self.caused) {
            return instead;
        }
        self.codes.iter().find(|(from, _)| *from == code).map_or(code, |(_, to)| *to)
    }
}

/// Whose exit code becomes ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExitRule {
    /// The first process in the plan's order that ended with anything but 0, whoever ended it.
    #[default]
    FirstInPlan,
    /// The first process in time that ended badly and for good, not counting those that we ended.
    FirstToFail,
    /// This one's; its end for good is the end of everything.
    From(JobId),
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPlan {
    /// What people call it.
    pub name: String,
    /// What must hold before it is started, each time.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// What must hold of peers before it is started, each time.
    #[serde(default)]
    pub start_dependencies: Vec<StartDependency>,
    /// It runs only while we hold what only one can hold at a time ([`crate::Effect::Campaign`]).
    #[serde(default)]
    pub needs_lease: bool,
    /// It ends for good when any of these holds.
    #[serde(default)]
    pub death_dependencies: Vec<Expression>,
    /// Others are told of it ([`crate::Effect::WriteTombstone`]).
    #[serde(default)]
    pub tombstone: bool,
    /// It serves the others: it does not keep the whole from being over, and ends after them.
    #[serde(default)]
    pub sidecar: bool,
    /// What happens when it has ended.
    pub restart: Restart,
    /// How long it may live; drawn anew at each start. None: as long as it likes.
    pub ttl: Option<DurationRange>,
    /// The signal that asks it to end.
    pub stop_signal: Signal,
    /// From the stop signal (or the beginning of the hook before it) to KILL.
    pub grace: Duration,
    /// From KILL until a process that even KILL does not end (one in uninterruptible sleep) is given up.
    pub abandon_after: Duration,
    /// It is the foreground process of a terminal, whose keys reach it and not us: an end by INT or QUIT
    /// that nobody sent through us is somebody's wish to end, not a fault to be mended by a restart.
    pub terminal: bool,
    /// A program that cannot be executed at its first start is a slip of the pen: it is not tried again.
    #[serde(default)]
    pub must_start: bool,
    /// How its health is learnt.
    #[serde(default)]
    pub probes: Probes,
    /// It says itself when it has started: it has not before.
    #[serde(default)]
    pub notifies: bool,
    /// It has to be ready by then after each start, else it is started anew.
    #[serde(default)]
    pub start_deadline: Option<Duration>,
    /// It has to give a sign of life this often, once it has started.
    #[serde(default)]
    pub watchdog: Option<Duration>,
    /// What is done when it is there.
    #[serde(default)]
    pub post_start: Option<PostStart>,
    /// Something is done before the stop signal.
    #[serde(default)]
    pub pre_stop: bool,
}

/// Something that must hold of another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Which.
    pub job: JobId,
    /// What must hold.
    pub condition: Condition,
}

/// What may have to hold of a process before another is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// It is there, its startup probe has passed and its hook is done; or it was, and has ended well.
    Started,
    /// It is ready; or it has ended well, as something that runs once does.
    Ready,
    /// It has ended for good with 0.
    Succeeded,
    /// It has ended for good with anything else.
    Failed,
    /// It has ended for good.
    Exited,
}

impl Condition {
    /// The stable word.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Exited => "exited",
        }
    }
}

/// The probes of a process; see [`crate::probe`] for what each is for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Probes {
    /// Has it started?
    pub startup: Option<ProbePlan>,
    /// Is it worth keeping?
    pub liveness: Option<ProbePlan>,
    /// May it be given work?
    pub readiness: Option<ProbePlan>,
}

/// When a process is probed, and what its answers amount to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePlan {
    /// From the start of the process to the first probe.
    pub initial_delay: Duration,
    /// From the beginning of a probe to that of the next.
    pub period: Duration,
    /// An answer that takes longer is a failure.
    pub timeout: Duration,
    /// So many passes in a row make it pass.
    pub success_threshold: u32,
    /// So many failures in a row make it fail.
    pub failure_threshold: u32,
    /// Replaces the process's grace when this probe is why it is ended.
    pub grace: Option<Duration>,
    /// A process that fails is started anew. Always so for startup and liveness.
    pub restarts: bool,
}

/// What is done when a process is there. It has not started before that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostStart {
    /// How long it may take.
    pub deadline: Duration,
    /// Not before it has passed its readiness probe; it is not ready before it is done.
    pub when_ready: bool,
}

/// What happens when a process has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// In general.
    pub policy: Policy,
    /// In particular; the first that matches counts before the policy.
    #[serde(default)]
    pub rules: Vec<RestartRule>,
    /// How long to pause before a restart.
    pub delay: RestartDelay,
    /// When to give up; None: never.
    pub limit: Option<RestartLimit>,
    /// What giving up means.
    #[serde(default)]
    pub limit_action: StartLimitAction,
}

impl Restart {
    /// It runs once.
    #[must_use]
    pub const fn never() -> Self {
        Self {
            policy: Policy::Never,
            rules: Vec::new(),
            delay: RestartDelay::Fixed(Duration::ZERO),
            limit: None,
            limit_action: StartLimitAction::End,
        }
    }

    /// It is started again, whatever ended it.
    #[must_use]
    pub const fn always(delay: RestartDelay, limit: Option<RestartLimit>) -> Self {
        Self { policy: Policy::Always, rules: Vec::new(), delay, limit, limit_action: StartLimitAction::End }
    }

    /// May it ever end for good by itself?
    #[must_use]
    pub fn may_end(&self) -> bool {
        self.policy != Policy::Always
    }

    /// Is it to be started again after this end? `code` is as a shell has it.
    #[must_use]
    pub fn applies(&self, code: i32) -> bool {
        if self.rules.iter().any(|rule| rule.matches(code)) {
            return true;
        }
        match self.policy {
            Policy::Never => false,
            Policy::OnFailure => code != 0,
            Policy::Always => true,
        }
    }
}

/// Whether to start a process again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Policy {
    /// It ran once.
    Never,
    /// Unless it ended with 0.
    OnFailure,
    /// Whatever it ended with.
    Always,
}

/// Start it again when it ended with one of these codes, or with none of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRule {
    /// Exit codes.
    pub codes: Vec<i32>,
    /// With none of them.
    pub negated: bool,
}

impl RestartRule {
    fn matches(&self, code: i32) -> bool {
        self.codes.contains(&code) != self.negated
    }
}

/// What it means that a process would have to be started again too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StartLimitAction {
    /// It has ended for good, as if it were not to be restarted.
    #[default]
    End,
    /// Everything is ended, with its exit code.
    Exit,
    /// It stays down and keeps us from being ready, until somebody starts it.
    Hold,
    /// It stays down and does not count any more.
    Ignore,
}

/// How long to pause before a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RestartDelay {
    /// Always as long.
    Fixed(Duration),
    /// Doubling from the first to the last of `span`, a fifth more or less by chance.
    Exponential {
        /// The first pause and the longest.
        range: DurationRange,
        /// A run that lasted so long was a good one: the next pause is the first again.
        reset_after: Duration,
        /// The first restart comes without a pause; the pauses begin with the second.
        #[serde(default)]
        first_at_once: bool,
    },
}

/// More than `restarts` within `window`: give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartLimit {
    /// How many restarts are allowed within the window.
    pub restarts: u32,
    /// How far to look back.
    pub window: Duration,
}

/// A duration between two others, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurationRange {
    /// The shortest.
    pub from: Duration,
    /// The longest; not below `from`.
    pub to: Duration,
}

impl DurationRange {
    /// The one duration, with nothing to choose.
    #[must_use]
    pub const fn exactly(duration: Duration) -> Self {
        Self { from: duration, to: duration }
    }

    /// The duration at `part` (0.0 to 1.0) of the way.
    #[must_use]
    pub fn at(self, part: f64) -> Duration {
        self.from + self.to.saturating_sub(self.from).mul_f64(part.clamp(0.0, 1.0))
    }
}
