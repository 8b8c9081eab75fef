//! The output of a process.

use std::ffi::OsString;
use std::fs;
use std::io::Read as _;

use testkit::wait_until;

use crate::harness::{Sexton, child, wrapping};

fn sh(front: &[&str], script: &str) -> Sexton {
    Sexton::without_server(wrapping(front, ["sh", "-c", script].map(OsString::from).into()))
}

/// The values of `msg` of all records.
fn messages(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.split("msg=").nth(1)).map(|value| value.trim_matches('"')).collect()
}

#[test]
fn streams_can_be_discarded() {
    let done = sh(&["run", "--stdout=false"], "echo out; echo err >&2").done();
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", "err\n"));
    let done = sh(&["run", "--stderr=false"], "echo out; echo err >&2").done();
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", ""));
}

#[test]
fn records_have_time_process_pid_and_stream() {
    let done =
        sh(&["run", "-L", "--name", "job"], "echo two words; echo err >&2; printf 'x\\tq\"\\n'").done();
    let records: Vec<_> = done.stdout.lines().collect();
    assert_eq!(records.len(), 2, "{}", done.stdout);
    assert!(
        records[0].starts_with("time=20") && records[0].contains("Z level=info process=job pid="),
        "{}",
        records[0]
    );
    assert!(records[0].ends_with("stream=stdout msg=\"two words\""), "{}", records[0]);
    assert!(records[1].ends_with("msg=\"x\\tq\\\"\""), "{}", records[1]);
    assert!(done.stderr.trim_end().ends_with("stream=stderr msg=err"), "{}", done.stderr);
}

#[test]
fn output_just_before_an_exit_is_not_lost() {
    for _ in 0..30 {
        let done = Sexton::without_server(wrapping(&["run", "-L"], child(["burst", "300"]))).done();
        let messages = messages(&done.stdout);
        assert_eq!(messages.len(), 300);
        assert_eq!(messages.last(), Some(&"line 300"), "though it has no line end");
    }
}

#[test]
fn output_of_a_run_comes_before_that_of_the_next() {
    let script = "n=$(cat n 2>/dev/null || echo 0); n=$((n+1)); echo $n > n; echo begin $n; echo end $n; [ $n -lt 20 ]";
    let done = sh(&["supervise", "-L", "--wait", "0", "--max-restarts", "19"], script).done();
    let expected: Vec<String> = (1..=20).flat_map(|n| [format!("begin {n}"), format!("end {n}")]).collect();
    assert_eq!(messages(&done.stdout), expected);
}

#[test]
fn a_descendant_that_holds_the_pipe_does_not_delay_the_exit() {
    // One in the group, one outside of it, one that ignores the signal.
    let deaf = testkit::child();
    for holder in [
        "sleep 1000 &",
        "setsid sleep 1000 &",
        &format!("{} deaf ready & while [ ! -e ready ]; do sleep 0.01; done;", deaf.display()),
    ] {
        let sexton = sh(&["run", "-L", "--grace-period", "100ms"], &format!("{holder} echo last; exit 4"));
        let done = sexton.done();
        assert_eq!((done.code, messages(&done.stdout)), (4, vec!["last"]), "{holder}");
    }
}

#[test]
fn a_descendant_that_keeps_writing_does_not_delay_the_exit() {
    let done = sh(&["run", "-L"], "yes & echo $! > yes; sleep 0.1; exit 5").done();
    assert_eq!(done.code, 5);
}

#[test]
fn a_process_may_close_its_output() {
    let done = sh(&["run", "-L"], "exec >&- 2>&-; sleep 0.1; exit 6").done();
    assert_eq!((done.code, done.stdout.as_str()), (6, ""));
}

#[test]
fn long_lines_are_split_and_marked() {
    let done = sh(&["run", "-L"], "head -c 200000 /dev/zero | tr '\\0' x; echo; echo next").done();
    let lines: Vec<_> = done.stdout.lines().collect();
    let partial = lines.iter().filter(|line| line.contains("partial=true")).count();
    assert_eq!((lines.len(), partial), (5, 3));
    let total: usize = messages(&done.stdout)[..4].iter().map(|message| message.len()).sum();
    assert_eq!(total, 200_000);
    assert_eq!(messages(&done.stdout)[4], "next");
}

#[test]
fn invalid_utf_8_is_kept() {
    let mut sexton = sh(&["run", "-L"], "printf 'a\\377b\\n'").start();
    sexton.wait();
    let raw = fs::read(sexton.path("stdout")).unwrap_or_default();
    assert!(raw.ends_with(b"msg=a\xffb\n"), "{raw:?}");
}

#[test]
fn a_full_disk_loses_only_lines() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap_or_else(|error| panic!("{error}"));
    let arguments = [
        "run",
        "-L",
        "--wait",
        "1m",
        "--",
        "sh",
        "-c",
        "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; exit 3",
    ];
    let mut sexton = Sexton::with_server(arguments).stdout(full).start();
    let process = sexton.wait_for_phase("done");
    assert_eq!(process["lastExit"]["exitCode"], 3);
    wait_until("500 lines are counted", || {
        sexton
            .get("/metrics")
            .body
            .contains("sexton_log_lines_lost_total{stream=\"stdout\"} 500\n")
            .then_some(())
    });
}

#[test]
fn standard_error_may_be_closed() {
    let script = format!("exec {} -v -p none run -- sh -c 'echo out; exit 3' 2>&-", crate::harness::SEXTON);
    let done = Sexton::program("/bin/sh".as_ref(), ["-c", &script]).done();
    assert_eq!((done.code, done.stdout.as_str()), (3, "out\n"));
}

#[test]
fn a_signal_that_requests_no_stop_does_not_cut_the_output() {
    let (mut reader, writer) = std::io::pipe().unwrap_or_else(|error| panic!("{error}"));
    let sexton = sh(&["run", "-L"], &format!("echo > begun; exec {} burst 5000", testkit::child().display()));
    let mut sexton = sexton.stdout(writer).start();
    // Everything has been read from the process, and waits for the reader.
    sexton.wait_for_file("begun");
    wait_until("the process is gone", || sexton.descendants().is_empty().then_some(()));
    for signal in [libc::SIGWINCH, libc::SIGCONT, libc::SIGUSR1] {
        sexton.signal(signal);
    }
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap_or_default();
    assert_eq!(messages(&text).len(), 5000);
    assert_eq!(sexton.wait(), 0);
}
