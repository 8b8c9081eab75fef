//! The plan of a pod of an ensemble: complete, with every default filled in.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use ensemble::member::LONGEST_ID;
use serde::{Deserialize, Serialize};

use super::identity::{self, Identity, Sources};
use super::peers::Peer;
use spec::store::StorePlan;
use spec::text::without_login;

/// The default port.
pub const DEFAULT_PORT: u16 = 8000;
/// The default time after which a member without keepalives is removed.
pub const DEFAULT_TTL: Duration = Duration::from_secs(25);
/// The default time after which a dead leader is replaced.
pub const DEFAULT_FAIL_OVER: Duration = Duration::from_secs(60);
/// The default delay between a membership change and the callback.
pub const DEFAULT_DAMPER: Duration = Duration::from_secs(10);
/// The default time limit of a callback.
pub const DEFAULT_CALLBACK_DEADLINE: Duration = Duration::from_secs(300);
/// The default address of statsd.
pub const DEFAULT_STATSD: &str = "127.0.0.1:8125";

/// Annotations of a pod that list the masters of a member: the older tool's, and sexton's.
pub const MASTERS: [&str; 2] = ["kontrol.unity3d.com/master", "sexton.dev/masters"];

/// The settings of a pod of an ensemble before its identity is known. What is not given is taken from the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnresolvedPlan {
    /// The sources of the identity, and the part of it that is given.
    pub sources: Sources,
    /// The name of the ensemble; None: the label `app`.
    pub app: Option<String>,
    /// None: the namespace of the pod.
    pub namespace: Option<String>,
    /// The pod must have a label `role`.
    pub needs_role: bool,
    /// The pod reports to masters.
    pub is_member: bool,
    /// Its role as callbacks see it; None: the label `role`.
    pub label_role: Option<String>,
    /// Its masters, separated by commas; None: those in an annotation.
    pub masters: Option<String>,
    pub payload: Payload,
    /// The name of another ensemble to which this one reports its digest and size.
    pub chain: Option<String>,
    /// Interval between keepalives.
    pub every: Duration,
    /// The pod keeps the member list.
    pub master: Option<MasterPlan>,
    /// The store is the etcd of the node.
    pub etcd_of_node: bool,
    pub access: Access,
    /// The statsd server for counters.
    pub statsd: Option<SocketAddr>,
}

/// Authentication and authorisation of requests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Access {
    /// File with the token required to run commands.
    pub token: Option<PathBuf>,
    /// Commands require no authentication.
    pub unauthenticated_invoke: bool,
    /// The user and group of commands; None: those of sexton.
    pub invoke_user: Option<(u32, u32)>,
    /// Keepalives require it too, and those sent present it.
    pub authenticated_keepalives: bool,
    /// The server certificate, without which nothing is encrypted, and the CA bundle.
    pub tls: spec::tls::Files,
}

/// The payload of a member's keepalives.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Payload {
    #[default]
    Nothing,
    /// The content of this JSON file.
    File(PathBuf),
    /// The state of the processes of the `up` with this control socket.
    Processes(PathBuf),
}

impl UnresolvedPlan {
    /// Completes the plan with what is known of the pod.
    ///
    /// # Errors
    ///
    /// The option that is missing or invalid.
    pub fn complete(&self, known: &Identity) -> Result<EnsemblePlan, String> {
        let label = |name: &str| known.labels.get(name).cloned();
        let app = self.app.clone().or_else(|| label("app"));
        let app =
            app.ok_or("--app is missing: expected the name of the ensemble, or a label app of the pod")?;
        let namespace = self.namespace.clone().or_else(|| known.namespace.clone());
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        let id = known.id.clone().unwrap_or_else(identity::host_name);
        for (option, name) in [("--app", &app), ("--namespace", &namespace), ("--id", &id)] {
            check_name(option, name)?;
        }
        let annotated = || MASTERS.iter().find_map(|name| known.annotations.get(*name).cloned());
        let masters = peers(self.masters.clone().or_else(annotated).as_deref())?;
        if self.is_member && self.master.is_none() && masters.is_empty() {
            return Err("--masters is missing: expected the masters to which this member reports".to_owned());
        }
        if self.chain.is_some() && (self.master.is_none() || masters.is_empty()) {
            let why =
                "--report-app requires the role master or both, and the --masters of the other ensemble";
            return Err(why.to_owned());
        }
        if let Some(chain) = &self.chain {
            check_name("--report-app", chain)?;
            if *chain == app {
                return Err(format!("--report-app '{chain}': expected the name of another ensemble"));
            }
        }
        let ip = match &known.ip {
            Some(text) => {
                let parsed: Result<IpAddr, _> = text.parse();
                parsed.map_err(|_| format!("--ip '{text}': expected an IPv4 or IPv6 address"))?.to_string()
            }
            None => own_address(masters.first()).map_or_else(|| "127.0.0.1".to_owned(), |ip| ip.to_string()),
        };
        let role = self.label_role.clone().or_else(|| label("role"));
        if self.needs_role && role.is_none() {
            return Err("the pod has no label role".to_owned());
        }
        let role = role.unwrap_or_else(|| "member".to_owned());
        let mut master = self.master.clone();
        if self.etcd_of_node
            && let Some(master) = &mut master
            && let StorePlan::Etcd { endpoints, .. } = &mut master.store
        {
            let node = known.node.ip.clone();
            let node = node.ok_or("KONTROL_ETCD is not set, and the address of the node is unknown")?;
            *endpoints = vec![bracketed(&node)];
        }
        let member = |masters| MemberPlan {
            ip: ip.clone(),
            role: role.clone(),
            masters,
            payload: self.payload.clone(),
            every: self.every,
        };
        let (masters, chain) = match &self.chain {
            None => (masters, None),
            Some(app) => (Vec::new(), Some(ChainPlan { app: app.clone(), member: member(masters) })),
        };
        Ok(EnsemblePlan {
            namespace,
            app,
            id,
            member: self.is_member.then(|| member(masters)),
            chain,
            master,
            access: self.access.clone(),
            statsd: self.statsd,
        })
    }
}

