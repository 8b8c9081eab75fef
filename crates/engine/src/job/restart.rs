//! The decision after a run: restart it, after which delay, or complete the job.
//!
//! ```text
//! run over ─► stop requested? ──yes──► Done
//!               │ no
//!               ├─ restart requested by a client ─► Pausing, without delay
//!               └─ policy restarts it? ──no──► Done
//!                    │ yes
//!                    └─ within the limit? ──yes──► Pausing, for the back-off delay
//!                                         └─no───► Done: restart limit
//! ```

use std::time::Duration;

use super::phases::{Intent, Phase};
use super::{Context, Job};
use crate::backoff;
use crate::cause::{Cause, TerminalReason};
use crate::job_event::JobEventKind;
use crate::plan::{Policy, StartLimitAction};

/// The minimum delay after a failed start, whatever the plan says.
const BETWEEN_FAILED_STARTS: Duration = Duration::from_millis(100);

impl Job {
    /// Decides what follows a run of which no process is left.
    pub(super) fn decide_after_exit(&mut self, cause: Cause, cx: &mut Context<'_>) {
        let requested = cause == Cause::Request || self.has_pending_start();
        if !self.is_wanted() || (matches!(cause, Cause::Terminal(_)) && !requested) {
            return self.finish(self.terminal_reason(), cx);
        }
        if requested {
            // Neither policy nor delay apply, and the back-off is reset.
            self.streak = 0;
            let (retry_at, cause) = (cx.now, Cause::Request);
            self.publish(None, JobEventKind::Restarting { retry_at, cause: cause.clone() }, cx);
            return self.enter(Phase::Pausing { retry_at, cause }, cx);
        }
        // Such an exit is no failure of the process: it does not count.
        let planned = matches!(cause, Cause::Ttl(_) | Cause::LeaseLost(_));
        let restart = &self.plan.restart;
        let again = match cause {
            Cause::Ttl(_) => restart.policy == Policy::Always,
            // It was interrupted: it runs again when the lease is acquired again.
            Cause::LeaseLost(_) => restart.policy != Policy::Never,
            _ => restart.applies(self.code()),
        };
        if !again {
            return self.finish(TerminalReason::Exited, cx);
        }
        if let Some(limit) = restart.limit
            && !planned
            && !self.restarts.allow(limit, cx.now)
        {
            let action = restart.limit_action;
            let held = action == StartLimitAction::Hold;
            self.publish(
                None,
                JobEventKind::RestartLimitReached { limit: limit.restarts, window: limit.window, held },
                cx,
            );
            return self.finish(TerminalReason::RestartLimit(action), cx);
        }
        let delay = &restart.delay;
        let ran = self.started_at.map_or(Duration::ZERO, |at| cx.now.since(at));
        if planned || (!matches!(cause, Cause::SpawnFailed(_)) && backoff::resets(delay, ran)) {
            self.streak = 0;
        }
        let delay = backoff::delay(delay, self.streak, cx.rng.unit());
        self.streak = self.streak.saturating_add(u32::from(!planned));
        // Without it, starts that the system refuses at once would be repeated in a busy loop.
        let minimum =
            if matches!(cause, Cause::SpawnFailed(_)) { BETWEEN_FAILED_STARTS } else { Duration::ZERO };
        // The restart goes through a timer even without a delay, so that one event leads to one start at most.
        let retry_at = cx.now + delay.max(minimum);
        self.publish(None, JobEventKind::Restarting { retry_at, cause: cause.clone() }, cx);
        self.enter(Phase::Pausing { retry_at, cause }, cx);
    }

    /// The reason if the job completes now.
    pub(super) fn terminal_reason(&self) -> TerminalReason {
        match self.intent {
            Intent::Down { cause: Cause::Request, .. } => TerminalReason::Stopped,
            Intent::Down { .. } | Intent::Up => TerminalReason::Exited,
        }
    }
}
