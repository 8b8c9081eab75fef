//! The control socket and its clients.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use testkit::wait_until;

use super::{With, place, up, up_in};
use crate::harness::{SEXTON, Sexton};

const TWO: &str = "processes:\n  web: {command: [sleep, 1000]}\n  worker: {command: [sleep, 1000]}\n";

#[test]
fn status_is_printed_as_a_table_or_json() {
    let mut up = up(TWO);
    up.wait_ready("worker");
    let table = up.asked(&["status"]);
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("NAME    STATE    READY"), "{table}");
    assert!(lines[1].starts_with("web     running  yes"), "{table}");
    assert!(table.ends_with("all processes are ready\n"), "{table}");
    let json: Value = serde_json::from_str(&up.asked(&["status", "-o", "json", "web"])).unwrap_or_default();
    assert_eq!(json["processes"].as_array().map(Vec::len), Some(1));
    // While a process takes up its new program, the kernel may count no memory for it.
    wait_until("memory in use", || {
        let json: Value = serde_json::from_str(&up.asked(&["status", "-o", "json", "web"])).ok()?;
        (json["processes"][0]["usage"]["memoryBytes"].as_u64() > Some(1000)).then_some(())
    });
    let wrong = up.ask(&["status", "wbe"]);
    assert_eq!(
        (wrong.code, wrong.stderr.as_str()),
        (1, "sexton: there is no process 'wbe', did you mean 'web'?\n")
    );
    assert_eq!(up.asked(&["names"]), "web\nworker\n");
}

#[test]
fn stop_start_and_restart_wait_for_their_result() {
    let mut up = up(TWO);
    let first = up.pid("web");
    assert_eq!(up.asked(&["stop", "web"]), "web stopped\n");
    assert!(!testkit::tree::is_alive(first));
    assert_eq!(up.process("web")["phase"], "stopped");
    assert_eq!(up.asked(&["stop", "web"]), "web is not running\n");
    assert_eq!(up.sexton.get("/readiness").code, 503);
    assert_eq!(up.asked(&["start", "web"]), "web started\n");
    assert_eq!(up.asked(&["start", "web"]), "web is already running\n");
    let second = up.pid("web");
    assert_eq!(up.asked(&["restart", "web", "worker"]), "web restarted\nworker restarted\n");
    let third = up.pid("web");
    assert!(first != second && second != third);
    assert!(up.sexton.ended().is_none());
}

#[test]
fn the_wait_of_a_client_can_be_limited() {
    let mut up = up(
        "processes:\n  deaf: {command: [$CHILD, deaf, $DIR/ready], readinessProbe: {file: {path: $DIR/ready}, periodSeconds: 20ms}}\n",
    );
    up.wait_ready("deaf");
    let done = up.ask(&["stop", "deaf", "--timeout", "200ms"]);
    assert!(done.code == 1 && done.stderr.contains("timeout after 200ms: stop deaf"), "{}", done.stderr);
    assert_eq!(up.process("deaf")["phase"], "stopping");
}

#[test]
fn a_signal_may_be_sent_to_the_whole_group() {
    let both = "trap \"echo parent >> $DIR/got\" HUP; sh -c \"trap \\\"echo child >> $DIR/got\\\" HUP; echo > $DIR/ready; while :; do sleep 0.01; done\" & while :; do sleep 0.01; done";
    for (mode, option, expected) in
        [("main", None, "parent"), ("main", Some("--group"), "child"), ("group", None, "child")]
    {
        let up = up(&format!("processes:\n  web: {{command: [sh, -c, '{both}'], killMode: {mode}}}\n"));
        wait_until("ready", || up.path("ready").exists().then_some(()));
        let arguments: Vec<_> = ["signal"].into_iter().chain(option).chain(["HUP", "web"]).collect();
        up.asked(&arguments);
        up.wait_for("got", expected);
        if expected == "parent" {
            // The child would have written by now: it gets the next signal.
            up.asked(&["signal", "--group", "HUP", "web"]);
            up.wait_for("got", "child");
            assert_eq!(up.text("got").matches("child").count(), 1, "{}", up.text("got"));
        }
    }
}

#[test]
fn signals_reach_the_process_and_unknown_ones_are_rejected() {
    let mut up = up("processes:\n  web: {command: [$CHILD, record, $DIR/log]}\n");
    up.wait_for("log", "ready");
    up.asked(&["signal", "HUP", "web"]);
    up.wait_for("log", "1\n");
    let wrong = up.ask(&["signal", "NOPE", "web"]);
    assert!(wrong.code == 64 && wrong.stderr.contains("is not a signal"), "{}", wrong.stderr);
    up.asked(&["stop", "web"]);
    let gone = up.ask(&["signal", "HUP", "web"]);
    assert_eq!((gone.code, gone.stderr.as_str()), (1, "sexton: not running\n"));
    assert_eq!(up.process("web")["phase"], "stopped");
}

