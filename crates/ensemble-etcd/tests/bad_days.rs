//! Nodes that die, leaders that change, clusters that come back, histories that are forgotten, strangers.

use std::time::{Duration, Instant};

use ensemble::{
    Change, Changes, Committed, Condition, Revision, Store, StoreError, Transaction, Write, conformance,
};
use ensemble_etcd::{Limits, Options};
use futures_util::stream::StreamExt as _;
use testkit::servers::certificates::Authority;
use testkit::servers::etcd::Etcd as Server;

use super::{block_on, options, store};

/// Writes a value until it is there. On the condition that nothing else was written meanwhile, since a request that a
/// node has taken before it was paused is carried out when it wakes.
async fn put_surely(store: &dyn Store, key: &str, value: &str) {
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

/// The values that a watch tells until one of them.
async fn told_until(watch: &mut ensemble::Watch, last: &str) -> Vec<(Revision, String)> {
    let mut told: Vec<(Revision, String)> = Vec::new();
    loop {
        let Changes { revision, changes } = conformance::next(watch).await;
        assert!(told.last().is_none_or(|(before, _)| *before < revision), "{told:?} and {revision}");
        for change in changes {
            let Change::Put(entry) = change else { panic!("{change:?}") };
            let value = String::from_utf8_lossy(&entry.value).into_owned();
            told.push((revision, value.clone()));
            if value == last {
                return told;
            }
        }
    }
}

/// Each value is told once, in order.
fn all_in_order(told: &[(Revision, String)], expected: std::ops::Range<u32>) {
    let values: Vec<_> = told.iter().map(|(_, value)| value.parse().unwrap_or(u32::MAX)).collect();
    assert_eq!(values, expected.collect::<Vec<_>>());
}

#[test]
fn a_leader_that_is_killed_is_replaced_and_nothing_is_left_out() {
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
            put_surely(&*store, "/w/a", &number.to_string()).await;
        }
        all_in_order(&told_until(&mut watch, "59").await, 0..60);
        assert!(store.keep_alive(lease.id).await.is_ok());
        assert!(conformance::entry_of(&*store, "/bound").await.is_some());
    });
}

#[test]
fn a_leader_that_is_paused_is_left_and_found_again() {
    let server = Server::start(3);
    block_on(async {
        let store = store(&options(&server));
        let start = conformance::put(&*store, "/w/a", "start", None).await;
        let mut watch = store.watch("/w/", start);
        let leader = server.leader();
        server.signal(leader, libc::SIGSTOP);
        for number in 0..10 {
            put_surely(&*store, "/w/a", &number.to_string()).await;
        }
        all_in_order(&told_until(&mut watch, "9").await, 0..10);
        server.signal(leader, libc::SIGCONT);
        for number in 10..20 {
            put_surely(&*store, "/w/a", &number.to_string()).await;
        }
        all_in_order(&told_until(&mut watch, "19").await, 10..20);
    });
}

#[test]
fn a_cluster_that_is_restarted_is_found_again_with_all_that_was_acknowledged() {
    let mut server = Server::start(3);
    block_on(async {
        let store = store(&options(&server));
        let lease = store.grant(Duration::from_secs(60)).await.unwrap_or_else(|error| panic!("{error}"));
        let start = conformance::put(&*store, "/w/a", "0", Some(lease.id)).await;
        let mut watch = store.watch("/w/", start);
        server.restart_all();
        assert!(store.keep_alive(lease.id).await.is_ok());
        assert!(conformance::entry_of(&*store, "/w/a").await.is_some_and(|entry| entry.created == start));
        put_surely(&*store, "/w/a", "1").await;
        all_in_order(&told_until(&mut watch, "1").await, 1..2);
    });
}

#[test]
fn who_watches_from_what_was_compacted_is_told_to_list() {
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
        // From there on it goes.
        let mut watch = store.watch("/w/", last);
        put_surely(&*store, "/w/a", "10").await;
        all_in_order(&told_until(&mut watch, "10").await, 10..11);
    });
}

