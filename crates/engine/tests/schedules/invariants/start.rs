//! Starts: needs on other jobs and dependencies on peers, and that nothing waits without a reason.

use std::collections::BTreeMap;

use engine::snapshot::TerminalReason;
use engine::{
    Condition, DependencyTerm, Expression, JobId, JobPhase, Need, PodPhase, StartDependency, Time,
    TimeoutAction,
};

use super::{Checked, check};
use crate::world::{FullSnapshot, Lease, World, met_by_code};

impl World {
    /// The needs of a process hold when it is started, as far as the world can tell.
    pub(crate) fn needs_hold(&self, job: JobId) -> Checked {
        for need in &self.plans[&job].needs {
            let plan = &self.plans[&need.job];
            let process = self.processes.values().find(|(of, process)| *of == need.job && !process.abandoned);
            let up = process.is_some_and(|(_, process)| {
                let ready = plan.probes.readiness.is_none()
                    || process.probes[engine::ProbeKind::Readiness as usize].passes;
                process.reported && process.leader && (need.condition == Condition::Started || ready)
            });
            let code = self.codes.get(&need.job).filter(|_| process.is_none());
            let holds = match need.condition {
                Condition::Started | Condition::Ready => up || code == Some(&0),
                condition => code.is_some_and(|code| met_by_code(condition, *code)),
            };
            check(holds, || format!("{job:?} was started before {need:?} holds"))?;
        }
        Ok(())
    }

    /// Whether an expression holds; `with_stale`: also for stale exits that are still excused.
    pub(super) fn holds(&self, expression: &Expression, with_stale: bool) -> bool {
        let has = |term: &DependencyTerm| {
            let (status, since) = self.peers.get(&term.peer).copied().unwrap_or_default();
            let ended = status.ended;
            let excused = ended.is_some_and(|end| end.stale) && self.now.since(since) < self.settings.rebirth;
            let holds = match term.condition {
                Condition::Started => status.started,
                Condition::Ready => status.ready,
                Condition::Exited => ended.is_some(),
                Condition::Succeeded => ended.is_some_and(|end| end.code == Some(0)),
                Condition::Failed => ended.is_some_and(|end| end.code != Some(0)),
            };
            holds && (with_stale || !excused)
        };
        expression.0.iter().any(|group| group.iter().all(has))
    }

    /// The jobs that wait, and since when.
    pub(crate) fn waiting_since(&self, at: &FullSnapshot) -> BTreeMap<JobId, Time> {
        self.jobs(at)
            .filter(|(_, job)| matches!(job.phase, JobPhase::Waiting { .. }))
            .map(|(id, job)| (id, job.since))
            .collect()
    }

    /// The start dependencies of a process hold when it is started, or have timed out.
    pub(crate) fn start_dependencies_hold(&self, job: JobId, waiting: &BTreeMap<JobId, Time>) -> Checked {
        let since = waiting.get(&job).copied().unwrap_or(self.now);
        for it in &self.plans[&job].start_dependencies {
            let timed_out = it.at_timeout == TimeoutAction::StartAnyway
                && it.timeout.is_some_and(|timeout| self.now.since(since) >= timeout);
            check(timed_out || self.holds(&it.expression, true), || {
                format!("{job:?} was started before {} holds", it.expression)
            })?;
        }
        Ok(())
    }

    fn has_retired_namesake(&self, id: JobId, at: &FullSnapshot) -> bool {
        let name = &self.plans[&id].name;
        self.jobs(at).any(|(other, job)| job.retired && self.plans[&other].name == *name)
    }

    /// The timer fires when the start dependency of a waiting job times out.
    pub(super) fn start_dependencies_time_out(&self, after: &FullSnapshot) -> Checked {
        if after.phase != PodPhase::Up {
            return Ok(());
        }
        for (id, job) in self.jobs(after) {
            let plan = &self.plans[&id];
            // A campaign has no timeout.
            let campaigns = self.leases.values().any(|(of, _)| *of == id);
            let waits = matches!(job.phase, JobPhase::Waiting { .. })
                && !campaigns
                && plan.needs.is_empty()
                && !self.has_retired_namesake(id, after);
            let open = |it: &&StartDependency| !self.holds(&it.expression, true);
            let mut timeouts = plan.start_dependencies.iter().filter(open).filter_map(|it| it.timeout);
            let pending = timeouts.any(|timeout| self.now.since(job.since) < timeout);
            check(!waits || !pending || self.pod.deadline().is_some(), || {
                format!("{id:?} waits with a timeout, and no timer is set")
            })?;
        }
        Ok(())
    }

    fn is_met(&self, need: &Need, after: &FullSnapshot) -> bool {
        let Some(job) = after.get(need.job) else { return false };
        let code = match job.phase {
            JobPhase::Done(TerminalReason::Exited) => job.last.as_ref().map(|last| last.code),
            _ => None,
        };
        match need.condition {
            Condition::Started if job.started => true,
            Condition::Ready if job.ready => true,
            condition => code.is_some_and(|code| met_by_code(condition, code)),
        }
    }

    /// A job whose needs and start dependencies hold is started, or campaigns for its lease.
    pub(super) fn waits_only_with_a_reason(&self, after: &FullSnapshot) -> Checked {
        if after.phase != PodPhase::Up || !self.began {
            return Ok(());
        }
        for (id, job) in self.jobs(after) {
            let plan = &self.plans[&id];
            let waits = matches!(job.phase, JobPhase::Waiting { .. }) && job.ending.is_none() && !job.retired;
            let free = !self.has_retired_namesake(id, after)
                && plan.needs.iter().all(|need| self.is_met(need, after))
                && plan.start_dependencies.iter().all(|it| self.holds(&it.expression, true));
            let campaigns = self.leases.values().any(|(of, lease)| *of == id && *lease == Lease::Wanted);
            check(!waits || !free || campaigns, || format!("{id:?} waits for nothing: {:?}", job.phase))?;
        }
        Ok(())
    }
}
