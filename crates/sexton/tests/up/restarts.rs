//! Restart policies, back-off delays and limits.

use super::{ends, up};

#[test]
fn restart_policies_depend_on_the_exit_code() {
    let mut up = up(
        "backoff: {initial: 0}\nprocesses:\n  always: {command: [sh, -c, 'echo x >> $DIR/always; [ $(wc -l < $DIR/always) -lt 3 ] || exec sleep 1000']}\n  failure: {command: [sh, -c, 'echo x >> $DIR/failure; [ $(wc -l < $DIR/failure) -ge 3 ]'], restartPolicy: OnFailure}\n  never: {command: [sh, -c, 'echo x >> $DIR/never; exit 1'], restartPolicy: Never}\n  rules: {command: [sh, -c, 'echo x >> $DIR/rules; [ $(wc -l < $DIR/rules) -lt 3 ] && exit 42; exit 1'], restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]}\n",
    );
    up.wait_until("always", "at its third run", |it| it["starts"] == 3 && it["ready"] == true);
    up.wait_for_phase("failure", "done");
    up.wait_for_phase("never", "done");
    up.wait_for_phase("rules", "done");
    let runs = |name: &str| up.text(name).lines().count();
    testkit::wait_until("its third run", || (runs("always") == 3).then_some(()));
    assert_eq!((runs("failure"), runs("never"), runs("rules")), (3, 1, 3));
}

#[test]
fn the_restart_limit_ends_everything_with_the_code_of_the_process() {
    let done = ends(
        "backoff: {initial: 0}\nprocesses:\n  bad: {command: [sh, -c, 'exit 6'], restartLimit: {restarts: 2, within: 1m}}\n  good: {command: [sleep, 1000]}\n",
    );
    assert_eq!(done.code, 6, "{}", done.stderr);
    assert!(done.stderr.contains("restart limit reached (2 in 60s)"), "{}", done.stderr);
}

#[test]
fn the_action_at_the_restart_limit_may_be_hold_or_ignore() {
    let text = "backoff: {initial: 0}\nprocesses:\n  held: {command: [sh, -c, '[ -e $DIR/good ] && exec sleep 1000; exit 6'], restartLimit: {restarts: 1, then: hold}}\n  ignored: {command: [sh, -c, 'exit 6'], restartLimit: {restarts: 1, then: ignore}}\n  good: {command: [sleep, 1000]}\n";
    let mut up = up(text);
    up.wait_for_phase("held", "restartLimitReached");
    up.wait_for_phase("ignored", "restartLimitReached");
    let answer = up.sexton.get("/readiness");
    assert!(answer.code == 503 && answer.body.starts_with("held: restart limit reached"), "{answer:?}");
    assert_eq!(up.sexton.get("/liveness").code, 503);
    std::fs::write(up.path("good"), "").unwrap_or_default();
    up.asked(&["start", "held"]);
    assert_eq!(up.sexton.get("/readiness").code, 200, "the ignored one does not count");
}

#[test]
fn back_off_delays_grow_and_the_first_restart_is_immediate() {
    let mut up = up(
        "processes:\n  bad: {command: [sh, -c, 'echo x >> $DIR/runs; exit 1'], backoff: {initial: 300ms, max: 20s}}\n",
    );
    up.wait_until("bad", "at its fourth run", |it| it["starts"] == 4);
    let log = up.sexton.stderr();
    let reported: Vec<_> = log.lines().filter_map(|line| line.split("msg=\"restarting ").nth(1)).collect();
    assert!(reported[0].starts_with("now "), "{reported:?}");
    let millis = |text: &str| -> f64 {
        let word = text.strip_prefix("in ").and_then(|text| text.split(' ').next()).unwrap_or_default();
        word.strip_suffix("ms").and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{reported:?}"))
    };
    // With a jitter of a fifth, and not below the first delay.
    assert!((300.0..=360.0).contains(&millis(reported[1])), "{reported:?}");
    assert!((480.0..=720.0).contains(&millis(reported[2])), "{reported:?}");
}

#[test]
fn a_missing_program_follows_the_restart_policy_and_affects_no_other() {
    let mut up = up(
        "processes:\n  ghost: {command: [/no/such/program], backoff: {initial: 50ms}}\n  once: {command: [/no/such/program], restartPolicy: Never}\n  good: {command: [sleep, 1000]}\n",
    );
    up.wait_ready("good");
    let once = up.wait_for_phase("once", "done");
    assert_eq!(once["lastExit"]["exitCode"], 127);
    let attempts = |log: &str, name: &str| {
        let failed =
            log.lines().filter(|line| line.contains("cannot start '/no/such/program': no such file"));
        failed.filter(|line| line.contains(&format!("process={name}"))).count()
    };
    testkit::wait_until("several attempts", || (attempts(&up.sexton.stderr(), "ghost") >= 3).then_some(()));
    assert_eq!(attempts(&up.sexton.stderr(), "once"), 1);
    let good = up.process("good");
    assert!(good["phase"] == "running" && good["starts"] == 1, "{good}");
    assert_eq!(up.sexton.get("/readiness").code, 503);
}

#[test]
fn a_time_to_live_ends_and_restarts() {
    let mut up =
        up("backoff: {initial: 0}\nprocesses:\n  short: {command: [sleep, 1000], ttl: 100ms..200ms}\n");
    let process = up.wait_until("short", "at its third run", |it| it["starts"].as_u64() >= Some(3));
    assert_eq!(process["lastExit"]["reasonLabel"], "ttl");
}
