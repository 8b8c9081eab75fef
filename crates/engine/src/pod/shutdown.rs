//! Signals, the shutdown of the pod, and its exit code.
//!
//! ```text
//! stop ─► Stopping: every job gets a stop request ─► (scheduler stops them in order) ─► all done ─► end
//!            │ fast shutdown: no order, no hooks, short grace period
//!            └ second signal: SIGKILL
//! ```

use std::time::Duration;

use super::Pod;
use crate::cause::Cause;
use crate::effect::Effect;
use crate::plan::ExitRule;
use crate::{JobId, PodPhase, Signal, Time};

impl Pod {
    pub(super) fn signalled(&mut self, signal: Signal, now: Time, out: &mut Vec<Effect>) {
        let stops = self.settings.stop_on.contains(&signal);
        let fast_grace = self
            .settings
            .fast_shutdown
            .as_ref()
            .filter(|(signals, _)| signals.contains(&signal))
            .map(|(_, grace)| *grace);
        match (&self.phase, stops) {
            (PodPhase::Up, true) => self.stop(&Cause::Signal(signal), fast_grace, now, out),
            (PodPhase::Up, false) if self.settings.forward => {
                let mut forwarded = false;
                self.each(now, out, |job, cx| forwarded |= job.forward(signal, false, cx));
                if !forwarded && signal.ends_a_program() {
                    self.stop(&Cause::Signal(signal), None, now, out);
                }
            }
            (PodPhase::Stopping { .. }, true) if fast_grace.is_some() && !self.fast_shutdown => {
                self.begin_fast_shutdown(fast_grace.unwrap_or_default(), now, out);
            }
            (PodPhase::Stopping { .. }, true) if signal == Signal::TERM => {
                self.each(now, out, |job, cx| job.stop_repeated(signal, cx));
            }
            (PodPhase::Stopping { .. }, true)
                if self.settings.fast_shutdown.is_none() || fast_grace.is_some() =>
            {
                self.each(now, out, |job, cx| job.force(&Cause::SecondSignal(signal), cx));
            }
            (PodPhase::Stopping { .. }, true) => {
                self.each(now, out, |job, cx| job.stop_repeated(signal, cx));
            }
            (PodPhase::Stopping { .. }, false) if self.settings.forward => {
                self.each(now, out, |job, cx| {
                    job.forward(signal, false, cx);
                });
            }
            (PodPhase::Lingering { .. }, _) if stops || signal.ends_a_program() => self.end(out),
            (
                PodPhase::Up
                | PodPhase::Stopping { .. }
                | PodPhase::Lingering { .. }
                | PodPhase::Ended { .. },
                _,
            ) => {}
        }
    }

    /// Shuts down the pod. `fast_grace`: with a fast shutdown of this grace period.
    pub(super) fn stop(
        &mut self,
        cause: &Cause,
        fast_grace: Option<Duration>,
        now: Time,
        out: &mut Vec<Effect>,
    ) {
        if self.phase != PodPhase::Up {
            return;
        }
        self.phase = PodPhase::Stopping { cause: cause.clone() };
        self.stop_requested = *cause != Cause::AllExited;
        self.end_by = self.settings.deadline.map(|limit| now + limit);
        let forward = self.settings.forward;
        self.each(now, out, |job, cx| {
            let signal = match *cause {
                // SIGTERM is the general stop request and is translated to the stop signal of the process. If signals
                // are not forwarded, so are all others.
                Cause::Signal(signal) if signal != Signal::TERM && forward => signal,
                _ => job.plan.stop_signal,
            };
            job.request_stop(cause, signal, cx);
        });
        for id in self.order.clone() {
            if let Some(share) = self.share(id, now) {
                self.with(id, now, out, |job, cx| job.limit_stop(share, cx));
            }
        }
        self.dirty.extend(self.order.iter().copied());
        if let Some(grace) = fast_grace {
            self.begin_fast_shutdown(grace, now, out);
        }
    }

    /// Skips stop order and hooks from now on, and shortens the grace period.
    fn begin_fast_shutdown(&mut self, grace: Duration, now: Time, out: &mut Vec<Effect>) {
        self.fast_shutdown = true;
        self.end_by = Some(self.end_by.map_or(now + grace, |at| at.min(now + grace)));
        for stages in &mut self.stages {
            *stages = 1;
        }
        self.each(now, out, |job, cx| job.shorten_grace(grace, cx));
        self.dirty.extend(self.order.iter().copied());
    }

    /// Ends or lingers when all jobs are done; stops the sidecars when only they are left.
    pub(super) fn end_when_done(&mut self, now: Time, out: &mut Vec<Effect>) {
        match &self.phase {
            PodPhase::Up if self.unfinished == 0 => {
                if self.undone > 0 {
                    self.stop(&Cause::AllExited, None, now, out);
                    self.reconcile(now, out);
                    return self.end_when_done(now, out);
                }
                self.completed(now, out);
            }
            PodPhase::Stopping { cause: Cause::AllExited } if self.undone == 0 => self.completed(now, out),
            PodPhase::Stopping { .. } if self.undone == 0 => self.end(out),
            PodPhase::Up
            | PodPhase::Stopping { .. }
            | PodPhase::Lingering { .. }
            | PodPhase::Ended { .. } => {}
        }
    }

    /// All jobs completed on their own.
    fn completed(&mut self, now: Time, out: &mut Vec<Effect>) {
        let any_ran = self.jobs.iter().any(|job| job.starts > 0);
        if any_ran && !self.settings.linger.is_zero() {
            self.phase = PodPhase::Lingering { until: now + self.settings.linger };
        } else {
            self.end(out);
        }
    }

    pub(super) fn end(&mut self, out: &mut Vec<Effect>) {
        let (code, from) = self.verdict();
        self.phase = PodPhase::Ended { code };
        out.push(Effect::End { code, from });
    }

    /// The exit code of the pod if it ended now, and the job that determines it.
    pub(super) fn verdict(&self) -> (i32, Option<JobId>) {
        let of = |id: JobId| self.jobs.get(id.0).map_or(0, |job| job.mapped_code(&self.settings.codes));
        let decided = match self.settings.exit {
            ExitRule::FirstInPlan => self.order.iter().map(|id| (*id, of(*id))).find(|(_, code)| *code != 0),
            ExitRule::FirstToFail => self.failed,
            ExitRule::From(id) => Some((id, of(id))),
        };
        (decided.map_or(0, |(_, code)| code), decided.map(|(id, _)| id))
    }
}
