//! One of three nodes, each in its own network namespace, is partitioned from the others.

use std::sync::Arc;
use std::time::Duration;

use ensemble::{Committed, Condition, Revision, Store, StoreError, Transaction, Write, conformance};
use ensemble_etcd::{Etcd, Limits, Options};
use testkit::net::{Network, inside_namespaces};
use testkit::servers::etcd::Etcd as Server;

use super::block_on;

fn store_at(endpoints: Vec<String>) -> Arc<dyn Store> {
    let second = Duration::from_secs(1);
    let limits = Limits { connect: second, node: second, all: Duration::from_secs(10) };
    let options = Options { endpoints, limits, ..Options::default() };
    Arc::new(Etcd::new(&options).unwrap_or_else(|error| panic!("{error}")))
}

#[test]
fn a_partitioned_leader_commits_nothing_and_clients_fail_over() {
    if !inside_namespaces("partition::a_partitioned_leader_commits_nothing_and_clients_fail_over") {
        return;
    }
    let network = Network::new(3);
    let server = Server::start_in(&network.places());
    block_on(async {
        let all = store_at(server.endpoints());
        let start = conformance::put(&*all, "/w/a", "start", None).await;
        let leader = server.leader();
        // One client knows only the node that will be partitioned, the other tries it first.
        let isolated = store_at(vec![server.endpoint(leader)]);
        let mut first = vec![server.endpoint(leader)];
        first.extend((0..3).filter(|number| *number != leader).map(|number| server.endpoint(number)));
        let failover = store_at(first);
        let mut watch = failover.watch("/w/", start);
        conformance::put(&*failover, "/w/a", "before", None).await;
        let before = conformance::next(&mut watch).await.revision;
        // Its peers cannot reach it; the test can.
        network.cut_off_from_others(leader);
        let taken = Transaction {
            conditions: vec![Condition::Absent("/lock".to_owned())],
            writes: vec![Write::Put { key: "/lock".to_owned(), value: b"isolated".to_vec(), lease: None }],
        };
        let isolated_result = isolated.commit(taken.clone()).await;
        assert!(isolated_result.is_err(), "a minority commits nothing: {isolated_result:?}");
        let mine = Transaction {
            writes: vec![Write::Put { key: "/lock".to_owned(), value: b"failover".to_vec(), lease: None }],
            ..taken
        };
        let done = loop {
            match failover.commit(mine.clone()).await {
                Ok(done) => break done,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        };
        let at = match done {
            Committed::Done(revision) => revision,
            // An earlier attempt succeeded; its response was lost.
            Committed::Refused(found) => found[0].as_ref().map_or(Revision(0), |entry| entry.created),
        };
        assert!(at > before);
        conformance::put(&*all, "/w/a", "after", None).await;
        // The watch was at the partitioned node.
        assert!(conformance::next(&mut watch).await.revision > before);
        network.heal(leader);
        let found = loop {
            match isolated.get("/lock").await {
                Ok(found) => break found,
                Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error}"),
            }
        };
        assert_eq!(found.map(|entry| (entry.value, entry.created)), Some((b"failover".to_vec(), at)));
    });
}
