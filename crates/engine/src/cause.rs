//! Reasons: why a process was stopped, restarted or not started.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::plan::{HookKind, StartLimitAction};
use crate::probe::ProbeKind;
use crate::time::rounded;
use crate::{Exit, Signal};

/// Why something was done. It is passed on from the event that caused it to the log, the metrics and the status.
///
/// Its text is a phrase that fits in parentheses: `sent SIGTERM (received SIGINT)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// The supervisor received this signal.
    Signal(Signal),
    /// The supervisor received another stop signal during shutdown.
    SecondSignal(Signal),
    /// The process reached its time to live.
    Ttl(Duration),
    /// The grace period expired.
    GracePeriodOver(Duration),
    /// The main process exited and left processes behind, which are stopped.
    LeaderExited(Exit),
    /// The process exited on its own.
    Exited(Exit),
    /// The process could not be started.
    SpawnFailed(SpawnError),
    /// A key of the terminal stopped the process.
    Terminal(Signal),
    /// A probe failed, with the reason of the last failure.
    Probe(ProbeKind, String),
    /// A hook failed, for this reason.
    Hook(HookKind, String),
    /// The process was not ready in time.
    StartDeadline(Duration),
    /// A start dependency timed out: the missing conditions and the timeout.
    BirthTimeout(String, Duration),
    /// A death dependency fired, as described.
    Peer(String),
    /// The lease of the run was lost, for this reason.
    LeaseLost(String),
    /// No watchdog notification for this long; None: the process reported `WATCHDOG=trigger`.
    Watchdog(Option<Duration>),
    /// Memory usage over the limit (in bytes: used, limit).
    Memory(u64, u64),
    /// A client requested it.
    Request,
    /// The process was removed from the configuration or changed in it.
    Reload,
    /// The process whose exit shuts down the pod exited.
    ExitFrom(String),
    /// This process reached its restart limit.
    RestartLimit(String),
    /// All processes but sidecars have exited.
    AllExited,
}

impl Cause {
    /// Whether the stop was intended, as opposed to a failure of the process.
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

    /// The stable word for metric labels and machines.
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
            Self::Signal(signal) => write!(f, "received {}", signal.long_name()),
            Self::SecondSignal(signal) => write!(f, "received {} during shutdown", signal.long_name()),
            Self::Ttl(ttl) => write!(f, "time to live of {} reached", rounded(*ttl)),
            Self::GracePeriodOver(grace) => write!(f, "grace period of {} expired", rounded(*grace)),
            Self::LeaderExited(exit) => write!(f, "main process exited with {exit}"),
            Self::Exited(exit) => write!(f, "exited with {exit}"),
            Self::SpawnFailed(error) => f.write_str(&error.message),
            Self::Terminal(signal) => write!(f, "{} from the terminal", signal.long_name()),
            Self::Probe(kind, reason) => write!(f, "{kind} probe failed: {reason}"),
            Self::Hook(kind, reason) => write!(f, "{kind} hook failed: {reason}"),
            Self::StartDeadline(limit) => write!(f, "not ready within {}", rounded(*limit)),
            Self::BirthTimeout(missing, limit) => {
                write!(f, "timed out after {} waiting for {missing}", rounded(*limit))
            }
            Self::Peer(text) | Self::LeaseLost(text) => f.write_str(text),
            Self::Watchdog(Some(limit)) => write!(f, "no watchdog notification for {}", rounded(*limit)),
            Self::Watchdog(None) => f.write_str("watchdog triggered by the process"),
            Self::Memory(used, limit) => {
                write!(f, "memory usage of {} MiB exceeds the limit of {} MiB", used >> 20, limit >> 20)
            }
            Self::Request => f.write_str("control socket request"),
            Self::Reload => f.write_str("configuration changed"),
            Self::ExitFrom(name) => write!(f, "{name} exited, and exitFrom names it"),
            Self::RestartLimit(name) => write!(f, "restart limit of {name} reached"),
            Self::AllExited => f.write_str("all main processes have exited"),
        }
    }
}

/// Why a process will not be started again automatically.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminalReason {
    /// It exited, and its restart policy does not start it again.
    Exited,
    /// It was stopped on request.
    Stopped,
    /// The restart limit was reached.
    RestartLimit(StartLimitAction),
    /// A dependency can no longer be satisfied.
    NeedFailed {
        /// The name of the process it depends on.
        need: String,
        condition: Condition,
    },
}

/// Why a process could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpawnError {
    pub kind: SpawnErrorKind,
    /// The step that failed, its subject, and the error.
    pub message: String,
}

/// The class of a [`SpawnError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SpawnErrorKind {
    /// The program does not exist.
    NotFound,
    /// The program exists but cannot be executed.
    NotExecutable,
    /// The system lacks a resource (processes, memory, descriptors): a later attempt may succeed.
    System,
}

impl SpawnErrorKind {
    /// The exit code that the error stands for: 127 and 126 as in shells, 71 is `EX_OSERR` of sysexits.h.
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
