//! The interfaces of the supervisor to everything outside of it, one trait for each kind of effect.
//!
//! [`LinuxSystem`](super::linux_system::LinuxSystem) implements them for the program. The unit tests implement them with a recorder, so
//! that the order of the effects is tested without processes, files and clocks.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::{AttemptId, Event, Exit, JobId, LifecycleRecord, RunId, Signal, SignalScope, SpawnError, Time};

use super::{PeerChanges, UpState};
use crate::probes::{Facts, ProbeConnections, SpawnRequest};
use crate::tombstones::TombstoneTargets;
use config::compile::{ConfigError, ProcessPlan, UpPlan};
use linux::process_table::ReapedEvent;
use linux::terminal::AfterSuspension;
use spec::lock::LockPlan;
use spec::pod::PodPlan;
use spec::probe::{Action, Check};
use spec::program::Pid;
use spec::program::Program;

/// Everything that the supervisor needs from outside.
pub(super) trait System:
    Host + Processes + JobControl + Outputs + Attempts + Locks + Tombstones
{
}

impl<T: Host + Processes + JobControl + Outputs + Attempts + Locks + Tombstones> System for T {}

/// The clock, files and the service manager.
pub(super) trait Host {
    /// The time for the engine.
    fn now(&self) -> Time;
    /// Appends an event to the event journal, if there is one.
    fn write_journal(&mut self, at: Time, event: &Event);
    /// Sends a state to the service manager, if there is one.
    fn notify(&self, state: ServiceState, status: &str);
    /// Reads the configuration again.
    fn load_configuration(&self, up: &UpState) -> Result<UpPlan, ConfigError>;
    /// Creates or removes the readiness file. It is no error if that has been done already.
    fn set_readiness_file(&mut self, file: &Path, present: bool) -> io::Result<()>;
    /// Writes the termination message, if the file exists.
    fn write_termination_message(&mut self, file: &Path, text: &str);
}

/// A state that the service manager is notified of; sd_notify(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServiceState {
    /// `READY=1`.
    Ready,
    /// Only `STATUS=`.
    Status,
    /// `STOPPING=1`.
    Stopping,
    /// `WATCHDOG=1`, which has no status.
    Alive,
}

/// Processes and their process groups.
pub(super) trait Processes {
    /// Starts the process of a run and enters it in the process table.
    fn spawn(&mut self, start: &ProcessStart<'_>) -> Result<(), SpawnError>;
    /// Starts the command of a probe or hook.
    fn spawn_helper(&mut self, request: SpawnRequest);
    /// Sends a signal to a run, except to processes that left its process group.
    fn signal(&mut self, run: RunId, signal: Signal, scope: SignalScope);
    /// Sends pending signals to processes that left the process groups of their runs.
    fn signal_escaped(&mut self);
    /// Reaps all children that have exited, and returns what happened to runs.
    fn reap(&mut self) -> Vec<ReapedEvent>;
    /// The process of a run, unless it has exited.
    fn pid(&self, run: RunId) -> Option<Pid>;
    /// Drops a run of which something survives SIGKILL.
    fn abandon(&mut self, run: RunId);
    /// Whether the process of a run has exited and other processes of the run have not.
    fn any_leftovers(&self) -> bool;
    /// Running processes whose memory no control group limits.
    fn without_memory_limit(&self) -> Vec<(RunId, Pid)>;
    /// Measures the memory of these processes and their descendants in the background. The result is a
    /// [`SupervisorEvent::MemoryMeasured`](super::SupervisorEvent::MemoryMeasured) with those above their limits.
    fn measure_memory(&mut self, limits: Vec<(RunId, Pid, u64)>);
    /// Whether control groups enforce CPU limits.
    fn limits_cpu(&self) -> bool;
}

/// The start of the process of a run.
pub(super) struct ProcessStart<'a> {
    pub(super) job: JobId,
    pub(super) run: RunId,
    pub(super) program: &'a Program,
    /// The settings that only a process of `up` has.
    pub(super) plan: Option<&'a ProcessPlan>,
    /// The run depends on a lock: the lock guard must be able to find all its processes.
    pub(super) has_lock: bool,
    /// The interval in which the process must send `WATCHDOG=1`.
    pub(super) watchdog: Option<Duration>,
}

/// Job control of `run` and `supervise`, where the only process may have the terminal.
pub(super) trait JobControl {
    /// A signal has suspended the foreground process. None: there is no terminal.
    fn foreground_suspended(&self, pid: Pid, signal: Signal) -> Option<AfterSuspension>;
    /// The supervisor was resumed: the foreground process gets the terminal back.
    fn foreground_resumed(&self, pid: Pid);
    /// Suspends the supervisor as the signal would.
    fn suspend_self(&self, signal: Signal) -> AfterSuspension;
}

/// The output of processes.
pub(super) trait Outputs {
    /// Prepares the output of a new process.
    fn plan_output(&mut self, job: JobId, plan: &ProcessPlan) -> io::Result<()>;
    /// The process of a run has exited: reads the output that it wrote before, and releases what belonged to it.
    /// With leftovers, the output stays open.
    fn process_exited(&mut self, run: RunId, exit: Exit, leftovers: bool);
    /// All processes of a run have exited: reads the remaining output and closes it.
    fn run_cleared(&mut self, run: RunId);
    /// The last lines of output of a process.
    fn last_lines(&self, job: JobId, count: usize) -> Vec<Vec<u8>>;
}

/// Probes and hooks in progress.
pub(super) trait Attempts {
    /// Starts a probe.
    fn probe(&mut self, attempt: AttemptId, start: ProbeStart);
    /// Starts a hook.
    fn hook(&mut self, attempt: AttemptId, action: Arc<Action>);
    /// Cancels a probe or hook.
    fn cancel(&mut self, attempt: AttemptId);
    /// Removes a probe or hook that has finished. False: it was cancelled before.
    fn take_finished(&mut self, attempt: AttemptId) -> bool;
}

/// The start of a probe.
pub(super) struct ProbeStart {
    pub(super) checks: Arc<[Check]>,
    pub(super) timeout: Duration,
    pub(super) facts: Facts,
    pub(super) connections: ProbeConnections,
}

/// Locks that runs depend on.
pub(super) trait Locks {
    /// Starts to acquire a lock for a run. Results are
    /// [`SupervisorEvent::LockChanged`](super::SupervisorEvent::LockChanged).
    fn campaign(&mut self, run: RunId, process: &str, lock: &LockPlan);
    /// Releases the lock of a run, or stops trying to acquire it.
    fn resign(&mut self, run: RunId);
    /// Stores the fencing token of an acquired lock. False: the run has resigned meanwhile.
    fn set_fence(&mut self, run: RunId, fence: u64) -> bool;
    /// Starts the lock guard unless it is running.
    fn ensure_guard(&mut self);
}

/// Tombstones, and the peers that are watched.
pub(super) trait Tombstones {
    /// Writes the tombstone of a process, or of the pod. On return peers can read it, unless an error was logged.
    fn write_tombstone(&mut self, of: Option<JobId>, record: &LifecycleRecord);
    /// Changes which peers are watched and which tombstones are written, and returns the present state of new
    /// peers. An error changes nothing.
    fn set_tombstone_targets(
        &mut self,
        pod: Option<&PodPlan>,
        targets: TombstoneTargets,
    ) -> Result<PeerChanges, String>;
    /// Drops the output and the tombstone of a process that was removed from the plan and has exited.
    fn remove_job(&mut self, job: JobId);
}
