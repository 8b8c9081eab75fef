//! All together: what happens to the list, the leadership ([`leading`]) and the callback ([`runs`]), one after the other.

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

use super::callback::{self, Files, Printed};
use super::counters::Counters;
use super::payload::Source;
use super::peers::Dialer;
use super::proof::AccessPolicy;
use super::reporter::{self, Targets};
use super::routes::{ApiState, LeaderStatus};
use super::tenants::Tenants;
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

/// How many runs of the callback are remembered.
const REMEMBERED: usize = 20;
/// The first pause after a callback that has failed.
const RETRY: Duration = Duration::from_secs(1);
/// The damper begins anew with each change, up to so many times its length.
const BOUND: u32 = 6;
/// How long the last word to the masters and the giving up of leadership may take.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Between looks at what a callback left behind.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// All that a driver is made of.
pub struct Parts {
    /// What to do.
    pub plan: EnsemblePlan,
    /// Where the list is, where we are a master.
    pub store: Option<Arc<dyn Store>>,
    /// What has to be shown for what.
    pub proof: AccessPolicy,
    /// How others are spoken to.
    pub dialer: Dialer,
    /// What is counted.
    pub counters: Counters,
    /// What others send us.
    pub signals: SignalStream,
    /// Who is above us.
    pub notify: Notify,
    /// Who reads.
    pub hub: Arc<Hub>,
}

/// Looks after one pod of an ensemble until it is told to end.
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
    asked: mpsc::UnboundedReceiver<SpawnRequest>,
    down: mpsc::UnboundedReceiver<()>,
    table: ApiState,
    master: Option<Master>,
    began: Instant,
    newest_term: u64,
}

/// What there is of a master.
struct Master {
    plan: MasterPlan,
    registry: Arc<Registry>,
    locks: Locks,
    states: States,
    leader: Leader,
    changes: watch::Receiver<u64>,
    news: (mpsc::UnboundedSender<News>, mpsc::UnboundedReceiver<News>),
    tenure: (mpsc::UnboundedSender<OfTerm>, mpsc::UnboundedReceiver<OfTerm>),
    term: Option<Term>,
    /// This term is over when nothing runs by it any more.
    clears: Option<leader::Term>,
    running: Option<Running>,
}

/// A time of leadership, or of wanting it.
struct Term {
    run: RunId,
    resign: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// A callback that was started.
struct Running {
    run: Run,
    term: RunId,
    told: leader::Told,
    began: Timestamp,
    printed: Option<Printed>,
    _files: Files,
    until: Instant,
    exit: Option<engine::Exit>,
    late: bool,
}

/// What there is to tell of a time of leadership.
type OfTerm = (RunId, LeaseNotice);

/// What tasks of ours tell.
enum News {
    /// What the store has of before our leadership.
    Loaded(leader::Term, State),
    /// Whether the store has forgotten what was seen before this run.
    Forgotten(Run, bool),
    /// What a run that has ended well has printed, and the store has taken; or not.
    Saved(Run, Option<State>),
    /// A run that has ended well has printed this.
    Printed(Run, Value),
}

impl Driver {
    /// A driver that has not begun, and what its server answers with.
    #[must_use]
    pub fn new(parts: Parts) -> (Self, ApiState) {
        reap::adopt_orphans();
        let Parts { plan, store, proof, dialer, counters, signals, notify, hub } = parts;
        let (runner, asked) = mpsc::unbounded_channel();
        let (down_to, down) = mpsc::unbounded_channel();
        let counters = Arc::new(counters);
        let guard = Guard::default();
        let prefix = plan.prefix();
        let master = plan.master.clone().zip(store).map(|(master, store)| {
            let registry = Arc::new(Registry::new(Arc::clone(&store), &prefix, master.ttl));
            let times = Times { damper: master.damper, bound: master.damper * BOUND, retry: RETRY };
            Master {
                changes: registry.changes(),
                registry,
                locks: Locks::new(Arc::clone(&store), &prefix).with_traces(&format!("{prefix}last/")),
                states: States::new(store, &prefix),
                leader: Leader::new(times),
                news: mpsc::unbounded_channel(),
                tenure: mpsc::unbounded_channel(),
                term: None,
                clears: None,
                running: None,
                plan: master,
            }
        });
        let table = ApiState {
            id: plan.id.clone(),
            app: plan.app.clone(),
            registry: master.as_ref().map(|master| Arc::clone(&master.registry)),
            shown: Arc::new(Mutex::new(LeaderStatus {
                why: "it has not begun".to_owned(),
                ..LeaderStatus::default()
            })),
            counters,
            runner,
            proof: Arc::new(proof),
            invoke_user: plan.access.invoke_user,
            tenants: Arc::new(Tenants::new(
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
            asked,
            down,
            table: table.clone(),
            master,
            began: Instant::now(),
            newest_term: 0,
        };
        (driver, table)
    }

    /// Begins, and returns when it was told to end and has.
    pub async fn run(mut self) -> io::Result<i32> {
        let mut beside = Vec::new();
        if let Some(master) = &self.master {
            let (one, other) = (Arc::clone(&master.registry), Arc::clone(&master.registry));
            beside.push(tokio::spawn(async move { one.follow().await }));
            beside.push(tokio::spawn(async move { other.register().await }));
        }
        let reports = self.begin_to_report();
        if self.master.as_ref().is_some_and(|master| master.plan.callback.is_some()) {
            callback::sweep();
        }
        self.campaign();
        self.notify.ready("in the ensemble");
        let mut tenants = self.table.tenants.changes();
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
                Some(asked) = self.asked.recv() => asked.start(&mut self.groups),
                happened = happened(&mut self.master) => self.happened(happened),
                () = ended(&mut self.guard_ended) => {
                    self.guard.exited();
                    // One that ends again and again is tried again in time.
                    if self.guard_tried + RETRY <= Instant::now() {
                        self.stand_guard();
                    }
                }
                Ok(()) = tenants.changed() => self.woke(),
                () = until(due) => self.woke(),
            }
        }
        self.notify.stopping("told to end");
        let end = async {
            let (goodbyes, tasks): (Vec<_>, Vec<_>) = reports.into_iter().unzip();
            for goodbye in goodbyes {
                // It may have ended by itself.
                let _ = goodbye.send(());
            }
            join_all(tasks).await;
        };
        let _ = timeout(LAST_WORDS, end).await;
        self.give_up().await?;
        for task in beside {
            task.abort();
        }
        Ok(0)
    }

