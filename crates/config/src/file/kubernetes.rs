//! The parts of a Kubernetes manifest that describe processes.
//!
//! Keys that need a kubelet or a cluster are listed as [`Unsupported`], so that they are reported in a warning; any
//! other key is an error. A test checks the names against the schema of the API (`vocabulary.rs`,
//! `tools/kubernetes-vocabulary`).

use serde::Deserialize;

use crate::file::native;
use crate::file::scalars::{HumanDuration, Map, Text, TextList, Unsupported, Variables};

/// Any object that contains a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Manifest {
    pub(crate) api_version: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) spec: Option<Spec>,
    pub(crate) status: Option<Unsupported>,
}

/// The metadata of an object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    pub(crate) name: Option<String>,
    pub(crate) generate_name: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) labels: Option<Map<Text>>,
    pub(crate) annotations: Option<Map<Text>>,
    pub(crate) creation_timestamp: Option<Unsupported>,
    pub(crate) deletion_grace_period_seconds: Option<Unsupported>,
    pub(crate) deletion_timestamp: Option<Unsupported>,
    pub(crate) finalizers: Option<Unsupported>,
    pub(crate) generation: Option<Unsupported>,
    pub(crate) managed_fields: Option<Unsupported>,
    pub(crate) owner_references: Option<Unsupported>,
    pub(crate) resource_version: Option<Unsupported>,
    pub(crate) self_link: Option<Unsupported>,
    pub(crate) uid: Option<Unsupported>,
}

/// The spec of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Pod {
    pub(crate) containers: Vec<Container>,
    pub(crate) init_containers: Vec<Container>,
    pub(crate) restart_policy: Option<native::RestartPolicy>,
    pub(crate) termination_grace_period_seconds: Option<HumanDuration>,
    pub(crate) security_context: Option<PodSecurity>,
    pub(crate) active_deadline_seconds: Option<Unsupported>,
    pub(crate) affinity: Option<Unsupported>,
    pub(crate) automount_service_account_token: Option<Unsupported>,
    pub(crate) dns_config: Option<Unsupported>,
    pub(crate) dns_policy: Option<Unsupported>,
    pub(crate) enable_service_links: Option<Unsupported>,
    pub(crate) ephemeral_containers: Option<Unsupported>,
    pub(crate) host_aliases: Option<Unsupported>,
    #[serde(rename = "hostIPC")]
    pub(crate) host_ipc: Option<Unsupported>,
    pub(crate) host_network: Option<Unsupported>,
    #[serde(rename = "hostPID")]
    pub(crate) host_pid: Option<Unsupported>,
    pub(crate) host_users: Option<Unsupported>,
    pub(crate) hostname: Option<Unsupported>,
    pub(crate) hostname_override: Option<Unsupported>,
    pub(crate) image_pull_secrets: Option<Unsupported>,
    pub(crate) node_name: Option<Unsupported>,
    pub(crate) node_selector: Option<Unsupported>,
    pub(crate) os: Option<Unsupported>,
    pub(crate) overhead: Option<Unsupported>,
    pub(crate) preemption_policy: Option<Unsupported>,
    pub(crate) priority: Option<Unsupported>,
    pub(crate) priority_class_name: Option<Unsupported>,
    pub(crate) readiness_gates: Option<Unsupported>,
    pub(crate) resource_claims: Option<Unsupported>,
    pub(crate) resources: Option<Unsupported>,
    pub(crate) runtime_class_name: Option<Unsupported>,
    pub(crate) scheduler_name: Option<Unsupported>,
    pub(crate) scheduling_gates: Option<Unsupported>,
    pub(crate) service_account: Option<Unsupported>,
    pub(crate) service_account_name: Option<Unsupported>,
    #[serde(rename = "setHostnameAsFQDN")]
    pub(crate) set_hostname_as_fqdn: Option<Unsupported>,
    pub(crate) share_process_namespace: Option<Unsupported>,
    pub(crate) subdomain: Option<Unsupported>,
    pub(crate) tolerations: Option<Unsupported>,
    pub(crate) topology_spread_constraints: Option<Unsupported>,
    pub(crate) volumes: Option<Unsupported>,
    pub(crate) workload_ref: Option<Unsupported>,
}

