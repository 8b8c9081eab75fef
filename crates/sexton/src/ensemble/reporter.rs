//! A member's signs of life: to every master, in time, and at once when its payload changes.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ensemble::member::{Keepalive, LONGEST};
use ensemble::registry::Registry;
use futures_util::future::join_all;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use serde_json::Value;
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::peers::{Dialer, Peer};
use super::routes::Counters;
use crate::lock::client::within;

/// How long a master may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How soon one that has not is told again, at first; it doubles up to the usual pause.
const AGAIN: Duration = Duration::from_secs(2);
/// Between looks at a payload that changes all the time.
const SETTLES: Duration = Duration::from_millis(100);
/// How long the last word may take.
const LAST_WORD: Duration = Duration::from_secs(2);

/// To whom it reports.
#[derive(Debug)]
pub struct Targets {
    /// Others.
    pub masters: Vec<Peer>,
    /// How they are spoken to.
    pub dialer: Dialer,
    /// Ourselves.
    pub own: Option<Arc<Registry>>,
}

/// Reports until it is told to say goodbye. Each master is told in a rhythm of its own: one that does not answer is told
/// again soon, and the others neither more often nor later for it.
pub async fn report(
    mut keepalive: Keepalive,
    targets: Targets,
    payload: Option<PathBuf>,
    every: Duration,
    counters: Arc<Counters>,
    goodbye: oneshot::Receiver<()>,
) {
    let file = payload.map(|path| (Watch::of(&path), path));
    if let Some((_, path)) = &file {
        keepalive.payload = read(path, &keepalive.payload);
    }
    let (says, heard) = watch::channel(keepalive);
    let Targets { masters, dialer, own } = targets;
    let each =
        masters.into_iter().map(|master| Target::Other(master, dialer.clone())).chain(own.map(Target::Own));
    let told = each.map(|target| tell(target, heard.clone(), every, Arc::clone(&counters)));
    tokio::join!(join_all(told), follow(file, says, every, goodbye));
}

/// Follows the payload, until it is time to say goodbye.
async fn follow(
    file: Option<(Option<Watch>, PathBuf)>,
    says: watch::Sender<Keepalive>,
    every: Duration,
    mut goodbye: oneshot::Receiver<()>,
) {
    let follow = async {
        let Some((watch, path)) = file else { return std::future::pending().await };
        loop {
            tokio::select! {
                () = sleep(every) => {}
                () = changed(watch.as_ref()) => {}
            }
            says.send_if_modified(|keepalive| {
                let payload = read(&path, &keepalive.payload);
                let is_new = payload != keepalive.payload;
                keepalive.payload = payload;
                is_new
            });
            sleep(SETTLES.min(every)).await;
        }
    };
    tokio::select! {
        () = follow => {}
        _ = &mut goodbye => {}
    }
    says.send_modify(|keepalive| keepalive.down = true);
}

/// One of those who are told.
enum Target {
    Other(Peer, Dialer),
    Own(Arc<Registry>),
}

/// Tells one master, until goodbye was said.
async fn tell(
    target: Target,
    mut says: watch::Receiver<Keepalive>,
    every: Duration,
    counters: Arc<Counters>,
) {
    let mut again = AGAIN.min(every);
    loop {
        let keepalive = says.borrow_and_update().clone();
        if keepalive.down {
            say(&keepalive, &target, LAST_WORD).await;
            return;
        }
        let begun = Instant::now();
        let well = tokio::select! {
            well = say(&keepalive, &target, ANSWER_WITHIN) => well,
            // Time to say goodbye: not behind what is not answered.
            _ = says.wait_for(|keepalive| keepalive.down) => continue,
        };
        counters.keepalive_emitted();
        let pause = if well { every } else { again };
        again = if well { AGAIN.min(every) } else { (again * 2).min(every) };
        tokio::select! {
            () = sleep_until(begun + pause) => {}
            // Whoever follows the payload says goodbye first.
            _ = says.changed() => {}
        }
    }
}

/// Says it to one. False: that has not heard it.
async fn say(keepalive: &Keepalive, target: &Target, limit: Duration) -> bool {
    match target {
        Target::Other(master, dialer) => {
            let body = serde_json::to_vec(keepalive).unwrap_or_default();
            let said = within(limit, dialer.ping(master, body)).await;
            said.inspect_err(|why| log::warn!(master:% = master; "no master heard us: {why}")).is_ok()
        }
        Target::Own(registry) => match timeout(limit, registry.report(keepalive)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                log::warn!("we are not on our own list: {error}");
                false
            }
            Err(_) => false,
        },
    }
}

/// The payload. If it cannot be read, what it was before is still true, as far as anybody knows.
fn read(path: &Path, before: &Value) -> Value {
    read_new(path).unwrap_or_else(|why| {
        log::warn!("the payload is not read: {}: {why}", path.display());
        before.clone()
    })
}

fn read_new(path: &Path) -> Result<Value, String> {
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
