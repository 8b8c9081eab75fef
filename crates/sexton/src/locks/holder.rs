//! One lock for one run: wanted until it is ours, kept alive while it is, given back when nothing of the run is left.

use std::time::Duration;

use engine::RunId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::client::{Claim, Granted, InUse, Reply, Server, within};
use super::guard::Guard;
use super::pace::{Boot, Pace};

/// How long the server may wait for the lock to become free.
const WAIT: Duration = Duration::from_secs(20);
/// And how much longer we wait for its answer.
const LONGER: Duration = Duration::from_secs(5);
/// The pause after an attempt that failed, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What there is to tell of a run's lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It is not ours yet, for this reason.
    Waits(String),
    /// It is ours, with this number.
    Won(u64),
    /// It is not ours any more.
    Lost {
        /// Why.
        why: String,
        /// When nothing of the run may be there any more.
        gone_by: Boot,
    },
}

/// Who grants a lock.
pub trait Grantor: Send + Sync + 'static {
    /// Asks for it; it may be waited for.
    fn acquire(&self, ttl: Duration, wait: Duration) -> impl Future<Output = Result<Reply, String>> + Send;
    /// Says that we are alive. False: it is not ours any more.
    fn keep_alive(&self, id: &str) -> impl Future<Output = Result<bool, String>> + Send;
    /// Gives it back.
    fn release(&self, id: &str) -> impl Future<Output = Result<(), String>> + Send;
}

/// A lock server, and what is asked of it.
#[derive(Debug)]
pub struct Remote {
    /// Where.
    pub server: Server,
    /// What.
    pub claim: Claim,
}

impl Grantor for Remote {
    async fn acquire(&self, ttl: Duration, wait: Duration) -> Result<Reply, String> {
        self.server.acquire(&self.claim, ttl, wait).await
    }

    async fn keep_alive(&self, id: &str) -> Result<bool, String> {
        self.server.keep_alive(id).await
    }

    async fn release(&self, id: &str) -> Result<(), String> {
        self.server.release(id).await
    }
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// As people call it: "the lock 'a'".
    pub name: String,
    /// How long it lasts without a sign of life.
    pub ttl: Duration,
}

/// Wants something that only one can hold, holds it, and gives it back when it is told to.
pub async fn hold(
    run: RunId,
    plan: Wanted,
    grantor: impl Grantor,
    guard: Guard,
    told: mpsc::UnboundedSender<(RunId, Told)>,
    mut resigned: oneshot::Receiver<()>,
) {
    let tell = |what: Told| {
        // Nobody there any more: nobody wants to know.
        let _ = told.send((run, what));
    };
    let pace = Pace::of(plan.ttl);
    let guarded = async {
        while !guard.is_standing() {
            tell(Told::Waits(format!("a guard for {}, which cannot be started", plan.name)));
            sleep(PAUSES.1).await;
        }
        campaign(&plan, &grantor, pace, &tell).await
    };
    let won = tokio::select! {
        won = guarded => won,
        // What was granted at this moment is kept alive by nobody, and lapses.
        _ = &mut resigned => return,
    };
    let (Granted { id, fence }, confirmed) = won;
    guard.arm(run, confirmed + pace.guard_after());
    tell(Told::Won(fence));
    let kept = tokio::select! {
        biased;
        _ = &mut resigned => None,
        lost = keep(&plan, &grantor, &id, pace, confirmed, |confirmed| guard.arm(run, confirmed + pace.guard_after())) => Some(lost),
    };
    if let Some(Lost { why, gone_by }) = kept {
        tell(Told::Lost { why, gone_by });
        // An error: nobody is there who would resign.
        let _ = resigned.await;
    }
    guard.free(run);
    // Whoever waits for it has it sooner; if this fails, it lapses.
    let until = Instant::now() + pace.over_after();
    while let Err(why) = within(pace.answer_within(), grantor.release(&id)).await {
        log::debug!("{} is not given back yet: {why}", plan.name);
        if Instant::now() + pace.retry_after() >= until {
            break;
        }
        sleep(pace.retry_after()).await;
    }
}

/// Until it is ours: what was granted, and when the keepalive was sent by which we know.
async fn campaign(
    plan: &Wanted,
    grantor: &impl Grantor,
    pace: Pace,
    tell: &impl Fn(Told),
) -> (Granted, Boot) {
    let mut pause = PAUSES.0;
    loop {
        let begun = Instant::now();
        let why = match within(WAIT + LONGER, grantor.acquire(plan.ttl, WAIT)).await {
            Ok(Reply::Granted(granted)) => {
                // It may have been granted long before the answer came: it is ours when a keepalive was answered.
                let sent = Boot::now();
                match within(pace.answer_within(), grantor.keep_alive(&granted.id)).await {
                    Ok(true) => return (granted, sent),
                    Ok(false) => "the lock had lapsed before we knew that it was ours".to_owned(),
                    Err(why) => {
                        let _ = within(pace.answer_within(), grantor.release(&granted.id)).await;
                        why
                    }
                }
            }
            Ok(Reply::InUse(InUse { value, .. })) => {
                pause = PAUSES.0;
                tell(Told::Waits(format!("{}, which {value} holds", plan.name)));
                // A server that does not wait is asked a few times for each lease.
                let least =
                    if begun.elapsed() < WAIT / 2 { (plan.ttl / 4).min(PAUSES.1) } else { Duration::ZERO };
                sleep(least).await;
                continue;
            }
            Err(why) => why,
        };
        tell(Told::Waits(format!("{}: {why}", plan.name)));
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

struct Lost {
    why: String,
    gone_by: Boot,
}

/// Keeps it alive until that fails for good.
async fn keep(
    plan: &Wanted,
    grantor: &impl Grantor,
    id: &str,
    pace: Pace,
    mut confirmed: Boot,
    mut renewed: impl FnMut(Boot),
) -> Lost {
    let mut next = confirmed + pace.renew_after();
    let mut trouble = None;
    loop {
        let stop = confirmed + pace.stop_after();
        sleep(Boot::now().until(next.min(stop))).await;
        let sent = Boot::now();
        if sent >= stop {
            let why = trouble.unwrap_or_else(|| "we were not awake in time to keep it alive".to_owned());
            let why = format!("{} is about to lapse: {why}", plan.name);
            return Lost { why, gone_by: confirmed + pace.gone_after() };
        }
        let limit = pace.answer_within().min(sent.until(stop));
        match within(limit, grantor.keep_alive(id)).await {
            Ok(true) => {
                (confirmed, trouble) = (sent, None);
                next = confirmed + pace.renew_after();
                renewed(confirmed);
            }
            Ok(false) => {
                let why = format!("{} has lapsed, says the lock server", plan.name);
                return Lost { why, gone_by: Boot::now() };
            }
            Err(why) => {
                log::warn!("{}: {why}", plan.name);
                trouble = Some(why);
                next = Boot::now() + pace.retry_after();
            }
        }
    }
}
