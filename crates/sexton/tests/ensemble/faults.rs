//! Callbacks that hang, print invalid or too much output, or leave processes; a state that is too long for a variable.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::wait_until;

use super::{Pod, callback, calls, keepalive, never_overlap, place, store};

/// A master with this callback, and one member.
fn with(directory: &testkit::TempDir, script: &str, more: &[&str]) -> Pod {
    let run = callback(directory, script);
    let at = store(directory);
    let mut arguments = vec!["--role", "master", "--callback", &run, "--store", &at];
    if !more.contains(&"--damper") {
        arguments.extend(["--damper", "100ms"]);
    }
    arguments.extend(more);
    let master = Pod::start(&arguments);
    assert_eq!(master.ping(&keepalive("a", &json!(1))).code, 200);
    master
}

#[test]
fn a_hanging_callback_is_killed_and_run_again() {
    let directory = place();
    let script =
        "[ -e \"$0.once\" ] || { touch \"$0.once\"; trap '' TERM; sleep 1000; }; echo '{\"well\": true}'";
    let master = with(&directory, script, &["--callback-deadline", "1s"]);
    wait_until(&format!("a state; {}", master.sexton.stderr()), || {
        (master.json("/state")["well"] == true).then_some(())
    });
    assert!(
        master.sexton.stderr().contains("killing the callback: it took longer than 1s"),
        "{}",
        master.sexton.stderr()
    );
    let runs = master.json("/v1/callbacks");
    assert_eq!((&runs[0]["exit"], &runs[1]["exit"]), (&json!("signal SIGKILL"), &json!("code 0")), "{runs}");
}

#[test]
fn invalid_json_and_too_much_output_leave_the_state_unchanged() {
    let directory = place();
    let script = r#"case "$CHANGES" in *'"b"'*) echo oh no ;; *'"c"'*) head -c 100000000 /dev/zero | tr '\0' 1 ;; *) echo '{"first": 1}' ;; esac"#;
    let master = with(&directory, script, &[]);
    wait_until("a state", || (master.json("/state")["first"] == 1).then_some(()));
    for (id, part) in [("b", "its output is not JSON"), ("c", "its output is longer than 1048576 bytes")] {
        assert_eq!(master.ping(&keepalive(id, &json!(1))).code, 200);
        master.sexton.wait_for_stderr(part);
        assert_eq!(master.json("/state"), json!({"first": 1}));
    }
    wait_until("counted", || {
        master.ask("GET", "/metrics", &[], "").body.contains("callback_faults_total 2").then_some(())
    });
    never_overlap(directory.path());
}

#[test]
fn processes_left_by_a_callback_are_killed() {
    let directory = place();
    let script = r#"setsid sh -c 'echo $$ > "'"$0"'.stray"; sleep 1000' & while [ ! -s "$0.stray" ]; do sleep 0.01; done; echo '{"n": 1}'"#;
    let master = with(&directory, script, &[]);
    wait_until(&format!("a state; {}", master.sexton.stderr()), || {
        (master.json("/state")["n"] == 1).then_some(())
    });
    let stray = std::fs::read_to_string(directory.path().join("callback.stray")).unwrap_or_default();
    let stray: i32 = stray.trim().parse().unwrap_or(0);
    assert!(stray > 1);
    wait_until("the stray has ended", || (!testkit::tree::is_alive(stray)).then_some(()));
}

#[test]
fn a_large_state_and_a_long_list_are_passed_in_files() {
    let directory = place();
    let script = r#"[ -n "${PODS+x}" ] && echo pods >> "$0.variables"; [ -n "${STATE+x}" ] && echo state >> "$0.variables"
wc -c < "$PODS_FILE" >> "$0.sizes"; wc -c < "$STATE_FILE" >> "$0.sizes"
printf '"%s"' "$(head -c 1000000 /dev/zero | tr '\0' s)""#;
    let master = with(&directory, script, &[]);
    wait_until("a state", || (master.json("/state").as_str().map(str::len) == Some(1_000_000)).then_some(()));
    assert_eq!(master.ping(&keepalive("long", &json!("p".repeat(200_000)))).code, 200);
    wait_until("a second run", || (calls(directory.path()).matches("end").count() >= 2).then_some(()));
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap_or_default();
    // In the first run both were short.
    assert_eq!(read("callback.variables"), "pods\nstate\n");
    let sizes: Vec<usize> =
        read("callback.sizes").lines().filter_map(|line| line.trim().parse().ok()).collect();
    assert!(sizes.len() == 4 && sizes[2] > 200_000 && sizes[3] == 1_000_002, "{sizes:?}");
    // They are gone with the run.
    let own = format!("sexton-callback-{}-", master.sexton.pid());
    wait_until("no files", || {
        let left = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
        left.map(|entry| entry.file_name())
            .all(|name| !name.to_string_lossy().starts_with(&own))
            .then_some(())
    });
}

