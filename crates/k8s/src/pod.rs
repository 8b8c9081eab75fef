//! The few fields of a pod that matter here, read with patience: whatever is missing, null or new is no error.

use serde::Deserialize;

/// What the API says of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodState {
    /// Another pod of the same name has another one.
    pub uid: String,
    /// Which version of the pod this is; means something to the server only.
    pub resource_version: String,
    /// Init containers first, then the others, then ephemeral ones, each in the order of the spec. Containers of
    /// which the kubelet has said nothing yet are missing.
    pub containers: Vec<ContainerState>,
}

/// What the API says of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerState {
    /// Its name in the spec.
    pub name: String,
    /// Is it one of the init containers (which go on beside the others if they are sidecars)?
    pub init: bool,
    /// Passes its readiness probe; an init container that is no sidecar: has succeeded.
    pub ready: bool,
    /// Has passed its startup probe.
    pub started: bool,
    /// How often it was restarted.
    pub restart_count: u32,
    /// Whether it runs.
    pub state: State,
}

/// Whether a container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not yet, or not now.
    Waiting {
        /// Such as `PodInitializing` or `CrashLoopBackOff`.
        reason: Option<String>,
    },
    /// It does.
    Running,
    /// It has ended.
    Terminated {
        /// Its exit code.
        exit_code: i32,
        /// The signal that ended it, if the runtime tells.
        signal: Option<i32>,
        /// Such as `Completed`, `Error` or `OOMKilled`.
        reason: Option<String>,
    },
}

impl PodState {
    /// The container of this name.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&ContainerState> {
        self.containers.iter().find(|container| container.name == name)
    }
}

/// A pod as the API writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawPod {
    metadata: Option<RawMeta>,
    status: Option<RawStatus>,
}

/// A list of pods as the API writes it.
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
    /// The pod of this name, if it is in the list, and the version of the list.
    pub(crate) fn read(self, name: &str) -> (Option<PodState>, Option<String>) {
        let pod = self.items.unwrap_or_default().into_iter().find(|pod| pod.name() == Some(name));
        let version = self.metadata.and_then(|metadata| metadata.resource_version);
        (pod.map(RawPod::read), version.filter(|version| !version.is_empty()))
    }
}

impl RawContainer {
    /// A container without a name is none that anybody could ask for.
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
    /// A state that is not given is 'waiting', says the API's reference.
    fn read(self) -> State {
        match (self.terminated, self.running) {
            (Some(RawTerminated { exit_code, signal, reason }), _) => {
                State::Terminated { exit_code: exit_code.unwrap_or_default(), signal, reason }
            }
            (None, Some(RawRunning {})) => State::Running,
            (None, None) => State::Waiting { reason: self.waiting.and_then(|waiting| waiting.reason) },
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
    fn a_pod_of_the_pretend_server_is_read_whole() {
        let pod = read(crate::pretend::pod("shop", "web-0"));
        assert_eq!(pod.uid, "5f0c7b52-3f0e-4c55-a1a4-0f8f6f1f2a11");
        let told: Vec<_> = pod
            .containers
            .iter()
            .map(|it| (it.name.as_str(), it.init, it.ready, it.started, it.restart_count, it.state.clone()))
            .collect();
        let ended = |exit_code, signal, reason: &str| State::Terminated {
            exit_code,
            signal,
            reason: Some(reason.to_owned()),
        };
        assert_eq!(
            told,
            [
                ("migrate", true, true, false, 0, ended(0, None, "Completed")),
                ("proxy", true, true, true, 1, State::Running),
                (
                    "web",
                    false,
                    false,
                    false,
                    3,
                    State::Waiting { reason: Some("CrashLoopBackOff".to_owned()) }
                ),
                ("worker", false, false, false, 0, ended(137, Some(9), "OOMKilled")),
                ("debugger", false, false, false, 0, State::Running),
            ]
        );
        assert!(pod.container("proxy").is_some_and(|proxy| proxy.ready));
        assert_eq!(pod.container("nobody"), None);
    }

    #[test]
    fn what_is_missing_null_or_new_is_no_error() {
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
                state: State::Waiting { reason: None },
            };
            assert_eq!(pod.containers, [waiting], "{state}");
        }
    }

    #[test]
    fn only_the_pod_of_the_name_is_taken_from_a_list() {
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
