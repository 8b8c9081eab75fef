//! A member's signs of life: to every master, in time, and at once when its payload changes.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ensemble::member::{Keepalive, LONGEST};
use ensemble::registry::Registry;
use futures_util::future::join_all;
use hyper::{Method, StatusCode};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use serde_json::Value;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::routes::Counters;
use crate::lock::client::{Server, within};

/// How long a master may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How soon one that has not is told again, at most.
const AGAIN: Duration = Duration::from_secs(2);
/// How long the last word may take.
const LAST_WORD: Duration = Duration::from_secs(2);

/// To whom it reports.
#[derive(Debug)]
pub struct Targets {
    /// Others.
    pub masters: Vec<Server>,
    /// Ourselves.
    pub own: Option<Arc<Registry>>,
}

/// Reports until it is told to say goodbye.
pub async fn report(
    mut keepalive: Keepalive,
    targets: Targets,
    payload: Option<PathBuf>,
    every: Duration,
    counters: Arc<Counters>,
    mut goodbye: oneshot::Receiver<()>,
) {
    let watch = payload.as_deref().and_then(Watch::of);
    loop {
        if let Some(path) = &payload {
            match read(path) {
                Ok(value) => keepalive.payload = value,
                // What it was before is still true, as far as anybody knows.
                Err(why) => log::warn!("the payload is not read: {}: {why}", path.display()),
            }
        }
        let begun = Instant::now();
        let well = say(&keepalive, &targets, ANSWER_WITHIN).await;
        counters.keepalive_emitted();
        let next = begun + if well { every } else { AGAIN.min(every) };
        tokio::select! {
            () = sleep_until(next) => {}
            () = changed(watch.as_ref()) => {}
            _ = &mut goodbye => break,
        }
    }
    keepalive.down = true;
    say(&keepalive, &targets, LAST_WORD).await;
}

/// Says it to all. False: somebody has not heard it.
async fn say(keepalive: &Keepalive, targets: &Targets, limit: Duration) -> bool {
    let body = serde_json::to_vec(keepalive).unwrap_or_default();
    let others = targets.masters.iter().map(|master| {
        let body = body.clone();
        async move {
            let asked = within(limit, master.exchange(Method::PUT, "/ping", &[], body));
            match asked.await {
                Ok((StatusCode::OK, _)) => true,
                Ok((code, answer)) => {
                    let why = String::from_utf8_lossy(&answer);
                    log::warn!(master:% = master; "HTTP {}: {}", code.as_u16(), crate::words::one_line(why.trim()));
                    false
                }
                Err(why) => {
                    log::warn!("no master heard us: {why}");
                    false
                }
            }
        }
    });
    let own = async {
        let Some(registry) = &targets.own else { return true };
        match timeout(limit, registry.report(keepalive)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                log::warn!("we are not on our own list: {error}");
                false
            }
            Err(_) => false,
        }
    };
    let (others, own) = tokio::join!(join_all(others), own);
    own && others.into_iter().all(|heard| heard)
}

fn read(path: &Path) -> Result<Value, String> {
    let metadata = std::fs::metadata(path).map_err(|error| crate::words::describe(&error))?;
    // The rest of a keepalive is small.
    if metadata.len() > LONGEST as u64 / 2 {
        return Err(format!("it is longer than {} bytes", LONGEST / 2));
    }
    let text = std::fs::read(path).map_err(|error| crate::words::describe(&error))?;
    serde_json::from_slice(&text).map_err(|error| format!("it is no JSON: {error}"))
}

/// Sees when a file becomes another: written, or replaced.
#[derive(Debug)]
struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    fn of(path: &Path) -> Option<Self> {
        // The directory, since a file that is replaced is another file.
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let made = || {
            let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let what = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
            inotify::add_watch(&inotify, directory, what)?;
            Ok::<_, std::io::Error>(Self(crate::readable::readable(inotify)?))
        };
        made().map_err(|error| log::warn!("changes of the payload are seen late: {error}")).ok()
    }
}

/// Something has changed in the directory. Whatever it is: to report once more does no harm.
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