#[test]
fn the_damper_waits_for_quiet_and_is_cancelled_if_nothing_has_changed() {
    let directory = place();
    let master = with(&directory, "", &["--damper", "1s"]);
    wait_until("a first run", || calls(directory.path()).contains("end").then_some(()));
    let mut number = 0;
    // A busy machine may leave a pause between two changes that is as long as the damper: such a round says nothing.
    wait_until("a round without a pause", || {
        let before = calls(directory.path()).matches("begin").count();
        let (begun, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
        while begun.elapsed() < Duration::from_millis(2500) {
            number += 1;
            assert_eq!(master.ping(&keepalive("b", &json!(number))).code, 200);
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        let after = calls(directory.path()).matches("begin").count();
        (longest < Duration::from_millis(700)).then(|| {
            assert_eq!(after, before, "{}", calls(directory.path()));
        })
    });
    let runs = calls(directory.path()).matches("begin").count();
    let mut down = keepalive("b", &json!(0));
    down["down"] = json!(true);
    assert_eq!(master.ping(&down).code, 200);
    // It was cancelled: the next run is for a real change.
    let quiet = Instant::now();
    wait_until("quiet", || (quiet.elapsed() > Duration::from_millis(1500)).then_some(()));
    assert_eq!(calls(directory.path()).matches("begin").count(), runs);
    assert_eq!(master.ping(&keepalive("c", &json!(1))).code, 200);
    wait_until("a second run", || calls(directory.path()).contains(r#""added":["c"]"#).then_some(()));
}

#[test]
fn foreign_keys_under_the_prefix_are_left_alone() {
    let etcd = testkit::servers::etcd::Etcd::start(1);
    assert!(etcd.run(&["put", "/kontrol/default/demo/members/x", "foreign"]).contains("OK"));
    assert!(etcd.run(&["put", "/kontrol/default/demo/state", "foreign"]).contains("OK"));
    let directory = place();
    let run = callback(&directory, "echo 1");
    let master = Pod::start(&[
        "--role",
        "master",
        "--callback",
        &run,
        "--damper",
        "100ms",
        "--etcd",
        &etcd.endpoint(0),
    ]);
    assert_eq!(master.ping(&keepalive("a", &json!(1))).code, 200);
    assert_eq!(master.names(), ["a"]);
    wait_until(&format!("a run; {}", master.sexton.stderr()), || (master.json("/state") == 1).then_some(()));
    assert!(etcd.run(&["get", "/kontrol/default/demo/members/x"]).contains("foreign"));
    // A name of a foreign key cannot be used.
    assert_eq!(master.ping(&keepalive("x", &json!(1))).code, 503);
    assert!(etcd.run(&["put", "/kontrol/default/demo/seq", "many"]).contains("OK"));
    let answer = master.ping(&keepalive("b", &json!(1)));
    assert!(answer.code == 503 && answer.body.contains("expected the last sequence number"), "{answer:?}");
}

#[test]
fn the_callback_runs_again_when_the_list_returns_after_a_failed_run() {
    let directory = place();
    let script = r#"case "$PODS" in *'"b"'*) echo half >> "$0.half"; exit 1 ;; esac; echo '{"well": 1}'"#;
    let master = with(&directory, script, &["--damper", "300ms"]);
    wait_until("a state", || (master.json("/state")["well"] == 1).then_some(()));
    assert_eq!(master.ping(&keepalive("b", &json!(1))).code, 200);
    let half = directory.path().join("callback.half");
    wait_until("half", || half.exists().then_some(()));
    let mut gone = keepalive("b", &json!(1));
    gone["down"] = json!(true);
    assert_eq!(master.ping(&gone).code, 200);
    let digest = master.json("/v1/digest")["digest"].as_str().unwrap_or_default().to_owned();
    wait_until(&format!("run again; {}", master.sexton.stderr()), || {
        let text = calls(directory.path());
        let ends = text.lines().filter(|line| line.starts_with("end") && line.ends_with(&digest)).count();
        (ends == 2).then_some(())
    });
    assert!(!calls(directory.path()).contains("overlap"), "{}", calls(directory.path()));
}

#[test]
fn a_command_in_progress_ends_with_the_supervisor() {
    let directory = place();
    let at = store(&directory);
    let master = Pod::start(&["--role", "master", "--store", &at, "--allow-unauthenticated-invoke"]);
    let path = directory.path().join("pid");
    let body =
        json!({"cmd": format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 1000 & wait", path.display())});
    let body = body.to_string();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], master.port));
    let request = format!("PUT /script HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut asks = std::net::TcpStream::connect(address).unwrap_or_else(|error| panic!("{error}"));
    std::io::Write::write_all(&mut asks, request.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let pid: i32 = wait_until(&format!("the command; {}", master.sexton.stderr()), || {
        std::fs::read_to_string(&path).ok()?.trim().parse().ok()
    });
    assert_eq!(master.sexton.stop().code, 0);
    wait_until("the command has ended", || (!testkit::tree::is_alive(pid)).then_some(()));
}

#[test]
fn unrelated_files_next_to_the_payload_and_an_absent_master_cause_no_report() {
    let directory = place();
    let facts = directory.path().join("facts.json");
    std::fs::write(&facts, r#"{"zone": "a"}"#).unwrap_or_default();
    let at = store(&directory);
    let master = Pod::start(&["--role", "master", "--store", &at, "--member-ttl", "60s"]);
    // The second one is absent.
    let away = testkit::servers::free_ports(1)[0];
    let masters = format!("127.0.0.1:{},127.0.0.1:{away}", master.port);
    let payload = facts.display().to_string();
    let arguments = [
        "--role",
        "member",
        "--id",
        "m",
        "--masters",
        &masters,
        "--member-ttl",
        "60s",
        "--payload",
        &payload,
    ];
    let member = Pod::start(&arguments);
    master.wait_for_names(&["m"]);
    for number in 0..100 {
        std::fs::write(directory.path().join(format!("other{number}")), "x").unwrap_or_default();
    }
    wait_until(&format!("reported again; {}", member.sexton.stderr()), || {
        (member.sexton.stderr().matches("keepalive failed").count() > 1).then_some(())
    });
    std::fs::write(&facts, r#"{"zone": "b"}"#).unwrap_or_default();
    wait_until("the news", || (master.json("/v1/pods")[0]["payload"]["zone"] == "b").then_some(()));
    let metrics = master.ask("GET", "/metrics", &[], "").body;
    assert!(metrics.contains("keepalives_received_total 2"), "{metrics}");
}
