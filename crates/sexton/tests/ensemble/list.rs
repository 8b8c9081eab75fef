//! The list and its digest; keepalives of every kind; the callback of one master.

use std::io::BufRead as _;

use serde_json::json;
use testkit::wait_until;

use super::{Pod, callback, calls, keepalive, never_overlap, place, store};
use crate::harness::Sexton;

#[test]
fn the_callback_runs_when_members_join_change_and_leave() {
    let directory = place();
    let facts = directory.path().join("facts.json");
    std::fs::write(&facts, r#"{"zone": "a"}"#).unwrap_or_default();
    let script = r#"echo "$PODS" > "$(dirname "$0")/pods"; test "$(cat "$PODS_FILE")" = "$PODS" && echo "{\"runs\": $(( $(echo "${STATE:-0}" | tr -dc 0-9) + 1 ))}""#;
    let run = callback(&directory, script);
    let master = Pod::start(&[
        "--role",
        "both",
        "--id",
        "pod-1",
        "--ip",
        "10.0.0.1",
        "--callback",
        &run,
        "--damper",
        "200ms",
        "--member-ttl",
        "3s",
        "--store",
        &store(&directory),
    ]);
    master.wait_for_names(&["pod-1"]);
    let at = format!("127.0.0.1:{}", master.port);
    let member = Pod::start(&[
        "--role",
        "member",
        "--masters",
        &at,
        "--id",
        "pod-2",
        "--ip",
        "fd00::2",
        "--label-role",
        "db",
        "--payload",
        &facts.display().to_string(),
        "--member-ttl",
        "3s",
    ]);
    master.wait_for_names(&["pod-1", "pod-2"]);
    let pods = master.json("/v1/pods");
    assert_eq!(
        (&pods[0]["ip"], &pods[0]["key"], &pods[0]["seq"]),
        (&json!("10.0.0.1"), &json!("blXcB"), &json!(1))
    );
    assert_eq!(
        (&pods[1]["ip"], &pods[1]["role"], &pods[1]["payload"]["zone"]),
        (&json!("fd00::2"), &json!("db"), &json!("a"))
    );
    let state = |runs: u64| {
        wait_until(&format!("{runs} runs: {} {}", calls(directory.path()), master.sexton.stderr()), || {
            (master.json("/state")["runs"].as_u64() >= Some(runs)).then_some(())
        });
    };
    state(1);
    wait_until("the callback has seen both", || {
        std::fs::read_to_string(directory.path().join("pods"))
            .ok()
            .filter(|text| text.contains("pod-2"))
            .map(drop)
    });
    let digest = master.json("/v1/digest")["digest"].clone();
    // A change of the file is reported at once, long before the next keepalive.
    std::fs::write(&facts, r#"{"zone": "b"}"#).unwrap_or_default();
    wait_until("another payload", || (master.json("/v1/pods")[1]["payload"]["zone"] == "b").then_some(()));
    assert_ne!(master.json("/v1/digest")["digest"], digest);
    // Invalid JSON is skipped.
    std::fs::write(&facts, "{").unwrap_or_default();
    member.sexton.wait_for_stderr("cannot read the payload");
    assert_eq!(master.json("/v1/pods")[1]["payload"]["zone"], "b");
    // A member that exits reports it, and is removed at once.
    let done = member.sexton.stop();
    assert_eq!(done.code, 0, "{}", done.stderr);
    master.wait_for_names(&["pod-1"]);
    wait_until("the callback has run", || {
        calls(directory.path()).contains(r#""removed":["pod-2"]"#).then_some(())
    });
    let done = master.sexton.stop();
    assert_eq!(done.code, 0, "{}", done.stderr);
    never_overlap(directory.path());
    // It continues where it was: numbers are not reused.
    let again =
        Pod::start(&["--role", "both", "--id", "pod-3", "--ip", "10.0.0.3", "--store", &store(&directory)]);
    again.wait_for_names(&["pod-3"]);
    assert_eq!(again.json("/v1/pods")[0]["seq"], 3);
}

#[test]
fn keepalives_are_accepted_or_rejected() {
    let directory = place();
    let master = Pod::start(&["--role", "master", "--member-ttl", "2s", "--store", &store(&directory)]);
    for id in ["b", "a", "c"] {
        assert_eq!(master.ping(&keepalive(id, &json!({"x": 1}))).code, 200);
    }
    assert_eq!(master.names(), ["b", "a", "c"], "in the order in which they came");
    let digest = |what: &str| (what.to_owned(), master.json("/v1/digest")["digest"].clone());
    let first = digest("").1;
    // The order of keys makes no difference.
    let text =
        r#"{"role":"r","payload":{"x":1},"nonce":"n","key":"x","ip":"10.0.0.9","id":"a","app":"demo"}"#;
    assert_eq!(master.ask("PUT", "/ping", &[], text).code, 200);
    assert_eq!(digest("").1, first);
    // A new nonce is a restart.
    let mut restarted = keepalive("a", &json!({"x": 1}));
    restarted["nonce"] = json!("m");
    assert_eq!(master.ping(&restarted).code, 200);
    assert_ne!(digest("").1, first);
    assert_eq!(master.names(), ["b", "a", "c"]);
    let huge = keepalive("h", &json!("x".repeat(1 << 20))).to_string();
    for (body, code, part) in [
        ("", 400, "expected JSON"),
        ("{}", 400, "missing field"),
        (r#"{"app":"demo","id":""}"#, 400, "id"),
        (r#"{"app":"other","id":"a"}"#, 400, "this ensemble is 'demo'"),
        ("\u{0}\u{1}", 400, "expected JSON"),
        (huge.as_str(), 400, "length limit"),
    ] {
        let answer = master.ask("PUT", "/ping", &[], body);
        assert!(answer.code == code && answer.body.contains(part), "{body:.60}: {answer:?}");
    }
    assert_eq!(master.ask("PUT", "/ping", &[("Origin", "http://x")], "").code, 403);
    // Many new members at once.
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let master = &master;
            scope.spawn(move || {
                for number in 0..40 {
                    let answer = master.ping(&keepalive(&format!("m{thread}-{number}"), &json!(null)));
                    assert_eq!(answer.code, 200, "{answer:?}");
                }
            });
        }
    });
    let pods = master.json("/v1/pods");
    let numbers: Vec<_> =
        pods.as_array().into_iter().flatten().filter_map(|pod| pod["seq"].as_u64()).collect();
    // On a busy machine the first ones may have expired by now.
    assert!(numbers.last() >= Some(&320) && numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    // Without keepalives all members expire.
    wait_until("an empty list", || master.names().is_empty().then_some(()));
    let answer = master.ask("GET", "/metrics", &[], "");
    assert!(answer.body.contains("keepalives_refused_total 6"), "{}", answer.body);
}

#[test]
fn events_are_streamed_as_json_and_as_text() {
    let directory = place();
    let master = Pod::start(&["--role", "master", "--id", "m", "--store", &store(&directory)]);
    assert_eq!(master.ping(&keepalive("a", &json!({"zone": 1}))).code, 200);
    let follow = |head: &str| {
        let address = ([127, 0, 0, 1], master.port).into();
        let mut stream = testkit::http::connect(address).unwrap_or_else(|error| panic!("{error}"));
        let request =
            format!("GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n{head}\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        std::io::BufReader::new(stream).lines().map_while(Result::ok)
    };
    let mut lines = follow("");
    assert!(lines.any(|line| line.eq_ignore_ascii_case("content-type: text/event-stream")));
    assert!(lines.any(|line| line == "id: 1"));
    assert_eq!(lines.next().as_deref(), Some("event: changed"));
    assert!(lines.next().is_some_and(|line| line.starts_with("data: {\"number\":1,")));
    // A client that was disconnected continues after the last event it saw.
    let mut again = follow("Last-Event-ID: 1\r\n");
    assert_eq!(master.ping(&keepalive("b", &json!(1))).code, 200);
    assert_eq!(again.find(|line| line.starts_with("id: ")).as_deref(), Some("id: 2"));
    let at = format!("127.0.0.1:{}", master.port);
    let done = Sexton::new(["ensemble", "status", "--pod", &at]).done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    for part in ["m not leader", "1    a", "{\"zone\":1}"] {
        assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
    }
}

#[test]
fn commands_need_the_token() {
    let directory = place();
    let token = directory.path().join("token");
    std::fs::write(&token, " s3cret token \n").unwrap_or_default();
    let path = token.display().to_string();
    let guarded = Pod::start(&["--role", "master", "--store", &store(&directory), "--token-file", &path]);
    let bearer = |word: &str| format!("Bearer {word}");
    let run = |headers: &[(&str, &str)], command: &str| {
        guarded.ask("PUT", "/script", headers, &json!({"cmd": command, "more": 1}).to_string())
    };
    let (good, bad) = (bearer("s3cret token"), bearer("s3cret tokem"));
    assert_eq!(run(&[], "true").code, 401);
    assert_eq!(run(&[("Authorization", &bad)], "true").code, 401);
    let answer = run(&[("Authorization", &good)], "echo \"$INPUT\" | tr -d ' '; echo err >&2; exit 3");
    assert_eq!(
        (answer.code, answer.body.as_str()),
        (200, "{\"cmd\":\"echo\\\"$INPUT\\\"|tr-d'';echoerr>&2;exit3\",\"more\":1}\n")
    );
    let whole = guarded.ask(
        "POST",
        "/v1/invoke",
        &[("Authorization", &good)],
        r#"{"cmd": "echo out; echo err >&2; exit 3"}"#,
    );
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&whole.body).unwrap_or_default(),
        json!({"code": 3, "stdout": "out\n", "stderr": "err\n", "cut": false})
    );
    // A command that leaves a process behind is answered, and its output is truncated.
    let answer = run(&[("Authorization", &good)], "sleep 1000 & head -c 3000000 /dev/zero | tr '\\0' x");
    let mark = "x\n(cut: more than 1048576 bytes)\n";
    assert_eq!((answer.code, answer.body.len()), (200, (1 << 20) + mark.len() - 1));
    assert!(answer.body.ends_with(mark));
    // Truncated standard error does not affect standard output.
    let answer = run(&[("Authorization", &good)], "echo 42; head -c 3000000 /dev/zero >&2");
    assert_eq!(answer.body, "42\n");
    for body in ["", "{}", r#"{"cmd": ""}"#, r#"{"cmd": 7}"#, r#"{"cmd": "a\u0000b"}"#] {
        assert_eq!(guarded.ask("PUT", "/script", &[("Authorization", &good)], body).code, 400, "{body}");
    }
    let at = format!("127.0.0.1:{}", guarded.port);
    let done = Sexton::new(["ensemble", "invoke", "--pod", &at, "--token-file", &path, "echo hello"]).done();
    assert_eq!((done.code, done.stdout.as_str()), (0, "hello\n"), "{}", done.stderr);
    let done = Sexton::new(["ensemble", "pods", "--pod", &at]).done();
    assert_eq!((done.code, done.stdout.as_str()), (0, "[]\n"));
    if crate::harness::is_root() {
        let fourth = place();
        let as_nobody = Pod::start(&[
            "--role",
            "master",
            "--store",
            &store(&fourth),
            "--token-file",
            &path,
            "--invoke-user",
            "65534:65534",
        ]);
        let answer =
            as_nobody.ask("PUT", "/script", &[("Authorization", &good)], r#"{"cmd": "id -u; id -g; id -G"}"#);
        assert_eq!(answer.body, "65534\n65534\n65534\n");
    }
    let done =
        Sexton::new(["ensemble", "--role", "master", "--app", "x", "--invoke-user", "nobody-here"]).done();
    assert!(done.code == 64 && done.stderr.contains("unknown user 'nobody-here'"), "{done:?}");
    let other = place();
    let off = Pod::start(&["--role", "master", "--store", &store(&other)]);
    let answer = off.ask("PUT", "/script", &[("Authorization", &good)], r#"{"cmd": "true"}"#);
    assert!(answer.code == 403 && answer.body.contains("--token-file"), "{answer:?}");
    let third = place();
    let open = Pod::start(&["--role", "master", "--store", &store(&third), "--allow-unauthenticated-invoke"]);
    assert_eq!(open.ask("PUT", "/script", &[], r#"{"cmd": "echo x"}"#).body, "x\n");
}

#[test]
fn the_example_writes_an_upstream_that_follows_the_members() {
    let directory = place();
    let example =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ensemble/upstreams.sh");
    let file = directory.path().join("upstreams.conf");
    let script = format!("UPSTREAMS={} exec {}", file.display(), example.display());
    let master = Pod::start(&[
        "--role",
        "master",
        "--shell-callback",
        &script,
        "--damper",
        "100ms",
        "--store",
        &store(&directory),
    ]);
    assert_eq!(master.ping(&keepalive("a", &json!({"port": 8080}))).code, 200);
    assert_eq!(master.ping(&json!({"app": "demo", "id": "b", "ip": "fd00::1"})).code, 200);
    wait_until(&format!("an upstream; {}", master.sexton.stderr()), || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        (text.contains("server 10.0.0.9:8080; # 1 a") && text.contains("server [fd00::1]:80; # 2 b"))
            .then_some(())
    });
    wait_until("a state", || (master.json("/state")["runs"].as_u64() >= Some(1)).then_some(()));
}

#[test]
fn a_pod_of_kontrol_joins_and_can_be_stopped_by_a_command() {
    let directory = place();
    let run = callback(&directory, "echo '{\"old\": true}'");
    let port = testkit::servers::free_ports(1)[0];
    let sexton = Sexton::called("kontrol")
        .env("KONTROL_MODE", "debug")
        .env("KONTROL_PORT", port.to_string())
        .env("KONTROL_ID", "pod-1")
        .env("KONTROL_IP", "10.0.0.1")
        .env("KONTROL_LABELS", r#"{"app": "demo", "role": "all"}"#)
        .env("KONTROL_DAMPER", "0")
        .env("KONTROL_CALLBACK", &run)
        .env("SEXTON_LOCK_STORE", store(&directory))
        .start();
    wait_until(&format!("a pod; {}", sexton.stderr()), || testkit::servers::answers(port).then_some(()));
    let mut pod = Pod { sexton, port };
    pod.wait_for_names(&["pod-1"]);
    assert_eq!(pod.json("/v1/pods")[0]["role"], "all");
    wait_until(&format!("a state; {}", pod.sexton.stderr()), || {
        (pod.json("/state")["old"] == true).then_some(())
    });
    assert_eq!(pod.ask("POST", "/down", &[], "").code, 200);
    assert_eq!(pod.sexton.wait(), 0);
}

#[test]
fn invalid_arguments_are_rejected() {
    for (arguments, part) in [
        (&["--role", "member", "--app", "x"][..], "--masters is missing"),
        (&["--role", "member", "--app", "x", "--masters", "a/b"], "without a path"),
        (&["--role", "boss", "--app", "x"], "invalid value 'boss'"),
        (&["--role", "master", "--app", "a/b"], "expected a name without '/'"),
        (&["--role", "both", "--app", "x", "--id", "a/b"], "--id 'a/b'"),
        (&["--role", "master", "--app", "x", "--callback", " "], "--callback is empty"),
        (
            &["--role", "member", "--app", "x", "--masters", "a", "--callback", "c"],
            "a callback requires the role master",
        ),
        (&["--role", "both", "--app", "x", "--ip", "here"], "expected an IPv4 or IPv6 address"),
        (&["--role", "master", "--app", "x", "--member-ttl", "1ms"], "expected a time to live"),
        (&["--role", "master", "--app", "x", "--statsd", "there"], "expected address:port"),
        (&["--role", "master"], "missing"),
    ] {
        let done = Sexton::new(["ensemble", "-p", "none"].iter().chain(arguments)).done();
        assert!(done.code == 64 && done.stderr.contains(part), "{arguments:?}: {done:?}");
    }
}
