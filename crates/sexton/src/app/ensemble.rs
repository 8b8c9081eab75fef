//! `ensemble`: a member or master of an ensemble.

use std::io;
use std::sync::Arc;

use super::{App, BoundServer, READ_SIGNALS, ServerSettings, StartupError, cannot};
use crate::ensemble;
use crate::ensemble::counters::Counters;
use crate::ensemble::peers::Dialer;
use crate::ensemble::proof::AccessPolicy;
use crate::ensemble::rpc::Rpc;
use crate::status::hub::Hub;
use crate::store;
use linux::clock::Clock;
use linux::notify::Notify;
use linux::signals::SignalStream;
use net::server::ServerOptions;
use net::tls;
use spec::ensemble::Identity;
use spec::ensemble::UnresolvedPlan;

pub(super) struct EnsembleApp {
    settings: UnresolvedPlan,
    server: BoundServer,
}

impl EnsembleApp {
    pub(super) fn open(settings: UnresolvedPlan, server: &ServerSettings) -> Result<Self, StartupError> {
        Ok(Self { settings, server: server.bind()? })
    }
}

impl App for EnsembleApp {
    async fn run(self, signals: SignalStream) -> Result<i32, StartupError> {
        let Self { settings, server } = self;
        let identity = if settings.sources.any() {
            let Some(identity) = find_identity(&settings, &signals).await? else { return Ok(0) };
            identity
        } else {
            settings.sources.given.clone()
        };
        let plan = ensemble::plan::complete(&settings, &identity).map_err(StartupError::Identity)?;
        let access = &plan.access;
        let token: Option<Arc<str>> = access.token.as_deref().map(store::token).transpose()?.map(Into::into);
        let acceptor = access.tls.own.is_some().then(|| tls::Acceptor::new(access.tls.clone()));
        let acceptor = acceptor.transpose().map_err(StartupError::Tls)?.map(Arc::new);
        let policy = AccessPolicy {
            token: token.clone(),
            certificates: acceptor.is_some() && access.tls.ca.is_some(),
            open: access.unauthenticated_invoke,
            keepalives: access.authenticated_keepalives,
        };
        let token = token.filter(|_| access.authenticated_keepalives);
        let dialer = Dialer::new(plan.peers(), access.tls.clone(), token).map_err(StartupError::Tls)?;
        // Last, because it may create a file: everything above can be refused.
        let store = plan.master.as_ref().map(|master| store::open(&master.store)).transpose()?;
        let mut hub = Hub::new(ensemble::driver::first_view());
        let counters = Counters::new(plan.statsd, hub.metrics.registry());
        let hub = Arc::new(hub);
        let (driver, table) = ensemble::Driver::new(ensemble::driver::Parts {
            plan,
            store: store.map(|(store, _)| store),
            proof: policy,
            dialer,
            counters,
            signals,
            notify: Notify::from_environment(),
            hub: Arc::clone(&hub),
        });
        let rpc = Rpc { api: table.clone(), hub: Arc::clone(&hub) };
        let options = ServerOptions { tls: acceptor, other: Some(Arc::new(rpc)) };
        let routes = ensemble::routes::router(table).merge(server.routes(&hub, Clock::begin()));
        let server = server.start_with(&hub, routes, options)?;
        let code = driver.run().await.map_err(cannot(READ_SIGNALS))?;
        server.finish().await;
        Ok(code)
    }
}

/// Finds the identity of the pod. None: a stop signal was received before.
async fn find_identity(
    settings: &UnresolvedPlan,
    signals: &SignalStream,
) -> Result<Option<Identity>, StartupError> {
    let stopped = async {
        loop {
            if signals.next().await?.iter().any(|signal| signal.ends_a_program()) {
                return Ok::<_, io::Error>(());
            }
        }
    };
    tokio::select! {
        identity = ensemble::identity::ask(&settings.sources) => Ok(Some(identity)),
        stopped = stopped => stopped.map(|()| None).map_err(cannot(READ_SIGNALS)),
    }
}
