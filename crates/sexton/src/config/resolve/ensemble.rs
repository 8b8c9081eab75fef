//! The options of `ensemble`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use k8s::Pairs;

use super::super::accounts;
use super::locks::RawStore;
use super::{Resolver, UsageError};
use crate::ensemble::identity::cloud::Which;
use crate::ensemble::identity::{Identity, Node, Sources};
use crate::ensemble::plan::{
    Access, DEFAULT_CALLBACK_DEADLINE, DEFAULT_DAMPER, DEFAULT_FAIL_OVER, DEFAULT_STATSD, DEFAULT_TTL, Draft,
    MasterPlan, Payload,
};
use spec::tls::Files;

/// The options of `ensemble`, as they were written.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "each is the option of its name")]
pub struct RawEnsemble {
    pub role: String,
    pub app: Option<String>,
    pub identity: RawIdentity,
    pub label_role: Option<String>,
    pub masters: Option<String>,
    pub report_app: Option<String>,
    pub payload: Option<String>,
    pub payload_of: Option<String>,
    pub member_ttl: Option<String>,
    pub fail_over: Option<String>,
    pub damper: Option<String>,
    pub callback: Option<String>,
    pub shell_callback: Option<String>,
    pub callback_deadline: Option<String>,
    pub leads: Option<String>,
    pub token_file: Option<String>,
    pub allow_unauthenticated_invoke: bool,
    pub invoke_user: Option<String>,
    pub authenticated_keepalives: bool,
    pub tls_cert: Option<String>,
    pub tls_key: Option<String>,
    pub tls_ca: Option<String>,
    pub statsd: Option<String>,
    pub etcd_of_node: bool,
    pub needs_role: bool,
    pub store: RawStore,
}

/// Who this pod is, as it was written.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "each is the option of its name")]
pub struct RawIdentity {
    pub namespace: Option<String>,
    pub id: Option<String>,
    pub ip: Option<String>,
    pub host: Option<String>,
    pub node: Option<String>,
    pub labels: Option<String>,
    pub annotations: Option<String>,
    pub from_kubernetes: bool,
    pub pod_info: Option<String>,
    pub cloud: Option<String>,
}

