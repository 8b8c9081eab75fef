//! The modes of the program, from settings to exit code. Each mode is a type with two steps:
//!
//! * `open` does everything that can be refused before there are threads: it reads files, binds listeners and the
//!   control socket, and begins the event journal. A port that is in use starts nothing.
//! * `run` does the rest inside of the event loop, and returns the exit code.
//!
//! Between the two, [`run`] blocks all signals, which threads inherit, and then starts the event loop.

mod automaton;
mod ensemble;
mod lock_server;
mod server;
mod single;
mod up;
mod watch;

use std::io;
use std::path::Path;
use std::time::Duration;

use engine::Plan;
use engine::pod::Seed;
use thiserror::Error;

use crate::journal::Journal;
use crate::logs::line_writer::Sink;
use crate::logs::own_log;
use crate::status::{Health, View};
use crate::store::StoreFailed;
use crate::sysexits::{CANTCREAT, CONFIG, OSERR, UNAVAILABLE};
use crate::tombstones::GraveyardError;
use config::compile::ConfigError;
use config::{Mode, Settings};
use linux::signals::{SignalStream, Signals};
use net::listen::ListenError;
use spec::random::random_u64;
use spec::text::describe;

use automaton::AutomatonApp;
use ensemble::EnsembleApp;
use lock_server::LockServerApp;
use server::{BoundServer, ServerSettings};
use single::SingleApp;
use up::UpApp;
use watch::WatchApp;

/// Why the program could not start, or cannot continue.
#[derive(Debug, Error)]
pub enum StartupError {
    /// A listener or the control socket cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot write the event journal {path}: {}", describe(source))]
    Journal { path: String, source: io::Error },
    /// A tombstone cannot be written, or peers cannot be watched.
    #[error(transparent)]
    Graveyard(#[from] GraveyardError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreFailed),
    /// The identity of the pod is incomplete or invalid.
    #[error("{0}")]
    Identity(String),
    /// Certificates or keys cannot be used.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    #[error("cannot read the process list: {}", describe(.0))]
    ProcessList(#[source] io::Error),
    /// A system call failed without which the program cannot work.
    #[error("cannot {action}: {}", describe(source))]
    System { action: &'static str, source: io::Error },
}

impl StartupError {
    /// The exit code.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Tls(_) | Self::Identity(_) | Self::Store(StoreFailed::Token(_)) => CONFIG,
            Self::Listen(_) | Self::Store(_) => UNAVAILABLE,
            Self::Journal { .. } | Self::Graveyard(_) => CANTCREAT,
            Self::ProcessList(_) | Self::System { .. } => OSERR,
        }
    }
}

/// Adds to a system error what could not be done.
fn cannot(action: &'static str) -> impl FnOnce(io::Error) -> StartupError {
    move |source| StartupError::System { action, source }
}

const READ_SIGNALS: &str = "read signals";

/// A mode that is open.
trait App {
    /// Runs until everything has been shut down, and returns the exit code.
    async fn run(self, signals: SignalStream) -> Result<i32, StartupError>;
}

/// Runs the mode that the settings name, and returns the exit code.
pub fn run(settings: Settings) -> Result<i32, StartupError> {
    let Settings { listen, answers, mode, journal } = settings;
    let server = ServerSettings { listen, answers };
    match mode {
        Mode::Own(own) => start(SingleApp::open(*own, &server, journal.as_deref())?),
        Mode::Watch(watch) => start(WatchApp::open(watch, &server)?),
        Mode::Up(up) => start(UpApp::open(*up, &server, journal.as_deref())?),
        Mode::Automaton(automaton) => start(AutomatonApp::open(&automaton, &server)?),
        Mode::LockServer(lock_server) => start(LockServerApp::open(lock_server, &server)?),
        Mode::Ensemble(draft) => start(EnsembleApp::open(*draft, &server)?),
    }
}

fn start(app: impl App) -> Result<i32, StartupError> {
    // Before there is any thread: threads inherit the mask of blocked signals.
    let signals = Signals::take().map_err(cannot("block signals"))?;
    Sink::allow_threads();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(cannot("create an event loop"))?;
    let code = runtime.block_on(async {
        let signals = signals.into_stream().map_err(cannot(READ_SIGNALS))?;
        let code = app.run(signals).await;
        own_log::flush().await;
        code
    });
    // Tasks that are still running are dropped.
    runtime.shutdown_timeout(Duration::ZERO);
    code
}

/// Creates the engine's plan with a random seed, and the event journal that begins with it.
fn begin_journal(plan: &Plan, path: Option<&Path>) -> Result<(Seed, Option<Journal>), StartupError> {
    let seed = Seed { plan: plan.clone(), seed: random_u64() };
    let journal = path.map(|path| {
        Journal::begin(path, &seed)
            .map_err(|source| StartupError::Journal { path: path.display().to_string(), source })
    });
    Ok((seed, journal.transpose()?))
}

/// The first state of a mode that supervises no processes.
const fn first_view(mode: &'static str, health: Health) -> View {
    View { generation: 0, mode, processes: Vec::new(), health, ending: None, over: false }
}
