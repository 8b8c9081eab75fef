//! The state of a running process: whether it has started, whether it is ready, and its probes, hook and deadlines.
//!
//! ```text
//! running ──► READY=1, if it notifies ──► startup probe passes ──► postStart done ══► started
//! started ──► readiness probe passes ──► postStart done, if it runs when ready     ══► ready
//! any of them ──► probe, hook or watchdog fails, a deadline passes ══► a cause to stop the process
//! ```

use std::time::Duration;

use super::context::Context;
use crate::cause::Cause;
use crate::effect::Effect;
use crate::event::NotifyMessage;
use crate::job_event::JobEventKind;
use crate::plan::{HookKind, JobPlan, ProbePlan};
use crate::probe::{Probe, ProbeKind, ProbeResult, Verdict};
use crate::time::rounded;
use crate::{AttemptId, JobId, RunId, Signal, Time};

/// The state of a running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunningState {
    pub(crate) run: RunId,
    /// When its time to live is reached, and its length.
    pub(crate) ttl: Option<(Time, Duration)>,
    /// The last forwarded signal.
    pub(crate) forwarded: Option<Signal>,
    /// Stopped by job control with this signal.
    pub(crate) suspended: Option<Signal>,
    /// It has sent `READY=1`.
    notified_ready: bool,
    ready_by: Option<Time>,
    watchdog_by: Option<Time>,
    probes: [Option<Probe>; 3],
    post_start: Hook,
    was_ready: bool,
    /// The readiness that was published last.
    published_ready: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hook {
    Pending,
    Running(AttemptId, Time),
    Done,
}

/// Which probes are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probing {
    All,
    /// Only readiness: the process is being stopped.
    Ending,
}

impl RunningState {
    pub(crate) fn new(run: RunId, plan: &JobPlan, cx: &mut Context<'_>) -> Self {
        let ttl = plan.ttl.map(|span| span.at(cx.rng.unit()));
        let probe = |kind| probe_plan(plan, kind).map(|plan| Probe::new(kind, plan, cx.now));
        Self {
            run,
            ttl: ttl.map(|ttl| (cx.now + ttl, ttl)),
            forwarded: None,
            suspended: None,
            notified_ready: false,
            ready_by: plan.start_deadline.map(|limit| cx.now + limit),
            watchdog_by: None,
            probes: ProbeKind::ALL.map(probe),
            post_start: if plan.post_start.is_some() { Hook::Pending } else { Hook::Done },
            was_ready: false,
            published_ready: false,
        }
    }

    fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        self.probes[kind as usize].as_ref()
    }

    fn passes(&self, kind: ProbeKind) -> bool {
        self.probe(kind).is_none_or(Probe::passes)
    }

    /// Whether start-up is complete: the startup probe is not carried out any more.
    fn is_up(&self, plan: &JobPlan) -> bool {
        (self.notified_ready || !plan.notifies) && self.passes(ProbeKind::Startup)
    }

    pub(crate) fn has_started(&self, plan: &JobPlan) -> bool {
        let waits_for_ready = plan.post_start.as_ref().is_some_and(|hook| hook.when_ready);
        self.is_up(plan) && (waits_for_ready || self.post_start == Hook::Done)
    }

    pub(crate) fn is_ready(&self, plan: &JobPlan) -> bool {
        self.unready_reason(plan).is_none()
    }

    /// Why it is not ready; None: it is ready.
    pub(crate) fn unready_reason(&self, plan: &JobPlan) -> Option<String> {
        let failed = |kind| {
            let reason = self.probe(kind).and_then(Probe::reason);
            reason.map_or_else(
                || format!("{kind} probe has not passed yet"),
                |r| format!("{kind} probe failed: {r}"),
            )
        };
        if let Some(signal) = self.suspended {
            Some(format!("suspended by {}", signal.long_name()))
        } else if plan.notifies && !self.notified_ready {
            Some("no readiness notification yet".to_owned())
        } else if !self.passes(ProbeKind::Startup) {
            Some(failed(ProbeKind::Startup))
        } else if !self.has_started(plan) {
            Some("postStart hook is not done yet".to_owned())
        } else if !self.passes(ProbeKind::Readiness) {
            Some(failed(ProbeKind::Readiness))
        } else if self.post_start != Hook::Done {
            Some("postStart hook is not done yet".to_owned())
        } else {
            None
        }
    }

    /// The state of a probe: whether it passes, consecutive failures, and the reason of the last failure.
    pub(crate) fn probe_state(&self, kind: ProbeKind) -> Option<(bool, u32, Option<String>)> {
        self.probe(kind).map(|probe| (probe.passes(), probe.failures(), probe.reason().map(str::to_owned)))
    }

    fn is_probed(&self, kind: ProbeKind, plan: &JobPlan, probing: Probing) -> bool {
        match kind {
            ProbeKind::Startup => probing == Probing::All && !self.passes(ProbeKind::Startup),
            ProbeKind::Liveness => probing == Probing::All && self.is_up(plan),
            ProbeKind::Readiness => self.is_up(plan),
        }
    }

    /// When a probe or a deadline is due.
    pub(crate) fn deadline(&self, plan: &JobPlan, probing: Probing) -> Option<Time> {
        let probed = |kind: &ProbeKind| self.is_probed(*kind, plan, probing);
        let probes =
            ProbeKind::ALL.into_iter().filter(probed).filter_map(|kind| self.probe(kind)?.due_at()).min();
        if probing == Probing::Ending {
            return probes;
        }
        let hook = match self.post_start {
            Hook::Running(_, until) => Some(until),
            Hook::Pending | Hook::Done => None,
        };
        [probes, hook, self.ready_by, self.watchdog_by, self.ttl.map(|(at, _)| at)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Starts the probes that are due.
    pub(crate) fn probe_due(&mut self, job: JobId, plan: &JobPlan, probing: Probing, cx: &mut Context<'_>) {
        for kind in ProbeKind::ALL {
            if !self.is_probed(kind, plan, probing) {
                continue;
            }
            let run = self.run;
            if let (Some(probe), Some(probe_plan)) = (&mut self.probes[kind as usize], probe_plan(plan, kind))
                && probe.due_at().is_some_and(|at| at <= cx.now)
            {
                let attempt = cx.attempt(job);
                probe.begin(attempt, probe_plan, cx.now);
                cx.out.push(Effect::Probe { job, run, kind, attempt });
            }
        }
    }

    /// Checks the other deadlines; returns the cause to stop the process, if any.
    pub(crate) fn overdue(&mut self, job: JobId, plan: &JobPlan, cx: &mut Context<'_>) -> Option<Cause> {
        let over = |at: Option<Time>| at.is_some_and(|at| at <= cx.now);
        if let Some((at, ttl)) = self.ttl
            && at <= cx.now
        {
            return Some(Cause::Ttl(ttl));
        }
        if over(self.ready_by) {
            return Some(Cause::StartDeadline(plan.start_deadline.unwrap_or_default()));
        }
        if over(self.watchdog_by) {
            return Some(Cause::Watchdog(plan.watchdog));
        }
        match (&self.post_start, &plan.post_start) {
            (Hook::Running(attempt, until), Some(hook)) if *until <= cx.now => {
                let attempt = *attempt;
                cx.abort(attempt);
                Some(self.hook_failed(job, format!("timed out after {}", rounded(hook.deadline)), cx))
            }
            _ => None,
        }
    }

    fn hook_failed(&mut self, job: JobId, reason: String, cx: &mut Context<'_>) -> Cause {
        self.post_start = Hook::Pending;
        let kind = HookKind::PostStart;
        cx.publish(job, Some(self.run), JobEventKind::HookFailed { kind, reason: reason.clone() });
        Cause::Hook(kind, reason)
    }

    /// Handles the result of a probe; returns the cause to stop the process, if any.
    pub(crate) fn probed(
        &mut self,
        job: JobId,
        attempt: AttemptId,
        result: ProbeResult,
        plan: &JobPlan,
        cx: &mut Context<'_>,
    ) -> Option<Cause> {
        let kind = ProbeKind::ALL
            .into_iter()
            .find(|kind| self.probe(*kind).is_some_and(|p| p.is_waiting_for(attempt)))?;
        let (probe, probe_plan) = (self.probes[kind as usize].as_mut()?, probe_plan(plan, kind)?);
        let failed = match &result {
            ProbeResult::Passed => None,
            ProbeResult::Failed(reason) | ProbeResult::Impossible(reason) => Some(reason.clone()),
        };
        let shown = (probe.passes(), probe.failures());
        let verdict = probe.finish(probe_plan, result);
        cx.touched |= shown != (probe.passes(), probe.failures());
        if verdict == Verdict::Retry {
            let again = cx.attempt(job);
            probe.retry(again);
            cx.out.push(Effect::Probe { job, run: self.run, kind, attempt: again });
            return None;
        }
        let (failures, threshold) = (probe.failures(), probe_plan.failure_threshold);
        if let Some(reason) = failed.clone() {
            cx.publish(job, Some(self.run), JobEventKind::ProbeFailed { kind, reason, failures, threshold });
        }
        // Before the process was ever ready, only its start deadline applies, if there is one.
        let starting_up = kind == ProbeKind::Readiness && self.ready_by.is_some() && !self.was_ready;
        let fatal = kind != ProbeKind::Readiness || (probe_plan.restarts && !starting_up);
        (verdict == Verdict::Fails && fatal).then(|| Cause::Probe(kind, failed.unwrap_or_default()))
    }

    /// Handles the result of the postStart hook; returns the cause to stop the process, if any.
    pub(crate) fn post_start_finished(
        &mut self,
        job: JobId,
        attempt: AttemptId,
        failed: Option<String>,
        cx: &mut Context<'_>,
    ) -> Option<Cause> {
        if !matches!(self.post_start, Hook::Running(current, _) if current == attempt) {
            return None;
        }
        match failed {
            None => {
                self.post_start = Hook::Done;
                None
            }
            Some(reason) => Some(self.hook_failed(job, reason, cx)),
        }
    }

    /// Handles a notification of the process; returns the cause to stop it, if any.
    pub(crate) fn notified(
        &mut self,
        message: NotifyMessage,
        plan: &JobPlan,
        cx: &mut Context<'_>,
    ) -> Option<Cause> {
        let now = cx.now;
        match message {
            NotifyMessage::Ready => {
                cx.touched |= !self.notified_ready;
                self.notified_ready = true;
            }
            NotifyMessage::Watchdog => self.watchdog_by = plan.watchdog.map(|limit| now + limit),
            NotifyMessage::WatchdogTrigger => return Some(Cause::Watchdog(None)),
            NotifyMessage::ExtendTimeout(more) => {
                let later = |at: Time| at.max(now + more);
                self.ready_by = self.ready_by.map(later);
                self.watchdog_by = self.watchdog_by.map(later);
            }
            NotifyMessage::Stopping => {}
        }
        None
    }

    /// Acts on what has changed: starts the hook, and publishes readiness.
    pub(crate) fn review(&mut self, job: JobId, plan: &JobPlan, cx: &mut Context<'_>) {
        if let (Hook::Pending, Some(hook)) = (self.post_start, &plan.post_start)
            && (!hook.when_ready || (self.is_up(plan) && self.passes(ProbeKind::Readiness)))
        {
            let attempt = cx.attempt(job);
            self.post_start = Hook::Running(attempt, cx.now + hook.deadline);
            cx.publish(job, Some(self.run), JobEventKind::HookStarted(HookKind::PostStart));
            cx.out.push(Effect::Hook { job, run: self.run, kind: HookKind::PostStart, attempt });
        }
        if plan.watchdog.is_some() && self.watchdog_by.is_none() && self.has_started(plan) {
            self.watchdog_by = plan.watchdog.map(|limit| cx.now + limit);
        }
        let reason = self.unready_reason(plan);
        if reason.is_none() {
            self.was_ready = true;
            self.ready_by = None;
        }
        // A process without any of these is ready as soon as it is started: no event.
        let probed = plan.probes.startup.is_some() || plan.probes.readiness.is_some();
        let gated = probed || plan.notifies || plan.post_start.is_some();
        if gated && self.published_ready != reason.is_none() {
            self.published_ready = reason.is_none();
            let kind = reason.map_or(JobEventKind::Ready, |reason| JobEventKind::Unready { reason });
            cx.publish(job, Some(self.run), kind);
        }
    }

    /// Cancels the startup and liveness probes and the postStart hook, for a stop.
    pub(crate) fn cancel_for_stop(&mut self, cx: &mut Context<'_>) {
        for kind in [ProbeKind::Startup, ProbeKind::Liveness] {
            if let Some(attempt) = self.probes[kind as usize].as_mut().and_then(Probe::cancel) {
                cx.abort(attempt);
            }
        }
        if let Hook::Running(attempt, _) = self.post_start {
            self.post_start = Hook::Pending;
            cx.abort(attempt);
        }
    }

    /// Cancels all probes and hooks: the process has exited or was sent SIGKILL.
    pub(crate) fn cancel_all(&mut self, cx: &mut Context<'_>) {
        self.cancel_for_stop(cx);
        if let Some(attempt) = self.probes[ProbeKind::Readiness as usize].as_mut().and_then(Probe::cancel) {
            cx.abort(attempt);
        }
    }
}

/// The plan of a probe of a process.
pub(crate) fn probe_plan(plan: &JobPlan, kind: ProbeKind) -> Option<&ProbePlan> {
    match kind {
        ProbeKind::Startup => plan.probes.startup.as_ref(),
        ProbeKind::Liveness => plan.probes.liveness.as_ref(),
        ProbeKind::Readiness => plan.probes.readiness.as_ref(),
    }
}
