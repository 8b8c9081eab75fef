//! The parts of a Kubernetes manifest that describe processes.
//!
//! Keys that need a kubelet or a cluster are listed as [`Unsupported`], so that they are reported in a warning; any
//! other key is an error. A test checks the names against the schema of the API (`vocabulary.rs`,
//! `tools/kubernetes-vocabulary`).

use serde::Deserialize;

use super::native;
use super::words::{HumanDuration, Map, Text, TextList, Unsupported, Variables};

/// Any object that contains a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Manifest {
    pub(in super::super) api_version: Option<String>,
    pub(in super::super) kind: Option<String>,
    pub(in super::super) metadata: Option<Metadata>,
    pub(in super::super) spec: Option<Spec>,
    pub(in super::super) status: Option<Unsupported>,
}

/// The metadata of an object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    pub(in super::super) name: Option<String>,
    pub(in super::super) generate_name: Option<String>,
    pub(in super::super) namespace: Option<String>,
    pub(in super::super) labels: Option<Map<Text>>,
    pub(in super::super) annotations: Option<Map<Text>>,
    pub(in super::super) creation_timestamp: Option<Unsupported>,
    pub(in super::super) deletion_grace_period_seconds: Option<Unsupported>,
    pub(in super::super) deletion_timestamp: Option<Unsupported>,
    pub(in super::super) finalizers: Option<Unsupported>,
    pub(in super::super) generation: Option<Unsupported>,
    pub(in super::super) managed_fields: Option<Unsupported>,
    pub(in super::super) owner_references: Option<Unsupported>,
    pub(in super::super) resource_version: Option<Unsupported>,
    pub(in super::super) self_link: Option<Unsupported>,
    pub(in super::super) uid: Option<Unsupported>,
}

/// The spec of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Pod {
    pub(in super::super) containers: Vec<Container>,
    pub(in super::super) init_containers: Vec<Container>,
    pub(in super::super) restart_policy: Option<native::RestartPolicy>,
    pub(in super::super) termination_grace_period_seconds: Option<HumanDuration>,
    pub(in super::super) security_context: Option<PodSecurity>,
    pub(in super::super) active_deadline_seconds: Option<Unsupported>,
    pub(in super::super) affinity: Option<Unsupported>,
    pub(in super::super) automount_service_account_token: Option<Unsupported>,
    pub(in super::super) dns_config: Option<Unsupported>,
    pub(in super::super) dns_policy: Option<Unsupported>,
    pub(in super::super) enable_service_links: Option<Unsupported>,
    pub(in super::super) ephemeral_containers: Option<Unsupported>,
    pub(in super::super) host_aliases: Option<Unsupported>,
    #[serde(rename = "hostIPC")]
    pub(in super::super) host_ipc: Option<Unsupported>,
    pub(in super::super) host_network: Option<Unsupported>,
    #[serde(rename = "hostPID")]
    pub(in super::super) host_pid: Option<Unsupported>,
    pub(in super::super) host_users: Option<Unsupported>,
    pub(in super::super) hostname: Option<Unsupported>,
    pub(in super::super) hostname_override: Option<Unsupported>,
    pub(in super::super) image_pull_secrets: Option<Unsupported>,
    pub(in super::super) node_name: Option<Unsupported>,
    pub(in super::super) node_selector: Option<Unsupported>,
    pub(in super::super) os: Option<Unsupported>,
    pub(in super::super) overhead: Option<Unsupported>,
    pub(in super::super) preemption_policy: Option<Unsupported>,
    pub(in super::super) priority: Option<Unsupported>,
    pub(in super::super) priority_class_name: Option<Unsupported>,
    pub(in super::super) readiness_gates: Option<Unsupported>,
    pub(in super::super) resource_claims: Option<Unsupported>,
    pub(in super::super) resources: Option<Unsupported>,
    pub(in super::super) runtime_class_name: Option<Unsupported>,
    pub(in super::super) scheduler_name: Option<Unsupported>,
    pub(in super::super) scheduling_gates: Option<Unsupported>,
    pub(in super::super) service_account: Option<Unsupported>,
    pub(in super::super) service_account_name: Option<Unsupported>,
    #[serde(rename = "setHostnameAsFQDN")]
    pub(in super::super) set_hostname_as_fqdn: Option<Unsupported>,
    pub(in super::super) share_process_namespace: Option<Unsupported>,
    pub(in super::super) subdomain: Option<Unsupported>,
    pub(in super::super) tolerations: Option<Unsupported>,
    pub(in super::super) topology_spread_constraints: Option<Unsupported>,
    pub(in super::super) volumes: Option<Unsupported>,
    pub(in super::super) workload_ref: Option<Unsupported>,
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
    pub(in super::super) run_as_user: Option<Text>,
    pub(in super::super) run_as_group: Option<Text>,
    pub(in super::super) supplemental_groups: Option<Vec<Text>>,
    pub(in super::super) app_armor_profile: Option<Unsupported>,
    pub(in super::super) fs_group: Option<Unsupported>,
    pub(in super::super) fs_group_change_policy: Option<Unsupported>,
    pub(in super::super) run_as_non_root: Option<bool>,
    #[serde(rename = "seLinuxChangePolicy")]
    pub(in super::super) se_linux_change_policy: Option<Unsupported>,
    #[serde(rename = "seLinuxOptions")]
    pub(in super::super) se_linux_options: Option<Unsupported>,
    pub(in super::super) seccomp_profile: Option<Unsupported>,
    pub(in super::super) supplemental_groups_policy: Option<Unsupported>,
    pub(in super::super) sysctls: Option<Unsupported>,
    pub(in super::super) windows_options: Option<Unsupported>,
}

