//! What only one can hold at a time, and a process that runs only while it is ours: a lock, the leadership.
//!
//! ```text
//!          all else holds           Won                Spawned
//! Waiting ───────────────► Campaigning ────► Starting ────────► Running … nothing of it is left
//!    ▲                          │   ▲                              │              │
//!    └── something is missing ──┘   └─ Lost: resign, try again     │ Lost         ▼
//!                                                                  ▼           resign
//!                                                    Stopping, gone by the time that was told
//! ```
//!
//! * Whoever has won looks once more at what the process needs: the campaign may have taken days.
//! * We resign when nothing of the run is left, and not before, whatever ended it: the next holder finds nobody there.
//!   What even KILL does not end keeps it.
//! * When it is lost the process gets its grace only as far as it is gone by the time at which another may hold it.

use super::{Context, Job, Phase};
use crate::event::{Cause, Effect};
use crate::{RunId, Time};

/// What only one can hold: we campaign for it, or hold it, or have lost it and something of the run is still there.
#[derive(Debug, Clone)]
pub(super) struct LeaseHold {
    /// For which run.
    run: RunId,
    /// Why it is not ours any more, and when nothing of the run may be there any more.
    lost: Option<(String, Time)>,
}

/// Not later than what was lost allows.
pub(super) fn within(lease: Option<&LeaseHold>, at: Time) -> Time {
    lease.and_then(|lease| lease.lost.as_ref()).map_or(at, |(_, gone_by)| at.min(*gone_by))
}

impl Job {
    /// All that it needs holds.
    pub(crate) fn proceed(&mut self, cx: &mut Context<'_>) {
        self.proceed_since(None, cx);
    }

    /// The same of one that has waited for peers since then.
    pub(super) fn proceed_since(&mut self, since: Option<Time>, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Campaigning { run, won: true, .. } => self.start(run, cx),
            Phase::Waiting { .. } if self.plan.needs_lease => {
                let run = self.next_run(cx);
                self.lease = Some(LeaseHold { run, lost: None });
                // As far as others see, it goes on waiting.
                self.phase = Phase::Campaigning { run, since, won: false };
                cx.touched = true;
                cx.out.push(Effect::Campaign { job: self.id, run });
            }
            _ => {
                let run = self.next_run(cx);
                self.start(run, cx);
            }
        }
    }

    /// It is ours. Whether it starts now is seen [by the pod](crate::pod), which knows what it needs.
    pub(crate) fn won(&mut self, of: RunId, cx: &mut Context<'_>) {
        if let Phase::Campaigning { run, won, .. } = &mut self.phase
            && *run == of
        {
            *won = true;
            cx.touched = true;
        }
    }

    /// Why it is not ours yet.
    pub(crate) fn campaigns(&mut self, of: RunId, why: String, cx: &mut Context<'_>) {
        if matches!(self.phase, Phase::Campaigning { run, won: false, .. } if run == of) {
            self.waits_for_this(why, cx);
        }
    }

    /// It is not ours any more.
    pub(crate) fn lost(&mut self, of: RunId, why: String, gone_by: Time, cx: &mut Context<'_>) {
        if let Some(lease) = &mut self.lease
            && lease.run == of
        {
            lease.lost = Some((why, gone_by));
            self.apply_lease_loss(cx);
        }
    }

    /// Ends what runs and must not any more.
    pub(super) fn apply_lease_loss(&mut self, cx: &mut Context<'_>) {
        let Some((why, gone_by)) = self.lease.as_ref().and_then(|lease| lease.lost.clone()) else {
            return;
        };
        let left = gone_by.since(cx.now);
        match &self.phase {
            Phase::Campaigning { .. } => self.enter(Phase::WAITING, cx),
            Phase::Running(life) => {
                let life = life.clone();
                let (grace, signal) = (self.plan.grace.min(left), self.plan.stop_signal);
                self.begin_stop(life, Cause::LeaseLost(why), signal, grace, false, cx);
            }
            Phase::Draining { .. } | Phase::Stopping { .. } => self.limit(left, cx),
            // One that starts ends as soon as it is there.
            Phase::Starting { .. }
            | Phase::Waiting { .. }
            | Phase::Killing { .. }
            | Phase::Pausing { .. }
            | Phase::Done(_) => {}
        }
    }

    /// Gives it up when nothing of the run is left.
    pub(super) fn resign_if_over(&mut self, cx: &mut Context<'_>) {
        if matches!(self.phase, Phase::Waiting { .. } | Phase::Pausing { .. } | Phase::Done(_))
            && let Some(lease) = self.lease.take()
        {
            cx.out.push(Effect::Resign(lease.run));
        }
    }
}
