//! `watch`: the state of processes that another program started.

use std::sync::Arc;

use super::{App, BoundServer, READ_SIGNALS, ServerSettings, StartupError, cannot, first_view};
use crate::status::Health;
use crate::status::hub::Hub;
use crate::watch::Watcher;
use linux::clock::Clock;
use linux::notify::Notify;
use linux::signals::SignalStream;
use spec::watch::Watch;

pub(super) struct WatchApp {
    settings: Watch,
    server: BoundServer,
}

impl WatchApp {
    pub(super) fn open(settings: Watch, server: &ServerSettings) -> Result<Self, StartupError> {
        Ok(Self { settings, server: server.bind()? })
    }
}

impl App for WatchApp {
    async fn run(self, signals: SignalStream) -> Result<i32, StartupError> {
        let Self { settings, server } = self;
        let clock = Clock::begin();
        let hub = Arc::new(Hub::new(first_view("watch", Health::watched(false, false, "yet"))));
        let side_port = server.listeners.side_port;
        let watcher = Watcher::new(settings, side_port, clock, Notify::from_environment(), Arc::clone(&hub));
        let watcher = watcher.map_err(StartupError::ProcessList)?;
        let server = server.start(&hub, clock)?;
        let code = watcher.run(signals).await.map_err(cannot(READ_SIGNALS))?;
        server.finish().await;
        Ok(code)
    }
}
