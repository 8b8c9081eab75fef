//! A master: the real registry, locks and leader, with a simulated callback and its own clock.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::RunId;
use engine::lease::{BootInstant, GuardedRuns, LeaseEffect, LeaseEvent, LeaseHolder, LeaseNotice};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep, sleep_until};

use super::chance::Chance;
use super::store::{Link, PREFIX, Shared};
use super::world::World;
use crate::callbacks::{Run, Times};
use crate::leader::{CallbackInput, Effect, Leader, ListSnapshot, Term};
use crate::lock::{Acquired, Holder, Locks};
use crate::member::Keepalive;
use crate::registry::Registry;
use crate::state::{LEADER, State, States};
use crate::store::{LeaseId, Store, StoreError};

pub(super) const TTL: Duration = Duration::from_secs(10);
const FAIL_OVER: Duration = Duration::from_secs(12);
/// The initial time of the clocks of masters, in nanoseconds.
const EPOCH: u64 = 1_000_000_000_000;
const TIMES: Times =
    Times { damper: Duration::from_secs(2), bound: Duration::from_secs(12), retry: Duration::from_secs(1) };

/// The host of a master, which exists whether the master is up or not.
pub(super) struct Place {
    number: usize,
    chance: Chance,
    world: Arc<World>,
    link: Arc<Link>,
    up: Mutex<Option<Up>>,
    /// Keepalives do not arrive.
    deaf: AtomicBool,
    orders: (mpsc::UnboundedSender<Order>, tokio::sync::Mutex<mpsc::UnboundedReceiver<Order>>),
    /// How much faster its clock is than the store's, in thousandths.
    clock: u64,
    epoch: Instant,
}

struct Up {
    registry: Arc<Registry>,
    tasks: Vec<AbortHandle>,
    running: Arc<Mutex<Option<Running>>>,
    guarded: Arc<Mutex<GuardedRuns>>,
}

/// A callback run.
struct Running {
    fence: u64,
    task: AbortHandle,
}

enum Order {
    Crash(Duration),
    Cut(Duration),
    Deaf(Duration),
}

enum News {
    Won(Term, u64),
    Lost(Term),
    Loaded(Term, State),
    DigestCleared(Run, bool),
    Ended(Run, Option<Value>),
    Saved(Run, Option<State>),
}

impl Place {
    pub(super) fn new(number: usize, shared: Arc<Shared>, world: Arc<World>) -> Arc<Self> {
        let chance = shared.chance().clone();
        let (orders, ordered) = mpsc::unbounded_channel();
        let clock = 950 + chance.below(100);
        Arc::new(Self {
            number,
            chance,
            world,
            link: Link::new(shared),
            up: Mutex::default(),
            deaf: AtomicBool::new(false),
            orders: (orders, tokio::sync::Mutex::new(ordered)),
            clock,
            epoch: Instant::now(),
        })
    }

