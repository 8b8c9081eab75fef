//! Locks that runs depend on: one task for each run that holds or wants a lock, and the
//! [lock guard](crate::locks::guard) of those that hold one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use engine::lease::LeaseNotice;
use engine::{Event, Exit, JobId, RunId};
use ensemble::lock::Holder;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::linux_system::LinuxSystem;
use super::system::{Locks, System};
use super::{LockChange, Supervisor, SupervisorEvent};
use crate::locks::FENCE;
use crate::locks::client::{Claim, LockClient};
use crate::locks::guard::Guard;
use crate::locks::guard_start::start_guard;
use crate::locks::holder::{LeaseRequest, Remote, hold};
use linux::clock::{Clock, boot_now, rfc3339_millis};
use spec::environment::Environment as _;
use spec::environment::Real;
use spec::lock::LockPlan;

/// The time limit for releasing locks at shutdown.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after which a lock guard that could not be started is tried again.
const GUARD_RETRY: Duration = Duration::from_secs(1);

impl<S: System> Supervisor<S> {
    /// Starts to acquire the lock of a process, for one of its runs.
    pub(super) fn campaign(&mut self, id: JobId, run: RunId) {
        let Some(job) = self.jobs.get(&id) else { return };
        match &job.lock {
            Some(lock) => self.system.campaign(run, &job.info.name, lock),
            // The engine's plan names a lock and the configuration does not: there is nothing to acquire.
            None => self.events.push_back(Event::Won(run)),
        }
    }

    pub(super) fn lock_changed(&mut self, run: RunId, change: LockChange) {
        match change {
            LockChange::Waiting(why) => {
                self.system.ensure_guard();
                self.dispatch(Event::Campaigning(run, why));
            }
            LockChange::Acquired { fence } => {
                // The lock of a run that has resigned meanwhile is being released.
                if self.system.set_fence(run, fence) {
                    self.dispatch(Event::Won(run));
                }
            }
            LockChange::Lost { why, gone_by } => self.dispatch(Event::Lost { run, why, gone_by }),
        }
    }
}

/// The locks of runs.
pub(super) struct RunLocks {
    pub(super) guard: Guard,
    guard_exit: Option<oneshot::Receiver<Exit>>,
    /// Each makes the task of a run release its lock.
    held: BTreeMap<RunId, oneshot::Sender<()>>,
    fences: BTreeMap<RunId, u64>,
    tasks: JoinSet<()>,
    changes: (mpsc::UnboundedSender<RunChange>, mpsc::UnboundedReceiver<RunChange>),
}

/// A change of the lock of a run, as its task reports it.
type RunChange = (RunId, LeaseNotice);

impl Default for RunLocks {
    fn default() -> Self {
        Self {
            guard: Guard::default(),
            guard_exit: None,
            held: BTreeMap::new(),
            fences: BTreeMap::new(),
            tasks: JoinSet::new(),
            changes: mpsc::unbounded_channel(),
        }
    }
}

impl RunLocks {
    /// The variable with the fencing token of a run.
    pub(super) fn variable(&self, run: RunId) -> Option<(&'static str, OsString)> {
        self.fences.get(&run).map(|fence| (FENCE, fence.to_string().into()))
    }

    /// Waits for a change of a lock, or for the exit of the lock guard.
    pub(super) async fn next(&mut self, clock: Clock) -> SupervisorEvent {
        let unguarded = !self.guard.is_running() && !self.held.is_empty();
        let guard_exited = async {
            match &mut self.guard_exit {
                Some(exit) => drop(exit.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((run, change)) = self.changes.1.recv() => {
                let change = match change {
                    LeaseNotice::Waiting(why) => LockChange::Waiting(why),
                    LeaseNotice::Held(fence) => LockChange::Acquired { fence },
                    LeaseNotice::Lost { why, kill_by } => {
                        LockChange::Lost { why, gone_by: clock.now() + boot_now().until(kill_by) }
                    }
                };
                return SupervisorEvent::LockChanged(run, change);
            }
            () = guard_exited => {}
            // Runs hold locks without a guard.
            () = sleep(GUARD_RETRY), if unguarded => return SupervisorEvent::LockGuardMissing,
        }
        log::warn!("lock guard exited; restarting it");
        self.guard_exit = None;
        self.guard.exited();
        SupervisorEvent::LockGuardMissing
    }

    /// Waits, for a limited time, until the locks that are being released have been.
    pub(super) async fn finish(&mut self) {
        // A run that survived SIGKILL keeps its lock until the lease expires.
        let kept = self.held.len();
        let released = async { while self.tasks.len() > kept && self.tasks.join_next().await.is_some() {} };
        let _ = timeout(RELEASE_TIMEOUT, released).await;
    }
}

impl Locks for LinuxSystem {
    fn campaign(&mut self, run: RunId, process: &str, lock: &LockPlan) {
        self.ensure_guard();
        let claim = Claim { key: lock.name.clone(), holder: holder(process) };
        let (resign, resigned) = oneshot::channel();
        let (guard, changes) = (self.locks.guard.clone(), self.locks.changes.0.clone());
        self.locks.held.insert(run, resign);
        // Tasks that have finished are removed.
        while self.locks.tasks.try_join_next().is_some() {}
        let wanted = LeaseRequest { name: format!("the lock '{}'", lock.name), ttl: lock.ttl };
        let grantor = Remote { server: LockClient(lock.server.clone()), claim };
        self.locks.tasks.spawn(hold(run, wanted, grantor, guard, changes, resigned));
    }

    fn resign(&mut self, run: RunId) {
        self.locks.fences.remove(&run);
        if let Some(held) = self.locks.held.remove(&run) {
            // An error: the task has finished, and there is nothing to release.
            let _ = held.send(());
        }
    }

    fn set_fence(&mut self, run: RunId, fence: u64) -> bool {
        let held = self.locks.held.contains_key(&run);
        if held {
            self.locks.fences.insert(run, fence);
        }
        held
    }

    fn ensure_guard(&mut self) {
        if self.locks.guard.is_running() {
            return;
        }
        match start_guard(&self.locks.guard, &mut self.processes) {
            Ok(exit) => self.locks.guard_exit = Some(exit),
            Err(why) => log::error!("cannot start the lock guard: {why}"),
        }
    }
}

/// The identity of this supervisor and process, for those that wait for the lock.
fn holder(process: &str) -> Holder {
    let variable = |name: &str| Real.get(name).map(|value| value.to_string_lossy().into_owned());
    let host = variable("HOSTNAME").unwrap_or_else(|| {
        let name = rustix::system::uname();
        name.nodename().to_string_lossy().into_owned()
    });
    let labels = [("namespace", variable("POD_NAMESPACE")), ("node", variable("NODE_NAME"))];
    let labels = labels.into_iter().filter_map(|(label, value)| Some((label.to_owned(), value?)));
    let more = [("process", process.to_owned()), ("pid", std::process::id().to_string())];
    Holder {
        value: format!("{host}/{process}"),
        labels: labels.chain(more.map(|(label, value)| (label.to_owned(), value))).collect(),
        timestamp: Some(rfc3339_millis(Timestamp::now())),
    }
}
