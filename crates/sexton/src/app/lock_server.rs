//! `lock serve`: a lock server.

use std::sync::Arc;

use super::{App, BoundServer, READ_SIGNALS, ServerSettings, StartupError, cannot, first_view};
use crate::status::Health;
use crate::status::hub::Hub;
use crate::store;
use config::LockServer;
use linux::clock::Clock;
use linux::notify::Notify;
use linux::signals::SignalStream;
use net::server::ServerOptions;

pub(super) struct LockServerApp {
    settings: LockServer,
    server: BoundServer,
}

impl LockServerApp {
    pub(super) fn open(settings: LockServer, server: &ServerSettings) -> Result<Self, StartupError> {
        Ok(Self { settings, server: server.bind()? })
    }
}

impl App for LockServerApp {
    async fn run(self, signals: SignalStream) -> Result<i32, StartupError> {
        let Self { settings, server } = self;
        let (store, made) = store::open(&settings.store)?;
        let locks = ::ensemble::lock::Locks::new(store, crate::locks::PREFIX);
        let locks = if made { locks.of_new_store() } else { locks };
        let hub = Arc::new(Hub::new(first_view("lock", Health::watched(true, true, ""))));
        let (clock, notify) = (Clock::begin(), Notify::from_environment());
        let routes = crate::locks::server::router(locks).merge(server.routes(&hub, clock));
        let server = server.start_with(&hub, routes, ServerOptions::default())?;
        notify.ready("serving locks");
        loop {
            let received = signals.next().await.map_err(cannot(READ_SIGNALS))?;
            if let Some(signal) = received.iter().find(|signal| signal.ends_a_program()) {
                notify.stopping(&format!("received SIG{signal}"));
                break;
            }
        }
        server.finish().await;
        Ok(0)
    }
}
