//! Execution of probes and hooks, one file per kind. The engine evaluates the results.
//!
//! A check fails when the process does not behave as required. It is impossible when sexton cannot perform it (no
//! descriptor, no process left): that says nothing about the process.

mod amqp;
mod exec;
mod grpc;
mod guarded;
pub(crate) mod http;
mod login;
mod redis;
mod sql;
mod tcp;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use engine::{AttemptId, Event, ProbeResult};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use spec::probe::{Action, Check};
use spec::text::{describe, one_line};

pub use exec::{Group, SpawnRequest, SpawnSender};
pub use guarded::abort_on_panic;

/// Entry points of the fuzz targets into the parsers of responses.
#[doc(hidden)]
pub mod fuzz {
    /// Parses what an AMQP server sends.
    pub fn amqp(received: &[u8]) -> Result<usize, String> {
        super::amqp::parse_all(received)
    }

    /// Parses the response of a Redis server.
    pub fn redis(answer: &[u8]) -> Result<Option<String>, String> {
        super::redis::parse(answer)
    }
}

/// The maximum number of bytes read of a response, as in the kubelet.
const MAX_READ: usize = 10 << 10;
/// The maximum number of bytes of a response that appear in a message.
const MAX_SHOWN: usize = 256;

/// The reason why a check did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The process does not behave as required.
    Failed(String),
    /// The check could not be performed.
    Impossible(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed(reason) | Self::Impossible(reason)) = self;
        f.write_str(reason)
    }
}

type Checked = Result<(), Problem>;

/// Facts about a process that its checks need.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Time since each of its restarts.
    pub restarts: Vec<Duration>,
    /// Time since the last heartbeat, or since its start if there was none.
    pub heart_beat: Duration,
}

/// Connections that are reused by later probes.
#[derive(Debug, Clone, Default)]
pub struct ProbeConnections {
    sql: Arc<sql::SqlConnections>,
    amqp: Arc<amqp::AmqpConnections>,
}

/// Starts a probe. Its result is sent to `results`.
pub fn begin_probe(
    attempt: AttemptId,
    checks: Arc<[Check]>,
    limit: Duration,
    facts: Facts,
    connections: ProbeConnections,
    spawner: SpawnSender,
    results: mpsc::UnboundedSender<Event>,
) -> AbortHandle {
    let task = tokio::spawn(async move {
        let all = async {
            for check in checks.iter() {
                run_check(check, &facts, &connections, &spawner).await?;
            }
            Ok(())
        };
        let result = match timeout(limit, all).await {
            Ok(Ok(())) => ProbeResult::Passed,
            // A reason may quote what a server or a command has written.
            Ok(Err(Problem::Failed(reason))) => ProbeResult::Failed(one_line(&reason)),
            Ok(Err(Problem::Impossible(reason))) => ProbeResult::Impossible(one_line(&reason)),
            Err(_) => ProbeResult::Failed(format!("no response within {limit:?}")),
        };
        // Err: the receiver is gone, so the result is no longer needed.
        let _ = results.send(Event::Probed { attempt, result });
    });
    task.abort_handle()
}

/// Starts a hook. The engine enforces its timeout.
pub fn begin_hook(
    attempt: AttemptId,
    action: Arc<Action>,
    spawner: SpawnSender,
    results: mpsc::UnboundedSender<Event>,
) -> AbortHandle {
    let task = tokio::spawn(async move {
        let result = match &*action {
            Action::Exec(program) => exec::run(program, &spawner).await,
            Action::Http(check) => http::answers(check).await,
            Action::Tcp { host, port } => tcp::connects(host, *port).await,
            Action::Sleep(pause) => {
                tokio::time::sleep(*pause).await;
                Ok(())
            }
            Action::Sql(check) => sql::execute(check).await,
        };
        let failed = result.err().map(|problem| one_line(&problem.to_string()));
        let _ = results.send(Event::HookFinished { attempt, failed });
    });
    task.abort_handle()
}

async fn run_check(
    check: &Check,
    facts: &Facts,
    connections: &ProbeConnections,
    spawner: &SpawnSender,
) -> Checked {
    match check {
        Check::Http(check) => http::passes(check).await,
        Check::Tcp { host, port } => tcp::connects(host, *port).await,
        Check::Grpc { host, port, service } => grpc::serves(host, *port, service).await,
        Check::Exec(program) => exec::run(program, spawner).await,
        Check::File(path) => match std::fs::metadata(path) {
            Ok(_) => Ok(()),
            Err(error) => Err(Problem::Failed(format!("{}: {}", path.display(), describe(&error)))),
        },
        Check::Env { name, expected, actual } => {
            // Values of variables may be secret.
            match actual {
                Some(actual) if actual == expected => Ok(()),
                Some(_) => Err(Problem::Failed(format!("{name} has not the expected value"))),
                None => Err(Problem::Failed(format!("{name} is not set"))),
            }
        }
        Check::FloatingPid { period, threshold } => {
            let count = facts.restarts.iter().filter(|ago| *ago <= period).count();
            if count <= usize::try_from(*threshold).unwrap_or(usize::MAX) {
                return Ok(());
            }
            Err(Problem::Failed(format!("restarted {count} times within {period:?}, maximum {threshold}")))
        }
        Check::HeartBeat(period) => {
            let ago = facts.heart_beat;
            let late = || Problem::Failed(format!("no heartbeat for {:.1}s", ago.as_secs_f64()));
            if ago <= *period { Ok(()) } else { Err(late()) }
        }
        Check::Sql(check) => sql::passes(check, &connections.sql).await,
        Check::Amqp { login, keep } => amqp::passes(login, keep.then_some(&connections.amqp)).await,
        Check::Redis(login) => redis::pings(login).await,
    }
}

/// Connects to a host by name or address.
pub(crate) async fn connect(host: &str, port: u16) -> Result<TcpStream, Problem> {
    let failed = |error: &io::Error| Problem::Failed(format!("{host}:{port}: {}", describe(error)));
    net::connect::connect(host, port).await.map_err(|error| match error.raw_os_error() {
        // A shortage of system resources is not the process's fault.
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL) => {
            Problem::Impossible(describe(&error))
        }
        _ => failed(&error),
    })
}

/// TLS on a connection, without verification of the certificate.
async fn encrypt(stream: TcpStream, host: &str) -> Result<impl net::tls::Stream + use<>, Problem> {
    let encrypted = net::tls_unverified::encrypt(stream, host).await;
    encrypted.map_err(|error| Problem::Failed(format!("TLS: {}", describe(&error))))
}

/// The start of a response, for a message.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_SHOWN)]);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