#[test]
fn events_and_why_show_what_happened() {
    let mut up = up(TWO);
    up.wait_ready("worker");
    up.asked(&["restart", "web"]);
    let events = up.asked(&["events", "web"]);
    assert!(events.contains("web               started") && !events.contains("worker"), "{events}");
    let why = up.asked(&["why", "web"]);
    assert!(why.starts_with("web: running (since 20"), "{why}");
    assert!(why.contains("restarting now (control socket request)"), "{why}");
    let json: Value = serde_json::from_str(&up.asked(&["why", "web", "-o", "json"])).unwrap_or_default();
    assert!(json["chain"].as_array().is_some_and(|chain| chain.len() >= 4), "{json}");
}

#[test]
fn followed_streams_end_with_the_supervisor() {
    let mut up = up("processes:\n  web: {command: [sh, -c, 'while :; do echo tick; sleep 0.02; done']}\n");
    up.wait_ready("web");
    let socket = up.path("control");
    let followers: Vec<_> = [&["events", "-f"][..], &["logs", "-f", "-o", "raw", "web"]]
        .iter()
        .map(|arguments| {
            let mut command = std::process::Command::new(SEXTON);
            command.args(*arguments).env("SEXTON_CONTROL", &socket).stdout(std::process::Stdio::piped());
            command.spawn().unwrap_or_else(|error| panic!("{error}"))
        })
        .collect();
    up.asked(&["restart", "web"]);
    assert_eq!(up.asked(&["end"]), "shutting down\n");
    assert_eq!(up.sexton.wait(), 0);
    let outputs: Vec<_> = followers
        .into_iter()
        .map(|follower| {
            follower
                .wait_with_output()
                .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
                .unwrap_or_default()
        })
        .collect();
    assert!(outputs[0].contains("started"), "{}", outputs[0]);
    assert!(
        outputs[1].lines().count() > 0 && outputs[1].lines().all(|line| line == "tick"),
        "{}",
        outputs[1]
    );
}

#[test]
fn the_control_socket_is_private_and_is_removed_at_exit() {
    let mut up = up(TWO);
    up.wait_ready("web");
    let mode = std::fs::metadata(up.path("control")).map(|it| it.permissions().mode() & 0o777);
    assert_eq!(mode.ok(), Some(0o600));
    // A second one is rejected, and starts nothing.
    let second = up.path("second");
    let text = format!("processes: {{a: {{command: [touch, {}]}}}}", second.display());
    std::fs::write(up.path("second.yaml"), text).unwrap_or_default();
    let (file, control) = (up.path("second.yaml"), up.path("control"));
    let done = Sexton::new([
        "-p".as_ref(),
        "none".as_ref(),
        "up".as_ref(),
        file.as_os_str(),
        "--control".as_ref(),
        control.as_os_str(),
    ])
    .done();
    assert!(done.code == 69 && done.stderr.contains("in use by another sexton"), "{}", done.stderr);
    assert!(!second.exists());
    assert_eq!(up.asked(&["names"]), "web\nworker\n", "the first still answers");
    let socket = up.path("control");
    up.sexton.signal(libc::SIGTERM);
    assert_eq!(up.sexton.wait(), 0);
    assert!(!socket.exists());
    let refused = up.ask(&["status"]);
    assert!(refused.code == 69 && refused.stderr.contains("cannot connect to "), "{}", refused.stderr);
}

#[test]
fn a_stale_socket_is_replaced() {
    let directory = place(TWO);
    let socket = directory.path().join("control");
    drop(std::os::unix::net::UnixListener::bind(&socket));
    assert!(socket.exists(), "left over, as by KILL");
    let mut up = up_in(directory, &With::default());
    up.wait_ready("web");
    assert_eq!(up.asked(&["names"]), "web\nworker\n");
}

#[test]
fn over_tcp_nothing_can_be_changed_and_logs_are_not_readable() {
    let mut up = up(TWO);
    up.wait_ready("web");
    for (method, path) in
        [("POST", "/v1/processes/web/stop"), ("POST", "/v1/reload"), ("POST", "/v1/end"), ("GET", "/v1/logs")]
    {
        let code = up.sexton.request(method, path).code;
        assert!(code == 404 || code == 405, "{method} {path}: {code}");
    }
    assert_eq!(up.process("web")["phase"], "running");
}