/// An address as it is written before a port: IPv6 in brackets.
#[must_use]
pub fn bracketed(address: &str) -> String {
    if address.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{address}]") } else { address.to_owned() }
}

fn check_name(option: &str, name: &str) -> Result<(), String> {
    let is_long = name.len() > LONGEST_ID;
    if name.is_empty() || is_long || name.contains('/') || name.chars().any(char::is_control) {
        return Err(format!(
            "{option} '{name}': expected a name without '/' and control characters, of at most {LONGEST_ID} bytes"
        ));
    }
    Ok(())
}

fn peers(list: Option<&str>) -> Result<Vec<Peer>, String> {
    let names = list.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| name.parse().map_err(|why| format!("--masters '{}': {why}", without_login(name))))
        .collect()
}

/// The source address of connections to a peer. Nothing is sent.
fn own_address(to: Option<&Peer>) -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    let (host, port) = to.map_or(("192.0.2.1", 1), |peer| (peer.at.host.as_str(), peer.at.port));
    socket.connect((host, port)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Another ensemble to which this one reports.
#[derive(Debug, Clone)]
pub struct ChainPlan {
    pub app: String,
    /// The rest of the report.
    pub member: MemberPlan,
}

/// The settings of a pod of an ensemble.
#[derive(Debug, Clone)]
pub struct EnsemblePlan {
    pub namespace: String,
    pub app: String,
    /// The name of this pod.
    pub id: String,
    /// The pod reports to masters.
    pub member: Option<MemberPlan>,
    pub chain: Option<ChainPlan>,
    /// The pod keeps the member list.
    pub master: Option<MasterPlan>,
    pub access: Access,
    /// The statsd server for counters.
    pub statsd: Option<SocketAddr>,
}

/// A member.
#[derive(Debug, Clone)]
pub struct MemberPlan {
    pub ip: String,
    /// Its role as callbacks see it.
    pub role: String,
    /// Empty: the pod is a master too, and reports to itself.
    pub masters: Vec<Peer>,
    pub payload: Payload,
    /// Interval between keepalives.
    pub every: Duration,
}

/// A master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterPlan {
    pub store: StorePlan,
    /// Time after which a member without keepalives is removed.
    pub ttl: Duration,
    /// Time after which a dead leader is replaced.
    pub fail_over: Duration,
    /// Delay between the last membership change and the callback.
    pub damper: Duration,
    /// It campaigns also without a callback, for processes that know this key.
    pub leads: Option<String>,
    /// The command that the leader runs, and its arguments.
    pub callback: Option<Vec<String>>,
    /// Time limit of the callback.
    pub callback_deadline: Duration,
}

impl MasterPlan {
    /// Whether there is a reason to campaign for leadership.
    #[must_use]
    pub const fn wants_to_lead(&self) -> bool {
        self.leads.is_some() || self.callback.is_some()
    }
}

impl EnsemblePlan {
    /// The peers that this pod connects to.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        let chained = self.chain.iter().map(|chain| &chain.member);
        self.member.iter().chain(chained).flat_map(|member| &member.masters)
    }

    /// The prefix of all its keys in the store.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("/kontrol/{}/{}/", self.namespace, self.app)
    }
}
