//! What an ensemble is asked to do: complete, with every default filled in.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use ensemble::member::LONGEST_ID;

use super::identity::{self, Identity, Sources};
use super::peers::Peer;
use spec::store::StorePlan;
use spec::text::without_login;

/// The port of an ensemble.
pub const DEFAULT_PORT: u16 = 8000;
/// A member that is silent for so long is gone.
pub const DEFAULT_TTL: Duration = Duration::from_secs(25);
/// A dead leader's place is held so long.
pub const DEFAULT_FAIL_OVER: Duration = Duration::from_secs(60);
/// From a change to the callback.
pub const DEFAULT_DAMPER: Duration = Duration::from_secs(10);
/// How long a callback may take.
pub const DEFAULT_CALLBACK_DEADLINE: Duration = Duration::from_secs(300);
/// Where statsd is.
pub const DEFAULT_STATSD: &str = "127.0.0.1:8125";

/// Whom a member reports to, as annotations of its pod: the older tool's word, and ours.
pub const MASTERS: [&str; 2] = ["kontrol.unity3d.com/master", "sexton.dev/masters"];

/// An ensemble as it was asked for. What is not given is taken from the pod, when that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Who is asked who we are, and what is known of that.
    pub sources: Sources,
    /// The name of the ensemble, if it is not the label `app`.
    pub app: Option<String>,
    /// Whose ensemble, if it is not that of the pod's namespace.
    pub namespace: Option<String>,
    /// There must be a label `role`.
    pub needs_role: bool,
    /// It reports.
    pub is_member: bool,
    /// What it is for, if that is not the label `role`.
    pub label_role: Option<String>,
    /// Whom it reports to, if an annotation does not say.
    pub masters: Option<String>,
    /// What it tells.
    pub payload: Payload,
    /// Another ensemble, which is told of this one.
    pub chain: Option<String>,
    /// How often it reports.
    pub every: Duration,
    /// It keeps the list.
    pub master: Option<MasterPlan>,
    /// Its store is the etcd of the node.
    pub etcd_of_node: bool,
    /// Who may do what, and how it is shown.
    pub access: Access,
    /// Where counters are sent.
    pub statsd: Option<SocketAddr>,
}

/// Who may do what, and how it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// The file with the token that whoever wants a command run has to have.
    pub token: Option<PathBuf>,
    /// Nobody needs one.
    pub unauthenticated_invoke: bool,
    /// The user and the group that commands run as, if they are not ours.
    pub invoke_user: Option<(u32, u32)>,
    /// Keepalives need it too, and ours show it.
    pub authenticated_keepalives: bool,
    /// Our certificate, without which nothing is encrypted, and who may have signed those of others.
    pub tls: spec::tls::Files,
}

/// What a member tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Payload {
    /// Nothing.
    #[default]
    Nothing,
    /// What a file holds, as JSON.
    File(PathBuf),
    /// How the processes are that are looked after by another of us, who is asked at this socket.
    Processes(PathBuf),
}

