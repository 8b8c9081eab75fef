//! Processes of a file that need a lock; `lock hold` and `lock list`.

use testkit::{private_directory, tree};

use super::{Locks, hold};
use crate::harness::Sexton;
use crate::up::{With, place, up, up_in};

#[test]
fn one_of_two_replicas_runs_at_a_time() {
    let directory = private_directory();
    let locks = Locks::embedded(&directory.path().join("store"));
    let text = format!(
        "processes:\n  job:\n    command: [sh, -c, 'echo $$FENCE >> {}/fences; exec sleep inf']\n    lock: {{ttlDuration: 2s, url: '{}'}}\n",
        directory.path().display(),
        locks.url()
    );
    let (mut first, mut second) = (up(&text), None);
    let it = first.wait_until("job", "running", |it| it["phase"] == "running");
    assert_eq!(it["starts"], 1);
    let waiting = second.insert(up(&text));
    let it = waiting.wait_until("job", "waiting", |it| {
        it["state"].as_str().is_some_and(|state| state.contains("waiting for the lock 'job', held by "))
    });
    assert_eq!((&it["starts"], &it["ready"]), (&0.into(), &false.into()));
    assert!(waiting.asked(&["why", "job"]).contains("the lock 'job'"), "{}", waiting.asked(&["why", "job"]));
    // A stop releases it; the waiting replica acquires it then.
    first.asked(&["stop", "job"]);
    waiting.wait_until("job", "running", |it| it["phase"] == "running");
    first.ask(&["start", "--timeout", "1ms", "job"]);
    waiting.asked(&["end"]);
    first.wait_until("job", "running again", |it| it["phase"] == "running" && it["starts"] == 2);
    // "Running" is earlier than the command's first write.
    let fences = testkit::wait_until("three fence numbers", || {
        let fences = std::fs::read_to_string(directory.path().join("fences")).unwrap_or_default();
        let fences: Vec<u64> = fences.lines().filter_map(|line| line.parse().ok()).collect();
        (fences.len() >= 3).then_some(fences)
    });
    assert!(fences.len() == 3 && fences.is_sorted_by(|a, b| a < b), "{fences:?}");
}

#[test]
fn the_lock_of_process_wrapper_is_served_and_held_under_its_name() {
    let sockets = testkit::servers::free_ports(2);
    let (health, lease) = (format!("127.0.0.1:{}", sockets[0]), format!("127.0.0.1:{}", sockets[1]));
    let list = r#"[{"name": "job", "entrypoint": "sleep", "args": ["inf"], "readiness": {"lock": {"ttlDuration": "5s"}}}]"#;
    let directory = place(list);
    let links = private_directory();
    let link = links.path().join("process-wrapper");
    std::os::unix::fs::symlink(crate::harness::SEXTON, &link).unwrap_or_else(|error| panic!("{error}"));
    let file = directory.path().join("sexton.yaml").display().to_string();
    let url = format!("http://{lease}");
    let ready = directory.path().join("ready").display().to_string();
    let state = directory.path().display().to_string();
    let arguments = ["-config", &file, "-shared-lock", "-shared-lock-url", &url, "-readiness-file", &ready];
    let wrapper = Sexton::program(&link, arguments)
        .env("HEALTH_SOCKET", &health)
        .env("SHARED_LEASE_SOCKET", &lease)
        .env("SEXTON_LOCK_STORE", format!("{state}/store"))
        .start();
    testkit::wait_until(&format!("ready; {}", wrapper.stderr()), || {
        directory.path().join("ready").exists().then_some(())
    });
    let list = Sexton::new(["lock", "list", "--url", &url]).done();
    assert!(list.code == 0 && list.stdout.contains("job"), "{list:?}");
    // The server stops last: held locks are released.
    let done = wrapper.stop();
    assert_eq!(done.code, 0, "{}", done.stderr);
    let after = Locks::start(vec!["--store".to_owned(), format!("{state}/store")]);
    assert_eq!(after.held(), [""; 0], "{}", done.stderr);
    // Only a server.
    let only = Sexton::program(&link, ["-shared-lock", "-readiness-file", &format!("{ready}2")])
        .env("HEALTH_SOCKET", "127.0.0.1:0")
        .env("SHARED_LEASE_SOCKET", format!("127.0.0.1:{}", crate::up::free_port()))
        .env("SEXTON_LOCK_STORE", format!("{state}/store2"))
        .start();
    testkit::wait_until(&format!("ready; {}", only.stderr()), || {
        directory.path().join("ready2").exists().then_some(())
    });
}