/// A container, which becomes a process.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    pub(in super::super) name: Option<String>,
    pub(in super::super) command: Option<TextList>,
    pub(in super::super) args: Option<TextList>,
    pub(in super::super) env: Option<Variables>,
    pub(in super::super) working_dir: Option<String>,
    pub(in super::super) liveness_probe: Option<native::Probe>,
    pub(in super::super) readiness_probe: Option<native::Probe>,
    pub(in super::super) startup_probe: Option<native::Probe>,
    pub(in super::super) lifecycle: Option<native::Lifecycle>,
    pub(in super::super) ports: Option<Vec<Port>>,
    pub(in super::super) resources: Option<Resources>,
    pub(in super::super) restart_policy: Option<native::RestartPolicy>,
    pub(in super::super) restart_policy_rules: Option<Vec<native::RestartPolicyRule>>,
    pub(in super::super) security_context: Option<ContainerSecurity>,
    pub(in super::super) env_from: Option<Unsupported>,
    pub(in super::super) image: Option<Unsupported>,
    pub(in super::super) image_pull_policy: Option<Unsupported>,
    pub(in super::super) resize_policy: Option<Unsupported>,
    pub(in super::super) stdin: Option<Unsupported>,
    pub(in super::super) stdin_once: Option<Unsupported>,
    pub(in super::super) termination_message_path: Option<Unsupported>,
    pub(in super::super) termination_message_policy: Option<Unsupported>,
    pub(in super::super) tty: Option<Unsupported>,
    pub(in super::super) volume_devices: Option<Unsupported>,
    pub(in super::super) volume_mounts: Option<Unsupported>,
}

/// A named port.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Port {
    pub(in super::super) name: Option<String>,
    pub(in super::super) container_port: Option<u16>,
    pub(in super::super) protocol: Option<Unsupported>,
    #[serde(rename = "hostIP")]
    pub(in super::super) host_ip: Option<Unsupported>,
    pub(in super::super) host_port: Option<Unsupported>,
}

/// Compute resources of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Resources {
    pub(in super::super) limits: Option<native::Limits>,
    pub(in super::super) requests: Option<Unsupported>,
    pub(in super::super) claims: Option<Unsupported>,
}

/// The security context of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerSecurity {
    pub(in super::super) run_as_user: Option<Text>,
    pub(in super::super) run_as_group: Option<Text>,
    pub(in super::super) allow_privilege_escalation: Option<bool>,
    pub(in super::super) app_armor_profile: Option<Unsupported>,
    pub(in super::super) capabilities: Option<Unsupported>,
    pub(in super::super) privileged: Option<Unsupported>,
    pub(in super::super) proc_mount: Option<Unsupported>,
    pub(in super::super) read_only_root_filesystem: Option<Unsupported>,
    pub(in super::super) run_as_non_root: Option<bool>,
    #[serde(rename = "seLinuxOptions")]
    pub(in super::super) se_linux_options: Option<Unsupported>,
    pub(in super::super) seccomp_profile: Option<Unsupported>,
    pub(in super::super) windows_options: Option<Unsupported>,
}
