//! The required fields of a pod, parsed leniently: missing, null or unknown fields are no error.

use serde::Deserialize;

/// State of a pod according to the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodState {
    /// Unique ID, which differs for another pod of the same name.
    pub uid: String,
    /// Version of the pod; opaque to clients.
    pub resource_version: String,
    /// Init containers, then the others, then ephemeral ones, each in the order of the spec. Containers without a
    /// status from the kubelet are missing.
    pub containers: Vec<ContainerState>,
}

/// State of a container according to the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerState {
    /// Name in the spec.
    pub name: String,
    /// Whether it is an init container (including sidecars).
    pub init: bool,
    /// Passes its readiness probe; for an init container that is not a sidecar: has succeeded.
    pub ready: bool,
    /// Has passed its startup probe.
    pub started: bool,
    pub restart_count: u32,
    pub state: RunState,
}

/// Whether a container is running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// Not running yet, or not at present.
    Waiting {
        /// For example `PodInitializing` or `CrashLoopBackOff`.
        reason: Option<String>,
    },
    Running,
    Terminated {
        exit_code: i32,
        /// Signal that killed it, if the runtime reports it.
        signal: Option<i32>,
        /// For example `Completed`, `Error` or `OOMKilled`.
        reason: Option<String>,
    },
}

impl PodState {
    /// Returns the container of this name.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&ContainerState> {
        self.containers.iter().find(|container| container.name == name)
    }
}

/// A pod in the format of the API.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawPod {
    metadata: Option<RawMeta>,
    status: Option<RawStatus>,
}

