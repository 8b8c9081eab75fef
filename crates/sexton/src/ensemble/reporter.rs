//! Sends the keepalives of a member to every master: at an interval, and at once when the payload changes.

use std::sync::Arc;
use std::time::Duration;

use ensemble::member::Keepalive;
use ensemble::registry::Registry;
use futures_util::future::join_all;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::counters::Counters;
use super::payload::Source;
use super::peers::Dialer;
use crate::locks::client::within;
use spec::ensemble::Peer;

/// Time limit for a response of a master.
const RESPONSE_LIMIT: Duration = Duration::from_secs(5);
/// First pause before a failed keepalive is repeated; doubles up to the interval.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// Minimum pause between reads of the payload.
const MIN_READ_INTERVAL: Duration = Duration::from_millis(100);
/// Time limit of the last keepalive.
const LAST_KEEPALIVE_LIMIT: Duration = Duration::from_secs(2);

/// The masters that receive the keepalives.
#[derive(Debug)]
pub(super) struct Targets {
    pub(super) masters: Vec<Peer>,
    pub(super) dialer: Dialer,
    /// The registry of this pod, if it is a master.
    pub(super) own: Option<Arc<Registry>>,
}

/// Sends keepalives until shutdown. Each master has its own schedule: one that does not respond is retried soon, without
/// an effect on the others.
pub(super) async fn report(
    mut keepalive: Keepalive,
    targets: Targets,
    mut payload: Source,
    every: Duration,
    counters: Arc<Counters>,
    shutdown: oneshot::Receiver<()>,
) {
    keepalive.payload = payload.read(&keepalive.payload).await;
    let (publish, current) = watch::channel(keepalive);
    let Targets { masters, dialer, own } = targets;
    let each =
        masters.into_iter().map(|master| Target::Other(master, dialer.clone())).chain(own.map(Target::Own));
    let senders = each.map(|target| send_all(target, current.clone(), every, Arc::clone(&counters)));
    tokio::join!(join_all(senders), follow(&mut payload, publish, every, shutdown));
}

/// Follows the payload until shutdown.
async fn follow(
    payload: &mut Source,
    publish: watch::Sender<Keepalive>,
    every: Duration,
    mut shutdown: oneshot::Receiver<()>,
) {
    let follow = async {
        loop {
            tokio::select! {
                () = sleep(every) => {}
                () = payload.changed() => {}
            }
            let before = publish.borrow().payload.clone();
            let now = payload.read(&before).await;
            publish.send_if_modified(|keepalive| {
                let is_new = now != keepalive.payload;
                keepalive.payload = now;
                is_new
            });
            sleep(MIN_READ_INTERVAL.min(every)).await;
        }
    };
    tokio::select! {
        () = follow => {}
        _ = &mut shutdown => {}
    }
    publish.send_modify(|keepalive| keepalive.down = true);
}

/// A master.
enum Target {
    Other(Peer, Dialer),
    Own(Arc<Registry>),
}

/// Sends all keepalives to one master, until shutdown.
async fn send_all(
    target: Target,
    mut current: watch::Receiver<Keepalive>,
    every: Duration,
    counters: Arc<Counters>,
) {
    let mut retry = FIRST_RETRY.min(every);
    // A separate receiver, so that waiting for the shutdown marks no change as seen.
    let mut ends = current.clone();
    loop {
        let keepalive = current.borrow_and_update().clone();
        if keepalive.down {
            send(&keepalive, &target, LAST_KEEPALIVE_LIMIT).await;
            return;
        }
        let started = Instant::now();
        let success = tokio::select! {
            success = send(&keepalive, &target, RESPONSE_LIMIT) => success,
            // Shutdown: do not wait for a pending response.
            _ = ends.wait_for(|keepalive| keepalive.down) => continue,
        };
        counters.keepalive_emitted();
        let pause = if success { every } else { retry };
        retry = if success { FIRST_RETRY.min(every) } else { (retry * 2).min(every) };
        tokio::select! {
            () = sleep_until(started + pause) => {}
            // Never closed: `follow` sends the shutdown first.
            _ = current.changed() => {}
        }
    }
}

/// Sends one keepalive to one master. Returns whether it succeeded.
async fn send(keepalive: &Keepalive, target: &Target, limit: Duration) -> bool {
    match target {
        Target::Other(master, dialer) => {
            let body = serde_json::to_vec(keepalive).unwrap_or_default();
            let sent = within(limit, dialer.ping(master, body)).await;
            sent.inspect_err(|why| log::warn!(master:% = master; "keepalive failed: {why}")).is_ok()
        }
        Target::Own(registry) => match timeout(limit, registry.report(keepalive)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                log::warn!("cannot register this pod in its own list: {error}");
                false
            }
            Err(_) => false,
        },
    }
}
