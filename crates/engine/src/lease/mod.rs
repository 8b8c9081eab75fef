//! The holder of a lease: one lock for one run. A pure machine; time and the answers of the lock server come in, requests and
//! deadlines go out.
//!
//! ```text
//!             guard missing, in use, failed
//!            ┌──────────────────────────────┐
//!            ▼                              │
//!         Pausing ──► Acquiring ──► Confirming ──► Holding ──────► Lost
//!            │                          (keepalive   │ renewed by    │ resigned
//!            │ resigned                  answered)   │ keepalives    │
//!            ▼                                       ▼ resigned      ▼
//!         Finished ◄──────────────────────────────── Releasing ◄─────┘
//! ```
//!
//! * **Held**: a grant counts when a keepalive that was sent after it was answered. The answer to the request may have been
//!   under way for long; only the confirmed keepalive says from when the lease counts.
//! * **Counted from the sending**: the server starts to count when it *receives* a keepalive, which is later than its sending.
//!   A holder that counts from the sending is always the more careful of the two.
//! * **Lost**: no keepalive was answered in time, or the server says that the lease is gone. The run is stopped, and killed
//!   at the latest at [`LeaseTiming::kill_after`]; the guard kills it at [`LeaseTiming::guard_after`] if the holder cannot.
//! * **Released**: when nothing of the run is left, so that the next holder need not wait for the expiry. A release that fails
//!   is retried until the lease has expired anyway.
//!
//! One request is in flight at a time; [`LeaseEffect::Cancel`] drops it. The caller reports its result by an event, or lets
//! [`LeaseHolder::deadline`] pass, which is the timeout of the request.

mod guard;
mod timing;

use std::time::Duration;

pub use guard::{GuardedRuns, RECHECK};
pub use timing::{BootInstant, LeaseTiming};

/// How long the server may wait for the lock to become free before it answers.
const ACQUIRE_WAIT: Duration = Duration::from_secs(20);
/// How long after that its answer is waited for.
const ACQUIRE_MARGIN: Duration = Duration::from_secs(5);
/// The first and the longest back-off delay after a failed attempt.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The input of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseEvent {
    /// The deadline was reached.
    TimerFired,
    /// The answer to [`LeaseEffect::CheckGuard`]: whether a guard process runs.
    Guard(bool),
    /// The lock was granted.
    Granted {
        /// The lease, by which it is kept alive and released.
        id: String,
        /// The fencing token.
        fence: u64,
    },
    /// Another holder has the lock.
    InUse {
        /// How that holder describes itself.
        holder: String,
    },
    /// The keepalive was answered: the lease lives.
    KeptAlive,
    /// The keepalive was answered: there is no such lease any more.
    LeaseGone,
    /// The lease was released.
    Released,
    /// The request in flight failed, for this reason.
    Failed(String),
    /// The lease is not needed any more: no process of the run is left.
    Resigned,
}

/// What the caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseEffect {
    /// Find out whether a guard runs, and report [`LeaseEvent::Guard`].
    CheckGuard,
    /// Request the lock; the server may wait for so long.
    Acquire {
        /// How long the server may wait.
        wait: Duration,
    },
    /// Send a keepalive.
    KeepAlive {
        /// Of this lease.
        id: String,
    },
    /// Release the lease.
    Release {
        /// This lease.
        id: String,
    },
    /// Drop the request in flight.
    Cancel,
    /// Have the guard kill the run at that time, unless it gets another deadline before.
    ArmGuard(BootInstant),
    /// Nothing of the run is left to guard.
    DisarmGuard,
    /// Log a warning: a keepalive failed and is retried.
    Warn(String),
    /// Report to the supervisor.
    Report(LeaseNotice),
}

