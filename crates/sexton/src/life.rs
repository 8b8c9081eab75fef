//! The life of the program, from settings to exit code: everything that can be refused is refused before
//! anything is started.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use engine::pod::Seed;
use engine::{JobId, Plan};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::automaton;
use crate::config;
use crate::config::automaton::{AutomatonPlan, DEFAULT_SOCKET, DEFAULT_SOCKET_MODE};
use crate::config::up::{self, ConfigError, UpPlan};
use crate::config::{ControlPath, Mode, Own, Settings, Up};
use crate::control;
use crate::driver::{self, Driver, Many, Parts, Process};
use crate::ensemble;
use crate::ensemble::counters::Counters;
use crate::ensemble::identity::Identity;
use crate::ensemble::peers::Dialer;
use crate::ensemble::plan::Draft;
use crate::ensemble::proof::AccessPolicy;
use crate::ensemble::rpc::Rpc;
use crate::journal::Journal;
use crate::locks;
use crate::logs::capture::Outputs;
use crate::logs::own_log;
use crate::status::api::{control_router, router};
use crate::status::hub::Hub;
use crate::status::termination;
use crate::status::{Health, ProcessInfo, View};
use crate::store;
use crate::tombstones::{Graveyard, GraveyardError};
use crate::watch::Watcher;
use linux::clock::Clock;
use linux::descriptors;
use linux::notify::Notify;
use linux::signals::{SignalStream, Signals};
use linux::terminal::Terminal;
use net::listen;
use net::listen::{Bound, ControlSocket, ListenError};
use net::server::{Server, ServerOptions};
use net::tls;
use spec::environment::Real;
use spec::listen::Answers;
use spec::logs::LogFormat;
use spec::logs::LogPlan;
use spec::watch::Watch;

