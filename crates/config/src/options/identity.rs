//! The options that say which pod this is.

use std::path::PathBuf;

use clap::Args;
use schemars::JsonSchema;
use spec::ensemble::Pairs;

use super::{Personality, Resolver, UsageError};
use crate::file::scalars::Map;
use spec::ensemble::CloudSelector;
use spec::ensemble::{Identity, Node, Sources};
use spec::environment::Environment;

/// Identity of the pod.
#[derive(Debug, Clone, Default, Args, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct IdentityOptions {
    /// Namespace of the ensemble [default: the pod's namespace, or default]
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Name of this pod, unique in the ensemble [default: host name]
    #[arg(long, value_name = "NAME")]
    pub id: Option<String>,
    /// IP address of this pod [default: source address of connections to its first master]
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    /// IP address of the node
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<String>,
    /// Name of the node [default: $NODE_NAME]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Labels of the pod (on the command line: JSON)
    #[arg(long, value_name = "JSON")]
    #[schemars(with = "Option<Map<String>>")]
    pub labels: Option<String>,
    /// Annotations of the pod (on the command line: JSON); sexton.dev/masters lists its masters
    #[arg(long, value_name = "JSON")]
    #[schemars(with = "Option<Map<String>>")]
    pub annotations: Option<String>,
    /// Query the Kubernetes API for labels, annotations, addresses and the node where they are not given
    #[arg(long)]
    #[schemars(with = "Option<bool>")]
    pub from_kubernetes: bool,
    /// Directory with files of the downward API: labels, annotations, name, namespace
    #[arg(long, value_name = "DIR")]
    pub pod_info: Option<String>,
    /// Query the metadata service of this cloud for the name of the node, if it is not known otherwise: auto, aws, gcp
    /// or azure
    #[arg(long, value_name = "auto|aws|gcp|azure")]
    pub cloud: Option<String>,
}

/// Resolves where the identity of this pod comes from, and the namespace of the ensemble if it is given.
pub fn sources(
    options: IdentityOptions,
    environment: &dyn Environment,
) -> Result<(Sources, Option<String>), UsageError> {
    Resolver { personality: Personality::Sexton, environment, terminal: false }.sources(options)
}

impl Resolver<'_> {
    pub(super) fn sources(&self, raw: IdentityOptions) -> Result<(Sources, Option<String>), UsageError> {
        let pairs = |given: Option<String>, option: &str, variable: &str| {
            let Some(given) = self.given(given, option, variable)? else { return Ok(Pairs::new()) };
            serde_json::from_str::<Pairs>(&given.text).map_err(|error| {
                UsageError(format!("{}: expected a JSON object of strings: {error}", given.origin))
            })
        };
        let node = self.text(raw.node, "--node", "ENSEMBLE_NODE")?;
        // The usual name of this variable in manifests.
        let node = node.or_else(|| Some(self.environment.get("NODE_NAME")?.to_string_lossy().into_owned()));
        let node = node.filter(|name| !name.is_empty());
        let cloud = self.text(raw.cloud, "--cloud", "ENSEMBLE_CLOUD")?;
        let cloud = cloud.map(|name| {
            name.parse::<CloudSelector>().map_err(|why| UsageError(format!("--cloud '{name}': {why}")))
        });
        let namespace = self.text(raw.namespace, "--namespace", "ENSEMBLE_NAMESPACE")?;
        let sources = Sources {
            given: Identity {
                id: self.text(raw.id, "--id", "ENSEMBLE_ID")?,
                // The namespace of the pod comes from the queried source.
                namespace: None,
                ip: self.text(raw.ip, "--ip", "ENSEMBLE_IP")?,
                labels: pairs(raw.labels, "--labels", "ENSEMBLE_LABELS")?,
                annotations: pairs(raw.annotations, "--annotations", "ENSEMBLE_ANNOTATIONS")?,
                node: Node {
                    name: node,
                    ip: self.text(raw.host, "--host", "ENSEMBLE_HOST")?,
                    ..Node::default()
                },
            },
            kubernetes: raw.from_kubernetes,
            directory: self.text(raw.pod_info, "--pod-info", "ENSEMBLE_POD_INFO")?.map(PathBuf::from),
            cloud: cloud.transpose()?,
        };
        Ok((sources, namespace))
    }
}
