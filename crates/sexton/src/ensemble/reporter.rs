//! A member's signs of life: to every master, in time, and at once when its payload changes.

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
pub(super) struct Targets {
    /// Others.
    pub(super) masters: Vec<Peer>,
    /// How they are spoken to.
    pub(super) dialer: Dialer,
    /// Ourselves.
    pub(super) own: Option<Arc<Registry>>,
}

/// Reports until it is told to say goodbye. Each master is told in a rhythm of its own: one that does not answer is told
/// again soon, and the others neither more often nor later for it.
pub(super) async fn report(
    mut keepalive: Keepalive,
    targets: Targets,
    mut payload: Source,
    every: Duration,
    counters: Arc<Counters>,
    goodbye: oneshot::Receiver<()>,
) {
    keepalive.payload = payload.read(&keepalive.payload).await;
    let (says, heard) = watch::channel(keepalive);
    let Targets { masters, dialer, own } = targets;
    let each =
        masters.into_iter().map(|master| Target::Other(master, dialer.clone())).chain(own.map(Target::Own));
    let told = each.map(|target| tell(target, heard.clone(), every, Arc::clone(&counters)));
    tokio::join!(join_all(told), follow(&mut payload, says, every, goodbye));
}

/// Follows the payload, until it is time to say goodbye.
async fn follow(
    payload: &mut Source,
    says: watch::Sender<Keepalive>,
    every: Duration,
    mut goodbye: oneshot::Receiver<()>,
) {
    let follow = async {
        loop {
            tokio::select! {
                () = sleep(every) => {}
                () = payload.changed() => {}
            }
            let before = says.borrow().payload.clone();
            let now = payload.read(&before).await;
            says.send_if_modified(|keepalive| {
                let is_new = now != keepalive.payload;
                keepalive.payload = now;
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
    // What it looks at is not taken for told.
    let mut ends = says.clone();
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
            _ = ends.wait_for(|keepalive| keepalive.down) => continue,
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
