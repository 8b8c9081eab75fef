//! Birth dependencies: conditions that must hold before the command starts.

use std::fs;

use testkit::wait_until;

use super::{BORN, DIED, Pod, assert_no_descendants, value};
use crate::harness::child;

#[test]
fn start_waits_until_the_dependency_is_ready() {
    let pod = Pod::new();
    let main = pod.container("main", &["--birth-dep", "proxy"], ["sh", "-c", "exit 3"]).start();
    main.wait_for_stderr("waiting for proxy to be ready");
    // Born is not ready: a tombstone with an incarnation is written by sexton, which records readiness itself.
    pod.write_tombstone("proxy", &format!("{BORN}Incarnation: x\n"));
    main.wait_for_stderr("waiting for");
    assert_no_descendants(&main);
    let tombstone = pod.tombstone("main");
    assert_eq!(
        (value(&tombstone, "Born"), value(&tombstone, "Ready"), value(&tombstone, "Died")),
        (None, None, None)
    );
    let proxy = pod.container("proxy", &[], ["sleep", "1000"]).start();
    let done = main.done();
    assert_eq!(done.code, 3, "{}", done.stderr);
    drop(proxy);
}

#[test]
fn birth_in_a_kubexit_tombstone_counts_as_ready() {
    let pod = Pod::new();
    pod.write_tombstone("proxy", BORN);
    assert_eq!(pod.container("main", &["--birth-dep", "proxy"], ["true"]).done().code, 0);
}

#[test]
fn dead_and_gone_dependencies_are_not_ready() {
    let pod = Pod::new();
    pod.write_tombstone("dead", DIED);
    let gone = pod.container("gone", &[], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("gone", "Ready:");
    drop(gone);
    for dep in ["dead", "gone", "dead:started", "gone:started"] {
        let done = pod.container("main", &["--birth-dep", dep, "--birth-timeout", "50ms"], ["true"]).done();
        assert_eq!(done.code, 1, "{dep}: {}", done.stderr);
    }
}

#[test]
fn timeout_error_names_the_unsatisfied_dependencies() {
    let pod = Pod::new();
    pod.write_tombstone("there", BORN);
    let options = ["--birth-dep", "there,proxy,db:succeeded", "--birth-timeout", "80ms"];
    let main = pod.container("main", &options, ["touch", "ran"]).start();
    let ran = main.path("ran");
    let done = main.done();
    assert_eq!(done.code, 1, "{}", done.stderr);
    let error = "not started: timed out after 80ms waiting for proxy to be ready; db to be succeeded";
    assert!(done.stderr.contains(error), "{}", done.stderr);
    assert!(!ran.exists());
    let tombstone = pod.tombstone("main");
    assert_eq!(value(&tombstone, "ExitCode"), Some("1"), "{tombstone}");
    assert!(
        value(&tombstone, "Reason").is_some_and(|reason| reason.contains("proxy to be ready")),
        "{tombstone}"
    );
}

#[test]
fn optional_dependency_does_not_prevent_the_start() {
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
fn stop_request_during_the_wait_is_recorded_in_the_tombstone() {
    let pod = Pod::new();
    let main =
        pod.container("main", &["--birth-dep", "proxy", "--birth-timeout", "0"], ["touch", "ran"]).start();
    main.wait_for_stderr("waiting for proxy");
    let ran = main.path("ran");
    let done = main.stop();
    assert_eq!(done.code, 143, "{}", done.stderr);
    assert!(!ran.exists());
    assert_eq!(value(&pod.tombstone("main"), "ExitCode"), Some("143"));
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
            pod.write_tombstone(name, text);
        }
        assert_no_descendants(&main);
        assert!(!pod.tombstone("main").contains("Born"), "{deps}");
        pod.write_tombstone(last.0, last.1);
        assert_eq!(main.done().code, 0, "{deps}");
    };
    starts("a:started,b:exited", &[("a", BORN)], ("b", failed));
    starts("a:succeeded", &[("a", failed)], ("a", DIED));
    starts("a+b:failed|c", &[("a", BORN), ("b", DIED)], ("c", BORN));
    starts("a+b:failed|c", &[("a", BORN), ("b", DIED)], ("b", failed));
}

#[test]
fn start_waits_for_the_readiness_probe_of_the_dependency() {
    // The probe runs in the other container.
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
    pod.wait_for_tombstone("proxy", "Born:");
    main.wait_for_stderr("waiting for proxy");
    assert_no_descendants(&main);
    fs::write(&file, "").unwrap_or_default();
    assert_eq!(main.done().code, 0);
    let ready = pod.wait_for_tombstone("proxy", "Ready:");
    // The probe fails, so readiness is withdrawn.
    fs::remove_file(&file).unwrap_or_default();
    let not_ready =
        wait_until("not ready", || Some(pod.tombstone("proxy")).filter(|text| !text.contains("Ready")));
    assert_eq!(value(&ready, "Born"), value(&not_ready, "Born"));
    drop(proxy);
}

#[test]
fn cyclic_birth_dependencies_time_out() {
    let pod = Pod::new();
    let a = pod.container("a", &["--birth-dep", "b", "--birth-timeout", "200ms"], child(["inspect"])).start();
    let b = pod.container("b", &["--birth-dep", "a", "--birth-timeout", "200ms"], child(["inspect"])).start();
    assert_eq!((a.done().code, b.done().code), (1, 1));
}
