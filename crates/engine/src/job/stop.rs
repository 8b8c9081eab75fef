//! The stop of a job: request, preStop hook, stop signal, SIGKILL, abandonment, and the timers of all phases.
//!
//! ```text
//! request_stop ─► (dependents exit) ─► stop ──┐   preStop hook               grace over
//!                                             ├─► Draining ─► Stopping ────────────────► Killing ─► abandoned
//! probe, ttl, … ─────────────────► stop_run ──┘
//! ```

use std::time::Duration;

use super::phases::{Phase, RunResult};
use super::running::{Probing, RunningState};
use super::{Context, Intent, Job, lock};
use crate::cause::Cause;
use crate::effect::{Effect, SignalScope};
use crate::job_event::JobEventKind;
use crate::plan::{HookKind, KillMode, Policy};
use crate::{Exit, RunId, Signal, Time};

/// The minimum interval between two SIGKILLs to the same run, whatever the plan says.
const BETWEEN_KILLS: Duration = Duration::from_millis(100);

/// The part of the grace period that is reserved for the stop signal after a preStop hook, as in the kubelet.
const RESERVED_FOR_SIGNAL: Duration = Duration::from_secs(2);

impl Job {
    // === requests ===

    /// Requests a permanent stop. `signal` is sent when [its dependents have exited](Self::stop).
    pub(crate) fn request_stop(&mut self, cause: &Cause, signal: Signal, cx: &mut Context<'_>) {
        if self.is_wanted() {
            self.intent = Intent::Down { cause: cause.clone(), signal };
            if !self.is_done() {
                self.publish(self.run(), JobEventKind::Ending { cause: cause.clone() }, cx);
            }
        } else if let Intent::Down { cause: by @ Cause::Request, .. } = &mut self.intent
            && !matches!(self.phase, Phase::Done(_))
        {
            // A stop by a client could be reverted; from now on it is permanent.
            *by = cause.clone();
            cx.touched = true;
        }
        if let Some((state, _)) = self.running_mut() {
            state.cancel_for_stop(cx);
        }
        if matches!(self.phase, Phase::Waiting { .. } | Phase::Campaigning { .. } | Phase::Pausing { .. }) {
            self.finish(self.terminal_reason(), cx);
        }
    }

    /// Whether a stop was requested and the stop signal is still to be sent.
    pub(crate) const fn awaits_stop(&self) -> bool {
        matches!((&self.intent, &self.phase), (Intent::Down { .. }, Phase::Running(_)))
    }

    /// Stops the process within `share` at most, now that its dependents have exited.
    pub(crate) fn stop(&mut self, share: Option<Duration>, skip_hook: bool, cx: &mut Context<'_>) {
        let (Intent::Down { cause, signal }, Phase::Running(state)) = (self.intent.clone(), &self.phase)
        else {
            return;
        };
        let state = state.clone();
        let grace = share.map_or(self.plan.grace, |share| self.plan.grace.min(share));
        if skip_hook {
            self.send_stop_signal(state, cause, signal, None, cx.now + grace, cx);
        } else {
            self.begin_stop(state, cause, signal, grace, share.is_none(), cx);
        }
    }

    /// Publishes that another stop signal was received. It has no effect: a process gets one stop signal.
    pub(crate) fn stop_repeated(&self, signal: Signal, cx: &mut Context<'_>) {
        if let Some(run) = self.run() {
            self.publish(Some(run), JobEventKind::StopRepeated(signal), cx);
        }
    }

    /// Limits the time of a stop that is under way.
    pub(crate) fn limit_stop(&mut self, share: Duration, cx: &mut Context<'_>) {
        let limit = cx.now + share;
        cx.touched |= self.is_stopping();
        match &mut self.phase {
            Phase::Stopping { kill_at, .. } => *kill_at = (*kill_at).min(limit),
            Phase::Draining { until, kill_at, .. } => {
                *until = (*until).min(cx.now + share / 2);
                *kill_at = (*kill_at).min(limit);
            }
            _ => {}
        }
    }

