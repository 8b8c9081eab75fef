//! Responses of `sexton lock serve`.

use serde_json::json;
use testkit::private_directory;
use testkit::servers::etcd::Etcd;

use super::Locks;
use crate::harness::Sexton;

/// The requests of the older tool, and sexton's own.
fn answers_as_the_contract_says(locks: &Locks) {
    let claim =
        json!({"key": "db", "value": "pod-1", "labels": {"zone": "a"}, "timestamp": "2026-01-01T00:00:00Z"});
    let (code, first) = locks.json("POST", "/lease", &[("x-lease-ttl", "30s")], &claim);
    assert_eq!(code, 201, "{first}");
    let id = first["id"].as_str().unwrap_or_default().to_owned();
    assert!(!id.is_empty() && first["fence"].as_u64() > Some(0), "{first}");
    let other = json!({"key": "db", "value": "pod-2", "labels": {}, "timestamp": ""});
    let (code, taken) = locks.json("POST", "/lease", &[("x-lease-ttl", "30")], &other);
    assert_eq!((code, &taken["value"], &taken["labels"]["zone"]), (202, &json!("pod-1"), &json!("a")));
    assert_eq!(taken["fence"], first["fence"]);
    assert_eq!(locks.json("POST", "/keepalive", &[], &json!({"id": id})).0, 200);
    assert_eq!(locks.held(), ["db"]);
    assert_eq!(locks.ask("GET", "/health", &[], "").code, 200);
    assert_eq!(locks.ask("DELETE", &format!("/lease/{id}"), &[], "").code, 200);
    assert_eq!(locks.json("POST", "/keepalive", &[], &json!({"id": id})).0, 204);
    let (code, second) = locks.json("POST", "/lease", &[("x-lease-ttl", "30s")], &other);
    assert_eq!(code, 201);
    assert!(second["fence"].as_u64() > first["fence"].as_u64());
    // A client waits, and acquires it when it is released.
    let second = second["id"].as_str().unwrap_or_default().to_owned();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            locks.json("POST", "/lease", &[("x-lease-ttl", "30s"), ("x-lease-wait", "20s")], &claim)
        });
        assert_eq!(locks.ask("DELETE", &format!("/lease/{second}"), &[], "").code, 200);
        let (code, third) = waiting.join().unwrap_or_default();
        assert_eq!(code, 201, "{third}");
    });
}

#[test]
fn the_embedded_store_serves_locks() {
    let directory = private_directory();
    answers_as_the_contract_says(&Locks::embedded(&directory.path().join("deep/er/store")));
}

#[test]
fn etcd_with_certificates_serves_locks() {
    let etcd = Etcd::start_with_tls(3);
    let security = etcd.security().cloned().unwrap_or_else(|| panic!("no certificates"));
    let path = |path: &std::path::Path| path.display().to_string();
    let arguments = [
        "--etcd".to_owned(),
        etcd.endpoints().join(","),
        "--etcd-ca".to_owned(),
        path(&security.ca),
        "--etcd-cert".to_owned(),
        path(&security.client.certificate),
        "--etcd-key".to_owned(),
        path(&security.client.key),
    ];
    answers_as_the_contract_says(&Locks::start(arguments.to_vec()));
    // At the paths of the older tool.
    assert!(etcd.run(&["get", "--prefix", "/shared-lock/", "--keys-only"]).contains("/shared-lock/db"));
}

