//! The lease of a run (a lock or the leadership), for jobs that run only while they hold one.
//!
//! ```text
//!          all else met         Won                Spawned
//! Waiting ───────────────► Campaigning ────► Starting ────────► Running … no process left
//!    ▲                          │   ▲                              │              │
//!    └── condition not met ─────┘   └─ Lost: resign, try again     │ Lost         ▼
//!                                                                  ▼           resign
//!                                                    Stopping, all gone by the time given
//! ```
//!
//! * After the lease is won all conditions are checked again: the campaign may have taken days.
//! * The lease is released when no process of the run is left, and not before, whatever stopped it: the next holder
//!   finds no process. A process that is still alive after SIGKILL keeps it.
//! * When the lease is lost, the grace period is cut so that the process is gone before another holder can acquire it.

use super::phases::Phase;
use super::{Context, Job};
use crate::cause::Cause;
use crate::effect::Effect;
use crate::{RunId, Time};

/// The lease of a run: requested, held, or lost while a process of the run is left.
#[derive(Debug, Clone)]
pub(super) struct LeaseHold {
    run: RunId,
    /// Why it was lost, and when no process of the run may be left.
    lost: Option<(String, Time)>,
}

/// Returns `at`, or the time that a lost lease allows if that is earlier.
pub(super) fn within(lease: Option<&LeaseHold>, at: Time) -> Time {
    lease.and_then(|lease| lease.lost.as_ref()).map_or(at, |(_, gone_by)| at.min(*gone_by))
}

impl Job {
    /// Starts the job or its campaign: all other conditions are met.
    pub(crate) fn proceed(&mut self, cx: &mut Context<'_>) {
        self.proceed_since(None, cx);
    }

    /// Same, for a job that has waited for peers since then.
    pub(super) fn proceed_since(&mut self, since: Option<Time>, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Campaigning { run, won: true, .. } => self.start(run, cx),
            Phase::Waiting { .. } if self.plan.needs_lease => {
                let run = self.next_run(cx);
                self.lease = Some(LeaseHold { run, lost: None });
                // Visible as still waiting.
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

    /// The lease was acquired. The [scheduler](crate::pod), which knows the conditions, starts the job.
    pub(crate) fn won(&mut self, of: RunId, cx: &mut Context<'_>) {
        if let Phase::Campaigning { run, won, .. } = &mut self.phase
            && *run == of
        {
            *won = true;
            cx.touched = true;
        }
    }

    /// Publishes why the lease is not acquired yet.
    pub(crate) fn campaigns(&mut self, of: RunId, why: String, cx: &mut Context<'_>) {
        if matches!(self.phase, Phase::Campaigning { run, won: false, .. } if run == of) {
            self.publish_waiting(why, cx);
        }
    }

    /// The lease was lost.
    pub(crate) fn lost(&mut self, of: RunId, why: String, gone_by: Time, cx: &mut Context<'_>) {
        if let Some(lease) = &mut self.lease
            && lease.run == of
        {
            lease.lost = Some((why, gone_by));
            self.apply_lease_loss(cx);
        }
    }

    /// Stops what may not run without the lease.
    pub(super) fn apply_lease_loss(&mut self, cx: &mut Context<'_>) {
        let Some((why, gone_by)) = self.lease.as_ref().and_then(|lease| lease.lost.clone()) else {
            return;
        };
        let left = gone_by.since(cx.now);
        match &self.phase {
            Phase::Campaigning { .. } => self.enter(Phase::WAITING, cx),
            Phase::Running(state) => {
                let state = state.clone();
                let (grace, signal) = (self.plan.grace.min(left), self.plan.stop_signal);
                self.begin_stop(state, Cause::LeaseLost(why), signal, grace, false, cx);
            }
            Phase::Draining { .. } | Phase::Stopping { .. } => self.limit_stop(left, cx),
            // A process that is being started is stopped as soon as it runs.
            Phase::Starting { .. }
            | Phase::Waiting { .. }
            | Phase::Killing { .. }
            | Phase::Pausing { .. }
            | Phase::Done(_) => {}
        }
    }

    /// Releases the lease when no process of the run is left.
    pub(super) fn resign_if_over(&mut self, cx: &mut Context<'_>) {
        if matches!(self.phase, Phase::Waiting { .. } | Phase::Pausing { .. } | Phase::Done(_))
            && let Some(lease) = self.lease.take()
        {
            cx.out.push(Effect::Resign(lease.run));
        }
    }
}
