//! What a member tells: the content of a file, how the processes beside it are, or what its own list is; and when that
//! is something else.

use net::http_client::HttpResponse;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ensemble::member::LONGEST;
use ensemble::registry::Registry;
use hyper::{Method, StatusCode};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use serde_json::{Map, Value, json};
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::locks::client::{exchange, send};
use spec::lock::HttpAddress;
use spec::text::describe;

/// How long whoever looks after processes may take to tell how they are.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The pause before one that does not answer is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Where it comes from.
pub(super) enum Source {
    /// There is none.
    Nothing,
    /// A file.
    File(PathBuf, Option<Watch>),
    /// Another of us that looks after processes, at its control socket; and what it tells of its changes.
    Processes(PathBuf, Option<HttpResponse>),
    /// The list of our own, and the changes of it.
    List(String, Arc<Registry>, watch::Receiver<u64>),
}

impl Source {
    /// As the plan has it.
    pub(super) fn of(plan: spec::ensemble::Payload) -> Self {
        match plan {
            spec::ensemble::Payload::Nothing => Self::Nothing,
            spec::ensemble::Payload::File(path) => {
                let watch = Watch::of(&path);
                Self::File(path, watch)
            }
            spec::ensemble::Payload::Processes(socket) => Self::Processes(socket, None),
        }
    }

    /// The digest and the size of this list.
    pub(super) fn list(app: &str, registry: Arc<Registry>) -> Self {
        let changes = registry.changes();
        Self::List(app.to_owned(), registry, changes)
    }

    /// What there is to tell. If it cannot be read, what it was before is still true, as far as anybody knows.
    pub(super) async fn read(&self, before: &Value) -> Value {
        let read = match self {
            Self::Nothing => return Value::Null,
            Self::File(path, _) => {
                read_file(path).map_err(|why| format!("the payload is not read: {}: {why}", path.display()))
            }
            Self::Processes(socket, _) => timeout(ANSWER_WITHIN, processes(socket))
                .await
                .unwrap_or_else(|_| Err("no answer".to_owned()))
                .map_err(|why| format!("how the processes are is not known: {}: {why}", socket.display())),
            Self::List(app, registry, _) => {
                registry.is_listed().await;
                let mut roster = registry.roster();
                Ok(json!({"app": app, "digest": *roster.digest(), "pods": roster.len()}))
            }
        };
        read.unwrap_or_else(|why| {
            log::warn!("{why}");
            before.clone()
        })
    }

    /// Waits until it may be something else.
    pub(super) async fn changed(&mut self) {
        match self {
            Self::Nothing => std::future::pending().await,
            Self::File(_, watch) => changed(watch.as_ref()).await,
            Self::List(_, _, changes) => {
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            Self::Processes(socket, events) => {
                if events.is_none() {
                    match follow(socket).await {
                        // What has happened before is told by what is read now.
                        Ok(following) => *events = Some(following),
                        Err(_) => return sleep(AGAIN).await,
                    }
                }
                let Some(following) = events else { return };
                if !matches!(following.chunk().await, Ok(Some(_))) {
                    *events = None;
                    sleep(AGAIN).await;
                }
            }
        }
    }
}

fn read_file(path: &Path) -> Result<Value, String> {
    let metadata = std::fs::metadata(path).map_err(|error| describe(&error))?;
    // The rest of a keepalive is small.
    if metadata.len() > LONGEST as u64 / 2 {
        return Err(format!("it is longer than {} bytes", LONGEST / 2));
    }
    let text = std::fs::read(path).map_err(|error| describe(&error))?;
    serde_json::from_slice(&text).map_err(|error| format!("it is no JSON: {error}"))
}

fn ourselves() -> HttpAddress {
    HttpAddress { host: "localhost".to_owned(), port: 80 }
}

async fn connect(socket: &Path) -> Result<UnixStream, String> {
    UnixStream::connect(socket).await.map_err(|error| describe(&error))
}

/// How they are: what changes all the time is left out.
async fn processes(socket: &Path) -> Result<Value, String> {
    let stream = connect(socket).await?;
    let (code, body) = exchange(stream, &ourselves(), Method::GET, "/v1/processes", &[], Vec::new()).await?;
    if code != StatusCode::OK {
        return Err(format!("HTTP {}", code.as_u16()));
    }
    let told: Value = serde_json::from_slice(&body).map_err(|error| format!("no JSON: {error}"))?;
    let all = told["processes"].as_array().into_iter().flatten();
    let each = all.filter_map(|it| {
        let kept = json!({"phase": it["phase"], "ready": it["ready"], "starts": it["starts"]});
        Some((it["name"].as_str()?.to_owned(), kept))
    });
    Ok(json!({"ready": told["ready"], "processes": each.collect::<Map<_, _>>()}))
}

async fn follow(socket: &Path) -> Result<HttpResponse, String> {
    let stream = connect(socket).await?;
    let following = send(stream, &ourselves(), Method::GET, "/v1/events?follow", &[], Vec::new()).await?;
    if following.status == StatusCode::OK { Ok(following) } else { Err(format!("HTTP {}", following.status)) }
}

/// Sees when a file becomes another: written, or replaced.
#[derive(Debug)]
pub(super) struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    fn of(path: &Path) -> Option<Self> {
        // The directory, since a file that is replaced is another file.
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let made = || {
            let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let what = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
            inotify::add_watch(&inotify, directory, what)?;
            Ok::<_, std::io::Error>(Self(linux::readable::readable(inotify)?))
        };
        made().map_err(|error| log::warn!("changes of the payload are seen late: {error}")).ok()
    }
}

/// Something has changed in the directory. Whatever it is: the payload is read, and told if it is another.
async fn changed(watch: Option<&Watch>) {
    let Some(Watch(inotify)) = watch else { return std::future::pending().await };
    loop {
        let Ok(mut ready) = inotify.readable().await else { return std::future::pending().await };
        let mut buffer = [0; 4096];
        let mut seen = false;
        while rustix::io::read(inotify.get_ref(), &mut buffer).is_ok_and(|length| length > 0) {
            seen = true;
        }
        ready.clear_ready();
        if seen {
            return;
        }
    }
}
