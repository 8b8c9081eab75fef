//! A state machine of shell scripts, driven over a unix socket.
//!
//! ```text
//! socket ──Request──►                            ──Run──► sh -c SCRIPT
//! signals ──Told────► engine::automaton::Automaton ──Signal──► its group
//! scripts ──Ended───►                            ──Answer──► socket ; hub ─► http
//! ```
//!
//! * [`protocol`]: the line that a client sends
//! * [`socket`]: clients, each of whom holds up nobody
//! * [`graph`]: the machine as a drawing
//! * [`status`]: what is said to whoever is above us
//! * [`Driver`]: facts to the machine, its wishes to the system

pub mod graph;
pub mod protocol;
pub mod socket;
pub mod status;

use linux::pipe::pipe;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::automaton::{Automaton, Effect, Event, Response, StateId, Transition};
use engine::{RequestId, RunId, Signal, SignalScope};
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::automaton::AutomatonPlan;
use crate::logs::lines::Lines;
use crate::logs::logfmt;
use crate::status::hub::{Change, Hub};
use crate::status::{Health as Answers, HealthState as Health, ProcessView, Status, View};
use linux::clock::{Clock, rfc3339};
use linux::notify::Notify;
use linux::process_table::{ProcessTable, ReapedEvent, RunEvent};
use linux::signals::SignalStream;
use linux::spawn::{Output, Start, spawn};
use linux::{reap, terminal};
use socket::{Asked, Wanted};
use spec::notify::OUR_VARIABLES;
use spec::program::Program;
use spec::text::one_line;

/// How many transitions a follower may fall behind.
const FOLLOWED: usize = 256;
/// How long what the scripts have left behind may take to end when we do, before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// Between looks at what is left behind.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long the last words of scripts are waited for, if something of theirs still holds the pipe.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How much all variables that were set may hold, in bytes: half of what the kernel takes for all (execve(2)).
const MOST_VARIABLES: usize = 1 << 20;
/// What each of them costs beside its text: a pointer, `=` and NUL.
const EACH_VARIABLE: usize = 10;

/// All that a driver is made of.
pub struct Parts {
    /// What people call it.
    pub name: String,
    /// What to do.
    pub plan: AutomatonPlan,
    /// Where it is asked.
    pub socket: PathBuf,
    /// What the scripts print is logged.
    pub debug: bool,
    /// Since when.
    pub clock: Clock,
    /// What others send us.
    pub signals: SignalStream,
    /// Who is above us.
    pub notify: Notify,
    /// Who reads.
    pub hub: Arc<Hub>,
}

/// Looks after an automaton until it has ended.
pub struct Driver {
    parts: Parts,
    machine: Automaton,
    groups: ProcessTable,
    asked: (mpsc::Sender<Asked>, mpsc::Receiver<Asked>),
    /// Gone when nothing more is told.
    told: Option<broadcast::Sender<Arc<str>>>,
    replies: BTreeMap<RequestId, oneshot::Sender<Response>>,
    requests: u64,
    /// Runs that have left something behind.
    left: BTreeSet<RunId>,
    readers: Vec<JoinHandle<()>>,
    generation: u64,
    /// When the present script was started, and as which process.
    running: Option<(RunId, Timestamp)>,
    /// It was told to end.
    cut: bool,
    /// It has ended, and the machine has not been told yet.
    over: Option<Over>,
    ended_at: Option<Timestamp>,
    /// Why it is ending.
    ending: Option<&'static str>,
    end: Option<i32>,
}

/// A script that has ended.
struct Over {
    run: RunId,
    code: i32,
    /// When to see whether its group is empty.
    look_at: Instant,
    /// When that is no longer waited for.
    until: Instant,
}

/// What is shown before anything has happened.
#[must_use]
pub fn first_view() -> View {
    let health = Answers {
        live: Health::Yes,
        ready: Health::No("it has not begun".to_owned()),
        started: Health::No("it has not begun".to_owned()),
    };
    View { generation: 0, mode: "automaton", processes: Vec::new(), health, ending: None, over: false }
}

