//! Failures: suspended children, exhausted limits, slow readers, the termination message.

use super::{With, ends, place, up, up_with};
use crate::harness::{SEXTON, Sexton, is_root, send, skipped};

#[test]
fn a_process_suspended_from_outside_is_not_ready_and_can_be_stopped() {
    let mut up = up("processes:\n  web: {command: [sleep, 1000]}\n");
    let pid = up.pid("web");
    send(pid, libc::SIGSTOP);
    up.wait_until("web", "suspended", |it| it["suspendedBy"] == "STOP");
    let answer = up.sexton.get("/readiness");
    assert!(answer.code == 503 && answer.body.contains("web: suspended by SIGSTOP"), "{answer:?}");
    assert_eq!(up.asked(&["stop", "web", "--timeout", "20s"]), "web stopped\n");
}

#[test]
fn failed_starts_for_lack_of_descriptors_are_retried() {
    let directory = place("backoff: {initial: 50ms}\nprocesses: {a: {command: [sleep, 1000], replicas: 40}}");
    let script = format!(
        "ulimit -n 40; exec {SEXTON} -p 0 -i 127.0.0.1 up --control none {}",
        directory.path().join("sexton.yaml").display()
    );
    let mut sexton = Sexton::program("/bin/sh".as_ref(), ["-c", &script]).start();
    sexton.wait_for_stderr("too many open files");
    let answer = sexton.get("/readiness");
    assert_eq!(answer.code, 503, "{answer:?}");
    sexton.signal(libc::SIGTERM);
    sexton.wait();
    assert!(sexton.descendants().is_empty());
}

#[test]
fn failed_starts_at_the_process_limit_are_retried() {
    if !is_root() {
        return skipped("root, to change the user");
    }
    let directory = place(
        "backoff: {initial: 10ms}\nprocesses: {a: {command: [sleep, 1000]}, b: {command: [sleep, 1000]}}",
    );
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).unwrap_or_default();
    let copy = directory.path().join("sexton-program");
    testkit::copy_executable(SEXTON.as_ref(), &copy);
    let script = format!(
        "exec setpriv --reuid 54322 --regid 54322 --clear-groups prlimit --nproc=2 {} -p none up --control none {}",
        copy.display(),
        directory.path().join("sexton.yaml").display()
    );
    let mut sexton = Sexton::program("/bin/sh".as_ref(), ["-c", &script]).start();
    testkit::wait_until("several attempts", || {
        (sexton.stderr().matches("resource temporarily unavailable").count() >= 4).then_some(())
    });
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 0);
}

#[test]
fn the_termination_message_names_the_process_its_exit_and_its_last_output() {
    if !is_root() {
        return skipped("root, to mount a file");
    }
    let directory = place(
        "processes:\n  good: {command: [sleep, 1000]}\n  bad: {command: [sh, -c, 'echo one; echo \"the reason\" >&2; exit 3'], restartPolicy: OnFailure, backoff: {initial: 0}, restartLimit: {restarts: 1}}\n",
    );
    let log = directory.path().join("log");
    let script = format!(
        "mkdir -p {root}; touch {log}; mount -t tmpfs none /dev/shm; touch /dev/termination-log && mount --bind {log} /dev/termination-log; {SEXTON} -p none up --control none {root}/sexton.yaml; code=$?; rm -f /dev/termination-log 2>/dev/null; umount /dev/termination-log; rm -f /dev/termination-log; exit $code",
        root = directory.path().display(),
        log = log.display()
    );
    let done = Sexton::program("/usr/bin/unshare".as_ref(), ["-m", "sh", "-c", &script]).done();
    assert_eq!(done.code, 3, "{}", done.stderr);
    let reported = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(reported.starts_with("bad: restart limit reached; exited with code 3"), "{reported}");
    assert!(reported.contains("(exit code 3, Error)") && reported.ends_with("the reason\n"), "{reported}");
}

#[test]
fn a_full_disk_under_the_output_loses_only_lines() {
    let full =
        std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap_or_else(|error| panic!("{error}"));
    let directory = place("processes: {a: {command: [sh, -c, 'echo 1; echo 2'], restartPolicy: Never}}");
    let file = directory.path().join("sexton.yaml").to_string_lossy().into_owned();
    let arguments = ["-p", "none", "up", "--control", "none", &file];
    let mut sexton = Sexton::new(arguments).stdout(full).start();
    assert_eq!(sexton.wait(), 0, "{}", sexton.stderr());
}

