//! All together: what happens to the list, the leadership and the callback, one after the other.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::{Reach, RunId, Signal};
use ensemble::Store;
use ensemble::callbacks::{Callbacks, Effect, Run, Times};
use ensemble::lock::{Holder, Locks};
use ensemble::member::{Keepalive, key_of};
use ensemble::registry::Registry;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::callback::{self, Files, Printed};
use super::leadership::Leadership;
use super::plan::{EnsemblePlan, MasterPlan, MemberPlan};
use super::reporter::{self, Targets};
use super::routes::{Counters, Shown, Table};
use super::state::{State, States};
use crate::clock::rfc3339_millis;
use crate::driver::start_guard;
use crate::hub::{Change, Hub};
use crate::lock::guard::Guard;
use crate::lock::holder::{Told, Wanted, hold};
use crate::notify::Notify;
use crate::probe::{Asked, Group};
use crate::process::group::{Groups, MARK, ToRun};
use crate::process::reap;
use crate::process::signals::SignalStream;
use crate::process::spawn::spawn;

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
/// The pause before the store is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// All that a driver is made of.
pub struct Parts {
    /// What to do.
    pub plan: EnsemblePlan,
    /// Where the list is, where we are a master.
    pub store: Option<Arc<dyn Store>>,
    /// What whoever wants a command run has to show.
    pub token: Option<Arc<str>>,
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
    signals: SignalStream,
    notify: Notify,
    hub: Arc<Hub>,
    groups: Groups,
    guard: Guard,
    guard_ended: Option<oneshot::Receiver<engine::Exit>>,
    asked: mpsc::UnboundedReceiver<Asked>,
    down: mpsc::UnboundedReceiver<()>,
    table: Table,
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
    callbacks: Callbacks,
    changes: watch::Receiver<u64>,
    news: (mpsc::UnboundedSender<News>, mpsc::UnboundedReceiver<News>),
    tenure: (mpsc::UnboundedSender<OfTerm>, mpsc::UnboundedReceiver<OfTerm>),
    term: Option<Term>,
    state: State,
    /// A run for a list that begins when the store has forgotten what was seen before it.
    begins: Option<(Run, Begin)>,
    /// The list that the last callback of ours saw, for the next one's changes.
    last_list: List,
    running: Option<Running>,
}

/// A time of leadership, or of wanting it.
struct Term {
    run: RunId,
    resign: oneshot::Sender<()>,
    task: JoinHandle<()>,
    fence: Option<u64>,
    /// It is not ours any more; nothing of the callback may be left before another begins.
    lost: bool,
}

/// A callback that was started.
struct Running {
    run: Run,
    term: RunId,
    digest: Arc<str>,
    list: List,
    began: Timestamp,
    printed: Option<Printed>,
    _files: Files,
    until: Instant,
    exit: Option<engine::Exit>,
    late: bool,
}

/// What there is to tell of a time of leadership.
type OfTerm = (RunId, Told);

/// Names, and what each has told.
type List = Vec<(String, Arc<str>)>;

/// What a callback is told of the list.
struct Begin {
    digest: Arc<str>,
    list: List,
    pods: String,
}

/// What tasks of ours tell.
enum News {
    /// What the store has of before our leadership.
    Loaded(RunId, State),
    /// The store has forgotten what was seen before this run.
    Begins(Run, State),
    /// What has become of a run: whether it ended well, and what is kept then.
    Ended(Run, Result<State, String>),
}

