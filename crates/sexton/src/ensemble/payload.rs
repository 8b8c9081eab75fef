//! The payload of a member: the content of a file, the status of supervised processes, or a summary of its own list; and
//! notifications of changes.

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

/// Time limit for a response of the supervisor of the processes.
const RESPONSE_LIMIT: Duration = Duration::from_secs(5);
/// Pause before a failed connection is retried.
const RETRY: Duration = Duration::from_secs(1);

/// Where the payload comes from.
pub(super) enum Source {
    /// There is no payload.
    Nothing,
    /// A file.
    File(PathBuf, Option<FileWatch>),
    /// Another sexton that supervises processes: its control socket, and its stream of events.
    Processes(PathBuf, Option<HttpResponse>),
    /// The list of this master, and its changes.
    List(String, Arc<Registry>, watch::Receiver<u64>),
}

impl Source {
    /// Creates the source that a plan names.
    pub(super) fn of(plan: spec::ensemble::Payload) -> Self {
        match plan {
            spec::ensemble::Payload::Nothing => Self::Nothing,
            spec::ensemble::Payload::File(path) => {
                let watch = FileWatch::of(&path);
                Self::File(path, watch)
            }
            spec::ensemble::Payload::Processes(socket) => Self::Processes(socket, None),
        }
    }

    /// Creates a source of the digest and size of a list.
    pub(super) fn list(app: &str, registry: Arc<Registry>) -> Self {
        let changes = registry.changes();
        Self::List(app.to_owned(), registry, changes)
    }

    /// Reads the payload. On failure it is unchanged.
    pub(super) async fn read(&self, before: &Value) -> Value {
        let read = match self {
            Self::Nothing => return Value::Null,
            Self::File(path, _) => {
                read_file(path).map_err(|why| format!("cannot read the payload {}: {why}", path.display()))
            }
            Self::Processes(socket, _) => timeout(RESPONSE_LIMIT, processes(socket))
                .await
                .unwrap_or_else(|_| Err("timeout".to_owned()))
                .map_err(|why| {
                    format!("cannot get the status of processes from {}: {why}", socket.display())
                }),
            Self::List(app, registry, _) => {
                registry.wait_listed().await;
                let mut roster = registry.roster();
                Ok(json!({"app": app, "digest": *roster.digest(), "pods": roster.len()}))
            }
        };
        read.unwrap_or_else(|why| {
            log::warn!("{why}");
            before.clone()
        })
    }

    /// Waits until the payload may have changed.
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
                        // Earlier changes are included in the next read.
                        Ok(following) => *events = Some(following),
                        Err(_) => return sleep(RETRY).await,
                    }
                }
                let Some(following) = events else { return };
                if !matches!(following.chunk().await, Ok(Some(_))) {
                    *events = None;
                    sleep(RETRY).await;
                }
            }
        }
    }
}

fn read_file(path: &Path) -> Result<Value, String> {
    let metadata = std::fs::metadata(path).map_err(|error| describe(&error))?;
    // The other fields of a keepalive are small.
    if metadata.len() > LONGEST as u64 / 2 {
        return Err(format!("longer than {} bytes", LONGEST / 2));
    }
    let text = std::fs::read(path).map_err(|error| describe(&error))?;
    serde_json::from_slice(&text).map_err(|error| format!("not JSON: {error}"))
}

fn local_server() -> HttpAddress {
    HttpAddress { host: "localhost".to_owned(), port: 80 }
}

async fn connect(socket: &Path) -> Result<UnixStream, String> {
    UnixStream::connect(socket).await.map_err(|error| describe(&error))
}

/// Reads the status of processes, without values that change all the time.
async fn processes(socket: &Path) -> Result<Value, String> {
    let stream = connect(socket).await?;
    let (code, body) = exchange(stream, &local_server(), Method::GET, "/v1/processes", &[], Vec::new())
        .await
        .map_err(|error| error.to_string())?;
    if code != StatusCode::OK {
        return Err(format!("HTTP {}", code.as_u16()));
    }
    let status: Value = serde_json::from_slice(&body).map_err(|error| format!("not JSON: {error}"))?;
    let all = status["processes"].as_array().into_iter().flatten();
    let each = all.filter_map(|it| {
        let kept = json!({"phase": it["phase"], "ready": it["ready"], "starts": it["starts"]});
        Some((it["name"].as_str()?.to_owned(), kept))
    });
    Ok(json!({"ready": status["ready"], "processes": each.collect::<Map<_, _>>()}))
}

async fn follow(socket: &Path) -> Result<HttpResponse, String> {
    let stream = connect(socket).await?;
    let server = local_server();
    let following = send(stream, &server, Method::GET, "/v1/events?follow", &[], Vec::new());
    let following = following.await.map_err(|error| error.to_string())?;
    if following.status == StatusCode::OK { Ok(following) } else { Err(format!("HTTP {}", following.status)) }
}

/// Watches a file for being written or replaced.
#[derive(Debug)]
pub(super) struct FileWatch(AsyncFd<OwnedFd>);

impl FileWatch {
    fn of(path: &Path) -> Option<Self> {
        // Watches the directory, since a replaced file is another inode.
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let made = || {
            let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let what = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
            inotify::add_watch(&inotify, directory, what)?;
            Ok::<_, std::io::Error>(Self(linux::readable::readable(inotify)?))
        };
        made()
            .map_err(|error| log::warn!("cannot watch the payload file, changes are noticed late: {error}"))
            .ok()
    }
}

/// Waits for a change in the directory; the caller reads the file and compares.
async fn changed(watch: Option<&FileWatch>) {
    let Some(FileWatch(inotify)) = watch else { return std::future::pending().await };
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
