//! Under the name `kubexit`: its variables, its tombstones, and both tools in one pod.

use std::path::Path;

use testkit::wait_until;

use super::{BORN, DIED, Pod, called, value};
use crate::harness::Sexton;

fn kubexit(pod: &Pod, name: &str, words: &[&str]) -> Sexton {
    Sexton::program(&called("kubexit", pod.path("").as_path()), words)
        .env("KUBEXIT_NAME", name)
        .env("KUBEXIT_GRAVEYARD", pod.graveyard())
}

#[test]
fn its_variables_are_read_and_ours_are_not() {
    let pod = Pod::new();
    let sidecar = kubexit(&pod, "app2", &["sleep", "1000"])
        .env("KUBEXIT_DEATH_DEPS", "app0, app1")
        .env("KUBEXIT_GRACE_PERIOD", "5s")
        .env("SEXTON_NAME", "other")
        .env("SEXTON_DEATH_DEPS", "app2")
        .start();
    let stone = pod.wait_for_stone("app2", "Ready:");
    assert!(stone.starts_with("Born: "), "{stone}");
    let main = kubexit(&pod, "app1", &["sh", "-c", "exit 3"]).env("KUBEXIT_BIRTH_DEPS", "app2").done();
    assert_eq!(main.code, 3, "{}", main.stderr);
    assert_eq!(sidecar.done().code, 143);
    assert_eq!(value(&pod.stone("app1"), "ExitCode"), Some("3"));
}

#[test]
fn it_waits_for_births_no_longer_than_it_is_told_to() {
    let pod = Pod::new();
    let done = kubexit(&pod, "app", &["true"])
        .env("KUBEXIT_BIRTH_DEPS", "proxy")
        .env("KUBEXIT_BIRTH_TIMEOUT", "60ms")
        .done();
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("timed out after 60ms waiting for proxy to be ready"), "{}", done.stderr);
    assert_eq!(value(&pod.stone("app"), "ExitCode"), Some("1"));
}

#[test]
fn names_are_names_and_no_expressions() {
    let pod = Pod::new();
    let sidecar =
        kubexit(&pod, "b:failed", &["sleep", "1000"]).env("KUBEXIT_DEATH_DEPS", "a+b:failed").start();
    pod.wait_for_stone("b:failed", "Ready:");
    pod.carve("a+b:failed", DIED);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let pod = Pod::new();
    let program = called("kubexit", pod.path("").as_path());
    for (variables, words, part) in [
        (&[][..], &["true"][..], "KUBEXIT_NAME is not set"),
        (
            &[("KUBEXIT_NAME", "x")][..],
            &[][..],
            "nothing to run: expected a command, as in 'kubexit ./worker.py'",
        ),
        (&[("KUBEXIT_NAME", "a/b")][..], &["true"][..], "KUBEXIT_NAME 'a/b' is not a valid tombstone name"),
        (
            &[("KUBEXIT_NAME", "x"), ("KUBEXIT_GRACE_PERIOD", "long")][..],
            &["true"][..],
            "KUBEXIT_GRACE_PERIOD 'long': expected seconds",
        ),
        (
            &[("KUBEXIT_NAME", "x"), ("KUBEXIT_DEATH_DEPS", "a,../b")][..],
            &["true"][..],
            "KUBEXIT_DEATH_DEPS 'a,../b': '../b' is not a valid tombstone name",
        ),
    ] {
        let mut sexton = Sexton::program(&program, words);
        for (name, value) in variables {
            sexton = sexton.env(name, value);
        }
        let done = sexton.done();
        assert_eq!(done.code, 64, "{variables:?}");
        assert!(done.stderr.contains(part), "{variables:?}: {}", done.stderr);
    }
    let help = Sexton::program(&program, ["--help"]).done();
    assert!(help.code == 0 && help.stdout.contains("KUBEXIT_DEATH_DEPS"), "{help:?}");
}

/// What kubexit itself does, as a script: creates the file and writes it in place, and reads at each change.
#[test]
fn both_tools_in_one_pod_understand_each_other() {
    let pod = Pod::new();
    let old = pod.graveyard().join("old");
    let sidecar = pod.container("proxy", &["--death-dep", "old"], ["sleep", "1000"]).start();
    pod.wait_for_stone("proxy", "Ready:");
    pod.carve("old", BORN);
    assert!(!sidecar.stderr().contains("sent SIGTERM"), "{}", sidecar.stderr());
    pod.carve("old", DIED);
    assert_eq!(sidecar.done().code, 143);
    assert!(Path::new(&old).exists());
    // And ours has the keys that it reads, first and in its form.
    let stone = pod.stone("proxy");
    let keys: Vec<_> = stone.lines().take(3).filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(keys, ["Born", "Died", "ExitCode"]);
    let nanoseconds = |key| value(&stone, key).is_some_and(|time| time.len() == 30 && time.ends_with('Z'));
    assert!(nanoseconds("Born") && nanoseconds("Died"), "{stone}");
    wait_until("a reader of YAML reads it", || {
        Some(()).filter(|()| stone.lines().all(|it| it.contains(": ")))
    });
}

#[test]
fn it_has_eight_variables_and_asks_the_api_only_with_both() {
    let pod = Pod::new();
    pod.carve("proxy", BORN);
    let done = kubexit(&pod, "app", &["true"])
        .env("KUBEXIT_POD_NAME", "web-0")
        .env("KUBEXIT_BIRTH_DEPS", "proxy")
        .env("KUBEXIT_WAIT_FOR", "http://127.0.0.1:1/")
        .env("KUBEXIT_EXIT_CODES", "nonsense")
        .env("KUBEXIT_TTL", "nonsense")
        .done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    // With nobody to ask about it is not asked either.
    let done = kubexit(&pod, "app", &["true"])
        .env("KUBEXIT_POD_NAME", "web-0")
        .env("KUBEXIT_NAMESPACE", "shop")
        .done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    // For deaths tombstones will do.
    let done = kubexit(&pod, "app", &["true"])
        .env("KUBEXIT_POD_NAME", "web-0")
        .env("KUBEXIT_NAMESPACE", "shop")
        .env("KUBEXIT_DEATH_DEPS", "proxy")
        .done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("exits are detected by tombstones only"), "{}", done.stderr);
}
