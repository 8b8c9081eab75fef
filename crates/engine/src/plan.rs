//! The plan of a pod: complete and validated settings, without defaults.
//!
//! The configuration (command line, environment, files) is resolved into a [`Plan`]. How a process is started
//! (arguments, environment, streams) is up to the driver; the engine identifies a job only by its index in
//! [`Plan::jobs`].

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::peer::{Expression, StartDependency};
use crate::{JobId, Signal};

/// The plan of a pod: processes that are started and shut down together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// In the order of status responses; the start order follows from the needs.
    pub jobs: Vec<JobPlan>,
    #[serde(flatten)]
    pub pod: PodSettings,
}

/// Settings of the pod as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSettings {
    /// Signals that shut down the pod.
    pub stop_on: Vec<Signal>,
    /// Those of `stop_on` that request a fast shutdown, and the grace period that it leaves to each process.
    #[serde(default)]
    pub fast_shutdown: Option<(Vec<Signal>, Duration)>,
    /// Forward all signals not in `stop_on` to the processes.
    pub forward: bool,
    /// How long to keep running after the last process exited on its own, so that its status can be queried.
    pub linger: Duration,
    /// Time limit of a shutdown, divided among its stages.
    #[serde(default)]
    pub deadline: Option<Duration>,
    #[serde(default)]
    pub exit: ExitRule,
    #[serde(default)]
    pub codes: CodeMap,
    /// The pod is shut down when any of these holds.
    #[serde(default)]
    pub death_dependencies: Vec<Expression>,
    /// How long a stale exit of a peer is excused while the peer has not restarted.
    #[serde(default)]
    pub rebirth: Duration,
    /// Write a tombstone for the pod ([`crate::Effect::WriteTombstone`]).
    #[serde(default)]
    pub tombstone: bool,
}

/// A mapping of exit codes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CodeMap {
    /// Replaces the exit code of a process that was stopped intentionally.
    pub caused: Option<i32>,
    /// Pairs of code and replacement.
    pub codes: Vec<(i32, i32)>,
}

impl CodeMap {
    /// Returns the code after the mapping.
    #[must_use]
    pub fn apply(&self, code: i32, caused: bool) -> i32 {
        if let (true, Some(instead)) = (caused, self.caused) {
            return instead;
        }
        self.codes.iter().find(|(from, _)| *from == code).map_or(code, |(_, to)| *to)
    }
}

/// Which job determines the exit code of the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExitRule {
    /// The first job in plan order with a non-zero exit code, whatever stopped it.
    #[default]
    FirstInPlan,
    /// The first job in time that failed permanently without being stopped.
    FirstToFail,
    /// This job; its completion shuts down the pod.
    From(JobId),
}

/// The plan of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPlan {
    pub name: String,
    /// Conditions on other jobs before each start.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Conditions on peers before each start.
    #[serde(default)]
    pub start_dependencies: Vec<StartDependency>,
    /// It runs only while a lease is held, such as a lock or the leadership ([`crate::Effect::Campaign`]).
    #[serde(default)]
    pub needs_lease: bool,
    /// It is stopped permanently when any of these holds.
    #[serde(default)]
    pub death_dependencies: Vec<Expression>,
    /// Write a tombstone for it ([`crate::Effect::WriteTombstone`]).
    #[serde(default)]
    pub tombstone: bool,
    /// It does not keep the pod from completing, and is stopped after the other processes.
    #[serde(default)]
    pub sidecar: bool,
    pub restart: Restart,
    /// Time to live, drawn from the range at each start; None: unlimited.
    pub ttl: Option<DurationRange>,
    pub stop_signal: Signal,
    #[serde(default)]
    pub kill_mode: KillMode,
    /// From the stop signal (or the start of the preStop hook) to SIGKILL.
    pub grace: Duration,
    /// From SIGKILL until a process that is still alive (in uninterruptible sleep) is abandoned.
    pub abandon_after: Duration,
    /// It is in the foreground of a terminal, whose keys signal it directly: termination by a SIGINT or SIGQUIT that
    /// was not forwarded is a stop by the user, not a failure that leads to a restart.
    pub terminal: bool,
    /// If the first exec fails with ENOENT or EACCES, it is not retried.
    #[serde(default)]
    pub must_start: bool,
    #[serde(default)]
    pub probes: Probes,
    /// It notifies readiness itself (sd_notify(3)) and is not started before.
    #[serde(default)]
    pub notifies: bool,
    /// Time limit from a start to readiness, after which it is restarted.
    #[serde(default)]
    pub start_deadline: Option<Duration>,
    /// Maximum interval between watchdog notifications, once it has started.
    #[serde(default)]
    pub watchdog: Option<Duration>,
    #[serde(default)]
    pub post_start: Option<PostStart>,
    /// It has a preStop hook.
    #[serde(default)]
    pub pre_stop: bool,
}

