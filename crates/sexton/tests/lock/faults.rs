//! Servers that die, do not answer or lose leases; holders that are suspended and killed.

use std::time::{Duration, Instant};

use testkit::{private_directory, tree, wait_until};

use super::{Locks, hold};
use crate::harness::Running;

/// A command that writes its PID and ignores SIGTERM.
const DEAF: &str = "trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done";

/// The PID of the command.
fn pid(running: &Running) -> i32 {
    running.wait_for_file("pid");
    wait_until("a number", || running.text("pid").trim().parse().ok())
}

/// The time until a process has exited.
#[track_caller]
fn gone_after(pid: i32, begun: Instant) -> Duration {
    wait_until(&format!("{pid} is gone"), || (!tree::is_alive(pid)).then_some(()));
    begun.elapsed()
}

#[test]
fn a_dead_server_stops_the_process_before_the_lease_expires_unless_it_returns_in_time() {
    let directory = private_directory();
    let mut locks = Locks::embedded(&directory.path().join("store"));
    let mut holder = hold(&locks, "a", "6s", DEAF);
    let command = pid(&holder);
    locks.kill();
    locks.restart();
    // Still the same process after more than the time to live.
    testkit::pass(Duration::from_secs(8));
    assert!(tree::is_alive(command), "{}", holder.stderr());
    assert_eq!(locks.held(), ["a"]);
    let begun = Instant::now();
    locks.kill();
    // Although it ignores SIGTERM.
    let took = gone_after(command, begun);
    assert!(took < Duration::from_secs(6), "gone after {took:?}: {}", holder.stderr());
    assert_eq!(holder.wait(), 137);
    assert!(holder.stderr().contains("the lock 'a' is about to expire"), "{}", holder.stderr());
}

#[test]
fn a_silent_server_stops_the_process() {
    let directory = private_directory();
    let locks = Locks::embedded(&directory.path().join("store"));
    let mut holder = hold(
        &locks,
        "a",
        "6s",
        "echo $$ > pid; trap 'echo asked > asked; exit 5' TERM; while :; do sleep 0.05; done",
    );
    let command = pid(&holder);
    let begun = Instant::now();
    locks.signal(libc::SIGSTOP);
    let took = gone_after(command, begun);
    locks.signal(libc::SIGCONT);
    // It got the stop signal first, and has exited on its own.
    assert_eq!(holder.text("asked"), "asked\n");
    assert_eq!(holder.wait(), 5);
    assert!(took < Duration::from_secs(6), "gone after {took:?}");
}

#[test]
fn a_server_that_has_lost_the_lease_stops_the_process_at_once() {
    let directory = private_directory();
    let store = directory.path().join("store");
    let mut locks = Locks::embedded(&store);
    let mut holder = hold(&locks, "a", "30s", DEAF);
    let command = pid(&holder);
    // The lease is revoked by hand.
    locks.kill();
    std::fs::remove_file(&store).unwrap_or_else(|error| panic!("{error}"));
    locks.restart();
    let begun = Instant::now();
    // The lease is renewed after a third of its time, which shows the loss.
    let took = gone_after(command, begun);
    assert!(took < Duration::from_secs(19), "{took:?}");
    assert_eq!(holder.wait(), 137);
    assert!(
        holder.stderr().contains("the lock server reports that the lock 'a' has expired"),
        "{}",
        holder.stderr()
    );
}

/// Another holder acquires the lock, and the earlier command has exited by then.
fn is_taken_over(locks: &Locks, before: i32, ttl: &str) {
    // An exited one counts as gone, even as a zombie.
    let alive = "case $(sed -n 's/^State:.\\(.\\).*/\\1/p' /proc/$(cat before)/status 2>/dev/null) in ''|Z|X) ;; *) echo alive > alive ;; esac; \
                 echo taken > taken; exec sleep inf";
    let script = format!("echo {before} > before; {alive}");
    let next = hold(locks, "a", ttl, &script);
    next.wait_for_file("taken");
    assert_eq!(next.text("alive"), "", "two at once");
}

