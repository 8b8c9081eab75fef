//! The supervisor: drives the engine for the processes of one pod.
//!
//! ```text
//! signals, children, timers, ─SupervisorEvent─► handle ─Event─► Pod::step ─Effect─► System: spawn, signal,
//! probes, locks, requests                         ▲                                  probe, lock, tombstone
//!                                                 │                                     │
//!                                                 └── results ──────────────────────────┘
//!                                                     then: hub, service manager, replies
//! ```
//!
//! * [`event_loop`]: turns what happened into one [`SupervisorEvent`] at a time
//! * [`handle`]: does all the work for an event, without waiting for anything
//! * [`effects`], [`locks`], [`requests`], [`publish`]: the parts of it
//! * [`job`]: data about each process, in addition to the engine's
//! * [`system`]: the interfaces to everything outside, which [`linux_system`] implements
//!
//! A child is entered in the process table before another one is reaped, and its output is read before its exit is
//! reported.

mod effects;
mod event_loop;
mod handle;
mod job;
mod linux_system;
mod locks;
mod publish;
mod requests;
mod system;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::pod::Seed;
use engine::{Event, JobId, Pod, RunId, Signal, Time};
use tokio::sync::mpsc;

use publish::Publisher;
use requests::Requests;

pub use event_loop::run;
pub use job::{SupervisedProcess, output_plan, process_info, tombstone_targets};
pub use publish::first_view;

use crate::control::Command;
use crate::journal::Journal;
use crate::logs::capture::Outputs;
use crate::probes::SpawnRequest;
use crate::status::hub::Hub;
use crate::tombstones::Graveyard;
use config::compile::{CliOverrides, Source, UpPlan};
use linux::clock::Clock;
use linux::notify::Notify;
use linux::notify_listener::NotifyDatagram;
use linux::signals::SignalStream;
use linux::terminal::Terminal;

/// The parts that a supervisor is made of.
pub struct SupervisorDeps {
    /// `run`, `supervise` or `up`.
    pub mode: &'static str,
    pub seed: Seed,
    pub clock: Clock,
    pub signals: SignalStream,
    /// In the order of the plan.
    pub processes: Vec<SupervisedProcess>,
    pub outputs: Outputs,
    /// The terminal of the only process.
    pub terminal: Option<Terminal>,
    pub journal: Option<Journal>,
    pub notify: Notify,
    pub hub: Arc<Hub>,
    /// Requests of clients, if there is a control socket.
    pub commands: Option<mpsc::Receiver<Command>>,
    /// Only for `up`.
    pub up: Option<UpState>,
    /// The graveyard, and the present state of the peers.
    pub graveyard: Option<(Graveyard, PeerChanges)>,
}

/// The state that only `up` has.
#[derive(Debug)]
pub struct UpState {
    /// The origin of the plan.
    pub source: Source,
    /// Settings of the command line and the environment.
    pub overrides: CliOverrides,
    /// The present plan; its engine part is in the order of the file.
    pub plan: UpPlan,
    /// The engine's ids of the processes, in the same order.
    pub ids: Vec<JobId>,
    /// The file of the termination message.
    pub termination_log: PathBuf,
}

/// Peers and their new state.
pub type PeerChanges = Vec<(String, engine::PeerStatus)>;

/// Something that has happened outside of the supervisor.
enum SupervisorEvent {
    /// The first event, with the state of the peers.
    Started {
        peers: PeerChanges,
    },
    /// A deadline of the engine has passed, or processes are waiting to be spawned.
    TimerFired,
    /// Signals were received. SIGCHLD: children have changed state.
    Signals(Vec<Signal>),
    /// It is time to look for the remaining processes of runs again.
    LeftoversDue,
    /// A probe or hook needs a command.
    HelperRequested(SpawnRequest),
    /// A probe or hook has finished.
    AttemptFinished(Event),
    /// A process has sent a notification (sd_notify(3)).
    Notified(NotifyDatagram),
    PeersChanged(PeerChanges),
    LockChanged(RunId, LockChange),
    /// Runs hold locks, and the lock guard is not running.
    LockGuardMissing,
    /// It is time to measure the memory of processes that no control group limits.
    MemoryCheckDue,
    /// The runs that use more memory than their limits.
    MemoryMeasured(Vec<MemoryUse>),
    /// A client has sent a request.
    Command(Command),
    /// It is time to send `WATCHDOG=1` to the service manager.
    KeepaliveDue,
    /// Events that arrived together. What they change is published once.
    Batch(Vec<SupervisorEvent>),
}

/// A change of the lock of a run.
enum LockChange {
    /// It is not held yet, for this reason.
    Waiting(String),
    Acquired {
        fence: u64,
    },
    Lost {
        why: String,
        /// When no process of the run may exist any more.
        gone_by: Time,
    },
}

/// The memory of a run that uses more than its limit, in bytes.
struct MemoryUse {
    run: RunId,
    used: u64,
    limit: u64,
}

/// Supervises the processes of one pod until all have exited.
struct Supervisor<S> {
    system: S,
    pod: Pod,
    mode: &'static str,
    /// For the times of day that are published.
    clock: Clock,
    hub: Arc<Hub>,
    jobs: BTreeMap<JobId, job::Job>,
    up: Option<UpState>,
    /// Events that effects of the present event have produced.
    events: VecDeque<Event>,
    /// Runs whose processes are waiting to be spawned.
    starts: VecDeque<(JobId, RunId)>,
    requests: Requests,
    publisher: Publisher,
    /// When to look for the remaining processes of runs, and the pause before.
    leftovers_check: Option<(Time, Duration)>,
    memory_check: Option<Time>,
    /// A signal that suspends was received, and no SIGCONT since.
    suspending: bool,
    /// The exit code, and the process that determined it.
    exit: Option<(i32, Option<JobId>)>,
}

impl<S: system::System> Supervisor<S> {
    fn new(
        system: S,
        mode: &'static str,
        seed: Seed,
        clock: Clock,
        processes: Vec<SupervisedProcess>,
        hub: Arc<Hub>,
        up: Option<UpState>,
    ) -> Self {
        let now = system.now();
        let jobs = (0..).map(JobId).zip(processes.into_iter().zip(&seed.plan.jobs));
        let jobs = jobs.map(|(id, (process, plan))| (id, job::Job::new(process, plan, now))).collect();
        let limited = up.as_ref().is_some_and(|up| has_memory_limits(&up.plan));
        Self {
            system,
            pod: Pod::new(seed),
            mode,
            clock,
            hub,
            jobs,
            up,
            events: VecDeque::new(),
            starts: VecDeque::new(),
            requests: Requests::default(),
            publisher: Publisher::default(),
            leftovers_check: None,
            memory_check: limited.then_some(now),
            suspending: false,
            exit: None,
        }
    }

    /// When [`SupervisorEvent::TimerFired`] must be handled at the latest.
    fn deadline(&self) -> Option<Time> {
        if self.starts.is_empty() { self.pod.deadline() } else { Some(self.system.now()) }
    }

    /// How late the next deadline of the engine is; None: it is still to come.
    fn lateness(&self) -> Option<Duration> {
        self.pod.deadline().and_then(|at| self.system.now().0.checked_sub(at.0)).map(Duration::from_nanos)
    }

    fn is_due(&self) -> bool {
        self.deadline().is_some_and(|at| at <= self.system.now())
    }
}

fn has_memory_limits(plan: &UpPlan) -> bool {
    plan.processes.iter().any(|process| process.memory_limit.is_some())
}
