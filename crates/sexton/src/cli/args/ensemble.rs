//! The words of `sexton ensemble`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::StoreOptions;
use crate::config::resolve::{RawEnsemble, RawIdentity};

/// What to ask a running pod of an ensemble.
#[derive(Debug, Subcommand)]
pub enum EnsembleAsk {
    /// What a master knows, for people: whether it leads, the digest, the last callback, the members
    Status(EnsembleClient),
    /// What has happened lately, as lines of JSON
    Events {
        /// And what happens
        #[arg(short, long)]
        follow: bool,
        /// Of whom
        #[command(flatten)]
        client: EnsembleClient,
    },
    /// The members that are up, in their order
    Pods(EnsembleClient),
    /// Whether the master that is asked leads, and with which number
    Leader(EnsembleClient),
    /// The digest of the list
    Digest(EnsembleClient),
    /// What the last callback has printed
    State(EnsembleClient),
    /// The last runs of the callback
    Callbacks(EnsembleClient),
    /// Fill a template (Jinja) with what is known of this pod, its node and the members
    ///
    /// It may name id, namespace, ip, labels, annotations, node (name, ip, labels, annotations) and pods (of --pod, as
    /// callbacks see them). What is not there is an error; `default` and `is defined` ask for it.
    Render {
        /// Of whoever wants to know who this pod is
        #[command(flatten)]
        identity: IdentityOptions,
        /// A master that tells who is there [default: nobody is asked]
        #[arg(long, value_name = "POD")]
        pod: Option<String>,
        /// The certificates (PEM) of which one must have signed the master's [default: the system's]
        #[arg(long, value_name = "FILE")]
        tls_ca: Option<PathBuf>,
        /// Where it is written [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// The template
        #[arg(value_name = "TEMPLATE")]
        template: PathBuf,
    },
    /// Have a pod run a command of the shell, and print what it prints
    Invoke {
        /// The file with the token that the pod wants
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// Of whom
        #[command(flatten)]
        client: EnsembleClient,
        /// The command
        command: String,
    },
}

/// Whom to ask.
#[derive(Debug, Clone, Args)]
pub struct EnsembleClient {
    /// The pod: host or host:port, with http:// (the default), https://, zerorpc:// or zerorpcs:// before it
    #[arg(long, value_name = "POD", default_value = "localhost")]
    pub(in crate::cli) pod: String,
    /// The certificates (PEM) of which one must have signed the pod's [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) tls_ca: Option<PathBuf>,
    /// Our certificate (PEM), for a pod that wants one
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) tls_key: Option<PathBuf>,
}

/// Options of `ensemble`.
#[derive(Debug, Clone, Default, Args)]
pub struct EnsembleOptions {
    /// What this pod is: it reports to masters, keeps the list, or both
    #[arg(long, value_name = "ROLE", value_parser = ["member", "master", "both"], required = true)]
    pub(in crate::cli) role: Option<String>,
    /// The name of the ensemble [default: the pod's label app]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) app: Option<String>,
    /// Of whoever wants to know who this pod is
    #[command(flatten)]
    pub(in crate::cli) identity: IdentityOptions,
    /// What this pod is for, as callbacks see it [default: the pod's label role, or member]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) label_role: Option<String>,
    /// Whom a member reports to: host or host:port, several with commas; with https://, zerorpc:// or zerorpcs:// before it, by that
    #[arg(long, value_name = "MASTERS")]
    pub(in crate::cli) masters: Option<String>,
    /// A master's --masters are those of this other ensemble, and are told the digest and the size of its own
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) report_app: Option<String>,
    /// A file of JSON that a member tells; a change of it is told at once
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) payload: Option<String>,
    /// Tell how the processes are of an `up` with this control socket
    #[arg(long, value_name = "SOCKET", conflicts_with = "payload")]
    pub(in crate::cli) payload_of: Option<String>,
    /// A member that is silent for so long is gone; it reports every 3/4 of that [default: 25s]
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) member_ttl: Option<String>,
    /// How long the place of a leader is held that is dead [default: 60s]
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) fail_over: Option<String>,
    /// From the last change of the list to the callback [default: 10s]
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) damper: Option<String>,
    /// What the leader runs when the list has changed: a command, split at blanks
    #[arg(long, value_name = "COMMAND", conflicts_with = "shell_callback")]
    pub(in crate::cli) callback: Option<String>,
    /// The same, given to sh -c
    #[arg(long, value_name = "SCRIPT")]
    pub(in crate::cli) shell_callback: Option<String>,
    /// Want to lead also without a callback, for processes that run by it and know this word
    #[arg(long, hide = true)]
    pub(in crate::cli) leads: Option<String>,
    /// How long it may take before it is killed [default: 5m]
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) callback_deadline: Option<String>,
    /// The file with the token that whoever wants a command run has to show; without it and --tls-ca there are no commands
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) token_file: Option<String>,
    /// Whoever reaches the port may have us run commands
    #[arg(long)]
    pub(in crate::cli) allow_unauthenticated_invoke: bool,
    /// Commands run as this user: USER or USER:GROUP, by names or numbers [default: ours]
    #[arg(long, value_name = "USER")]
    pub(in crate::cli) invoke_user: Option<String>,
    /// Whoever reports has to show the token or a certificate too, and what we report shows ours
    #[arg(long)]
    pub(in crate::cli) authenticated_keepalives: bool,
    /// Our certificate (PEM): with it, all that comes to the port must be encrypted
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) tls_cert: Option<String>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) tls_key: Option<String>,
    /// The certificates (PEM) of which one must have signed the masters'; whoever shows one that they have signed may have us run commands [default: the system's, and nobody]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) tls_ca: Option<String>,
    /// Where counters are sent, or none [default: 127.0.0.1:8125]
    #[arg(long, value_name = "ADDRESS")]
    pub(in crate::cli) statsd: Option<String>,
    /// Of a store
    #[command(flatten)]
    pub(in crate::cli) store: StoreOptions,
}