/// The notification to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseNotice {
    /// The lock is not held yet, for this reason.
    Waiting(String),
    /// The lock is held, with this fencing token.
    Held(u64),
    /// The lock is lost: the run must stop.
    Lost {
        /// The reason.
        why: String,
        /// When no process of the run may be left.
        kill_by: BootInstant,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// No request in flight; the next attempt starts then.
    Pausing {
        until: BootInstant,
    },
    /// The guard is asked for.
    CheckingGuard,
    Acquiring {
        since: BootInstant,
    },
    /// The keepalive that confirms the grant is in flight.
    Confirming {
        id: String,
        fence: u64,
        sent: BootInstant,
    },
    /// A grant that could not be confirmed is released; the next attempt follows.
    Discarding {
        sent: BootInstant,
        why: String,
    },
    Holding {
        id: String,
        confirmed: BootInstant,
        keepalive: Keepalive,
        trouble: Option<String>,
    },
    /// The run is being stopped; no keepalive is sent any more.
    Lost {
        id: String,
    },
    /// Released at the latest then; by that time the lease has expired.
    Releasing {
        id: String,
        until: BootInstant,
        release: Keepalive,
    },
    Finished,
}

/// A request that is repeated: due, or in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keepalive {
    Due(BootInstant),
    Sent(BootInstant),
}

/// The holder of one lease. See the module for the machine.
#[derive(Debug, Clone)]
pub struct LeaseHolder {
    /// What messages call it: `the lock 'a'`.
    name: String,
    timing: LeaseTiming,
    backoff: Duration,
    phase: Phase,
}

impl LeaseHolder {
    /// A holder of the lock that messages call `name`, with a lease of `ttl`. It makes its first attempt when `now` has come:
    /// send it [`LeaseEvent::TimerFired`].
    #[must_use]
    pub fn new(name: impl Into<String>, ttl: Duration, now: BootInstant) -> Self {
        Self {
            name: name.into(),
            timing: LeaseTiming::of(ttl),
            backoff: BACKOFF.0,
            phase: Phase::Pausing { until: now },
        }
    }

