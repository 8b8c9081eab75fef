//! What an ensemble is asked to do: complete, with every default filled in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::peers::Peer;
use crate::config::StorePlan;
use crate::tls;

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
    /// We keep the list.
    pub master: Option<MasterPlan>,
    /// The token that whoever wants a command run has to have.
    pub token: Option<PathBuf>,
    /// Nobody needs one.
    pub unauthenticated_invoke: bool,
    /// Keepalives need it too, and ours show it.
    pub authenticated_keepalives: bool,
    /// Our certificate, without which nothing is encrypted, and who may have signed those of others.
    pub tls: tls::Files,
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
    /// A file of JSON that goes into its keepalives.
    pub payload: Option<PathBuf>,
    /// How often it reports.
    pub every: Duration,
}

/// A master.
#[derive(Debug, Clone)]
pub struct MasterPlan {
    /// Where the list is kept.
    pub store: StorePlan,
    /// A member that is silent for so long is gone.
    pub ttl: Duration,
    /// A dead leader's place is held so long.
    pub fail_over: Duration,
    /// From the last change to the callback.
    pub damper: Duration,
    /// What the leader runs: the words of a command; none: nothing.
    pub callback: Option<Vec<String>>,
    /// How long that may take.
    pub callback_deadline: Duration,
}

impl EnsemblePlan {
    /// Others that this pod speaks to.
    pub fn peers(&self) -> &[Peer] {
        self.member.as_ref().map_or(&[], |member| &member.masters)
    }

    /// Below which everything is in the store.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("/kontrol/{}/{}/", self.namespace, self.app)
    }
}