#[test]
fn a_requested_control_socket_that_cannot_be_bound_is_an_error() {
    let long = format!("/tmp/{}", "x".repeat(120));
    for (path, part) in [
        (long.as_str(), "too long"),
        ("/no/such/directory/socket", "no such file"),
        ("/etc/passwd", "is not a socket"),
    ] {
        let directory = place("processes: {a: {command: [touch, $DIR/started]}}");
        let arguments =
            ["-p", "none", "up", "--control", path, &directory.path().join("sexton.yaml").to_string_lossy()]
                .map(str::to_owned);
        let done = Sexton::new(arguments).done();
        assert!(done.code == 69 && done.stderr.contains(part), "{path}: {}", done.stderr);
        assert!(!directory.path().join("started").exists());
    }
    let _ = std::fs::remove_file("/etc/passwd.lock");
}

#[test]
fn a_thousand_processes_start_answer_and_stop() {
    let mut up = up_with(
        "processes: {a: {command: [sleep, 1000], replicas: 1000}}",
        &With { arguments: &["--shutdown-deadline", "20s"], ..With::default() },
    );
    testkit::wait_until("all are ready", || (up.sexton.get("/readiness").code == 200).then_some(()));
    assert_eq!(up.sexton.json("/pids").as_object().map(serde_json::Map::len), Some(1000));
    up.sexton.signal(libc::SIGTERM);
    assert_eq!(up.sexton.wait(), 0);
    assert!(up.sexton.descendants().is_empty());
}

#[test]
fn as_pid_1_everything_is_stopped_and_the_code_kept() {
    if !is_root() {
        return skipped("root, to create namespaces");
    }
    let directory = place(
        "exitFrom: main\nprocesses:\n  main: {command: [sh, -c, '(setsid sleep 1000 &) ; exit 5'], restartPolicy: Never}\n  other: {command: [sleep, 1000]}\n",
    );
    let arguments = [
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        SEXTON,
        "-p",
        "none",
        "up",
        "--control",
        "none",
        &directory.path().join("sexton.yaml").to_string_lossy(),
    ]
    .map(str::to_owned);
    let done = Sexton::program("/usr/bin/unshare".as_ref(), arguments).done();
    assert_eq!(done.code, 5, "{}", done.stderr);
}

#[test]
fn a_stop_during_the_back_off_delay_is_immediate() {
    let mut up = up(
        "processes: {bad: {command: [sh, -c, 'exit 1'], backoff: {initial: 1h, max: 1h, firstAtOnce: false}}}",
    );
    up.wait_for_phase("bad", "pausing");
    up.sexton.signal(libc::SIGTERM);
    up.sexton.wait();
    assert_eq!(ends("processes: {one: {command: ['true'], restartPolicy: Never}}").code, 0);
}

#[test]
fn requests_are_answered_while_many_processes_start() {
    let mut up = up("processes: {a: {command: [sleep, 1000], replicas: 1000}}");
    let first = up.sexton.get("/pids");
    let started = serde_json::from_str::<serde_json::Value>(&first.body)
        .ok()
        .and_then(|it| it.as_object().map(serde_json::Map::len));
    assert!(started.unwrap_or(0) < 1000, "the first answer comes before the last start");
    up.sexton.signal(libc::SIGTERM);
    assert_eq!(up.sexton.wait(), 0);
    assert!(up.sexton.descendants().is_empty());
}

#[test]
fn a_stale_readiness_file_is_removed() {
    let directory = place(
        "readinessFile: $DIR/ready\nreadinessFileSticky: true\nprocesses: {a: {command: [sleep, 1000], readinessProbe: {file: {path: $DIR/good}, periodSeconds: 20ms}}}",
    );
    std::fs::write(directory.path().join("ready"), "").unwrap_or_default();
    let mut up = super::up_in(directory, &With::default());
    up.wait_until("a", "probed", |it| it["probes"][0]["failures"].as_u64() >= Some(1));
    assert!(!up.path("ready").exists());
    std::fs::write(up.path("good"), "").unwrap_or_default();
    up.wait_ready("a");
    testkit::wait_until("the file", || up.path("ready").exists().then_some(()));
    std::fs::remove_file(up.path("good")).unwrap_or_default();
    up.wait_until("a", "unready", |it| it["ready"] == false);
    assert!(up.path("ready").exists(), "it is sticky");
    up.sexton.signal(libc::SIGTERM);
    up.sexton.wait();
    assert!(!up.path("ready").exists());
}

#[test]
fn the_termination_message_has_the_reason_of_a_failed_start() {
    let done = ends("processes: {a: {command: [/no/such/program], restartPolicy: Never}}");
    assert_eq!(done.code, 127);
    let last = done.stderr.lines().last().unwrap_or_default();
    assert!(
        last.contains("a: cannot start '/no/such/program': no such file")
            && last.contains("(exit code 127, Error)"),
        "{last}"
    );
}
