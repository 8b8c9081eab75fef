//! The driver: facts to the engine, effects to the system.
//!
//! ```text
//! signals, children, time, ──Event──► Pod::step ──Effect──► spawn, signal, probe, hook
//! results, requests   ▲                   │
//!                     └── what came of ───┴── then: publish to the hub, tell the service manager
//! ```
//!
//! * `effects`: what the engine wants is done
//! * `shown`: what others may see
//! * `tenures`: what only one can hold, for those who run only while it is ours
//! * `requests`: what somebody wants while we run
//!
//! One task does it all, one event after the other. A child is started and entered into the books before
//! any other is reaped; its output is read before its end is told.

mod effects;
mod requests;
mod shown;
mod tenures;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::pod::Seed;
use engine::{
    AttemptId, Effect, Event, Exit, JobId, Outcome, Pod, PodPhase, RequestId, RunId, Signal, SignalScope,
};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use requests::in_words;
use tenures::Tenures;
pub use tenures::{ORDERS, start_guard};

use crate::automaton;
use crate::config::up::{Beside, ProcessPlan, Source, UpPlan};
use crate::control::{Command, ControlError, Reply};
use crate::journal::Journal;
use crate::locks::LockPlan;
use crate::logs::capture::Outputs;
use crate::probes::{ProbeConnections, SpawnRequest};
use crate::status::hub::{Change, Hub};
use crate::status::{ProcessInfo, ProcessView, View};
use crate::tombstones::external_peers::tell_to_quit;
use crate::tombstones::{Cast, Graveyard};
use linux::cgroup::Cgroups;
use linux::clock::Clock;
use linux::notify::Notify;
use linux::notify_listener::NotifyDatagram;
use linux::process_table::{ProcessTable, ReapedEvent, RunEvent};
use linux::reap;
use linux::resource_usage;
use linux::signals::SignalStream;
use linux::terminal;
use linux::terminal::{AfterSuspension, Terminal};
use spec::environment::Real;
use spec::logs::{OutputPlan, StreamPlan};
use spec::probe::Action;
use spec::program::Pid;
use spec::program::Program;

/// Where something of a run is left and nobody may tell us of its end (it is not our child): how soon we
/// look again, at first and at most.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// How often the memory of processes with a limit is looked at, where no control group does it.
const LOOK_AT_MEMORY: Duration = Duration::from_millis(500);
/// How many restarts of a process are remembered.
const RESTARTS_KEPT: usize = 256;
/// How many lines of the culprit are put into the last word.
const LAST_LINES: usize = 40;
/// How many messages of processes about themselves wait for us; who sends more waits too.
const SAID_AT_ONCE: usize = 64;
/// How long starting processes may take before others have their turn.
const STARTS_AT_ONCE: Duration = Duration::from_millis(2);
/// The exit code when somebody who has to be told to end could not be.
const NOT_TOLD: i32 = 1;

/// Looks after one pod until it has ended.
pub struct Driver {
    pod: Pod,
    mode: &'static str,
    clock: Clock,
    signals: SignalStream,
    groups: ProcessTable,
    /// Dropped behind the groups, each of which is in it.
    cgroups: Option<Cgroups>,
    jobs: BTreeMap<JobId, Job>,
    outputs: Outputs,
    terminal: Option<Terminal>,
    journal: Option<Journal>,
    notify: Notify,
    hub: Arc<Hub>,
    many: Option<Many>,
    graveyard: Option<Graveyard>,
    /// What is known of peers before we begin.
    first_news: Vec<(String, engine::PeerStatus)>,
    /// Events that the effects of an event have made.
    events: VecDeque<Event>,
    views: BTreeMap<JobId, Arc<ProcessView>>,
    /// What was published last.
    published: (u64, PodPhase),
    /// Who has said something since.
    shown_anew: BTreeSet<JobId>,
    /// Processes that are to be started.
    starts: VecDeque<(JobId, RunId)>,
    /// The readiness file is there; None: we do not know.
    readiness_file: Option<bool>,
    /// Why the readiness file cannot be kept, as told last.
    readiness_trouble: Option<io::ErrorKind>,
    tasks: BTreeMap<AttemptId, AbortHandle>,
    tenures: Tenures,
    ears: BTreeMap<RunId, AbortHandle>,
    inbox: Inbox,
    requests: BTreeMap<RequestId, Reply<Outcome>>,
    /// Answers that go out when what they tell of has been published.
    replies: Vec<(Reply<Outcome>, Result<Outcome, ControlError>)>,
    next_request: u64,
    look_again: Option<(Instant, Duration)>,
    look_at_memory: Option<Instant>,
    /// We were sent a signal that suspends, and no CONT since.
    suspending: bool,
    end: Option<(i32, Option<JobId>)>,
}