impl Draft {
    /// With what is known of the pod.
    ///
    /// # Errors
    ///
    /// Something is missing, or is not what it should be; it is named.
    pub fn complete(&self, known: &Identity) -> Result<EnsemblePlan, String> {
        let label = |name: &str| known.labels.get(name).cloned();
        let app = self.app.clone().or_else(|| label("app"));
        let app = app.ok_or("--app is missing: what is this ensemble called? (or a label app)")?;
        let namespace = self.namespace.clone().or_else(|| known.namespace.clone());
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        let id = known.id.clone().unwrap_or_else(identity::host_name);
        for (option, name) in [("--app", &app), ("--namespace", &namespace), ("--id", &id)] {
            check_name(option, name)?;
        }
        let annotated = || MASTERS.iter().find_map(|name| known.annotations.get(*name).cloned());
        let masters = peers(self.masters.clone().or_else(annotated).as_deref())?;
        if self.is_member && self.master.is_none() && masters.is_empty() {
            return Err("--masters is missing: to whom does this member report?".to_owned());
        }
        if self.chain.is_some() && (self.master.is_none() || masters.is_empty()) {
            let words = "--report-app is for a master that reports to --masters of another ensemble";
            return Err(words.to_owned());
        }
        if let Some(chain) = &self.chain {
            check_name("--report-app", chain)?;
            if *chain == app {
                return Err(format!("--report-app '{chain}': expected another ensemble than our own"));
            }
        }
        let ip = match &known.ip {
            Some(text) => {
                let parsed: Result<IpAddr, _> = text.parse();
                parsed.map_err(|_| format!("--ip '{text}': expected an address of IPv4 or IPv6"))?.to_string()
            }
            None => own_address(masters.first()).map_or_else(|| "127.0.0.1".to_owned(), |ip| ip.to_string()),
        };
        let role = self.label_role.clone().or_else(|| label("role"));
        if self.needs_role && role.is_none() {
            return Err("the pod has no label role: expected what it is for".to_owned());
        }
        let role = role.unwrap_or_else(|| "member".to_owned());
        let mut master = self.master.clone();
        if self.etcd_of_node
            && let Some(master) = &mut master
            && let StorePlan::Etcd { endpoints, .. } = &mut master.store
        {
            let node = known.node.ip.clone();
            let node = node.ok_or("KONTROL_ETCD is not set, and the address of the node is not known")?;
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

/// An address as it stands before a port.
#[must_use]
pub fn bracketed(address: &str) -> String {
    if address.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{address}]") } else { address.to_owned() }
}

fn check_name(option: &str, name: &str) -> Result<(), String> {
    let is_long = name.len() > LONGEST_ID;
    if name.is_empty() || is_long || name.contains('/') || name.chars().any(char::is_control) {
        return Err(format!(
            "{option} '{name}': expected a name without a slash, of {LONGEST_ID} bytes at most"
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

/// The address by which this machine would reach another. Nothing is sent.
fn own_address(to: Option<&Peer>) -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    let (host, port) = to.map_or(("192.0.2.1", 1), |peer| (peer.at.host.as_str(), peer.at.port));
    socket.connect((host, port)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Another ensemble that is told of this one.
#[derive(Debug, Clone)]
pub struct ChainPlan {
    /// What it is called.
    pub app: String,
    /// What its masters are told beside the digest.
    pub member: MemberPlan,
}

/// An ensemble, as one of its pods sees it.
#[derive(Debug, Clone)]
pub struct EnsemblePlan {
    /// Whose ensemble.
    pub namespace: String,
    /// Its name.
    pub app: String,
    /// Our name in it.
    pub id: String,
    /// We report to masters.
    pub member: Option<MemberPlan>,
    /// Another ensemble is told of ours.
    pub chain: Option<ChainPlan>,
    /// We keep the list.
    pub master: Option<MasterPlan>,
    /// Who may do what, and how it is shown.
    pub access: Access,
    /// Where counters are sent.
    pub statsd: Option<SocketAddr>,
}

/// A member.
#[derive(Debug, Clone)]
pub struct MemberPlan {
    /// Its address.
    pub ip: String,
    /// What it is for.
    pub role: String,
    /// To whom it reports; nobody but ourselves, if we are a master too.
    pub masters: Vec<Peer>,
    /// What goes into its keepalives.
    pub payload: Payload,
    /// How often it reports.
    pub every: Duration,
}

/// A master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterPlan {
    /// Where the list is kept.
    pub store: StorePlan,
    /// A member that is silent for so long is gone.
    pub ttl: Duration,
    /// A dead leader's place is held so long.
    pub fail_over: Duration,
    /// From the last change to the callback.
    pub damper: Duration,
    /// It wants to lead also without a callback, for processes that know this word.
    pub leads: Option<String>,
    /// What the leader runs: the words of a command; none: nothing.
    pub callback: Option<Vec<String>>,
    /// How long that may take.
    pub callback_deadline: Duration,
}

impl MasterPlan {
    /// Is there anything for which to lead?
    #[must_use]
    pub const fn wants_to_lead(&self) -> bool {
        self.leads.is_some() || self.callback.is_some()
    }
}

impl EnsemblePlan {
    /// Others that this pod speaks to.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        let chained = self.chain.iter().map(|chain| &chain.member);
        self.member.iter().chain(chained).flat_map(|member| &member.masters)
    }

    /// Below which everything is in the store.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("/kontrol/{}/{}/", self.namespace, self.app)
    }
}
