//! What is known of a process that is there: whether it has started, whether it is ready, and what is under
//! way for it.
//!
//! ```text
//! there ──► announced, if it announces ──► startup probe passes ──► postStart done ══► started
//! started ──► readiness probe passes ──► postStart done, if it is for then         ══► ready
//! ```

use std::time::Duration;

use crate::event::{Cause, Effect, HookKind, JobEventKind, NotifyMessage};
use crate::job::{Context, EventEmitter};
use crate::plan::{JobPlan, ProbePlan};
use crate::probe::{Probe, ProbeKind, ProbeResult, Verdict};
use crate::{AttemptId, RunId, Signal, Time};

/// A process that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunningState {
    pub(crate) run: RunId,
    /// When its time to live is over, and how long that is.
    pub(crate) ttl: Option<(Time, Duration)>,
    /// The last signal that was handed on to it.
    pub(crate) forwarded: Option<Signal>,
    /// It was stopped by this signal, and has not gone on.
    pub(crate) suspended: Option<Signal>,
    /// It has said that it has started.
    announced: bool,
    ready_by: Option<Time>,
    sign_of_life_by: Option<Time>,
    probes: [Option<Probe>; 3],
    post_start: Hook,
    /// It was ready once.
    was_ready: bool,
    /// What was told of it last.
    told_ready: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hook {
    Ahead,
    Running(AttemptId, Time),
    Done,
}