/// What comes in from tasks of our own.
struct Inbox {
    results: (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
    asked: (mpsc::UnboundedSender<SpawnRequest>, mpsc::UnboundedReceiver<SpawnRequest>),
    said: (mpsc::Sender<NotifyDatagram>, mpsc::Receiver<NotifyDatagram>),
    /// Runs that use more memory than they may: how much, and how much they may.
    measured: (mpsc::UnboundedSender<Measured>, mpsc::UnboundedReceiver<Measured>),
    /// Nobody sends, where there is no control socket.
    commands: mpsc::Receiver<Command>,
}

/// Runs that use more memory than they may: how much, and how much they may, in bytes.
type Measured = Vec<(RunId, u64, u64)>;

/// What we know of a process beside its place in the plan.
struct Job {
    constants: ProcessInfo,
    program: Program,
    plan: Option<ProcessPlan>,
    lock: Option<LockPlan>,
    /// What its probes keep.
    kept: [ProbeConnections; 3],
    hooks: [Option<Arc<Action>>; 2],
    watchdog: Option<Duration>,
    /// When it was restarted.
    restarts: VecDeque<Instant>,
    started: Instant,
    heart_beat: Option<Instant>,
    /// What it says about itself.
    said: Option<String>,
}

/// What concerns many processes and not one.
#[derive(Debug)]
pub struct Many {
    /// Where the plan comes from.
    pub source: Source,
    /// What is said beside it.
    pub beside: Beside,
    /// The plan as it is now; its engine part is in the order of the file.
    pub plan: UpPlan,
    /// Where its processes are in the engine, in the same order.
    pub places: Vec<JobId>,
    /// Where the last word goes.
    pub termination_log: PathBuf,
}

/// All that a driver is made of.
pub struct Parts {
    /// `run`, `supervise` or `up`.
    pub mode: &'static str,
    /// What to do, and where chance begins.
    pub seed: Seed,
    /// Since when.
    pub clock: Clock,
    /// What others send us.
    pub signals: SignalStream,
    /// What is known of each process of the plan.
    pub processes: Vec<Process>,
    /// What becomes of their output.
    pub outputs: Outputs,
    /// Ours, if there is one.
    pub terminal: Option<Terminal>,
    /// Where events are written.
    pub journal: Option<Journal>,
    /// Who is above us.
    pub notify: Notify,
    /// Who reads.
    pub hub: Arc<Hub>,
    /// What somebody wants of us.
    pub commands: mpsc::Receiver<Command>,
    /// Of many processes.
    pub many: Option<Many>,
    /// Others in our pod, and what is known of them.
    pub graveyard: Option<(Graveyard, Vec<(String, engine::PeerStatus)>)>,
}

/// A process of the plan.
pub struct Process {
    /// What is shown of it.
    pub constants: ProcessInfo,
    /// What is started.
    pub program: Program,
    /// Of one of many.
    pub plan: Option<ProcessPlan>,
    /// It runs only while we hold this.
    pub lock: Option<LockPlan>,
}

impl Job {
    fn new(process: Process, plan: &engine::JobPlan) -> Self {
        let Process { constants, program, plan: own, lock } = process;
        let hook = |action: Option<&Option<Action>>| action.cloned().flatten().map(Arc::new);
        Self {
            hooks: [
                hook(own.as_ref().map(|own| &own.post_start)),
                hook(own.as_ref().map(|own| &own.pre_stop)),
            ],
            kept: Default::default(),
            watchdog: plan.watchdog,
            constants,
            program,
            plan: own,
            lock,
            restarts: VecDeque::new(),
            started: Instant::now(),
            heart_beat: None,
            said: None,
        }
    }
}

/// What is shown of a process of a plan that is one of many.
#[must_use]
pub fn constants(plan: &ProcessPlan) -> ProcessInfo {
    // As they stand in the file: what a variable holds may be a secret.
    let mut words = plan.words.iter().cloned();
    ProcessInfo {
        name: plan.name.as_str().into(),
        command: words.next().unwrap_or_default(),
        arguments: words.collect(),
        ttl: Duration::ZERO,
        wait: Duration::ZERO,
        side_port: 0,
    }
}

/// The streams of a process that is one of many.
#[must_use]
pub fn streams(plan: &ProcessPlan) -> OutputPlan {
    let none = plan.logs.format == spec::logs::LogFormat::None;
    let each = if none { StreamPlan::Discard } else { StreamPlan::Records };
    OutputPlan { stdout: each, stderr: each }
}

impl Driver {
    /// A driver that has not begun.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        reap::adopt_orphans();
        let plans = parts.seed.plan.jobs.clone();
        let jobs = (0..).map(JobId).zip(parts.processes.into_iter().zip(&plans));
        let jobs = jobs.map(|(id, (process, plan))| (id, Job::new(process, plan))).collect();
        let limited = parts
            .many
            .as_ref()
            .is_some_and(|many| many.plan.processes.iter().any(|it| it.memory_limit.is_some()));
        let (graveyard, first_news) = parts.graveyard.unzip();
        Self {
            groups: ProcessTable::new(parts.many.is_none()),
            cgroups: parts.many.as_ref().and_then(|_| Cgroups::find(&Real)),
            pod: Pod::new(parts.seed),
            mode: parts.mode,
            clock: parts.clock,
            signals: parts.signals,
            jobs,
            outputs: parts.outputs,
            terminal: parts.terminal,
            journal: parts.journal,
            notify: parts.notify,
            hub: parts.hub,
            many: parts.many,
            graveyard,
            first_news: first_news.unwrap_or_default(),
            events: VecDeque::new(),
            views: BTreeMap::new(),
            published: (u64::MAX, PodPhase::Up),
            shown_anew: BTreeSet::new(),
            starts: VecDeque::new(),
            readiness_file: None,
            readiness_trouble: None,
            tasks: BTreeMap::new(),
            tenures: Tenures::default(),
            ears: BTreeMap::new(),
            inbox: Inbox {
                results: mpsc::unbounded_channel(),
                asked: mpsc::unbounded_channel(),
                said: mpsc::channel(SAID_AT_ONCE),
                measured: mpsc::unbounded_channel(),
                commands: parts.commands,
            },
            requests: BTreeMap::new(),
            replies: Vec::new(),
            next_request: 0,
            look_again: None,
            look_at_memory: limited.then(Instant::now),
            suspending: false,
            end: None,
        }
    }

