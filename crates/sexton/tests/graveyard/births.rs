//! Before it starts.

use std::fs;

use testkit::wait_until;

use super::{BORN, DIED, Pod, nothing_runs, value};
use crate::harness::child;

#[test]
fn a_start_waits_until_the_other_says_that_it_is_ready() {
    let pod = Pod::new();
    let main = pod.container("main", &["--birth-dep", "proxy"], ["sh", "-c", "exit 3"]).start();
    main.wait_for_stderr("waiting for proxy to be ready");
    // Born is not ready: this is ours, which says so itself.
    pod.carve("proxy", &format!("{BORN}Incarnation: x\n"));
    main.wait_for_stderr("waiting for");
    nothing_runs(&main);
    let stone = pod.stone("main");
    assert_eq!((value(&stone, "Born"), value(&stone, "Ready"), value(&stone, "Died")), (None, None, None));
    let proxy = pod.container("proxy", &[], ["sleep", "1000"]).start();
    let done = main.done();
    assert_eq!(done.code, 3, "{}", done.stderr);
    drop(proxy);
}

#[test]
fn of_kubexit_its_birth_has_to_do() {
    let pod = Pod::new();
    pod.carve("proxy", BORN);
    assert_eq!(pod.container("main", &["--birth-dep", "proxy"], ["true"]).done().code, 0);
}

#[test]
fn the_dead_are_not_ready_and_the_gone_are_not() {
    let pod = Pod::new();
    pod.carve("dead", DIED);
    let gone = pod.container("gone", &[], ["sleep", "1000"]).start();
    pod.wait_for_stone("gone", "Ready:");
    drop(gone);
    for dep in ["dead", "gone", "dead:started", "gone:started"] {
        let done = pod.container("main", &["--birth-dep", dep, "--birth-timeout", "50ms"], ["true"]).done();
        assert_eq!(done.code, 1, "{dep}: {}", done.stderr);
    }
}

#[test]
fn a_wait_in_vain_names_what_was_missing() {
    let pod = Pod::new();
    pod.carve("there", BORN);
    let options = ["--birth-dep", "there,proxy,db:succeeded", "--birth-timeout", "80ms"];
    let main = pod.container("main", &options, ["touch", "ran"]).start();
    let ran = main.path("ran");
    let done = main.done();
    assert_eq!(done.code, 1, "{}", done.stderr);
    let error = "not started: timed out after 80ms waiting for proxy to be ready; db to be succeeded";
    assert!(done.stderr.contains(error), "{}", done.stderr);
    assert!(!ran.exists());
    let stone = pod.stone("main");
    assert_eq!(value(&stone, "ExitCode"), Some("1"), "{stone}");
    assert!(value(&stone, "Reason").is_some_and(|reason| reason.contains("proxy to be ready")), "{stone}");
}

#[test]
fn a_wait_in_vain_may_go_on() {
    let pod = Pod::new();
    let done = pod.container("main", &["--birth-dep", "proxy@50ms?"], ["true"]).done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stderr.contains("starting without proxy to be ready: timed out after 50ms"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_stop_while_it_waits_ends_it_and_is_carved() {
    let pod = Pod::new();
    let main =
        pod.container("main", &["--birth-dep", "proxy", "--birth-timeout", "0"], ["touch", "ran"]).start();
    main.wait_for_stderr("waiting for proxy");
    let ran = main.path("ran");
    let done = main.stop();
    assert_eq!(done.code, 143, "{}", done.stderr);
    assert!(!ran.exists());
    assert_eq!(value(&pod.stone("main"), "ExitCode"), Some("143"));
}

#[test]
fn conditions_and_expressions_of_births() {
    let pod = Pod::new();
    let failed = "Died: 2026-11-21T06:42:22Z\nExitCode: 1\n";
    let starts = |deps: &str, before: &[(&str, &str)], last: (&str, &str)| {
        for name in ["a", "b", "c", "main"] {
            fs::remove_file(pod.graveyard().join(name)).unwrap_or_default();
        }
        let main = pod.container("main", &["--birth-dep", deps], ["true"]).start();
        main.wait_for_stderr("waiting for");
        for (name, text) in before {
            pod.carve(name, text);
        }
        nothing_runs(&main);
        assert!(!pod.stone("main").contains("Born"), "{deps}");
        pod.carve(last.0, last.1);
        assert_eq!(main.done().code, 0, "{deps}");
    };
    starts("a:started,b:exited", &[("a", BORN)], ("b", failed));
    starts("a:succeeded", &[("a", failed)], ("a", DIED));
    starts("a+b:failed|c", &[("a", BORN), ("b", DIED)], ("c", BORN));
    starts("a+b:failed|c", &[("a", BORN), ("b", DIED)], ("b", failed));
}

#[test]
fn whoever_announces_readiness_later_is_waited_for() {
    // By its own probe, in the other container.
    let pod = Pod::new();
    let file = pod.path("healthy");
    let proxy = super::up::container(
        &pod,
        &format!(
            "graveyard: {{name: proxy, directory: {}}}\nprocesses: {{p: {{command: sleep 1000, readinessProbe: {{periodSeconds: 50ms, file: {{path: {}}}}}}}}}",
            pod.graveyard().display(),
            file.display()
        ),
    );
    let main = pod.container("main", &["--birth-dep", "proxy"], ["true"]).start();
    pod.wait_for_stone("proxy", "Born:");
    main.wait_for_stderr("waiting for proxy");
    nothing_runs(&main);
    fs::write(&file, "").unwrap_or_default();
    assert_eq!(main.done().code, 0);
    let ready = pod.wait_for_stone("proxy", "Ready:");
    // Its health goes, and so does its readiness.
    fs::remove_file(&file).unwrap_or_default();
    let sick = wait_until("not ready", || Some(pod.stone("proxy")).filter(|text| !text.contains("Ready")));
    assert_eq!(value(&ready, "Born"), value(&sick, "Born"));
    drop(proxy);
}

#[test]
fn births_in_a_ring_wait_and_time_out() {
    let pod = Pod::new();
    let a = pod.container("a", &["--birth-dep", "b", "--birth-timeout", "200ms"], child(["inspect"])).start();
    let b = pod.container("b", &["--birth-dep", "a", "--birth-timeout", "200ms"], child(["inspect"])).start();
    assert_eq!((a.done().code, b.done().code), (1, 1));
}
