//! The etcd store, tested against real etcd nodes.

mod faults;
mod partition;

use std::sync::Arc;
use std::time::Duration;

use ensemble::{Store, conformance};
use ensemble_etcd::{Etcd, Limits, Options};
use testkit::servers::etcd::Etcd as Server;

/// A runtime for one test.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap_or_else(|error| panic!("no runtime: {error}")).block_on(future)
}

fn options(server: &Server) -> Options {
    let read = |path| std::fs::read(path).unwrap_or_else(|error| panic!("{error}"));
    let security = server.security();
    Options {
        endpoints: server.endpoints(),
        ca: security.map(|it| read(&it.ca)),
        identity: security.map(|it| (read(&it.client.certificate), read(&it.client.key))),
        // A busy machine responds late.
        limits: Limits { all: Duration::from_secs(15), ..Limits::default() },
        ..Options::default()
    }
}

fn store(options: &Options) -> Arc<dyn Store> {
    Arc::new(Etcd::new(options).unwrap_or_else(|error| panic!("{error}")))
}

#[test]
fn one_node_passes_the_suite_for_stores() {
    let server = Server::start(1);
    block_on(async { conformance::all(&store(&options(&server)), "/test/").await });
}

#[test]
fn three_nodes_with_tls_pass_the_suite_for_stores() {
    let server = Server::start_with_tls(3);
    block_on(async { conformance::all(&store(&options(&server)), "/test/").await });
}
