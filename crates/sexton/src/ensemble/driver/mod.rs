//! The event loop of a pod of an ensemble: changes of the list, the leadership ([`leading`]) and the callback ([`runs`]).

mod leading;
mod runs;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::{RunId, Signal};
use ensemble::Store;
use ensemble::callbacks::{Run, Times};
use ensemble::leader::{self, Leader};
use ensemble::lock::Locks;
use ensemble::member::{Keepalive, key_of};
use ensemble::registry::Registry;
use ensemble::state::{State, States};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::callback::{self, Files, PendingOutput};
use super::counters::Counters;
use super::leadership_leases::LeadershipLeases;
use super::payload::Source;
use super::peers::Dialer;
use super::proof::AccessPolicy;
use super::reporter::{self, Targets};
use super::routes::{ApiState, LeaderStatus};
use crate::locks::guard::Guard;
use crate::probes::SpawnRequest;
use crate::status::hub::{Change, Hub};
use engine::lease::LeaseNotice;
use linux::clock::boot_now;
use linux::notify::Notify;
use linux::process_table::ProcessTable;
use linux::reap;
use linux::signals::SignalStream;
use spec::ensemble::MasterPlan;
use spec::ensemble::{EnsemblePlan, MemberPlan};

/// Number of runs of the callback in the status.
const STATUS_RUNS: usize = 20;
/// First pause after a failed callback.
const RETRY: Duration = Duration::from_secs(1);
/// Each change restarts the damper, up to this multiple of its length.
const DAMPER_BOUND: u32 = 6;
/// Time limit of the last keepalive, and of giving up the leadership.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(3);
/// Interval of checks for processes that a callback left behind.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Dependencies of a driver.
pub struct Parts {
    pub plan: EnsemblePlan,
    /// Store of the list, if this pod is a master.
    pub store: Option<Arc<dyn Store>>,
    pub proof: AccessPolicy,
    pub dialer: Dialer,
    pub counters: Counters,
    pub signals: SignalStream,
    /// The service manager (sd_notify).
    pub notify: Notify,
    pub hub: Arc<Hub>,
}

/// Runs one pod of an ensemble until it is shut down.
pub struct Driver {
    plan: EnsemblePlan,
    dialer: Dialer,
    signals: SignalStream,
    notify: Notify,
    hub: Arc<Hub>,
    groups: ProcessTable,
    guard: Guard,
    guard_ended: Option<oneshot::Receiver<engine::Exit>>,
    guard_tried: Instant,
    spawns: mpsc::UnboundedReceiver<SpawnRequest>,
    down: mpsc::UnboundedReceiver<()>,
    api: ApiState,
    master: Option<Master>,
    began: Instant,
    newest_term: u64,
}

/// State of a master.
struct Master {
    plan: MasterPlan,
    registry: Arc<Registry>,
    locks: Locks,
    states: States,
    leader: Leader,
    changes: watch::Receiver<u64>,
    results: (mpsc::UnboundedSender<TaskResult>, mpsc::UnboundedReceiver<TaskResult>),
    notices: (mpsc::UnboundedSender<TermNotice>, mpsc::UnboundedReceiver<TermNotice>),
    term: Option<Term>,
    /// A lost term that ends when no lease depends on it any more.
    ending_term: Option<leader::Term>,
    running: Option<Running>,
}

