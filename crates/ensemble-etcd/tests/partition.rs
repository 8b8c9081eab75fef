//! One of three nodes is cut off, each in a network namespace of its own.

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
fn a_leader_that_is_cut_off_grants_nothing_and_its_clients_go_elsewhere() {
    if !inside_namespaces("partition::a_leader_that_is_cut_off_grants_nothing_and_its_clients_go_elsewhere") {
        return;
    }
    let network = Network::new(3);
    let server = Server::start_in(&network.places());
    block_on(async {
        let all = store_at(server.endpoints());
        let start = conformance::put(&*all, "/w/a", "start", None).await;
        let leader = server.leader();
        // A client that knows only the node that will be cut off, and one that asks it first.
        let lonely = store_at(vec![server.endpoint(leader)]);
        let mut first = vec![server.endpoint(leader)];
        first.extend((0..3).filter(|number| *number != leader).map(|number| server.endpoint(number)));
        let careful = store_at(first);
        let mut watch = careful.watch("/w/", start);
        conformance::put(&*careful, "/w/a", "before", None).await;
        let before = conformance::next(&mut watch).await.revision;
        // Its peers do not hear it any more; we do.
        network.cut_off_from_others(leader);
        let taken = Transaction {
            conditions: vec![Condition::Absent("/lock".to_owned())],
            writes: vec![Write::Put { key: "/lock".to_owned(), value: b"lonely".to_vec(), lease: None }],
        };
        let lonely_took = lonely.commit(taken.clone()).await;
        assert!(lonely_took.is_err(), "without the others it grants nothing: {lonely_took:?}");
        let mine = Transaction {
            writes: vec![Write::Put { key: "/lock".to_owned(), value: b"careful".to_vec(), lease: None }],
            ..taken
        };
        let done = loop {
            match careful.commit(mine.clone()).await {
                Ok(done) => break done,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        };
        let at = match done {
            Committed::Done(revision) => revision,
            // An earlier attempt, of which the answer was lost.
            Committed::Refused(found) => found[0].as_ref().map_or(Revision(0), |entry| entry.created),
        };
        assert!(at > before);
        conformance::put(&*all, "/w/a", "after", None).await;
        // The watch was at the node that is cut off.
        assert!(conformance::next(&mut watch).await.revision > before);
        network.heal(leader);
        let found = loop {
            match lonely.get("/lock").await {
                Ok(found) => break found,
                Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error}"),
            }
        };
        assert_eq!(found.map(|entry| (entry.value, entry.created)), Some((b"careful".to_vec(), at)));
    });
}
