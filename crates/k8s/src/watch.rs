//! Following one pod as it changes, by client-go's rules: list, watch from the version of the list, resume after
//! a drop, list again when the version is too old.

mod backoff;
mod event;
mod lines;
mod steps;
mod stream;

use std::hash::{BuildHasher as _, RandomState};

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use self::steps::{Ask, Happened, Step, Steps, Then};
use self::stream::Stream;
use crate::names::PodName;
use crate::{Client, KubeError, PodState};

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// How the pod is now; `None`: there is no such pod. It also says that all trouble is over.
    Pod(Option<PodState>),
    /// The API cannot be asked now. It is asked again and again; this is told once for each [`Kind`](crate::Kind)
    /// of trouble.
    Trouble(KubeError),
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

/// Whoever listened does so no more.
struct Alone;

/// Tells how a pod is, now and whenever it changes, until the receiver is dropped.
///
/// # Errors
///
/// A name is none. All else may be mended while we wait, and is told as [`Update::Trouble`].
pub async fn watch_pod(
    client: &Client,
    namespace: &str,
    name: &str,
    updates: mpsc::Sender<Update>,
) -> Result<(), KubeError> {
    let pod = PodName::new(namespace, name)?;
    tokio::select! {
        () = updates.closed() => {}
        Alone = follow(client, &pod, &updates) => {}
    }
    Ok(())
}

async fn follow(client: &Client, pod: &PodName, updates: &mpsc::Sender<Update>) -> Alone {
    let mut steps = Steps::new(client.limits().pace);
    loop {
        let pause = match steps.ask() {
            Ask::List => {
                let happened = client.list(pod).await.map_or_else(Happened::Failed, Happened::Listed);
                tell(updates, steps.step(happened, chance())).await
            }
            Ask::Watch { from } => watch(client, pod, &from, &mut steps, updates).await,
        };
        match pause {
            Ok(Then::Ask(pause)) => sleep(pause).await,
            // Only a watch that is being read is read on.
            Ok(Then::Read) => {}
            Err(alone) => return alone,
        }
    }
}

/// One watch, from the request to its end.
async fn watch(
    client: &Client,
    pod: &PodName,
    from: &str,
    steps: &mut Steps,
    updates: &mpsc::Sender<Update>,
) -> Result<Then, Alone> {
    let limits = client.limits();
    // A fleet whose watches began together should not renew them together.
    let asked = limits.watch + limits.watch.mul_f64(chance() / 4.0);
    let seconds = asked.as_millis().div_ceil(1000).max(1);
    let request = client.watching(pod, from, u64::try_from(seconds).unwrap_or(u64::MAX));
    let answer = match client.answer(&request).await {
        Ok(answer) => answer,
        Err(error) => return tell(updates, steps.step(Happened::Failed(error), chance())).await,
    };
    let silence = asked + limits.silence;
    let mut stream = Stream::new(&request, &pod.name, answer, limits.most_line, silence);
    let mut stood = Some(Instant::now() + limits.pace.stood);
    loop {
        let happened = tokio::select! {
            () = sleep_until(stood.unwrap_or_else(Instant::now)), if stood.is_some() => {
                stood = None;
                Happened::Stood
            }
            happened = stream.next() => happened,
        };
        match tell(updates, steps.step(happened, chance())).await? {
            Then::Read => {}
            ask @ Then::Ask(_) => return Ok(ask),
        }
    }
}

/// Tells what a step wants told, and says what it wants done. Waits for a slow listener, who wants every change.
async fn tell(updates: &mpsc::Sender<Update>, Step { tell, then }: Step) -> Result<Then, Alone> {
    if let Some(update) = tell {
        updates.send(update).await.map_err(|_| Alone)?;
    }
    Ok(then)
}

/// 0.0 to 1.0, well enough spread for pauses. The standard library seeds its hashers from the system.
fn chance() -> f64 {
    let [a, b, c, d, ..] = RandomState::new().hash_one(()).to_ne_bytes();
    f64::from(u32::from_ne_bytes([a, b, c, d])) / f64::from(u32::MAX)
}

/// Pauses are drawn; nothing here may depend on how.
#[cfg(test)]
mod tests {
    use super::chance;

    #[test]
    fn chance_is_spread() {
        let drawn: Vec<_> = (0..1000).map(|_| chance()).collect();
        assert!(drawn.iter().all(|chance| (0.0..=1.0).contains(chance)));
        let low = drawn.iter().filter(|chance| **chance < 0.5).count();
        assert!((300..700).contains(&low), "{low}");
    }
}
