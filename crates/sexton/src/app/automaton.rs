//! `automaton`: a state machine of scripts.

use std::path::PathBuf;
use std::sync::Arc;

use super::{App, BoundServer, READ_SIGNALS, ServerSettings, StartupError, cannot};
use crate::automaton;
use crate::status::hub::Hub;
use config;
use config::automaton::{AutomatonPlan, DEFAULT_SOCKET, DEFAULT_SOCKET_MODE};
use linux::clock::Clock;
use linux::descriptors;
use linux::notify::Notify;
use linux::signals::SignalStream;
use net::listen::{self, ControlSocket};

pub(super) struct AutomatonApp {
    plan: AutomatonPlan,
    name: String,
    path: PathBuf,
    debug: bool,
    server: BoundServer,
    socket: ControlSocket,
}

impl AutomatonApp {
    /// An invalid file binds nothing.
    pub(super) fn open(settings: &config::Automaton, server: &ServerSettings) -> Result<Self, StartupError> {
        let plan = config::automaton::load(&settings.file, settings.section.as_deref())?;
        descriptors::raise();
        let server = server.bind()?;
        let path = settings.socket.clone().or_else(|| plan.socket.clone());
        let path = path.unwrap_or_else(|| DEFAULT_SOCKET.into());
        // Scripts may change their working directory.
        let path = std::path::absolute(&path).unwrap_or(path);
        let socket = listen::control(&path)?;
        let mode = settings.socket_mode.or(plan.socket_mode).unwrap_or(DEFAULT_SOCKET_MODE);
        automaton::socket::set_mode(&path, mode).map_err(cannot("set the mode of the control socket"))?;
        Ok(Self { plan, name: name(settings), path, debug: settings.debug, server, socket })
    }
}

impl App for AutomatonApp {
    async fn run(self, signals: SignalStream) -> Result<i32, StartupError> {
        let Self { plan, name, path, debug, server, socket: ControlSocket { listener, guard } } = self;
        let clock = Clock::begin();
        let hub = Arc::new(Hub::new(automaton::first_view()));
        let server = server.start(&hub, clock)?;
        let notify = Notify::from_environment();
        let parts = automaton::Parts { name, plan, socket: path, debug, clock, signals, notify, hub };
        let code = automaton::Driver::new(parts).run(listener).await.map_err(cannot(READ_SIGNALS))?;
        drop(guard);
        server.finish().await;
        Ok(code)
    }
}

/// The name of the automaton: that of its section, or of its file.
fn name(settings: &config::Automaton) -> String {
    let section = settings.section.as_deref().map(|path| path.strip_suffix("/automaton").unwrap_or(path));
    match section.and_then(|path| path.rsplit('/').next()) {
        Some(name) => name.to_owned(),
        None => settings
            .file
            .file_stem()
            .map_or_else(|| "automaton".to_owned(), |stem| stem.to_string_lossy().into_owned()),
    }
}
