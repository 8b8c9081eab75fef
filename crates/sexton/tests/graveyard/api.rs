//! What the Kubernetes API says of the containers of the pod.

use std::path::Path;
use std::slice::from_ref;

use k8s::fake::{Fault, Verb, container, pod_of, state_running, state_terminated, state_waiting};
use serde_json::Value;

use super::{BORN, DIED, Pod, called, nothing_runs};
use crate::cluster::Cluster;
use crate::harness::{Sexton, child};

/// There is our pod, with these containers.
fn has(cluster: &Cluster, containers: &[Value]) {
    cluster.server.set_pod(Some(pod_of("shop", "web-0", containers)));
}

fn proxy(ready: bool, state: &Value) -> Value {
    container("proxy", ready, 0, state)
}

#[test]
fn a_container_that_carves_nothing_is_ready_when_the_api_says_so() {
    let (pod, cluster) = (Pod::new(), Cluster::new());
    has(&cluster, &[proxy(false, &state_waiting("ContainerCreating"))]);
    let main =
        pod.container("main", &["--pod-name", "web-0", "--birth-dep", "proxy"], ["sh", "-c", "exit 3"]);
    let main = cluster.seen_by(main).start();
    main.wait_for_stderr("waiting for proxy to be ready");
    has(&cluster, &[proxy(false, &state_running())]);
    nothing_runs(&main);
    has(&cluster, &[proxy(true, &state_running())]);
    let done = main.done();
    assert_eq!(done.code, 3, "{}", done.stderr);
}

#[test]
fn kubexit_asks_the_api_with_both_variables() {
    let (pod, cluster) = (Pod::new(), Cluster::new());
    has(&cluster, &[proxy(false, &state_running())]);
    // It is born, but the API knows better.
    pod.carve("proxy", BORN);
    let main = Sexton::program(&called("kubexit", &pod.path("")), ["true"])
        .env("KUBEXIT_NAME", "main")
        .env("KUBEXIT_GRAVEYARD", pod.graveyard())
        .env("KUBEXIT_BIRTH_DEPS", "proxy")
        .env("KUBEXIT_POD_NAME", "web-0")
        .env("KUBEXIT_NAMESPACE", "shop");
    let main = cluster.seen_by(main).start();
    main.wait_for_stderr("waiting for proxy to be ready");
    has(&cluster, &[proxy(true, &state_running())]);
    let done = main.done();
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn conditions_of_containers_without_a_tombstone() {
    let ends = |deps: &str, first: &[Value], then: &[Value]| {
        let (pod, cluster) = (Pod::new(), Cluster::new());
        has(&cluster, first);
        let options = ["--pod-name", "web-0", "--namespace", "shop", "--birth-dep", deps];
        let main = cluster.seen_by(pod.container("main", &options, child(["inspect"]))).start();
        main.wait_for_stderr("waiting for");
        has(&cluster, then);
        assert_eq!(main.done().code, 0, "{deps}");
    };
    let running = proxy(false, &state_running());
    let waiting = proxy(false, &state_waiting("PodInitializing"));
    ends("proxy:started", from_ref(&waiting), from_ref(&running));
    ends("proxy:succeeded", from_ref(&running), &[proxy(false, &state_terminated(0, "Completed"))]);
    ends("proxy:failed", &[running], &[proxy(false, &state_terminated(137, "OOMKilled"))]);
    // An init container that has done its work is ready, as the kubelet has it.
    let mut ends_with_init = pod_of("shop", "web-0", &[waiting]);
    ends_with_init["status"]["initContainerStatuses"] =
        serde_json::json!([container("migrate", true, 0, &state_terminated(0, "Completed"))]);
    let (pod, cluster) = (Pod::new(), Cluster::new());
    cluster.server.set_pod(Some(ends_with_init));
    let options = ["--pod-name", "web-0", "--birth-dep", "migrate"];
    assert_eq!(cluster.seen_by(pod.container("main", &options, ["true"])).done().code, 0);
}

#[test]
fn a_container_that_carves_nothing_ends_others_by_its_death() {
    let (pod, cluster) = (Pod::new(), Cluster::new());
    let main = |state: &Value| container("main", false, 0, state);
    has(&cluster, &[main(&state_running())]);
    let options = ["--pod-name", "web-0", "--death-dep", "main"];
    let sidecar = cluster.seen_by(pod.container("proxy", &options, ["sleep", "1000"])).start();
    pod.wait_for_stone("proxy", "Ready:");
    has(&cluster, &[main(&state_terminated(2, "Error"))]);
    let done = sidecar.done();
    assert_eq!(done.code, 143);
    assert!(done.stderr.contains("(main exited with code 2)"), "{}", done.stderr);
}

#[test]
fn a_missing_permission_is_named_and_mended_while_we_wait() {
    let (pod, cluster) = (Pod::new(), Cluster::new());
    has(&cluster, &[proxy(true, &state_running())]);
    cluster.server.fail_next(Verb::List, Fault::status(403));
    let options = ["--pod-name", "web-0", "--birth-dep", "proxy"];
    let done = cluster.seen_by(pod.container("main", &options, ["true"])).done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    let named = "it needs a Role with get, list and watch on pods (docs/kubernetes/role.yaml)";
    assert!(done.stderr.contains(named), "{}", done.stderr);
}

#[test]
fn a_server_that_is_gone_is_told_and_the_tombstone_still_counts() {
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
    nothing_runs(&main);
    pod.carve("proxy", &format!("{BORN}Ready: 2026-11-21T06:41:23Z\nIncarnation: x\n"));
    assert_eq!(main.done().code, 0);
}

#[test]
fn outside_of_a_cluster_it_is_said_what_is_missing() {
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
    // Whoever says that there is no such pod says it.
    let cluster = Cluster::new();
    pod.carve("proxy", DIED);
    let options = ["--pod-name", "none", "--birth-dep", "proxy", "--birth-timeout", "500ms"];
    let done = cluster.seen_by(pod.container("main", &options, ["true"])).done();
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("pod not found"), "{}", done.stderr);
}
