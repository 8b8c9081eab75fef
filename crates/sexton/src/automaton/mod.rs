//! A state machine of shell scripts, controlled over a unix socket.
//!
//! ```text
//! socket ──Request──►                            ──Run──► sh -c SCRIPT
//! signals ──Input───► engine::automaton::Automaton ──Signal──► its process group
//! scripts ──Ended───►                            ──Answer──► socket ; hub ─► http
//! ```
//!
//! * [`protocol`]: the commands of clients
//! * [`socket`]: the server for clients
//! * [`graph`]: the machine as a graph
//! * [`status`]: the status text for the service manager
//! * [`Driver`]: feeds events to the machine and performs its effects

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

use crate::logs::lines::Lines;
use crate::logs::logfmt;
use crate::status::hub::{Change, Hub};
use crate::status::{Health as Answers, HealthState as Health, ProcessView, Status, View};
use config::automaton::AutomatonPlan;
use linux::clock::{Clock, rfc3339};
use linux::notify::Notify;
use linux::process_table::{ProcessTable, ReapedEvent, RunEvent};
use linux::signals::SignalStream;
use linux::spawn::{Output, Start, spawn};
use linux::{reap, terminal};
use socket::{ClientRequest, Query};
use spec::notify::SERVICE_MANAGER_VARIABLES;
use spec::program::Program;
use spec::text::one_line;

/// The number of transitions that a follower may lag behind.
const FOLLOWER_CAPACITY: usize = 256;
/// Grace period of processes that the scripts left behind, at shutdown.
const GRACE_PERIOD: Duration = Duration::from_secs(5);
/// How often left-over processes are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// How long to wait for the last output of scripts, if another process still holds the pipe open.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);
/// The maximum size of all variables in bytes: half of the kernel's limit for arguments and environment (execve(2)).
const MAX_VARIABLES: usize = 1 << 20;
/// The overhead of each variable: a pointer, `=` and NUL.
const VARIABLE_OVERHEAD: usize = 10;

/// The parts of a driver.
pub struct Parts {
    /// Name for people.
    pub name: String,
    pub plan: AutomatonPlan,
    /// Path of the control socket.
    pub socket: PathBuf,
    /// Whether the output of scripts is logged.
    pub debug: bool,
    pub clock: Clock,
    /// Received signals.
    pub signals: SignalStream,
    /// The service manager (sd_notify).
    pub notify: Notify,
    /// Publishes status and events.
    pub hub: Arc<Hub>,
}

/// Runs an automaton until it ends.
pub struct Driver {
    parts: Parts,
    machine: Automaton,
    groups: ProcessTable,
    inbox: (mpsc::Sender<ClientRequest>, mpsc::Receiver<ClientRequest>),
    /// None at shutdown, when there are no more transitions.
    followers: Option<broadcast::Sender<Arc<str>>>,
    replies: BTreeMap<RequestId, oneshot::Sender<Response>>,
    last_request: u64,
    /// Runs that have left processes behind.
    leftover_runs: BTreeSet<RunId>,
    readers: Vec<JoinHandle<()>>,
    generation: u64,
    /// The run of the current script, and its start time.
    running: Option<(RunId, Timestamp)>,
    /// A signal was sent to the script.
    script_signalled: bool,
    /// The script has exited, but the machine has not been informed yet.
    finished: Option<FinishedScript>,
    ended_at: Option<Timestamp>,
    /// Why it is shutting down.
    ending: Option<&'static str>,
    end: Option<i32>,
}

/// A script that has exited.
struct FinishedScript {
    run: RunId,
    code: i32,
    /// Time of the next check whether its process group is empty.
    check_at: Instant,
    /// End of these checks.
    until: Instant,
}

/// The view before the start.
#[must_use]
pub fn first_view() -> View {
    let health = Answers {
        live: Health::Yes,
        ready: Health::No("not started".to_owned()),
        started: Health::No("not started".to_owned()),
    };
    View { generation: 0, mode: "automaton", processes: Vec::new(), health, ending: None, over: false }
}