/// Who this pod is.
#[derive(Debug, Clone, Default, Args)]
pub struct IdentityOptions {
    /// Whose ensemble [default: the pod's namespace, or default]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) namespace: Option<String>,
    /// The name of this pod, unique in the ensemble [default: the host's]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) id: Option<String>,
    /// The address of this pod [default: that by which it would reach its first master]
    #[arg(long, value_name = "ADDRESS")]
    pub(in crate::cli) ip: Option<String>,
    /// The address of its node
    #[arg(long, value_name = "ADDRESS")]
    pub(in crate::cli) host: Option<String>,
    /// The name of its node [default: NODE_NAME]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) node: Option<String>,
    /// Labels of the pod, as JSON
    #[arg(long, value_name = "JSON")]
    pub(in crate::cli) labels: Option<String>,
    /// Annotations of the pod, as JSON; sexton.dev/masters are its masters
    #[arg(long, value_name = "JSON")]
    pub(in crate::cli) annotations: Option<String>,
    /// Ask the Kubernetes API for what is not given: labels, annotations, addresses, the node
    #[arg(long)]
    pub(in crate::cli) from_kubernetes: bool,
    /// A directory with files of the downward API: labels, annotations, name, namespace
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) pod_info: Option<String>,
    /// Ask the metadata service of a cloud for the name of the node, if nobody else knows it
    #[arg(long, value_name = "auto|aws|gcp|azure")]
    pub(in crate::cli) cloud: Option<String>,
}

impl EnsembleOptions {
    pub(in crate::cli) fn raw(self) -> RawEnsemble {
        RawEnsemble {
            role: self.role.unwrap_or_default(),
            app: self.app,
            identity: self.identity.raw(),
            label_role: self.label_role,
            masters: self.masters,
            report_app: self.report_app,
            payload: self.payload,
            payload_of: self.payload_of,
            member_ttl: self.member_ttl,
            fail_over: self.fail_over,
            damper: self.damper,
            callback: self.callback,
            shell_callback: self.shell_callback,
            callback_deadline: self.callback_deadline,
            leads: self.leads,
            token_file: self.token_file,
            allow_unauthenticated_invoke: self.allow_unauthenticated_invoke,
            invoke_user: self.invoke_user,
            authenticated_keepalives: self.authenticated_keepalives,
            tls_cert: self.tls_cert,
            tls_key: self.tls_key,
            tls_ca: self.tls_ca,
            statsd: self.statsd,
            etcd_of_node: false,
            needs_role: false,
            store: self.store.raw(),
        }
    }
}

impl IdentityOptions {
    pub(in crate::cli) fn raw(self) -> RawIdentity {
        RawIdentity {
            namespace: self.namespace,
            id: self.id,
            ip: self.ip,
            host: self.host,
            node: self.node,
            labels: self.labels,
            annotations: self.annotations,
            from_kubernetes: self.from_kubernetes,
            pod_info: self.pod_info,
            cloud: self.cloud,
        }
    }
}
