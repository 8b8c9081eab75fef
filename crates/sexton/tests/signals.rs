//! Signals: forwarded, the stop signal once, SIGKILL after the grace period.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use testkit::{tree, wait_until};

use crate::harness::{Running, Sexton, child, send, wrapping};

fn recording(front: &[&str]) -> Running {
    let sexton = Sexton::with_server(wrapping(front, child(["record", "got"])));
    let sexton = sexton.start();
    sexton.wait_for_file("got");
    sexton
}

fn got(sexton: &Running) -> Vec<i32> {
    sexton.text("got").lines().filter_map(|line| line.parse().ok()).collect()
}

#[test]
fn every_catchable_signal_is_forwarded() {
    // KILL and STOP cannot be caught, CHLD and URG concern sexton itself, the C library keeps 32 and 33, and
    // TERM ends it.
    let catchable = (1..=64).filter(|signal| ![9, 19, 17, 23, 32, 33, 15].contains(signal));
    let sexton = recording(&["run"]);
    for signal in catchable {
        sexton.signal(signal);
        wait_until(&format!("signal {signal}"), || got(&sexton).contains(&signal).then_some(()));
    }
    sexton.signal(libc::SIGCHLD);
    sexton.signal(libc::SIGURG);
    let mut sexton = sexton;
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 0);
    let got = got(&sexton);
    assert_eq!(got.last(), Some(&15));
    assert!(!got.contains(&17) && !got.contains(&23), "{got:?}");
}

/// A main process that exits at SIGUSR1 or SIGTERM when its child, which is in the same group, has had a signal or `go`
/// exists. Both append to `got`.
const PARENT_AND_CHILD: &str = "trap 'echo parent-usr1 >> got' USR1
    trap 'echo parent-term >> got; while [ ! -e go ]; do sleep 0.01; done; echo parent-exit >> got; exit 5' TERM
    sh -c 'trap \"echo child-usr1 >> got\" USR1; trap \"echo child-term >> got; exit 0\" TERM
        echo ready > child; while :; do sleep 0.01; done' &
    while :; do sleep 0.01; done";

#[test]
fn only_the_main_process_gets_signals_and_its_leftovers_the_stop_signal_after_its_exit() {
    let mut sexton = Sexton::with_server(["run", "--", "sh", "-c", PARENT_AND_CHILD]).start();
    sexton.wait_for_file("child");
    sexton.signal(libc::SIGUSR1);
    wait_until("USR1 has arrived", || sexton.text("got").contains("parent-usr1").then_some(()));
    sexton.signal(libc::SIGTERM);
    wait_until("TERM has arrived", || sexton.text("got").contains("parent-term").then_some(()));
    std::fs::write(sexton.path("go"), "").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(sexton.wait(), 5, "the exit code is that of the main process");
    assert_eq!(sexton.text("got"), "parent-usr1\nparent-term\nparent-exit\nchild-term\n");
    assert!(sexton.stderr().contains("sent SIGTERM to processes left behind"), "{}", sexton.stderr());
}

#[test]
fn with_kill_mode_group_the_whole_group_gets_signals() {
    let arguments = ["run", "--kill-mode", "group", "--", "sh", "-c", PARENT_AND_CHILD];
    let mut sexton = Sexton::without_server(arguments).start();
    sexton.wait_for_file("child");
    sexton.signal(libc::SIGUSR1);
    for line in ["parent-usr1", "child-usr1"] {
        wait_until(line, || sexton.text("got").contains(line).then_some(()));
    }
    sexton.signal(libc::SIGTERM);
    wait_until("the child has had SIGTERM", || sexton.text("got").contains("child-term").then_some(()));
    std::fs::write(sexton.path("go"), "").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(sexton.wait(), 5);
}

#[test]
fn leftovers_that_ignore_the_stop_signal_of_a_stop_are_killed_at_the_deadline() {
    let deaf = testkit::child();
    let script = format!("{} deaf deaf & while [ ! -e deaf ]; do sleep 0.01; done; wait", deaf.display());
    let mut sexton =
        Sexton::without_server(["run", "--grace-period", "300ms", "--", "sh", "-c", &script]).start();
    sexton.wait_for_file("deaf");
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 143);
    assert!(sexton.descendants().is_empty());
}

#[test]
fn repeated_sigterm_is_sent_once() {
    let script = "trap 'echo term >> got' TERM; echo ready > ready; while [ ! -e stop ]; do sleep 0.01; done";
    let mut sexton = Sexton::with_server(["run", "--", "sh", "-c", script]).start();
    sexton.wait_for_file("ready");
    sexton.signal(libc::SIGTERM);
    sexton.wait_for_file("got");
    for _ in 0..3 {
        sexton.signal(libc::SIGTERM);
    }
    sexton.wait_for_stderr("already stopping");
    std::fs::write(sexton.path("stop"), "").unwrap_or_default();
    sexton.wait();
    assert_eq!(sexton.text("got"), "term\n");
}

#[test]
fn the_stop_signal_can_be_configured() {
    let mut sexton = recording(&["run", "--stop-signal", "USR2", "--grace-period", "2s"]);
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 137, "it ends of TERM only");
    // After the stop signal, CONT wakes what was suspended.
    assert_eq!(got(&sexton)[..1], [12]);
    assert!(!got(&sexton).contains(&15));
}

#[test]
fn a_process_that_ignores_the_stop_signal_is_killed_after_the_grace_period() {
    let mut sexton =
        Sexton::with_server(wrapping(&["run", "--grace-period", "100ms"], child(["deaf", "ready"]))).start();
    sexton.wait_for_file("ready");
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 137);
    sexton.wait_for_stderr("sent SIGKILL (grace period of 100ms expired)");
}

