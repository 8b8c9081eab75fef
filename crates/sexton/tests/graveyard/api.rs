//! Container status from the Kubernetes API.

use std::path::Path;
use std::slice::from_ref;

use k8s::fake::{Fault, Verb, container, pod_of, state_running, state_terminated, state_waiting};
use serde_json::Value;

use super::{BORN, DIED, Pod, assert_no_descendants, link_to_sexton};
use crate::cluster::Cluster;
use crate::harness::{Sexton, child};

/// Replaces the pod at the API server with one that has these containers.
fn set_containers(cluster: &Cluster, containers: &[Value]) {
    cluster.server.set_pod(Some(pod_of("shop", "web-0", containers)));
}

fn proxy(ready: bool, state: &Value) -> Value {
    container("proxy", ready, 0, state)
}

#[test]
fn container_without_tombstone_is_ready_when_the_api_reports_it_ready() {
    let (pod, cluster) = (Pod::new(), Cluster::new());
    set_containers(&cluster, &[proxy(false, &state_waiting("ContainerCreating"))]);
    let main =
        pod.container("main", &["--pod-name", "web-0", "--birth-dep", "proxy"], ["sh", "-c", "exit 3"]);
    let main = cluster.seen_by(main).start();
    main.wait_for_stderr("waiting for proxy to be ready");
    set_containers(&cluster, &[proxy(false, &state_running())]);
    assert_no_descendants(&main);
    set_containers(&cluster, &[proxy(true, &state_running())]);
    let done = main.done();
    assert_eq!(done.code, 3, "{}", done.stderr);
}

#[test]
fn kubexit_queries_the_api_when_both_variables_are_set() {
    let (pod, cluster) = (Pod::new(), Cluster::new());
    set_containers(&cluster, &[proxy(false, &state_running())]);
    // The tombstone records a birth, but the API takes precedence.
    pod.write_tombstone("proxy", BORN);
    let main = Sexton::program(&link_to_sexton("kubexit", &pod.path("")), ["true"])
        .env("KUBEXIT_NAME", "main")
        .env("KUBEXIT_GRAVEYARD", pod.graveyard())
        .env("KUBEXIT_BIRTH_DEPS", "proxy")
        .env("KUBEXIT_POD_NAME", "web-0")
        .env("KUBEXIT_NAMESPACE", "shop");
    let main = cluster.seen_by(main).start();
    main.wait_for_stderr("waiting for proxy to be ready");
    set_containers(&cluster, &[proxy(true, &state_running())]);
    let done = main.done();
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn conditions_of_containers_without_a_tombstone() {
    let starts_after = |deps: &str, before: &[Value], after: &[Value]| {
        let (pod, cluster) = (Pod::new(), Cluster::new());
        set_containers(&cluster, before);
        let options = ["--pod-name", "web-0", "--namespace", "shop", "--birth-dep", deps];
        let main = cluster.seen_by(pod.container("main", &options, child(["inspect"]))).start();
        main.wait_for_stderr("waiting for");
        set_containers(&cluster, after);
        assert_eq!(main.done().code, 0, "{deps}");
    };
    let running = proxy(false, &state_running());
    let waiting = proxy(false, &state_waiting("PodInitializing"));
    starts_after("proxy:started", from_ref(&waiting), from_ref(&running));
    starts_after("proxy:succeeded", from_ref(&running), &[proxy(false, &state_terminated(0, "Completed"))]);
    starts_after("proxy:failed", &[running], &[proxy(false, &state_terminated(137, "OOMKilled"))]);
    // A completed init container is ready, as in the kubelet.
    let mut pod_with_init_container = pod_of("shop", "web-0", &[waiting]);
    pod_with_init_container["status"]["initContainerStatuses"] =
        serde_json::json!([container("migrate", true, 0, &state_terminated(0, "Completed"))]);
    let (pod, cluster) = (Pod::new(), Cluster::new());
    cluster.server.set_pod(Some(pod_with_init_container));
    let options = ["--pod-name", "web-0", "--birth-dep", "migrate"];
    assert_eq!(cluster.seen_by(pod.container("main", &options, ["true"])).done().code, 0);
}

#[test]
fn exit_of_a_container_without_tombstone_stops_its_dependents() {
    let (pod, cluster) = (Pod::new(), Cluster::new());
    let main = |state: &Value| container("main", false, 0, state);
    set_containers(&cluster, &[main(&state_running())]);
    let options = ["--pod-name", "web-0", "--death-dep", "main"];
    let sidecar = cluster.seen_by(pod.container("proxy", &options, ["sleep", "1000"])).start();
    pod.wait_for_tombstone("proxy", "Ready:");
    set_containers(&cluster, &[main(&state_terminated(2, "Error"))]);
    let done = sidecar.done();
    assert_eq!(done.code, 143);
    assert!(done.stderr.contains("(main exited with code 2)"), "{}", done.stderr);
}

#[test]
fn missing_permission_is_reported_and_retried() {
    let (pod, cluster) = (Pod::new(), Cluster::new());
    set_containers(&cluster, &[proxy(true, &state_running())]);
    cluster.server.fail_next(Verb::List, Fault::status(403));
    let options = ["--pod-name", "web-0", "--birth-dep", "proxy"];
    let done = cluster.seen_by(pod.container("main", &options, ["true"])).done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    let message = "it needs a Role with get, list and watch on pods (docs/kubernetes/role.yaml)";
    assert!(done.stderr.contains(message), "{}", done.stderr);
}

#[test]
fn unreachable_api_server_is_reported_and_the_tombstone_is_used() {
    let (pod, cluster) = (Pod::new(), Cluster::new());
    let Cluster { server, account, variables } = cluster;
    drop(server);
    let options = ["--pod-name", "web-0", "--birth-dep", "proxy"];
    let mut main = pod.container("main", &options, ["true"]).env("SEXTON_SERVICE_ACCOUNT", account.path());
    for (name, value) in &variables {
        main = main.env(name, value);
    }
    let main = main.start();
    main.wait_for_stderr("cannot connect to the API server");
    assert_no_descendants(&main);
    pod.write_tombstone("proxy", &format!("{BORN}Ready: 2026-11-21T06:41:23Z\nIncarnation: x\n"));
    assert_eq!(main.done().code, 0);
}

#[test]
fn missing_cluster_settings_and_unknown_pods_are_reported() {
    let pod = Pod::new();
    let options = ["--pod-name", "web-0", "--birth-dep", "proxy"];
    let done = pod.container("main", &options, ["true"]).done();
    assert_eq!(done.code, 73);
    assert!(done.stderr.contains("variable KUBERNETES_SERVICE_HOST is not set"), "{}", done.stderr);
    let done = pod
        .container("main", &options, ["true"])
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", "1")
        .env("SEXTON_SERVICE_ACCOUNT", Path::new("/none"))
        .done();
    assert_eq!(done.code, 73);
    assert!(done.stderr.contains("automountServiceAccountToken"), "{}", done.stderr);
    // A pod that the API server does not know is reported as not found.
    let cluster = Cluster::new();
    pod.write_tombstone("proxy", DIED);
    let options = ["--pod-name", "none", "--birth-dep", "proxy", "--birth-timeout", "500ms"];
    let done = cluster.seen_by(pod.container("main", &options, ["true"])).done();
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("pod not found"), "{}", done.stderr);
}
