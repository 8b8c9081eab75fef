//! The state as JSON: `/`, `/v1/process`, `/v1/events`, `/metrics`.

use serde_json::{Value, json};
use testkit::wait_until;

use crate::harness::Sexton;

/// RFC 3339, UTC, nine digits.
fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 30 && text.ends_with('Z') && text.as_bytes()[19] == b'.' && text.starts_with("20")
}

#[test]
fn one_process_is_shown_as_one_object() {
    let mut sexton = Sexton::with_server(["supervise", "--wait", "5", "--", "sleep", "1000"]).start();
    sexton.wrapped();
    let answer = sexton.get("/");
    assert_eq!((answer.code, answer.header("content-type")), (200, Some("application/json")));
    let mut state = sexton.json("/");
    assert!(is_time(&state["StartTime"]), "{state}");
    state["StartTime"] = Value::Null;
    let expected = json!({
        "Command": "sleep", "Arguments": ["1000"], "Mode": "supervise", "Status": "running", "StartTime": null,
        "EndTime": "", "ExitCode": 0, "TTL": 0, "Wait": 5, "SidebindPort": 0,
    });
    assert_eq!(state, expected);
    let keys: Vec<_> = answer.body.split('"').filter(|word| expected.get(word).is_some()).collect();
    assert_eq!(keys[..4], ["Command", "Arguments", "Mode", "Status"], "in the order of the contract");
}

#[test]
fn no_arguments_are_an_empty_list() {
    let mut sexton = Sexton::with_server(["run", "--wait", "1m", "--", "true"]).start();
    sexton.wait_for_phase("done");
    assert_eq!(sexton.json("/")["Arguments"], json!([]));
}

#[test]
fn a_list_has_gos_zero_times_and_nanoseconds() {
    let arguments =
        ["run", "--ttl", "90s", "--wait", "500ms", "--status-format", "list", "--", "sleep", "1000"];
    let mut sexton = Sexton::with_server(arguments).start();
    sexton.wrapped();
    let state = sexton.json("/");
    assert_eq!(state.as_array().map(Vec::len), Some(1));
    assert_eq!(state[0]["EndTime"], "0001-01-01T00:00:00Z");
    assert_eq!((&state[0]["TTL"], &state[0]["Wait"]), (&90_000_000_000_u64.into(), &500_000_000.into()));
    sexton.stop();

    let mut sexton = Sexton::with_server(["run", "--", "sleep", "1000"]).start();
    sexton.wrapped();
    assert!(sexton.json("/?list").is_array());
    assert!(sexton.json("/").is_object());
}

