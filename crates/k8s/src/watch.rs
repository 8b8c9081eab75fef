//! Watches one pod by the rules of client-go: list, watch from the version of the list, resume after a disconnect, list
//! again if the version is too old.

mod backoff;
mod event;
mod lines;
mod machine;
mod stream;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use self::machine::{Decision, Input, Next, NextRequest, WatchMachine};
use self::stream::Stream;
use crate::names::PodName;
use crate::{Client, KubeError, PodState};

/// An update of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The current state of the pod; `None` if it does not exist. Also ends all reported failures.
    Pod(Option<PodState>),
    /// A request failed and is retried; reported once for each [`Kind`](crate::Kind) of failure.
    Failed(KubeError),
}

/// Entry points of the fuzz targets into the parser of a watch.
#[doc(hidden)]
pub mod fuzz {
    /// Parses the lines of a stream that arrives in pieces of this length; returns the number of events.
    #[must_use]
    pub fn lines(stream: &[u8], piece: usize, longest: usize) -> usize {
        let mut lines = super::lines::Lines::new(longest);
        let mut events = 0;
        for piece in stream.chunks(piece.max(1)) {
            lines.push(piece);
            loop {
                match lines.next() {
                    Ok(Some(line)) => events += usize::from(super::event::read(line, "web").is_ok()),
                    Ok(None) => break,
                    Err(_) => return events,
                }
            }
        }
        events
    }
}

/// The receiver of updates was dropped.
struct ReceiverDropped;

/// Sends the state of a pod, now and whenever it changes, until the receiver is dropped.
///
/// # Errors
///
/// A name is invalid. Any other failure may be temporary and is sent as [`Update::Failed`].
pub async fn watch_pod(
    client: &Client,
    namespace: &str,
    name: &str,
    updates: mpsc::Sender<Update>,
) -> Result<(), KubeError> {
    let pod = PodName::new(namespace, name)?;
    tokio::select! {
        () = updates.closed() => {}
        ReceiverDropped = follow(client, &pod, &updates) => {}
    }
    Ok(())
}

async fn follow(client: &Client, pod: &PodName, updates: &mpsc::Sender<Update>) -> ReceiverDropped {
    let mut machine = WatchMachine::new(client.limits().pace);
    loop {
        let pause = match machine.next_request() {
            NextRequest::List => {
                let input = client.list(pod).await.map_or_else(Input::RequestFailed, Input::Listed);
                report(updates, machine.step(input, random())).await
            }
            NextRequest::Watch { from } => watch(client, pod, &from, &mut machine, updates).await,
        };
        match pause {
            Ok(Next::Request(pause)) => sleep(pause).await,
            // Returned only within a watch.
            Ok(Next::Read) => {}
            Err(dropped) => return dropped,
        }
    }
}

/// One watch, from the request to its end.
async fn watch(
    client: &Client,
    pod: &PodName,
    from: &str,
    machine: &mut WatchMachine,
    updates: &mpsc::Sender<Update>,
) -> Result<Next, ReceiverDropped> {
    let limits = client.limits();
    // Clients whose watches started together should not renew them together.
    let asked = limits.watch + limits.watch.mul_f64(random() / 4.0);
    let seconds = asked.as_millis().div_ceil(1000).max(1);
    let request = client.watch_request(pod, from, u64::try_from(seconds).unwrap_or(u64::MAX));
    let response = match client.response(&request).await {
        Ok(response) => response,
        Err(error) => return report(updates, machine.step(Input::RequestFailed(error), random())).await,
    };
    let silence = asked + limits.silence;
    let mut stream = Stream::new(&request, &pod.name, response, limits.max_line, silence);
    let mut stood = Some(Instant::now() + limits.pace.stood);
    loop {
        let input = tokio::select! {
            () = sleep_until(stood.unwrap_or_else(Instant::now)), if stood.is_some() => {
                stood = None;
                Input::StayedOpen
            }
            input = stream.next() => input,
        };
        match report(updates, machine.step(input, random())).await? {
            Next::Read => {}
            next @ Next::Request(_) => return Ok(next),
        }
    }
}

/// Sends the update of a decision and returns what to do next. Waits for a slow receiver, which needs every change.
async fn report(
    updates: &mpsc::Sender<Update>,
    Decision { update, next }: Decision,
) -> Result<Next, ReceiverDropped> {
    if let Some(update) = update {
        updates.send(update).await.map_err(|_| ReceiverDropped)?;
    }
    Ok(next)
}

/// Returns a random number from 0.0 to 1.0 for pauses.
fn random() -> f64 {
    let [a, b, c, d, ..] = spec::random::random_u64().to_ne_bytes();
    f64::from(u32::from_ne_bytes([a, b, c, d])) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::random;

    #[test]
    fn random_numbers_are_spread() {
        let drawn: Vec<_> = (0..1000).map(|_| random()).collect();
        assert!(drawn.iter().all(|random| (0.0..=1.0).contains(random)));
        let low = drawn.iter().filter(|random| **random < 0.5).count();
        assert!((300..700).contains(&low), "{low}");
    }
}
