//! Killed nodes, changes of leader, restarted clusters, compaction, authentication failures.

use std::time::{Duration, Instant};

use ensemble::{
    Change, Changes, Committed, Condition, Revision, Store, StoreError, Transaction, Write, conformance,
};
use ensemble_etcd::{Limits, Options};
use futures_util::stream::StreamExt as _;
use testkit::servers::certificates::Authority;
use testkit::servers::etcd::Etcd as Server;

use super::{block_on, options, store};

/// Retries a write until the value is stored, on condition that nothing else was written meanwhile: a request that a
/// node accepted before it was paused is carried out when it resumes.
async fn put_with_retries(store: &dyn Store, key: &str, value: &str) {
    loop {
        let found = match store.get(key).await {
            Ok(found) => found,
            Err(error) if error.is_retryable() => continue,
            Err(error) => panic!("{error}"),
        };
        let condition = match found {
            Some(entry) if entry.value == value.as_bytes() => return,
            Some(entry) => Condition::Unchanged(key.to_owned(), entry.changed),
            None => Condition::Absent(key.to_owned()),
        };
        let write = Write::Put { key: key.to_owned(), value: value.into(), lease: None };
        match store.commit(Transaction { conditions: vec![condition], writes: vec![write] }).await {
            Ok(Committed::Done(_)) => return,
            Ok(Committed::Refused(_)) => {}
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
}

/// Reads the values of a watch up to `last`.
async fn values_until(watch: &mut ensemble::Watch, last: &str) -> Vec<(Revision, String)> {
    let mut values: Vec<(Revision, String)> = Vec::new();
    loop {
        let Changes { revision, changes } = conformance::next(watch).await;
        assert!(values.last().is_none_or(|(before, _)| *before < revision), "{values:?} and {revision}");
        for change in changes {
            let Change::Put(entry) = change else { panic!("{change:?}") };
            let value = String::from_utf8_lossy(&entry.value).into_owned();
            values.push((revision, value.clone()));
            if value == last {
                return values;
            }
        }
    }
}

/// Asserts that each value was yielded once, in order.
fn assert_all_in_order(found: &[(Revision, String)], expected: std::ops::Range<u32>) {
    let values: Vec<_> = found.iter().map(|(_, value)| value.parse().unwrap_or(u32::MAX)).collect();
    assert_eq!(values, expected.collect::<Vec<_>>());
}

#[test]
fn no_change_is_lost_when_the_leader_is_killed() {
    let mut server = Server::start(3);
    block_on(async {
        let store = store(&options(&server));
        let lease = store.grant(Duration::from_secs(20)).await.unwrap_or_else(|error| panic!("{error}"));
        conformance::put(&*store, "/bound", "x", Some(lease.id)).await;
        let start = conformance::put(&*store, "/w/a", "start", None).await;
        let mut watch = store.watch("/w/", start);
        for number in 0..60 {
            if number == 20 {
                server.kill(server.leader());
            }
            put_with_retries(&*store, "/w/a", &number.to_string()).await;
        }
        assert_all_in_order(&values_until(&mut watch, "59").await, 0..60);
        assert!(store.keep_alive(lease.id).await.is_ok());
        assert!(conformance::entry_of(&*store, "/bound").await.is_some());
    });
}

#[test]
fn switches_away_from_a_paused_leader() {
    let server = Server::start(3);
    block_on(async {
        let store = store(&options(&server));
        let start = conformance::put(&*store, "/w/a", "start", None).await;
        let mut watch = store.watch("/w/", start);
        let leader = server.leader();
        server.signal(leader, libc::SIGSTOP);
        for number in 0..10 {
            put_with_retries(&*store, "/w/a", &number.to_string()).await;
        }
        assert_all_in_order(&values_until(&mut watch, "9").await, 0..10);
        server.signal(leader, libc::SIGCONT);
        for number in 10..20 {
            put_with_retries(&*store, "/w/a", &number.to_string()).await;
        }
        assert_all_in_order(&values_until(&mut watch, "19").await, 10..20);
    });
}

#[test]
fn reconnects_to_a_restarted_cluster_with_all_acknowledged_writes() {
    let mut server = Server::start(3);
    block_on(async {
        let store = store(&options(&server));
        let lease = store.grant(Duration::from_secs(60)).await.unwrap_or_else(|error| panic!("{error}"));
        let start = conformance::put(&*store, "/w/a", "0", Some(lease.id)).await;
        let mut watch = store.watch("/w/", start);
        server.restart_all();
        assert!(store.keep_alive(lease.id).await.is_ok());
        assert!(conformance::entry_of(&*store, "/w/a").await.is_some_and(|entry| entry.created == start));
        put_with_retries(&*store, "/w/a", "1").await;
        assert_all_in_order(&values_until(&mut watch, "1").await, 1..2);
    });
}

#[test]
fn a_watch_from_a_compacted_revision_fails() {
    let server = Server::start(1);
    block_on(async {
        let store = store(&options(&server));
        let start = conformance::put(&*store, "/w/a", "start", None).await;
        let mut last = start;
        for number in 0..10 {
            last = conformance::put(&*store, "/w/a", &number.to_string(), None).await;
        }
        assert!(server.run(&["compact", &last.to_string()]).contains("compacted"));
        let mut watch = store.watch("/w/", start);
        assert_eq!(watch.next().await, Some(Err(StoreError::Compacted(last))));
        assert_eq!(watch.next().await, None);
        // A watch from the compacted revision on works.
        let mut watch = store.watch("/w/", last);
        put_with_retries(&*store, "/w/a", "10").await;
        assert_all_in_order(&values_until(&mut watch, "10").await, 10..11);
    });
}

#[test]
fn reports_an_unreachable_store_within_the_limit() {
    let [port] = testkit::servers::free_ports(1)[..] else { panic!("no port") };
    let limits = Limits { all: Duration::from_millis(700), ..Limits::default() };
    let endpoints = vec![format!("127.0.0.1:{port}")];
    let options = Options { endpoints, limits, ..Options::default() };
    block_on(async {
        let store = store(&options);
        let started = Instant::now();
        let error = store.get("/a").await;
        assert!(
            matches!(&error, Err(StoreError::Unavailable(why)) if why.contains(&port.to_string())),
            "{error:?}"
        );
        // A request that was not sent was not carried out.
        let put = Write::Put { key: "/a".to_owned(), value: vec![], lease: None };
        let error = store.commit(Transaction { conditions: vec![], writes: vec![put] }).await;
        assert!(matches!(&error, Err(StoreError::Unavailable(why)) if why.contains("refused")), "{error:?}");
        assert!(started.elapsed() < testkit::LIMIT / 4);
    });
}

#[test]
fn a_request_without_a_response_has_an_unknown_result() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
    let port = silent.local_addr().map_or(0, |address| address.port());
    let short = Duration::from_millis(300);
    let limits = Limits { all: Duration::from_millis(700), node: short, connect: short };
    let options = Options { endpoints: vec![format!("127.0.0.1:{port}")], limits, ..Options::default() };
    block_on(async {
        let store = store(&options);
        let error = store.get("/a").await;
        assert!(matches!(error, Err(StoreError::Unavailable(_))), "{error:?}");
        let put = Write::Put { key: "/a".to_owned(), value: vec![], lease: None };
        let error = store.commit(Transaction { conditions: vec![], writes: vec![put] }).await;
        assert!(error.as_ref().is_err_and(StoreError::is_retryable), "{error:?}");
    });
}

#[test]
fn reports_another_protocol_on_the_port() {
    // etcd's peer port speaks HTTP/1.1.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
    let port = listener.local_addr().map_or(0, |address| address.port());
    let thread = std::thread::spawn(move || {
        use std::io::Write as _;
        for stream in listener.incoming().take(3) {
            let _ = stream.map(|mut stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        }
    });
    let limits = Limits { all: Duration::from_secs(1), ..Limits::default() };
    let options = Options { endpoints: vec![format!("127.0.0.1:{port}")], limits, ..Options::default() };
    block_on(async {
        let error = store(&options).get("/a").await;
        assert!(matches!(error, Err(StoreError::Unavailable(_))), "{error:?}");
    });
    drop(thread);
}

#[test]
fn reports_refused_certificates() {
    let server = Server::start_with_tls(1);
    let directory = testkit::private_directory();
    let mut with = options(&server);
    with.limits.all = Duration::from_secs(2);
    block_on(async {
        // The server certificate is signed by an unknown CA.
        let other = Authority::new(directory.path(), "other");
        let ca = std::fs::read(other.certificate()).ok();
        let error = store(&Options { ca, ..with.clone() }).get("/a").await;
        assert!(
            matches!(&error, Err(StoreError::Unavailable(why)) if why.contains("ertificate")),
            "{error:?}"
        );
        // There is no client certificate.
        let error = store(&Options { identity: None, ..with.clone() }).get("/a").await;
        // With TLS 1.3 the client only sees the connection being closed.
        assert!(matches!(error, Err(StoreError::Unavailable(_))), "{error:?}");
        // The client certificate has expired.
        let name = |path: &std::path::Path| std::fs::read(path).unwrap_or_default();
        let old = Authority::new(directory.path(), "ca2").sign_expired("old", "DNS:localhost");
        let identity = Some((name(&old.certificate), name(&old.key)));
        let error = store(&Options { identity, ..with.clone() }).get("/a").await;
        assert!(matches!(error, Err(StoreError::Unavailable(_))), "{error:?}");
        assert_eq!(store(&with).get("/a").await, Ok(None));
    });
}

#[test]
fn only_a_user_with_the_right_password_is_accepted() {
    let mut server = Server::start(1);
    for arguments in [
        &["user", "add", "root:pass word"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "app:secret"],
        &["role", "add", "app"],
        &["role", "grant-permission", "app", "readwrite", "--prefix=true", "/app/"],
        &["user", "grant-role", "app", "app"],
        &["auth", "enable"],
    ] {
        let _ = server.run(arguments);
    }
    let anonymous = options(&server);
    let with = |user: Option<(&str, &str)>| Options {
        user: user.map(|(name, password)| (name.to_owned(), password.to_owned())),
        ..anonymous.clone()
    };
    block_on(async {
        let known = store(&with(Some(("app", "secret"))));
        conformance::put(&*known, "/app/a", "x", None).await;
        let lease = known.grant(Duration::from_secs(30)).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(known.keep_alive(lease.id).await.is_ok());
        let start = conformance::put(&*known, "/app/b", "y", Some(lease.id)).await;
        let mut watch = known.watch("/app/", start);
        conformance::put(&*known, "/app/b", "z", None).await;
        let _ = conformance::next(&mut watch).await;
        let elsewhere = known.get("/other").await;
        assert!(
            matches!(&elsewhere, Err(StoreError::Refused(why)) if why.contains("permission")),
            "{elsewhere:?}"
        );
        for user in [None, Some(("app", "wrong secret")), Some(("nobody", "secret"))] {
            let error = store(&with(user)).get("/app/a").await;
            let text = format!("{error:?}");
            assert!(matches!(error, Err(StoreError::Refused(_))), "{user:?}: {text}");
            assert!(!text.contains("wrong secret"), "{text}");
        }
        // Expired tokens are replaced: a node loses its tokens when it restarts.
        server.kill(0);
        server.revive(0);
        assert!(conformance::entry_of(&*known, "/app/a").await.is_some());
    });
}

#[test]
fn reports_a_full_store() {
    let server = Server::start_with(1, false, &["--quota-backend-bytes", "1000000"]);
    block_on(async {
        let store = store(&options(&server));
        let value = vec![b'x'; 100_000];
        let mut refused = None;
        // The size is checked only now and then.
        for number in 0..1000 {
            let put = Write::Put { key: format!("/f/{number}"), value: value.clone(), lease: None };
            if let Err(error) = store.commit(Transaction { conditions: vec![], writes: vec![put] }).await {
                refused = Some(error);
                break;
            }
        }
        assert!(matches!(refused, Some(StoreError::Full(_))), "{refused:?}");
        // Reads still work.
        assert!(conformance::entry_of(&*store, "/f/0").await.is_some());
        let absent = Condition::Absent("/f/0".to_owned());
        let read_only =
            Transaction { conditions: vec![absent], writes: vec![Write::Delete("/f/1".to_owned())] };
        assert!(matches!(
            store.commit(read_only).await,
            Ok(Committed::Refused(_)) | Err(StoreError::Full(_))
        ));
    });
}
