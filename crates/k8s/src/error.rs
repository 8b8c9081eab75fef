//! What can go wrong: each error names what, where, and what was expected.

use std::path::PathBuf;
use std::time::Duration;

/// Why the API could not tell us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubeError {
    /// A variable that the kubelet gives to every container is not as it should be.
    #[error(
        "the variable {name} {why}: the kubelet sets it in every container of a pod; this is no pod, or the \
         environment was cleared"
    )]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A file of the service account cannot be used.
    #[error(
        "{what} in {}: {why}: a pod has this file unless automountServiceAccountToken is false in its spec or \
         in its service account", .file.display()
    )]
    File {
        /// What the file should hold.
        what: &'static str,
        /// Where it should be.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS cannot be set up at all.
    #[error("TLS to the API server is impossible: {why}")]
    Impossible {
        /// What the library says.
        why: String,
    },
    /// No object can have this name.
    #[error(
        "'{name}' is no name of a {what}: it may hold a-z, 0-9, '-'{dots}, begins and ends with a letter or \
         a digit, and has at most {most} characters", dots = dots(.what)
    )]
    Name {
        /// What was to be named.
        what: &'static str,
        /// The name.
        name: String,
        /// The most characters of such a name.
        most: usize,
    },
    /// There is no connection.
    #[error("cannot connect to the API server {server}: {why}")]
    Connect {
        /// Host and port.
        server: String,
        /// What the system says.
        why: String,
    },
    /// The server is not who it should be.
    #[error("the certificate of the API server {server} is not trusted: {why}")]
    Certificate {
        /// Host and port.
        server: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server does not speak as we do, or breaks off.
    #[error("no answer of the API server {server} to '{request}': {why}")]
    Exchange {
        /// Host and port.
        server: String,
        /// What was asked.
        request: String,
        /// What happened instead.
        why: String,
    },
    /// The server takes too long.
    #[error("the API server {server} gave no {what} within {limit:?} ('{request}')")]
    Slow {
        /// Host and port.
        server: String,
        /// What was asked.
        request: String,
        /// What was waited for.
        what: &'static str,
        /// For how long.
        limit: Duration,
    },
    /// 401: the server does not know us.
    #[error(
        "the API server does not accept the token in {} (401 to '{request}'): {message}: it has expired, or is \
         of another cluster", .token.display()
    )]
    Unauthorized {
        /// What was asked.
        request: String,
        /// Where the token is from.
        token: PathBuf,
        /// What the server says.
        message: String,
    },
    /// 403: we may not do this.
    #[error(
        "the service account {account}may not {verb} pods in namespace {namespace}: it needs a Role with get, \
         list and watch on pods (docs/kubernetes/role.yaml); the API server says: {message}",
        account = spaced(.account.as_deref())
    )]
    Forbidden {
        /// Who we are to the server, if it says so.
        account: Option<String>,
        /// get, list or watch.
        verb: &'static str,
        /// Where.
        namespace: String,
        /// What the server says.
        message: String,
    },
    /// Any other answer that is not 200, or the same as an event of a watch.
    #[error("the API server answers {code} to '{request}': {message}")]
    Status {
        /// What was asked.
        request: String,
        /// The code of HTTP.
        code: u16,
        /// What the server says.
        message: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The answer cannot be read.
    #[error("the answer to '{request}' is not what the API server sends: {why}; it begins with: {beginning}")]
    Malformed {
        /// What was asked.
        request: String,
        /// What was expected, and where.
        why: String,
        /// The first characters.
        beginning: String,
    },
    /// The answer, or a line of it, is longer than we read.
    #[error("{what} of the answer to '{request}' is longer than {limit} bytes")]
    Long {
        /// What was asked.
        request: String,
        /// What is too long.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A watch ends as soon as it is begun, again and again.
    #[error("the API server, or something in between, ends each watch at once ('{request}')")]
    Cut {
        /// What was asked.
        request: String,
    },
}

/// What sort of trouble an error is. Two errors of a kind have the same remedy, whatever their texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The environment, the service account's files or a name: see the error.
    Configuration,
    /// No connection, or it breaks off.
    Connection,
    /// The server is not who it should be.
    Certificate,
    /// Too slow.
    Slow,
    /// An answer with this code of HTTP.
    Status(u16),
    /// An answer that cannot be read.
    Answer,
}

impl KubeError {
    /// What sort of trouble this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Variable { .. } | Self::File { .. } | Self::Impossible { .. } | Self::Name { .. } => {
                Kind::Configuration
            }
            Self::Connect { .. } | Self::Exchange { .. } | Self::Cut { .. } => Kind::Connection,
            Self::Certificate { .. } => Kind::Certificate,
            Self::Slow { .. } => Kind::Slow,
            Self::Unauthorized { .. } => Kind::Status(401),
            Self::Forbidden { .. } => Kind::Status(403),
            Self::Status { code, .. } => Kind::Status(*code),
            Self::Malformed { .. } | Self::Long { .. } => Kind::Answer,
        }
    }

    /// How long the server wants to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What else may stand in a name.
fn dots(what: &str) -> &'static str {
    if what == "pod" { " and '.'" } else { "" }
}

/// A word that may be missing, with the space after it.
fn spaced(word: Option<&str>) -> String {
    word.map(|word| format!("{word} ")).unwrap_or_default()
}