    /// Begins, and returns with the exit code when all has ended.
    pub async fn run(mut self) -> io::Result<i32> {
        let watchdog = self.notify.watchdog();
        let mut alive_at = watchdog.map(|every| Instant::now() + every);
        self.remove_readiness_file();
        self.warn_of_limits();
        // What came before us counts too.
        let news = std::mem::take(&mut self.first_news);
        self.seen(news);
        self.feed(Event::Started);
        self.publish();
        while self.end.is_none() {
            if !self.starts.is_empty() {
                self.start_some();
                self.publish();
                if self.end.is_some() {
                    break;
                }
            }
            let more = (!self.starts.is_empty()).then(Instant::now);
            let due = self.pod.deadline().map(|at| self.clock.instant(at)).into_iter().chain(more).min();
            if due.is_some_and(|due| due <= Instant::now()) {
                self.feed(Event::TimerFired);
                self.publish();
                // Others have their turn: signals, children, those who ask.
                tokio::task::yield_now().await;
                if let Some(signals) = self.signals.at_once()? {
                    self.signalled(&signals);
                }
                while let Ok(event) = self.inbox.results.1.try_recv() {
                    self.result(event);
                }
                while let Ok(asked) = self.inbox.asked.1.try_recv() {
                    asked.start(&mut self.groups);
                }
                if let Ok(command) = self.inbox.commands.try_recv() {
                    self.command(command);
                }
                self.publish();
                continue;
            }
            let look_again = self.look_again.map(|(at, _)| at);
            let look_at_memory = self.look_at_memory;
            tokio::select! {
                biased;
                signals = self.signals.next() => self.signalled(&signals?),
                Some(asked) = self.inbox.asked.1.recv() => asked.start(&mut self.groups),
                news = news_of_peers(&mut self.graveyard) => self.seen(news),
                Some(event) = self.inbox.results.1.recv() => self.result(event),
                news = self.tenures.news() => match news {
                    Some(told) => self.tenure(told),
                    None => self.start_guard(),
                },
                Some(said) = self.inbox.said.1.recv() => self.said(said),
                Some(measured) = self.inbox.measured.1.recv() => self.measured(measured),
                () = until(due) => self.feed(Event::TimerFired),
                Some(command) = self.inbox.commands.recv() => self.command(command),
                () = until(look_again) => self.reap(),
                () = until(look_at_memory) => self.look_at_memory(),
                () = until(alive_at) => {
                    self.notify.alive();
                    alive_at = watchdog.map(|every| Instant::now() + every);
                }
            }
            // What has come meanwhile is published together.
            while let Ok(event) = self.inbox.results.1.try_recv() {
                self.result(event);
            }
            for _ in 0..SAID_AT_ONCE {
                let Ok(said) = self.inbox.said.1.try_recv() else { break };
                self.said(said);
            }
            self.publish();
            // Those who ask have their turn too.
            tokio::task::yield_now().await;
        }
        self.last_word();
        self.tell_to_quit().await?;
        self.tenures.finish().await;
        let Self { outputs, signals, end, tasks, .. } = self;
        for task in tasks.values() {
            task.abort();
        }
        let finished = outputs.finish();
        tokio::pin!(finished);
        loop {
            tokio::select! {
                () = &mut finished => break,
                // Whoever asks again to end does not want to wait for a slow reader of our output.
                signals = signals.next() => if signals?.iter().any(|signal| signal.ends_a_program()) {
                    log::warn!("told to end: the last lines of the output are not waited for");
                    break;
                }
            }
        }
        Ok(end.map_or(0, |(code, _)| code))
    }

