//! The order of starts and stops.

use super::{ends, up};

/// Lines of a file, in order.
fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn processes_start_in_the_order_of_dependencies_and_stop_in_reverse() {
    let process = |name: &str, needs: &str| {
        format!(
            "  {name}:\n    command: [sh, -c, 'echo +{name} >> $DIR/log; trap \"echo -{name} >> $DIR/log; exit 0\" TERM; echo > $DIR/{name}; while :; do sleep 0.01; done']\n    dependsOn: {needs}\n    readinessProbe: {{file: {{path: $DIR/{name}}}, periodSeconds: 20ms}}\n"
        )
    };
    let text = format!(
        "processes:\n{}{}{}",
        process("c", "{b: ready}"),
        process("b", "{a: ready}"),
        process("a", "{}")
    );
    let mut up = up(&text);
    up.wait_ready("c");
    up.sexton.signal(libc::SIGTERM);
    assert_eq!(up.sexton.wait(), 0, "{}", up.sexton.stderr());
    assert_eq!(lines(&up.text("log")), ["+a", "+b", "+c", "-c", "-b", "-a"]);
}

#[test]
fn dependents_wait_for_a_one_shot_process_and_do_not_start_if_it_fails() {
    let mut good = up(
        "processes:\n  init: {command: [sh, -c, 'sleep 0.1; echo init >> $DIR/log'], restartPolicy: Never}\n  main: {command: [sh, -c, 'echo main >> $DIR/log; exec sleep 1000'], dependsOn: {init: succeeded}}\n",
    );
    good.wait_for("log", "main");
    assert_eq!(lines(&good.text("log")), ["init", "main"]);
    assert_eq!(good.process("init")["phase"], "done");
    assert_eq!(good.sexton.get("/readiness").code, 200, "what is done well is healthy");

    let done = ends(
        "processes:\n  init: {command: [sh, -c, 'exit 4'], restartPolicy: Never}\n  main: {command: [sh, -c, 'echo > $DIR/started'], dependsOn: {init: succeeded}}\n",
    );
    assert_eq!(done.code, 4, "{}", done.stderr);
    assert!(done.stderr.contains("not started: init can no longer be succeeded"), "{}", done.stderr);
}

#[test]
fn the_condition_exited_holds_after_any_exit() {
    let mut up = up(
        "processes:\n  first: {command: [sh, -c, 'echo first >> $DIR/log; exit 3'], restartPolicy: Never}\n  next: {command: [sh, -c, 'echo next >> $DIR/log; exec sleep 1000'], dependsOn: {first: exited}}\n",
    );
    up.wait_for("log", "next");
    assert_eq!(lines(&up.text("log")), ["first", "next"]);
    up.sexton.signal(libc::SIGTERM);
    assert_eq!(up.sexton.wait(), 3, "the code of the first that failed for good");
}

#[test]
fn sidecars_start_first_and_stop_last() {
    let text = "processes:\n  job: {command: [sh, -c, 'sleep 0.1; echo job >> $DIR/log'], restartPolicy: Never}\n  proxy:\n    command: [sh, -c, 'echo +proxy >> $DIR/log; trap \"echo -proxy >> $DIR/log; exit 0\" TERM; while :; do sleep 0.01; done']\n    sidecar: true\n    startupProbe: {exec: {command: [grep, -q, +proxy, $DIR/log]}, periodSeconds: 20ms}\n";
    let mut up = up(text);
    assert_eq!(up.sexton.wait(), 0, "{}", up.sexton.stderr());
    assert_eq!(lines(&up.text("log")), ["+proxy", "job", "-proxy"]);
}

#[test]
fn the_process_of_exit_from_ends_everything_with_its_code() {
    let done = ends(
        "exitFrom: main\nprocesses:\n  main: {command: [sh, -c, 'sleep 0.1; exit 9'], restartPolicy: Never}\n  other: {command: [sleep, 1000]}\n",
    );
    assert_eq!(done.code, 9, "{}", done.stderr);
    let done = ends(
        "exitFrom: main\nprocesses:\n  main: {command: [sh, -c, 'exit 0'], restartPolicy: Never}\n  other: {command: [sh, -c, 'exit 5'], restartPolicy: Never}\n",
    );
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn one_deadline_is_divided_among_the_stages() {
    // Three that need each other, all deaf: each gets a part of two seconds, and the last is killed in time.
    let deaf = |name: &str, needs: &str| {
        format!(
            "  {name}: {{command: [$CHILD, deaf, $DIR/{name}], dependsOn: {needs}, readinessProbe: {{file: {{path: $DIR/{name}}}, periodSeconds: 20ms}}}}\n"
        )
    };
    let text = format!("processes:\n{}{}{}", deaf("a", "[]"), deaf("b", "[a]"), deaf("c", "[b]"));
    let mut up = super::up_with(
        &text,
        &super::With { arguments: &["--shutdown-deadline", "2s"], ..Default::default() },
    );
    up.wait_ready("c");
    let begun = std::time::Instant::now();
    up.sexton.signal(libc::SIGTERM);
    up.sexton.wait_for_stderr("sent SIGKILL");
    let stopping = up.sexton.json("/v1/processes");
    assert!(
        stopping["ending"]["by"].is_string() && stopping["ending"]["waitingFor"].is_array(),
        "{stopping}"
    );
    assert_eq!(up.sexton.get("/readiness").code, 503, "not ready from the first moment");
    up.sexton.wait();
    let took = begun.elapsed();
    // Without the time limit each has 30 s.
    assert!(took.as_secs_f64() > 1.0 && took.as_secs_f64() < 20.0, "{took:?}");
    let stderr = up.sexton.stderr();
    let killed: Vec<_> = stderr
        .lines()
        .filter(|line| line.contains("sent SIGKILL"))
        .filter_map(|line| line.split("process=").nth(1)?.chars().next())
        .collect();
    assert_eq!(killed, ['c', 'b', 'a'], "{stderr}");
}

#[test]
fn ctrl_c_stops_all_processes_at_once() {
    let deaf = |name: &str, needs: &str| {
        format!(
            "  {name}: {{command: [$CHILD, deaf, $DIR/{name}], dependsOn: {needs}, readinessProbe: {{file: {{path: $DIR/{name}}}, periodSeconds: 20ms}}}}\n"
        )
    };
    let mut up = up(&format!("processes:\n{}{}", deaf("a", "[]"), deaf("b", "[a]")));
    up.wait_ready("b");
    let begun = std::time::Instant::now();
    up.sexton.signal(libc::SIGINT);
    up.sexton.wait();
    assert!(begun.elapsed().as_secs_f64() < 20.0, "two seconds of grace for both, not 30 for each");
}

#[test]
fn a_dependency_that_has_gone_is_waited_for_at_the_next_start() {
    let mut up = up(
        "backoff: {initial: 0}\nprocesses:\n  db: {command: [sleep, 1000]}\n  web: {command: [sleep, 1000], dependsOn: db}\n",
    );
    let web = up.pid("web");
    up.asked(&["stop", "db"]);
    assert_eq!(up.pid("web"), web, "what runs goes on");
    crate::harness::send(web, libc::SIGKILL);
    let waiting = up.wait_for_phase("web", "waiting");
    assert_eq!(waiting["cause"], "waiting for db to be ready");
    up.asked(&["start", "db"]);
    up.wait_ready("web");
}
