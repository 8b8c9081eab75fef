//! Queries to MySQL, MariaDB or PostgreSQL with [sqlx](https://docs.rs/sqlx).
//!
//! A connection is reused by later probes; if it turns out to be broken, the probe retries once with a new one.
//! Queries use the simple protocol, and values arrive as text. sqlx sometimes panics on data from a peer that is not a
//! database server: that is caught ([`guarded`]) and fails the probe.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _, ValueRef as _};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::guarded::guarded;
use super::{Checked, Problem};
use spec::dsn::{ConnectionInfo, Endpoint, Secret, Tls};
use spec::probe::{SqlCheck, SqlServer};

/// The timeout for closing a connection.
const CLOSE_TIMEOUT: std::time::Duration = std::time::Duration::from_millis(500);
/// The maximum number of rows per query whose values are compared.
const MAX_ROWS: usize = 100_000;

/// The kept connection, if any.
#[derive(Default)]
pub(super) struct SqlConnections(Mutex<Option<Connection>>);

impl std::fmt::Debug for SqlConnections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

enum Connection {
    MySql(MySqlConnection),
    Postgres(PgConnection),
}

/// Passes if all queries succeed and the expected values are found.
pub(super) async fn passes(check: &SqlCheck, kept: &Arc<SqlConnections>) -> Checked {
    let mut slot = kept.0.lock().await;
    // Taken while in use, so that a connection cancelled in the middle of a query is not reused.
    let before = slot.take();
    let reused = before.is_some();
    let first = guarded(attempt(check, before)).await;
    let result = match first {
        Ok(Ok(connection)) => Ok(connection),
        // A reused connection may have been closed in between: retry with a new one.
        Ok(Err(error)) if reused && is_connection_error(&error) => guarded(attempt(check, None))
            .await
            .map_err(Failure::Panic)
            .and_then(|done| done.map_err(Failure::Sql)),
        Ok(Err(error)) => Err(Failure::Sql(error)),
        Err(panic) => Err(Failure::Panic(panic)),
    };
    match result {
        Ok(connection) => {
            *slot = Some(connection);
            Ok(())
        }
        Err(failure) => Err(problem(check, &failure)),
    }
}

/// Executes queries on a connection of their own.
pub(super) async fn execute(check: &SqlCheck) -> Checked {
    let done = async {
        let connection = attempt(check, None).await?;
        connection.close().await;
        Ok(())
    };
    let done = guarded(done)
        .await
        .map_err(Failure::Panic)
        .and_then(|done: Result<(), QueryError>| done.map_err(Failure::Sql));
    done.map_err(|failure| problem(check, &failure))
}

/// An error of a query, or a missing value.
enum QueryError {
    Sql(sqlx::Error),
    /// The first value that was not found.
    Missing(String),
}

enum Failure {
    Sql(QueryError),
    Panic(String),
}

impl From<sqlx::Error> for QueryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// Whether the error concerns the connection, not the query. Servers close connections with 57P01 to 57P05 and class 08
/// (PostgreSQL), or 1053, 1927 and 4031 (MySQL and MariaDB).
fn is_connection_error(failed: &QueryError) -> bool {
    match failed {
        QueryError::Sql(sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_)) => true,
        QueryError::Sql(sqlx::Error::Database(error)) => {
            let state = error.code().unwrap_or_default();
            match error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number) {
                Some(number) => matches!(number, 1053 | 1927 | 4031),
                None => state.starts_with("57P0") || state.starts_with("08"),
            }
        }
        QueryError::Sql(_) | QueryError::Missing(_) => false,
    }
}

fn problem(check: &SqlCheck, failure: &Failure) -> Problem {
    let (name, login) = (check.server.name(), &check.login);
    let text = match failure {
        Failure::Sql(QueryError::Missing(text)) => text.clone(),
        Failure::Sql(QueryError::Sql(error)) => error_text(error, name),
        Failure::Panic(text) => format!("not a {name} response: {text}"),
    };
    Problem::Failed(format!(
        "{name} at {}: {}",
        login.place,
        spec::text::one_line(&login.without_password(&text))
    ))
}

fn error_text(error: &sqlx::Error, name: &str) -> String {
    match error {
        // Without the source position in the server.
        sqlx::Error::Database(error) => match error.code() {
            Some(code) => format!("{} ({code})", error.message()),
            None => error.message().to_owned(),
        },
        sqlx::Error::Io(error) => spec::text::describe(error),
        sqlx::Error::Protocol(text) => format!("not a {name} response: {text}"),
        other => {
            let text = other.to_string();
            text.strip_prefix("error occurred while attempting to establish a TLS connection: ")
                .map_or_else(|| text.clone(), |rest| format!("TLS: {rest}"))
        }
    }
}

/// Executes all queries and returns the connection for reuse.
async fn attempt(check: &SqlCheck, kept: Option<Connection>) -> Result<Connection, QueryError> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => Connection::open(check).await?,
    };
    let mut missing: BTreeSet<&str> = check.contains.iter().map(String::as_str).collect();
    let mut rows = 0;
    if check.queries.is_empty() {
        connection.ping().await?;
    }
    for query in &check.queries {
        rows += connection.run_query(query, &mut missing).await?;
    }
    if let Some(first) = missing.first() {
        // The actual values may be confidential.
        return Err(QueryError::Missing(format!("'{first}' not found in the first column ({rows} rows)")));
    }
    Ok(connection)
}

