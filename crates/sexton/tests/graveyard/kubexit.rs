//! Invoked under the name `kubexit`: its variables, its tombstones, and both tools in one pod.

use std::path::Path;

use testkit::wait_until;

use super::{BORN, DIED, Pod, link_to_sexton, value};
use crate::harness::Sexton;

fn kubexit(pod: &Pod, name: &str, arguments: &[&str]) -> Sexton {
    Sexton::program(&link_to_sexton("kubexit", pod.path("").as_path()), arguments)
        .env("KUBEXIT_NAME", name)
        .env("KUBEXIT_GRAVEYARD", pod.graveyard())
}

#[test]
fn reads_kubexit_variables_and_ignores_sexton_variables() {
    let pod = Pod::new();
    let sidecar = kubexit(&pod, "app2", &["sleep", "1000"])
        .env("KUBEXIT_DEATH_DEPS", "app0, app1")
        .env("KUBEXIT_GRACE_PERIOD", "5s")
        .env("SEXTON_NAME", "other")
        .env("SEXTON_DEATH_DEPS", "app2")
        .start();
    let tombstone = pod.wait_for_tombstone("app2", "Ready:");
    assert!(tombstone.starts_with("Born: "), "{tombstone}");
    let main = kubexit(&pod, "app1", &["sh", "-c", "exit 3"]).env("KUBEXIT_BIRTH_DEPS", "app2").done();
    assert_eq!(main.code, 3, "{}", main.stderr);
    assert_eq!(sidecar.done().code, 143);
    assert_eq!(value(&pod.tombstone("app1"), "ExitCode"), Some("3"));
}

#[test]
fn birth_timeout_limits_the_wait() {
    let pod = Pod::new();
    let done = kubexit(&pod, "app", &["true"])
        .env("KUBEXIT_BIRTH_DEPS", "proxy")
        .env("KUBEXIT_BIRTH_TIMEOUT", "60ms")
        .done();
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("timed out after 60ms waiting for proxy to be ready"), "{}", done.stderr);
    assert_eq!(value(&pod.tombstone("app"), "ExitCode"), Some("1"));
}

#[test]
fn dependency_names_are_not_parsed_as_expressions() {
    let pod = Pod::new();
    let sidecar =
        kubexit(&pod, "b:failed", &["sleep", "1000"]).env("KUBEXIT_DEATH_DEPS", "a+b:failed").start();
    pod.wait_for_tombstone("b:failed", "Ready:");
    pod.write_tombstone("a+b:failed", DIED);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn missing_and_invalid_settings_are_reported() {
    let pod = Pod::new();
    let program = link_to_sexton("kubexit", pod.path("").as_path());
    for (variables, arguments, part) in [
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
        let mut sexton = Sexton::program(&program, arguments);
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

/// Imitates kubexit, which writes its tombstone in place and reads the others at each change.
#[test]
fn sexton_and_kubexit_read_each_others_tombstones() {
    let pod = Pod::new();
    let old = pod.graveyard().join("old");
    let sidecar = pod.container("proxy", &["--death-dep", "old"], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("proxy", "Ready:");
    pod.write_tombstone("old", BORN);
    assert!(!sidecar.stderr().contains("sent SIGTERM"), "{}", sidecar.stderr());
    pod.write_tombstone("old", DIED);
    assert_eq!(sidecar.done().code, 143);
    assert!(Path::new(&old).exists());
    // The tombstone of sexton starts with the keys that kubexit reads, in its format.
    let tombstone = pod.tombstone("proxy");
    let keys: Vec<_> = tombstone.lines().take(3).filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(keys, ["Born", "Died", "ExitCode"]);
    let nanoseconds =
        |key| value(&tombstone, key).is_some_and(|time| time.len() == 30 && time.ends_with('Z'));
    assert!(nanoseconds("Born") && nanoseconds("Died"), "{tombstone}");
    wait_until("every line to be a YAML key and value", || {
        Some(()).filter(|()| tombstone.lines().all(|it| it.contains(": ")))
    });
}

#[test]
fn ignores_other_variables_and_queries_the_api_only_when_needed() {
    let pod = Pod::new();
    pod.write_tombstone("proxy", BORN);
    let done = kubexit(&pod, "app", &["true"])
        .env("KUBEXIT_POD_NAME", "web-0")
        .env("KUBEXIT_BIRTH_DEPS", "proxy")
        .env("KUBEXIT_WAIT_FOR", "http://127.0.0.1:1/")
        .env("KUBEXIT_EXIT_CODES", "nonsense")
        .env("KUBEXIT_TTL", "nonsense")
        .done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    // Without dependencies the API is not queried either.
    let done = kubexit(&pod, "app", &["true"])
        .env("KUBEXIT_POD_NAME", "web-0")
        .env("KUBEXIT_NAMESPACE", "shop")
        .done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    // Death dependencies use tombstones only.
    let done = kubexit(&pod, "app", &["true"])
        .env("KUBEXIT_POD_NAME", "web-0")
        .env("KUBEXIT_NAMESPACE", "shop")
        .env("KUBEXIT_DEATH_DEPS", "proxy")
        .done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("exits are detected by tombstones only"), "{}", done.stderr);
}