    /// Whether there is nothing left to do.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// Whether the run may be started and may go on.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self.phase, Phase::Holding { .. })
    }

    /// When [`LeaseEvent::TimerFired`] is due; `None` while only an event from outside can change anything.
    #[must_use]
    pub fn deadline(&self) -> Option<BootInstant> {
        let answer = |sent: BootInstant| sent + self.timing.answer_within();
        match &self.phase {
            Phase::Pausing { until } => Some(*until),
            Phase::Acquiring { since } => Some(*since + ACQUIRE_WAIT + ACQUIRE_MARGIN),
            Phase::Confirming { sent, .. } | Phase::Discarding { sent, .. } => Some(answer(*sent)),
            Phase::Holding { confirmed, keepalive, .. } => {
                let stop = *confirmed + self.timing.stop_after();
                Some(stop.min(match keepalive {
                    Keepalive::Due(at) => *at,
                    Keepalive::Sent(at) => answer(*at),
                }))
            }
            Phase::Releasing { release: Keepalive::Due(at), .. } => Some(*at),
            Phase::Releasing { release: Keepalive::Sent(at), .. } => Some(answer(*at)),
            Phase::CheckingGuard | Phase::Lost { .. } | Phase::Finished => None,
        }
    }

    /// Takes an event that happened at `now`. An event that does not belong to the present phase changes nothing.
    pub fn handle(&mut self, now: BootInstant, event: LeaseEvent, out: &mut Vec<LeaseEffect>) {
        match event {
            LeaseEvent::Resigned => self.resign(now, out),
            LeaseEvent::TimerFired if self.deadline().is_none_or(|due| now < due) => {}
            LeaseEvent::TimerFired => self.timer_fired(now, out),
            LeaseEvent::Guard(runs) => self.guard(runs, now, out),
            LeaseEvent::Granted { id, fence } => {
                if matches!(self.phase, Phase::Acquiring { .. }) {
                    out.push(LeaseEffect::KeepAlive { id: id.clone() });
                    self.phase = Phase::Confirming { id, fence, sent: now };
                }
            }
            LeaseEvent::InUse { holder } => self.in_use(&holder, now, out),
            LeaseEvent::KeptAlive => self.kept_alive(now, out),
            LeaseEvent::LeaseGone => self.lease_gone(now, out),
            LeaseEvent::Released => match &self.phase {
                Phase::Releasing { .. } => self.phase = Phase::Finished,
                Phase::Discarding { why, .. } => self.back_off(&why.clone(), now, out),
                _ => {}
            },
            LeaseEvent::Failed(why) => self.failed(why, now, out),
        }
    }

    fn timer_fired(&mut self, now: BootInstant, out: &mut Vec<LeaseEffect>) {
        match &mut self.phase {
            Phase::Pausing { .. } => {
                out.push(LeaseEffect::CheckGuard);
                self.phase = Phase::CheckingGuard;
            }
            Phase::Holding { id, confirmed, keepalive, trouble } => {
                let stop = *confirmed + self.timing.stop_after();
                match keepalive {
                    _ if now >= stop => {
                        if matches!(keepalive, Keepalive::Sent(_)) {
                            out.push(LeaseEffect::Cancel);
                        }
                        let why = trouble.take().unwrap_or_else(|| match keepalive {
                            Keepalive::Sent(_) => "the keepalive was not answered in time".to_owned(),
                            Keepalive::Due(_) => "no keepalive could be sent in time".to_owned(),
                        });
                        let why = format!("{} is about to expire: {why}", self.name);
                        let kill_by = *confirmed + self.timing.kill_after();
                        self.lose(why, kill_by, out);
                    }
                    Keepalive::Due(_) => {
                        out.push(LeaseEffect::KeepAlive { id: id.clone() });
                        *keepalive = Keepalive::Sent(now);
                    }
                    Keepalive::Sent(_) => self.timed_out(self.timing.answer_within(), now, out),
                }
            }
            Phase::Releasing { id, release, .. } => match release {
                Keepalive::Due(_) => {
                    out.push(LeaseEffect::Release { id: id.clone() });
                    *release = Keepalive::Sent(now);
                }
                Keepalive::Sent(_) => self.timed_out(self.timing.answer_within(), now, out),
            },
            Phase::Acquiring { .. } => self.timed_out(ACQUIRE_WAIT + ACQUIRE_MARGIN, now, out),
            Phase::Confirming { .. } | Phase::Discarding { .. } => {
                self.timed_out(self.timing.answer_within(), now, out);
            }
            Phase::CheckingGuard | Phase::Lost { .. } | Phase::Finished => {}
        }
    }

    fn timed_out(&mut self, limit: Duration, now: BootInstant, out: &mut Vec<LeaseEffect>) {
        out.push(LeaseEffect::Cancel);
        self.failed(format!("no answer within {limit:?}"), now, out);
    }

    fn guard(&mut self, runs: bool, now: BootInstant, out: &mut Vec<LeaseEffect>) {
        if self.phase != Phase::CheckingGuard {
            return;
        }
        if runs {
            out.push(LeaseEffect::Acquire { wait: ACQUIRE_WAIT });
            self.phase = Phase::Acquiring { since: now };
        } else {
            let why = format!("the guard process of {}, which cannot be started", self.name);
            out.push(LeaseEffect::Report(LeaseNotice::Waiting(why)));
            self.phase = Phase::Pausing { until: now + BACKOFF.1 };
        }
    }

    fn in_use(&mut self, holder: &str, now: BootInstant, out: &mut Vec<LeaseEffect>) {
        let Phase::Acquiring { since } = self.phase else { return };
        self.backoff = BACKOFF.0;
        out.push(LeaseEffect::Report(LeaseNotice::Waiting(format!("{}, held by {holder}", self.name))));
        // A server that does not wait is asked a few times within each lease.
        let waited = since.until(now) >= ACQUIRE_WAIT / 2;
        let pause = if waited { Duration::ZERO } else { (self.timing.ttl() / 4).min(BACKOFF.1) };
        self.phase = Phase::Pausing { until: now + pause };
    }

    fn kept_alive(&mut self, now: BootInstant, out: &mut Vec<LeaseEffect>) {
        match &mut self.phase {
            Phase::Confirming { id, fence, sent } => {
                let (id, fence, confirmed) = (std::mem::take(id), *fence, *sent);
                out.push(LeaseEffect::ArmGuard(confirmed + self.timing.guard_after()));
                out.push(LeaseEffect::Report(LeaseNotice::Held(fence)));
                let keepalive = Keepalive::Due(confirmed + self.timing.renew_after());
                self.phase = Phase::Holding { id, confirmed, keepalive, trouble: None };
            }
            // An answer that comes when it is too late to rely on it changes nothing: the timer reports the loss.
            Phase::Holding { confirmed, keepalive, trouble, .. }
                if now < *confirmed + self.timing.stop_after() =>
            {
                let Keepalive::Sent(sent) = *keepalive else { return };
                (*confirmed, *trouble) = (sent, None);
                *keepalive = Keepalive::Due(sent + self.timing.renew_after());
                out.push(LeaseEffect::ArmGuard(sent + self.timing.guard_after()));
            }
            _ => {}
        }
    }

    fn lease_gone(&mut self, now: BootInstant, out: &mut Vec<LeaseEffect>) {
        match &self.phase {
            Phase::Confirming { .. } => self.back_off("the lease expired before it was confirmed", now, out),
            Phase::Holding { keepalive: Keepalive::Sent(_), .. } => {
                let why = format!("the lock server reports that {} has expired", self.name);
                self.lose(why, now, out);
            }
            _ => {}
        }
    }

    fn failed(&mut self, why: String, now: BootInstant, out: &mut Vec<LeaseEffect>) {
        match &mut self.phase {
            Phase::Acquiring { .. } => self.back_off(&why, now, out),
            Phase::Confirming { id, .. } => {
                out.push(LeaseEffect::Release { id: std::mem::take(id) });
                self.phase = Phase::Discarding { sent: now, why };
            }
            Phase::Discarding { why: first, .. } => {
                let first = std::mem::take(first);
                self.back_off(&first, now, out);
            }
            Phase::Holding { keepalive: keepalive @ Keepalive::Sent(_), trouble, .. } => {
                *keepalive = Keepalive::Due(now + self.timing.retry_after());
                out.push(LeaseEffect::Warn(format!("{}: {why}", self.name)));
                *trouble = Some(why);
            }
            Phase::Releasing { until, release: release @ Keepalive::Sent(_), .. } => {
                let next = now + self.timing.retry_after();
                if next < *until { *release = Keepalive::Due(next) } else { self.phase = Phase::Finished }
            }
            _ => {}
        }
    }

    fn back_off(&mut self, why: &str, now: BootInstant, out: &mut Vec<LeaseEffect>) {
        out.push(LeaseEffect::Report(LeaseNotice::Waiting(format!("{}: {why}", self.name))));
        self.phase = Phase::Pausing { until: now + self.backoff };
        self.backoff = (self.backoff * 2).min(BACKOFF.1);
    }

    fn lose(&mut self, why: String, kill_by: BootInstant, out: &mut Vec<LeaseEffect>) {
        if let Phase::Holding { id, .. } = &mut self.phase {
            let id = std::mem::take(id);
            out.push(LeaseEffect::Report(LeaseNotice::Lost { why, kill_by }));
            self.phase = Phase::Lost { id };
        }
    }

    fn resign(&mut self, now: BootInstant, out: &mut Vec<LeaseEffect>) {
        let id = match &mut self.phase {
            Phase::Releasing { .. } | Phase::Finished => return,
            Phase::Holding { id, keepalive, .. } => {
                if matches!(keepalive, Keepalive::Sent(_)) {
                    out.push(LeaseEffect::Cancel);
                }
                std::mem::take(id)
            }
            Phase::Lost { id } => std::mem::take(id),
            // A grant that arrives now is kept alive by no holder, and expires.
            Phase::Acquiring { .. } | Phase::Confirming { .. } | Phase::Discarding { .. } => {
                out.push(LeaseEffect::Cancel);
                self.phase = Phase::Finished;
                return;
            }
            Phase::Pausing { .. } | Phase::CheckingGuard => {
                self.phase = Phase::Finished;
                return;
            }
        };
        out.push(LeaseEffect::DisarmGuard);
        out.push(LeaseEffect::Release { id: id.clone() });
        self.phase =
            Phase::Releasing { id, until: now + self.timing.expires_after(), release: Keepalive::Sent(now) };
    }
}

#[cfg(test)]
mod tests;