#[test]
fn a_store_that_is_not_there_is_told_within_the_limit() {
    let [port] = testkit::servers::free_ports(1)[..] else { panic!("no port") };
    let limits = Limits { all: Duration::from_millis(700), ..Limits::default() };
    let endpoints = vec![format!("127.0.0.1:{port}")];
    let options = Options { endpoints, limits, ..Options::default() };
    block_on(async {
        let store = store(&options);
        let begun = Instant::now();
        let error = store.get("/a").await;
        assert!(
            matches!(&error, Err(StoreError::Unavailable(why)) if why.contains(&port.to_string())),
            "{error:?}"
        );
        // What was certainly not sent was certainly not done.
        let put = Write::Put { key: "/a".to_owned(), value: vec![], lease: None };
        let error = store.commit(Transaction { conditions: vec![], writes: vec![put] }).await;
        assert!(matches!(&error, Err(StoreError::Unavailable(why)) if why.contains("refused")), "{error:?}");
        assert!(begun.elapsed() < testkit::LIMIT / 4);
    });
}

#[test]
fn a_store_that_accepts_and_never_answers_may_have_done_it() {
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
fn something_else_on_the_port_is_told() {
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
fn strangers_are_refused_and_say_so() {
    let server = Server::start_with_tls(1);
    let directory = testkit::private_directory();
    let mut with = options(&server);
    with.limits.all = Duration::from_secs(2);
    block_on(async {
        // Their certificate is signed by somebody whom we do not know.
        let other = Authority::new(directory.path(), "other");
        let ca = std::fs::read(other.certificate()).ok();
        let error = store(&Options { ca, ..with.clone() }).get("/a").await;
        assert!(
            matches!(&error, Err(StoreError::Unavailable(why)) if why.contains("ertificate")),
            "{error:?}"
        );
        // We have none.
        let error = store(&Options { identity: None, ..with.clone() }).get("/a").await;
        // TLS 1.3 tells us only that they hung up.
        assert!(matches!(error, Err(StoreError::Unavailable(_))), "{error:?}");
        // Ours is out of date.
        let name = |path: &std::path::Path| std::fs::read(path).unwrap_or_default();
        let old = Authority::new(directory.path(), "ca2").sign_expired("old", "DNS:localhost");
        let identity = Some((name(&old.certificate), name(&old.key)));
        let error = store(&Options { identity, ..with.clone() }).get("/a").await;
        assert!(matches!(error, Err(StoreError::Unavailable(_))), "{error:?}");
        assert_eq!(store(&with).get("/a").await, Ok(None));
    });
}

#[test]
fn a_user_with_a_password_is_let_in_and_nobody_else() {
    let mut server = Server::start(1);
    for words in [
        &["user", "add", "root:pass word"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "app:secret"],
        &["role", "add", "app"],
        &["role", "grant-permission", "app", "readwrite", "--prefix=true", "/app/"],
        &["user", "grant-role", "app", "app"],
        &["auth", "enable"],
    ] {
        let _ = server.run(words);
    }
    let anybody = options(&server);
    let with = |user: Option<(&str, &str)>| Options {
        user: user.map(|(name, password)| (name.to_owned(), password.to_owned())),
        ..anybody.clone()
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
            let told = format!("{error:?}");
            assert!(matches!(error, Err(StoreError::Refused(_))), "{user:?}: {told}");
            assert!(!told.contains("wrong secret"), "{told}");
        }
        // Tokens that are not valid any more are replaced: those of a node go with it.
        server.kill(0);
        server.revive(0);
        assert!(conformance::entry_of(&*known, "/app/a").await.is_some());
    });
}

#[test]
fn a_full_store_says_so() {
    let server = Server::start_with(1, false, &["--quota-backend-bytes", "1000000"]);
    block_on(async {
        let store = store(&options(&server));
        let value = vec![b'x'; 100_000];
        let mut refused = None;
        // The size is looked at only now and then.
        for number in 0..1000 {
            let put = Write::Put { key: format!("/f/{number}"), value: value.clone(), lease: None };
            if let Err(error) = store.commit(Transaction { conditions: vec![], writes: vec![put] }).await {
                refused = Some(error);
                break;
            }
        }
        assert!(matches!(refused, Some(StoreError::Full(_))), "{refused:?}");
        // Reading goes on.
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