    // === facts ===

    fn signalled(&mut self, signals: &[Signal]) {
        // Ends before wishes: a wish to end something that has ended needs no signal.
        if signals.contains(&Signal::CHLD) {
            self.reap();
        }
        for signal in signals {
            match *signal {
                // Never handed on: they are about us and our children.
                Signal::CHLD | Signal::URG => {}
                Signal::CONT => {
                    self.suspending = false;
                    if let (Some(terminal), Some(group)) = (&self.terminal, self.foreground_group()) {
                        terminal.continued(group);
                    }
                    self.feed(Event::Signalled(Signal::CONT));
                }
                signal if signal.suspends() => {
                    self.suspending = true;
                    if self.foreground_group().is_some() {
                        // We stop when it has.
                        self.feed(Event::Signalled(signal));
                    } else {
                        terminal::suspend_ourselves(signal);
                    }
                }
                Signal::HUP if self.many.is_some() => match self.reload() {
                    Ok(reloaded) => log::info!("read again: {}", in_words(&reloaded)),
                    Err(error) => log::error!("not read again, nothing has changed: {error}"),
                },
                Signal(libc::SIGUSR1 | libc::SIGUSR2) if self.many.is_some() => self.print_state(),
                signal => self.feed(Event::Signalled(signal)),
            }
        }
    }

    fn reap(&mut self) {
        for ReapedEvent { run, what } in self.groups.reap() {
            match what {
                RunEvent::Exited { exit, leftovers, out_of_memory } => {
                    if let Some(terminal) = &self.terminal {
                        terminal.ended(matches!(exit, Exit::Signal(_)));
                    }
                    // What it wrote comes before its end.
                    if leftovers {
                        self.outputs.drain(run);
                    } else {
                        self.outputs.close(run);
                    }
                    if let Some(ear) = self.ears.remove(&run) {
                        ear.abort();
                    }
                    self.feed(Event::Exited { run, exit, leftovers, out_of_memory });
                }
                RunEvent::Cleared => {
                    self.outputs.close(run);
                    self.feed(Event::Cleared(run));
                }
                RunEvent::Suspended(signal) => self.suspended(run, signal),
                RunEvent::Resumed => self.feed(Event::Resumed(run)),
            }
        }
        self.look_again = match self.look_again {
            _ if !self.groups.any_leftovers() => None,
            None => Some((Instant::now() + LOOK_AGAIN.0, LOOK_AGAIN.0)),
            Some((at, pause)) if at <= Instant::now() => {
                let pause = (pause * 2).min(LOOK_AGAIN.1);
                Some((Instant::now() + pause, pause))
            }
            pending => pending,
        };
    }

