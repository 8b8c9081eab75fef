//! Errors: each names the subject, the reason, and what was expected.

use std::path::PathBuf;
use std::time::Duration;

/// A failure of a request to the API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubeError {
    /// A variable that the kubelet sets in every container is missing or invalid.
    #[error(
        "variable {name} {why}: the kubelet sets it in every container; this process is not in a pod, or its \
         environment was cleared"
    )]
    Variable { name: &'static str, why: String },
    /// A file of the service account is missing or invalid.
    #[error(
        "{what} in {}: {why}: a pod has this file unless automountServiceAccountToken is false in its spec or \
         in its service account", .file.display()
    )]
    File {
        /// Expected content of the file.
        what: &'static str,
        file: PathBuf,
        why: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS to the API server: {why}")]
    TlsSetup { why: String },
    /// The name of an object is invalid.
    #[error(
        "invalid name of a {what} '{name}': expected at most {most} characters a-z, 0-9, '-'{dots}, with a letter \
         or digit at the beginning and end", dots = dots(.what)
    )]
    Name {
        /// Kind of object.
        what: &'static str,
        name: String,
        /// Maximum length of such a name.
        most: usize,
    },
    /// The connection failed.
    #[error("cannot connect to the API server {server}: {why}")]
    Connect { server: String, why: String },
    /// The server certificate is not trusted.
    #[error("the certificate of the API server {server} is not trusted: {why}")]
    Certificate { server: String, why: String },
    /// The server violates the protocol, or the connection was interrupted.
    #[error("request '{request}' to the API server {server} failed: {why}")]
    Exchange { server: String, request: String, why: String },
    /// A time limit was exceeded.
    #[error("the API server {server} gave no {what} within {limit:?} ('{request}')")]
    Timeout {
        server: String,
        request: String,
        /// The missing part.
        what: &'static str,
        limit: Duration,
    },
    /// 401: the token is not accepted.
    #[error(
        "the API server does not accept the token in {} (401 to '{request}'): {message}: it has expired, or is \
         of another cluster", .token.display()
    )]
    Unauthorized {
        request: String,
        /// File with the token.
        token: PathBuf,
        /// Message of the server.
        message: String,
    },
    /// 403: a permission is missing.
    #[error(
        "the service account {account}may not {verb} pods in namespace {namespace}: it needs a Role with get, \
         list and watch on pods (docs/kubernetes/role.yaml); the API server says: {message}",
        account = spaced(.account.as_deref())
    )]
    Forbidden {
        /// The service account, if the server names it.
        account: Option<String>,
        /// get, list or watch.
        verb: &'static str,
        namespace: String,
        /// Message of the server.
        message: String,
    },
    /// Any other status than 200, or such an event of a watch.
    #[error("the API server responded with {code} to '{request}': {message}")]
    Status {
        request: String,
        /// HTTP status code.
        code: u16,
        /// Message of the server.
        message: String,
        /// Pause that the server requests.
        retry_after: Option<Duration>,
    },
    /// The response cannot be parsed.
    #[error("invalid response to '{request}': {why}; it begins with: {beginning}")]
    Malformed {
        request: String,
        why: String,
        /// The first characters of the response.
        beginning: String,
    },
    /// The response, or a line of it, is too long.
    #[error("{what} of the response to '{request}' is longer than {limit} bytes")]
    TooLong {
        request: String,
        /// The part that is too long.
        what: &'static str,
        limit: usize,
    },
    /// Watches end as soon as they have started, repeatedly.
    #[error("the API server or a proxy closes each watch at once ('{request}')")]
    WatchesEndAtOnce { request: String },
}

/// Kind of an error. Errors of the same kind have the same remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Environment, files of the service account, or a name.
    Configuration,
    /// No connection, or an interrupted one.
    Connection,
    /// The server certificate is not trusted.
    Certificate,
    /// A time limit was exceeded.
    Timeout,
    /// A response with this HTTP status code.
    Status(u16),
    /// A response that cannot be parsed.
    Response,
}

impl KubeError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Variable { .. } | Self::File { .. } | Self::TlsSetup { .. } | Self::Name { .. } => {
                Kind::Configuration
            }
            Self::Connect { .. } | Self::Exchange { .. } | Self::WatchesEndAtOnce { .. } => Kind::Connection,
            Self::Certificate { .. } => Kind::Certificate,
            Self::Timeout { .. } => Kind::Timeout,
            Self::Unauthorized { .. } => Kind::Status(401),
            Self::Forbidden { .. } => Kind::Status(403),
            Self::Status { code, .. } => Kind::Status(*code),
            Self::Malformed { .. } | Self::TooLong { .. } => Kind::Response,
        }
    }

    /// Returns the pause that the server requests.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Returns other characters that are allowed in a name.
fn dots(what: &str) -> &'static str {
    if what == "pod" { " and '.'" } else { "" }
}

/// Returns an optional word followed by a space.
fn spaced(word: Option<&str>) -> String {
    word.map(|word| format!("{word} ")).unwrap_or_default()
}