/// A period of campaigning and leading.
struct Term {
    run: RunId,
    resign: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// A running callback.
struct Running {
    run: Run,
    term: RunId,
    input: leader::CallbackInput,
    started: Timestamp,
    printed: Option<PendingOutput>,
    _files: Files,
    until: Instant,
    exit: Option<engine::Exit>,
    late: bool,
}

/// A notice about the lease of a term.
type TermNotice = (RunId, LeaseNotice);

/// The result of a background task.
enum TaskResult {
    /// The state that the store had before the leadership.
    Loaded(leader::Term, State),
    /// Whether the stored digest was cleared before this run.
    DigestCleared(Run, bool),
    /// The saved state after a successful run; `None` if saving failed.
    Saved(Run, Option<State>),
    /// The next state, from the output of a successful run.
    Printed(Run, Value),
}

impl Driver {
    /// Creates a driver, and the state for its API server.
    #[must_use]
    pub fn new(parts: Parts) -> (Self, ApiState) {
        reap::adopt_orphans();
        let Parts { plan, store, proof, dialer, counters, signals, notify, hub } = parts;
        let (runner, spawns) = mpsc::unbounded_channel();
        let (down_to, down) = mpsc::unbounded_channel();
        let counters = Arc::new(counters);
        let guard = Guard::default();
        let prefix = plan.prefix();
        let master = plan.master.clone().zip(store).map(|(master, store)| {
            let registry = Arc::new(Registry::new(Arc::clone(&store), &prefix, master.ttl));
            let times = Times { damper: master.damper, bound: master.damper * DAMPER_BOUND, retry: RETRY };
            Master {
                changes: registry.changes(),
                registry,
                locks: Locks::new(Arc::clone(&store), &prefix).with_traces(&format!("{prefix}last/")),
                states: States::new(store, &prefix),
                leader: Leader::new(times),
                results: mpsc::unbounded_channel(),
                notices: mpsc::unbounded_channel(),
                term: None,
                ending_term: None,
                running: None,
                plan: master,
            }
        });
        let api = ApiState {
            id: plan.id.clone(),
            app: plan.app.clone(),
            registry: master.as_ref().map(|master| Arc::clone(&master.registry)),
            leader: Arc::new(Mutex::new(LeaderStatus {
                why: "not started".to_owned(),
                ..LeaderStatus::default()
            })),
            counters,
            runner,
            policy: Arc::new(proof),
            invoke_user: plan.access.invoke_user,
            leadership_leases: Arc::new(LeadershipLeases::new(
                plan.master.as_ref().and_then(|master| master.leads.clone()),
                guard.clone(),
            )),
            down: down_to,
        };
        let driver = Self {
            plan,
            dialer,
            signals,
            notify,
            hub,
            groups: ProcessTable::new(false),
            guard,
            guard_ended: None,
            guard_tried: Instant::now(),
            spawns,
            down,
            api: api.clone(),
            master,
            began: Instant::now(),
            newest_term: 0,
        };
        (driver, api)
    }

