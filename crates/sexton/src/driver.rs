//! The driver: facts to the engine, effects to the system.
//!
//! ```text
//! signals, children, time, ──Event──► Pod::step ──Effect──► spawn, signal, probe, hook
//! results, requests   ▲                   │
//!                     └── what came of ───┴── then: publish to the hub, tell the service manager
//! ```
//!
//! One task does it all, one event after the other. A child is started and entered into the books before
//! any other is reaped; its output is read before its end is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::pod::Seed;
use engine::{
    AttemptId, Effect, Event, Exit, Fulfilled, HookKind, JobId, News, Plan, Pod, PodPhase, ProbeKind, Reach,
    Refusal, Request, RequestId, RunId, Signal, SpawnError, SpawnErrorKind, What,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::announce::{self, Ear, Said};
use crate::clock::Clock;
use crate::config::environment::Real;
use crate::config::up::diff::{Diff, diff};
use crate::config::up::{self, Action, Beside, Check, ProcessPlan, Source, UpPlan};
use crate::config::{OutputPlan, StreamPlan};
use crate::control::{Command, ControlError, Reloaded, Reply, Wish};
use crate::figures;
use crate::hub::{Change, Hub};
use crate::journal::Journal;
use crate::notify::Notify;
use crate::output::{Outputs, Pipes};
use crate::probe::{self, Asked, Facts, Group};
use crate::process::cgroup::Cgroups;
use crate::process::group::{Groups, Happened, MARK, ToRun};
use crate::process::signals::SignalStream;
use crate::process::spawn::{Program, Start, spawn};
use crate::process::terminal::{self, AfterSuspension, Terminal};
use crate::process::{Pid, reap};
use crate::tell;
use crate::termination;
use crate::view::{Constants, ProcessView, View};
use crate::words::describe;

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

/// Looks after one pod until it has ended.
pub struct Driver {
    pod: Pod,
    mode: &'static str,
    clock: Clock,
    signals: SignalStream,
    groups: Groups,
    /// Dropped behind the groups, each of which is in it.
    cgroups: Option<Cgroups>,
    jobs: BTreeMap<JobId, Job>,
    outputs: Outputs,
    terminal: Option<Terminal>,
    journal: Option<Journal>,
    notify: Notify,
    hub: Arc<Hub>,
    many: Option<Many>,
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
    ears: BTreeMap<RunId, AbortHandle>,
    inbox: Inbox,
    requests: BTreeMap<RequestId, Reply<Fulfilled>>,
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
    asked: (mpsc::UnboundedSender<Asked>, mpsc::UnboundedReceiver<Asked>),
    said: (mpsc::Sender<Said>, mpsc::Receiver<Said>),
    /// Runs that use more memory than they may: how much, and how much they may.
    measured:
        (mpsc::UnboundedSender<Vec<(RunId, u64, u64)>>, mpsc::UnboundedReceiver<Vec<(RunId, u64, u64)>>),
    /// Nobody sends, where there is no control socket.
    commands: mpsc::Receiver<Command>,
}

/// What we know of a process beside its place in the plan.
struct Job {
    constants: Constants,
    program: Program,
    plan: Option<ProcessPlan>,
    checks: [Arc<[Check]>; 3],
    limits: [Duration; 3],
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
}

/// A process of the plan.
pub struct Process {
    /// What is shown of it.
    pub constants: Constants,
    /// What is started.
    pub program: Program,
    /// Of one of many.
    pub plan: Option<ProcessPlan>,
}

impl Job {
    fn new(process: Process, plan: &engine::JobPlan) -> Self {
        let Process { constants, program, plan: own } = process;
        let checks = |kind: ProbeKind| {
            own.as_ref().map_or_else(Vec::new, |own| own.probes[kind as usize].clone()).into()
        };
        let limit =
            |probe: &Option<engine::ProbePlan>| probe.as_ref().map_or(Duration::ZERO, |probe| probe.timeout);
        let hook = |action: Option<&Option<Action>>| action.cloned().flatten().map(Arc::new);
        Self {
            checks: ProbeKind::ALL.map(checks),
            limits: [
                limit(&plan.probes.startup),
                limit(&plan.probes.liveness),
                limit(&plan.probes.readiness),
            ],
            hooks: [
                hook(own.as_ref().map(|own| &own.post_start)),
                hook(own.as_ref().map(|own| &own.pre_stop)),
            ],
            watchdog: plan.watchdog,
            constants,
            program,
            plan: own,
            restarts: VecDeque::new(),
            started: Instant::now(),
            heart_beat: None,
            said: None,
        }
    }
}

/// What is shown of a process of a plan that is one of many.
#[must_use]
pub fn constants(plan: &ProcessPlan) -> Constants {
    // As they stand in the file: what a variable holds may be a secret.
    let mut words = plan.words.iter().cloned();
    Constants {
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
    let none = plan.logs.format == crate::config::raw::native::LogFormat::None;
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
        Self {
            groups: Groups::new(parts.many.is_none()),
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
            events: VecDeque::new(),
            views: BTreeMap::new(),
            published: (u64::MAX, PodPhase::Up),
            shown_anew: BTreeSet::new(),
            starts: VecDeque::new(),
            readiness_file: None,
            readiness_trouble: None,
            tasks: BTreeMap::new(),
            ears: BTreeMap::new(),
            inbox: Inbox {
                results: mpsc::unbounded_channel(),
                asked: mpsc::unbounded_channel(),
                said: mpsc::channel(SAID_AT_ONCE),
                measured: mpsc::unbounded_channel(),
                commands: parts.commands,
            },
            requests: BTreeMap::new(),
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
        self.feed(Event::Began);
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
                self.feed(Event::Woke);
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
                    self.start_helper(asked);
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
                Some(asked) = self.inbox.asked.1.recv() => self.start_helper(asked),
                Some(event) = self.inbox.results.1.recv() => self.result(event),
                Some(said) = self.inbox.said.1.recv() => self.said(said),
                Some(measured) = self.inbox.measured.1.recv() => self.measured(measured),
                () = until(due) => self.feed(Event::Woke),
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
        for Happened { run, what } in self.groups.reap() {
            match what {
                ToRun::Exited { exit, leftovers, out_of_memory } => {
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
                ToRun::Cleared => {
                    self.outputs.close(run);
                    self.feed(Event::Cleared(run));
                }
                ToRun::Suspended(signal) => self.suspended(run, signal),
                ToRun::Resumed => self.feed(Event::Resumed(run)),
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
            self.groups.signal(run, Signal::CONT, Reach::Group);
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
        if let Event::Probed { attempt, .. } | Event::Hooked { attempt, .. } = &event
            && self.tasks.remove(attempt).is_some()
        {
            self.feed(event);
        }
    }

    fn said(&mut self, Said { run, words, status }: Said) {
        for word in words {
            self.feed(Event::Said(run, word));
        }
        if let (Some(status), Some(id)) = (status, self.pod.job_of(run))
            && let Some(job) = self.jobs.get_mut(&id)
        {
            job.said = Some(status);
            self.shown_anew.insert(id);
        }
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
            let over = figures::over(&roots, limit_of);
            let told =
                limited.into_iter().filter_map(|(run, pid, limit)| Some((run, *over.get(&pid)?, limit)));
            let _ = measured.send(told.collect());
        });
    }

    fn measured(&mut self, over: Vec<(RunId, u64, u64)>) {
        self.look_at_memory = Some(Instant::now() + LOOK_AT_MEMORY);
        for (run, used, limit) in over {
            self.feed(Event::OverMemory { run, used, limit });
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
            for effect in effects.drain(..) {
                self.perform(effect);
            }
        }
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

    // === what is shown ===

    fn publish(&mut self) {
        let phase = self.pod.phase().clone();
        if self.published == (self.pod.generation(), phase.clone()) && self.shown_anew.is_empty() {
            return;
        }
        let mut changed: BTreeSet<JobId> = if self.published.1 == phase && self.published.0 != u64::MAX {
            self.pod.take_changed()
        } else {
            // What the whole is at is told of each.
            self.pod.take_changed();
            self.pod.order().iter().copied().collect()
        };
        changed.append(&mut self.shown_anew);
        for id in changed {
            self.show(id);
        }
        self.published = (self.pod.generation(), phase);
        self.publish_anyway();
    }

    fn show(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(snapshot) = self.pod.job(id) else { return };
        let pid = snapshot.run.and_then(|run| self.groups.pid(run));
        let before = self.views.get(&id).map(|view| &**view);
        let view = ProcessView::own(
            &job.constants,
            snapshot,
            self.pod.phase(),
            pid,
            job.said.as_deref(),
            before,
            self.clock,
        );
        self.views.insert(id, Arc::new(view));
    }

    fn publish_anyway(&mut self) {
        let processes = self.pod.order().iter().filter_map(|id| self.views.get(id).cloned()).collect();
        let end_by = self.pod.end_by();
        let was_ready = self.hub.view().health.ready.is_yes();
        let view = View::own(
            self.mode,
            self.pod.generation(),
            self.pod.phase(),
            end_by,
            processes,
            self.many.is_some(),
        );
        let ready = view.health.ready.is_yes();
        let ending = view.ending.is_some();
        if let Some(many) = &self.many {
            let gone = if many.plan.readiness_file_sticky { ending || view.over } else { !ready };
            if ready || gone {
                self.keep_readiness_file(ready);
            }
            if ready != was_ready && !ending {
                let status = if ready { "all are ready" } else { "not all are ready" };
                let why = view.reason(&view.health.ready).map(|why| format!(": {why}")).unwrap_or_default();
                log::info!("{status}{why}");
                if ready {
                    self.notify.ready(status);
                } else {
                    self.notify.status(status);
                }
            }
        }
        self.hub.publish(view);
    }

    /// A limit that nobody keeps is told.
    fn warn_of_limits(&self) {
        if self.cgroups.as_ref().is_some_and(Cgroups::limits_processors) {
            return;
        }
        for plan in
            self.jobs.values().filter_map(|job| job.plan.as_ref()).filter(|plan| plan.cpu_limit.is_some())
        {
            log::warn!(process:% = plan.name; "its limit of processors is not kept: no control group is ours that could");
        }
    }

    /// What a run before us, which was killed, may have left.
    fn remove_readiness_file(&mut self) {
        self.keep_readiness_file(false);
    }

    /// Makes or removes the readiness file, if that has to be done.
    fn keep_readiness_file(&mut self, there: bool) {
        let Some(file) = self.many.as_ref().and_then(|many| many.plan.readiness_file.as_ref()) else {
            return;
        };
        if self.readiness_file == Some(there) {
            return;
        }
        let result = if there {
            // Nobody's link is followed to some other file.
            let made = fs::OpenOptions::new().write(true).create_new(true).open(file).map(drop);
            made.or_else(
                |error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) },
            )
        } else {
            let gone = fs::remove_file(file);
            gone.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
        };
        match result {
            Ok(()) => (self.readiness_file, self.readiness_trouble) = (Some(there), None),
            Err(error) if self.readiness_trouble == Some(error.kind()) => {}
            Err(error) => {
                log::warn!(file:% = file.display(); "cannot keep the readiness file: {error}");
                self.readiness_trouble = Some(error.kind());
            }
        }
    }

    /// What somebody who sends us USR1 wants to know.
    fn print_state(&self) {
        for view in self.hub.view().processes.iter() {
            let pid = view.pid.map(|pid| pid.to_string()).unwrap_or_default();
            let starts = view.own.as_ref().map_or(0, |own| own.job.starts);
            log::warn!(process:% = view.name, pid:% = pid, starts = starts; "{}", view.state);
        }
    }

    // === effects ===

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { job, run } => self.starts.push_back((job, run)),
            Effect::Signal { run, signal, reach } => self.groups.signal(run, signal, reach),
            Effect::Probe { job, kind, attempt, .. } => self.probe(job, kind, attempt),
            Effect::Hook { job, kind, attempt, .. } => self.hook(job, kind, attempt),
            Effect::Abort(attempt) => {
                if let Some(task) = self.tasks.remove(&attempt) {
                    task.abort();
                }
            }
            Effect::Tell(news) => self.tell(&news),
            Effect::Answer { request, answer } => {
                if let Some(reply) = self.requests.remove(&request) {
                    // Whoever asked may have gone.
                    let _ = reply.send(answer.map_err(ControlError::Refused));
                }
            }
            Effect::Forget(job) => {
                self.jobs.remove(&job);
                self.views.remove(&job);
                self.outputs.forget(job);
            }
            Effect::End { code, from } => self.end = Some((code, from)),
        }
    }

    fn spawn(&mut self, id: JobId, run: RunId) -> Result<(), SpawnError> {
        let Some(job) = self.jobs.get_mut(&id) else {
            let message = "there is no such process".to_owned();
            return Err(SpawnError { kind: SpawnErrorKind::System, message });
        };
        let command = job.program.command.to_string_lossy();
        let system = |what: &str, error: &io::Error| SpawnError {
            kind: SpawnErrorKind::System,
            message: format!("cannot start '{command}': {what}: {}", describe(error)),
        };
        let pipes = self.outputs.pipes(id).map_err(|error| system("no pipe", &error))?;
        let Pipes { stdout, stderr, ends } = pipes;
        let mut start = Start::with(stdout, stderr);
        let mut ear: Option<Ear> = None;
        let mut cgroup = None;
        if let Some(plan) = &job.plan {
            start.variables.push((MARK, Groups::mark(run).into()));
            if let Some(cgroups) = &self.cgroups {
                let made = cgroups.make(&plan.name, run, plan.memory_limit, plan.cpu_limit);
                let made = made.and_then(|group| Ok((group.entry()?, group)));
                let (entry, group) = made.map_err(|error| system("no control group", &error))?;
                (start.cgroup, cgroup) = (Some(entry), Some(group));
            }
            if let Some(kind) = plan.notify {
                let user = job.program.attributes.user;
                let made = announce::prepare(kind, run, user, job.watchdog, &mut start);
                ear = Some(made.map_err(|error| system("nowhere to say that it is ready", &error))?);
            }
        } else {
            start.stdin = true;
            start.foreground = self.terminal.as_ref().is_some_and(Terminal::offer);
        }
        match spawn(&job.program, start) {
            Ok(pid) => {
                self.groups.enter(run, pid, cgroup);
                self.outputs.follow(id, run, pid, ends);
                if let Some(ear) = ear {
                    self.ears.insert(run, announce::listen(run, pid, ear, self.inbox.said.0.clone()));
                }
                let now = Instant::now();
                if self.pod.job(id).is_some_and(|job| job.starts > 0) {
                    job.restarts.push_back(now);
                    job.restarts.drain(..job.restarts.len().saturating_sub(RESTARTS_KEPT));
                }
                (job.started, job.heart_beat, job.said) = (now, None, None);
                Ok(())
            }
            Err(error) => {
                if let Some(terminal) = &self.terminal {
                    terminal.ended(false);
                }
                Err(error)
            }
        }
    }

    fn probe(&mut self, id: JobId, kind: ProbeKind, attempt: AttemptId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let facts = Facts {
            restarts: job.restarts.iter().map(Instant::elapsed).collect(),
            heart_beat: job.heart_beat.unwrap_or(job.started).elapsed(),
        };
        let checks = Arc::clone(&job.checks[kind as usize]);
        let (runner, results) = (self.inbox.asked.0.clone(), self.inbox.results.0.clone());
        let task = probe::begin_probe(attempt, checks, job.limits[kind as usize], facts, runner, results);
        self.tasks.insert(attempt, task);
    }

    fn hook(&mut self, id: JobId, kind: HookKind, attempt: AttemptId) {
        let action = self.jobs.get(&id).and_then(|job| job.hooks[kind as usize].clone());
        let Some(action) = action else {
            return self.events.push_back(Event::Hooked { attempt, failed: None });
        };
        let (runner, results) = (self.inbox.asked.0.clone(), self.inbox.results.0.clone());
        self.tasks.insert(attempt, probe::begin_hook(attempt, action, runner, results));
    }

    /// Starts a command of a probe or hook.
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

    fn tell(&mut self, news: &News) {
        let Some(job) = self.jobs.get(&news.job) else { return };
        let name = Arc::clone(&job.constants.name);
        let (level, message) = tell::words(news);
        let pid = news.run.and_then(|run| self.groups.pid(run));
        match (news.run, pid) {
            (Some(run), Some(pid)) => log::log!(level, process:% = name, run = run.0, pid = pid; "{message}"),
            (Some(run), None) => log::log!(level, process:% = name, run = run.0; "{message}"),
            (None, _) => log::log!(level, process:% = name; "{message}"),
        }
        match &news.what {
            What::Started { .. } if self.many.is_none() => self.notify.ready(&format!("{name}: {message}")),
            What::Ending { .. } if *self.pod.phase() != PodPhase::Up => {
                self.notify.stopping(&format!("{name}: {message}"));
            }
            What::Exited { .. } | What::Restarting { .. } | What::GaveUp { .. } => {
                self.notify.status(&format!("{name}: {message}"));
            }
            What::Stuck { abandoned: true } => {
                if let Some(run) = news.run {
                    self.groups.abandon(run);
                }
            }
            _ => {}
        }
        self.hub.metrics.count(&name, &news.what);
        self.hub.tell(Change {
            number: 0,
            at: String::new(),
            process: name.to_string(),
            run: news.run.map(|run| run.0),
            pid,
            event: news.what.label(),
            cause: tell::cause(&news.what),
            message,
        });
    }

    /// Who decided how it ended, for whoever asks what became of the container.
    fn last_word(&mut self) {
        let (Some(many), Some((code, from))) = (&self.many, self.end) else { return };
        let view = from.and_then(|id| self.views.get(&id));
        let kept = from.and_then(|id| self.outputs.kept(id));
        let lines: Vec<_> =
            kept.iter().flat_map(|kept| kept.lines(LAST_LINES)).map(|line| line.text).collect();
        let report = termination::report(code, view.map(|view| &**view), &lines);
        if code != 0 {
            let first = report.lines().next().unwrap_or_default();
            log::error!(code = code; "{first}");
        }
        termination::write(&many.termination_log, &report);
        self.remove_readiness_file();
    }

    // === requests ===

    fn command(&mut self, command: Command) {
        match command {
            Command::Process { name, wish, reply } => {
                let id = match self.find(&name) {
                    Ok(id) => id,
                    Err(error) => return drop(reply.send(Err(error))),
                };
                let what = match wish {
                    Wish::Start => Request::Start(id),
                    Wish::Stop => Request::Stop(id),
                    Wish::Restart => Request::Restart(id),
                    Wish::Signal(signal) => Request::Signal(id, signal),
                };
                self.request(what, reply);
            }
            Command::End(reply) => self.request(Request::End, reply),
            Command::Reload(reply) => {
                let result = self.reload();
                match &result {
                    Ok(reloaded) => log::info!("read again: {}", in_words(reloaded)),
                    Err(error) => log::error!("not read again, nothing has changed: {error}"),
                }
                let _ = reply.send(result);
            }
            Command::HeartBeat { name, reply } => {
                let result = self.find(&name).map(|id| {
                    if let Some(job) = self.jobs.get_mut(&id) {
                        job.heart_beat = Some(Instant::now());
                    }
                });
                let _ = reply.send(result);
            }
        }
    }

    fn find(&self, name: &str) -> Result<JobId, ControlError> {
        let retired = |id: &JobId| self.pod.job(*id).is_none_or(|job| job.retired);
        let planned = self.pod.order().iter().filter(|id| !retired(id));
        let named = |id: &&JobId| self.jobs.get(id).is_some_and(|job| &*job.constants.name == name);
        planned.clone().find(named).copied().ok_or_else(|| {
            let names: Vec<_> =
                planned.filter_map(|id| Some(self.jobs.get(id)?.constants.name.clone())).collect();
            let hint = crate::config::read::hint(name, names.iter().map(|name| &**name));
            ControlError::Unknown(format!("there is no process '{name}'{hint}"))
        })
    }

    fn request(&mut self, what: Request, reply: Reply<Fulfilled>) {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.requests.insert(request, reply);
        self.feed(Event::Asked { request, what });
    }

    /// Reads the configuration again. All or nothing: a file that is not all right changes nothing.
    fn reload(&mut self) -> Result<Reloaded, ControlError> {
        let Some(many) = &self.many else {
            return Err(ControlError::Configuration(
                "there is no configuration that could be read again".to_owned(),
            ));
        };
        if *self.pod.phase() != PodPhase::Up {
            return Err(ControlError::Refused(Refusal::Ending));
        }
        if let Source::File(path) = &many.source
            && !path.is_file()
        {
            // A pipe cannot be read again, and must not hold us up.
            return Err(ControlError::Configuration(format!("{} is no regular file", path.display())));
        }
        let new = up::load(&many.source, &many.beside, &Real)
            .map_err(|error| ControlError::Configuration(error.to_string()))?;
        let first_new = self.pod.places();
        let Diff { places, told } = diff(&many.plan, &many.places, &new, first_new);
        let fresh = || (0..new.processes.len()).filter(|place| places[*place].0 >= first_new);
        for place in fresh() {
            let process = &new.processes[place];
            let planned = self.outputs.plan(
                places[place],
                &process.name,
                streams(process),
                process.logs.clone(),
                false,
            );
            planned
                .map_err(|error| ControlError::Configuration(format!("no output: {}", describe(&error))))?;
        }
        for place in fresh() {
            let process = &new.processes[place];
            let made = Process {
                constants: constants(process),
                program: process.program.clone(),
                plan: Some(process.clone()),
            };
            self.jobs.insert(places[place], Job::new(made, &new.plan.jobs[place]));
        }
        let Plan { jobs, mut frame } = new.plan.clone();
        let placed = jobs.into_iter().zip(&places).map(|(mut job, place)| {
            for need in &mut job.needs {
                need.job = places[need.job.0];
            }
            (*place, job)
        });
        let jobs = placed.collect();
        if let engine::ExitRule::From(id) = &mut frame.exit {
            *id = places[id.0];
        }
        if new.processes.iter().any(|process| process.memory_limit.is_some()) && self.look_at_memory.is_none()
        {
            self.look_at_memory = Some(Instant::now());
        }
        if let Some(many) = &mut self.many {
            (many.plan, many.places) = (new, places);
        }
        let (reply, mut answer) = oneshot::channel();
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.requests.insert(request, reply);
        self.feed(Event::Reloaded { request, jobs, frame });
        self.publish();
        match answer.try_recv() {
            Ok(Err(refused)) => Err(refused),
            Ok(Ok(_)) | Err(_) => Ok(told),
        }
    }
}

fn in_words(reloaded: &Reloaded) -> String {
    let list = |what: &str, names: &[String]| match names {
        [] => String::new(),
        names => format!("{what} {}; ", names.join(", ")),
    };
    let Reloaded { added, changed, removed, kept } = reloaded;
    format!(
        "{}{}{}{kept} as before",
        list("added", added),
        list("changed", changed),
        list("removed", removed)
    )
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
    constants: &[&Constants],
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