impl Resolver<'_> {
    pub(super) fn ensemble(&self, raw: RawEnsemble) -> Result<Draft, UsageError> {
        let (is_member, is_master) = (raw.role != "master", raw.role != "member");
        let word = |given, option: &str, variable: &str| {
            Ok::<_, UsageError>(self.given(given, option, variable)?.map(|given| given.text))
        };
        let span = |given, option: &str, variable: &str, default: Duration| {
            Ok::<_, UsageError>(self.duration(given, option, variable)?.unwrap_or(default))
        };
        let ttl = span(raw.member_ttl, "--member-ttl", "ENSEMBLE_MEMBER_TTL", DEFAULT_TTL)?;
        let fail_over = span(raw.fail_over, "--fail-over", "ENSEMBLE_FAIL_OVER", DEFAULT_FAIL_OVER)?;
        for (option, time) in [("--member-ttl", ttl), ("--fail-over", fail_over)] {
            crate::locks::check_ttl(time).map_err(|why| UsageError(format!("{option}: {why}")))?;
        }
        let callback = match (raw.callback, raw.shell_callback) {
            (Some(line), _) => Some(line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()),
            (None, Some(script)) => Some(vec!["sh".to_owned(), "-c".to_owned(), script]),
            (None, None) => None,
        };
        // In the environment it may stand for all pods.
        if !is_member && raw.masters.is_some() && raw.report_app.is_none() {
            let words =
                "--masters is for members: a master alone reports to nobody (--role both, or --report-app)";
            return Err(UsageError(words.to_owned()));
        }
        if callback.as_ref().is_some_and(Vec::is_empty) {
            return Err(UsageError("--callback is empty: what is to be run?".to_owned()));
        }
        if callback.is_some() && !is_master {
            return Err(UsageError("a callback is a master's: this pod is none".to_owned()));
        }
        let statsd =
            match word(raw.statsd, "--statsd", "ENSEMBLE_STATSD")?.as_deref() {
                Some("none") => None,
                given => {
                    let text = given.unwrap_or(DEFAULT_STATSD);
                    let parsed: Result<SocketAddr, _> = text.parse();
                    Some(parsed.map_err(|_| {
                        UsageError(format!("--statsd '{text}': expected address:port, or none"))
                    })?)
                }
            };
        let master = if is_master {
            Some(MasterPlan {
                store: self.store(raw.store, "ensemble.store")?,
                ttl,
                fail_over,
                damper: span(raw.damper, "--damper", "ENSEMBLE_DAMPER", DEFAULT_DAMPER)?,
                callback,
                leads: raw.leads,
                callback_deadline: span(
                    raw.callback_deadline,
                    "--callback-deadline",
                    "ENSEMBLE_CALLBACK_DEADLINE",
                    DEFAULT_CALLBACK_DEADLINE,
                )?,
            })
        } else {
            None
        };
        let tls = self.tls_files(raw.tls_cert, raw.tls_key, raw.tls_ca)?;
        let token = word(raw.token_file, "--token-file", "ENSEMBLE_TOKEN_FILE")?.map(PathBuf::from);
        if raw.authenticated_keepalives && token.is_none() && (tls.ca.is_none() || tls.own.is_none()) {
            let words = "--authenticated-keepalives needs something to be shown: a --token-file, or --tls-cert, --tls-key and --tls-ca";
            return Err(UsageError(words.to_owned()));
        }
        let invoke_user = word(raw.invoke_user, "--invoke-user", "ENSEMBLE_INVOKE_USER")?;
        let invoke_user = invoke_user.map(|name| {
            accounts::user_and_group(&name).map_err(|why| UsageError(format!("--invoke-user: {why}")))
        });
        let payload = match (raw.payload, raw.payload_of) {
            (Some(file), _) => Payload::File(file.into()),
            (None, Some(socket)) => Payload::Processes(socket.into()),
            (None, None) => Payload::Nothing,
        };
        let (sources, namespace) = self.sources(raw.identity)?;
        let draft = Draft {
            sources,
            namespace,
            needs_role: raw.needs_role,
            app: word(raw.app, "--app", "ENSEMBLE_APP")?,
            is_member,
            label_role: raw.label_role,
            masters: word(raw.masters, "--masters", "ENSEMBLE_MASTERS")?,
            payload,
            chain: word(raw.report_app, "--report-app", "ENSEMBLE_REPORT_APP")?,
            every: ttl * 3 / 4,
            master,
            etcd_of_node: raw.etcd_of_node,
            access: Access {
                token,
                unauthenticated_invoke: raw.allow_unauthenticated_invoke,
                invoke_user: invoke_user.transpose()?,
                authenticated_keepalives: raw.authenticated_keepalives,
                tls,
            },
            statsd,
        };
        if !draft.sources.any() {
            // Nobody else will tell what is missing.
            draft.complete(&draft.sources.given).map_err(UsageError)?;
        }
        Ok(draft)
    }

    /// Who tells who we are, and whose ensemble it is.
    pub(super) fn sources(&self, raw: RawIdentity) -> Result<(Sources, Option<String>), UsageError> {
        let word = |given, option: &str, variable: &str| {
            Ok::<_, UsageError>(self.given(given, option, variable)?.map(|given| given.text))
        };
        let pairs = |given: Option<String>, option: &str, variable: &str| {
            let Some(given) = self.given(given, option, variable)? else { return Ok(Pairs::new()) };
            serde_json::from_str::<Pairs>(&given.text).map_err(|error| {
                UsageError(format!("{}: expected a JSON object of strings: {error}", given.origin))
            })
        };
        let node = word(raw.node, "--node", "ENSEMBLE_NODE")?;
        // As manifests usually call it.
        let node = node.or_else(|| Some(self.environment.get("NODE_NAME")?.to_string_lossy().into_owned()));
        let node = node.filter(|name| !name.is_empty());
        let cloud = word(raw.cloud, "--cloud", "ENSEMBLE_CLOUD")?;
        let cloud = cloud
            .map(|name| name.parse::<Which>().map_err(|why| UsageError(format!("--cloud '{name}': {why}"))));
        let namespace = word(raw.namespace, "--namespace", "ENSEMBLE_NAMESPACE")?;
        let sources = Sources {
            given: Identity {
                id: word(raw.id, "--id", "ENSEMBLE_ID")?,
                // That of the pod is known to whoever is asked.
                namespace: None,
                ip: word(raw.ip, "--ip", "ENSEMBLE_IP")?,
                labels: pairs(raw.labels, "--labels", "ENSEMBLE_LABELS")?,
                annotations: pairs(raw.annotations, "--annotations", "ENSEMBLE_ANNOTATIONS")?,
                node: Node { name: node, ip: word(raw.host, "--host", "ENSEMBLE_HOST")?, ..Node::default() },
            },
            kubernetes: raw.from_kubernetes,
            directory: word(raw.pod_info, "--pod-info", "ENSEMBLE_POD_INFO")?.map(PathBuf::from),
            cloud: cloud.transpose()?,
        };
        Ok((sources, namespace))
    }
}

impl Resolver<'_> {
    fn tls_files(
        &self,
        certificate: Option<String>,
        key: Option<String>,
        ca: Option<String>,
    ) -> Result<Files, UsageError> {
        let file = |given, option: &str, variable: &str| {
            Ok::<_, UsageError>(self.given(given, option, variable)?.map(|given| PathBuf::from(given.text)))
        };
        let certificate = file(certificate, "--tls-cert", "ENSEMBLE_TLS_CERT")?;
        let key = file(key, "--tls-key", "ENSEMBLE_TLS_KEY")?;
        let ca = file(ca, "--tls-ca", "ENSEMBLE_TLS_CA")?;
        tls_files(certificate, key, ca)
    }
}

/// A certificate without its key is of no use, nor a key without its certificate.
pub fn tls_files(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
) -> Result<Files, UsageError> {
    if certificate.is_some() != key.is_some() {
        return Err(UsageError("--tls-cert and --tls-key go together: give both or none".to_owned()));
    }
    Ok(Files { own: certificate.zip(key), ca })
}
