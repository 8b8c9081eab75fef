//! The settings of a pod of an ensemble before its identity is known, and the sources of its identity.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lock::HttpAddress;
use crate::store::StorePlan;
use crate::text::hide_credentials;

/// Labels or annotations.
pub type Pairs = BTreeMap<String, String>;

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
    pub tls: crate::tls::TlsFiles,
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

/// An address as it is written before a port: IPv6 in brackets.
#[must_use]
pub fn bracketed(address: &str) -> String {
    if address.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{address}]") } else { address.to_owned() }
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

/// What is known of this pod.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// The name of the lock.
    pub id: Option<String>,
    /// The namespace that it is in.
    pub namespace: Option<String>,
    /// Its address.
    pub ip: Option<String>,
    /// Its labels.
    pub labels: Pairs,
    /// Its annotations.
    pub annotations: Pairs,
    /// Its node.
    pub node: Node,
}

/// What is known of the node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Node {
    /// The name of the lock.
    pub name: Option<String>,
    /// Its address.
    pub ip: Option<String>,
    /// Its labels.
    pub labels: Pairs,
    /// Its annotations.
    pub annotations: Pairs,
}

/// The sources of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sources {
    /// The configured identity, which takes precedence.
    pub given: Identity,
    /// The Kubernetes API.
    pub kubernetes: bool,
    /// A directory with files of the downward API.
    pub directory: Option<PathBuf>,
    /// A cloud, if nothing else knows the node.
    pub cloud: Option<CloudSelector>,
}

impl Identity {
    /// Takes over from another what is missing.
    pub fn fill_missing(&mut self, other: Self) {
        let Self { id, namespace, ip, labels, annotations, node } = other;
        fill(&mut self.id, id);
        fill(&mut self.namespace, namespace);
        fill(&mut self.ip, ip);
        fill_pairs(&mut self.labels, labels);
        fill_pairs(&mut self.annotations, annotations);
        self.node.fill_missing(node);
    }
}

impl Node {
    /// Takes over from another what is missing.
    pub fn fill_missing(&mut self, other: Self) {
        let Self { name, ip, labels, annotations } = other;
        fill(&mut self.name, name);
        fill(&mut self.ip, ip);
        fill_pairs(&mut self.labels, labels);
        fill_pairs(&mut self.annotations, annotations);
    }
}

fn fill(known: &mut Option<String>, other: Option<String>) {
    if known.is_none() {
        *known = other;
    }
}

fn fill_pairs(known: &mut Pairs, other: Pairs) {
    for (name, value) in other {
        known.entry(name).or_insert(value);
    }
}

impl Sources {
    /// Whether there is a source besides what is given.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.kubernetes || self.directory.is_some() || self.cloud.is_some()
    }
}

/// The metadata services that are queried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloudSelector {
    /// All of them: the first that answers.
    Any,
    /// This one.
    One(Cloud),
}

/// A cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cloud {
    /// Amazon Web Services.
    Aws,
    /// Google Cloud.
    Gcp,
    /// Microsoft Azure.
    Azure,
}

impl FromStr for CloudSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Any),
            "aws" => Ok(Self::One(Cloud::Aws)),
            "gcp" => Ok(Self::One(Cloud::Gcp)),
            "azure" => Ok(Self::One(Cloud::Azure)),
            _ => Err("expected auto, aws, gcp or azure".to_owned()),
        }
    }
}

/// How long the lease of a leader lasts, so that another leads when this time has passed since it died. Where the lock
/// waits once more after it has lapsed, a lease is somewhat less than half of it, in whole seconds since etcd has no
/// others.
#[must_use]
pub fn leader_lease_ttl(fail_over: Duration, waits_after_lapse: bool) -> Duration {
    if !waits_after_lapse {
        return fail_over;
    }
    let part = fail_over.mul_f64(0.45);
    if part < Duration::from_secs(1) { fail_over / 2 } else { Duration::from_secs(part.as_secs()) }
}

/// How long a lease may last of a leadership that lasts so long.
#[must_use]
pub fn derived_lease_ttl(leadership: Duration) -> Duration {
    leadership / 3
}

/// By what protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP.
    Http,
    /// The same over TLS.
    Https,
    /// ZeroRPC over ZeroMQ.
    ZeroRpc,
    /// The same over TLS.
    ZeroRpcs,
}

impl Scheme {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Http, "http"),
        (Self::Https, "https"),
        (Self::ZeroRpc, "zerorpc"),
        (Self::ZeroRpcs, "zerorpcs"),
    ];

    /// Does it go over TLS?
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::Https | Self::ZeroRpcs)
    }

    /// Whether it is ZeroRPC.
    #[must_use]
    pub const fn is_rpc(self) -> bool {
        matches!(self, Self::ZeroRpc | Self::ZeroRpcs)
    }
}

