//! The life of the program, from settings to exit code: everything that can be refused is refused before
//! anything is started.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use engine::pod::Seed;
use thiserror::Error;

use crate::clock::Clock;
use crate::config::{Answers, Mode, Own, Settings, Watch};
use crate::driver::{self, Driver, Parts};
use crate::http::{Server, router};
use crate::hub::Hub;
use crate::journal::Journal;
use crate::listen::{self, Bound, ListenError};
use crate::logging;
use crate::notify::Notify;
use crate::output::Outputs;
use crate::process::signals::{SignalStream, Signals};
use crate::process::terminal::Terminal;
use crate::view::{Constants, Health, View};
use crate::watch::Watcher;

/// Why nothing was begun, or why we cannot go on.
#[derive(Debug, Error)]
pub enum LifeError {
    /// We cannot answer.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The journal cannot be written.
    #[error("cannot write the event journal {path}: {source}")]
    Journal {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
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
    /// As in sysexits.h: `EX_UNAVAILABLE`, `EX_CANTCREAT`, `EX_OSERR`.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Listen(_) => 69,
            Self::Journal { .. } => 73,
            Self::ProcessList(_) | Self::System { .. } => 71,
        }
    }
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> LifeError {
    move |source| LifeError::System { what, source }
}

/// Does what the settings say, and returns the exit code.
pub fn live(settings: Settings) -> Result<i32, LifeError> {
    let listeners = listen::open(&settings.listen)?;
    // Before there is any thread: threads inherit what is blocked.
    let signals = Signals::take().map_err(system("signals"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(system("an event loop"))?;
    let code = runtime.block_on(async {
        let signals = signals.into_stream().map_err(system("signals"))?;
        let (bound, side_port, answers) = (listeners.bound, listeners.side_port, settings.answers);
        let code = match settings.mode {
            Mode::Own(own) => {
                look_after(own, settings.journal.as_deref(), signals, bound, side_port, answers).await
            }
            Mode::Watch(watch) => look_at(watch, signals, bound, side_port, answers).await,
        };
        logging::flush().await;
        code
    });
    // Whatever is still under way, nobody waits for it any more.
    runtime.shutdown_timeout(Duration::ZERO);
    code
}

fn begin_journal(own: &Own, path: Option<&std::path::Path>) -> Result<(Seed, Option<Journal>), LifeError> {
    let seed = Seed { plan: own.plan.clone(), seed: throw() };
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
    let (seed, journal) = begin_journal(&own, journal)?;
    let clock = Clock::begin();
    let text = |word: &std::ffi::OsString| word.to_string_lossy().into_owned();
    let constants = Constants {
        mode: own.word,
        name: own.name.clone(),
        command: text(&own.program.command),
        arguments: own.program.arguments.iter().map(text).collect(),
        ttl: own.ttl.filter(|span| span.from == span.to).map(|span| span.to).unwrap_or_default(),
        wait: own.wait,
        side_port,
    };
    let outputs = Outputs::new(own.output, own.name).map_err(system("a thread for the output"))?;
    let mut hub = Hub::new(driver::first_view(&constants, &seed, clock));
    hub.metrics.watch_sinks(outputs.sinks());
    let hub = Arc::new(hub);
    let server = serve(bound, &hub, answers)?;
    let driver = Driver::new(Parts {
        seed,
        clock,
        signals,
        programs: vec![own.program],
        outputs,
        terminal: Terminal::on_stdin(),
        journal,
        notify: Notify::from_environment(),
        hub,
        constants,
    });
    let code = driver.run().await.map_err(system("signals"))?;
    if let Some(server) = server {
        server.finish().await;
    }
    Ok(code)
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
    let hub = Hub::new(View { generation: 0, mode: "watch", processes: Vec::new(), health, over: false });
    let hub = Arc::new(hub);
    let watcher = Watcher::new(watch, side_port, clock, Notify::from_environment(), Arc::clone(&hub));
    let watcher = watcher.map_err(LifeError::ProcessList)?;
    let server = serve(bound, &hub, answers)?;
    let code = watcher.run(signals).await.map_err(system("signals"))?;
    if let Some(server) = server {
        server.finish().await;
    }
    Ok(code)
}

fn serve(bound: Vec<Bound>, hub: &Arc<Hub>, answers: Answers) -> Result<Option<Server>, LifeError> {
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
    let server = Server::start(bound, router(Arc::clone(hub), answers), Arc::clone(hub));
    server.map(Some).map_err(system("the listening socket"))
}
