//! Probes and hooks, carried out: one file for each way. What their results amount to is the engine's matter.
//!
//! A check fails when the process does not do what it should. It is impossible when it is us who cannot ask (no
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
use spec::text::describe;

pub use exec::{Group, SpawnRequest, SpawnSender};
pub use guarded::end_on_panic;

/// How much of what is answered is read, as the kubelet has it.
const MOST_READ: usize = 10 << 10;
/// How much of what is answered is told.
const MOST_TOLD: usize = 256;

/// Why a check did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The process does not do what it should.
    Failed(String),
    /// We cannot ask.
    Impossible(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed(reason) | Self::Impossible(reason)) = self;
        f.write_str(reason)
    }
}

type Checked = Result<(), Problem>;

/// What is known of a process beside what it answers.
#[derive(Debug, Clone)]
pub struct Facts {
    /// How long ago each of its restarts was.
    pub restarts: Vec<Duration>,
    /// How long ago somebody said last that it is alive; since its start, if nobody has.
    pub heart_beat: Duration,
}

/// What is kept from probe to probe.
#[derive(Debug, Clone, Default)]
pub struct ProbeConnections {
    sql: Arc<sql::SqlConnections>,
    amqp: Arc<amqp::AmqpConnections>,
}

/// Begins a probe. Its result goes into `results`.
pub fn begin_probe(
    attempt: AttemptId,
    checks: Arc<[Check]>,
    limit: Duration,
    facts: Facts,
    kept: ProbeConnections,
    runner: SpawnSender,
    results: mpsc::UnboundedSender<Event>,
) -> AbortHandle {
    let task = tokio::spawn(async move {
        let all = async {
            for check in checks.iter() {
                one(check, &facts, &kept, &runner).await?;
            }
            Ok(())
        };
        let result = match timeout(limit, all).await {
            Ok(Ok(())) => ProbeResult::Passed,
            Ok(Err(Problem::Failed(reason))) => ProbeResult::Failed(reason),
            Ok(Err(Problem::Impossible(reason))) => ProbeResult::Impossible(reason),
            Err(_) => ProbeResult::Failed(format!("no answer within {limit:?}")),
        };
        // Nobody there any more: nobody wants to know.
        let _ = results.send(Event::Probed { attempt, result });
    });
    task.abort_handle()
}

/// Begins a hook. The engine has its time limit.
pub fn begin_hook(
    attempt: AttemptId,
    action: Arc<Action>,
    runner: SpawnSender,
    results: mpsc::UnboundedSender<Event>,
) -> AbortHandle {
    let task = tokio::spawn(async move {
        let result = match &*action {
            Action::Exec(program) => exec::run(program, &runner).await,
            Action::Http(check) => http::answers(check).await,
            Action::Tcp { host, port } => tcp::connects(host, *port).await,
            Action::Sleep(pause) => {
                tokio::time::sleep(*pause).await;
                Ok(())
            }
            Action::Sql(check) => sql::carried_out(check).await,
        };
        let failed = result.err().map(|problem| problem.to_string());
        let _ = results.send(Event::HookFinished { attempt, failed });
    });
    task.abort_handle()
}

async fn one(check: &Check, facts: &Facts, kept: &ProbeConnections, runner: &SpawnSender) -> Checked {
    match check {
        Check::Http(check) => http::passes(check).await,
        Check::Tcp { host, port } => tcp::connects(host, *port).await,
        Check::Grpc { host, port, service } => grpc::serves(host, *port, service).await,
        Check::Exec(program) => exec::run(program, runner).await,
        Check::File(path) => match std::fs::metadata(path) {
            Ok(_) => Ok(()),
            Err(error) => Err(Problem::Failed(format!("{}: {}", path.display(), describe(&error)))),
        },
        Check::Env { name, expected, actual } => {
            let said = |value: &Option<String>| {
                value.as_ref().map_or_else(|| "not set".to_owned(), |v| format!("'{v}'"))
            };
            let same = actual.as_ref() == Some(expected);
            if same {
                Ok(())
            } else {
                Err(Problem::Failed(format!("{name} is {}, expected '{expected}'", said(actual))))
            }
        }
        Check::FloatingPid { period, threshold } => {
            let many = facts.restarts.iter().filter(|ago| *ago <= period).count();
            if many <= usize::try_from(*threshold).unwrap_or(usize::MAX) {
                return Ok(());
            }
            Err(Problem::Failed(format!(
                "restarted {many} times within {period:?}, at most {threshold} are allowed"
            )))
        }
        Check::HeartBeat(period) => {
            let ago = facts.heart_beat;
            let late = || Problem::Failed(format!("no heartbeat for {:.1} s", ago.as_secs_f64()));
            if ago <= *period { Ok(()) } else { Err(late()) }
        }
        Check::Sql(check) => sql::passes(check, &kept.sql).await,
        Check::Amqp { login, keep } => amqp::passes(login, keep.then_some(&kept.amqp)).await,
        Check::Redis(login) => redis::pings(login).await,
    }
}

/// A connection to a host, by name or address.
pub(crate) async fn connect(host: &str, port: u16) -> Result<TcpStream, Problem> {
    let failed = |error: &io::Error| Problem::Failed(format!("{host}:{port}: {}", describe(error)));
    net::connect::connect(host, port).await.map_err(|error| match error.raw_os_error() {
        // The system is short of something: that is not the process's fault.
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

/// What somebody has answered, cut to what is worth telling.
fn told(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST_TOLD)]);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
