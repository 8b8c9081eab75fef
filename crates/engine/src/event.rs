//! Input of a [pod](crate::Pod): what has happened.
//!
//! Most events are about a run, or about an attempt (a probe or a hook) made for one. An event about an older run or
//! attempt is ignored.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cause::SpawnError;
use crate::peer::PeerStatus;
use crate::plan::{JobPlan, PodSettings};
use crate::probe::ProbeResult;
use crate::{AttemptId, Exit, JobId, RequestId, RunId, Signal, Time};

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// The driver is ready: processes can be started. The first event.
    Started,
    /// The [deadline](crate::Pod::deadline) has passed. Harmless at any other time.
    TimerFired,
    /// The supervisor received a signal.
    Signalled(Signal),
    /// The process of this run was started.
    Spawned(RunId),
    /// The process of this run could not be started.
    SpawnFailed(RunId, SpawnError),
    /// The main process of this run exited and was reaped.
    Exited {
        run: RunId,
        exit: Exit,
        /// It left processes behind, for which an [`Event::Cleared`] will follow.
        leftovers: bool,
        /// The kernel killed a process of the run at its memory limit.
        #[serde(default)]
        out_of_memory: bool,
    },
    /// No process of this run is left.
    Cleared(RunId),
    /// The process was stopped by job control (SIGSTOP, SIGTSTP, Ctrl-Z).
    Suspended(RunId, Signal),
    /// The process was resumed (SIGCONT).
    Resumed(RunId),
    /// A probe has finished or could not be carried out.
    Probed { attempt: AttemptId, result: ProbeResult },
    /// A hook has finished.
    HookFinished {
        attempt: AttemptId,
        /// Why it failed; None: it succeeded.
        failed: Option<String>,
    },
    /// The process sent a notification.
    Notified(RunId, NotifyMessage),
    /// The processes of this run use more memory than their limit.
    OverMemory {
        run: RunId,
        /// In bytes.
        used: u64,
        /// In bytes.
        limit: u64,
    },
    /// The lease for this run was acquired.
    Won(RunId),
    /// The lease is not acquired yet, for this reason.
    Campaigning(RunId, String),
    /// The lease is lost or about to expire.
    Lost {
        run: RunId,
        why: String,
        /// When no process of the run may be left, because another holder can acquire the lease from then on.
        gone_by: Time,
    },
    /// The status of a peer has changed.
    PeerChanged { peer: String, status: PeerStatus },
    /// A client request; exactly one [`crate::Effect::Respond`] follows.
    Requested { request: RequestId, action: Request },
    /// The configuration was reloaded. Jobs that are listed keep running, new ones are started, all others are stopped.
    Reloaded {
        request: RequestId,
        /// The jobs in their new order: known ids, or the next free ones ([`crate::Pod::job_count`]).
        jobs: Vec<(JobId, JobPlan)>,
        pod: PodSettings,
    },
}

/// A notification of a process; the assignments of sd_notify(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NotifyMessage {
    /// `READY=1`
    Ready,
    /// `STOPPING=1`
    Stopping,
    /// `WATCHDOG=1`
    Watchdog,
    /// `WATCHDOG=trigger`
    WatchdogTrigger,
    /// `EXTEND_TIMEOUT_USEC=…`: the time it needs from now on to start or to stop.
    ExtendTimeout(Duration),
}

/// An action that a client can request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    Start(JobId),
    /// Stop it and keep it stopped until it is started on request.
    Stop(JobId),
    Restart(JobId),
    /// Send a signal to the main process, or to the process group if the kill mode says so.
    Signal(JobId, Signal),
    /// Send a signal to the process group.
    SignalGroup(JobId, Signal),
    /// Shut down.
    End,
}