/// Which probes are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probing {
    /// All, as it is to be kept.
    All,
    /// Only readiness: it is ending.
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
            announced: false,
            ready_by: plan.start_deadline.map(|limit| cx.now + limit),
            sign_of_life_by: None,
            probes: ProbeKind::ALL.map(probe),
            post_start: if plan.post_start.is_some() { Hook::Ahead } else { Hook::Done },
            was_ready: false,
            told_ready: false,
        }
    }

    fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        self.probes[kind as usize].as_ref()
    }

    fn passes(&self, kind: ProbeKind) -> bool {
        self.probe(kind).is_none_or(Probe::passes)
    }

    /// It is far enough that the startup probe, which rests from then on, has nothing more to say.
    fn is_up(&self, plan: &JobPlan) -> bool {
        (self.announced || !plan.notifies) && self.passes(ProbeKind::Startup)
    }

    pub(crate) fn has_started(&self, plan: &JobPlan) -> bool {
        let waits_for_ready = plan.post_start.as_ref().is_some_and(|hook| hook.when_ready);
        self.is_up(plan) && (waits_for_ready || self.post_start == Hook::Done)
    }

    pub(crate) fn is_ready(&self, plan: &JobPlan) -> bool {
        self.unready_reason(plan).is_none()
    }

    /// Why it is not ready; None: it is.
    pub(crate) fn unready_reason(&self, plan: &JobPlan) -> Option<String> {
        let failed = |kind| {
            let reason = self.probe(kind).and_then(Probe::reason);
            reason.map_or_else(
                || format!("its {kind} probe has not passed yet"),
                |r| format!("its {kind} probe: {r}"),
            )
        };
        if let Some(signal) = self.suspended {
            Some(format!("suspended by {signal}"))
        } else if plan.notifies && !self.announced {
            Some("it has not said yet that it is ready".to_owned())
        } else if !self.passes(ProbeKind::Startup) {
            Some(failed(ProbeKind::Startup))
        } else if !self.has_started(plan) {
            Some("its postStart hook is not done yet".to_owned())
        } else if !self.passes(ProbeKind::Readiness) {
            Some(failed(ProbeKind::Readiness))
        } else if self.post_start != Hook::Done {
            Some("its postStart hook is not done yet".to_owned())
        } else {
            None
        }
    }

    /// The state of a probe: whether it passes, failures in a row, and why it failed last.
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

    /// When something of it is due.
    pub(crate) fn deadline(&self, plan: &JobPlan, probing: Probing) -> Option<Time> {
        let probed = |kind: &ProbeKind| self.is_probed(*kind, plan, probing);
        let probes =
            ProbeKind::ALL.into_iter().filter(probed).filter_map(|kind| self.probe(kind)?.due_at()).min();
        if probing == Probing::Ending {
            return probes;
        }
        let hook = match self.post_start {
            Hook::Running(_, until) => Some(until),
            Hook::Ahead | Hook::Done => None,
        };
        [probes, hook, self.ready_by, self.sign_of_life_by, self.ttl.map(|(at, _)| at)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Carries out the probes that are due.
    pub(crate) fn probe_due(
        &mut self,
        teller: EventEmitter,
        plan: &JobPlan,
        probing: Probing,
        cx: &mut Context<'_>,
    ) {
        for kind in ProbeKind::ALL {
            if !self.is_probed(kind, plan, probing) {
                continue;
            }
            let run = self.run;
            if let (Some(probe), Some(probe_plan)) = (&mut self.probes[kind as usize], probe_plan(plan, kind))
                && probe.due_at().is_some_and(|at| at <= cx.now)
            {
                let attempt = cx.attempt(teller.job);
                // When we have just begun ourselves everything begins at once: from the second round on the
                // probes of a period are spread over it. (The kubelet delays the first one for that.)
                let young = cx.now.since(Time::ZERO) < probe_plan.period;
                let part = if young { 1.0 - cx.rng.unit() } else { 1.0 };
                probe.ask(attempt, probe_plan, cx.now, part);
                cx.out.push(Effect::Probe { job: teller.job, run, kind, attempt });
            }
        }
    }

    /// What has become due beside probes, as a reason to end it.
    pub(crate) fn overdue(
        &mut self,
        teller: EventEmitter,
        plan: &JobPlan,
        cx: &mut Context<'_>,
    ) -> Option<Cause> {
        let over = |at: Option<Time>| at.is_some_and(|at| at <= cx.now);
        if let Some((at, ttl)) = self.ttl
            && at <= cx.now
        {
            return Some(Cause::Ttl(ttl));
        }
        if over(self.ready_by) {
            return Some(Cause::StartDeadline(plan.start_deadline.unwrap_or_default()));
        }
        if over(self.sign_of_life_by) {
            return Some(Cause::Watchdog(plan.watchdog));
        }
        match (&self.post_start, &plan.post_start) {
            (Hook::Running(attempt, until), Some(hook)) if *until <= cx.now => {
                let attempt = *attempt;
                cx.abort(attempt);
                Some(self.hook_failed(teller, format!("not done within {:?}", hook.deadline), cx))
            }
            _ => None,
        }
    }

    fn hook_failed(&mut self, teller: EventEmitter, reason: String, cx: &mut Context<'_>) -> Cause {
        self.post_start = Hook::Ahead;
        let kind = HookKind::PostStart;
        teller.tell(Some(self.run), JobEventKind::HookFailed { kind, reason: reason.clone() }, cx);
        Cause::Hook(kind, reason)
    }

    /// Takes what came of an attempt. A reason to end it, if that is one.
    pub(crate) fn probed(
        &mut self,
        teller: EventEmitter,
        attempt: AttemptId,
        result: ProbeResult,
        plan: &JobPlan,
        cx: &mut Context<'_>,
    ) -> Option<Cause> {
        let kind =
            ProbeKind::ALL.into_iter().find(|kind| self.probe(*kind).is_some_and(|p| p.awaits(attempt)))?;
        let (probe, probe_plan) = (self.probes[kind as usize].as_mut()?, probe_plan(plan, kind)?);
        let failed = match &result {
            ProbeResult::Passed => None,
            ProbeResult::Failed(reason) | ProbeResult::Impossible(reason) => Some(reason.clone()),
        };
        let shown = (probe.passes(), probe.failures());
        let verdict = probe.answered(probe_plan, result);
        cx.touched |= shown != (probe.passes(), probe.failures());
        if verdict == Verdict::Again {
            let again = cx.attempt(teller.job);
            probe.ask_again(again);
            cx.out.push(Effect::Probe { job: teller.job, run: self.run, kind, attempt: again });
            return None;
        }
        let (failures, threshold) = (probe.failures(), probe_plan.failure_threshold);
        if let Some(reason) = failed.clone() {
            teller.tell(Some(self.run), JobEventKind::ProbeFailed { kind, reason, failures, threshold }, cx);
        }
        // A failure before it was ever ready is the deadline's matter, where there is one.
        let young = kind == ProbeKind::Readiness && self.ready_by.is_some() && !self.was_ready;
        let fatal = kind != ProbeKind::Readiness || (probe_plan.restarts && !young);
        (verdict == Verdict::Fails && fatal).then(|| Cause::Probe(kind, failed.unwrap_or_default()))
    }

    /// Takes what came of its hook. A reason to end it, if that is one.
    pub(crate) fn hooked(
        &mut self,
        teller: EventEmitter,
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
            Some(reason) => Some(self.hook_failed(teller, reason, cx)),
        }
    }

    /// Takes what the process says about itself. A reason to end it, if that is one.
    pub(crate) fn said(
        &mut self,
        word: NotifyMessage,
        plan: &JobPlan,
        cx: &mut Context<'_>,
    ) -> Option<Cause> {
        let now = cx.now;
        match word {
            NotifyMessage::Ready => {
                cx.touched |= !self.announced;
                self.announced = true;
            }
            NotifyMessage::Watchdog => self.sign_of_life_by = plan.watchdog.map(|limit| now + limit),
            NotifyMessage::WatchdogTrigger => return Some(Cause::Watchdog(None)),
            NotifyMessage::ExtendTimeout(more) => {
                let later = |at: Time| at.max(now + more);
                self.ready_by = self.ready_by.map(later);
                self.sign_of_life_by = self.sign_of_life_by.map(later);
            }
            NotifyMessage::Stopping => {}
        }
        None
    }

    /// Draws the conclusions of what has changed: begins what is to begin, and tells of what is news.
    pub(crate) fn review(&mut self, teller: EventEmitter, plan: &JobPlan, cx: &mut Context<'_>) {
        if let (Hook::Ahead, Some(hook)) = (self.post_start, &plan.post_start)
            && (!hook.when_ready || (self.is_up(plan) && self.passes(ProbeKind::Readiness)))
        {
            let attempt = cx.attempt(teller.job);
            self.post_start = Hook::Running(attempt, cx.now + hook.deadline);
            teller.tell(Some(self.run), JobEventKind::HookStarted(HookKind::PostStart), cx);
            cx.out.push(Effect::Hook { job: teller.job, run: self.run, kind: HookKind::PostStart, attempt });
        }
        if plan.watchdog.is_some() && self.sign_of_life_by.is_none() && self.has_started(plan) {
            self.sign_of_life_by = plan.watchdog.map(|limit| cx.now + limit);
        }
        let reason = self.unready_reason(plan);
        if reason.is_none() {
            self.was_ready = true;
            self.ready_by = None;
        }
        // Of a process that is ready as soon as it is there, that is no news.
        let probed = plan.probes.startup.is_some() || plan.probes.readiness.is_some();
        let is_news = probed || plan.notifies || plan.post_start.is_some();
        if is_news && self.told_ready != reason.is_none() {
            self.told_ready = reason.is_none();
            let what = reason.map_or(JobEventKind::Ready, |reason| JobEventKind::Unready { reason });
            teller.tell(Some(self.run), what, cx);
        }
    }

    /// It is ending: what is under way for its start and its keep is given up.
    pub(crate) fn end_begins(&mut self, cx: &mut Context<'_>) {
        for kind in [ProbeKind::Startup, ProbeKind::Liveness] {
            if let Some(attempt) = self.probes[kind as usize].as_mut().and_then(Probe::give_up) {
                cx.abort(attempt);
            }
        }
        if let Hook::Running(attempt, _) = self.post_start {
            self.post_start = Hook::Ahead;
            cx.abort(attempt);
        }
    }

    /// The process has ended: nothing is done for it any more.
    pub(crate) fn over(&mut self, cx: &mut Context<'_>) {
        self.end_begins(cx);
        if let Some(attempt) = self.probes[ProbeKind::Readiness as usize].as_mut().and_then(Probe::give_up) {
            cx.abort(attempt);
        }
    }
}

/// The plan of one of a process's probes.
pub(crate) fn probe_plan(plan: &JobPlan, kind: ProbeKind) -> Option<&ProbePlan> {
    match kind {
        ProbeKind::Startup => plan.probes.startup.as_ref(),
        ProbeKind::Liveness => plan.probes.liveness.as_ref(),
        ProbeKind::Readiness => plan.probes.readiness.as_ref(),
    }
}
