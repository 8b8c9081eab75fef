//! The actions of probes and hooks, complete: nothing is left to look up.

use std::path::PathBuf;
use std::time::Duration;

use crate::dsn::ConnectionInfo;
use crate::program::Program;

/// One thing that a probe checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A request is answered with 200 to 399.
    Http(HttpCheck),
    /// A connection is accepted.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// The health service of gRPC says SERVING.
    Grpc {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// About which service; empty: the server.
        service: String,
    },
    /// A command ends with 0.
    Exec(Program),
    /// A file is there.
    File(PathBuf),
    /// A variable has this value.
    Env {
        /// Its name.
        name: String,
        /// The value that it should have.
        expected: String,
        /// The value that the process gets.
        actual: Option<String>,
    },
    /// It was restarted no more often than this.
    FloatingPid {
        /// Within this time.
        period: Duration,
        /// So often.
        threshold: u32,
    },
    /// Somebody said no longer ago than this that it is alive.
    HeartBeat(Duration),
    /// Queries are carried out, and return what they should.
    Sql(SqlCheck),
    /// A broker opens a connection.
    Amqp {
        /// Where, and who we are.
        login: ConnectionInfo,
        /// The connection is kept.
        keep: bool,
    },
    /// Redis answers a PING.
    Redis(ConnectionInfo),
}

/// Queries to a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlCheck {
    /// Which.
    pub server: SqlServer,
    /// Where, and who we are.
    pub login: ConnectionInfo,
    /// They are carried out one after the other.
    pub queries: Vec<String>,
    /// What their first columns have to hold.
    pub contains: Vec<String>,
}

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlServer {
    /// MySQL or MariaDB.
    MySql,
    /// PostgreSQL.
    Postgres,
}

impl SqlServer {
    /// What people call it.
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

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// Encrypted, without a check of the certificate.
    pub tls: bool,
    /// Name or address to connect to.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

/// What a hook does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A command that ends with 0.
    Exec(Program),
    /// A request; any answer will do.
    Http(HttpCheck),
    /// A connection that is accepted.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A pause.
    Sleep(Duration),
    /// Queries that are carried out.
    Sql(SqlCheck),
}

impl HttpCheck {
    /// A request to a URL.
    pub fn of_url(url: &str) -> Result<Self, String> {
        let uri: http::Uri =
            url.parse().map_err(|_| "expected a URL such as http://localhost:8080/health".to_owned())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("expected http:// or https://".to_owned()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("it names no host")?;
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