/// Which processes of a run get the stop signal and forwarded signals while the main process is running. When it has
/// exited, all that are left get the stop signal; at the end of the grace period all get SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KillMode {
    /// The main process, as with a container runtime.
    #[default]
    Main,
    /// The whole process group.
    Group,
}

/// A condition on another job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    pub job: JobId,
    pub condition: Condition,
}

/// The probes of a process; see [`crate::probe`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Probes {
    pub startup: Option<ProbePlan>,
    pub liveness: Option<ProbePlan>,
    pub readiness: Option<ProbePlan>,
}

/// The schedule and the thresholds of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePlan {
    /// From the start of the process to the first probe.
    pub initial_delay: Duration,
    /// From the start of a probe to the start of the next.
    pub period: Duration,
    /// After this time the probe has failed.
    pub timeout: Duration,
    /// Consecutive successes until it passes.
    pub success_threshold: u32,
    /// Consecutive failures until it fails.
    pub failure_threshold: u32,
    /// Replaces the grace period of the process if this probe causes the stop.
    pub grace: Option<Duration>,
    /// A failure restarts the process. Always so for startup and liveness.
    pub restarts: bool,
}

/// A postStart hook. The process has not started before the hook is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostStart {
    /// Time limit of the hook.
    pub deadline: Duration,
    /// Run it after the readiness probe has passed; the process is not ready before the hook is done.
    pub when_ready: bool,
}

/// The kind of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HookKind {
    /// Runs after the process was started.
    PostStart,
    /// Runs before the stop signal.
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

/// The restart policy of a process with its details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    pub policy: Policy,
    /// Exit codes that lead to a restart whatever the policy is.
    #[serde(default)]
    pub rules: Vec<RestartRule>,
    pub delay: RestartDelay,
    /// None: unlimited restarts.
    pub limit: Option<RestartLimit>,
    #[serde(default)]
    pub limit_action: StartLimitAction,
}

impl Restart {
    /// No restarts.
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

    /// Restarts after every exit.
    #[must_use]
    pub const fn always(delay: RestartDelay, limit: Option<RestartLimit>) -> Self {
        Self { policy: Policy::Always, rules: Vec::new(), delay, limit, limit_action: StartLimitAction::End }
    }

    /// Whether it can complete on its own.
    #[must_use]
    pub fn may_end(&self) -> bool {
        self.policy != Policy::Always
    }

    /// Whether it is restarted after this exit code (in the form of a shell).
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

/// When a process is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Policy {
    Never,
    /// After a non-zero exit code.
    OnFailure,
    /// After every exit.
    Always,
}

/// Restart after one of these exit codes, or after any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRule {
    pub codes: Vec<i32>,
    /// Matches all codes that are not listed.
    pub negated: bool,
}

impl RestartRule {
    fn matches(&self, code: i32) -> bool {
        self.codes.contains(&code) != self.negated
    }
}

/// What happens when the restart limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StartLimitAction {
    /// The job has completed, as if its policy did not restart it.
    #[default]
    End,
    /// The pod is shut down with its exit code.
    Exit,
    /// It stays stopped and the pod not ready, until it is started on request.
    Hold,
    /// It stays stopped and no longer counts.
    Ignore,
}

/// The back-off delay before a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RestartDelay {
    Fixed(Duration),
    /// Doubles within the range, with a jitter of 20 %.
    Exponential {
        /// The first and the longest delay.
        range: DurationRange,
        /// A run of at least this length resets the delay.
        reset_after: Duration,
        /// The first restart is immediate; delays start with the second.
        #[serde(default)]
        first_at_once: bool,
    },
}

/// At most `restarts` within `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartLimit {
    pub restarts: u32,
    pub window: Duration,
}

/// A range of durations, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurationRange {
    pub from: Duration,
    /// Not below `from`.
    pub to: Duration,
}

impl DurationRange {
    /// A range of one duration.
    #[must_use]
    pub const fn exactly(duration: Duration) -> Self {
        Self { from: duration, to: duration }
    }

    /// The duration at the fraction `part` (0.0 to 1.0) of the range.
    #[must_use]
    pub fn at(self, part: f64) -> Duration {
        self.from + self.to.saturating_sub(self.from).mul_f64(part.clamp(0.0, 1.0))
    }
}