impl Driver {
    /// A driver that has not begun.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        reap::adopt_orphans();
        Self {
            machine: Automaton::new(parts.plan.chart.clone(), 1),
            groups: ProcessTable::new(true),
            asked: mpsc::channel(socket::QUEUE),
            told: None,
            replies: BTreeMap::new(),
            requests: 0,
            left: BTreeSet::new(),
            readers: Vec::new(),
            generation: 0,
            running: None,
            cut: false,
            over: None,
            ended_at: None,
            ending: None,
            end: None,
            parts,
        }
    }

    /// Answers on this socket and runs the machine to its end. Returns the exit code of the terminal script.
    pub async fn run(mut self, listener: std::os::unix::net::UnixListener) -> io::Result<i32> {
        let told = broadcast::Sender::new(FOLLOWED);
        let server = socket::serve(listener, self.asked.0.clone(), told.downgrade())?;
        self.told = Some(told);
        let watchdog = self.parts.notify.watchdog();
        let mut alive_at = watchdog.map(|every| Instant::now() + every);
        self.feed(Event::Started);
        let code = loop {
            self.publish();
            if let Some(code) = self.end {
                break code;
            }
            let due = self.machine.deadline().map(|at| self.parts.clock.instant(at));
            tokio::select! {
                biased;
                signals = self.parts.signals.next() => {
                    for signal in signals? {
                        self.signalled(signal);
                    }
                }
                () = until(alive_at) => {
                    self.parts.notify.alive();
                    alive_at = watchdog.map(|every| Instant::now() + every);
                }
                () = until(due) => self.feed(Event::TimerFired),
                () = until(self.over.as_ref().map(|over| over.look_at)) => self.settle(),
                Some(asked) = self.asked.1.recv() => self.ask(asked),
            }
        };
        // Whoever still waits is told KO.
        self.asked.1.close();
        while self.asked.1.try_recv().is_ok() {}
        self.replies.clear();
        drop(self.told.take());
        server.finish().await;
        self.clear().await?;
        for reader in std::mem::take(&mut self.readers) {
            // Whoever left its group may hold the pipe.
            let _ = timeout(LAST_WORDS, reader).await;
        }
        Ok(code)
    }

    // === facts ===

    fn signalled(&mut self, signal: Signal) {
        match signal {
            Signal::CHLD => self.reap(),
            signal if signal.suspends() => {
                terminal::suspend_ourselves(signal);
            }
            signal if matches!(signal, Signal::TERM | Signal::INT | Signal::QUIT | Signal::HUP) => {
                log::info!(signal:% = signal; "told to end");
                // A person who asks twice has no more patience; TERM again changes nothing.
                let ending = self.ending.is_some() || self.machine.is_ending();
                let again = ending && matches!(signal, Signal::INT | Signal::QUIT);
                self.ending.get_or_insert("we were told to");
                self.feed(Event::StopRequested { now: again });
            }
            _ => {}
        }
    }

    fn reap(&mut self) {
        for ReapedEvent { run, what } in self.groups.reap() {
            match what {
                RunEvent::Exited { exit, leftovers, .. } => {
                    if leftovers {
                        self.left.insert(run);
                    }
                    self.ended_at = Some(Timestamp::now());
                    self.running = None;
                    let now = Instant::now();
                    self.over = Some(Over { run, code: exit.shell_code(), look_at: now, until: now + GRACE });
                    self.settle();
                }
                RunEvent::Cleared => drop(self.left.remove(&run)),
                RunEvent::Suspended(_) | RunEvent::Resumed => {}
            }
        }
    }

    /// Tells the machine that its script has ended. One that was told to end has ended with its whole group: the next
    /// script shall not meet it.
    fn settle(&mut self) {
        let now = Instant::now();
        if let Some(over) = &mut self.over
            && self.cut
            && now < over.until
            && self.groups.is_group_populated(over.run)
        {
            over.look_at = now + LOOK_AGAIN;
            return;
        }
        if let Some(Over { run, code, .. }) = self.over.take() {
            self.feed(Event::ScriptExited(run, code));
        }
    }

    fn ask(&mut self, Asked { what, reply }: Asked) {
        match what {
            Wanted::Machine(request) => {
                if let engine::automaton::Request::Set { key, value } = &request {
                    let others = self.machine.variables().iter().filter(|(known, _)| *known != key);
                    let size: usize =
                        others.map(|(known, value)| known.len() + value.len() + EACH_VARIABLE).sum();
                    if size + key.len() + value.len() + EACH_VARIABLE > MOST_VARIABLES {
                        log::warn!(variable:% = key; "not set: all variables together hold at most 1 MiB");
                        let _ = reply.send(Response::No);
                        return;
                    }
                }
                if request == engine::automaton::Request::Die {
                    self.ending.get_or_insert("somebody asked for it");
                }
                self.requests += 1;
                let id = RequestId(self.requests);
                self.replies.insert(id, reply);
                self.feed(Event::Requested(id, request));
            }
            Wanted::History => {
                let lines: Vec<_> = self.machine.history().map(|it| self.line(it)).collect();
                let _ = reply.send(Response::Tag(lines.join("\n")));
            }
        }
    }

    // === the machine ===

    fn feed(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.machine.step(self.parts.clock.now(), event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Run { run, state, input } => {
                    if let Err(error) = self.start(run, state, input) {
                        log::error!(state:% = self.tag(state); "{}", error.message);
                        let now = Instant::now();
                        // Not here: scripts that cannot be started and lead to each other would keep us from all else.
                        self.over =
                            Some(Over { run, code: error.kind.exit_code(), look_at: now, until: now });
                    }
                }
                Effect::Signal(run, signal) => {
                    self.cut = true;
                    if let Some(over) = &mut self.over {
                        over.until = Instant::now() + GRACE;
                    }
                    self.groups.signal(run, signal, SignalScope::Group);
                }
                Effect::Respond(request, answer) => {
                    if let Some(reply) = self.replies.remove(&request) {
                        // Whoever asked may have gone.
                        let _ = reply.send(answer);
                    }
                }
                Effect::Entered(transition) => self.entered(&transition),
                Effect::ScriptExited { state, code, timed_out } => {
                    let late = if timed_out { ", since it took too long" } else { "" };
                    let message = format!("the script of {} has ended with {code}{late}", self.tag(state));
                    self.tell("left", &message);
                }
                Effect::End(code) => self.end = Some(code),
            }
        }
    }

    fn tag(&self, state: StateId) -> &str {
        &self.parts.plan.chart.states[state.0].tag
    }

    fn start(&mut self, run: RunId, state: StateId, input: Vec<u8>) -> Result<(), engine::SpawnError> {
        self.cut = false;
        let script = self.parts.plan.scripts[state.0].clone().unwrap_or_default();
        let set = self.machine.variables().iter();
        let program = Program {
            command: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            without_variables: OUR_VARIABLES.to_vec(),
            variables: set.map(|(key, value)| (key.into(), OsString::from_vec(value.clone()))).collect(),
            ..Program::default()
        };
        let mut start = Start::with(Output::Discard, Output::Discard);
        let mut reader = None;
        if self.parts.debug {
            let system = |error: io::Error| engine::SpawnError {
                kind: engine::SpawnErrorKind::System,
                message: format!("no pipe for a script: {error}"),
            };
            let (end, writer) = pipe().map_err(system)?;
            start.stdout = Output::Pipe(writer.try_clone().map_err(system)?);
            start.stderr = Output::Pipe(writer);
            reader = Some(end);
        }
        start.variables.push(("SOCKET", self.parts.socket.clone().into_os_string()));
        start.variables.push(("INPUT", OsString::from_vec(input)));
        let pid = spawn(&program, start)?;
        self.groups.enter(run, pid, None);
        self.running = Some((run, Timestamp::now()));
        self.readers.retain(|reader| !reader.is_finished());
        if let Some(end) = reader {
            let tag = self.tag(state).to_owned();
            self.readers.push(tokio::spawn(listen(end, tag)));
        }
        Ok(())
    }

    fn entered(&mut self, transition: &Transition) {
        let line = self.line(transition);
        // Nobody follows: nobody hears.
        let _ = self.told.as_ref().map(|told| told.send(line.into()));
        let tag = self.tag(transition.to).to_owned();
        let from = transition.from.map(|from| self.tag(from));
        let status = status::write(&tag, from);
        self.tell("entered", &status::entered(&tag, from));
        self.parts.hub.metrics.entered(&self.parts.name, &tag);
        if self.machine.is_ending() {
            self.parts.notify.stopping(&status);
        } else if transition.number == 1 {
            self.parts.notify.ready(&status);
        } else {
            self.parts.notify.status(&status);
        }
    }

    fn tell(&self, event: &'static str, message: &str) {
        let name = &self.parts.name;
        log::info!(process:% = name; "{message}");
        self.parts.hub.tell(Change {
            number: 0,
            at: String::new(),
            process: name.clone(),
            run: self.running.map(|(run, _)| run.0),
            pid: None,
            event,
            cause: None,
            message: message.to_owned(),
        });
    }

    /// A transition as a line of logfmt.
    fn line(&self, transition: &Transition) -> String {
        let mut line = Vec::new();
        let at = self.parts.clock.of_day(transition.at).map(rfc3339).unwrap_or_default();
        logfmt::append(&mut line, "at", at.as_bytes());
        logfmt::append(&mut line, "number", transition.number.to_string().as_bytes());
        let from = transition.from.map(|from| self.tag(from)).unwrap_or_default();
        logfmt::append(&mut line, "from", from.as_bytes());
        logfmt::append(&mut line, "to", self.tag(transition.to).as_bytes());
        if let Some(code) = transition.code {
            logfmt::append(&mut line, "code", code.to_string().as_bytes());
        }
        if !transition.input.is_empty() {
            logfmt::append(&mut line, "input", &transition.input);
        }
        String::from_utf8_lossy(&line).into_owned()
    }

    // === what is shown ===

    fn publish(&mut self) {
        self.generation += 1;
        let tag = self.machine.tag();
        let state = match (self.machine.current(), self.machine.is_running()) {
            (None, _) => "it has not begun".to_owned(),
            (Some(_), true) => format!("state {tag}, its script runs"),
            (Some(_), false) => format!("state {tag}"),
        };
        let over = self.end.is_some();
        let begun = self.machine.current().is_some();
        let health = |yes: bool, why: &str| if yes { Health::Yes } else { Health::No(why.to_owned()) };
        let last = self.machine.history().filter_map(|it| it.code).last();
        let process = ProcessView {
            name: self.parts.name.as_str().into(),
            command: "sh".to_owned(),
            state,
            status: if self.machine.is_running() { Status::Running } else { Status::Stopped },
            pid: self.running.and_then(|(run, _)| self.groups.pid(run)),
            started_at: self.running.map(|(_, at)| at),
            ended_at: self.ended_at.filter(|_| self.running.is_none()),
            exit_code: last.unwrap_or(0),
            ..ProcessView::default()
        };
        let ending =
            self.ending.or_else(|| self.machine.is_ending().then_some("its terminal state was reached"));
        self.parts.hub.publish(View {
            generation: self.generation,
            mode: "automaton",
            processes: vec![Arc::new(process)],
            health: Answers {
                live: health(!over, "it has ended"),
                ready: health(begun && ending.is_none(), ending.unwrap_or("it has not begun")),
                started: health(begun, "it has not begun"),
            },
            ending: ending.filter(|_| !over).map(|why| (why.to_owned(), None)),
            over,
        });
    }

    // === the end ===

    /// Nothing that the scripts have left behind survives us.
    async fn clear(&mut self) -> io::Result<()> {
        let mut signal = Signal::TERM;
        let mut kill_at = Instant::now() + GRACE;
        self.reap();
        for run in self.left.clone() {
            self.groups.signal(run, signal, SignalScope::Everything);
        }
        self.groups.signal_strays();
        while !self.left.is_empty() {
            tokio::select! {
                signals = self.parts.signals.next() => {
                    let hurry = |signal: &Signal| matches!(*signal, Signal::INT | Signal::QUIT);
                    if signals?.iter().any(hurry) {
                        kill_at = Instant::now();
                    }
                }
                () = sleep_until(Instant::now() + LOOK_AGAIN) => {}
            }
            self.reap();
            if kill_at <= Instant::now() {
                if signal == Signal::KILL {
                    log::error!("even KILL has not ended what the scripts left behind");
                    return Ok(());
                }
                signal = Signal::KILL;
                kill_at = Instant::now() + GRACE;
                for run in self.left.clone() {
                    self.groups.signal(run, signal, SignalScope::Everything);
                }
                self.groups.signal_strays();
            }
        }
        Ok(())
    }
}

/// Logs what a script prints, line by line. Whoever reads our log slowly holds up nothing: the log drops then.
async fn listen(pipe: tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>, tag: String) {
    let mut lines = Lines::default();
    let log = |line: &[u8]| log::info!(state:% = tag; "{}", one_line(&String::from_utf8_lossy(line)));
    let mut buffer = vec![0; 16 << 10];
    while let Ok(mut ready) = pipe.readable().await {
        match rustix::io::read(pipe.get_ref(), &mut buffer[..]) {
            Ok(0) => break,
            Ok(length) => lines.take(&buffer[..length], |line, _| log(line)),
            Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
        // A script that prints without end is not alone here.
        tokio::task::yield_now().await;
    }
    lines.rest(log);
}

/// Waits until then; for ever, if there is no then.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
