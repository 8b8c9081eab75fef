//! The options of `ensemble`.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use ensemble::member::LONGEST_ID;

use super::locks::RawStore;
use super::{Resolver, UsageError};
use crate::ensemble::peers::Peer;
use crate::ensemble::plan::{
    DEFAULT_CALLBACK_DEADLINE, DEFAULT_DAMPER, DEFAULT_FAIL_OVER, DEFAULT_STATSD, DEFAULT_TTL, EnsemblePlan,
    MasterPlan, MemberPlan,
};
use crate::tls::Files;
use crate::words::without_login;

/// The options of `ensemble`, as they were written.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "each is the option of its name")]
pub struct RawEnsemble {
    pub role: String,
    pub app: String,
    pub namespace: Option<String>,
    pub id: Option<String>,
    pub ip: Option<String>,
    pub label_role: Option<String>,
    pub masters: Option<String>,
    pub payload: Option<String>,
    pub member_ttl: Option<String>,
    pub fail_over: Option<String>,
    pub damper: Option<String>,
    pub callback: Option<String>,
    pub shell_callback: Option<String>,
    pub callback_deadline: Option<String>,
    pub token_file: Option<String>,
    pub allow_unauthenticated_invoke: bool,
    pub authenticated_keepalives: bool,
    pub tls_cert: Option<String>,
    pub tls_key: Option<String>,
    pub tls_ca: Option<String>,
    pub statsd: Option<String>,
    pub store: RawStore,
}

impl Resolver<'_> {
    pub(super) fn ensemble(&self, raw: RawEnsemble) -> Result<EnsemblePlan, UsageError> {
        let (is_member, is_master) = (raw.role != "master", raw.role != "member");
        let word = |given, option: &str, variable: &str| {
            Ok::<_, UsageError>(self.given(given, option, variable)?.map(|given| given.text))
        };
        let span = |given, option: &str, variable: &str, default: Duration| {
            Ok::<_, UsageError>(self.duration(given, option, variable)?.unwrap_or(default))
        };
        let namespace =
            word(raw.namespace, "--namespace", "ENSEMBLE_NAMESPACE")?.unwrap_or_else(|| "default".to_owned());
        let id = word(raw.id, "--id", "ENSEMBLE_ID")?
            .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
        for (option, name) in [("--app", &raw.app), ("--namespace", &namespace), ("--id", &id)] {
            let is_long = name.len() > LONGEST_ID;
            if name.is_empty() || is_long || name.contains('/') || name.chars().any(char::is_control) {
                return Err(UsageError(format!(
                    "{option} '{name}': expected a name without a slash, of {LONGEST_ID} bytes at most"
                )));
            }
        }
        let ttl = span(raw.member_ttl, "--member-ttl", "ENSEMBLE_MEMBER_TTL", DEFAULT_TTL)?;
        let fail_over = span(raw.fail_over, "--fail-over", "ENSEMBLE_FAIL_OVER", DEFAULT_FAIL_OVER)?;
        for (option, time) in [("--member-ttl", ttl), ("--fail-over", fail_over)] {
            crate::lock::check_ttl(time).map_err(|why| UsageError(format!("{option}: {why}")))?;
        }
        let given = word(raw.masters, "--masters", "ENSEMBLE_MASTERS")?;
        let mut masters = Vec::new();
        for name in
            given.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty())
        {
            let peer = name.parse::<Peer>();
            masters
                .push(peer.map_err(|why| UsageError(format!("--masters '{}': {why}", without_login(name))))?);
        }
        if is_member && !is_master && masters.is_empty() {
            return Err(UsageError("--masters is missing: to whom does this member report?".to_owned()));
        }
        let callback = match (raw.callback, raw.shell_callback) {
            (Some(line), _) => Some(line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()),
            (None, Some(script)) => Some(vec!["sh".to_owned(), "-c".to_owned(), script]),
            (None, None) => None,
        };
        if callback.as_ref().is_some_and(Vec::is_empty) {
            return Err(UsageError("--callback is empty: what is to be run?".to_owned()));
        }
        if callback.is_some() && !is_master {
            return Err(UsageError("a callback is a master's: this pod is none".to_owned()));
        }
        let ip = match word(raw.ip, "--ip", "ENSEMBLE_IP")? {
            Some(text) => {
                let parsed: Result<IpAddr, _> = text.parse();
                parsed
                    .map_err(|_| UsageError(format!("--ip '{text}': expected an address of IPv4 or IPv6")))?
                    .to_string()
            }
            None => own_address(masters.first()).map_or_else(|| "127.0.0.1".to_owned(), |ip| ip.to_string()),
        };
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
        let tls = self.tls_files(raw.tls_cert, raw.tls_key, raw.tls_ca)?;
        let member = is_member.then(|| MemberPlan {
            ip,
            role: raw.label_role.unwrap_or_else(|| "member".to_owned()),
            masters,
            payload: raw.payload.map(PathBuf::from),
            every: ttl * 3 / 4,
        });
        let master = if is_master {
            Some(MasterPlan {
                store: self.store(raw.store, "ensemble.store")?,
                ttl,
                fail_over,
                damper: span(raw.damper, "--damper", "ENSEMBLE_DAMPER", DEFAULT_DAMPER)?,
                callback,
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
        let token = word(raw.token_file, "--token-file", "ENSEMBLE_TOKEN_FILE")?.map(PathBuf::from);
        if raw.authenticated_keepalives && token.is_none() && (tls.ca.is_none() || tls.own.is_none()) {
            let words = "--authenticated-keepalives needs something to be shown: a --token-file, or --tls-cert, --tls-key and --tls-ca";
            return Err(UsageError(words.to_owned()));
        }
        Ok(EnsemblePlan {
            namespace,
            app: raw.app,
            id,
            member,
            master,
            token,
            unauthenticated_invoke: raw.allow_unauthenticated_invoke,
            authenticated_keepalives: raw.authenticated_keepalives,
            tls,
            statsd,
        })
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

/// The address by which this machine would reach another. Nothing is sent.
fn own_address(to: Option<&Peer>) -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    let (host, port) = to.map_or(("192.0.2.1", 1), |peer| (peer.at.host.as_str(), peer.at.port));
    socket.connect((host, port)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
