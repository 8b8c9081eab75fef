//! The output of many processes.

use serde_json::Value;

use super::{With, ends, up, up_with};

#[test]
fn records_have_process_level_and_labels_and_both_streams_go_to_standard_output() {
    let done = ends(
        "logs: {format: logfmt, labels: {app: shop}}\nprocesses:\n  a: {command: [sh, -c, 'echo out; echo err >&2'], restartPolicy: Never, logs: {labels: {team: x}}}\n",
    );
    let lines: Vec<_> = done.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", done.stdout);
    assert!(
        lines
            .iter()
            .all(|line| line.contains(" level=info process=a pid=") && line.ends_with("app=shop team=x")),
        "{lines:?}"
    );
    assert!(done.stdout.contains("stream=stderr msg=err"), "{}", done.stdout);
}

#[test]
fn each_process_may_have_its_own_format() {
    let line = |format: &str| {
        format!(
            "{{command: [sh, -c, 'echo \"ERROR: no\"'], restartPolicy: Never, logs: {{format: {format}}}}}"
        )
    };
    let text = format!(
        "processes:\n  json: {}\n  auto: {}\n  raw: {}\n  none: {}\n  logfmt: {}\n",
        line("json"),
        line("auto"),
        line("raw"),
        line("none"),
        line("logfmt")
    );
    let done = ends(&text);
    let mut lines: Vec<_> = done.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 4, "{}", done.stdout);
    assert_eq!(lines[0], "ERROR: no");
    assert!(lines.iter().any(|line| line.contains("level=error process=auto")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("level=info process=logfmt")), "{lines:?}");
    let json: Value = lines.iter().find_map(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    assert_eq!((json["process"].as_str(), json["msg"].as_str()), (Some("json"), Some("ERROR: no")));
}

#[test]
fn log_format_of_the_environment_is_the_default() {
    let text = "processes: {a: {command: [echo, hi], restartPolicy: Never}}";
    let up = up_with(text, &With { variables: &[("LOG_FORMAT", "json")], ..With::default() });
    let done = up.sexton.done();
    assert!(serde_json::from_str::<Value>(done.stdout.trim()).is_ok(), "{}", done.stdout);
    let up = up_with(text, &With { variables: &[("LOG_FORMAT", "xml")], ..With::default() });
    let done = up.sexton.done();
    assert!(done.code == 64 && done.stderr.contains("LOG_FORMAT 'xml'"), "{}", done.stderr);
}

#[test]
fn output_of_many_short_runs_is_not_lost() {
    // Each writes 300 lines and ends at once, without a last line end.
    let done =
        ends("processes:\n  burst: {command: [$CHILD, burst, '300'], restartPolicy: Never, replicas: 20}\n");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(done.stdout.lines().count(), 20 * 300);
    assert_eq!(done.stdout.lines().filter(|line| line.ends_with("\"line 300\"")).count(), 20);
}

#[test]
fn a_very_long_line_takes_little_memory() {
    let mut up = up(
        "logs: {format: raw}\nprocesses:\n  long: {command: [sh, -c, 'head -c 300000000 /dev/zero | tr \"\\0\" x; echo; echo last'], restartPolicy: Never}\n  stay: {command: [sleep, 1000]}\n",
    );
    up.wait_for_phase("long", "done");
    let status = std::fs::read_to_string(format!("/proc/{}/status", up.sexton.pid())).unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    assert!(peak.is_some_and(|kilobytes| kilobytes < 60_000), "{peak:?}");
    let logs = up.asked(&["logs", "-n", "1", "-o", "raw", "long"]);
    assert_eq!(logs, "last\n");
}

#[test]
fn recent_output_can_be_read_in_every_format() {
    let mut up = up(
        "processes:\n  a: {command: [sh, -c, 'for n in 1 2 3; do echo a$n; done; exec sleep 1000']}\n  b: {command: [sh, -c, 'echo \"level=warn msg=b1\"; exec sleep 1000']}\n",
    );
    up.wait_ready("b");
    testkit::wait_until("all is written", || (up.asked(&["logs"]).lines().count() == 4).then_some(()));
    assert_eq!(up.asked(&["logs", "-n", "2", "-o", "raw", "a"]), "a2\na3\n");
    let logfmt = up.asked(&["logs", "-o", "logfmt", "b"]);
    assert!(logfmt.contains("level=warn process=b") && logfmt.contains("msg=b1"), "{logfmt}");
    let json = up.asked(&["logs", "-o", "json", "b"]);
    assert!(serde_json::from_str::<Value>(json.trim()).is_ok_and(|it| it["level"] == "warn"), "{json}");
    let wrong = up.ask(&["logs", "c"]);
    assert!(wrong.code == 1 && wrong.stderr.contains("there is no process 'c'"), "{}", wrong.stderr);
}