#[test]
fn the_guard_kills_the_process_while_the_holder_is_suspended() {
    let directory = private_directory();
    let locks = Locks::embedded(&directory.path().join("store"));
    let mut holder = hold(&locks, "a", "2s", DEAF);
    let command = pid(&holder);
    holder.signal(libc::SIGSTOP);
    let begun = Instant::now();
    is_taken_over(&locks, command, "2s");
    assert!(begun.elapsed() > Duration::from_secs(1), "not before the lease has lapsed");
    holder.signal(libc::SIGCONT);
    assert_eq!(holder.wait(), 137);
    assert!(holder.stderr().contains("its lock lease is about to expire"), "{}", holder.stderr());
}

#[test]
fn a_lease_revoked_in_etcd_is_not_acquired_before_the_process_is_gone() {
    let etcd = testkit::servers::etcd::Etcd::start(1);
    let locks = Locks::start(vec!["--etcd".to_owned(), etcd.endpoints().join(",")]);
    let mut holder = hold(&locks, "a", "6s", DEAF);
    let command = pid(&holder);
    let listed = etcd.run(&["lease", "list"]);
    let lease = listed.lines().last().unwrap_or_default().trim();
    assert!(etcd.run(&["lease", "revoke", lease]).contains("revoked"), "{listed}");
    assert_eq!(locks.held(), [""; 0]);
    is_taken_over(&locks, command, "6s");
    assert_eq!(holder.wait(), 137);
    assert!(holder.stderr().contains("has expired"), "{}", holder.stderr());
}

#[test]
fn the_guard_kills_the_process_and_escaped_descendants_of_a_killed_holder() {
    let directory = private_directory();
    let locks = Locks::embedded(&directory.path().join("store"));
    let script = "setsid sh -c 'trap \"\" TERM; echo $$ > stray; while :; do sleep 0.05; done' & trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done";
    let mut holder = hold(&locks, "a", "2s", script);
    let command = pid(&holder);
    let stray: i32 = wait_until("the stray", || holder.text("stray").trim().parse().ok());
    let guard: Vec<i32> = tree::descendants(holder.pid())
        .into_keys()
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.windows(5).any(|it| it == b"guard"))
        })
        .collect();
    assert_eq!(guard.len(), 1);
    holder.signal(libc::SIGKILL);
    assert_eq!(holder.wait(), -9);
    is_taken_over(&locks, command, "2s");
    assert!(!tree::is_alive(stray), "what has left its group is ended too");
    wait_until("the guard has ended", || (!tree::is_alive(guard[0])).then_some(()));
}

#[test]
fn a_killed_guard_is_replaced_by_one_with_the_same_state() {
    let directory = private_directory();
    let locks = Locks::embedded(&directory.path().join("store"));
    let holder = hold(&locks, "a", "2s", DEAF);
    let command = pid(&holder);
    let guards = || -> Vec<i32> {
        let is_guard = |pid: &i32| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.windows(5).any(|it| it == b"guard"))
        };
        tree::descendants(holder.pid()).into_keys().filter(is_guard).collect()
    };
    let first = guards();
    crate::harness::send(first[0], libc::SIGKILL);
    wait_until("another guard", || guards().iter().any(|guard| !first.contains(guard)).then_some(()));
    // The next keepalive reported it at the latest.
    testkit::pass(Duration::from_secs(1));
    holder.signal(libc::SIGSTOP);
    is_taken_over(&locks, command, "2s");
    holder.signal(libc::SIGCONT);
}

#[test]
fn a_stopped_holder_uses_its_grace_period_and_then_releases_the_lock() {
    let directory = private_directory();
    let locks = Locks::embedded(&directory.path().join("store"));
    // Longer than the lease, which is renewed while the command stops.
    let script =
        "echo $$ > pid; trap 'sleep 4; echo well > ended; exit 0' TERM; while :; do sleep 0.05; done";
    let mut holder = hold(&locks, "a", "2s", script);
    let command = pid(&holder);
    let begun = Instant::now();
    holder.signal(libc::SIGTERM);
    is_taken_over(&locks, command, "2s");
    assert!(begun.elapsed() > Duration::from_secs(3));
    assert_eq!(holder.wait(), 0);
    assert_eq!(holder.text("ended"), "well\n");
}
