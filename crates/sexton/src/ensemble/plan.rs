//! Completes the plan of a pod of an ensemble with what this machine knows of itself.

use std::net::{IpAddr, UdpSocket};

use spec::ensemble::{EnsemblePlan, Host, Identity, Peer, UnresolvedPlan};

/// Completes a plan with the identity of the pod.
///
/// # Errors
///
/// The option that is missing or invalid.
pub fn complete(plan: &UnresolvedPlan, identity: &Identity) -> Result<EnsemblePlan, String> {
    plan.complete(identity, &ThisHost)
}

struct ThisHost;

impl Host for ThisHost {
    fn name(&self) -> String {
        super::identity::host_name()
    }

    /// Nothing is sent: connecting a UDP socket only chooses the route.
    fn address_towards(&self, peer: Option<&Peer>) -> Option<IpAddr> {
        let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
        let (host, port) = peer.map_or(("192.0.2.1", 1), |peer| (peer.at.host.as_str(), peer.at.port));
        socket.connect((host, port)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    }
}