#[test]
fn a_suspended_process_can_be_stopped() {
    let mut sexton = Sexton::with_server(["run", "--", "sh", "-c", "kill -STOP $$; exit 9"]).start();
    let process =
        wait_until("suspended", || Some(sexton.process()).filter(|process| process["suspendedBy"] == "STOP"));
    assert_eq!(process["phase"], "running");
    assert_eq!(sexton.get("/readiness").code, 503, "what does nothing cannot be given work");
    assert_eq!(sexton.get("/liveness").code, 200);
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 143);

    let mut sexton = Sexton::with_server(["run", "--", "sh", "-c", "kill -STOP $$; exit 9"]).start();
    wait_until("suspended", || (sexton.process()["suspendedBy"] == "STOP").then_some(()));
    sexton.signal(libc::SIGCONT);
    assert_eq!(sexton.wait(), 9, "CONT is handed on");
}

#[test]
fn signals_ignored_at_start_are_not_forwarded() {
    // As nohup(1) does for SIGHUP.
    let wrapped = child(["record", "got"]);
    let mut sexton = Sexton::with_server(wrapping(&["run"], wrapped))
        .with(|command| {
            // SAFETY: signal is safe after a fork.
            unsafe {
                command.pre_exec(|| {
                    libc::signal(libc::SIGHUP, libc::SIG_IGN);
                    Ok(())
                });
            }
        })
        .start();
    sexton.wait_for_file("got");
    sexton.signal(libc::SIGHUP);
    sexton.signal(libc::SIGUSR1);
    wait_until("USR1", || got(&sexton).contains(&10).then_some(()));
    assert_eq!(got(&sexton), [10]);
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 0);
}

#[test]
fn a_burst_of_signals_loses_no_exit_and_does_not_hang() {
    let mut sexton = Sexton::without_server(wrapping(&["run"], child(["record", "got"]))).start();
    sexton.wait_for_file("got");
    for round in 0..2000 {
        sexton.signal([libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH, libc::SIGCHLD][round % 4]);
    }
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 0);
}

#[test]
fn a_signal_at_the_very_start_is_not_lost() {
    // It comes before sexton handles signals (and kills it) or after (and stops the process).
    for delay in 0..30 {
        let mut sexton = Sexton::without_server(["run", "--", "sleep", "1000"]).start();
        for _ in 0..delay {
            std::thread::yield_now();
        }
        sexton.signal(libc::SIGTERM);
        let code = sexton.wait();
        assert!(code == 143 || code == -15, "{code}");
    }
}

#[test]
fn nothing_of_the_group_survives_a_stop() {
    let script = "sleep 1000 & sleep 1000 & (sleep 1000 & sleep 1000) & echo ready > ready; wait";
    let mut sexton = Sexton::without_server(["run", "--", "sh", "-c", script]).start();
    sexton.wait_for_file("ready");
    let descendants = wait_until("all five", || Some(sexton.descendants()).filter(|all| all.len() == 5));
    sexton.signal(libc::SIGTERM);
    sexton.wait();
    assert!(descendants.keys().all(|pid| !tree::is_alive(*pid)));
}

#[test]
fn nothing_of_the_group_survives_the_exit_of_the_process() {
    let wrapped: Vec<OsString> = ["sh", "-c", "sleep 1000 & echo $! > left; exit 6"].map(Into::into).into();
    let mut sexton = Sexton::without_server(wrapping(&["run"], wrapped)).start();
    let left: i32 = sexton.wait_for_file("left").trim().parse().unwrap_or(0);
    assert_eq!(sexton.wait(), 6, "the code is that of the process, not of what it left behind");
    assert!(!tree::is_alive(left));
}

#[test]
fn leftovers_that_ignore_the_stop_signal_are_killed_after_the_grace_period() {
    let deaf = testkit::child();
    let script = format!("{} deaf left & while [ ! -e left ]; do sleep 0.01; done; exit 6", deaf.display());
    let mut sexton =
        Sexton::with_server(["run", "--grace-period", "100ms", "--", "sh", "-c", &script]).start();
    let left: i32 = sexton.wait_for_file("left").trim().parse().unwrap_or(0);
    assert_eq!(sexton.wait(), 6);
    assert!(!tree::is_alive(left));
    assert!(sexton.stderr().contains("processes it left behind"), "{}", sexton.stderr());
}

#[test]
fn in_supervise_a_second_interrupt_kills() {
    let wrapped = child(["deaf", "ready"]);
    let mut sexton = Sexton::with_server(wrapping(&["supervise"], wrapped)).start();
    let pid: i32 = sexton.wait_for_file("ready").trim().parse().unwrap_or(0);
    sexton.signal(libc::SIGINT);
    sexton.wait_for_stderr("sent SIGINT (received SIGINT)");
    sexton.signal(libc::SIGINT);
    assert_eq!(sexton.wait(), 137);
    assert!(!tree::is_alive(pid));
}

#[test]
fn a_kill_from_outside_has_no_reason_of_the_supervisor() {
    let mut sexton = Sexton::with_server(["run", "--wait", "1m", "--", "sleep", "1000"]).start();
    send(sexton.wrapped(), libc::SIGKILL);
    let process = sexton.wait_for_phase("done");
    assert_eq!(
        (&process["lastExit"]["signal"], &process["lastExit"]["exitCode"]),
        (&"KILL".into(), &137.into())
    );
    assert_eq!(process["lastExit"]["reason"], serde_json::Value::Null);
    assert_eq!(sexton.json("/")["Status"], "killed");
}
