//! The driver: facts to the engine, effects to the system.
//!
//! ```text
//! signals, children, time ──Event──► Pod::step ──Effect──► spawn, signal
//!                     ▲                   │
//!                     └── what came of ───┴── then: publish to the hub, tell the service manager
//! ```
//!
//! One task does it all, one event after the other. A child is started and entered into the books before
//! any other is reaped; its output is read before its end is told.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use engine::pod::Seed;
use engine::{Effect, Event, Exit, JobId, News, Pod, Reach, RunId, Signal, SpawnError, SpawnErrorKind, What};
use tokio::time::{Instant, sleep_until};

use crate::clock::{Calendar, Clock};
use crate::hub::{Change, Hub};
use crate::journal::Journal;
use crate::notify::Notify;
use crate::output::{Outputs, Pipes};
use crate::process::group::{Groups, Happened, ToRun};
use crate::process::signals::SignalStream;
use crate::process::spawn::{Program, spawn};
use crate::process::terminal::{self, AfterSuspension, Terminal};
use crate::process::{Pid, reap};
use crate::tell;
use crate::view::{Constants, View};
use crate::words::describe;

/// Where something of a run is left and nobody may tell us of its end (it is not our child): how soon we
/// look again, at first and at most.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// Looks after one pod until it has ended.
pub struct Driver {
    pod: Pod,
    clock: Clock,
    calendar: Calendar,
    signals: SignalStream,
    groups: Groups,
    programs: Vec<Program>,
    outputs: Outputs,
    terminal: Option<Terminal>,
    journal: Option<Journal>,
    notify: Notify,
    hub: Arc<Hub>,
    constants: Constants,
    /// Events that the effects of an event have made.
    events: VecDeque<Event>,
    generation: u64,
    look_again: Option<(Instant, Duration)>,
    /// We were sent a signal that suspends, and no CONT since.
    suspending: bool,
    code: Option<i32>,
}

/// All that a driver is made of.
pub struct Parts {
    /// What to do, and where chance begins.
    pub seed: Seed,
    /// Since when.
    pub clock: Clock,
    /// What others send us.
    pub signals: SignalStream,
    /// What to start, for each process of the plan.
    pub programs: Vec<Program>,
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
    /// What is shown with it.
    pub constants: Constants,
}