/// Why nothing was begun, or why we cannot go on.
#[derive(Debug, Error)]
pub enum LifeError {
    /// We cannot answer.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The file is not all right.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The journal cannot be written.
    #[error("cannot write the event journal {path}: {source}")]
    Journal {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The others in our pod cannot be told, or asked.
    #[error(transparent)]
    Graveyard(#[from] GraveyardError),
    /// There is no store.
    #[error(transparent)]
    Store(#[from] store::StoreFailed),
    /// What is known of the pod is not enough, or cannot be used.
    #[error("{0}")]
    Identity(String),
    /// Certificates cannot be used.
    #[error("cannot speak TLS: {0}")]
    Tls(String),
    /// There is no process list.
    #[error("cannot look at the process list: {0}")]
    ProcessList(#[source] io::Error),
    /// The system refuses something that we cannot be without.
    #[error("the system refuses {what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl LifeError {
    /// As in sysexits.h: `EX_CONFIG`, `EX_UNAVAILABLE`, `EX_CANTCREAT`, `EX_OSERR`.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Tls(_)
            | Self::Identity(_)
            | Self::Store(store::StoreFailed::Token(_)) => 78,
            Self::Listen(_) | Self::Store(_) => 69,
            Self::Journal { .. } | Self::Graveyard(_) => 73,
            Self::ProcessList(_) | Self::System { .. } => 71,
        }
    }
}

/// What the thread of the servers may need: no recursion of ours is deep.
const SERVER_STACK: usize = 512 << 10;

fn system(what: &'static str) -> impl FnOnce(io::Error) -> LifeError {
    move |source| LifeError::System { what, source }
}

/// Does what the settings say, and returns the exit code.
pub fn live(settings: Settings) -> Result<i32, LifeError> {
    // A file that is not all right binds nothing either.
    let plan = match &settings.mode {
        Mode::Up(up) => Some(up::load(&up.source, &up.beside, &Real)?),
        Mode::Own(_) | Mode::Watch(_) | Mode::Automaton(_) | Mode::LockServer(_) | Mode::Ensemble(_) => None,
    };
    let chart = match &settings.mode {
        Mode::Automaton(automaton) => {
            Some(config::automaton::load(&automaton.file, automaton.section.as_deref())?)
        }
        _ => None,
    };
    if matches!(settings.mode, Mode::Up(_) | Mode::Automaton(_)) {
        descriptors::raise();
    }
    let listeners = listen::open(&settings.listen)?;
    let control = match &settings.mode {
        Mode::Up(up) => control_socket(up.control.as_ref())?,
        Mode::Own(_) | Mode::Watch(_) | Mode::Automaton(_) | Mode::LockServer(_) | Mode::Ensemble(_) => None,
    };
    let machine = match (&settings.mode, chart) {
        (Mode::Automaton(automaton), Some(plan)) => Some(Machine::open(automaton, plan)?),
        _ => None,
    };
    // Before there is any thread: threads inherit what is blocked.
    let signals = Signals::take().map_err(system("signals"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(system("an event loop"))?;
    let code = runtime.block_on(async {
        let signals = signals.into_stream().map_err(system("signals"))?;
        let (bound, side_port, answers) = (listeners.bound, listeners.side_port, settings.answers);
        let code = match settings.mode {
            Mode::Own(own) => {
                look_after(*own, settings.journal.as_deref(), signals, bound, side_port, answers).await
            }
            Mode::Watch(watch) => look_at(watch, signals, bound, side_port, answers).await,
            Mode::Automaton(automaton) => {
                let Some(machine) = machine else { unreachable!("it was opened above") };
                machine.run(automaton.debug, signals, bound, answers).await
            }
            Mode::Ensemble(plan) => gather(*plan, signals, bound, answers).await,
            Mode::LockServer(server) => serve_locks(&server, signals, bound, answers).await,
            Mode::Up(up) => {
                let Some(plan) = plan else { unreachable!("it was read above") };
                look_after_many(*up, plan, settings.journal.as_deref(), signals, bound, control, answers)
                    .await
            }
        };
        own_log::flush().await;
        code
    });
    // Whatever is still under way, nobody waits for it any more.
    runtime.shutdown_timeout(Duration::ZERO);
    code
}

/// The control socket. One that nobody has asked for need not be.
fn control_socket(path: Option<&ControlPath>) -> Result<Option<ControlSocket>, LifeError> {
    let Some(ControlPath { path, asked_for }) = path else { return Ok(None) };
    match listen::control(path) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if *asked_for => Err(error.into()),
        Err(error) => {
            log::warn!("{error}: nobody can ask us for anything (--control names another place)");
            Ok(None)
        }
    }
}

fn begin_journal(plan: &Plan, path: Option<&std::path::Path>) -> Result<(Seed, Option<Journal>), LifeError> {
    let seed = Seed { plan: plan.clone(), seed: throw() };
    let journal = path.map(|path| {
        Journal::begin(path, &seed)
            .map_err(|source| LifeError::Journal { path: path.display().to_string(), source })
    });
    Ok((seed, journal.transpose()?))
}

/// Something that differs from start to start and from machine to machine.
fn throw() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    // The standard library seeds its hash tables from the system's source of chance.
    RandomState::new().hash_one(std::process::id())
}

async fn look_after(
    own: Own,
    journal: Option<&std::path::Path>,
    signals: SignalStream,
    bound: Vec<Bound>,
    side_port: u16,
    answers: Answers,
) -> Result<i32, LifeError> {
    let (seed, journal) = begin_journal(&own.plan, journal)?;
    let clock = Clock::begin();
    let text = |word: &std::ffi::OsString| word.to_string_lossy().into_owned();
    let constants = ProcessInfo {
        name: own.name.as_str().into(),
        command: text(&own.program.command),
        arguments: own.program.arguments.iter().map(text).collect(),
        ttl: own.ttl.filter(|span| span.from == span.to).map(|span| span.to).unwrap_or_default(),
        wait: own.wait,
        side_port,
    };
    let mut hub = Hub::new(driver::first_view(own.word, &[&constants], &seed, false, clock));
    let mut outputs = Outputs::new(Arc::clone(&hub.logs));
    let logs = LogPlan { format: records_for_one(), labels: BTreeMap::new() };
    outputs.plan(JobId(0), &own.name, own.output, logs, true).map_err(system("a thread for the output"))?;
    hub.metrics.watch_sinks(outputs.sinks());
    let hub = Arc::new(hub);
    let cast = driver::cast(&own.plan, &[], &[]);
    let graveyard = own.pod.map(|pod| Graveyard::begin(pod, cast, clock)).transpose()?;
    let server = serve(bound, &hub, router(Arc::clone(&hub), answers, clock))?;
    let driver = Driver::new(Parts {
        mode: own.word,
        seed,
        clock,
        signals,
        processes: vec![Process { constants, program: own.program, plan: None, lock: own.lock }],
        outputs,
        terminal: Terminal::on_stdin(),
        journal,
        notify: Notify::from_environment(),
        hub,
        commands: driver::no_commands(),
        many: None,
        graveyard,
    });
    let code = driver.run().await.map_err(system("signals"))?;
    if let Some(server) = server {
        server.finish().await;
    }
    Ok(code)
}

/// The form of the records of one process alone.
fn records_for_one() -> LogFormat {
    if io::stdout().is_terminal() { LogFormat::Pretty } else { LogFormat::Logfmt }
}

async fn look_after_many(
    up: Up,
    plan: UpPlan,
    journal: Option<&std::path::Path>,
    signals: SignalStream,
    bound: Vec<Bound>,
    control: Option<ControlSocket>,
    answers: Answers,
) -> Result<i32, LifeError> {
    for warning in &plan.warnings {
        log::warn!("{}:{warning}", up.source);
    }
    let (seed, journal) = begin_journal(&plan.plan, journal)?;
    let clock = Clock::begin();
    let constants: Vec<_> = plan.processes.iter().map(driver::constants).collect();
    let mut hub =
        Hub::new(driver::first_view("up", &constants.iter().collect::<Vec<_>>(), &seed, true, clock));
    let mut outputs = Outputs::new(Arc::clone(&hub.logs));
    for (place, process) in plan.processes.iter().enumerate() {
        let planned =
            outputs.plan(JobId(place), &process.name, driver::streams(process), process.logs.clone(), false);
        planned.map_err(system("a thread for the output"))?;
    }
    outputs.align();
    hub.metrics.watch_sinks(outputs.sinks());
    let (controls, commands) = mpsc::channel(control::QUEUE);
    hub.controls = Some(controls);
    let hub = Arc::new(hub);
    let places: Vec<JobId> = (0..plan.processes.len()).map(JobId).collect();
    let cast = driver::cast(&plan.plan, &places, &plan.processes);
    let graveyard = plan.pod.clone().map(|pod| Graveyard::begin(pod, cast, clock)).transpose()?;
    let mut servers = vec![(bound, router(Arc::clone(&hub), answers, clock))];
    let guard = control.map(|ControlSocket { bound, guard }| {
        servers.push((vec![bound], control_router(Arc::clone(&hub), answers, clock)));
        guard
    });
    servers.retain(|(bound, _)| !bound.is_empty());
    let apart = if servers.is_empty() { None } else { Some(Apart::start(servers, &hub)?) };
    let processes = plan.processes.iter().zip(constants);
    let processes = processes.map(|(process, constants)| Process {
        constants,
        program: process.program.clone(),
        plan: Some(process.clone()),
        lock: process.lock.clone(),
    });
    let driver = Driver::new(Parts {
        mode: "up",
        seed,
        clock,
        signals,
        processes: processes.collect(),
        outputs,
        terminal: None,
        journal,
        notify: Notify::from_environment(),
        hub,
        commands,
        many: Some(Many {
            source: up.source,
            beside: up.beside,
            places,
            plan,
            termination_log: termination::FILE.into(),
        }),
        graveyard,
    });
    let code = driver.run().await.map_err(system("signals"))?;
    drop(guard);
    if let Some(apart) = apart {
        apart.finish();
    }
    Ok(code)
}

/// A state machine of scripts that is about to begin.
struct Machine {
    plan: AutomatonPlan,
    name: String,
    path: PathBuf,
    socket: ControlSocket,
}

impl Machine {
    fn open(asked: &config::Automaton, plan: AutomatonPlan) -> Result<Self, LifeError> {
        let path = asked.socket.clone().or_else(|| plan.socket.clone());
        let path = path.unwrap_or_else(|| DEFAULT_SOCKET.into());
        // Scripts may change their directory.
        let path = std::path::absolute(&path).unwrap_or(path);
        let socket = listen::control(&path)?;
        let mode = asked.socket_mode.or(plan.socket_mode).unwrap_or(DEFAULT_SOCKET_MODE);
        automaton::socket::set_mode(&path, mode).map_err(system("the mode of the socket"))?;
        Ok(Self { plan, name: automaton_name(asked), path, socket })
    }

    async fn run(
        self,
        debug: bool,
        signals: SignalStream,
        bound: Vec<Bound>,
        answers: Answers,
    ) -> Result<i32, LifeError> {
        let Self { plan, name, path, socket: ControlSocket { bound: listener, guard } } = self;
        let clock = Clock::begin();
        let hub = Arc::new(Hub::new(automaton::first_view()));
        let server = serve(bound, &hub, router(Arc::clone(&hub), answers, clock))?;
        let notify = Notify::from_environment();
        let parts = automaton::Parts { name, plan, socket: path, debug, clock, signals, notify, hub };
        let (Bound::Control(listener) | Bound::Unix(listener)) = listener else {
            unreachable!("it is a unix socket")
        };
        let code = automaton::Driver::new(parts).run(listener).await.map_err(system("signals"))?;
        drop(guard);
        if let Some(server) = server {
            server.finish().await;
        }
        Ok(code)
    }
}

/// What people call it: as its section, or as its file.
fn automaton_name(asked: &config::Automaton) -> String {
    let section = asked.section.as_deref().map(|way| way.strip_suffix("/automaton").unwrap_or(way));
    match section.and_then(|way| way.rsplit('/').next()) {
        Some(name) => name.to_owned(),
        None => asked
            .file
            .file_stem()
            .map_or_else(|| "automaton".to_owned(), |it| it.to_string_lossy().into_owned()),
    }
}

async fn look_at(
    watch: Watch,
    signals: SignalStream,
    bound: Vec<Bound>,
    side_port: u16,
    answers: Answers,
) -> Result<i32, LifeError> {
    let clock = Clock::begin();
    let health = Health::watched(false, false, "yet");
    let hub = Hub::new(View {
        generation: 0,
        mode: "watch",
        processes: Vec::new(),
        health,
        ending: None,
        over: false,
    });
    let hub = Arc::new(hub);
    let watcher = Watcher::new(watch, side_port, clock, Notify::from_environment(), Arc::clone(&hub));
    let watcher = watcher.map_err(LifeError::ProcessList)?;
    let server = serve(bound, &hub, router(Arc::clone(&hub), answers, clock))?;
    let code = watcher.run(signals).await.map_err(system("signals"))?;
    if let Some(server) = server {
        server.finish().await;
    }
    Ok(code)
}

/// Serves locks until we are told to end.
async fn serve_locks(
    plan: &config::LockServer,
    signals: SignalStream,
    bound: Vec<Bound>,
    answers: Answers,
) -> Result<i32, LifeError> {
    let (store, made) = store::open(&plan.store)?;
    let locks = ::ensemble::lock::Locks::new(store, locks::PREFIX);
    let locks = if made { locks.of_new_store() } else { locks };
    let health = Health::watched(true, true, "serves locks");
    let hub = Hub::new(View {
        generation: 0,
        mode: "lock",
        processes: Vec::new(),
        health,
        ending: None,
        over: false,
    });
    let (hub, clock, notify) = (Arc::new(hub), Clock::begin(), Notify::from_environment());
    let routes = locks::server::router(locks).merge(router(Arc::clone(&hub), answers, clock));
    let server = serve(bound, &hub, routes)?;
    notify.ready("serves locks");
    while !signals.next().await.map_err(system("signals"))?.iter().any(|signal| signal.ends_a_program()) {}
    notify.stopping("told to end");
    if let Some(server) = server {
        server.finish().await;
    }
    Ok(0)
}

/// Is a pod of an ensemble until it is told to end.
async fn gather(
    draft: Draft,
    signals: SignalStream,
    bound: Vec<Bound>,
    answers: Answers,
) -> Result<i32, LifeError> {
    let known = if draft.sources.any() {
        let Some(known) = told_before_the_end(&draft, &signals).await? else { return Ok(0) };
        known
    } else {
        draft.sources.given.clone()
    };
    let plan = draft.complete(&known).map_err(LifeError::Identity)?;
    let access = &plan.access;
    let token: Option<Arc<str>> = access.token.as_deref().map(store::token).transpose()?.map(Into::into);
    let acceptor = access.tls.own.is_some().then(|| tls::Acceptor::new(access.tls.clone()));
    let acceptor = acceptor.transpose().map_err(LifeError::Tls)?.map(Arc::new);
    let proof = AccessPolicy {
        token: token.clone(),
        certificates: acceptor.is_some() && access.tls.ca.is_some(),
        open: access.unauthenticated_invoke,
        keepalives: access.authenticated_keepalives,
    };
    let shows = token.filter(|_| access.authenticated_keepalives);
    let dialer = Dialer::new(plan.peers(), access.tls.clone(), shows).map_err(LifeError::Tls)?;
    // What can be refused is, before anything is made.
    let store = plan.master.as_ref().map(|master| store::open(&master.store)).transpose()?;
    let mut hub = Hub::new(ensemble::driver::first_view());
    let counters = Counters::new(plan.statsd, hub.metrics.registry());
    let hub = Arc::new(hub);
    let parts = ensemble::driver::Parts {
        plan,
        store: store.map(|(store, _)| store),
        proof,
        dialer,
        counters,
        signals,
        notify: Notify::from_environment(),
        hub: Arc::clone(&hub),
    };
    let (driver, table) = ensemble::Driver::new(parts);
    let rpc = Rpc { api: table.clone(), hub: Arc::clone(&hub) };
    let beside = ServerOptions { tls: acceptor, other: Some(Arc::new(rpc)) };
    let routes = ensemble::routes::router(table).merge(router(Arc::clone(&hub), answers, Clock::begin()));
    let server = serve_beside(bound, &hub, routes, beside)?;
    let code = driver.run().await.map_err(system("signals"))?;
    if let Some(server) = server {
        server.finish().await;
    }
    Ok(code)
}

/// Who we are; None: we are to end before it is known.
async fn told_before_the_end(draft: &Draft, signals: &SignalStream) -> Result<Option<Identity>, LifeError> {
    let ended = async {
        loop {
            if signals.next().await?.iter().any(|signal| signal.ends_a_program()) {
                return Ok::<_, io::Error>(());
            }
        }
    };
    tokio::select! {
        known = draft.sources.ask() => Ok(Some(known)),
        ended = ended => ended.map(|()| None).map_err(system("signals")),
    }
}

/// Servers on a thread of their own: what the driver is at, making a hundred processes say, holds up no answer.
struct Apart {
    thread: JoinHandle<()>,
    over: oneshot::Sender<()>,
}

impl Apart {
    fn start(servers: Vec<(Vec<Bound>, Router)>, hub: &Arc<Hub>) -> Result<Self, LifeError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(system("an event loop"))?;
        let (over, end) = oneshot::channel();
        let (told, started) = std::sync::mpsc::channel();
        let hub = Arc::clone(hub);
        let thread =
            std::thread::Builder::new().name("http".to_owned()).stack_size(SERVER_STACK).spawn(move || {
                runtime.block_on(async {
                    let begun = servers.into_iter().map(|(bound, router)| serve(bound, &hub, router));
                    let servers = match begun.collect::<Result<Vec<_>, _>>() {
                        Ok(servers) => servers,
                        Err(error) => return drop(told.send(Err(error))),
                    };
                    let _ = told.send(Ok(()));
                    let _ = end.await;
                    for server in servers.into_iter().flatten() {
                        server.finish().await;
                    }
                });
                // Whatever is still under way, nobody waits for it any more.
                runtime.shutdown_timeout(Duration::ZERO);
            });
        let thread = thread.map_err(system("a thread for the server"))?;
        started.recv().map_err(|error| system("a server")(io::Error::other(error)))??;
        Ok(Self { thread, over })
    }

    /// Lets answers that are under way go out, but not for long.
    fn finish(self) {
        let _ = self.over.send(());
        let _ = self.thread.join();
    }
}

fn serve(bound: Vec<Bound>, hub: &Arc<Hub>, router: Router) -> Result<Option<Server>, LifeError> {
    serve_beside(bound, hub, router, ServerOptions::default())
}

fn serve_beside(
    bound: Vec<Bound>,
    hub: &Arc<Hub>,
    router: Router,
    beside: ServerOptions,
) -> Result<Option<Server>, LifeError> {
    if bound.is_empty() {
        return Ok(None);
    }
    for listener in &bound {
        if let Bound::Tcp(listener) = listener
            && let Ok(address) = listener.local_addr()
        {
            log::info!(address:% = address; "listening");
        }
    }
    let server = Server::start(bound, router, Arc::<Hub>::clone(hub), beside);
    server.map(Some).map_err(system("the listening socket"))
}
