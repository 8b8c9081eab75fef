//! The end of the pod: when, in which order, and with which exit code.

use engine::snapshot::TerminalReason;
use engine::{
    Cause, Event, ExitRule, JobId, JobPhase, JobPlan, JobSnapshot, Need, PodPhase, Request, StartLimitAction,
    Time,
};

use super::{Checked, Step, check};
use crate::world::{FullSnapshot, World};

/// Whether a job has completed and does not keep the pod up. Stopped and held jobs can be started again.
fn is_over(job: &JobSnapshot) -> bool {
    match &job.phase {
        JobPhase::Done(TerminalReason::Exited | TerminalReason::NeedFailed { .. }) => true,
        JobPhase::Done(TerminalReason::RestartLimit(action)) => *action != StartLimitAction::Hold,
        _ => false,
    }
}

impl World {
    /// A shutdown stops dependents first.
    pub(crate) fn stops_in_order(&self, job: JobId, cause: &Cause, after: &FullSnapshot) -> Checked {
        if !Self::of_shutdown(cause, after) || self.forced {
            return Ok(());
        }
        let depends = |other: &JobId| self.plans[other].needs.iter().any(|need| need.job == job);
        let running = self.processes.values().find(|(other, process)| depends(other) && !process.abandoned);
        check(running.is_none(), || format!("{job:?} was stopped before {running:?}, which depends on it"))
    }

    /// A shutdown with a time limit: a job leaves at least half of it to those that it needs.
    pub(crate) fn time_is_shared(
        &self,
        job: JobId,
        cause: &Cause,
        kill_at: Time,
        after: &FullSnapshot,
    ) -> Checked {
        let of_shutdown = Self::of_shutdown(cause, after);
        let (Some(limit), Some(began), true, false) =
            (self.settings.deadline, self.stop_began, of_shutdown, self.forced)
        else {
            return Ok(());
        };
        let running =
            |need: &Need| self.processes.values().any(|(of, process)| *of == need.job && !process.abandoned);
        let others = self.plans[&job].needs.iter().any(running);
        let left = (began + limit).since(self.now);
        let takes = kill_at.since(self.now);
        check(!others || takes <= left / 2, || {
            format!("{job:?} takes {takes:?} of the {left:?} that others need too")
        })
    }

    /// What a main process leaves behind gets a signal in the step of its exit, unless it got one before.
    pub(super) fn leftovers_are_signalled(&self, step: &Step<'_>) -> Checked {
        let Event::Exited { run, leftovers: true, .. } = step.event else { return Ok(()) };
        let forgotten =
            self.processes.get(run).is_some_and(|(_, process)| !process.all_signalled && !process.abandoned);
        check(!forgotten, || format!("the processes left behind by {run:?} got no signal"))
    }

    /// The pod leaves `Up` only for a reason that is true.
    pub(super) fn pod_stops_for_a_reason(&self, step: &Step<'_>) -> Checked {
        if step.before.phase != PodPhase::Up || step.after.phase == PodPhase::Up {
            return Ok(());
        }
        let any =
            |fits: &dyn Fn(&JobId, &JobPlan) -> bool| self.plans.iter().any(|(id, plan)| fits(id, plan));
        let over = |id: &JobId| step.after(*id).is_some_and(is_over);
        let fits = match &step.after.phase {
            PodPhase::Stopping { cause } => match cause {
                Cause::Signal(signal) => *step.event == Event::Signalled(*signal),
                Cause::Request => matches!(step.event, Event::Requested { action: Request::End, .. }),
                Cause::Peer(_) => {
                    self.settings.death_dependencies.iter().any(|expression| self.holds(expression, false))
                }
                Cause::ExitFrom(name) => any(&|id, plan| {
                    plan.name == *name && self.settings.exit == ExitRule::From(*id) && over(id)
                }),
                Cause::RestartLimit(name) => any(&|id, plan| {
                    plan.name == *name && plan.restart.limit_action == StartLimitAction::Exit && over(id)
                }),
                Cause::AllExited => self.main_jobs(step.after).all(|(_, job)| is_over(job)),
                _ => false,
            },
            _ => step.after.jobs.iter().all(|job| matches!(job.phase, JobPhase::Done(_))),
        };
        check(fits, || format!("{:?} after {:?}", step.after.phase, step.event))
    }

