//! Start of a run, and the events of a run that is under way.

use std::time::Duration;

use super::phases::{Phase, RunResult};
use super::running::{RunningState, probe_plan};
use super::{Context, Intent, Job, lock};
use crate::cause::{Cause, SpawnError, SpawnErrorKind, TerminalReason};
use crate::condition::Condition;
use crate::effect::{Effect, SignalScope};
use crate::event::NotifyMessage;
use crate::job_event::JobEventKind;
use crate::plan::{HookKind, KillMode};
use crate::probe::ProbeResult;
use crate::{AttemptId, Exit, RunId, Signal};

/// The maximum extension of the stop timeout per notification.
const MAX_EXTENSION: Duration = Duration::from_secs(3600);

impl Job {
    // === before the start ===

    /// Waits for conditions on other jobs, and publishes them if they have changed.
    pub(crate) fn wait_for(&mut self, need: String, cx: &mut Context<'_>) {
        match &mut self.phase {
            Phase::Waiting { until, .. } => *until = None,
            // The lease was won, but a condition is no longer met.
            Phase::Campaigning { .. } => self.enter(Phase::WAITING, cx),
            _ => {}
        }
        self.publish_waiting(need, cx);
    }

    pub(super) fn publish_waiting(&mut self, need: String, cx: &mut Context<'_>) {
        if self.waits_for.as_ref() != Some(&need) {
            self.waits_for = Some(need.clone());
            self.publish(None, JobEventKind::Waiting { need }, cx);
        }
    }

    /// Gives up: a condition on another job can no longer be met.
    pub(crate) fn need_failed(&mut self, need: String, condition: Condition, cx: &mut Context<'_>) {
        self.publish(None, JobEventKind::NeedFailed { need: need.clone(), condition }, cx);
        self.finish(TerminalReason::NeedFailed { need, condition }, cx);
    }

    /// Waits again: a condition that could not be met can be met after an intervention.
    pub(crate) fn reconsider(&mut self, cx: &mut Context<'_>) {
        if self.is_wanted() && matches!(self.phase, Phase::Done(TerminalReason::NeedFailed { .. })) {
            self.enter(Phase::WAITING, cx);
        }
    }

    // === start ===

    pub(super) fn start(&mut self, run: RunId, cx: &mut Context<'_>) {
        self.waits_for = None;
        self.enter(Phase::Starting { run }, cx);
        cx.out.push(Effect::Spawn { job: self.id, run });
    }

    pub(super) fn next_run(&mut self, cx: &mut Context<'_>) -> RunId {
        self.newest_run = RunId(cx.number());
        self.newest_run
    }

    pub(crate) fn spawned(&mut self, run: RunId, cx: &mut Context<'_>) {
        // A report about an older run, or about one whose exit was reported first, is ignored.
        if matches!(self.phase, Phase::Starting { run: current } if current == run) {
            self.enter_running(run, cx);
            self.apply_lease_loss(cx);
        }
    }

    pub(crate) fn spawn_failed(&mut self, run: RunId, error: SpawnError, cx: &mut Context<'_>) {
        match &self.phase {
            Phase::Starting { run: current } if *current == run => {}
            _ => return,
        }
        let kind = error.kind;
        self.refuse_starts(run, &error.message, cx);
        self.publish(Some(run), JobEventKind::StartFailed(error.clone()), cx);
        self.last = Some((RunResult::SpawnFailed(error.clone()), cx.now));
        let hopeless = self.plan.must_start && self.starts == 0 && kind != SpawnErrorKind::System;
        if hopeless {
            self.finish(TerminalReason::Exited, cx);
        } else {
            self.decide_after_exit(Cause::SpawnFailed(error), cx);
        }
    }

    fn enter_running(&mut self, run: RunId, cx: &mut Context<'_>) {
        let state = RunningState::new(run, &self.plan, cx);
        let ttl = state.ttl.map(|(_, ttl)| ttl);
        self.starts += 1;
        self.started_at = Some(cx.now);
        self.born = self.born.or(Some(cx.now));
        self.enter(Phase::Running(Box::new(state)), cx);
        self.publish(Some(run), JobEventKind::Started { ttl }, cx);
    }

    // === exit ===