impl Driver {
    /// A driver that has not begun, and what its server answers with.
    #[must_use]
    pub fn new(parts: Parts) -> (Self, Table) {
        reap::adopt_orphans();
        let Parts { plan, store, token, signals, notify, hub } = parts;
        let (runner, asked) = mpsc::unbounded_channel();
        let (down_to, down) = mpsc::unbounded_channel();
        let counters = Arc::new(Counters::new(plan.statsd));
        let prefix = plan.prefix();
        let master = plan.master.clone().zip(store).map(|(master, store)| {
            let registry = Arc::new(Registry::new(Arc::clone(&store), &prefix, master.ttl));
            let times = Times { damper: master.damper, bound: master.damper * BOUND, retry: RETRY };
            Master {
                changes: registry.changes(),
                registry,
                locks: Locks::new(Arc::clone(&store), &prefix).with_traces(&format!("{prefix}last/")),
                states: States::new(store, &prefix),
                callbacks: Callbacks::new(times),
                news: mpsc::unbounded_channel(),
                tenure: mpsc::unbounded_channel(),
                term: None,
                state: State::default(),
                begins: None,
                last_list: Vec::new(),
                running: None,
                plan: master,
            }
        });
        let table = Table {
            id: plan.id.clone(),
            app: plan.app.clone(),
            registry: master.as_ref().map(|master| Arc::clone(&master.registry)),
            shown: Arc::new(Mutex::new(Shown { why: "it has not begun".to_owned(), ..Shown::default() })),
            counters,
            runner,
            token,
            open: plan.unauthenticated_invoke,
            down: down_to,
        };
        let driver = Self {
            plan,
            signals,
            notify,
            hub,
            groups: Groups::new(false),
            guard: Guard::default(),
            guard_ended: None,
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
        let (goodbye, reporting) = match self.plan.member.clone() {
            Some(member) => {
                let (goodbye, task) = self.begin_to_report(member);
                (Some(goodbye), Some(task))
            }
            None => (None, None),
        };
        if self.master.as_ref().is_some_and(|master| master.plan.callback.is_some()) {
            callback::sweep();
        }
        self.campaign();
        self.notify.ready("in the ensemble");
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
                Some(asked) = self.asked.recv() => self.start_helper(asked),
                happened = happened(&mut self.master) => self.happened(happened),
                () = ended(&mut self.guard_ended) => {
                    self.guard.fell();
                    self.stand_guard();
                }
                () = until(due) => self.woke(),
            }
        }
        self.notify.stopping("told to end");
        let end = async {
            if let (Some(goodbye), Some(task)) = (goodbye, reporting) {
                // It may have ended by itself.
                let _ = goodbye.send(());
                let _ = task.await;
            }
        };
        let _ = timeout(LAST_WORDS, end).await;
        self.give_up().await?;
        for task in beside {
            task.abort();
        }
        Ok(0)
    }

    fn begin_to_report(&self, member: MemberPlan) -> (oneshot::Sender<()>, JoinHandle<()>) {
        let keepalive = Keepalive {
            app: self.plan.app.clone(),
            id: self.plan.id.clone(),
            key: member.ip.parse().map(key_of).unwrap_or_default(),
            ip: member.ip,
            nonce: nonce(),
            payload: Value::Null,
            role: member.role,
            down: false,
        };
        let own = self.master.as_ref().map(|master| Arc::clone(&master.registry));
        let targets = Targets { masters: member.masters, own };
        let (goodbye, said) = oneshot::channel();
        let counters = Arc::clone(&self.table.counters);
        let task =
            tokio::spawn(reporter::report(keepalive, targets, member.payload, member.every, counters, said));
        (goodbye, task)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn due(&self) -> Option<Instant> {
        let master = self.master.as_ref()?;
        let callback = master.callbacks.deadline().map(|at| self.began + at);
        let late =
            master.running.as_ref().filter(|running| running.exit.is_none()).map(|running| running.until);
        let leftovers = self.groups.any_leftovers().then(|| Instant::now() + LOOK_AGAIN);
        callback.into_iter().chain(late).chain(leftovers).min()
    }

    // === leadership ===

    /// Wants to lead, if there is something to run.
    fn campaign(&mut self) {
        let Some(master) = &mut self.master else { return };
        if master.term.is_some() || master.plan.callback.is_none() {
            return;
        }
        self.newest_term += 1;
        let run = RunId(self.newest_term);
        let grantor = Leadership {
            locks: master.locks.clone(),
            holder: Holder {
                value: self.plan.id.clone(),
                timestamp: Some(rfc3339_millis(Timestamp::now())),
                ..Holder::default()
            },
        };
        let wanted = Wanted { name: "the leadership".to_owned(), ttl: master.plan.fail_over };
        let (resign, resigned) = oneshot::channel();
        let task =
            tokio::spawn(hold(run, wanted, grantor, self.guard.clone(), master.tenure.0.clone(), resigned));
        master.term = Some(Term { run, resign, task, fence: None, lost: false });
        self.stand_guard();
    }

    fn stand_guard(&mut self) {
        if !self.guard.is_standing() {
            match start_guard(&self.guard, &mut self.groups) {
                Ok(ended) => self.guard_ended = Some(ended),
                Err(why) => log::error!("callbacks have no guard: {why}"),
            }
        }
    }

    fn happened(&mut self, happened: Happened) {
        match happened {
            Happened::Changed => self.changed(),
            Happened::Tenure(run, told) => self.tenure(run, told),
            Happened::News(News::Loaded(run, state)) => self.loaded(run, state),
            Happened::News(News::Begins(run, state)) => self.begins(run, state),
            Happened::News(News::Ended(run, result)) => self.callback_ended(run, result),
        }
    }

    fn changed(&mut self) {
        let now = self.now();
        let Some(master) = &mut self.master else { return };
        self.table.counters.md5_changed();
        master.callbacks.changed(now);
        let pods = master.registry.roster().len();
        self.tell("changed", &format!("the list has changed: {pods} pods"));
    }

    fn tenure(&mut self, run: RunId, told: Told) {
        let Some(master) = &mut self.master else { return };
        let Some(term) = master.term.as_mut().filter(|term| term.run == run) else { return };
        match told {
            Told::Waits(why) => self.table.shown().why = why,
            Told::Won(fence) => {
                term.fence = Some(fence);
                self.table.counters.lock_obtained();
                {
                    let mut shown = self.table.shown();
                    (shown.fence, shown.why) = (Some(fence), String::new());
                }
                // What the last callback saw, by whoever ran it.
                let (states, news) = (master.states.clone(), master.news.0.clone());
                let registry = Arc::clone(&master.registry);
                tokio::spawn(async move {
                    // No callback is told of half a list.
                    registry.is_listed().await;
                    loop {
                        match states.load().await {
                            Ok(state) => break drop(news.send(News::Loaded(run, state))),
                            Err(error) => log::warn!("the state is not there yet: {error}"),
                        }
                        sleep(PAUSE).await;
                    }
                });
                self.tell("leads", &format!("we lead, with number {fence}"));
            }
            Told::Lost { why, .. } => {
                term.lost = true;
                let effect = master.callbacks.lost();
                {
                    let mut shown = self.table.shown();
                    (shown.fence, shown.why) = (None, why.clone());
                }
                if let Some(Effect::Kill(_)) = effect {
                    self.kill();
                }
                self.tell("deposed", &format!("we do not lead any more: {why}"));
                self.resign_if_clear();
            }
        }
    }

    fn loaded(&mut self, run: RunId, state: State) {
        let now = self.now();
        let Some(master) = &mut self.master else { return };
        if master.term.as_ref().is_none_or(|term| term.run != run || term.lost) {
            return;
        }
        master.callbacks.won(state.digest.as_deref().map(Into::into), now);
        self.table.shown().state = state.state.clone();
        master.state = state;
    }

    /// Another may lead when nothing of our callback is left.
    fn resign_if_clear(&mut self) {
        let Some(master) = &mut self.master else { return };
        if master.running.is_none() && master.term.as_ref().is_some_and(|term| term.lost) {
            if let Some(term) = master.term.take() {
                // The task has ended: there is nothing to give back.
                let _ = term.resign.send(());
            }
            self.campaign();
        }
    }

    /// At our end: the callback first, then the leadership.
    async fn give_up(&mut self) -> io::Result<()> {
        self.kill();
        let until = Instant::now() + LAST_WORDS;
        while self.master.as_ref().is_some_and(|master| master.running.is_some()) && Instant::now() < until {
            tokio::select! {
                signals = self.signals.next() => drop(signals?),
                () = sleep(LOOK_AGAIN) => {}
            }
            self.reap();
        }
        self.groups.kill_helpers();
        let Some(master) = &mut self.master else { return Ok(()) };
        let Some(term) = master.term.take() else { return Ok(()) };
        if master.running.is_some() {
            log::error!("the callback cannot be killed; the leadership is not given back, and lapses");
            term.task.abort();
        } else {
            let _ = term.resign.send(());
            let _ = timeout(LAST_WORDS, term.task).await;
        }
        Ok(())
    }

    // === the callback ===

    fn woke(&mut self) {
        self.reap();
        let (now, instant) = (self.now(), Instant::now());
        let Some(master) = &mut self.master else { return };
        if let Some(running) = &mut master.running
            && running.exit.is_none()
            && running.until <= instant
        {
            running.late = true;
            // It is looked at again when it has ended.
            running.until = instant + LAST_WORDS;
            log::warn!("the callback took longer than {:?}, and is killed", master.plan.callback_deadline);
            self.groups.signal(running.term, Signal::KILL, Reach::Everything);
            self.groups.signal_strays();
            return;
        }
        let registry = Arc::clone(&master.registry);
        if let Some(Effect::Start(run, digest)) = master.callbacks.woke(now, || registry.roster().digest()) {
            self.prepare(run, digest);
        }
    }

    /// Before a run the store forgets what was seen: if we are gone before it has ended, another runs it anew. That is
    /// written only as long as we lead.
    fn prepare(&mut self, run: Run, digest: Arc<str>) {
        let Some(master) = &mut self.master else { return };
        let Some(fence) = master.term.as_ref().and_then(|term| term.fence) else { return };
        let (list, pods) = {
            let roster = master.registry.roster();
            let list: Vec<_> =
                roster.known().map(|known| (known.member.id.clone(), Arc::clone(&known.text))).collect();
            (list, roster.json())
        };
        master.begins = Some((run, Begin { digest, list, pods }));
        let state = State { digest: None, fence, ..master.state.clone() };
        let (states, news) = (master.states.clone(), master.news.0.clone());
        tokio::spawn(async move {
            let told = match states.save_patiently(&state, || news.is_closed()).await {
                Ok(()) => News::Begins(run, state),
                Err(why) => News::Ended(run, Err(why)),
            };
            // Nobody there any more: nobody wants to know.
            let _ = news.send(told);
        });
    }

    fn begins(&mut self, run: Run, state: State) {
        let Some(master) = &mut self.master else { return };
        let Some((_, begin)) = master.begins.take_if(|(begins, _)| *begins == run) else { return };
        if master.callbacks.running() != Some(run) {
            return;
        }
        master.state = state;
        self.start(run, begin);
    }

    fn start(&mut self, run: Run, begin: Begin) {
        let Some(master) = &mut self.master else { return };
        let (Some(term), Some(words)) = (&master.term, &master.plan.callback) else { return };
        let Begin { digest, list, pods } = begin;
        let told = callback::Told {
            fence: term.fence.unwrap_or(0),
            digest: Arc::clone(&digest),
            pods,
            state: master.state.state.clone(),
            changes: callback::changes(&master.last_list, &list),
        };
        let term_run = term.run;
        let made = callback::program(words, &told).and_then(|made| Ok((made, callback::start()?)));
        let started = match made {
            Ok(((program, files), (mut start, printed))) => {
                start.variables.push((MARK, Groups::mark(term_run).into()));
                spawn(&program, start).map(|pid| (pid, files, printed)).map_err(|error| error.message)
            }
            Err(error) => Err(crate::words::describe(&error)),
        };
        self.table.counters.callback_invoked();
        match started {
            Ok((pid, files, printed)) => {
                self.groups.enter(term_run, pid, None);
                self.guard.group(term_run, pid);
                master.running = Some(Running {
                    run,
                    term: term_run,
                    digest,
                    list,
                    began: Timestamp::now(),
                    printed: Some(printed),
                    _files: files,
                    until: Instant::now() + master.plan.callback_deadline,
                    exit: None,
                    late: false,
                });
            }
            Err(why) => {
                log::error!("the callback is not started: {why}");
                self.table.counters.callback_failed();
                let now = self.began.elapsed();
                master.callbacks.ended(run, false, now);
            }
        }
    }

    fn kill(&mut self) {
        if let Some(running) = self.master.as_ref().and_then(|master| master.running.as_ref()) {
            self.groups.signal(running.term, Signal::KILL, Reach::Everything);
            self.groups.signal_strays();
        }
    }

    fn reap(&mut self) {
        for happened in self.groups.reap() {
            let Some(master) = &mut self.master else { continue };
            let Some(running) = master.running.as_mut().filter(|running| running.term == happened.run) else {
                continue;
            };
            match happened.what {
                ToRun::Exited { exit, leftovers, .. } => {
                    running.exit = Some(exit);
                    if leftovers {
                        // What it has left behind goes with it.
                        self.groups.signal(happened.run, Signal::KILL, Reach::Everything);
                        self.groups.signal_strays();
                    } else {
                        self.cleared();
                    }
                }
                ToRun::Cleared => self.cleared(),
                ToRun::Suspended(_) | ToRun::Resumed => {}
            }
        }
    }

    /// Nothing of the callback is there any more.
    fn cleared(&mut self) {
        let Some(master) = &mut self.master else { return };
        let Some(mut running) = master.running.take() else { return };
        let exit = running.exit.unwrap_or(engine::Exit::Code(0));
        let well = exit.shell_code() == 0 && !running.late;
        let shown = json!({
            "at": rfc3339_millis(running.began),
            "digest": *running.digest,
            "fence": master.term.as_ref().and_then(|term| term.fence),
            "pods": running.list.len(),
            "exit": exit.to_string(),
        });
        {
            let mut all = self.table.shown();
            all.callbacks.push(shown);
            let over = all.callbacks.len().saturating_sub(REMEMBERED);
            all.callbacks.drain(..over);
        }
        let lost = master.term.as_ref().is_none_or(|term| term.lost);
        let fence = master.term.as_ref().and_then(|term| term.fence).unwrap_or(0);
        let (run, news) = (running.run, master.news.0.clone());
        if lost || !well {
            if !lost {
                log::warn!("the callback has ended with {exit}");
                self.table.counters.callback_failed();
            }
            let why = format!("it ended with {exit}");
            // Nobody there any more: nobody wants to know.
            let _ = news.send(News::Ended(run, Err(why)));
            return self.resign_if_clear();
        }
        master.last_list = std::mem::take(&mut running.list);
        let (states, before, digest) =
            (master.states.clone(), master.state.clone(), Arc::clone(&running.digest));
        let (printed, counters) = (running.printed.take(), Arc::clone(&self.table.counters));
        tokio::spawn(async move {
            let printed = match printed {
                Some(printed) => timeout(LAST_WORDS, printed.finish()).await.unwrap_or_default(),
                None => Vec::new(),
            };
            let (mut state, mut fault) = callback::kept(&before, &printed, &digest, fence);
            let over = || news.is_closed();
            let mut saved = states.save_patiently(&state, over).await;
            if let Err(why) = &saved
                && state.state != before.state
            {
                fault = Some(why.clone());
                state.state = before.state;
                saved = states.save_patiently(&state, over).await;
            }
            if let Some(fault) = fault {
                log::warn!("the callback's state stays as it was: {fault}");
                counters.callback_failed();
            }
            let _ = news.send(News::Ended(run, saved.map(|()| state)));
        });
    }

    fn callback_ended(&mut self, run: Run, result: Result<State, String>) {
        let now = self.now();
        let Some(master) = &mut self.master else { return };
        let well = match result {
            Ok(state) => {
                self.table.shown().state = state.state.clone();
                master.state = state;
                true
            }
            Err(why) => {
                log::debug!("the callback's run does not count: {why}");
                false
            }
        };
        master.callbacks.ended(run, well, now);
        self.tell("callback", if well { "the callback has ended well" } else { "the callback has failed" });
    }

    // === others ===

    fn start_helper(&mut self, asked: Asked) {
        let Asked { program, start, started } = asked;
        match spawn(&program, start) {
            Ok(pid) => {
                let (told, ended) = oneshot::channel();
                self.groups.enter_helper(pid, told);
                // If nobody waits for it any more, it is killed with this.
                drop(started.send(Ok(Group { pid, ended })));
            }
            Err(error) => drop(started.send(Err(error.message))),
        }
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
    Tenure(RunId, Told),
    News(News),
}

async fn happened(master: &mut Option<Master>) -> Happened {
    let Some(master) = master else { return std::future::pending().await };
    tokio::select! {
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
    use std::hash::{BuildHasher as _, RandomState};
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// What is shown before anything has happened.
#[must_use]
pub fn first_view() -> crate::view::View {
    let health = crate::view::Health::watched(true, true, "in the ensemble");
    crate::view::View {
        generation: 0,
        mode: "ensemble",
        processes: Vec::new(),
        health,
        ending: None,
        over: false,
    }
}
