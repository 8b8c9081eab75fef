//! Duties of an init: orphans are adopted, reaped, and stopped with the process that started them.

use std::ffi::OsString;

use testkit::{tree, wait_until};

use crate::harness::{SEXTON, Sexton, child, wrapping};

#[test]
fn a_process_that_forks_twice_ends_with_its_run() {
    let mut sexton = Sexton::with_server(wrapping(&["run"], child(["daemon", "daemon"]))).start();
    let daemon: i32 = sexton.wait_for_file("daemon").trim().parse().unwrap_or(0);
    assert_eq!(sexton.wait(), 0);
    assert!(!tree::is_alive(daemon), "it had left the group, not the run");
}

#[test]
fn a_daemon_stops_with_its_run() {
    let script = format!("{} daemon daemon; sleep 1000", testkit::child().display());
    let mut sexton = Sexton::with_server(["run", "--", "sh", "-c", &script]).start();
    let daemon: i32 = sexton.wait_for_file("daemon").trim().parse().unwrap_or(0);
    assert!(tree::is_alive(daemon));
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 143);
    assert!(!tree::is_alive(daemon));
}

#[test]
fn a_daemon_of_a_run_is_gone_before_the_next_run() {
    let script = format!(
        "rm -f daemon; {} daemon daemon; cat daemon >> all; echo >> all; exit 1",
        testkit::child().display()
    );
    let sexton = Sexton::without_server(["supervise", "--wait", "0", "--", "sh", "-c", &script]).start();
    let all = wait_until("five runs", || {
        let all: Vec<i32> = sexton.text("all").lines().filter_map(|line| line.parse().ok()).collect();
        (all.len() >= 5).then_some(all)
    });
    let alive = all[..all.len() - 1].iter().filter(|pid| tree::is_alive(**pid)).count();
    assert_eq!(alive, 0, "{all:?}");
}

#[test]
fn ten_thousand_orphans_are_reaped_and_no_exit_code_is_lost() {
    let wrapped = child(["orphans", "10000", "let-go"]);
    let mut sexton = Sexton::with_server(wrapping(&["run"], wrapped)).start();
    sexton.wait_for_file("let-go");
    wait_until("all are reaped", || (sexton.descendants().len() == 1).then_some(()));
    assert_eq!(tree::zombies(sexton.pid()), 0);
    assert_eq!(sexton.get("/liveness").code, 200);
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 0);
}

#[test]
fn children_from_before_the_start_are_left_alone() {
    // An entrypoint script that starts a helper and then executes sexton (exec).
    let script = format!("sleep 1000 & echo $! > helper; exec {SEXTON} -p none run -- sh -c 'exit 3'");
    let mut shell = Sexton::program("/bin/sh".as_ref(), ["-c", &script]).start();
    assert_eq!(shell.wait(), 3);
    let helper: i32 = shell.wait_for_file("helper").trim().parse().unwrap_or(0);
    assert!(tree::is_alive(helper), "it was not started by sexton");
    crate::harness::send(helper, libc::SIGKILL);
}

#[test]
fn an_exit_is_never_lost_to_the_reaper() {
    // Short runs during a storm of orphans.
    let script = "i=0; while [ $i -lt 20 ]; do (sh -c 'exit 1' &) ; i=$((i+1)); done; exit 17";
    for _ in 0..20 {
        let wrapped: Vec<OsString> = ["sh", "-c", script].map(Into::into).into();
        assert_eq!(Sexton::without_server(wrapping(&["run"], wrapped)).done().code, 17);
    }
}