    pub(crate) fn exited(
        &mut self,
        run: RunId,
        exit: Exit,
        leftovers: bool,
        out_of_memory: bool,
        cx: &mut Context<'_>,
    ) {
        if self.run() != Some(run) {
            return;
        }
        if matches!(self.phase, Phase::Starting { .. }) {
            // A short-lived process: its exit was noticed before its start was reported.
            self.enter_running(run, cx);
        }
        if let Some((state, _)) = self.running_mut() {
            state.cancel_all(cx);
        }
        match self.phase.clone() {
            Phase::Running(state) => {
                let by = self.exit_cause(exit, state.forwarded);
                self.record_exit(run, exit, by.clone(), leftovers, out_of_memory, cx);
                if leftovers {
                    let why = by.unwrap_or(Cause::LeaderExited(exit));
                    let kill_at = cx.now + self.plan.grace;
                    self.send_stop_signal(state, why, self.plan.stop_signal, Some(exit), kill_at, cx);
                } else {
                    self.decide_after_exit(by.unwrap_or(Cause::Exited(exit)), cx);
                }
            }
            Phase::Draining { state, why, signal, attempt, kill_at, .. } => {
                cx.abort(attempt);
                self.record_exit(run, exit, Some(why.clone()), leftovers, out_of_memory, cx);
                if leftovers {
                    self.send_stop_signal(state, why, signal, Some(exit), kill_at, cx);
                } else {
                    self.decide_after_exit(why, cx);
                }
            }
            Phase::Stopping { state, exit: None, why, kill_at } => {
                self.record_exit(run, exit, Some(why.clone()), leftovers, out_of_memory, cx);
                if leftovers {
                    if self.plan.kill_mode == KillMode::Main {
                        self.send_stop_signal(state, why, self.plan.stop_signal, Some(exit), kill_at, cx);
                    } else {
                        // The processes left behind received the stop signal too: no second one.
                        self.enter(Phase::Stopping { state, exit: Some(exit), why, kill_at }, cx);
                    }
                } else {
                    self.decide_after_exit(why, cx);
                }
            }
            Phase::Killing { state, exit: None, why, abandon_at } => {
                self.record_exit(run, exit, Some(why.clone()), leftovers, out_of_memory, cx);
                if leftovers {
                    self.enter(Phase::Killing { state, exit: Some(exit), why, abandon_at }, cx);
                } else {
                    self.decide_after_exit(why, cx);
                }
            }
            // A duplicate report; the remaining phases have no run or were handled above.
            Phase::Stopping { exit: Some(_), .. }
            | Phase::Killing { exit: Some(_), .. }
            | Phase::Waiting { .. }
            | Phase::Campaigning { .. }
            | Phase::Starting { .. }
            | Phase::Pausing { .. }
            | Phase::Done(_) => {}
        }
    }

    fn record_exit(
        &mut self,
        run: RunId,
        exit: Exit,
        by: Option<Cause>,
        leftovers: bool,
        out_of_memory: bool,
        cx: &mut Context<'_>,
    ) {
        let out_of_memory = out_of_memory || matches!(by, Some(Cause::Memory(..)));
        self.last = Some((RunResult::Exited { exit, by: by.clone(), out_of_memory }, cx.now));
        self.publish(Some(run), JobEventKind::Exited { exit, cause: by, leftovers, out_of_memory }, cx);
    }

    /// What stopped a process that was sent no stop signal, if it did not exit on its own.
    fn exit_cause(&self, exit: Exit, forwarded: Option<Signal>) -> Option<Cause> {
        let from_keys = |code| matches!(code, Signal::INT | Signal::QUIT);
        match exit {
            Exit::Signal(signal) if forwarded == Some(signal) => Some(Cause::Signal(signal)),
            Exit::Signal(signal) if self.plan.terminal && from_keys(signal) => Some(Cause::Terminal(signal)),
            // A shell exits with this code when its command was interrupted.
            Exit::Code(code) if self.plan.terminal && from_keys(Signal(code - 128)) => {
                Some(Cause::Terminal(Signal(code - 128)))
            }
            Exit::Signal(_) | Exit::Code(_) => None,
        }
    }

    /// No process of the run is left.
    pub(crate) fn cleared(&mut self, run: RunId, cx: &mut Context<'_>) {
        match &self.phase {
            Phase::Stopping { state, exit: Some(exit), why, .. }
            | Phase::Killing { state, exit: Some(exit), why, .. }
                if state.run == run =>
            {
                let cause = match why {
                    Cause::LeaderExited(_) => Cause::Exited(*exit),
                    other => other.clone(),
                };
                self.decide_after_exit(cause, cx);
            }
            // About an older run, or before the exit of the main process was reported.
            _ => {}
        }
    }

    // === while it runs ===

    pub(crate) fn suspended(&mut self, run: RunId, signal: Signal, cx: &mut Context<'_>) {
        if let Phase::Running(state) = &mut self.phase
            && state.run == run
            && state.suspended != Some(signal)
        {
            state.suspended = Some(signal);
            self.publish(Some(run), JobEventKind::Suspended(signal), cx);
        }
    }

