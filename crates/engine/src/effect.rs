//! Output of a [pod](crate::Pod): what the driver has to do, in the given order.

use std::fmt;

use crate::job_event::JobEvent;
use crate::peer::LifecycleRecord;
use crate::plan::HookKind;
use crate::probe::ProbeKind;
use crate::{AttemptId, JobId, RequestId, RunId, Signal};

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start a process; report [`Event::Spawned`](crate::Event::Spawned) or
    /// [`Event::SpawnFailed`](crate::Event::SpawnFailed).
    Spawn { job: JobId, run: RunId },
    /// Try to acquire the lease of this job until it is acquired; report [`Event::Won`](crate::Event::Won) then, and
    /// [`Event::Lost`](crate::Event::Lost) if it is lost later.
    Campaign { job: JobId, run: RunId },
    /// Release the lease or cancel the campaign; no process of the run is left.
    Resign(RunId),
    /// Send a signal to the processes of a run.
    Signal { run: RunId, signal: Signal, scope: SignalScope },
    /// Carry out a probe; report [`Event::Probed`](crate::Event::Probed) within the timeout of its plan.
    Probe { job: JobId, run: RunId, kind: ProbeKind, attempt: AttemptId },
    /// Carry out a hook; report [`Event::HookFinished`](crate::Event::HookFinished).
    Hook { job: JobId, run: RunId, kind: HookKind, attempt: AttemptId },
    /// Cancel a probe or hook.
    Abort(AttemptId),
    /// Write a tombstone, before any effect that follows.
    WriteTombstone {
        /// The job it belongs to; None: the tombstone of the pod.
        job: Option<JobId>,
        record: LifecycleRecord,
    },
    /// Publish an event to the log, the metrics and the subscribers.
    Publish(JobEvent),
    /// Respond to a request.
    Respond { request: RequestId, response: Result<Outcome, Refusal> },
    /// A job that was removed by a reload has stopped: its data can be dropped.
    JobRemoved(JobId),
    /// Exit with this code. The last effect.
    End {
        code: i32,
        /// The job that determined the code.
        from: Option<JobId>,
    },
}

/// Which processes of a run receive a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalScope {
    /// The main process.
    Main,
    /// The process group, as for a signal from the terminal.
    Group,
    /// All processes of the run, including those that left the group or appear later: the run is being stopped.
    Everything,
}

/// The successful result of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Changed,
    /// The requested state was already reached.
    Unchanged,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No such process.
    Unknown,
    ShuttingDown,
    NotRunning,
    /// A later request has replaced it.
    Superseded,
    /// The process did not start, for this reason.
    Failed(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no such process"),
            Self::ShuttingDown => f.write_str("shutting down"),
            Self::NotRunning => f.write_str("not running"),
            Self::Superseded => f.write_str("superseded by another request"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}
