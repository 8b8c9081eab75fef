//! A shared directory outlives restarts of containers.

use super::{BORN, DIED, Pod, value};
use crate::harness::Done;

const DEAD_AGAIN: &str = "Born: 2026-11-21T06:50:00Z\nDied: 2026-11-21T06:51:00Z\nExitCode: 1\n";

fn ends_with_main(pod: &Pod, more: &[&str]) -> Done {
    let options = [&["--death-dep", "main"][..], more].concat();
    pod.container("proxy", &options, ["sleep", "1000"]).done()
}

#[test]
fn a_death_by_which_we_have_ended_does_not_end_us_again_at_once() {
    for ours in [false, true] {
        let pod = Pod::new();
        let main = |command: &str| {
            if ours {
                assert_eq!(pod.container("main", &[], ["sh", "-c", command]).done().code, 1);
            } else {
                pod.carve("main", if command == "exit 1" { DIED } else { DEAD_AGAIN });
            }
        };
        let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
        pod.wait_for_stone("proxy", "Ready:");
        main("exit 1");
        assert_eq!(sidecar.done().code, 143);
        // The containers are started again, this one first.
        let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
        let stone = pod.wait_for_stone("proxy", "Ready:");
        assert_eq!(value(&stone, "Died"), None);
        assert!(!sidecar.stderr().contains("sent SIGTERM"), "{}", sidecar.stderr());
        // Now the other is there, and dies anew.
        main("true; exit 1");
        assert_eq!(sidecar.done().code, 143);
    }
}

#[test]
fn a_death_that_we_have_not_seen_counts_after_a_restart() {
    let pod = Pod::new();
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_stone("proxy", "Ready:");
    drop(sidecar);
    pod.carve("main", DIED);
    let done = ends_with_main(&pod, &[]);
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn whoever_does_not_come_back_is_dead_after_a_while() {
    let pod = Pod::new();
    pod.carve("main", DIED);
    assert_eq!(ends_with_main(&pod, &[]).code, 0);
    let done = ends_with_main(&pod, &["--rebirth-timeout", "100ms"]);
    assert_eq!(done.code, 143, "{}", done.stderr);
    assert!(done.stderr.contains("(main exited with code 0)"), "{}", done.stderr);
}

#[test]
fn whoever_comes_back_in_time_is_waited_for_again() {
    let pod = Pod::new();
    pod.carve("main", DIED);
    assert_eq!(ends_with_main(&pod, &[]).code, 0);
    let options = ["--death-dep", "main", "--rebirth-timeout", "3s"];
    let sidecar = pod.container("proxy", &options, ["sleep", "1000"]).start();
    pod.wait_for_stone("proxy", "Ready:");
    pod.carve("main", BORN.replace("06:41", "06:45").as_str());
    // It has a life of its own now: its death is a new one.
    pod.carve("main", DIED.replace("06:41", "06:45").as_str());
    let done = sidecar.done();
    assert_eq!(done.code, 143, "{}", done.stderr);
}

#[test]
fn the_stone_of_a_life_before_makes_nobody_start_early() {
    let pod = Pod::new();
    // It was killed: its stone says that it is ready.
    let proxy = pod.container("proxy", &[], ["sleep", "1000"]).start();
    pod.wait_for_stone("proxy", "Ready:");
    drop(proxy);
    // Started again it waits for another; its stone must not promise what is not there.
    let proxy = pod.container("proxy", &["--birth-dep", "never"], ["sleep", "1000"]).start();
    proxy.wait_for_stderr("waiting for never");
    let done = pod.container("main", &["--birth-dep", "proxy@100ms"], ["true"]).done();
    assert_eq!(done.code, 1, "{}", done.stderr);
}

#[test]
fn two_of_one_name_are_told() {
    let pod = Pod::new();
    let first = pod.container("app", &[], ["sleep", "1000"]).start();
    pod.wait_for_stone("app", "Ready:");
    let second = pod.container("app", &[], ["true"]).done();
    assert!(second.stderr.contains("duplicate name"), "{}", second.stderr);
    drop(first);
}

#[test]
fn two_that_end_with_each_other_come_back_together() {
    let pod = Pod::new();
    let a = |command: &[&str]| pod.container("a", &["--death-dep", "b"], command.to_vec()).start();
    let b = |command: &[&str]| pod.container("b", &["--death-dep", "a"], command.to_vec()).start();
    let first = (b(&["sleep", "1000"]), a(&["sh", "-c", "until [ -e go ]; do sleep 0.01; done; exit 1"]));
    pod.wait_for_stone("b", "Ready:");
    pod.wait_for_stone("a", "Ready:");
    std::fs::write(first.1.path("go"), "").unwrap_or_default();
    assert_eq!((first.1.done().code, first.0.done().code), (1, 143));
    // Whoever starts them again starts both: neither is ended by what was.
    let mut second = a(&["sleep", "1000"]);
    pod.wait_for_stone("a", "Ready:");
    let mut third = b(&["sleep", "1000"]);
    pod.wait_for_stone("b", "Ready:");
    assert_eq!((second.ended(), third.ended()), (None, None), "{}{}", second.stderr(), third.stderr());
    second.stop();
    assert_eq!(third.done().code, 143);
}

#[test]
fn whoever_has_failed_is_started_again_as_we_are() {
    let pod = Pod::new();
    let failed = "Born: 2026-11-21T06:41:22Z\nDied: 2026-11-21T06:42:22Z\nExitCode: 1\n";
    assert_eq!(pod.container("main", &["--death-dep", "proxy"], ["false"]).done().code, 1);
    pod.carve("proxy", failed);
    let main = pod.container("main", &["--death-dep", "proxy"], ["sh", "-c", "exit 5"]).done();
    assert_eq!(main.code, 5, "it runs: {}", main.stderr);
    // What has ended with 0 has done its work and does not come back.
    pod.carve("proxy", DIED);
    assert_eq!(pod.container("main", &["--death-dep", "proxy"], ["sh", "-c", "exit 5"]).done().code, 0);
}

#[test]
fn what_was_mourned_stays_mourned_over_a_life_that_was_killed() {
    let pod = Pod::new();
    pod.carve("main", DIED);
    assert_eq!(ends_with_main(&pod, &[]).code, 0);
    for _ in 0..2 {
        let killed = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
        let stone = pod.wait_for_stone("proxy", "Ready:");
        assert!(value(&stone, "Mourns").is_some_and(|mourns| mourns.contains("main")), "{stone}");
        drop(killed);
    }
    let mut last = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_stone("proxy", "Ready:");
    assert_eq!(last.ended(), None, "{}", last.stderr());
}

#[test]
fn a_life_without_a_birth_is_known_by_its_death() {
    let pod = Pod::new();
    pod.carve("main", "Died: 2026-11-21T06:42:22Z\nExitCode: 0\n");
    assert_eq!(ends_with_main(&pod, &[]).code, 0);
    let mut again = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_stone("proxy", "Ready:");
    assert_eq!(again.ended(), None, "{}", again.stderr());
}
