//! Endpoints and credentials of etcd.

use std::fmt;
use std::time::Duration;

use thiserror::Error;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// Default port of a client URL.
const PORT: u16 = 2379;

/// Connection options of etcd.
#[derive(Clone, Default)]
pub struct Options {
    /// `host`, `host:port` or a URL for each node of the cluster.
    pub endpoints: Vec<String>,
    /// CA bundle for the servers (PEM). If set, connections use TLS.
    pub ca: Option<Vec<u8>>,
    /// Client certificate and its key (PEM).
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Name and password of an etcd user.
    pub user: Option<(String, String)>,
    pub limits: Limits,
}

impl fmt::Debug for Options {
    /// Without keys and passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("endpoints", &self.endpoints)
            .field("ca", &self.ca.is_some())
            .field("identity", &self.identity.is_some())
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("limits", &self.limits)
            .finish()
    }
}

/// Time limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Limit for a connection.
    pub connect: Duration,
    /// Limit for the response of one node to an idempotent request.
    pub node: Duration,
    /// Limit for a request over all attempts.
    pub all: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), node: Duration::from_secs(1), all: Duration::from_secs(4) }
    }
}

/// The options are invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionsError {
    /// No endpoint is given.
    #[error("no etcd endpoint: expected host, host:port or a URL")]
    None,
    /// An endpoint is invalid.
    #[error("invalid etcd endpoint '{0}': expected host, host:port, http://host:port or https://host:port")]
    Endpoint(String),
    /// The certificates or the key are invalid.
    #[error("invalid certificates for etcd: {0}")]
    Tls(String),
}

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// The URL, for messages.
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
}

impl Options {
    pub(crate) fn nodes(&self) -> Result<Vec<Node>, OptionsError> {
        let encrypted = self.ca.is_some() || self.identity.is_some();
        let mut nodes = Vec::new();
        for given in self.endpoints.iter().map(|given| given.trim()).filter(|given| !given.is_empty()) {
            // A password in the URL must not appear in messages.
            let named = given.rsplit_once('@').map_or(given, |(_, host)| host);
            let url = url(given, encrypted).ok_or_else(|| OptionsError::Endpoint(named.to_owned()))?;
            let wrong = |_| OptionsError::Endpoint(named.to_owned());
            let mut endpoint = Endpoint::from_shared(url.clone())
                .map_err(wrong)?
                .connect_timeout(self.limits.connect)
                .tcp_nodelay(true)
                // Detects a hung node: these are answered by the program, TCP keepalives only by the kernel.
                .http2_keep_alive_interval(self.limits.node)
                .keep_alive_timeout(self.limits.node)
                .keep_alive_while_idle(false);
            if url.starts_with("https://") {
                let mut tls = ClientTlsConfig::new();
                if let Some(ca) = &self.ca {
                    tls = tls.ca_certificate(Certificate::from_pem(ca));
                }
                if let Some((certificate, key)) = &self.identity {
                    tls = tls.identity(Identity::from_pem(certificate, key));
                }
                endpoint = endpoint.tls_config(tls).map_err(|error| OptionsError::Tls(chain(&error)))?;
            }
            nodes.push(Node { name: url, endpoint });
        }
        if nodes.is_empty() { Err(OptionsError::None) } else { Ok(nodes) }
    }
}

/// Returns the complete URL of an endpoint.
fn url(given: &str, encrypted: bool) -> Option<String> {
    let (scheme, rest) = match given.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some(_) => return None,
        None if encrypted => ("https", given),
        None => ("http", given),
    };
    let authority: http::uri::Authority = rest.trim_end_matches('/').parse().ok()?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return None;
    }
    let port = match authority.as_str().strip_prefix(authority.host())? {
        "" => PORT,
        port => port.strip_prefix(':')?.parse().ok().filter(|port| *port > 0)?,
    };
    Some(format!("{scheme}://{}:{port}", authority.host()))
}

/// Formats an error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_endpoints_with_and_without_port_and_scheme() {
        for (given, encrypted, expected) in [
            ("etcd", false, Some("http://etcd:2379")),
            ("etcd", true, Some("https://etcd:2379")),
            ("etcd:1", false, Some("http://etcd:1")),
            ("http://etcd:1/", true, Some("http://etcd:1")),
            ("https://[::1]:2", false, Some("https://[::1]:2")),
            ("[::1]", false, Some("http://[::1]:2379")),
            ("ftp://etcd", false, None),
            ("etcd:port", false, None),
            ("etcd:0", false, None),
            ("user:secret@etcd", false, None),
            ("a b", false, None),
            ("", false, None),
        ] {
            assert_eq!(url(given, encrypted).as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn debug_output_has_no_secrets() {
        let options = Options {
            endpoints: vec!["etcd".to_owned()],
            identity: Some((b"certificate".to_vec(), b"private key".to_vec())),
            user: Some(("root".to_owned(), "pass word".to_owned())),
            ..Options::default()
        };
        let shown = format!("{options:?}");
        assert!(shown.contains("root") && !shown.contains("pass word"), "{shown}");
        assert!(!shown.contains("private key") && !shown.contains("112, 114, 105, 118"), "{shown}");
    }

    #[test]
    fn reports_invalid_endpoints_without_passwords() {
        let none = Options::default();
        assert_eq!(none.nodes().err(), Some(OptionsError::None));
        let bad = Options { endpoints: vec!["x y".to_owned()], ..Options::default() };
        assert_eq!(bad.nodes().err(), Some(OptionsError::Endpoint("x y".to_owned())));
        let login = Options { endpoints: vec!["http://u:pass@x".to_owned()], ..Options::default() };
        assert_eq!(login.nodes().err(), Some(OptionsError::Endpoint("x".to_owned())));
        let no_pem =
            Options { endpoints: vec!["x".to_owned()], ca: Some(b"none".to_vec()), ..Options::default() };
        assert!(no_pem.nodes().is_err() || no_pem.nodes().is_ok_and(|nodes| nodes.len() == 1));
    }
}
