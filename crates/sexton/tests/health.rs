//! Liveness, readiness and startup, and requests that wait for them.

use std::time::Instant;

use crate::harness::Sexton;

#[test]
fn a_running_process_is_live_ready_and_started() {
    let mut sexton = Sexton::with_server(["run", "--", "sleep", "1000"]).start();
    sexton.wrapped();
    for path in ["/liveness", "/readiness", "/startup"] {
        let answer = sexton.get(path);
        assert_eq!((answer.code, answer.body.as_str()), (200, "ok\n"), "{path}");
    }
}

#[test]
fn during_the_back_off_delay_it_is_live_and_not_ready() {
    let mut sexton = Sexton::with_server(["supervise", "--wait", "1m", "--", "false"]).start();
    sexton.wait_for_phase("pausing");
    assert_eq!(sexton.get("/liveness").code, 200, "sexton restarts it");
    let answer = sexton.get("/readiness");
    assert_eq!(answer.code, 503);
    let retry_at =
        sexton.process()["next"]["at"].as_str().and_then(|at| at.get(..19)).unwrap_or("none").to_owned();
    assert!(answer.body.starts_with(&format!("restarting at {retry_at}")), "{}", answer.body);
    assert!(answer.body.ends_with("Z (exited with code 1)\n"), "{}", answer.body);
    assert_eq!(sexton.get("/startup").code, 200);
}

#[test]
fn after_the_exit_it_is_not_live() {
    let mut sexton = Sexton::with_server(["run", "--wait", "1m", "--", "false"]).start();
    sexton.wait_for_phase("done");
    let answer = sexton.get("/liveness");
    assert_eq!(answer.code, 503);
    assert!(answer.body.starts_with("exited with code 1; sexton exits at 20"), "{}", answer.body);
}

#[test]
fn a_waiting_request_is_answered_when_the_condition_holds() {
    let script = "if [ -e second ]; then exec sleep 1000; fi; echo > second; exit 1";
    let mut sexton = Sexton::with_server(["supervise", "--wait", "3s", "--", "sh", "-c", script]).start();
    sexton.wait_for_phase("pausing");
    assert_eq!(sexton.get("/readiness").code, 503);
    assert_eq!(sexton.get("/readiness?wait").code, 200);
    assert_eq!(sexton.process()["starts"], 2);
}

#[test]
fn the_wait_of_a_request_can_be_limited() {
    let mut sexton = Sexton::with_server(["supervise", "--wait", "1m", "--", "false"]).start();
    sexton.wait_for_phase("pausing");
    let begun = Instant::now();
    assert_eq!(sexton.get("/readiness?wait&timeout=100ms").code, 503);
    assert!(begun.elapsed().as_millis() >= 100);
}

#[test]
fn a_request_whose_condition_cannot_hold_is_answered_at_the_exit() {
    let script = "trap '' TERM; echo ready > ready; while [ ! -e stop ]; do sleep 0.01; done";
    let mut sexton = Sexton::with_server(["run", "--", "sh", "-c", script]).start();
    sexton.wait_for_file("ready");
    sexton.signal(libc::SIGTERM);
    sexton.wait_for_phase("stopping");
    let address = sexton.address();
    let waiting = std::thread::spawn(move || {
        let stream = testkit::http::connect(address)?;
        testkit::http::request(stream, "GET", "/readiness?wait")
    });
    // It waits: the connection is in use.
    testkit::wait_until("the request", || {
        sexton.get("/metrics").body.contains("sexton_http_connections 2").then_some(())
    });
    std::fs::write(sexton.path("stop"), "").unwrap_or_default();
    let answer = waiting.join().map(|answer| answer.map(|answer| answer.code).ok());
    assert_eq!(answer.ok().flatten(), Some(503));
    assert_eq!(sexton.wait(), 0);
}