    /// Runs until shutdown and returns the exit code.
    pub async fn run(mut self) -> io::Result<i32> {
        let mut background = Vec::new();
        if let Some(master) = &self.master {
            let (one, other) = (Arc::clone(&master.registry), Arc::clone(&master.registry));
            background.push(tokio::spawn(async move { one.follow().await }));
            background.push(tokio::spawn(async move { other.register().await }));
        }
        let reports = self.start_reporting();
        if self.master.as_ref().is_some_and(|master| master.plan.callback.is_some()) {
            callback::sweep();
        }
        self.campaign();
        self.notify.ready("in the ensemble");
        let mut lease_changes = self.api.leadership_leases.changes();
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                signals = self.signals.next() => {
                    let signals = signals?;
                    if signals.contains(&Signal::CHLD) {
                        self.reap();
                    }
                    if signals.iter().any(|signal| matches!(*signal, Signal::TERM | Signal::INT | Signal::QUIT)) {
                        break;
                    }
                }
                Some(()) = self.down.recv() => break,
                Some(request) = self.spawns.recv() => request.start(&mut self.groups),
                event = next_event(&mut self.master) => self.handle(event),
                () = ended(&mut self.guard_ended) => {
                    self.guard.exited();
                    // If it exits again and again, it is restarted after a pause.
                    if self.guard_tried + RETRY <= Instant::now() {
                        self.ensure_guard();
                    }
                }
                Ok(()) = lease_changes.changed() => self.on_timer(),
                () = until(due) => self.on_timer(),
            }
        }
        self.notify.stopping("shutting down");
        let end = async {
            let (shutdowns, tasks): (Vec<_>, Vec<_>) = reports.into_iter().unzip();
            for shutdown in shutdowns {
                // Fails if the task has ended already.
                let _ = shutdown.send(());
            }
            join_all(tasks).await;
        };
        let _ = timeout(SHUTDOWN_LIMIT, end).await;
        self.shut_down().await?;
        for task in background {
            task.abort();
        }
        Ok(0)
    }

    /// Starts sending keepalives to the masters, and of the own list to the masters of another ensemble.
    fn start_reporting(&self) -> Vec<(oneshot::Sender<()>, JoinHandle<()>)> {
        let own = self.master.as_ref().map(|master| Arc::clone(&master.registry));
        let mut reports = Vec::new();
        if let Some(member) = self.plan.member.clone() {
            let source = Source::of(member.payload.clone());
            reports.push(self.report(self.plan.app.clone(), member, source, own.clone()));
        }
        if let (Some(chain), Some(registry)) = (self.plan.chain.clone(), own) {
            let source = Source::list(&self.plan.app, registry);
            reports.push(self.report(chain.app, chain.member, source, None));
        }
        reports
    }

    fn report(
        &self,
        app: String,
        member: MemberPlan,
        source: Source,
        own: Option<Arc<Registry>>,
    ) -> (oneshot::Sender<()>, JoinHandle<()>) {
        let keepalive = Keepalive {
            app,
            id: self.plan.id.clone(),
            key: member.ip.parse().map(key_of).unwrap_or_default(),
            ip: member.ip,
            nonce: nonce(),
            payload: Value::Null,
            role: member.role,
            down: false,
        };
        let targets = Targets { masters: member.masters, dialer: self.dialer.clone(), own };
        let (shutdown, on_shutdown) = oneshot::channel();
        let counters = Arc::clone(&self.api.counters);
        let task =
            tokio::spawn(reporter::report(keepalive, targets, source, member.every, counters, on_shutdown));
        (shutdown, task)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn due(&self) -> Option<Instant> {
        let master = self.master.as_ref()?;
        // Without a callback there is nothing to run.
        let callback = master.plan.callback.as_ref().and_then(|_| master.leader.deadline());
        let callback = callback.map(|at| self.began + at);
        let late =
            master.running.as_ref().filter(|running| running.exit.is_none()).map(|running| running.until);
        let now = boot_now();
        let ending_term = master.ending_term.map(|_| self.api.leadership_leases.until_clear().unwrap_or(now));
        let ending_term = ending_term.map(|at| Instant::now() + now.until(at));
        let guarded = self.is_unguarded().then(|| self.guard_tried + RETRY);
        let leftovers = self.groups.any_leftovers().then(|| Instant::now() + POLL_INTERVAL);
        callback.into_iter().chain(late).chain(leftovers).chain(ending_term).chain(guarded).min()
    }

    /// Returns whether the guard is needed and not running.
    fn is_unguarded(&self) -> bool {
        self.master.as_ref().is_some_and(|master| master.term.is_some()) && !self.guard.is_running()
    }

    fn handle(&mut self, event: DriverEvent) {
        match event {
            DriverEvent::ListChanged => self.list_changed(),
            DriverEvent::Lease(run, notice) => self.lease_notice(run, notice),
            DriverEvent::TaskResult(result) => self.handle_result(result),
        }
    }

    fn list_changed(&mut self) {
        let now = self.now();
        let Some(master) = &mut self.master else { return };
        self.api.counters.md5_changed();
        master.leader.changed(now);
        let pods = master.registry.roster().len();
        self.publish("changed", &format!("membership changed: {pods} pods"));
    }

    fn publish(&self, event: &'static str, message: &str) {
        log::info!("{message}");
        self.hub.publish_event(Change {
            number: 0,
            at: String::new(),
            process: self.plan.app.clone(),
            run: None,
            pid: None,
            event,
            cause: None,
            message: message.to_owned(),
        });
    }
}

/// An event of a master.
enum DriverEvent {
    ListChanged,
    Lease(RunId, LeaseNotice),
    TaskResult(TaskResult),
}

async fn next_event(master: &mut Option<Master>) -> DriverEvent {
    let Some(master) = master else { return std::future::pending().await };
    tokio::select! {
        // A lost leadership is handled before anything else.
        biased;
        Some((run, notice)) = master.notices.1.recv() => DriverEvent::Lease(run, notice),
        Some(result) = master.results.1.recv() => DriverEvent::TaskResult(result),
        Ok(()) = master.changes.changed() => DriverEvent::ListChanged,
        else => std::future::pending().await,
    }
}

async fn ended(guard: &mut Option<oneshot::Receiver<engine::Exit>>) {
    match guard {
        Some(ended) => drop(ended.await),
        None => return std::future::pending().await,
    }
    *guard = None;
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Returns eight random bytes in hexadecimal.
fn nonce() -> String {
    format!("{:016x}", spec::random::random_u64())
}

/// Returns the status before the first event.
#[must_use]
pub fn first_view() -> crate::status::View {
    let health = crate::status::Health::watched(true, true, "in the ensemble");
    crate::status::View {
        generation: 0,
        mode: "ensemble",
        processes: Vec::new(),
        health,
        ending: None,
        over: false,
    }
}