#[test]
fn invalid_requests_are_rejected() {
    let directory = private_directory();
    let locks = Locks::embedded(&directory.path().join("store"));
    let good = r#"{"key": "a", "value": "b"}"#;
    let huge = format!(r#"{{"key": "a", "value": "{}"}}"#, "x".repeat(100_000));
    let long = format!(r#"{{"key": "a", "labels": {{"b": "{}"}}}}"#, "x".repeat(5_000));
    for (path, headers, body, code, part) in [
        ("/lease", &[][..], "nonsense", 400, "expected JSON"),
        ("/lease", &[], r#"{"value": "b"}"#, 400, "key"),
        ("/lease", &[], r#"{"key": ""}"#, 400, "the name of the lock is missing"),
        ("/lease", &[], r#"{"key": "a\u0007"}"#, 400, "control character"),
        ("/lease", &[("x-lease-ttl", "soon")], good, 400, "x-lease-ttl 'soon'"),
        ("/lease", &[("x-lease-ttl", "1ms")], good, 400, "from 500ms to 24h"),
        ("/lease", &[("x-lease-wait", "-1s")], good, 400, "x-lease-wait"),
        ("/lease", &[], huge.as_str(), 400, "length limit"),
        ("/lease", &[], long.as_str(), 400, "longer than 4096 bytes"),
        ("/lease", &[("Origin", "http://evil.example")], good, 403, "browsers"),
        ("/keepalive", &[], r#"{"id": 7}"#, 400, "the id"),
        ("/keepalive", &[], r#"{"id": "xyz"}"#, 400, "the id"),
        ("/keepalive", &[], r#"{"id": "7"}"#, 204, ""),
        ("/lease/xyz", &[], "", 405, ""),
    ] {
        let answer = locks.ask("POST", path, headers, body);
        assert_eq!(answer.code, code, "{path} {headers:?} {body:.80}: {answer:?}");
        assert!(answer.body.contains(part), "{path} {headers:?} {body:.80}: {answer:?}");
    }
    assert_eq!(locks.held(), [""; 0]);
}

#[test]
fn an_unusable_store_is_reported_before_anything_is_served() {
    let directory = private_directory();
    let notes = directory.path().join("notes");
    std::fs::write(&notes, "dear diary").unwrap_or_default();
    let port = crate::up::free_port().to_string();
    let serve = |arguments: &[&str]| {
        Sexton::new(["lock", "serve", "-p", &port].iter().chain(arguments).collect::<Vec<_>>()).done()
    };
    let notes = notes.display().to_string();
    for (arguments, code, part) in [
        (&["--store", notes.as_str()][..], 69, "is damaged or not a store, and is not modified"),
        (&["--store", "/proc/nothing/here"], 69, "cannot read /proc/nothing"),
        (&["--etcd", "no such host"], 69, "invalid etcd endpoint"),
        (&["--etcd", "localhost", "--etcd-ca", "/nowhere"], 69, "cannot read /nowhere"),
        (&["--etcd", "localhost", "--etcd-cert", "x"], 64, "must be given together"),
        (&["--etcd", "localhost", "--store", "x"], 64, "cannot be used with"),
    ] {
        let done = serve(arguments);
        assert_eq!(done.code, code, "{arguments:?}: {done:?}");
        assert!(done.stderr.contains(part), "{arguments:?}: {done:?}");
    }
    assert_eq!(std::fs::read_to_string(&notes).unwrap_or_default(), "dear diary");
}

#[test]
fn a_new_store_grants_no_lock_before_leases_of_a_lost_one_have_expired() {
    let directory = private_directory();
    let locks = Locks::new_store(&directory.path().join("store"));
    let claim = json!({"key": "db", "value": "pod-1"});
    let begun = std::time::Instant::now();
    let (code, taken) = locks.json("POST", "/lease", &[("x-lease-ttl", "3s")], &claim);
    assert_eq!((code, &taken["value"]), (202, &json!("unknown, since the store is new")));
    let waited = [("x-lease-ttl", "3s"), ("x-lease-wait", "20s")];
    let (code, granted) = locks.json("POST", "/lease", &waited, &claim);
    assert_eq!(code, 201);
    assert!(begun.elapsed().as_millis() > 2500, "{:?}", begun.elapsed());
    // Tokens are higher than those of any earlier store.
    assert!(granted["fence"].as_u64() > Some(1 << 50), "{granted}");
}

#[test]
fn texts_of_holders_are_shown_on_one_line() {
    let directory = private_directory();
    let locks = Locks::embedded(&directory.path().join("store"));
    let claim = json!({"key": "db", "value": "\u{1b}[31mred\nevil", "timestamp": "\u{1b}]0;x\u{7}"});
    assert_eq!(locks.json("POST", "/lease", &[("x-lease-ttl", "60s")], &claim).0, 201);
    for number in 0..1500 {
        let claim = json!({"key": format!("other-{number}"), "value": "x".repeat(60)});
        assert_eq!(locks.json("POST", "/lease", &[("x-lease-ttl", "60s")], &claim).0, 201);
    }
    let done = Sexton::new(["lock", "list", "--url", &locks.url()]).done();
    assert_eq!((done.code, done.stdout.lines().count()), (0, 1502), "{}", done.stderr);
    assert!(done.stdout.contains("red\\nevil") && !done.stdout.contains('\u{1b}'), "{:.300}", done.stdout);
    let waits = super::hold(&locks, "db", "2s", "true");
    waits.wait_for_stderr("red\\");
    assert!(!waits.stderr().contains('\u{1b}'));
}

#[test]
fn passwords_in_urls_are_not_repeated() {
    for arguments in [
        &["lock", "serve", "-p", "0", "--etcd", "http://root:s3cretPW@localhost:2379"][..],
        &["lock", "hold", "--url", "http://u:s3cretPW@localhost/zz", "a", "--", "true"],
        &["lock", "list", "--url", "http://u:s3cretPW@localhost/zz"],
    ] {
        let done = Sexton::new(arguments.iter()).done();
        assert!(done.code != 0 && !done.stderr.contains("s3cretPW"), "{done:?}");
        assert!(done.stderr.contains("localhost"), "{done:?}");
    }
}

#[test]
fn a_killed_server_remembers_the_holders() {
    let directory = private_directory();
    let mut locks = Locks::embedded(&directory.path().join("store"));
    let claim = json!({"key": "db", "value": "pod-1"});
    let (code, first) = locks.json("POST", "/lease", &[("x-lease-ttl", "2s")], &claim);
    assert_eq!(code, 201);
    locks.kill();
    locks.restart();
    // It could not be kept alive meanwhile: its time starts again, and then it expires.
    assert_eq!(locks.json("POST", "/lease", &[("x-lease-ttl", "2s")], &claim).0, 202);
    let waited = [("x-lease-ttl", "2s"), ("x-lease-wait", "20s")];
    let (code, second) = locks.json("POST", "/lease", &waited, &claim);
    assert_eq!(code, 201);
    assert!(second["fence"].as_u64() > first["fence"].as_u64(), "{first} {second}");
    assert_ne!(second["id"], first["id"]);
}
