//! Tombstones of earlier incarnations: the shared directory outlives restarts of containers.

use super::{BORN, DIED, Pod, value};
use crate::harness::Done;

const DEAD_AGAIN: &str = "Born: 2026-11-21T06:50:00Z\nDied: 2026-11-21T06:51:00Z\nExitCode: 1\n";

fn run_until_main_exits(pod: &Pod, options: &[&str]) -> Done {
    let options = [&["--death-dep", "main"][..], options].concat();
    pod.container("proxy", &options, ["sleep", "1000"]).done()
}

#[test]
fn death_that_stopped_the_previous_incarnation_is_ignored_after_a_restart() {
    for by_sexton in [false, true] {
        let pod = Pod::new();
        let main = |command: &str| {
            if by_sexton {
                assert_eq!(pod.container("main", &[], ["sh", "-c", command]).done().code, 1);
            } else {
                pod.write_tombstone("main", if command == "exit 1" { DIED } else { DEAD_AGAIN });
            }
        };
        let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
        pod.wait_for_tombstone("proxy", "Ready:");
        main("exit 1");
        assert_eq!(sidecar.done().code, 143);
        // The containers are started again, this one first.
        let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
        let tombstone = pod.wait_for_tombstone("proxy", "Ready:");
        assert_eq!(value(&tombstone, "Died"), None);
        assert!(!sidecar.stderr().contains("sent SIGTERM"), "{}", sidecar.stderr());
        // The other container has started again and exits again.
        main("true; exit 1");
        assert_eq!(sidecar.done().code, 143);
    }
}

#[test]
fn unhandled_death_counts_after_a_restart() {
    let pod = Pod::new();
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("proxy", "Ready:");
    drop(sidecar);
    pod.write_tombstone("main", DIED);
    let done = run_until_main_exits(&pod, &[]);
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn death_counts_again_after_the_rebirth_timeout() {
    let pod = Pod::new();
    pod.write_tombstone("main", DIED);
    assert_eq!(run_until_main_exits(&pod, &[]).code, 0);
    let done = run_until_main_exits(&pod, &["--rebirth-timeout", "100ms"]);
    assert_eq!(done.code, 143, "{}", done.stderr);
    assert!(done.stderr.contains("(main exited with code 0)"), "{}", done.stderr);
}

#[test]
fn container_that_restarts_in_time_is_watched_again() {
    let pod = Pod::new();
    pod.write_tombstone("main", DIED);
    assert_eq!(run_until_main_exits(&pod, &[]).code, 0);
    let options = ["--death-dep", "main", "--rebirth-timeout", "3s"];
    let sidecar = pod.container("proxy", &options, ["sleep", "1000"]).start();
    pod.wait_for_tombstone("proxy", "Ready:");
    pod.write_tombstone("main", BORN.replace("06:41", "06:45").as_str());
    // This is a new incarnation, so its death counts.
    pod.write_tombstone("main", DIED.replace("06:41", "06:45").as_str());
    let done = sidecar.done();
    assert_eq!(done.code, 143, "{}", done.stderr);
}

#[test]
fn tombstone_of_a_previous_incarnation_does_not_satisfy_birth_dependencies() {
    let pod = Pod::new();
    // It is killed, so its tombstone still says that it is ready.
    let proxy = pod.container("proxy", &[], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("proxy", "Ready:");
    drop(proxy);
    // Restarted, it waits for another container; its tombstone must no longer say that it is ready.
    let proxy = pod.container("proxy", &["--birth-dep", "never"], ["sleep", "1000"]).start();
    proxy.wait_for_stderr("waiting for never");
    let done = pod.container("main", &["--birth-dep", "proxy@100ms"], ["true"]).done();
    assert_eq!(done.code, 1, "{}", done.stderr);
}

#[test]
fn duplicate_name_is_reported() {
    let pod = Pod::new();
    let first = pod.container("app", &[], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("app", "Ready:");
    let second = pod.container("app", &[], ["true"]).done();
    assert!(second.stderr.contains("duplicate name"), "{}", second.stderr);
    drop(first);
}

#[test]
fn mutually_dependent_containers_can_restart_together() {
    let pod = Pod::new();
    let a = |command: &[&str]| pod.container("a", &["--death-dep", "b"], command.to_vec()).start();
    let b = |command: &[&str]| pod.container("b", &["--death-dep", "a"], command.to_vec()).start();
    let first = (b(&["sleep", "1000"]), a(&["sh", "-c", "until [ -e go ]; do sleep 0.01; done; exit 1"]));
    pod.wait_for_tombstone("b", "Ready:");
    pod.wait_for_tombstone("a", "Ready:");
    std::fs::write(first.1.path("go"), "").unwrap_or_default();
    assert_eq!((first.1.done().code, first.0.done().code), (1, 143));
    // Both are restarted: neither is stopped by the earlier deaths.
    let mut second = a(&["sleep", "1000"]);
    pod.wait_for_tombstone("a", "Ready:");
    let mut third = b(&["sleep", "1000"]);
    pod.wait_for_tombstone("b", "Ready:");
    assert_eq!((second.ended(), third.ended()), (None, None), "{}{}", second.stderr(), third.stderr());
    second.stop();
    assert_eq!(third.done().code, 143);
}

#[test]
fn failed_container_is_expected_to_restart() {
    let pod = Pod::new();
    let failed = "Born: 2026-11-21T06:41:22Z\nDied: 2026-11-21T06:42:22Z\nExitCode: 1\n";
    assert_eq!(pod.container("main", &["--death-dep", "proxy"], ["false"]).done().code, 1);
    pod.write_tombstone("proxy", failed);
    let main = pod.container("main", &["--death-dep", "proxy"], ["sh", "-c", "exit 5"]).done();
    assert_eq!(main.code, 5, "the command must run: {}", main.stderr);
    // A container that exited with 0 has completed and is not restarted.
    pod.write_tombstone("proxy", DIED);
    assert_eq!(pod.container("main", &["--death-dep", "proxy"], ["sh", "-c", "exit 5"]).done().code, 0);
}

#[test]
fn handled_death_stays_handled_after_a_killed_incarnation() {
    let pod = Pod::new();
    pod.write_tombstone("main", DIED);
    assert_eq!(run_until_main_exits(&pod, &[]).code, 0);
    for _ in 0..2 {
        let killed = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
        let tombstone = pod.wait_for_tombstone("proxy", "Ready:");
        assert!(value(&tombstone, "Mourns").is_some_and(|mourns| mourns.contains("main")), "{tombstone}");
        drop(killed);
    }
    let mut last = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("proxy", "Ready:");
    assert_eq!(last.ended(), None, "{}", last.stderr());
}

#[test]
fn incarnation_without_a_birth_is_identified_by_its_death() {
    let pod = Pod::new();
    pod.write_tombstone("main", "Died: 2026-11-21T06:42:22Z\nExitCode: 0\n");
    assert_eq!(run_until_main_exits(&pod, &[]).code, 0);
    let mut again = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("proxy", "Ready:");
    assert_eq!(again.ended(), None, "{}", again.stderr());
}