    /// All jobs but sidecars.
    fn main_jobs<'a>(&'a self, snapshot: &'a FullSnapshot) -> impl Iterator<Item = (JobId, &'a JobSnapshot)> {
        self.jobs(snapshot).filter(|(id, _)| !self.plans[id].sidecar)
    }

    /// The pod stops when its jobs have completed, when the job completes that decides, and ends when all are done.
    pub(super) fn pod_completes(&self, after: &FullSnapshot) -> Checked {
        match &after.phase {
            PodPhase::Up => {
                check(self.main_jobs(after).any(|(_, job)| !is_over(job)), || {
                    "the pod stays up although all jobs have completed".to_owned()
                })?;
                let ExitRule::From(decides) = self.settings.exit else { return Ok(()) };
                let over = after.get(decides).is_some_and(is_over);
                check(!over, || format!("the pod stays up although {decides:?} has completed"))
            }
            PodPhase::Stopping { .. } => {
                let open = after.jobs.iter().any(|job| !matches!(job.phase, JobPhase::Done(_)));
                check(open, || "the pod has not ended although all jobs are done".to_owned())
            }
            PodPhase::Lingering { .. } | PodPhase::Ended { .. } => Ok(()),
        }
    }

    /// Whether the pod that was up before this event was stopped, other than for its completion.
    fn was_stopped(&self, event: &Event, after: &FullSnapshot) -> bool {
        let by_job = |job: &JobSnapshot| {
            matches!(job.ending, Some(Cause::Signal(_) | Cause::ExitFrom(_) | Cause::RestartLimit(_)))
        };
        matches!(event, Event::Signalled(_) | Event::Requested { action: Request::End, .. })
            || self.settings.death_dependencies.iter().any(|expression| self.holds(expression, false))
            || after.jobs.iter().any(by_job)
            || self.jobs(after).any(|(id, job)| self.settings.exit == ExitRule::From(id) && is_over(job))
    }

    /// A pod that has completed on its own lingers for exactly as long as planned, unless it is stopped.
    pub(super) fn lingers_as_planned(
        &mut self,
        before: &FullSnapshot,
        after: &FullSnapshot,
        event: &Event,
    ) -> Checked {
        let own_end = match &before.phase {
            PodPhase::Up => !self.was_stopped(event, after),
            PodPhase::Stopping { cause } => *cause == Cause::AllExited,
            _ => false,
        };
        let lingers = own_end && !self.settings.linger.is_zero() && !self.ran.is_empty();
        match (&before.phase, &after.phase) {
            (PodPhase::Lingering { until }, PodPhase::Lingering { .. }) => {
                let over = *event == Event::TimerFired && *until <= self.now;
                check(!over, || "the pod lingers for too long".to_owned())
            }
            (PodPhase::Lingering { until }, PodPhase::Ended { .. }) => {
                let stopped =
                    matches!(event, Event::Signalled(_) | Event::Requested { action: Request::End, .. });
                self.marks.insert("linger");
                check(stopped || *until <= self.now, || "the pod does not linger long enough".to_owned())
            }
            (_, PodPhase::Lingering { until }) => {
                check(*until == self.now + self.settings.linger, || format!("lingers until {until:?}"))
            }
            (PodPhase::Up | PodPhase::Stopping { .. }, PodPhase::Ended { .. }) => {
                check(!lingers, || "the pod has ended without lingering".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The exit code is that of the job that the plan names, or of the first that has failed.
    pub(super) fn exit_code_follows_the_rule(&self, after: &FullSnapshot) -> Checked {
        let PodPhase::Ended { code } = after.phase else { return Ok(()) };
        let codes = || self.jobs(after).map(|(id, job)| (id, self.mapped_code(job, job.ending.as_ref())));
        let expected = match self.settings.exit {
            ExitRule::FirstInPlan => codes().map(|(_, code)| code).find(|code| *code != 0).unwrap_or(0),
            ExitRule::FirstToFail => self.failed.map_or(0, |(_, code)| code),
            ExitRule::From(decides) => codes().find(|(id, _)| *id == decides).map_or(0, |(_, code)| code),
        };
        check(code == expected, || {
            format!("exit code {code}, not {expected}, by {:?}: {:?}", self.settings.exit, after.jobs)
        })
    }

    /// After the end no process, request or timer is left.
    pub(super) fn end_leaves_nothing(&self, after: &FullSnapshot) -> Checked {
        let ended = matches!(after.phase, PodPhase::Ended { .. });
        check(ended == self.ended.is_some(), || "phase and effect disagree about the end".to_owned())?;
        if !ended {
            return Ok(());
        }
        let left = self.processes.values().any(|(_, process)| !process.abandoned);
        check(!left, || format!("ended with processes left: {:?}", self.processes))?;
        check(self.requests.is_empty(), || format!("ended without a response to {:?}", self.requests))?;
        check(self.pod.deadline().is_none(), || "a timer after the end".to_owned())
    }
}