impl Driver {
    /// A driver that has not begun.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        reap::adopt_orphans();
        let groups = Groups::new(parts.seed.plan.jobs.len() == 1);
        Self {
            pod: Pod::new(parts.seed),
            clock: parts.clock,
            calendar: Calendar::new(parts.clock),
            signals: parts.signals,
            groups,
            programs: parts.programs,
            outputs: parts.outputs,
            terminal: parts.terminal,
            journal: parts.journal,
            notify: parts.notify,
            hub: parts.hub,
            constants: parts.constants,
            events: VecDeque::new(),
            generation: 0,
            look_again: None,
            suspending: false,
            code: None,
        }
    }

    /// Begins, and returns with the exit code when all has ended.
    pub async fn run(mut self) -> io::Result<i32> {
        let watchdog = self.notify.watchdog();
        let mut alive_at = watchdog.map(|every| Instant::now() + every);
        self.feed(Event::Began);
        while self.code.is_none() {
            let due = self.pod.deadline().map(|at| self.clock.instant(at));
            if due.is_some_and(|due| due <= Instant::now()) {
                self.feed(Event::Woke);
                // Others have their turn: signals, children, those who ask.
                tokio::task::yield_now().await;
                if let Some(signals) = self.signals.at_once()? {
                    self.signalled(&signals);
                }
                continue;
            }
            let look_again = self.look_again.map(|(at, _)| at);
            tokio::select! {
                biased;
                signals = self.signals.next() => self.signalled(&signals?),
                () = until(due) => self.feed(Event::Woke),
                () = until(look_again) => self.reap(),
                () = until(alive_at) => {
                    self.notify.alive();
                    alive_at = watchdog.map(|every| Instant::now() + every);
                }
            }
            // Those who ask have their turn too.
            tokio::task::yield_now().await;
        }
        let Self { outputs, signals, code, .. } = self;
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
        Ok(code.unwrap_or(0))
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
                signal => self.feed(Event::Signalled(signal)),
            }
        }
    }

    fn reap(&mut self) {
        for Happened { run, what } in self.groups.reap() {
            match what {
                ToRun::Exited { exit, leftovers } => {
                    if let Some(terminal) = &self.terminal {
                        terminal.ended(matches!(exit, Exit::Signal(_)));
                    }
                    // What it wrote comes before its end.
                    if leftovers {
                        self.outputs.drain(run);
                    } else {
                        self.outputs.close(run);
                    }
                    self.feed(Event::Exited { run, exit, leftovers });
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

    /// The group that has, or would have, the terminal.
    fn foreground_group(&self) -> Option<Pid> {
        let snapshot = self.pod.snapshot();
        snapshot.jobs.first().and_then(|job| job.run).and_then(|run| self.groups.pid(run))
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
        self.publish();
    }

    fn note(&mut self, now: engine::Time, event: &Event) {
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.note(now, event)
        {
            log::warn!(file:% = journal.path().display(); "the event journal ends here: {error}");
            self.journal = None;
        }
    }

    fn publish(&mut self) {
        let snapshot = self.pod.snapshot();
        if snapshot.generation == self.generation {
            return;
        }
        self.generation = snapshot.generation;
        let pid = self.foreground_group();
        self.hub.publish(View::own(&self.constants, &snapshot, pid, &mut self.calendar));
    }

    // === effects ===

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { job, run } => {
                let event = match self.spawn(job, run) {
                    Ok(()) => Event::Spawned(run),
                    Err(error) => Event::SpawnFailed(run, error),
                };
                self.events.push_back(event);
            }
            Effect::Signal { run, signal, reach } => self.groups.signal(run, signal, reach),
            Effect::Tell(news) => self.tell(&news),
            Effect::End { code } => self.code = Some(code),
        }
    }

    fn spawn(&mut self, job: JobId, run: RunId) -> Result<(), SpawnError> {
        let system = |what: &str, error: &io::Error| SpawnError {
            kind: SpawnErrorKind::System,
            message: format!("cannot start '{}': {what}: {}", self.constants.command, describe(error)),
        };
        let Some(program) = self.programs.get(job.0) else {
            return Err(system("no program", &io::ErrorKind::NotFound.into()));
        };
        let pipes = self.outputs.pipes().map_err(|error| system("no pipe", &error))?;
        let Pipes { stdout, stderr, ends } = pipes;
        let foreground = self.terminal.as_ref().is_some_and(Terminal::offer);
        match spawn(program, stdout, stderr, foreground) {
            Ok(pid) => {
                self.groups.enter(run, pid);
                self.outputs.follow(run, pid, ends);
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

    fn tell(&mut self, news: &News) {
        let name = &self.constants.name;
        let (level, message) = tell::words(news);
        let pid = news.run.and_then(|run| self.groups.pid(run));
        match (news.run, pid) {
            (Some(run), Some(pid)) => log::log!(level, process:% = name, run = run.0, pid = pid; "{message}"),
            (Some(run), None) => log::log!(level, process:% = name, run = run.0; "{message}"),
            (None, _) => log::log!(level, process:% = name; "{message}"),
        }
        match &news.what {
            What::Started { .. } => self.notify.ready(&format!("{name}: {message}")),
            What::Ending { .. } => self.notify.stopping(&format!("{name}: {message}")),
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
        self.hub.metrics.count(name, &news.what);
        self.hub.tell(Change {
            number: 0,
            at: String::new(),
            process: name.clone(),
            run: news.run.map(|run| run.0),
            pid,
            event: news.what.label(),
            cause: tell::cause(&news.what),
            message,
        });
    }
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
pub fn first_view(constants: &Constants, seed: &Seed, clock: Clock) -> View {
    View::own(constants, &Pod::new(seed.clone()).snapshot(), None, &mut Calendar::new(clock))
}
