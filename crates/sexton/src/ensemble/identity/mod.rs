//! Who this pod is, where nobody has said so: labels, annotations, address and node, from the Kubernetes API, from
//! files of the downward API, from the metadata service of a cloud.
//!
//! A pod has no address at first, and the API may not answer yet: it is asked again, after 1 s at first and 30 s at
//! most, until all is known that is needed.

pub mod cloud;
mod downward;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s::{Client, Config, Kind, Pairs};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use cloud::Which;
use spec::environment::{Environment as _, Real};

/// The pauses before somebody is asked again, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What is known of this pod.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// Its name.
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
    /// Its name.
    pub name: Option<String>,
    /// Its address.
    pub ip: Option<String>,
    /// Its labels.
    pub labels: Pairs,
    /// Its annotations.
    pub annotations: Pairs,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sources {
    /// What was said: it counts, whatever others say.
    pub given: Identity,
    /// The Kubernetes API.
    pub kubernetes: bool,
    /// A directory with files of the downward API.
    pub directory: Option<PathBuf>,
    /// A cloud, if nobody else knows the node.
    pub cloud: Option<Which>,
}

impl Sources {
    /// Is there anybody to ask?
    #[must_use]
    pub const fn any(&self) -> bool {
        self.kubernetes || self.directory.is_some() || self.cloud.is_some()
    }

    /// Asks until all is known.
    pub async fn ask(&self) -> Identity {
        let mut pause = PAUSES.0;
        loop {
            match self.ask_once().await {
                Ok(identity) => return identity,
                Err(why) => log::warn!("who we are is not known yet, and asked again in {pause:?}: {why}"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn ask_once(&self) -> Result<Identity, String> {
        let mut known = self.given.clone();
        if let Some(directory) = &self.directory {
            known.fill(downward::read(directory)?);
        }
        let client = if self.kubernetes { Some(in_cluster()?) } else { None };
        if let Some((client, namespace)) = &client {
            known.namespace.get_or_insert_with(|| namespace.clone());
            known.fill(pod(client, &known).await?);
            if known.ip.is_none() {
                return Err("the pod has no address yet".to_owned());
            }
        }
        if known.node.name.is_none()
            && let Some(which) = self.cloud
        {
            known.node.name = Some(cloud::node_name(which).await?);
        }
        if let Some((client, _)) = &client
            && let Some(name) = known.node.name.clone()
        {
            match client.node(&name).await {
                Ok(Some(node)) => {
                    known.node.fill(Node {
                        labels: node.labels,
                        annotations: node.annotations,
                        ip: node.ip,
                        name: None,
                    });
                }
                Ok(None) => log::warn!("there is no node '{name}': its labels are not known"),
                Err(error) if error.kind() != Kind::Status(403) => return Err(error.to_string()),
                // Most service accounts may not.
                Err(error) => log::info!("the labels of node '{name}' are not known: {error}"),
            }
        }
        Ok(known)
    }
}

fn in_cluster() -> Result<(Client, String), String> {
    let variable = |name: &str| Real.get(name).map(|value| value.to_string_lossy().into_owned());
    let directory = variable("SEXTON_SERVICE_ACCOUNT").unwrap_or_else(|| k8s::SERVICE_ACCOUNT.to_owned());
    let config = Config::in_cluster(variable, Path::new(&directory)).map_err(|error| error.to_string())?;
    let namespace = config.namespace.clone().unwrap_or_else(|| "default".to_owned());
    Ok((Client::new(config).map_err(|error| error.to_string())?, namespace))
}

async fn pod(client: &Client, known: &Identity) -> Result<Identity, String> {
    // A container's host is called as its pod.
    let id = known.id.clone().unwrap_or_else(host_name);
    let namespace = known.namespace.clone().unwrap_or_default();
    let found = client.pod_identity(&namespace, &id).await.map_err(|error| error.to_string())?;
    let pod = found.ok_or_else(|| format!("there is no pod '{id}' in namespace '{namespace}'"))?;
    Ok(Identity {
        id: Some(id),
        namespace: None,
        ip: pod.ip,
        labels: pod.labels,
        annotations: pod.annotations,
        node: Node { name: pod.node, ip: pod.host_ip, ..Node::default() },
    })
}

/// What this host is called.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Identity {
    /// Takes what is not known from another.
    fn fill(&mut self, other: Self) {
        let Self { id, namespace, ip, labels, annotations, node } = other;
        fill(&mut self.id, id);
        fill(&mut self.namespace, namespace);
        fill(&mut self.ip, ip);
        fill_pairs(&mut self.labels, labels);
        fill_pairs(&mut self.annotations, annotations);
        self.node.fill(node);
    }
}

impl Node {
    fn fill(&mut self, other: Self) {
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

fn fill_pairs(known: &mut BTreeMap<String, String>, other: Pairs) {
    for (name, value) in other {
        known.entry(name).or_insert(value);
    }
}
