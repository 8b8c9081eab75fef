//! Changes of jobs, and the indexes and counters derived from them.

use std::collections::{BTreeMap, BTreeSet};

use super::Pod;
use crate::cause::{Cause, TerminalReason};
use crate::effect::Effect;
use crate::job::{Context, Intent, Job, Phase};
use crate::plan::{ExitRule, StartLimitAction};
use crate::{AttemptId, JobId, PodPhase, RunId, Time};

/// Derived facts of a job, for indexes, counters and its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JobFacts {
    run: Option<RunId>,
    deadline: Option<Time>,
    started: bool,
    ready: bool,
    wanted: bool,
    done: bool,
    pub(super) over: bool,
    healthy: bool,
}

impl JobFacts {
    pub(super) fn of(job: &Job) -> Self {
        Self {
            run: job.run(),
            deadline: job.deadline(),
            started: job.has_started(),
            ready: job.is_ready(),
            wanted: job.is_wanted(),
            done: job.is_done(),
            over: job.is_over(),
            healthy: job.is_healthy(),
        }
    }

    /// Whether neighbours in the dependency graph have to be re-evaluated.
    fn affects_others(self, before: Self) -> bool {
        let visible = |facts: Self| (facts.started, facts.ready, facts.wanted, facts.done, facts.over);
        visible(self) != visible(before)
    }
}

impl Pod {
    /// Changes a job. All job changes go through here, so that the indexes (runs, timers, counters) stay consistent.
    pub(super) fn with(
        &mut self,
        id: JobId,
        now: Time,
        out: &mut Vec<Effect>,
        f: impl FnOnce(&mut Job, &mut Context<'_>),
    ) {
        let Some(job) = self.jobs.get_mut(id.0) else { return };
        let before = JobFacts::of(job);
        let mut cx = Context {
            now,
            next_id: &mut self.next_id,
            rng: &mut self.rng,
            attempts: &mut self.attempts,
            out,
            touched: false,
        };
        let effects = cx.out.len();
        f(job, &mut cx);
        job.review(&mut cx);
        let quiet = cx.out.len() == effects && !cx.touched;
        let after = JobFacts::of(job);
        self.update_indexes(id, before, after);
        if !quiet || after != before {
            self.changed.insert(id);
            self.dirty.insert(id);
            self.touched = true;
        }
        if after.run.is_some() && self.failed.is_some_and(|(failed, _)| failed == id) {
            // It was started again on request.
            self.failed = None;
        }
        if after.affects_others(before) {
            self.mark_dirty(id);
        }
        if after.done && !before.done {
            self.job_done(id, now, out);
        }
    }

    /// Changes the job of this run. An event about a run that is over is ignored.
    pub(super) fn of_run(
        &mut self,
        run: RunId,
        now: Time,
        out: &mut Vec<Effect>,
        f: impl FnOnce(&mut Job, &mut Context<'_>),
    ) {
        if let Some(id) = self.runs.get(&run).copied() {
            self.with(id, now, out, f);
        }
    }

    /// Changes the job of this attempt. The result of a cancelled attempt is ignored.
    pub(super) fn of_attempt(
        &mut self,
        attempt: AttemptId,
        now: Time,
        out: &mut Vec<Effect>,
        f: impl FnOnce(&mut Job, &mut Context<'_>),
    ) {
        if let Some(id) = self.attempts.remove(&attempt) {
            self.with(id, now, out, f);
        }
    }

    pub(super) fn each(
        &mut self,
        now: Time,
        out: &mut Vec<Effect>,
        mut f: impl FnMut(&mut Job, &mut Context<'_>),
    ) {
        for id in self.order.clone() {
            self.with(id, now, out, &mut f);
        }
    }

    fn update_indexes(&mut self, id: JobId, before: JobFacts, after: JobFacts) {
        if before.run != after.run {
            before.run.and_then(|run| self.runs.remove(&run));
            after.run.map(|run| self.runs.insert(run, id));
        }
        if before.deadline != after.deadline {
            before.deadline.map(|at| self.timers.remove(&(at, id)));
            after.deadline.map(|at| self.timers.insert((at, id)));
        }
        let job = &self.jobs[id.0];
        self.undone = self.undone + usize::from(!after.done) - usize::from(!before.done);
        self.unhealthy = self.unhealthy + usize::from(!after.healthy) - usize::from(!before.healthy);
        if job.plan.tombstone {
            self.to_record.insert(id);
        }
        if !job.plan.sidecar {
            self.unfinished = self.unfinished + usize::from(!after.over) - usize::from(!before.over);
        }
    }

    /// Marks a job, its needs and its dependents for re-evaluation.
    fn mark_dirty(&mut self, id: JobId) {
        self.dirty.insert(id);
        self.dirty.extend(self.jobs[id.0].plan.needs.iter().map(|need| need.job));
        self.dirty.extend(self.dependents[id.0].iter().copied());
    }

    /// Applies the consequences of a completed job for the pod.
    fn job_done(&mut self, id: JobId, now: Time, out: &mut Vec<Effect>) {
        let job = &self.jobs[id.0];
        let (name, code) = (job.plan.name.clone(), job.mapped_code(&self.settings.codes));
        if job.is_wanted()
            && code != 0
            && self.failed.is_none()
            && !matches!(job.phase, Phase::Done(TerminalReason::RestartLimit(StartLimitAction::Ignore)))
        {
            self.failed = Some((id, code));
        }
        if job.retired {
            if let Some(others) = self.retiring.get_mut(&name) {
                others.remove(&id);
                if others.is_empty() {
                    self.retiring.remove(&name);
                    self.dirty.extend(self.planned.get(&name));
                }
            }
            self.unhealthy -= usize::from(!self.jobs[id.0].is_healthy());
            self.order.retain(|other| *other != id);
            out.push(Effect::JobRemoved(id));
        } else if matches!(job.phase, Phase::Done(TerminalReason::RestartLimit(StartLimitAction::Exit))) {
            self.failed = Some((id, code));
            self.stop(&Cause::RestartLimit(name), None, now, out);
        } else if self.settings.exit == ExitRule::From(id) && job.is_over() {
            self.stop(&Cause::ExitFrom(name), None, now, out);
        }
    }

    /// Compares the indexes and counters with the jobs. For tests.
    #[doc(hidden)]
    pub fn check_indexes(&self) -> Result<(), String> {
        let undone = self.jobs.iter().filter(|job| !job.is_done()).count();
        let active = self.jobs.iter().filter(|job| !job.plan.sidecar && !job.is_over());
        let unfinished = active.filter(|job| !(job.retired && job.is_done())).count();
        let timers: BTreeSet<_> =
            self.jobs.iter().enumerate().filter_map(|(i, job)| Some((job.deadline()?, JobId(i)))).collect();
        let runs: BTreeMap<_, _> =
            self.jobs.iter().enumerate().filter_map(|(i, job)| Some((job.run()?, JobId(i)))).collect();
        let check =
            |name: &str, holds: bool| if holds { Ok(()) } else { Err(format!("inconsistent index: {name}")) };
        check("undone", undone == self.undone)?;
        check("unfinished", unfinished == self.unfinished)?;
        let unhealthy = self.order.iter().filter(|id| !self.jobs[id.0].is_healthy()).count();
        check("unhealthy", unhealthy == self.unhealthy)?;
        check("timers", timers == self.timers)?;
        check("runs", runs == self.runs)?;
        check(
            "intent",
            self.phase == PodPhase::Up
                || self.jobs.iter().all(|job| !matches!(job.intent, Intent::Up) || job.is_done()),
        )
    }
}