#[test]
fn dependencies_hold_when_the_lock_has_been_acquired() {
    let directory = private_directory();
    let locks = Locks::embedded(&directory.path().join("store"));
    let mut blocking = hold(&locks, "job", "5s", "echo there > there; exec sleep inf");
    blocking.wait_for_file("there");
    let mut up = up(&format!(
        "processes:\n  db:\n    command: [sh, -c, 'sleep inf']\n  job:\n    command: [sleep, inf]\n    dependsOn: {{db: started}}\n    lock: {{url: '{}'}}\n",
        locks.url()
    ));
    up.wait_until("job", "waiting", |it| {
        it["state"].as_str().is_some_and(|state| state.contains("waiting for the lock 'job'"))
    });
    up.asked(&["stop", "db"]);
    blocking.signal(libc::SIGTERM);
    up.wait_until("job", "waiting for db", |it| {
        it["state"].as_str().is_some_and(|state| state.contains("db to be started"))
    });
    // It was released meanwhile.
    testkit::wait_until("a free lock", || locks.held().is_empty().then_some(()));
    up.asked(&["start", "db"]);
    up.wait_until("job", "running", |it| it["phase"] == "running");
    assert_eq!(blocking.wait(), 143);
}

#[test]
fn hold_exits_with_the_code_of_the_command() {
    let directory = private_directory();
    let locks = Locks::embedded(&directory.path().join("store"));
    let url = locks.url();
    let hold = |command: &[&str]| {
        Sexton::new(["lock", "hold", "--url", &url, "a", "--"].iter().chain(command).collect::<Vec<_>>())
            .done()
    };
    let done = hold(&["sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((done.code, done.stdout.as_str()), (3, "out\n"));
    assert!(done.stderr.contains("err"), "{done:?}");
    assert_eq!(hold(&["/nowhere"]).code, 127);
    assert_eq!(locks.held(), [""; 0], "it is given back");
    let done = Sexton::new(["lock", "hold", "--url", "ftp://x", "a", "--", "true"]).done();
    assert!(done.code == 64 && done.stderr.contains("is not a lock server"), "{done:?}");
    let done = Sexton::new(["lock", "hold", "--lock-ttl", "1ms", "a", "--", "true"]).done();
    assert!(done.code == 64 && done.stderr.contains("expected a time to live"), "{done:?}");
}

#[test]
fn a_waiting_holder_can_be_stopped_and_leaves_nothing() {
    let directory = private_directory();
    let locks = Locks::embedded(&directory.path().join("store"));
    let first = hold(&locks, "a", "5s", "echo there > there; exec sleep inf");
    first.wait_for_file("there");
    let mut second = hold(&locks, "a", "5s", "echo never > there");
    second.wait_for_stderr("held by ");
    let descendants = tree::descendants(second.pid());
    second.signal(libc::SIGTERM);
    assert_eq!(second.wait(), 143);
    assert_eq!(second.text("there"), "");
    testkit::wait_until(&format!("its guard has ended: {descendants:?}"), || {
        descendants.keys().all(|pid| !tree::is_alive(*pid)).then_some(())
    });
    // An absent server is waited for.
    let port = testkit::servers::free_ports(1)[0];
    let third =
        Sexton::new(["-v", "lock", "hold", "--url", &format!("http://127.0.0.1:{port}"), "a", "--", "true"])
            .start();
    third.wait_for_stderr("connection refused");
}

#[test]
fn a_reload_that_changes_the_lock_restarts_the_process_with_the_new_one() {
    let directory = private_directory();
    let locks = Locks::embedded(&directory.path().join("store"));
    let text = |name: &str| {
        format!(
            "processes:\n  job:\n    command: [sleep, inf]\n    lock: {{name: {name}, url: '{}'}}\n",
            locks.url()
        )
    };
    let mut up = up_in(place(&text("one")), &With::default());
    up.wait_until("job", "running", |it| it["phase"] == "running");
    assert_eq!(locks.held(), ["one"]);
    up.rewrite(&text("two"));
    up.asked(&["reload"]);
    testkit::wait_until("the other lock", || (locks.held() == ["two"]).then_some(()));
    up.wait_until("job", "running", |it| it["phase"] == "running");
}
