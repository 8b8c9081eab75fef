//! Clients of the control socket: `sexton status`, `logs`, `stop` and the like.
//!
//! * [`connection`]: HTTP over a unix socket
//! * [`table`]: text output

pub mod connection;
pub mod table;

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;
use tokio::time::{sleep, timeout};

use connection::{Answer, Connection};

/// A request to a running `up`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCommand {
    /// Path of the control socket.
    pub socket: PathBuf,
    pub request: ClientRequest,
    /// Print JSON.
    pub json: bool,
}

/// The kind of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientRequest {
    /// Show the state of processes; no names: of all.
    Status {
        names: Vec<String>,
        /// Refresh every second.
        watch: bool,
    },
    /// Show the output of processes.
    Logs {
        names: Vec<String>,
        /// Follow new output.
        follow: bool,
        /// Number of earlier lines.
        tail: usize,
        /// logfmt, json, raw or pretty; None: pretty on a terminal, else that of each process.
        format: Option<String>,
    },
    /// Show events.
    Events {
        names: Vec<String>,
        /// Follow new events.
        follow: bool,
    },
    /// Show the events that led to the current state.
    Why(String),
    /// Start, stop or restart processes.
    Change {
        /// `start`, `stop` or `restart`.
        verb: &'static str,
        names: Vec<String>,
        /// Time limit.
        limit: Option<Duration>,
    },
    Signal {
        /// To the process group.
        group: bool,
        /// Name or number.
        signal: String,
        names: Vec<String>,
    },
    /// Reload the configuration.
    Reload,
    /// Shut down.
    End,
    /// Wait until all processes are healthy.
    Wait {
        /// Time limit.
        limit: Option<Duration>,
        /// Wait until this file exists, instead of connecting.
        file: Option<PathBuf>,
    },
    /// Print the names of the processes, one a line, for shell completion.
    Names,
}

/// Why a request failed.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error("cannot connect to {}: {why}: is 'sexton up' running?", socket.display())]
    Unreachable { socket: PathBuf, why: String },
    /// The supervisor refused the request.
    #[error("{0}")]
    Refused(String),
    #[error("timeout after {limit:?}: {waited_for}")]
    Timeout { waited_for: String, limit: Duration },
    #[error("{0}")]
    System(#[from] io::Error),
}

impl ClientError {
    /// `EX_UNAVAILABLE` and `EX_OSERR` of sysexits.h; 1 for a refused request.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } => 69,
            Self::Refused(_) | Self::Timeout { .. } => 1,
            Self::System(_) => 71,
        }
    }
}

/// Sends a request and prints the response.
pub fn run(command: ClientCommand) -> Result<(), ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(send(command))
}

async fn send(ClientCommand { socket, request, json }: ClientCommand) -> Result<(), ClientError> {
    let connection = Connection::at(&socket);
    match request {
        ClientRequest::Status { names, watch } => status(&connection, &names, watch, json).await,
        ClientRequest::Logs { names, follow, tail, format } => {
            let terminal = io::stdout().is_terminal();
            let format = format.or_else(|| terminal.then(|| "pretty".to_owned()));
            let format = format.map(|format| format!("&format={format}")).unwrap_or_default();
            let colours = if terminal && std::env::var_os("NO_COLOR").is_none() { "&colours" } else { "" };
            let follow = if follow { "&follow" } else { "" };
            let path = format!("/v1/logs?tail={tail}{format}{follow}{colours}{}", listed(&names));
            connection.copy("GET", &path, &mut io::stdout().lock()).await
        }
        ClientRequest::Events { names, follow } => {
            let path = format!("/v1/events?{}{}", if follow { "follow" } else { "" }, listed(&names));
            if json {
                return connection.copy("GET", &path, &mut io::stdout().lock()).await;
            }
            let mut out = table::Events::new(io::stdout().lock());
            connection.copy("GET", &path, &mut out).await
        }
        ClientRequest::Why(name) => {
            let response = connection.get(&format!("/v1/processes/{}/why", encoded(&name))).await?.json()?;
            let text = if json { format!("{response}\n") } else { table::why(&response) };
            print(&text)
        }
        ClientRequest::Change { verb, names, limit } => {
            for name in &names {
                let path = format!("/v1/processes/{}/{verb}", encoded(name));
                let done = limited(limit, &format!("{verb} {name}"), connection.post(&path)).await?.json()?;
                let already = done["alreadySo"] == true;
                let text = match (verb, already) {
                    ("start", true) => format!("{name} is already running\n"),
                    ("start", false) => format!("{name} started\n"),
                    ("stop", true) => format!("{name} is not running\n"),
                    ("stop", false) => format!("{name} stopped\n"),
                    _ => format!("{name} restarted\n"),
                };
                print(&text)?;
            }
            Ok(())
        }
        ClientRequest::Signal { group, signal, names } => {
            let group = if group { "&group" } else { "" };
            for name in &names {
                let path =
                    format!("/v1/processes/{}/signal?signal={}{group}", encoded(name), encoded(&signal));
                connection.post(&path).await?.json()?;
                print(&format!("sent {signal} to {name}\n"))?;
            }
            Ok(())
        }
        ClientRequest::Reload => {
            let response = connection.post("/v1/reload").await?.json()?;
            let text = if json { format!("{response}\n") } else { table::reloaded(&response) };
            print(&text)
        }
        ClientRequest::End => {
            connection.post("/v1/end").await?.json()?;
            print("shutting down\n")
        }
        ClientRequest::Wait { limit, file: Some(file) } => {
            let exists = async {
                // Polled, because not every file system reports new files.
                while !file.exists() {
                    sleep(Duration::from_millis(50)).await;
                }
                Ok(())
            };
            limited(limit, &format!("{} does not exist", file.display()), exists).await
        }
        ClientRequest::Wait { limit, file: None } => {
            limited(limit, "not all processes are healthy", ready(&connection)).await
        }
        ClientRequest::Names => {
            let response = connection.get("/v1/processes").await?.json()?;
            let names = response["processes"].as_array().into_iter().flatten();
            print(
                &names
                    .filter_map(|it| it["name"].as_str())
                    .map(|name| format!("{name}\n"))
                    .collect::<String>(),
            )
        }
    }
}

