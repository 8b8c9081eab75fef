//! Names, labels, annotations and addresses of a pod and its node.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::client::parsed;
use crate::names::{PodName, is_name};
use crate::{Client, KubeError};

/// Labels or annotations.
pub type Pairs = BTreeMap<String, String>;

/// Identity of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodIdentity {
    pub labels: Pairs,
    pub annotations: Pairs,
    /// Address of the pod, once assigned.
    pub ip: Option<String>,
    /// Address of its node.
    pub host_ip: Option<String>,
    /// Name of its node, once assigned.
    pub node: Option<String>,
}

/// Identity of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeIdentity {
    pub labels: Pairs,
    pub annotations: Pairs,
    /// Address inside the cluster.
    pub ip: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct RawObject {
    metadata: Option<RawMeta>,
    spec: Option<RawSpec>,
    status: Option<RawStatus>,
}

#[derive(Debug, Default, Deserialize)]
struct RawMeta {
    labels: Option<Pairs>,
    annotations: Option<Pairs>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    node_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct RawStatus {
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
    addresses: Option<Vec<RawAddress>>,
}

#[derive(Debug, Deserialize)]
struct RawAddress {
    #[serde(rename = "type")]
    kind: Option<String>,
    address: Option<String>,
}

impl Client {
    /// Reads the identity of a pod; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// The name is invalid, or the request failed.
    pub async fn pod_identity(&self, namespace: &str, name: &str) -> Result<Option<PodIdentity>, KubeError> {
        let pod = PodName::new(namespace, name)?;
        let PodName { namespace, name } = &pod;
        let target = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let Some(RawObject { metadata, spec, status }) = self.object(namespace, target).await? else {
            return Ok(None);
        };
        let (metadata, status) = (metadata.unwrap_or_default(), status.unwrap_or_default());
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(Some(PodIdentity {
            labels: metadata.labels.unwrap_or_default(),
            annotations: metadata.annotations.unwrap_or_default(),
            ip: given(status.pod_ip),
            host_ip: given(status.host_ip),
            node: given(spec.unwrap_or_default().node_name),
        }))
    }

    /// Reads the identity of a node; `None` if it does not exist. Needs a ClusterRole with get on nodes.
    ///
    /// # Errors
    ///
    /// The name is invalid, or the request failed.
    pub async fn node(&self, name: &str) -> Result<Option<NodeIdentity>, KubeError> {
        if !is_name(name) {
            return Err(KubeError::name("node", name));
        }
        let Some(found) = self.object("", format!("/api/v1/nodes/{name}")).await? else { return Ok(None) };
        let metadata = found.metadata.unwrap_or_default();
        let addresses = found.status.unwrap_or_default().addresses.unwrap_or_default();
        let internal = addresses.into_iter().find(|it| it.kind.as_deref() == Some("InternalIP"));
        Ok(Some(NodeIdentity {
            labels: metadata.labels.unwrap_or_default(),
            annotations: metadata.annotations.unwrap_or_default(),
            ip: internal.and_then(|it| it.address),
        }))
    }

    async fn object(&self, namespace: &str, target: String) -> Result<Option<RawObject>, KubeError> {
        let request = self.request(namespace, "get", target);
        match self.response(&request).await {
            Ok(response) => Ok(Some(parsed(&self.body(response, &request).await?, &request)?)),
            Err(KubeError::Status { code: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