/// The `spec` of an object; only its pod is read.
#[derive(Debug, Clone, Default)]
pub struct Spec;

impl<'de> Deserialize<'de> for Spec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// The security context of all containers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSecurity {
    pub(crate) run_as_user: Option<Text>,
    pub(crate) run_as_group: Option<Text>,
    pub(crate) supplemental_groups: Option<Vec<Text>>,
    pub(crate) app_armor_profile: Option<Unsupported>,
    pub(crate) fs_group: Option<Unsupported>,
    pub(crate) fs_group_change_policy: Option<Unsupported>,
    pub(crate) run_as_non_root: Option<bool>,
    #[serde(rename = "seLinuxChangePolicy")]
    pub(crate) se_linux_change_policy: Option<Unsupported>,
    #[serde(rename = "seLinuxOptions")]
    pub(crate) se_linux_options: Option<Unsupported>,
    pub(crate) seccomp_profile: Option<Unsupported>,
    pub(crate) supplemental_groups_policy: Option<Unsupported>,
    pub(crate) sysctls: Option<Unsupported>,
    pub(crate) windows_options: Option<Unsupported>,
}

/// A container, which becomes a process.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    pub(crate) name: Option<String>,
    pub(crate) command: Option<TextList>,
    pub(crate) args: Option<TextList>,
    pub(crate) env: Option<Variables>,
    pub(crate) working_dir: Option<String>,
    pub(crate) liveness_probe: Option<native::Probe>,
    pub(crate) readiness_probe: Option<native::Probe>,
    pub(crate) startup_probe: Option<native::Probe>,
    pub(crate) lifecycle: Option<native::Lifecycle>,
    pub(crate) ports: Option<Vec<Port>>,
    pub(crate) resources: Option<Resources>,
    pub(crate) restart_policy: Option<native::RestartPolicy>,
    pub(crate) restart_policy_rules: Option<Vec<native::RestartPolicyRule>>,
    pub(crate) security_context: Option<ContainerSecurity>,
    pub(crate) env_from: Option<Unsupported>,
    pub(crate) image: Option<Unsupported>,
    pub(crate) image_pull_policy: Option<Unsupported>,
    pub(crate) resize_policy: Option<Unsupported>,
    pub(crate) stdin: Option<Unsupported>,
    pub(crate) stdin_once: Option<Unsupported>,
    pub(crate) termination_message_path: Option<Unsupported>,
    pub(crate) termination_message_policy: Option<Unsupported>,
    pub(crate) tty: Option<Unsupported>,
    pub(crate) volume_devices: Option<Unsupported>,
    pub(crate) volume_mounts: Option<Unsupported>,
}

/// A named port.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Port {
    pub(crate) name: Option<String>,
    pub(crate) container_port: Option<u16>,
    pub(crate) protocol: Option<Unsupported>,
    #[serde(rename = "hostIP")]
    pub(crate) host_ip: Option<Unsupported>,
    pub(crate) host_port: Option<Unsupported>,
}

/// Compute resources of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Resources {
    pub(crate) limits: Option<native::Limits>,
    pub(crate) requests: Option<Unsupported>,
    pub(crate) claims: Option<Unsupported>,
}

/// The security context of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerSecurity {
    pub(crate) run_as_user: Option<Text>,
    pub(crate) run_as_group: Option<Text>,
    pub(crate) allow_privilege_escalation: Option<bool>,
    pub(crate) app_armor_profile: Option<Unsupported>,
    pub(crate) capabilities: Option<Unsupported>,
    pub(crate) privileged: Option<Unsupported>,
    pub(crate) proc_mount: Option<Unsupported>,
    pub(crate) read_only_root_filesystem: Option<Unsupported>,
    pub(crate) run_as_non_root: Option<bool>,
    #[serde(rename = "seLinuxOptions")]
    pub(crate) se_linux_options: Option<Unsupported>,
    pub(crate) seccomp_profile: Option<Unsupported>,
    pub(crate) windows_options: Option<Unsupported>,
}