/// Waits until all processes are healthy, also while the supervisor is not running yet.
async fn ready(connection: &Connection<'_>) -> Result<(), ClientError> {
    loop {
        match connection.get("/readiness?wait").await {
            Ok(answer) if answer.code == 200 => return Ok(()),
            Ok(answer) => return Err(ClientError::Refused(answer.text().trim().to_owned())),
            Err(ClientError::Unreachable { .. }) => sleep(Duration::from_millis(50)).await,
            Err(error) => return Err(error),
        }
    }
}

async fn limited<T>(
    limit: Option<Duration>,
    waited_for: &str,
    done: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    match limit {
        None => done.await,
        Some(limit) => timeout(limit, done)
            .await
            .unwrap_or_else(|_| Err(ClientError::Timeout { waited_for: waited_for.to_owned(), limit })),
    }
}

async fn status(
    connection: &Connection<'_>,
    names: &[String],
    watch: bool,
    json: bool,
) -> Result<(), ClientError> {
    let mut before: Option<Value> = None;
    loop {
        let mut response = connection.get("/v1/processes").await?.json()?;
        if let Some(missing) = names.iter().find(|name| find(&response, name).is_none()) {
            let known: Vec<_> = response["processes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|it| it["name"].as_str())
                .collect();
            let hint = spec::suggest::hint(missing, known);
            return Err(ClientError::Refused(format!("there is no process '{missing}'{hint}")));
        }
        if let (false, Some(all)) = (names.is_empty(), response["processes"].as_array_mut()) {
            all.retain(|it| names.iter().any(|name| it["name"] == name.as_str()));
        }
        let text = if json {
            format!("{response}\n")
        } else {
            table::status(&response, before.as_ref(), io::stdout().is_terminal())
        };
        if !watch {
            return print(&text);
        }
        let clear = if json { "" } else { "\x1b[H\x1b[2J" };
        print(&format!("{clear}{text}"))?;
        before = Some(response);
        sleep(Duration::from_secs(1)).await;
    }
}

fn find<'a>(response: &'a Value, name: &str) -> Option<&'a Value> {
    response["processes"].as_array()?.iter().find(|it| it["name"] == name)
}

/// Prints a text. A closed pipe of the reader (`| head`) is not an error.
fn print(text: &str) -> Result<(), ClientError> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(ClientError::from),
    }
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("&process={}", encoded(name))).collect()
}

/// Percent-encodes text for the path or query of a URL.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

impl Answer {
    /// The body of a successful response.
    fn json(self) -> Result<Value, ClientError> {
        if self.code >= 300 {
            return Err(ClientError::Refused(self.text().trim().to_owned()));
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| ClientError::Refused(format!("the response is not valid JSON: {error}")))
    }
}
