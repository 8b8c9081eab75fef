//! The section `ensemble` of `sexton.yaml`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::words::{HumanDuration, Map, OneOrMany, Text};

/// A pod of an ensemble. Each is the option of `sexton ensemble` of its name.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Ensemble {
    /// What this pod is: it reports to masters, keeps the list, or both
    pub role: Option<EnsembleRole>,
    /// The name of the ensemble [default: the pod's label app]
    pub app: Option<String>,
    /// Whose ensemble [default: the pod's namespace, or default]
    pub namespace: Option<String>,
    /// The name of this pod, unique in the ensemble [default: the host's]
    pub id: Option<String>,
    /// The address of this pod [default: that by which it would reach its first master]
    pub ip: Option<String>,
    /// What this pod is for, as callbacks see it [default: the pod's label role, or member]
    pub label_role: Option<String>,
    /// Labels of the pod
    pub labels: Option<Map<String>>,
    /// Annotations of the pod; sexton.dev/masters are its masters
    pub annotations: Option<Map<String>>,
    /// Ask the Kubernetes API for what is not given
    pub from_kubernetes: Option<bool>,
    /// A directory with files of the downward API
    pub pod_info: Option<String>,
    /// The address of its node
    pub host: Option<String>,
    /// The name of its node
    pub node: Option<String>,
    /// The cloud whose metadata service is asked for the name of the node: auto, aws, gcp or azure
    pub cloud: Option<String>,
    /// Whom a member reports to: host or host:port; with https://, zerorpc:// or zerorpcs:// before it, by that
    pub masters: Option<OneOrMany<String>>,
    /// A master's masters are those of this other ensemble
    pub report_app: Option<String>,
    /// What a member tells: a file of JSON, or `status`: how the processes of this file are
    pub payload: Option<String>,
    /// A member that is silent for so long is gone [default: 25s]
    pub member_ttl: Option<HumanDuration>,
    /// A leader that is dead is replaced within this time [default: 60s]
    pub fail_over: Option<HumanDuration>,
    /// From the last change of the list to the callback [default: 10s]
    pub damper: Option<HumanDuration>,
    /// What the leader runs when the list has changed: a command, split at blanks
    pub callback: Option<String>,
    /// The same, given to sh -c
    pub shell_callback: Option<String>,
    /// How long it may take before it is killed [default: 5m]
    pub callback_deadline: Option<HumanDuration>,
    /// The file of the store, where there is no etcd
    pub store: Option<String>,
    /// The nodes of etcd
    pub etcd: Option<OneOrMany<String>>,
    /// The certificates (PEM) of which one must have signed etcd's
    pub etcd_ca: Option<String>,
    /// Our certificate for etcd (PEM)
    pub etcd_cert: Option<String>,
    /// Its key (PEM)
    pub etcd_key: Option<String>,
    /// Our name there
    pub etcd_user: Option<String>,
    /// The file with the password that goes with it
    pub etcd_password_file: Option<String>,
    /// The file with the token that whoever wants a command run has to show
    pub token_file: Option<String>,
    /// Whoever reports has to show the token or a certificate too, and what we report shows ours
    pub authenticated_keepalives: Option<bool>,
    /// Commands run as this user: USER or USER:GROUP [default: ours]
    pub invoke_user: Option<String>,
    /// Whoever reaches the port may have us run commands
    pub allow_unauthenticated_invoke: Option<bool>,
    /// Our certificate (PEM): with it, all that comes to the port must be encrypted
    pub tls_cert: Option<String>,
    /// Its key (PEM)
    pub tls_key: Option<String>,
    /// The certificates (PEM) of which one must have signed the masters' and those of whoever wants a command run
    pub tls_ca: Option<String>,
    /// Where counters are sent, or none [default: 127.0.0.1:8125]
    pub statsd: Option<String>,
    /// The address to listen at [default: 0.0.0.0]
    pub interface: Option<String>,
    /// Where it listens [default: 8000]
    pub port: Option<Text>,
}

/// What a pod of an ensemble is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EnsembleRole {
    /// It reports to masters
    Member,
    /// It keeps the list
    Master,
    /// It does both
    Both,
}
