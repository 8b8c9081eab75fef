//! API objects in the format of a real cluster.

use serde_json::{Value, json};

/// Returns a pod with two init containers (one of them a sidecar), two containers and an ephemeral one, each in another
/// state, with all fields of a real cluster.
#[must_use]
pub fn pod(namespace: &str, name: &str) -> Value {
    let mut pod = pod_of(
        namespace,
        name,
        &[
            container("web", false, 3, &state_waiting("CrashLoopBackOff")),
            container("worker", false, 0, &state_terminated(137, "OOMKilled")),
        ],
    );
    pod["spec"]["initContainers"] = json!([
        {"name": "migrate", "image": "registry.example/shop/migrate:3", "resources": {}},
        {
            "name": "proxy", "image": "registry.example/proxy:1", "restartPolicy": "Always", "resources": {},
            "startupProbe": {"httpGet": {"path": "/ready", "port": 15021, "scheme": "HTTP"}, "failureThreshold": 30}
        }
    ]);
    let mut migrated = container("migrate", true, 0, &state_terminated(0, "Completed"));
    migrated["started"] = json!(false);
    let mut proxy = container("proxy", true, 1, &state_running());
    proxy["lastState"] = state_terminated(1, "Error");
    pod["status"]["initContainerStatuses"] = json!([migrated, proxy]);
    pod["status"]["containerStatuses"][1]["state"]["terminated"]["signal"] = json!(9);
    let mut debugger = container("debugger", false, 0, &state_running());
    // Ephemeral containers do not have this field.
    debugger["started"] = Value::Null;
    pod["status"]["ephemeralContainerStatuses"] = json!([debugger]);
    pod
}

/// Returns a pod with these containers, as returned by [`container`].
#[must_use]
pub fn pod_of(namespace: &str, name: &str, containers: &[Value]) -> Value {
    let spec: Vec<_> = containers
        .iter()
        .map(|container| {
            json!({
                "name": container["name"], "image": container["image"], "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
                "volumeMounts": [{
                    "name": "kube-api-access-7xk2p", "readOnly": true,
                    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"
                }]
            })
        })
        .collect();
    let all_ready = containers.iter().all(|container| container["ready"] == true);
    let ready = if all_ready { "True" } else { "False" };
    json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "generateName": "web-",
            "namespace": namespace,
            "uid": "5f0c7b52-3f0e-4c55-a1a4-0f8f6f1f2a11",
            "resourceVersion": "1",
            "creationTimestamp": "2026-02-03T04:05:06Z",
            "labels": {"app": "web", "apps.kubernetes.io/pod-index": "0"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web",
                "uid": "0d6e3c1a-5b1c-4f9e-9a55-3f6a6c1b7e01", "controller": true, "blockOwnerDeletion": true
            }],
            "managedFields": [{
                "manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": "2026-02-03T04:05:09Z",
                "fieldsType": "FieldsV1", "subresource": "status",
                "fieldsV1": {"f:status": {
                    "f:conditions": {
                        "k:{\"type\":\"Ready\"}": {".": {}, "f:status": {}, "f:type": {}},
                        "k:{\"type\":\"Initialized\"}": {".": {}, "f:lastTransitionTime": {}}
                    },
                    "f:containerStatuses": {}, "f:initContainerStatuses": {}, "f:phase": {}, "f:podIPs": {}
                }}
            }]
        },
        "spec": {
            "containers": spec,
            "volumes": [{
                "name": "kube-api-access-7xk2p",
                "projected": {"defaultMode": 420, "sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
                ]}
            }],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default", "serviceAccount": "default", "nodeName": "node-1",
            "securityContext": {}, "schedulerName": "default-scheduler", "priority": 0,
            "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority"
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": "Initialized", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-02-03T04:05:08Z"},
                {"type": "Ready", "status": ready, "lastProbeTime": null, "lastTransitionTime": "2026-02-03T04:05:09Z"}
            ],
            "hostIP": "192.168.7.4", "hostIPs": [{"ip": "192.168.7.4"}],
            "podIP": "10.244.1.9", "podIPs": [{"ip": "10.244.1.9"}],
            "startTime": "2026-02-03T04:05:06Z",
            "containerStatuses": containers,
            "qosClass": "BestEffort"
        }
    })
}

/// Returns the status of a container, which has started if it is running.
#[must_use]
pub fn container(name: &str, ready: bool, restarts: u32, state: &Value) -> Value {
    json!({
        "name": name,
        "state": state,
        "lastState": {},
        "ready": ready,
        "restartCount": restarts,
        "image": format!("registry.example/shop/{name}:7"),
        "imageID": format!("registry.example/shop/{name}@sha256:3e1f0c"),
        "containerID": format!("containerd://{name}-0123456789abcdef"),
        "started": state.get("running").is_some(),
        "volumeMounts": [{"name": "kube-api-access-7xk2p", "mountPath": "/var/run/secrets", "readOnly": true}]
    })
}

/// Returns the state of a running container.
#[must_use]
pub fn state_running() -> Value {
    json!({"running": {"startedAt": "2026-02-03T04:05:09Z"}})
}

/// Returns the state of a waiting container.
#[must_use]
pub fn state_waiting(reason: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": "back-off 40s restarting failed container"}})
}

/// Returns the state of a terminated container.
#[must_use]
pub fn state_terminated(exit_code: i32, reason: &str) -> Value {
    json!({"terminated": {
        "exitCode": exit_code, "reason": reason, "containerID": "containerd://0123456789abcdef",
        "startedAt": "2026-02-03T04:05:09Z", "finishedAt": "2026-02-03T04:06:10Z"
    }})
}

pub(super) fn list(version: u64, pods: &[&Value]) -> Value {
    json!({
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": version.to_string()},
        "items": pods
    })
}

/// Returns a line of a watch, with its line end.
pub(super) fn event(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

/// Returns the line of a bookmark: an object of which only the version is valid.
pub(super) fn bookmark(version: u64) -> String {
    let object = json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
        "spec": {"containers": null}, "status": {}
    });
    event("BOOKMARK", &object)
}

pub(super) fn status(code: u16, reason: &str, message: &str, retry_after: Option<u64>) -> Value {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {},
        "status": "Failure", "message": message, "reason": reason, "code": code
    });
    if let Some(seconds) = retry_after {
        status["details"] = json!({"retryAfterSeconds": seconds});
    }
    status
}

/// Returns the message of a refusal by RBAC.
pub(super) fn forbidden(verb: &str, namespace: &str) -> String {
    format!(
        "pods is forbidden: User \"system:serviceaccount:{namespace}:default\" cannot {verb} resource \"pods\" in \
         API group \"\" in the namespace \"{namespace}\""
    )
}