/// A list of pods in the format of the API.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RawList {
    metadata: Option<RawMeta>,
    items: Option<Vec<RawPod>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMeta {
    name: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawStatus {
    init_container_statuses: Option<Vec<RawContainer>>,
    container_statuses: Option<Vec<RawContainer>>,
    ephemeral_container_statuses: Option<Vec<RawContainer>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawContainer {
    name: Option<String>,
    ready: Option<bool>,
    started: Option<bool>,
    restart_count: Option<u32>,
    state: Option<RawState>,
}

#[derive(Debug, Default, Deserialize)]
struct RawState {
    waiting: Option<RawWaiting>,
    running: Option<RawRunning>,
    terminated: Option<RawTerminated>,
}

#[derive(Debug, Deserialize)]
struct RawWaiting {
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RawRunning {}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTerminated {
    exit_code: Option<i32>,
    signal: Option<i32>,
    reason: Option<String>,
}

impl RawPod {
    pub(crate) fn name(&self) -> Option<&str> {
        self.metadata.as_ref()?.name.as_deref()
    }

    pub(crate) fn version(&self) -> Option<&str> {
        self.metadata.as_ref()?.resource_version.as_deref()
    }

    pub(crate) fn read(self) -> PodState {
        let metadata = self.metadata.unwrap_or_default();
        let status = self.status.unwrap_or_default();
        let init = status.init_container_statuses.unwrap_or_default().into_iter().map(|raw| raw.read(true));
        let others = status.container_statuses.unwrap_or_default();
        let ephemeral = status.ephemeral_container_statuses.unwrap_or_default();
        PodState {
            uid: metadata.uid.unwrap_or_default(),
            resource_version: metadata.resource_version.unwrap_or_default(),
            containers: init
                .chain(others.into_iter().chain(ephemeral).map(|raw| raw.read(false)))
                .flatten()
                .collect(),
        }
    }
}

impl RawList {
    /// Returns the pod of this name, if listed, and the version of the list.
    pub(crate) fn read(self, name: &str) -> (Option<PodState>, Option<String>) {
        let pod = self.items.unwrap_or_default().into_iter().find(|pod| pod.name() == Some(name));
        let version = self.metadata.and_then(|metadata| metadata.resource_version);
        (pod.map(RawPod::read), version.filter(|version| !version.is_empty()))
    }
}

impl RawContainer {
    /// Ignores a container without a name.
    fn read(self, init: bool) -> Option<ContainerState> {
        Some(ContainerState {
            name: self.name?,
            init,
            ready: self.ready.unwrap_or_default(),
            started: self.started.unwrap_or_default(),
            restart_count: self.restart_count.unwrap_or_default(),
            state: self.state.unwrap_or_default().read(),
        })
    }
}

impl RawState {
    /// A missing state means 'waiting', according to the API reference.
    fn read(self) -> RunState {
        match (self.terminated, self.running) {
            (Some(RawTerminated { exit_code, signal, reason }), _) => {
                RunState::Terminated { exit_code: exit_code.unwrap_or_default(), signal, reason }
            }
            (None, Some(RawRunning {})) => RunState::Running,
            (None, None) => RunState::Waiting { reason: self.waiting.and_then(|waiting| waiting.reason) },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(pod: Value) -> PodState {
        serde_json::from_value::<RawPod>(pod).map(RawPod::read).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn parses_all_containers_of_a_pod() {
        let pod = read(crate::fake::pod("shop", "web-0"));
        assert_eq!(pod.uid, "5f0c7b52-3f0e-4c55-a1a4-0f8f6f1f2a11");
        let found: Vec<_> = pod
            .containers
            .iter()
            .map(|it| (it.name.as_str(), it.init, it.ready, it.started, it.restart_count, it.state.clone()))
            .collect();
        let terminated = |exit_code, signal, reason: &str| RunState::Terminated {
            exit_code,
            signal,
            reason: Some(reason.to_owned()),
        };
        assert_eq!(
            found,
            [
                ("migrate", true, true, false, 0, terminated(0, None, "Completed")),
                ("proxy", true, true, true, 1, RunState::Running),
                (
                    "web",
                    false,
                    false,
                    false,
                    3,
                    RunState::Waiting { reason: Some("CrashLoopBackOff".to_owned()) }
                ),
                ("worker", false, false, false, 0, terminated(137, Some(9), "OOMKilled")),
                ("debugger", false, false, false, 0, RunState::Running),
            ]
        );
        assert!(pod.container("proxy").is_some_and(|proxy| proxy.ready));
        assert_eq!(pod.container("nobody"), None);
    }

    #[test]
    fn missing_null_and_unknown_fields_are_no_error() {
        for pod in [
            json!({}),
            json!({"metadata": null, "status": null}),
            json!({"metadata": {}, "status": {}}),
            json!({"status": {"containerStatuses": null, "initContainerStatuses": null, "ephemeralContainerStatuses": []}}),
            json!({"status": {"containerStatuses": [{"ready": true}], "newField": {"a": [1]}}, "kind": 7}),
        ] {
            assert_eq!(read(pod.clone()).containers, [], "{pod}");
        }
        for state in
            [json!(null), json!({}), json!({"waiting": null}), json!({"waiting": {}}), json!({"paused": {}})]
        {
            let pod = read(json!({"status": {"containerStatuses": [{
                "name": "web", "ready": null, "started": null, "restartCount": null, "state": state
            }]}}));
            let waiting = ContainerState {
                name: "web".to_owned(),
                init: false,
                ready: false,
                started: false,
                restart_count: 0,
                state: RunState::Waiting { reason: None },
            };
            assert_eq!(pod.containers, [waiting], "{state}");
        }
    }

    #[test]
    fn selects_the_pod_by_name_from_a_list() {
        let list = |items: Value| -> (Option<String>, Option<String>) {
            let list = json!({"kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": items});
            let list: RawList = serde_json::from_value(list).unwrap_or_default();
            let (pod, version) = list.read("web");
            (pod.map(|pod| pod.uid), version)
        };
        let seven = Some("7".to_owned());
        assert_eq!(list(json!(null)), (None, seven.clone()));
        let pods =
            json!([{"metadata": {"name": "other", "uid": "1"}}, {"metadata": {"name": "web", "uid": "2"}}]);
        assert_eq!(list(pods), (Some("2".to_owned()), seven));
    }
}
