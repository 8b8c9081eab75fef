//! Queries to MySQL, MariaDB or PostgreSQL, by [sqlx](https://docs.rs/sqlx).
//!
//! A connection is kept from probe to probe; when it turns out to be broken the probe tries once more with a new one.
//! Queries go as they are (the simple protocol), and values come as text. What a peer that is no database may send is
//! sqlx's to read, which in places panics over it: that is caught ([`guarded`]), and the probe has failed.

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

/// How long to say goodbye may take.
const GOODBYE: std::time::Duration = std::time::Duration::from_millis(500);
/// The most rows of one query that are looked at.
const MOST_ROWS: usize = 100_000;

/// A connection that is kept, if there is one.
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

/// Whether all queries can be carried out, and the values are there.
pub(super) async fn passes(check: &SqlCheck, kept: &Arc<SqlConnections>) -> Checked {
    let mut place = kept.0.lock().await;
    // Taken while it is used: what is given up in the midst of a query is not used again.
    let before = place.take();
    let had_one = before.is_some();
    let first = guarded(attempt(check, before)).await;
    let result = match first {
        Ok(Ok(connection)) => Ok(connection),
        // What was kept may have been closed in between, which says nothing about now.
        Ok(Err(error)) if had_one && is_of_the_connection(&error) => guarded(attempt(check, None))
            .await
            .map_err(Trouble::Panic)
            .and_then(|done| done.map_err(Trouble::Sql)),
        Ok(Err(error)) => Err(Trouble::Sql(error)),
        Err(panic) => Err(Trouble::Panic(panic)),
    };
    match result {
        Ok(connection) => {
            *place = Some(connection);
            Ok(())
        }
        Err(trouble) => Err(problem(check, &trouble)),
    }
}

/// Carries out queries on a connection of their own.
pub(super) async fn carried_out(check: &SqlCheck) -> Checked {
    let done = async {
        let connection = attempt(check, None).await?;
        connection.close().await;
        Ok(())
    };
    let done = guarded(done)
        .await
        .map_err(Trouble::Panic)
        .and_then(|done: Result<(), Failed>| done.map_err(Trouble::Sql));
    done.map_err(|trouble| problem(check, &trouble))
}

/// Why it did not work.
enum Failed {
    Sql(sqlx::Error),
    /// The values are not there.
    Missing(String),
}

enum Trouble {
    Sql(Failed),
    Panic(String),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// Is it about the connection, and not about the database? The server says so when it ends one: 57P01 to 57P05 and class
/// 08 of PostgreSQL; 1053, 1927 and 4031 of MySQL and MariaDB.
fn is_of_the_connection(failed: &Failed) -> bool {
    match failed {
        Failed::Sql(sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_)) => true,
        Failed::Sql(sqlx::Error::Database(error)) => {
            let state = error.code().unwrap_or_default();
            match error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number) {
                Some(number) => matches!(number, 1053 | 1927 | 4031),
                None => state.starts_with("57P0") || state.starts_with("08"),
            }
        }
        Failed::Sql(_) | Failed::Missing(_) => false,
    }
}

fn problem(check: &SqlCheck, trouble: &Trouble) -> Problem {
    let (name, login) = (check.server.name(), &check.login);
    let what = match trouble {
        Trouble::Sql(Failed::Missing(what)) => what.clone(),
        Trouble::Sql(Failed::Sql(error)) => words(error, name),
        Trouble::Panic(what) => format!("that is no answer of {name}: {what}"),
    };
    Problem::Failed(format!(
        "{name} at {}: {}",
        login.place,
        spec::text::one_line(&login.without_password(&what))
    ))
}

fn words(error: &sqlx::Error, name: &str) -> String {
    match error {
        // Without the line of the server's source.
        sqlx::Error::Database(error) => match error.code() {
            Some(code) => format!("{} ({code})", error.message()),
            None => error.message().to_owned(),
        },
        sqlx::Error::Io(error) => spec::text::describe(error),
        sqlx::Error::Protocol(what) => format!("that is no answer of {name}: {what}"),
        other => {
            let text = other.to_string();
            text.strip_prefix("error occurred while attempting to establish a TLS connection: ")
                .map_or_else(|| text.clone(), |rest| format!("TLS: {rest}"))
        }
    }
}

/// Carries out all queries, and returns the connection for the next time.
async fn attempt(check: &SqlCheck, kept: Option<Connection>) -> Result<Connection, Failed> {
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
        rows += connection.look(query, &mut missing).await?;
    }
    if let Some(first) = missing.first() {
        // What there is instead may be nobody's business.
        return Err(Failed::Missing(format!("'{first}' is in the first column of none of {rows} rows")));
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

    /// Carries out a query. What its first column holds is missing no more.
    async fn look(&mut self, query: &str, missing: &mut BTreeSet<&str>) -> Result<usize, sqlx::Error> {
        let query = sqlx::raw_sql(AssertSqlSafe(query));
        let mut count = 0;
        match self {
            Self::MySql(connection) => {
                let mut rows = connection.fetch(query);
                while let Some(row) = rows.try_next().await? {
                    if count < MOST_ROWS && !row.is_empty() {
                        let value: Option<&[u8]> = row.try_get_unchecked(0)?;
                        found(value, missing);
                    }
                    count += 1;
                }
            }
            Self::Postgres(connection) => {
                let mut rows = connection.fetch(query);
                while let Some(row) = rows.try_next().await? {
                    if count < MOST_ROWS && !row.is_empty() {
                        let value = row.try_get_raw(0)?;
                        if !value.is_null() {
                            found(value.as_bytes().ok(), missing);
                        }
                    }
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    /// Says goodbye, so that the server does not complain about us.
    async fn close(self) {
        let _ = timeout(GOODBYE, async {
            match self {
                Self::MySql(connection) => connection.close().await,
                Self::Postgres(connection) => connection.close().await,
            }
        })
        .await;
    }
}

fn found(value: Option<&[u8]>, missing: &mut BTreeSet<&str>) {
    if let Some(text) = value.and_then(|value| std::str::from_utf8(value).ok()) {
        missing.remove(text);
    }
}

fn mysql(login: &ConnectionInfo) -> MySqlConnectOptions {
    // No variables are set: proxies need not allow it, and queries mean what they mean to other clients.
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
        // The name of the socket is made of its directory and the port.
        Endpoint::Unix(path) => {
            let port = path.extension().and_then(|port| port.to_str()?.parse().ok()).unwrap_or(5432);
            options.socket(path.parent().unwrap_or(path)).port(port)
        }
    };
    if let Some(user) = &login.user {
        options = options.username(user);
    }
    // Said in any case: what is not would be taken from our own environment.
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
