//! `sexton supervise`: restarts, back-off delays, the restart limit, stopping.

use testkit::wait_until;

use crate::harness::{Running, Sexton};

fn starts(sexton: &mut Running) -> i64 {
    sexton.process()["starts"].as_i64().unwrap_or(0)
}

#[test]
fn a_process_is_restarted_after_every_exit() {
    for end in ["exit 0", "exit 3", "kill -9 $$"] {
        let mut sexton = Sexton::with_server(["supervise", "--wait", "0", "--", "sh", "-c", end]).start();
        wait_until("five starts", || (starts(&mut sexton) >= 5).then_some(()));
        sexton.stop();
    }
}

#[test]
fn the_back_off_delay_can_be_fixed() {
    let mut sexton = Sexton::with_server(["supervise", "--wait", "600", "--", "sh", "-c", "exit 3"]).start();
    let process = sexton.wait_for_phase("pausing");
    assert_eq!(process["next"]["what"], "retry");
    assert_eq!(process["cause"], "exited with code 3");
    let state = sexton.json("/");
    assert_eq!(
        (&state["Status"], &state["Wait"], &state["ExitCode"]),
        (&"stopped".into(), &600.into(), &3.into())
    );
    // Without waiting for the end of the delay, which is longer than the limit of the test.
    assert_eq!(sexton.stop().code, 3, "a stop in the pause ends at once, with the last code");
}

#[test]
fn the_back_off_delay_grows_with_each_failed_run() {
    let arguments = ["supervise", "--backoff", "10ms..10s", "--", "sh", "-c", "exit 1"];
    let sexton = Sexton::with_server(arguments).start();
    let pauses = wait_until("six pauses", || {
        let stderr = sexton.stderr();
        let arguments =
            stderr.lines().filter_map(|line| line.split("restarting in ").nth(1)?.split(' ').next());
        let millis: Vec<f64> = arguments.filter_map(|word| word.strip_suffix("ms")?.parse().ok()).collect();
        (millis.len() >= 6).then_some(millis)
    });
    for (index, pause) in pauses.iter().take(6).enumerate() {
        let middle = 10.0 * f64::from(1 << index);
        assert!((middle * 0.79..=middle * 1.21).contains(pause), "{pauses:?}");
    }
}

#[test]
fn the_restart_limit_ends_with_a_message_and_the_last_code() {
    let arguments =
        ["supervise", "--wait", "0", "--max-restarts", "3", "--", "sh", "-c", "echo x >> runs; exit 9"];
    let mut sexton = Sexton::without_server(arguments).start();
    assert_eq!(sexton.wait(), 9);
    assert_eq!(sexton.text("runs").lines().count(), 4, "one start and three restarts");
    assert!(sexton.stderr().contains("giving up: restart limit reached (3 in 10m)"), "{}", sexton.stderr());
}

#[test]
fn sigterm_stops_it_with_the_code_of_the_program() {
    let script = "trap 'exit 12' TERM; echo ready > ready; while :; do sleep 0.01; done";
    let mut sexton = Sexton::without_server(["supervise", "--", "sh", "-c", script]).start();
    sexton.wait_for_file("ready");
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 12);
}

#[test]
fn sigint_and_sigquit_stop_it_and_are_forwarded() {
    for (signal, name) in [(libc::SIGINT, "INT"), (libc::SIGQUIT, "QUIT")] {
        let script = "for s in INT QUIT TERM; do trap \"echo $s >> got; exit 0\" $s; done
            echo ready > ready; while :; do sleep 0.01; done";
        let mut sexton = Sexton::without_server(["supervise", "--", "sh", "-c", script]).start();
        sexton.wait_for_file("ready");
        sexton.signal(signal);
        assert_eq!(sexton.wait(), 0);
        assert_eq!(sexton.text("got").trim(), name);
    }
}

#[test]
fn other_signals_are_forwarded_and_stop_nothing() {
    let script = "trap 'echo hup >> got' HUP; echo ready > ready; while :; do sleep 0.01; done";
    let mut sexton = Sexton::with_server(["supervise", "--", "sh", "-c", script]).start();
    sexton.wait_for_file("ready");
    sexton.signal(libc::SIGHUP);
    sexton.wait_for_file("got");
    assert_eq!(starts(&mut sexton), 1);
    assert_eq!(sexton.stop().code, 143);
}

#[test]
fn a_program_that_disappears_between_two_runs_is_retried() {
    let directory = testkit::private_directory();
    let program = directory.path().join("program");
    let write = || {
        let script = "#!/bin/sh\nmv \"$0\" \"$0.gone\"\nexit 1\n";
        let new = directory.path().join("new");
        testkit::executable(&new, script);
        std::fs::rename(&new, &program).unwrap_or_default();
    };
    write();
    let arguments =
        ["supervise".into(), "--wait".into(), "10ms".into(), "--".into(), program.clone().into_os_string()];
    let mut sexton = Sexton::with_server(arguments).start();
    sexton.wait_for_stderr("no such file");
    assert_eq!(sexton.ended(), None);
    write();
    wait_until("the second start", || (starts(&mut sexton) >= 2).then_some(()));
}

#[test]
fn restarts_are_counted_by_cause() {
    let arguments = ["supervise", "--wait", "0", "--ttl", "20ms", "--", "sleep", "100"];
    let mut sexton = Sexton::with_server(arguments).start();
    wait_until("three starts", || (starts(&mut sexton) >= 3).then_some(()));
    let metrics = sexton.get("/metrics").body;
    assert!(
        metrics.contains("sexton_process_restarts_total{process=\"sleep\",reason=\"ttl\"} "),
        "{metrics}"
    );
    assert!(
        metrics.contains("sexton_process_exits_total{process=\"sleep\",code=\"\",signal=\"TERM\"} "),
        "{metrics}"
    );
}

#[test]
fn the_end_of_the_time_to_live_is_not_a_failure() {
    let arguments =
        ["supervise", "--ttl", "20ms", "--backoff", "10ms..10m", "--max-restarts", "1", "--", "sleep", "100"];
    let mut sexton = Sexton::with_server(arguments).start();
    // Eight failures would have reached the limit, and caused delays of seconds.
    wait_until("eight lives", || (starts(&mut sexton) >= 8).then_some(()));
}

#[test]
fn a_missing_program_does_not_cause_a_busy_loop() {
    let directory = testkit::private_directory();
    let program = directory.path().join("program");
    testkit::executable(&program, "#!/bin/sh\nrm \"$0\"\n");
    let arguments = ["supervise".into(), "--wait".into(), "0".into(), "--".into(), program.into_os_string()];
    let mut sexton = Sexton::with_server(arguments).start();
    sexton.wait_for_stderr("no such file");
    assert_eq!(sexton.get("/liveness").code, 200);
    assert_eq!(sexton.get("/readiness").code, 503);
    assert_eq!(sexton.stop().code, 127);
}