    fn suspended(&mut self, run: RunId, signal: Signal) {
        self.feed(Event::Suspended(run, signal));
        let Some(pid) = self.groups.pid(run) else { return };
        let after = match &self.terminal {
            Some(terminal) => terminal.suspended(pid, signal),
            // Keys reach it through us: when they have stopped it, the shell waits for us to stop too.
            None if std::mem::take(&mut self.suspending) => terminal::suspend_ourselves(signal),
            None => AfterSuspension::Wait,
        };
        if after == AfterSuspension::Continue {
            self.groups.signal(run, Signal::CONT, SignalScope::Group);
        }
    }

    /// The group that has, or would have, the terminal: that of the only process.
    fn foreground_group(&self) -> Option<Pid> {
        if self.many.is_some() {
            return None;
        }
        let run = self.pod.job(JobId(0)).and_then(|job| job.run);
        run.and_then(|run| self.groups.pid(run))
    }

    fn result(&mut self, event: Event) {
        if let Event::Probed { attempt, .. } | Event::HookFinished { attempt, .. } = &event
            && self.tasks.remove(attempt).is_some()
        {
            self.feed(event);
        }
    }

    fn said(&mut self, NotifyDatagram { run, words, status }: NotifyDatagram) {
        for word in words {
            self.feed(Event::Notified(run, word));
        }
        let is_automaton = self.is_automaton(run);
        if let (Some(status), Some(id)) = (status, self.pod.job_of(run))
            && let Some(job) = self.jobs.get_mut(&id)
        {
            let name = Arc::clone(&job.constants.name);
            self.shown_anew.insert(id);
            match automaton::status::read(&status).filter(|_| is_automaton) {
                Some((tag, from)) => {
                    job.said = Some(format!("state {tag}"));
                    self.entered(&name, run, tag, from);
                }
                None => job.said = Some(status),
            }
        }
    }

    fn is_automaton(&self, run: RunId) -> bool {
        let job = self.pod.job_of(run).and_then(|id| self.jobs.get(&id));
        job.and_then(|job| job.plan.as_ref()).is_some_and(|plan| plan.automaton)
    }

    /// An automaton tells of each state that it enters.
    fn entered(&self, name: &str, run: RunId, tag: &str, from: Option<&str>) {
        self.hub.metrics.entered(name, tag);
        self.hub.tell(Change {
            number: 0,
            at: String::new(),
            process: name.to_owned(),
            run: Some(run.0),
            pid: self.groups.pid(run),
            event: "entered",
            cause: None,
            message: automaton::status::entered(tag, from),
        });
    }

    /// Has the memory of processes with a limit looked at, where no control group does it.
    fn look_at_memory(&mut self) {
        self.look_at_memory = Some(Instant::now() + LOOK_AT_MEMORY);
        let limited: Vec<(RunId, Pid, u64)> = self
            .groups
            .leaders()
            .filter_map(|(run, pid)| {
                let job = self.jobs.get(&self.pod.job_of(run)?)?;
                let limit = job.plan.as_ref()?.memory_limit?;
                (!self.groups.limits_memory(run)).then_some((run, pid, limit))
            })
            .collect();
        if limited.is_empty() {
            return;
        }
        // Until that is done nobody looks again.
        self.look_at_memory = None;
        let measured = self.inbox.measured.0.clone();
        tokio::task::spawn_blocking(move || {
            let roots: Vec<Pid> = limited.iter().map(|(_, pid, _)| *pid).collect();
            let limit_of = |pid: Pid| {
                limited.iter().find(|(_, of, _)| *of == pid).map_or(u64::MAX, |(_, _, limit)| *limit)
            };
            let over = resource_usage::over(&roots, limit_of);
            let told =
                limited.into_iter().filter_map(|(run, pid, limit)| Some((run, *over.get(&pid)?, limit)));
            let _ = measured.send(told.collect());
        });
    }

    fn measured(&mut self, over: Measured) {
        self.look_at_memory = Some(Instant::now() + LOOK_AT_MEMORY);
        for (run, used, limit) in over {
            self.feed(Event::OverMemory { run, used, limit });
        }
    }

    /// What is known of peers is another.
    pub(super) fn seen(&mut self, news: Vec<(String, engine::PeerStatus)>) {
        for (peer, sighting) in news {
            self.feed(Event::PeerChanged { peer, status: sighting });
        }
    }