    fn up(&self) -> MutexGuard<'_, Option<Up>> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn crash(&self, time: Duration) {
        let _ = self.orders.0.send(Order::Crash(time));
    }

    pub(super) fn cut_off(&self, time: Duration) {
        let _ = self.orders.0.send(Order::Cut(time));
    }

    pub(super) fn lose_keepalives(&self, time: Duration) {
        let _ = self.orders.0.send(Order::Deaf(time));
    }

    /// Whether a callback of this master is running.
    pub(super) fn is_running(&self) -> bool {
        let up = self.up();
        up.as_ref().is_some_and(|up| up.running.lock().unwrap_or_else(PoisonError::into_inner).is_some())
    }

    pub(super) fn heal(&self) {
        self.link.cut.store(false, Ordering::Relaxed);
        self.deaf.store(false, Ordering::Relaxed);
    }

    /// Receives a keepalive. False, or no response: it was not accepted.
    pub(super) async fn receive(&self, keepalive: Keepalive) -> bool {
        let registry = self.up().as_ref().map(|up| Arc::clone(&up.registry));
        let lost = !self.world.is_calm() && self.chance.once_in(15);
        let Some(registry) = registry.filter(|_| !lost && !self.deaf.load(Ordering::Relaxed)) else {
            return false;
        };
        registry.report(&keepalive).await.is_ok()
    }

    /// The members on its list, and the digest.
    pub(super) fn list(&self) -> (BTreeSet<String>, Arc<str>) {
        let up = self.up();
        let Some(up) = up.as_ref() else { return (BTreeSet::new(), "down".into()) };
        let mut roster = up.registry.roster();
        (roster.members().map(|member| member.id.clone()).collect(), roster.digest())
    }

    /// The time of this master's clock.
    fn boot_now(&self) -> BootInstant {
        let elapsed = self.epoch.elapsed() * u32::try_from(self.clock).unwrap_or(1000) / 1000;
        BootInstant(EPOCH) + elapsed
    }

    /// Sleeps until a time of that clock.
    async fn sleep_until(&self, due: BootInstant) {
        let local = self.boot_now().until(due);
        sleep(local * 1000 / u32::try_from(self.clock).unwrap_or(1000) + Duration::from_nanos(1)).await;
    }

    pub(super) async fn live(self: Arc<Self>) {
        let mut ordered = self.orders.1.lock().await;
        loop {
            self.start();
            loop {
                match ordered.recv().await {
                    Some(Order::Crash(time)) => {
                        self.stop();
                        sleep(time).await;
                        break;
                    }
                    Some(Order::Cut(time)) => self.for_a_while(time, |it| &it.link.cut),
                    Some(Order::Deaf(time)) => self.for_a_while(time, |it| &it.deaf),
                    None => return,
                }
            }
        }
    }

    fn for_a_while(self: &Arc<Self>, time: Duration, what: fn(&Self) -> &AtomicBool) {
        what(self).store(true, Ordering::Relaxed);
        let this = Arc::clone(self);
        tokio::spawn(async move {
            sleep(time).await;
            what(&this).store(false, Ordering::Relaxed);
        });
    }

    fn start(self: &Arc<Self>) {
        let store = Arc::clone(&self.link) as Arc<dyn Store>;
        let registry = Arc::new(Registry::new(Arc::clone(&store), PREFIX, TTL));
        let (running, guarded) = (Arc::default(), Arc::default());
        let (one, other) = (Arc::clone(&registry), Arc::clone(&registry));
        let driver = Driver {
            place: Arc::clone(self),
            registry: Arc::clone(&registry),
            locks: Locks::new(Arc::clone(&store), PREFIX).with_traces(&format!("{PREFIX}last/")),
            states: States::new(store, PREFIX),
            leader: Leader::new(TIMES),
            began: Instant::now(),
            news: mpsc::unbounded_channel(),
            term: None,
            newest: 0,
            running: Arc::clone(&running),
            guarded: Arc::clone(&guarded),
        };
        let tasks = vec![
            tokio::spawn(async move { one.follow().await }).abort_handle(),
            tokio::spawn(async move { other.register().await }).abort_handle(),
            tokio::spawn(driver.live()).abort_handle(),
        ];
        *self.up() = Some(Up { registry, tasks, running, guarded });
    }

    /// Kills the master. Its callback runs until the guard kills it.
    fn stop(self: &Arc<Self>) {
        let Some(up) = self.up().take() else { return };
        up.tasks.iter().for_each(AbortHandle::abort);
        let running = up.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { fence, task }) = running else { return };
        task.abort();
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let mut guarded = std::mem::take(&mut *up.guarded.lock().unwrap_or_else(PoisonError::into_inner));
            guarded.orphan();
            while let Some(deadline) = guarded.deadline() {
                this.sleep_until(deadline).await;
                for (run, _) in guarded.due(this.boot_now()) {
                    this.world.end(this.number, fence, false);
                    guarded.disarm(run);
                }
            }
        });
    }
}

/// The driver of the real leader.
struct Driver {
    place: Arc<Place>,
    registry: Arc<Registry>,
    locks: Locks,
    states: States,
    leader: Leader,
    began: Instant,
    news: (mpsc::UnboundedSender<News>, mpsc::UnboundedReceiver<News>),
    term: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    newest: u64,
    running: Arc<Mutex<Option<Running>>>,
    guarded: Arc<Mutex<GuardedRuns>>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.term {
            task.abort();
        }
    }
}