#[test]
fn a_client_that_never_reads_blocks_nothing() {
    let mut up = up(
        "processes:\n  web: {command: [sh, -c, 'yes | head -c 20000000; echo > $DIR/done; exec sleep 1000']}\n",
    );
    // It is there for a moment before it listens.
    let connect = || std::os::unix::net::UnixStream::connect(up.path("control")).ok();
    let mut socket = wait_until("the socket", connect);
    std::io::Write::write_all(&mut socket, b"GET /v1/logs?follow HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap_or_default();
    up.wait_for("done", "\n");
    assert_eq!(up.sexton.get("/readiness").code, 200);
    assert_eq!(up.asked(&["stop", "web"]), "web stopped\n");
}

#[test]
fn wait_returns_when_all_are_healthy() {
    let text = "processes:\n  web: {command: [sh, -c, 'sleep 0.2; echo > $DIR/good; exec sleep 1000'], readinessProbe: {file: {path: $DIR/good}, periodSeconds: 20ms}}\nreadinessFile: $DIR/all-ready\n";
    let directory = place(text);
    let socket = directory.path().join("control");
    // Also before the supervisor runs.
    let mut waiting = std::process::Command::new(SEXTON);
    let mut waiting = waiting
        .args(["wait", "--timeout", "20s"])
        .env("SEXTON_CONTROL", socket)
        .spawn()
        .unwrap_or_else(|error| panic!("{error}"));
    let mut up = up_in(directory, &With::default());
    assert!(waiting.wait().is_ok_and(|status| status.success()));
    assert!(up.path("good").exists());
    let file = up.path("all-ready");
    assert_eq!(up.ask(&["wait", "--readiness-file", &file.to_string_lossy(), "--timeout", "20s"]).code, 0);
    std::fs::remove_file(up.path("good")).unwrap_or_default();
    wait_until("the file goes with health", || (!file.exists()).then_some(()));
    let late = up.ask(&["wait", "--timeout", "100ms"]);
    assert!(
        late.code == 1 && late.stderr.contains("timeout after 100ms: not all processes are healthy"),
        "{}",
        late.stderr
    );
    up.sexton.signal(libc::SIGTERM);
    up.sexton.wait();
}

#[test]
fn sigusr1_logs_the_state() {
    let mut up = up(TWO);
    up.wait_ready("worker");
    up.sexton.signal(libc::SIGUSR1);
    up.sexton.wait_for_stderr("level=warn msg=running process=worker");
}

#[test]
fn the_paths_of_kapo_answer_for_many_processes() {
    let mut up = up(TWO);
    let (web, worker) = (up.pid("web"), up.pid("worker"));
    assert_eq!(up.sexton.json("/status"), serde_json::json!({"web": true, "worker": true}));
    assert_eq!(up.sexton.json("/pids"), serde_json::json!({"web": web, "worker": worker}));
    assert_eq!(up.sexton.get("/pidof?name=web").body.trim(), web.to_string());
    assert_eq!(up.sexton.get("/pidof").code, 400);
    assert_eq!(up.sexton.get("/pidof?name=unknown").code, 404);
    up.asked(&["stop", "web"]);
    assert_eq!(up.sexton.get("/pidof?name=web").code, 204);
    assert_eq!(up.sexton.json("/status"), serde_json::json!({"web": false, "worker": true}));
    let metrics = up.sexton.get("/metrics").body;
    assert!(metrics.contains("sexton_process_ready{process=\"worker\"} 1"), "{metrics}");
    assert!(metrics.contains("sexton_process_memory_bytes{process=\"worker\"}"), "{metrics}");
}

#[test]
fn a_restart_of_a_process_that_waits_for_its_dependents_to_stop_is_a_restart() {
    let mut up = up(
        "processes:\n  db: {command: [sleep, 1000]}\n  web: {command: [$CHILD, deaf, $DIR/ready], dependsOn: db, readinessProbe: {file: {path: $DIR/ready}, periodSeconds: 20ms}}\n",
    );
    up.wait_ready("web");
    let first = up.pid("db");
    up.ask(&["stop", "web", "--timeout", "50ms"]);
    up.ask(&["stop", "db", "--timeout", "50ms"]);
    assert_eq!(up.asked(&["restart", "db", "--timeout", "20s"]), "db restarted\n");
    assert_ne!(up.pid("db"), first);
}

#[test]
fn names_may_contain_characters_that_urls_encode() {
    let mut up = up("processes: {'c++:1': {command: [sleep, 1000]}}");
    up.wait_ready("c++:1");
    assert_eq!(up.asked(&["restart", "c++:1"]), "c++:1 restarted\n");
    assert!(up.asked(&["why", "c++:1"]).contains("control socket"));
}

#[test]
fn values_of_variables_are_not_shown() {
    let text = "processes: {web: {command: [sh, -c, 'exec sleep 1000', '--password=$(SECRET)'], env: {SECRET: hunter2}}}";
    let mut up = up(text);
    up.wait_ready("web");
    let shown = up.sexton.get("/v1/processes").body
        + &up.sexton.get("/").body
        + &up.asked(&["check", &up.path("sexton.yaml").to_string_lossy()]);
    assert!(shown.contains("--password=$(SECRET)") && !shown.contains("hunter2"), "{shown}");
}