#[test]
fn head_is_get_without_the_body() {
    let mut sexton = Sexton::with_server(["run", "--", "sleep", "1000"]).start();
    sexton.wrapped();
    for path in ["/", "/liveness", "/readiness", "/startup", "/metrics", "/v1/process", "/v1/events"] {
        let (get, head) = (sexton.request("GET", path), sexton.request("HEAD", path));
        assert_eq!((head.code, head.body.as_str()), (get.code, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        if path != "/metrics" {
            assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        }
    }
}

#[test]
fn unknown_paths_are_404_and_wrong_methods_405() {
    let mut sexton = Sexton::with_server(["run", "--", "sleep", "1000"]).start();
    let answer = sexton.get("/no/such/path");
    assert_eq!(answer.code, 404);
    assert!(answer.body.contains("/v1/process"), "says what there is: {}", answer.body);
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = sexton.request(method, "/");
        assert_eq!((answer.code, answer.header("allow")), (405, Some("GET,HEAD")), "{method}");
    }
    assert_eq!(sexton.get("/readiness?timeout=soon").code, 400);
}

#[test]
fn status_shows_the_cause_of_the_exit() {
    let state = |end: &str| {
        let mut sexton = Sexton::with_server(["run", "--wait", "1m", "--", "sh", "-c", end]).start();
        sexton.wait_for_phase("done");
        let state = sexton.json("/");
        assert!(is_time(&state["EndTime"]), "{state}");
        (state["Status"].clone(), state["ExitCode"].clone())
    };
    assert_eq!(state("exit 0"), ("stopped".into(), 0.into()));
    assert_eq!(state("exit 2"), ("stopped".into(), 2.into()));
    assert_eq!(state("kill -TERM $$"), ("killed".into(), 143.into()));
}

#[test]
fn while_stopping_status_shows_the_cause_and_the_deadline() {
    let script = "trap '' TERM; echo ready > ready; while :; do sleep 0.1; done";
    let mut sexton = Sexton::with_server(["run", "--grace-period", "20s", "--", "sh", "-c", script]).start();
    sexton.wait_for_file("ready");
    assert_eq!(sexton.get("/readiness").code, 200);
    sexton.signal(libc::SIGTERM);
    let process = sexton.wait_for_phase("stopping");
    assert_eq!((&process["cause"], &process["next"]["what"]), (&"received SIGTERM".into(), &"kill".into()));
    assert!(is_time(&process["next"]["at"]));
    let answer = sexton.get("/readiness");
    assert_eq!(answer.code, 503);
    assert!(answer.body.starts_with("stopping (received SIGTERM); SIGKILL at 20"), "{}", answer.body);
    assert_eq!(sexton.get("/liveness").code, 200);
    assert_eq!(sexton.json("/")["Status"], "running");
}

#[test]
fn the_start_time_does_not_change() {
    let mut sexton = Sexton::with_server(["run", "--wait", "1m", "--", "sleep", "1000"]).start();
    let wrapped = sexton.wrapped();
    let begin = sexton.json("/")["StartTime"].clone();
    crate::harness::send(wrapped, libc::SIGSTOP);
    wait_until("suspended", || (sexton.process()["suspendedBy"] == "STOP").then_some(()));
    assert_eq!(sexton.json("/")["StartTime"], begin);
    crate::harness::send(wrapped, libc::SIGKILL);
    sexton.wait_for_phase("done");
    assert_eq!(sexton.json("/")["StartTime"], begin);
}

#[test]
fn events_are_listed_and_can_be_followed() {
    let mut sexton = Sexton::with_server(["supervise", "--wait", "10ms", "--", "sh", "-c", "exit 3"]).start();
    let events = wait_until("a restart", || {
        let lines = sexton.get("/v1/events").body;
        let events: Vec<Value> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (events.len() >= 4).then_some(events)
    });
    let arguments: Vec<_> = events.iter().filter_map(|event| event["event"].as_str()).take(4).collect();
    assert_eq!(arguments, ["started", "exited", "restarting", "started"]);
    assert_eq!((&events[0]["number"], &events[2]["cause"]), (&1.into(), &"exited".into()));

    let address = sexton.address();
    let stream = testkit::http::connect(address).unwrap_or_else(|error| panic!("{error}"));
    let mut following = std::io::BufReader::new(&stream);
    std::io::Write::write_all(&mut &stream, b"GET /v1/events?follow HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap_or_default();
    let mut seen = 0;
    let mut line = String::new();
    while seen < 20 {
        line.clear();
        let read = std::io::BufRead::read_line(&mut following, &mut line);
        assert!(read.is_ok_and(|bytes| bytes > 0), "the stream ended");
        if let Ok(event) = serde_json::from_str::<Value>(&line)
            && let Some(number) = event["number"].as_u64()
        {
            seen = number;
        }
    }
}

#[test]
fn metrics_are_well_formed_and_counted() {
    let mut sexton =
        Sexton::with_server(["run", "--name", "a \"name\"", "--wait", "1m", "--", "sh", "-c", "exit 3"])
            .start();
    sexton.wait_for_phase("done");
    let answer = sexton.get("/metrics");
    assert!(
        answer.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text"))
    );
    let body = &answer.body;
    for line in [
        "sexton_process_starts_total{process=\"a \\\"name\\\"\"} 1",
        "sexton_process_exits_total{process=\"a \\\"name\\\"\",code=\"3\",signal=\"\"} 1",
        "sexton_process_up{process=\"a \\\"name\\\"\"} 0",
        "sexton_process_uptime_seconds{process=\"a \\\"name\\\"\"} 0.0",
        "sexton_build_info{version=\"0.1.0\"} 1",
    ] {
        assert!(body.lines().any(|have| have == line), "{line} in {body}");
    }
    let memory = body.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    assert!(
        memory.and_then(|bytes| bytes.parse::<u64>().ok()).is_some_and(|bytes| bytes > 100_000),
        "{body}"
    );
    assert!(body.ends_with("# EOF\n"));
}