    /// To our masters, and of our own list to those of another ensemble.
    fn begin_to_report(&self) -> Vec<(oneshot::Sender<()>, JoinHandle<()>)> {
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
        let (goodbye, said) = oneshot::channel();
        let counters = Arc::clone(&self.table.counters);
        let task = tokio::spawn(reporter::report(keepalive, targets, source, member.every, counters, said));
        (goodbye, task)
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
        let clears = master.clears.map(|_| self.table.tenants.until_clear().unwrap_or(now));
        let clears = clears.map(|at| Instant::now() + now.until(at));
        let guarded = self.is_unguarded().then(|| self.guard_tried + RETRY);
        let leftovers = self.groups.any_leftovers().then(|| Instant::now() + LOOK_AGAIN);
        callback.into_iter().chain(late).chain(leftovers).chain(clears).chain(guarded).min()
    }

    /// It could not be started.
    fn is_unguarded(&self) -> bool {
        self.master.as_ref().is_some_and(|master| master.term.is_some()) && !self.guard.is_running()
    }

    fn happened(&mut self, happened: Happened) {
        match happened {
            Happened::Changed => self.changed(),
            Happened::Tenure(run, told) => self.tenure(run, told),
            Happened::News(news) => self.heard(news),
        }
    }

    fn changed(&mut self) {
        let now = self.now();
        let Some(master) = &mut self.master else { return };
        self.table.counters.md5_changed();
        master.leader.changed(now);
        let pods = master.registry.roster().len();
        self.tell("changed", &format!("the list has changed: {pods} pods"));
    }

    fn tell(&self, event: &'static str, message: &str) {
        log::info!("{message}");
        self.hub.tell(Change {
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

/// What there is to be dealt with.
enum Happened {
    Changed,
    Tenure(RunId, LeaseNotice),
    News(News),
}

async fn happened(master: &mut Option<Master>) -> Happened {
    let Some(master) = master else { return std::future::pending().await };
    tokio::select! {
        // That we lead no more is known before anything else is done.
        biased;
        Some((run, told)) = master.tenure.1.recv() => Happened::Tenure(run, told),
        Some(news) = master.news.1.recv() => Happened::News(news),
        Ok(()) = master.changes.changed() => Happened::Changed,
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

/// Eight bytes of chance in hexadecimal.
fn nonce() -> String {
    format!("{:016x}", linux::random::random_seed())
}

/// What is shown before anything has happened.
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
