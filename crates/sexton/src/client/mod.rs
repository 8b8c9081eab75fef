//! The other end of the control socket: `sexton status`, `logs`, `stop` and their like.
//!
//! * [`connection`]: asking, and reading what is answered
//! * [`table`]: tables for people

pub mod connection;
pub mod table;

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;
use tokio::time::{sleep, timeout};

use connection::{Answer, Connection};

/// What somebody wants to know or to have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// Where the control socket is.
    pub socket: PathBuf,
    /// What.
    pub what: What,
    /// For programs.
    pub json: bool,
}

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// How they are.
    Status {
        /// Only these.
        names: Vec<String>,
        /// Again and again.
        watch: bool,
    },
    /// What they wrote.
    Logs {
        /// Only these.
        names: Vec<String>,
        /// And what they write.
        follow: bool,
        /// How many lines of before.
        tail: usize,
        /// In which form: logfmt, json, raw, pretty; None: by whether a person reads.
        format: Option<String>,
    },
    /// What has happened.
    Events {
        /// Only these.
        names: Vec<String>,
        /// And what happens.
        follow: bool,
    },
    /// What led to the present state.
    Why(String),
    /// Start, stop or restart.
    Wish {
        /// `start`, `stop` or `restart`.
        verb: &'static str,
        /// Whom.
        names: Vec<String>,
        /// How long to wait for it.
        patience: Option<Duration>,
    },
    /// Send a signal.
    Signal {
        /// Its name.
        signal: String,
        /// Whom.
        names: Vec<String>,
    },
    /// Read the configuration again.
    Reload,
    /// End everything.
    End,
    /// Until all are healthy.
    Wait {
        /// How long at most.
        patience: Option<Duration>,
        /// Until this file is there, instead of asking.
        file: Option<PathBuf>,
    },
    /// The names of the processes, one a line: for completions.
    Names,
}

/// Why an errand failed.
#[derive(Debug, Error)]
pub enum ErrandError {
    /// There is nobody.
    #[error("cannot reach a sexton at {}: {why}", socket.display())]
    Unreachable {
        /// Where.
        socket: PathBuf,
        /// Why.
        why: String,
    },
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// It took too long.
    #[error("not {what} within {patience:?}")]
    TooLong {
        /// What did not come about.
        what: String,
        /// How long was waited.
        patience: Duration,
    },
    /// The system is short of something.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl ErrandError {
    /// 69 and 71 as in sysexits.h; 1 for a no, as most commands have it.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } => 69,
            Self::Refused(_) | Self::TooLong { .. } => 1,
            Self::System(_) => 71,
        }
    }
}

/// Runs an errand.
pub fn run(errand: Errand) -> Result<(), ErrandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(carry_out(errand))
}

async fn carry_out(Errand { socket, what, json }: Errand) -> Result<(), ErrandError> {
    let ask = Connection::at(&socket);
    match what {
        What::Status { names, watch } => status(&ask, &names, watch, json).await,
        What::Logs { names, follow, tail, format } => {
            let terminal = io::stdout().is_terminal();
            let format = format.unwrap_or_else(|| if terminal { "pretty" } else { "logfmt" }.to_owned());
            let colours = if terminal && std::env::var_os("NO_COLOR").is_none() { "&colours" } else { "" };
            let follow = if follow { "&follow" } else { "" };
            let path = format!("/v1/logs?tail={tail}&format={format}{follow}{colours}{}", listed(&names));
            ask.copy("GET", &path, &mut io::stdout().lock()).await
        }
        What::Events { names, follow } => {
            let path = format!("/v1/events?{}{}", if follow { "follow" } else { "" }, listed(&names));
            if json {
                return ask.copy("GET", &path, &mut io::stdout().lock()).await;
            }
            let mut out = table::Events::new(io::stdout().lock());
            ask.copy("GET", &path, &mut out).await
        }
        What::Why(name) => {
            let told = ask.get(&format!("/v1/processes/{}/why", encoded(&name))).await?.json()?;
            let text = if json { format!("{told}\n") } else { table::why(&told) };
            print(&text)
        }
        What::Wish { verb, names, patience } => {
            for name in &names {
                let path = format!("/v1/processes/{}/{verb}", encoded(name));
                let done = limited(patience, &format!("{name}: {verb}"), ask.post(&path)).await?.json()?;
                let already = done["alreadySo"] == true;
                let text = match (verb, already) {
                    ("start", true) => format!("{name} runs already\n"),
                    ("start", false) => format!("{name} has started\n"),
                    ("stop", true) => format!("{name} is not running\n"),
                    ("stop", false) => format!("{name} has ended\n"),
                    _ => format!("{name} has started anew\n"),
                };
                print(&text)?;
            }
            Ok(())
        }
        What::Signal { signal, names } => {
            for name in &names {
                ask.post(&format!("/v1/processes/{}/signal?signal={}", encoded(name), encoded(&signal)))
                    .await?
                    .json()?;
                print(&format!("{name} was sent {signal}\n"))?;
            }
            Ok(())
        }
        What::Reload => {
            let told = ask.post("/v1/reload").await?.json()?;
            let text = if json { format!("{told}\n") } else { table::reloaded(&told) };
            print(&text)
        }
        What::End => {
            ask.post("/v1/end").await?.json()?;
            print("everything is ending\n")
        }
        What::Wait { patience, file: Some(file) } => {
            let there = async {
                // A file cannot be asked; who makes it cannot be told to tell us.
                while !file.exists() {
                    sleep(Duration::from_millis(50)).await;
                }
                Ok(())
            };
            limited(patience, &format!("there: {}", file.display()), there).await
        }
        What::Wait { patience, file: None } => limited(patience, "ready", ready(&ask)).await,
        What::Names => {
            let told = ask.get("/v1/processes").await?.json()?;
            let names = told["processes"].as_array().into_iter().flatten();
            print(
                &names
                    .filter_map(|it| it["name"].as_str())
                    .map(|name| format!("{name}\n"))
                    .collect::<String>(),
            )
        }
    }
}

