//! The HTTP servers of all modes: bound early, started late.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::sync::oneshot;

use super::{StartupError, cannot};
use crate::status::api::router;
use crate::status::hub::Hub;
use linux::clock::Clock;
use net::listen::{self, Bound, Listeners};
use net::server::{Server, ServerOptions};
use spec::listen::{HttpCompat, Listen};

/// The stack of the server thread. No recursion in it is deep.
const SERVER_STACK: usize = 512 << 10;

/// The settings of the status server.
pub(super) struct ServerSettings {
    pub(super) listen: Listen,
    pub(super) answers: HttpCompat,
}

impl ServerSettings {
    pub(super) fn bind(&self) -> Result<BoundServer, StartupError> {
        Ok(BoundServer { listeners: listen::open(&self.listen)?, answers: self.answers })
    }
}

/// The listeners of the status server. They are bound, and nothing is accepted yet.
pub(super) struct BoundServer {
    pub(super) listeners: Listeners,
    pub(super) answers: HttpCompat,
}

impl BoundServer {
    /// The routes that serve the state.
    pub(super) fn routes(&self, hub: &Arc<Hub>, clock: Clock) -> Router {
        router(Arc::clone(hub), self.answers, clock)
    }

    /// Serves the state, in this event loop.
    pub(super) fn start(self, hub: &Arc<Hub>, clock: Clock) -> Result<RunningServer, StartupError> {
        let routes = self.routes(hub, clock);
        self.start_with(hub, routes, ServerOptions::default())
    }

    /// Serves other routes, in this event loop.
    pub(super) fn start_with(
        self,
        hub: &Arc<Hub>,
        routes: Router,
        options: ServerOptions,
    ) -> Result<RunningServer, StartupError> {
        serve(self.listeners.bound, hub, routes, options).map(RunningServer)
    }
}

/// A server in this event loop, if there is any listener.
pub(super) struct RunningServer(Option<Server>);

impl RunningServer {
    /// Closes the server. Responses in progress are completed, within a time limit.
    pub(super) async fn finish(self) {
        if let Some(server) = self.0 {
            server.finish().await;
        }
    }
}

/// Servers on a thread of their own, so that spawning a hundred processes delays no response.
pub(super) struct ServerThread {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl ServerThread {
    /// Starts the servers. None: there is no listener.
    pub(super) fn start(
        mut servers: Vec<(Vec<Bound>, Router)>,
        hub: &Arc<Hub>,
    ) -> Result<Option<Self>, StartupError> {
        servers.retain(|(bound, _)| !bound.is_empty());
        if servers.is_empty() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(cannot("create an event loop"))?;
        let (stop, stopped) = oneshot::channel();
        let (started, result) = std::sync::mpsc::channel();
        let hub = Arc::clone(hub);
        let thread =
            std::thread::Builder::new().name("http".to_owned()).stack_size(SERVER_STACK).spawn(move || {
                runtime.block_on(async {
                    let servers = servers
                        .into_iter()
                        .map(|(bound, routes)| serve(bound, &hub, routes, ServerOptions::default()));
                    let servers = match servers.collect::<Result<Vec<_>, _>>() {
                        Ok(servers) => servers,
                        Err(error) => return drop(started.send(Err(error))),
                    };
                    let _ = started.send(Ok(()));
                    let _ = stopped.await;
                    for server in servers.into_iter().flatten() {
                        server.finish().await;
                    }
                });
                // Tasks that are still running are dropped.
                runtime.shutdown_timeout(Duration::ZERO);
            });
        let thread = thread.map_err(cannot("start the server thread"))?;
        result.recv().map_err(|error| cannot("start the server thread")(io::Error::other(error)))??;
        Ok(Some(Self { thread, stop }))
    }

    /// Closes the servers. Responses in progress are completed, within a time limit.
    pub(super) fn finish(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

fn serve(
    bound: Vec<Bound>,
    hub: &Arc<Hub>,
    routes: Router,
    options: ServerOptions,
) -> Result<Option<Server>, StartupError> {
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
    let server = Server::start(bound, routes, Arc::<Hub>::clone(hub), options);
    server.map(Some).map_err(cannot("serve HTTP on a listener"))
}
