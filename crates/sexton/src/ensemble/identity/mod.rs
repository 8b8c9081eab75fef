//! Discovers the identity of this pod, unless it is configured: labels, annotations, address and node, from the
//! Kubernetes API, from files of the downward API, or from the metadata service of a cloud.
//!
//! A pod has no address at first, and the API may not respond yet: requests are retried, after 1 s at first and 30 s at
//! most, until the identity is complete.

pub mod cloud;
mod downward;

use spec::ensemble::{Identity, Node, Sources};
use std::path::Path;
use std::time::Duration;

use k8s::{Client, Config, Kind};
use tokio::time::sleep;

use spec::environment::{Environment as _, Real};

/// First and maximum pause between retries.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Queries the sources until the identity is complete.
pub async fn ask(sources: &Sources) -> Identity {
    let mut pause = PAUSES.0;
    loop {
        match ask_once(sources).await {
            Ok(identity) => return identity,
            Err(why) => log::warn!("cannot determine the identity of this pod, retrying in {pause:?}: {why}"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn ask_once(sources: &Sources) -> Result<Identity, String> {
    let mut known = sources.given.clone();
    if let Some(directory) = &sources.directory {
        known.fill_missing(downward::read(directory)?);
    }
    let client = if sources.kubernetes { Some(in_cluster()?) } else { None };
    if let Some((client, namespace)) = &client {
        known.namespace.get_or_insert_with(|| namespace.clone());
        known.fill_missing(pod(client, &known).await?);
        if known.ip.is_none() {
            return Err("the pod has no address yet".to_owned());
        }
    }
    if known.node.name.is_none()
        && let Some(which) = sources.cloud
    {
        known.node.name = Some(cloud::node_name(which).await?);
    }
    if let Some((client, _)) = &client
        && let Some(name) = known.node.name.clone()
    {
        match client.node(&name).await {
            Ok(Some(node)) => {
                known.node.fill_missing(Node {
                    labels: node.labels,
                    annotations: node.annotations,
                    ip: node.ip,
                    name: None,
                });
            }
            Ok(None) => log::warn!("no labels of node '{name}': it does not exist"),
            Err(error) if error.kind() != Kind::Status(403) => return Err(error.to_string()),
            // Most service accounts have no permission.
            Err(error) => log::info!("no labels of node '{name}': {error}"),
        }
    }
    Ok(known)
}

fn in_cluster() -> Result<(Client, String), String> {
    let variable = |name: &str| Real.get(name).map(|value| value.to_string_lossy().into_owned());
    let directory = variable("SEXTON_SERVICE_ACCOUNT").unwrap_or_else(|| k8s::SERVICE_ACCOUNT.to_owned());
    let config = Config::in_cluster(variable, Path::new(&directory)).map_err(|error| error.to_string())?;
    let namespace = config.namespace.clone().unwrap_or_else(|| "default".to_owned());
    Ok((Client::new(config).map_err(|error| error.to_string())?, namespace))
}

async fn pod(client: &Client, known: &Identity) -> Result<Identity, String> {
    // The host name of a container is the name of its pod.
    let id = known.id.clone().unwrap_or_else(host_name);
    let namespace = known.namespace.clone().unwrap_or_default();
    let found = client.pod_identity(&namespace, &id).await.map_err(|error| error.to_string())?;
    let pod = found.ok_or_else(|| format!("pod '{id}' does not exist in namespace '{namespace}'"))?;
    Ok(Identity {
        id: Some(id),
        namespace: None,
        ip: pod.ip,
        labels: pod.labels,
        annotations: pod.annotations,
        node: Node { name: pod.node, ip: pod.host_ip, ..Node::default() },
    })
}

/// Returns the host name.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