impl Driver {
    async fn live(mut self) {
        let mut changes = self.registry.changes();
        self.campaign();
        loop {
            let due = self.leader.deadline().map(|due| self.began + due);
            let woken = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let now = |began: Instant| began.elapsed();
            let effect = tokio::select! {
                biased;
                Some(news) = self.news.1.recv() => {
                    let now = now(self.began);
                    match news {
                        News::Won(term, fence) => Some(self.leader.won(term, fence)),
                        News::Lost(term) => self.leader.lost(term),
                        News::Loaded(term, state) => {
                            self.leader.loaded(term, state, now);
                            None
                        }
                        News::DigestCleared(run, well) => self.leader.digest_cleared(run, well, now),
                        News::Ended(run, well) => self.leader.ended(run, well, now),
                        News::Saved(run, written) => self.leader.saved(run, written, now),
                    }
                }
                Ok(()) = changes.changed() => {
                    self.leader.changed(now(self.began));
                    None
                }
                () = woken => {
                    let registry = Arc::clone(&self.registry);
                    self.leader.tick(now(self.began), || registry.roster().digest(), |digest| {
                        let roster = registry.roster();
                        let list = roster.registered().map(|known| (known.member.id.clone(), Arc::clone(&known.text)));
                        ListSnapshot { digest, list: list.collect(), pods: roster.json() }
                    })
                }
            };
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Option<Effect>) {
        let news = self.news.0.clone();
        let states = self.states.clone();
        match effect {
            None => {}
            Some(Effect::Load(term)) => {
                let registry = Arc::clone(&self.registry);
                tokio::spawn(async move {
                    registry.wait_listed().await;
                    loop {
                        if let Ok(state) = states.load().await {
                            let _ = news.send(News::Loaded(term, state));
                            return;
                        }
                        sleep(Duration::from_millis(500)).await;
                    }
                });
            }
            Some(Effect::ClearDigest(run, state)) => {
                tokio::spawn(async move {
                    let well = saved(&states, &state, &news).await;
                    let _ = news.send(News::DigestCleared(run, well));
                });
            }
            Some(Effect::Save(run, state)) => {
                tokio::spawn(async move {
                    let well = saved(&states, &state, &news).await;
                    let _ = news.send(News::Saved(run, well.then_some(state)));
                });
            }
            Some(Effect::Start(run, input)) => self.start(run, &input),
            Some(Effect::Kill(run)) => {
                let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(Running { fence, task }) = running {
                    task.abort();
                    self.place.world.end(self.place.number, fence, false);
                    let _ = news.send(News::Ended(run, None));
                }
            }
            Some(Effect::TermEnded(_)) => {
                if let Some((resign, _)) = self.term.take() {
                    let _ = resign.send(());
                }
                self.campaign();
            }
        }
    }

    /// Simulates the callback, which takes a while and sometimes fails.
    fn start(&mut self, run: Run, input: &CallbackInput) {
        let place = Arc::clone(&self.place);
        let (fence, number) = (input.fence, place.number);
        let started = place.world.start(number, fence, Arc::clone(&input.seen.digest));
        let (news, running) = (self.news.0.clone(), Arc::clone(&self.running));
        let most = if place.chance.once_in(5) { 30_000 } else { 4_000 };
        let takes = place.chance.between(10, most);
        let well = place.world.callbacks_succeed() || !place.chance.once_in(4);
        let task = tokio::spawn(async move {
            sleep(takes).await;
            running.lock().unwrap_or_else(PoisonError::into_inner).take();
            place.world.end(number, fence, well);
            let _ = news.send(News::Ended(run, well.then(|| Value::from(started))));
        });
        let running = Running { fence, task: task.abort_handle() };
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    fn campaign(&mut self) {
        self.newest += 1;
        let (resign, resigned) = oneshot::channel();
        let hold = LeaderLease {
            place: Arc::clone(&self.place),
            locks: self.locks.clone(),
            term: Term(self.newest),
            news: self.news.0.clone(),
            guarded: Arc::clone(&self.guarded),
        };
        self.term = Some((resign, tokio::spawn(hold.hold(resigned))));
    }
}

async fn saved(states: &States, state: &State, news: &mpsc::UnboundedSender<News>) -> bool {
    loop {
        match states.save(state).await {
            Ok(well) => return well,
            Err(error) if !error.is_retryable() => return false,
            Err(_) => sleep(Duration::from_millis(500)).await,
        }
        if news.is_closed() {
            return false;
        }
    }
}

/// Drives the holder of the leadership's lease, with the clock of this master.
struct LeaderLease {
    place: Arc<Place>,
    locks: Locks,
    term: Term,
    news: mpsc::UnboundedSender<News>,
    guarded: Arc<Mutex<GuardedRuns>>,
}

type Request = Pin<Box<dyn Future<Output = LeaseEvent> + Send>>;

impl LeaderLease {
    async fn hold(self, mut resigned: oneshot::Receiver<()>) {
        let mut holder = LeaseHolder::new("the leadership", FAIL_OVER, self.place.boot_now());
        let mut in_flight: Option<Request> = None;
        let mut is_resigned = false;
        let mut events = VecDeque::from([LeaseEvent::TimerFired]);
        loop {
            let mut effects = Vec::new();
            while let Some(event) = events.pop_front() {
                holder.handle(self.place.boot_now(), event, &mut effects);
                for effect in effects.drain(..) {
                    match effect {
                        LeaseEffect::CheckGuard => events.push_back(LeaseEvent::Guard(true)),
                        LeaseEffect::Cancel => in_flight = None,
                        LeaseEffect::ArmGuard(until) => self.guarded().arm(RunId(self.term.0), until),
                        LeaseEffect::DisarmGuard => self.guarded().disarm(RunId(self.term.0)),
                        LeaseEffect::Warn(_) | LeaseEffect::Report(LeaseNotice::Waiting(_)) => {}
                        LeaseEffect::Report(LeaseNotice::Held(fence)) => {
                            let _ = self.news.send(News::Won(self.term, fence));
                        }
                        LeaseEffect::Report(LeaseNotice::Lost { .. }) => {
                            let _ = self.news.send(News::Lost(self.term));
                        }
                        LeaseEffect::Acquire { wait } => in_flight = Some(acquire(self.locks.clone(), wait)),
                        LeaseEffect::KeepAlive { id } => in_flight = Some(keep_alive(self.locks.clone(), id)),
                        LeaseEffect::Release { id } => in_flight = Some(release(self.locks.clone(), id)),
                    }
                }
            }
            if holder.is_finished() {
                return;
            }
            let answer = async {
                match &mut in_flight {
                    Some(request) => request.await,
                    None => std::future::pending().await,
                }
            };
            let timer = async {
                match holder.deadline() {
                    Some(due) => self.place.sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                biased;
                _ = &mut resigned, if !is_resigned => {
                    is_resigned = true;
                    LeaseEvent::Resigned
                }
                event = answer => {
                    in_flight = None;
                    event
                }
                () = timer => LeaseEvent::TimerFired,
            };
            events.push_back(event);
        }
    }

    fn guarded(&self) -> MutexGuard<'_, GuardedRuns> {
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn acquire(locks: Locks, wait: Duration) -> Request {
    Box::pin(async move {
        match locks.acquire(LEADER, &Holder::default(), FAIL_OVER, Instant::now() + wait).await {
            Ok(Acquired::Held { lease, fence, .. }) => {
                LeaseEvent::Granted { id: lease.0.to_string(), fence: fence.0 }
            }
            Ok(_) => LeaseEvent::InUse { holder: "another master".to_owned() },
            Err(error) => LeaseEvent::Failed(error.to_string()),
        }
    })
}

fn keep_alive(locks: Locks, id: String) -> Request {
    Box::pin(async move {
        match locks.keep_alive(lease_of(&id)).await {
            Ok(_) => LeaseEvent::KeptAlive,
            Err(StoreError::LeaseGone(_)) => LeaseEvent::LeaseGone,
            Err(error) => LeaseEvent::Failed(error.to_string()),
        }
    })
}

fn release(locks: Locks, id: String) -> Request {
    Box::pin(async move {
        match locks.release(lease_of(&id)).await {
            Ok(_) => LeaseEvent::Released,
            Err(error) => LeaseEvent::Failed(error.to_string()),
        }
    })
}

fn lease_of(id: &str) -> LeaseId {
    LeaseId(id.parse().unwrap_or_default())
}