impl Connection {
    async fn open(check: &SqlCheck) -> Result<Self, sqlx::Error> {
        Ok(match check.server {
            SqlServer::MySql => Self::MySql(mysql(&check.login).connect().await?),
            SqlServer::Postgres => Self::Postgres(postgres(&check.login).connect().await?),
        })
    }

    async fn ping(&mut self) -> Result<(), sqlx::Error> {
        match self {
            Self::MySql(connection) => connection.ping().await,
            Self::Postgres(connection) => connection.ping().await,
        }
    }

    /// Executes a query and removes the values of its first column from `missing`. Returns the number of rows.
    async fn run_query(&mut self, query: &str, missing: &mut BTreeSet<&str>) -> Result<usize, sqlx::Error> {
        let query = sqlx::raw_sql(AssertSqlSafe(query));
        let mut count = 0;
        match self {
            Self::MySql(connection) => {
                let mut rows = connection.fetch(query);
                while let Some(row) = rows.try_next().await? {
                    if count < MAX_ROWS && !row.is_empty() {
                        let value: Option<&[u8]> = row.try_get_unchecked(0)?;
                        remove_found(value, missing);
                    }
                    count += 1;
                }
            }
            Self::Postgres(connection) => {
                let mut rows = connection.fetch(query);
                while let Some(row) = rows.try_next().await? {
                    if count < MAX_ROWS && !row.is_empty() {
                        let value = row.try_get_raw(0)?;
                        if !value.is_null() {
                            remove_found(value.as_bytes().ok(), missing);
                        }
                    }
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    /// Closes the connection gracefully, so that the server does not log an aborted client.
    async fn close(self) {
        let _ = timeout(CLOSE_TIMEOUT, async {
            match self {
                Self::MySql(connection) => connection.close().await,
                Self::Postgres(connection) => connection.close().await,
            }
        })
        .await;
    }
}

fn remove_found(value: Option<&[u8]>, missing: &mut BTreeSet<&str>) {
    if let Some(text) = value.and_then(|value| std::str::from_utf8(value).ok()) {
        missing.remove(text);
    }
}

fn mysql(login: &ConnectionInfo) -> MySqlConnectOptions {
    // Session variables are left alone: proxies may not allow them, and queries work as with other clients.
    let mut options = MySqlConnectOptions::new()
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .set_names(false)
        .statement_cache_capacity(0);
    options = match &login.place {
        Endpoint::Tcp { host, port } => options.host(host).port(*port),
        Endpoint::Unix(path) => options.socket(path),
    };
    if let Some(user) = &login.user {
        options = options.username(user);
    }
    if let Some(password) =
        login.password.as_ref().map(Secret::reveal).filter(|password| !password.is_empty())
    {
        options = options.password(password);
    }
    if let Some(database) = &login.database {
        options = options.database(database);
    }
    options = match &login.tls {
        Tls::Off => options.ssl_mode(MySqlSslMode::Disabled),
        Tls::IfOffered => options.ssl_mode(MySqlSslMode::Preferred),
        Tls::Unverified => options.ssl_mode(MySqlSslMode::Required),
        Tls::Verified { name: false, .. } => options.ssl_mode(MySqlSslMode::VerifyCa),
        Tls::Verified { name: true, .. } => options.ssl_mode(MySqlSslMode::VerifyIdentity),
    };
    if let Tls::Verified { ca: Some(ca), .. } = &login.tls {
        options = options.ssl_ca(ca);
    }
    options.disable_statement_logging()
}

fn postgres(login: &ConnectionInfo) -> PgConnectOptions {
    let mut options =
        PgConnectOptions::new_without_pgpass().extra_float_digits(None).statement_cache_capacity(0);
    options = match &login.place {
        Endpoint::Tcp { host, port } => options.host(host).port(*port),
        // The name of the socket file is made of its directory and the port.
        Endpoint::Unix(path) => {
            let port = path.extension().and_then(|port| port.to_str()?.parse().ok()).unwrap_or(5432);
            options.socket(path.parent().unwrap_or(path)).port(port)
        }
    };
    if let Some(user) = &login.user {
        options = options.username(user);
    }
    // Always set: otherwise it would come from the environment of sexton.
    options = options.password(login.password.as_ref().map_or("", Secret::reveal));
    if let Some(database) = login.database.as_ref().or(login.user.as_ref()) {
        options = options.database(database);
    }
    options = match &login.tls {
        Tls::Off => options.ssl_mode(PgSslMode::Disable),
        Tls::IfOffered => options.ssl_mode(PgSslMode::Prefer),
        Tls::Unverified => options.ssl_mode(PgSslMode::Require),
        Tls::Verified { name: false, .. } => options.ssl_mode(PgSslMode::VerifyCa),
        Tls::Verified { name: true, .. } => options.ssl_mode(PgSslMode::VerifyFull),
    };
    if let Tls::Verified { ca: Some(ca), .. } = &login.tls {
        options = options.ssl_root_cert(ca);
    }
    options.application_name("sexton").disable_statement_logging()
}