    pub(crate) fn resumed(&mut self, run: RunId, cx: &mut Context<'_>) {
        if let Phase::Running(state) = &mut self.phase
            && state.run == run
            && state.suspended.take().is_some()
        {
            self.publish(Some(run), JobEventKind::Resumed, cx);
        }
    }

    pub(crate) fn probed(&mut self, attempt: AttemptId, result: ProbeResult, cx: &mut Context<'_>) {
        let id = self.id;
        let Some((state, plan)) = self.running_mut() else { return };
        let run = state.run;
        let Some(cause) = state.probed(id, attempt, result, plan, cx) else { return };
        if let (Cause::Probe(kind, _), true) = (&cause, matches!(self.phase, Phase::Running(_))) {
            let grace = probe_plan(&self.plan, *kind).and_then(|probe| probe.grace);
            self.stop_run(run, cause, grace.unwrap_or(self.plan.grace), cx);
        }
    }

    pub(crate) fn hook_finished(&mut self, attempt: AttemptId, failed: Option<String>, cx: &mut Context<'_>) {
        match &mut self.phase {
            Phase::Running(state) => {
                let run = state.run;
                if let Some(cause) = state.post_start_finished(self.id, attempt, failed, cx) {
                    self.stop_run(run, cause, self.plan.grace, cx);
                }
            }
            Phase::Draining { state, attempt: current, .. } if *current == attempt => {
                let run = state.run;
                if let Some(reason) = failed {
                    // A failure is only reported; see "Container Lifecycle Hooks" of Kubernetes.
                    self.publish(Some(run), JobEventKind::HookFailed { kind: HookKind::PreStop, reason }, cx);
                }
                self.pre_stop_finished(cx);
            }
            _ => {}
        }
    }

    pub(crate) fn notified(&mut self, run: RunId, message: NotifyMessage, cx: &mut Context<'_>) {
        if let (NotifyMessage::ExtendTimeout(more), Phase::Stopping { state, kill_at, .. }) =
            (message, &mut self.phase)
            && state.run == run
        {
            // The time limit of a shutdown cannot be extended.
            let shutdown = !matches!(
                self.intent,
                Intent::Up | Intent::Down { cause: Cause::Request | Cause::Reload, .. }
            );
            if self.plan.notifies && !shutdown {
                let requested = cx.now + more.min(MAX_EXTENSION);
                *kill_at = (*kill_at).max(lock::within(self.lease.as_ref(), requested));
                cx.touched = true;
            }
            return;
        }
        if let Phase::Running(state) = &mut self.phase
            && state.run == run
            && let Some(cause) = state.notified(message, &self.plan, cx)
        {
            self.stop_run(run, cause, self.plan.grace, cx);
        }
    }

    pub(crate) fn over_memory(&mut self, run: RunId, used: u64, limit: u64, cx: &mut Context<'_>) {
        let cause = Cause::Memory(used, limit);
        match &mut self.phase {
            Phase::Running(state) | Phase::Draining { state, .. } | Phase::Stopping { state, .. }
                if state.run == run =>
            {
                let mut state = state.clone();
                state.cancel_for_stop(cx);
                let exit = match &self.phase {
                    Phase::Stopping { exit, .. } => *exit,
                    _ => None,
                };
                if let Phase::Draining { attempt, .. } = self.phase {
                    cx.abort(attempt);
                }
                // No grace period, like the kernel.
                self.send_kill(state, exit, cause.clone(), cause, cx);
            }
            _ => {}
        }
    }

    /// Forwards a signal, with `group` to the process group whatever the kill mode is. Returns false if there is no
    /// process.
    pub(crate) fn forward(&mut self, signal: Signal, group: bool, cx: &mut Context<'_>) -> bool {
        let Some(run) = self.run() else { return false };
        let main_exited = matches!(self.phase, Phase::Stopping { exit: Some(_), .. });
        let group = group || main_exited || self.plan.kill_mode == KillMode::Group;
        let scope = if group { SignalScope::Group } else { SignalScope::Main };
        match &mut self.phase {
            Phase::Running(state) => state.forwarded = Some(signal),
            Phase::Campaigning { .. } => return false,
            // The group does not exist yet, or was sent SIGKILL.
            Phase::Starting { .. } | Phase::Killing { .. } => return true,
            Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Waiting { .. }
            | Phase::Pausing { .. }
            | Phase::Done(_) => {}
        }
        cx.out.push(Effect::Signal { run, signal, scope });
        self.publish(Some(run), JobEventKind::Forwarded(signal), cx);
        true
    }
}