impl Driver {
    /// A driver that is not running yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        reap::adopt_orphans();
        Self {
            machine: Automaton::new(parts.plan.chart.clone(), 1),
            groups: ProcessTable::new(true),
            inbox: mpsc::channel(socket::QUEUE),
            followers: None,
            replies: BTreeMap::new(),
            last_request: 0,
            leftover_runs: BTreeSet::new(),
            readers: Vec::new(),
            generation: 0,
            running: None,
            script_signalled: false,
            finished: None,
            ended_at: None,
            ending: None,
            end: None,
            parts,
        }
    }

    /// Serves the socket and runs the machine until it ends. Returns the exit code of the terminal script.
    pub async fn run(mut self, listener: std::os::unix::net::UnixListener) -> io::Result<i32> {
        let followers = broadcast::Sender::new(FOLLOWER_CAPACITY);
        let server = socket::serve(listener, self.inbox.0.clone(), followers.downgrade())?;
        self.followers = Some(followers);
        let watchdog = self.parts.notify.watchdog();
        let mut alive_at = watchdog.map(|every| Instant::now() + every);
        self.dispatch(Event::Started);
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
                        self.handle_signal(signal);
                    }
                }
                () = until(alive_at) => {
                    self.parts.notify.alive();
                    alive_at = watchdog.map(|every| Instant::now() + every);
                }
                () = until(due) => self.dispatch(Event::TimerFired),
                () = until(self.finished.as_ref().map(|finished| finished.check_at)) => self.report_exit(),
                Some(request) = self.inbox.1.recv() => self.handle_request(request),
            }
        };
        // Waiting clients get KO.
        self.inbox.1.close();
        while self.inbox.1.try_recv().is_ok() {}
        self.replies.clear();
        drop(self.followers.take());
        server.finish().await;
        self.stop_leftovers().await?;
        for reader in std::mem::take(&mut self.readers) {
            // A process that left its group may hold the pipe open.
            let _ = timeout(OUTPUT_TIMEOUT, reader).await;
        }
        Ok(code)
    }

    // === events ===

    fn handle_signal(&mut self, signal: Signal) {
        match signal {
            Signal::CHLD => self.reap(),
            signal if signal.suspends() => {
                terminal::suspend_self(signal);
            }
            signal if matches!(signal, Signal::TERM | Signal::INT | Signal::QUIT | Signal::HUP) => {
                log::info!(signal:% = signal; "shutting down: received SIG{signal}");
                // A second SIGINT or SIGQUIT forces the shutdown; a second SIGTERM changes nothing.
                let ending = self.ending.is_some() || self.machine.is_ending();
                let forced = ending && matches!(signal, Signal::INT | Signal::QUIT);
                self.ending.get_or_insert("stop requested by signal");
                self.dispatch(Event::StopRequested { now: forced });
            }
            _ => {}
        }
    }

    fn reap(&mut self) {
        for ReapedEvent { run, what } in self.groups.reap() {
            match what {
                RunEvent::Exited { exit, leftovers, .. } => {
                    if leftovers {
                        self.leftover_runs.insert(run);
                    }
                    self.ended_at = Some(Timestamp::now());
                    self.running = None;
                    let now = Instant::now();
                    self.finished = Some(FinishedScript {
                        run,
                        code: exit.shell_code(),
                        check_at: now,
                        until: now + GRACE_PERIOD,
                    });
                    self.report_exit();
                }
                RunEvent::Cleared => drop(self.leftover_runs.remove(&run)),
                RunEvent::Suspended(_) | RunEvent::Resumed => {}
            }
        }
    }

    /// Informs the machine that its script has exited. After a signal, only when its process group is empty, so that the
    /// next script does not run concurrently with it.
    fn report_exit(&mut self) {
        let now = Instant::now();
        if let Some(finished) = &mut self.finished
            && self.script_signalled
            && now < finished.until
            && self.groups.is_group_populated(finished.run)
        {
            finished.check_at = now + CHECK_INTERVAL;
            return;
        }
        if let Some(FinishedScript { run, code, .. }) = self.finished.take() {
            self.dispatch(Event::ScriptExited(run, code));
        }
    }

    fn handle_request(&mut self, ClientRequest { query, reply }: ClientRequest) {
        match query {
            Query::Machine(request) => {
                if let engine::automaton::Request::Set { key, value } = &request {
                    let others = self.machine.variables().iter().filter(|(known, _)| *known != key);
                    let size: usize =
                        others.map(|(known, value)| known.len() + value.len() + VARIABLE_OVERHEAD).sum();
                    if size + key.len() + value.len() + VARIABLE_OVERHEAD > MAX_VARIABLES {
                        log::warn!(variable:% = key; "variable not set: the limit for all variables is 1 MiB");
                        let _ = reply.send(Response::No);
                        return;
                    }
                }
                if request == engine::automaton::Request::Die {
                    self.ending.get_or_insert("stop requested by DIE");
                }
                self.last_request += 1;
                let id = RequestId(self.last_request);
                self.replies.insert(id, reply);
                self.dispatch(Event::Requested(id, request));
            }
            Query::History => {
                let lines: Vec<_> = self.machine.history().map(|it| self.transition_line(it)).collect();
                let _ = reply.send(Response::Tag(lines.join("\n")));
            }
        }
    }

    // === state machine ===

    fn dispatch(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.machine.step(self.parts.clock.now(), event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Run { run, state, input } => {
                    if let Err(error) = self.start(run, state, input) {
                        log::error!(state:% = self.tag(state); "{}", error.message);
                        let now = Instant::now();
                        // Not directly: scripts that cannot start and lead to each other would block the loop.
                        self.finished = Some(FinishedScript {
                            run,
                            code: error.kind.exit_code(),
                            check_at: now,
                            until: now,
                        });
                    }
                }
                Effect::Signal(run, signal) => {
                    self.script_signalled = true;
                    if let Some(finished) = &mut self.finished {
                        finished.until = Instant::now() + GRACE_PERIOD;
                    }
                    self.groups.signal(run, signal, SignalScope::Group);
                }
                Effect::Respond(request, answer) => {
                    if let Some(reply) = self.replies.remove(&request) {
                        // Err: the client has disconnected.
                        let _ = reply.send(answer);
                    }
                }
                Effect::Entered(transition) => self.entered(&transition),
                Effect::ScriptExited { state, code, timed_out } => {
                    let late = if timed_out { " (timeout)" } else { "" };
                    let message = format!("the script of {} exited with code {code}{late}", self.tag(state));
                    self.publish_event("left", &message);
                }
                Effect::End(code) => self.end = Some(code),
            }
        }
    }

    fn tag(&self, state: StateId) -> &str {
        &self.parts.plan.chart.states[state.0].tag
    }

    fn start(&mut self, run: RunId, state: StateId, input: Vec<u8>) -> Result<(), engine::SpawnError> {
        self.script_signalled = false;
        let script = self.parts.plan.scripts[state.0].clone().unwrap_or_default();
        let set = self.machine.variables().iter();
        let program = Program {
            command: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            without_variables: SERVICE_MANAGER_VARIABLES.to_vec(),
            variables: set.map(|(key, value)| (key.into(), OsString::from_vec(value.clone()))).collect(),
            ..Program::default()
        };
        let mut start = Start::with(Output::Discard, Output::Discard);
        let mut reader = None;
        if self.parts.debug {
            let system = |error: io::Error| engine::SpawnError {
                kind: engine::SpawnErrorKind::System,
                message: format!("cannot create a pipe for a script: {error}"),
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
        let line = self.transition_line(transition);
        // Err: there are no followers.
        let _ = self.followers.as_ref().map(|followers| followers.send(line.into()));
        let tag = self.tag(transition.to).to_owned();
        let from = transition.from.map(|from| self.tag(from));
        let status = status::write(&tag, from);
        self.publish_event("entered", &status::entered(&tag, from));
        self.parts.hub.metrics.entered(&self.parts.name, &tag);
        if self.machine.is_ending() {
            self.parts.notify.stopping(&status);
        } else if transition.number == 1 {
            self.parts.notify.ready(&status);
        } else {
            self.parts.notify.status(&status);
        }
    }

    fn publish_event(&self, event: &'static str, message: &str) {
        let name = &self.parts.name;
        log::info!(process:% = name; "{message}");
        self.parts.hub.publish_event(Change {
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

    /// Formats a transition in logfmt.
    fn transition_line(&self, transition: &Transition) -> String {
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

    // === status ===

    fn publish(&mut self) {
        self.generation += 1;
        let tag = self.machine.tag();
        let state = match (self.machine.current(), self.machine.is_running()) {
            (None, _) => "not started".to_owned(),
            (Some(_), true) => format!("state {tag}, script running"),
            (Some(_), false) => format!("state {tag}"),
        };
        let ended = self.end.is_some();
        let started = self.machine.current().is_some();
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
        let ending = self.ending.or_else(|| self.machine.is_ending().then_some("terminal state reached"));
        self.parts.hub.publish(View {
            generation: self.generation,
            mode: "automaton",
            processes: vec![Arc::new(process)],
            health: Answers {
                live: health(!ended, "terminated"),
                ready: health(started && ending.is_none(), ending.unwrap_or("not started")),
                started: health(started, "not started"),
            },
            ending: ending.filter(|_| !ended).map(|why| (why.to_owned(), None)),
            over: ended,
        });
    }

    // === shutdown ===

    /// Stops all processes that the scripts left behind.
    async fn stop_leftovers(&mut self) -> io::Result<()> {
        let mut signal = Signal::TERM;
        let mut kill_at = Instant::now() + GRACE_PERIOD;
        self.reap();
        for run in self.leftover_runs.clone() {
            self.groups.signal(run, signal, SignalScope::Everything);
        }
        self.groups.signal_strays();
        while !self.leftover_runs.is_empty() {
            tokio::select! {
                signals = self.parts.signals.next() => {
                    let forced = |signal: &Signal| matches!(*signal, Signal::INT | Signal::QUIT);
                    if signals?.iter().any(forced) {
                        kill_at = Instant::now();
                    }
                }
                () = sleep_until(Instant::now() + CHECK_INTERVAL) => {}
            }
            self.reap();
            if kill_at <= Instant::now() {
                if signal == Signal::KILL {
                    log::error!("processes left by the scripts are still alive after SIGKILL");
                    return Ok(());
                }
                signal = Signal::KILL;
                kill_at = Instant::now() + GRACE_PERIOD;
                for run in self.leftover_runs.clone() {
                    self.groups.signal(run, signal, SignalScope::Everything);
                }
                self.groups.signal_strays();
            }
        }
        Ok(())
    }
}

/// Logs the output of a script line by line. A slow reader of the log does not delay it: then the log drops lines.
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
        // Let other tasks run even if a script prints endlessly.
        tokio::task::yield_now().await;
    }
    lines.rest(log);
}

/// Waits until this time, or forever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