/// Another pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Where it is.
    pub at: HttpAddress,
}

impl FromStr for Peer {
    type Err = String;

    /// `host`, `host:port`, or with `http://`, `https://`, `zerorpc://` or `zerorpcs://` before it.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let found = Scheme::ALL.into_iter().find(|(_, name)| *name == scheme);
        let (scheme, _) = found.ok_or_else(|| {
            format!("unknown protocol '{scheme}': expected http, https, zerorpc or zerorpcs before the ://")
        })?;
        Ok(Self { scheme, at: HttpAddress::of_url(&format!("http://{rest}"), DEFAULT_PORT)? })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Scheme::ALL.into_iter().find(|(scheme, _)| *scheme == self.scheme);
        write!(f, "{}://{}", name.map_or("http", |(_, name)| name), self.at.authority())
    }
}

/// What the machine knows of itself.
pub trait Host {
    /// Its host name.
    fn name(&self) -> String;
    /// The source address of connections to a peer, or of those to other networks.
    fn address_towards(&self, peer: Option<&Peer>) -> Option<IpAddr>;
}

/// A host that knows nothing of itself, for checks before the program starts.
#[derive(Debug, Clone, Copy)]
pub struct UnknownHost;

impl Host for UnknownHost {
    fn name(&self) -> String {
        "localhost".to_owned()
    }

    fn address_towards(&self, _: Option<&Peer>) -> Option<IpAddr> {
        None
    }
}

/// The longest name of a pod or an ensemble, in bytes.
pub const MAX_ID: usize = 253;

/// Annotations of a pod that list the masters of a member: the older tool's, and sexton's.
pub const MASTERS: [&str; 2] = ["kontrol.unity3d.com/master", "sexton.dev/masters"];

fn check_name(option: &str, name: &str) -> Result<(), String> {
    let is_long = name.len() > MAX_ID;
    if name.is_empty() || is_long || name.contains('/') || name.chars().any(char::is_control) {
        return Err(format!(
            "{option} '{name}': expected a name without '/' and control characters, of at most {MAX_ID} bytes"
        ));
    }
    Ok(())
}

fn peers(list: Option<&str>) -> Result<Vec<Peer>, String> {
    let names = list.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| name.parse().map_err(|why| format!("--masters '{}': {why}", hide_credentials(name))))
        .collect()
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

impl UnresolvedPlan {
    /// Completes the plan with what is known of the pod.
    ///
    /// # Errors
    ///
    /// The option that is missing or invalid.
    pub fn complete(&self, known: &Identity, host: &dyn Host) -> Result<EnsemblePlan, String> {
        let label = |name: &str| known.labels.get(name).cloned();
        let app = self.app.clone().or_else(|| label("app"));
        let app =
            app.ok_or("--app is missing: expected the name of the ensemble, or a label app of the pod")?;
        let namespace = self.namespace.clone().or_else(|| known.namespace.clone());
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        let id = known.id.clone().unwrap_or_else(|| host.name());
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
            None => host
                .address_towards(masters.first())
                .map_or_else(|| "127.0.0.1".to_owned(), |ip| ip.to_string()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_leader_is_replaced_in_time_where_the_lock_waits_twice() {
        for seconds in 5..100 {
            let fail_over = Duration::from_secs(seconds);
            assert_eq!(leader_lease_ttl(fail_over, false), fail_over);
            let lease = leader_lease_ttl(fail_over, true);
            assert!(lease * 2 + Duration::from_millis(500) <= fail_over, "{lease:?} of {fail_over:?}");
            assert!(lease * 3 >= fail_over, "{lease:?} of {fail_over:?}");
        }
    }

    #[test]
    fn a_pod_is_a_host_with_or_without_a_port_and_a_protocol() {
        for (text, expected) in [
            ("a", Ok("http://a:8000")),
            ("a:1", Ok("http://a:1")),
            ("https://a", Ok("https://a:8000")),
            ("zerorpc://[::1]:7", Ok("zerorpc://[::1]:7")),
            ("zerorpcs://a", Ok("zerorpcs://a:8000")),
            ("tcp://a", Err("expected http, https, zerorpc")),
            ("https://a/b", Err("without a path")),
        ] {
            match (text.parse::<Peer>(), expected) {
                (Ok(peer), Ok(shown)) => assert_eq!(peer.to_string(), shown),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
    }
}
