//! The actions of probes and hooks, resolved: nothing is left to look up.

use std::path::PathBuf;
use std::time::Duration;

use crate::dsn::ConnectionInfo;
use crate::program::Program;

/// One check of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// An HTTP request; passes with status 200 to 399.
    Http(HttpCheck),
    /// A TCP connection; passes if it is accepted.
    Tcp { host: String, port: u16 },
    /// The gRPC health service; passes if it reports SERVING.
    Grpc {
        host: String,
        port: u16,
        /// The service; empty for the server as a whole.
        service: String,
    },
    /// A command; passes with exit code 0.
    Exec(Program),
    /// A file; passes if it exists.
    File(PathBuf),
    /// An environment variable; passes if it has the expected value.
    Env {
        name: String,
        expected: String,
        /// The value that the process gets.
        actual: Option<String>,
    },
    /// Restarts; passes with at most `threshold` of them within `period`.
    FloatingPid { period: Duration, threshold: u32 },
    /// A heartbeat; passes if the last one is not older.
    HeartBeat(Duration),
    /// SQL queries; passes if they succeed and return what is expected.
    Sql(SqlCheck),
    /// An AMQP broker; passes if it opens a connection.
    Amqp {
        login: ConnectionInfo,
        /// Whether the connection is kept open between probes.
        keep: bool,
    },
    /// Redis; passes if it answers PING.
    Redis(ConnectionInfo),
}

/// SQL queries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlCheck {
    pub server: SqlServer,
    pub login: ConnectionInfo,
    /// Run one after the other.
    pub queries: Vec<String>,
    /// Values that must occur in the first columns.
    pub contains: Vec<String>,
}

/// The kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlServer {
    /// MySQL or MariaDB.
    MySql,
    /// PostgreSQL.
    Postgres,
}

impl SqlServer {
    /// The name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::Postgres => "postgres",
        }
    }

    /// The environment variable that holds its DSN.
    #[must_use]
    pub const fn variable(self) -> &'static str {
        match self {
            Self::MySql => "MYSQL_DSN",
            Self::Postgres => "POSTGRES_DSN",
        }
    }
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// Whether TLS is used, without verification of the certificate.
    pub tls: bool,
    /// The host name or address to connect to.
    pub host: String,
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Names are in lower case.
    pub headers: Vec<(String, String)>,
}

/// The action of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A command; succeeds with exit code 0.
    Exec(Program),
    /// An HTTP request; any response counts as success.
    Http(HttpCheck),
    /// A TCP connection; succeeds if it is accepted.
    Tcp { host: String, port: u16 },
    /// A pause.
    Sleep(Duration),
    /// SQL queries.
    Sql(SqlCheck),
}

impl HttpCheck {
    /// A request to a URL.
    ///
    /// # Errors
    ///
    /// It is not an `http` or `https` URL with a host.
    pub fn of_url(url: &str) -> Result<Self, String> {
        let uri: http::Uri =
            url.parse().map_err(|_| "expected a URL such as http://localhost:8080/health".to_owned())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("expected http:// or https://".to_owned()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("the host is missing")?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        Ok(Self {
            tls,
            host: bare.to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: path.to_owned(),
            headers: Vec::new(),
        })
    }
}