    /// Tells those who are to end with us that we have ended.
    async fn tell_to_quit(&mut self) -> io::Result<()> {
        let (Some(graveyard), Some((code, _))) = (&self.graveyard, &mut self.end) else { return Ok(()) };
        let told = tell_to_quit(graveyard.to_quit(*code));
        tokio::pin!(told);
        loop {
            tokio::select! {
                well = &mut told => {
                    if !well && *code == 0 {
                        *code = NOT_TOLD;
                    }
                    return Ok(());
                }
                signals = self.signals.next() => if signals?.iter().any(|signal| signal.ends_a_program()) {
                    log::warn!("told to end: the others are not told to");
                    if *code == 0 && graveyard.to_quit(*code).iter().any(|quit| quit.fatal) {
                        *code = NOT_TOLD;
                    }
                    return Ok(());
                }
            }
        }
    }

    // === the engine ===

    fn feed(&mut self, event: Event) {
        self.events.push_back(event);
        let mut effects = Vec::new();
        while let Some(event) = self.events.pop_front() {
            let now = self.clock.now();
            self.note(now, &event);
            self.pod.step(now, event, &mut effects);
            // What is to be done comes first, and is told then.
            let told = |effect: &mut Effect| {
                matches!(effect, Effect::Publish(_) | Effect::JobRemoved(_) | Effect::End { .. })
            };
            let last: Vec<Effect> = effects.extract_if(.., told).collect();
            for effect in effects.drain(..).chain(last) {
                self.perform(effect);
            }
        }
        self.groups.signal_strays();
    }

    fn note(&mut self, now: engine::Time, event: &Event) {
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.note(now, event)
        {
            log::warn!(file:% = journal.path().display(); "the event journal ends here: {error}");
            self.journal = None;
        }
    }

    /// Starts what is to be started, for a while: then others have their turn.
    fn start_some(&mut self) {
        let begun = Instant::now();
        while let Some((job, run)) = self.starts.pop_front() {
            let event = match self.spawn(job, run) {
                Ok(()) => Event::Spawned(run),
                Err(error) => Event::SpawnFailed(run, error),
            };
            self.feed(event);
            if begun.elapsed() > STARTS_AT_ONCE {
                return;
            }
        }
    }
}

/// Waits for news of peers; for ever, if there are none.
async fn news_of_peers(graveyard: &mut Option<Graveyard>) -> Vec<(String, engine::PeerStatus)> {
    match graveyard {
        Some(graveyard) => graveyard.changes().await,
        None => std::future::pending().await,
    }
}

/// Whom to look at and whose tombstones to carve, by a plan; `places` are those of its processes.
#[must_use]
pub fn cast(plan: &engine::Plan, places: &[JobId], processes: &[ProcessPlan]) -> Cast {
    let own = |expressions: &[engine::Expression]| {
        expressions.iter().flat_map(engine::Expression::peers).map(str::to_owned).collect::<Vec<_>>()
    };
    let dooms = plan.jobs.iter().map(|job| &job.death_dependencies).chain([&plan.pod.death_dependencies]);
    let doom: BTreeSet<String> = dooms.flat_map(|expressions| own(expressions)).collect();
    let awaited = plan.jobs.iter().flat_map(|job| &job.start_dependencies);
    let awaited = awaited.flat_map(|it| own(std::slice::from_ref(&it.expression)));
    let stones = processes.iter().zip(places);
    let stones = stones.filter_map(|(process, id)| Some((*id, process.tombstone.clone()?)));
    Cast { awaited: awaited.collect(), doom, stones: stones.collect() }
}

/// Waits until then; for ever, if there is no then.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What is shown before anything has happened.
#[must_use]
pub fn first_view(
    mode: &'static str,
    constants: &[&ProcessInfo],
    seed: &Seed,
    many: bool,
    clock: Clock,
) -> View {
    let snapshot = Pod::new(seed.clone()).snapshot();
    let shown = constants.iter().zip(snapshot.jobs).map(|(constants, job)| {
        Arc::new(ProcessView::own(constants, job, &snapshot.phase, None, None, None, clock))
    });
    View::own(mode, 0, &snapshot.phase, None, shown.collect(), many)
}

/// An answer that nobody will give.
#[must_use]
pub fn no_commands() -> mpsc::Receiver<Command> {
    mpsc::channel(1).1
}