/// Until all are healthy; also while there is nobody to ask yet.
async fn ready(ask: &Connection<'_>) -> Result<(), ErrandError> {
    loop {
        match ask.get("/readiness?wait").await {
            Ok(answer) if answer.code == 200 => return Ok(()),
            Ok(answer) => return Err(ErrandError::Refused(answer.text().trim().to_owned())),
            Err(ErrandError::Unreachable { .. }) => sleep(Duration::from_millis(50)).await,
            Err(error) => return Err(error),
        }
    }
}

async fn limited<T>(
    patience: Option<Duration>,
    what: &str,
    done: impl Future<Output = Result<T, ErrandError>>,
) -> Result<T, ErrandError> {
    match patience {
        None => done.await,
        Some(patience) => timeout(patience, done)
            .await
            .unwrap_or_else(|_| Err(ErrandError::TooLong { what: what.to_owned(), patience })),
    }
}

async fn status(ask: &Connection<'_>, names: &[String], watch: bool, json: bool) -> Result<(), ErrandError> {
    let mut before: Option<Value> = None;
    loop {
        let mut told = ask.get("/v1/processes").await?.json()?;
        if let Some(missing) = names.iter().find(|name| find(&told, name).is_none()) {
            let known: Vec<_> = told["processes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|it| it["name"].as_str())
                .collect();
            let hint = spec::suggest::hint(missing, known);
            return Err(ErrandError::Refused(format!("there is no process '{missing}'{hint}")));
        }
        if let (false, Some(all)) = (names.is_empty(), told["processes"].as_array_mut()) {
            all.retain(|it| names.iter().any(|name| it["name"] == name.as_str()));
        }
        let text = if json {
            format!("{told}\n")
        } else {
            table::status(&told, before.as_ref(), io::stdout().is_terminal())
        };
        if !watch {
            return print(&text);
        }
        let clear = if json { "" } else { "\x1b[H\x1b[2J" };
        print(&format!("{clear}{text}"))?;
        before = Some(told);
        sleep(Duration::from_secs(1)).await;
    }
}

fn find<'a>(told: &'a Value, name: &str) -> Option<&'a Value> {
    told["processes"].as_array()?.iter().find(|it| it["name"] == name)
}

/// Whoever does not want to read on (`| head`) makes no error of it.
fn print(text: &str) -> Result<(), ErrandError> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(ErrandError::from),
    }
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("&process={}", encoded(name))).collect()
}

/// For a path or query of a URL.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

impl Answer {
    /// The body of a yes; a no is an error.
    fn json(self) -> Result<Value, ErrandError> {
        if self.code >= 300 {
            return Err(ErrandError::Refused(self.text().trim().to_owned()));
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| ErrandError::Refused(format!("an answer that is no JSON: {error}")))
    }
}