    /// Limits the time of a stop that is under way, and cancels a preStop hook.
    pub(crate) fn shorten_grace(&mut self, grace: Duration, cx: &mut Context<'_>) {
        let limit = cx.now + grace;
        cx.touched |= self.is_stopping();
        match &mut self.phase {
            Phase::Stopping { kill_at, .. } => *kill_at = (*kill_at).min(limit),
            Phase::Draining { kill_at, attempt, .. } => {
                *kill_at = (*kill_at).min(limit);
                let attempt = *attempt;
                cx.abort(attempt);
                self.pre_stop_finished(cx);
            }
            _ => {}
        }
    }

    pub(super) const fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. } | Phase::Stopping { .. })
    }

    /// Sends SIGKILL if a stop is under way.
    pub(crate) fn force(&mut self, cause: &Cause, cx: &mut Context<'_>) {
        match self.phase.clone() {
            Phase::Stopping { state, exit, why, .. } => self.send_kill(state, exit, why, cause.clone(), cx),
            Phase::Draining { state, why, attempt, .. } => {
                cx.abort(attempt);
                self.send_kill(state, None, why, cause.clone(), cx);
            }
            _ => {}
        }
    }

    // === timers ===

    /// Does what is due.
    pub(crate) fn timer_fired(&mut self, cx: &mut Context<'_>) {
        if self.deadline().is_none_or(|at| at > cx.now) {
            return;
        }
        let (id, probing) = (self.id, self.probing());
        match &mut self.phase {
            Phase::Running(state)
            | Phase::Draining { state, .. }
            | Phase::Stopping { state, exit: None, .. } => {
                state.probe_due(id, &self.plan, probing, cx);
            }
            _ => {}
        }
        match &mut self.phase {
            Phase::Running(state) => {
                let run = state.run;
                if probing == Probing::All
                    && let Some(cause) = state.overdue(id, &self.plan, cx)
                {
                    self.stop_run(run, cause, self.plan.grace, cx);
                }
            }
            Phase::Draining { state, until, attempt, .. } if *until <= cx.now => {
                let (run, attempt) = (state.run, *attempt);
                cx.abort(attempt);
                let reason = "timed out at the end of the grace period".to_owned();
                self.publish(Some(run), JobEventKind::HookFailed { kind: HookKind::PreStop, reason }, cx);
                self.pre_stop_finished(cx);
            }
            Phase::Stopping { state, exit, why, kill_at } if *kill_at <= cx.now => {
                let (state, exit, why) = (state.clone(), *exit, why.clone());
                let cause = Cause::GracePeriodOver(kill_at.since(self.phase_since));
                self.send_kill(state, exit, why, cause, cx);
            }
            Phase::Killing { state, exit, why, .. } => {
                let (state, exit, why) = (state.clone(), *exit, why.clone());
                let runs_once = self.plan.restart.policy == Policy::Never && !self.has_pending_start();
                let abandoned = !self.is_wanted() || runs_once;
                self.publish(Some(state.run), JobEventKind::Stuck { abandoned }, cx);
                if abandoned {
                    // The process may never exit, and no other holder may acquire the lease meanwhile: it is not
                    // released.
                    self.lease = None;
                    if exit.is_none() {
                        self.last = Some((RunResult::Abandoned, cx.now));
                    }
                    self.finish(self.terminal_reason(), cx);
                } else {
                    let cause = Cause::GracePeriodOver(self.plan.grace);
                    self.send_kill(state, exit, why, cause, cx);
                }
            }
            Phase::Pausing { .. } => self.enter(Phase::WAITING, cx),
            Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Waiting { .. }
            | Phase::Campaigning { .. }
            | Phase::Starting { .. }
            | Phase::Done(_) => {}
        }
    }

    // === steps ===

    /// Stops a run; whether it is restarted is decided after its exit.
    pub(super) fn stop_run(&mut self, run: RunId, why: Cause, grace: Duration, cx: &mut Context<'_>) {
        if let Phase::Running(state) = &self.phase
            && state.run == run
        {
            let state = state.clone();
            self.begin_stop(state, why, self.plan.stop_signal, grace, true, cx);
        }
    }

    /// Runs the preStop hook, if there is one, or sends the stop signal. `extensible`: if the grace period is too short
    /// for both, it is extended for the signal.
    pub(super) fn begin_stop(
        &mut self,
        mut state: Box<RunningState>,
        why: Cause,
        signal: Signal,
        grace: Duration,
        extensible: bool,
        cx: &mut Context<'_>,
    ) {
        state.cancel_for_stop(cx);
        if !self.plan.pre_stop {
            return self.send_stop_signal(state, why, signal, None, cx.now + grace, cx);
        }
        let (for_hook, for_both) = if grace > 2 * RESERVED_FOR_SIGNAL || !extensible {
            (grace.saturating_sub(RESERVED_FOR_SIGNAL.min(grace / 2)), grace)
        } else {
            let for_hook = grace.saturating_sub(RESERVED_FOR_SIGNAL).max(grace / 2);
            (for_hook, for_hook + RESERVED_FOR_SIGNAL)
        };
        let (kind, run, attempt) = (HookKind::PreStop, state.run, cx.attempt(self.id));
        let kill_at = lock::within(self.lease.as_ref(), cx.now + for_both);
        let until = kill_at.min(cx.now + for_hook);
        self.enter(Phase::Draining { state, why, signal, attempt, until, kill_at }, cx);
        self.publish(Some(run), JobEventKind::HookStarted(kind), cx);
        cx.out.push(Effect::Hook { job: self.id, run, kind, attempt });
    }

    /// Sends the stop signal after the preStop hook.
    pub(super) fn pre_stop_finished(&mut self, cx: &mut Context<'_>) {
        if let Phase::Draining { state, why, signal, kill_at, .. } = self.phase.clone() {
            self.send_stop_signal(state, why, signal, None, kill_at, cx);
        }
    }

    pub(super) fn send_stop_signal(
        &mut self,
        mut state: Box<RunningState>,
        why: Cause,
        signal: Signal,
        exit: Option<Exit>,
        kill_at: Time,
        cx: &mut Context<'_>,
    ) {
        state.cancel_for_stop(cx);
        let run = state.run;
        let kill_at = lock::within(self.lease.as_ref(), kill_at);
        self.enter(Phase::Stopping { state, exit, why: why.clone(), kill_at }, cx);
        let leftovers = exit.is_some();
        self.publish(Some(run), JobEventKind::Stopping { cause: why, kill_at, signal, leftovers }, cx);
        let only_main = !leftovers && self.plan.kill_mode == KillMode::Main;
        let scope = if only_main { SignalScope::Main } else { SignalScope::Everything };
        cx.out.push(Effect::Signal { run, signal, scope });
        if signal != Signal::CONT {
            // A suspended process cannot handle signals until it is resumed; systemd.kill(5) does the same. Its
            // descendants may have been suspended with it.
            let scope = if only_main { SignalScope::Group } else { scope };
            cx.out.push(Effect::Signal { run, signal: Signal::CONT, scope });
        }
    }

    pub(super) fn send_kill(
        &mut self,
        mut state: Box<RunningState>,
        exit: Option<Exit>,
        why: Cause,
        cause: Cause,
        cx: &mut Context<'_>,
    ) {
        state.cancel_all(cx);
        let run = state.run;
        let abandon_at = cx.now + self.plan.abandon_after.max(BETWEEN_KILLS);
        self.enter(Phase::Killing { state, exit, why, abandon_at }, cx);
        self.publish(Some(run), JobEventKind::Killing { cause }, cx);
        cx.out.push(Effect::Signal { run, signal: Signal::KILL, scope: SignalScope::Everything });
    }
}
