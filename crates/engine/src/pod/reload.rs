//! Plans: the first one, and reloads.
//!
//! ```text
//! new plan ─┬─ invalid ids, shutting down ─► refused, nothing changes
//!           ├─ job kept  ─► keeps running with its new plan
//!           ├─ job new   ─► starts, when the previous job of its name has stopped
//!           └─ job gone  ─► retired: is stopped, then removed
//! ```

use std::collections::BTreeSet;

use super::Pod;
use super::indexes::JobFacts;
use crate::cause::Cause;
use crate::dependencies;
use crate::effect::{Effect, Outcome, Refusal};
use crate::job::Job;
use crate::plan::{JobPlan, PodSettings};
use crate::{JobId, PodPhase, RequestId, Time};

impl Pod {
    /// Installs the plans of new and known jobs; returns the known jobs whose death dependencies have changed.
    pub(super) fn install(&mut self, jobs: Vec<(JobId, JobPlan)>) -> Vec<JobId> {
        let mut to_check = Vec::new();
        self.order = jobs.iter().map(|(id, _)| *id).collect();
        for (id, plan) in jobs {
            if let Some(job) = self.jobs.get_mut(id.0) {
                let was = JobFacts::of(job);
                let sidecar = job.plan.sidecar;
                if job.plan.death_dependencies != plan.death_dependencies {
                    to_check.push(id);
                }
                job.plan = plan;
                self.unfinished -= usize::from(!sidecar && !was.over);
                self.unfinished += usize::from(!job.plan.sidecar && !was.over);
            } else {
                self.undone += 1;
                self.unfinished += usize::from(!plan.sidecar);
                self.unhealthy += 1;
                if plan.tombstone {
                    self.to_record.insert(id);
                }
                self.jobs.push(Job::new(id, plan));
            }
        }
        self.planned = self.order.iter().map(|id| (self.jobs[id.0].plan.name.clone(), *id)).collect();
        self.dependents = vec![Vec::new(); self.jobs.len()];
        for job in &self.order {
            for need in &self.jobs[job.0].plan.needs {
                if let Some(dependents) = self.dependents.get_mut(need.job.0) {
                    dependents.push(*job);
                }
            }
        }
        let jobs = &self.jobs;
        self.stages = dependencies::stages(jobs.len(), |job| &jobs[job].plan.needs);
        to_check
    }

    pub(super) fn reloaded(
        &mut self,
        request: RequestId,
        jobs: Vec<(JobId, JobPlan)>,
        settings: PodSettings,
        now: Time,
        out: &mut Vec<Effect>,
    ) {
        if self.phase != PodPhase::Up {
            return out.push(Effect::Respond { request, response: Err(Refusal::ShuttingDown) });
        }
        let kept: BTreeSet<_> = jobs.iter().map(|(id, _)| *id).collect();
        // New ids are assigned in sequence; a plan that does not follow this is invalid.
        let new = (self.jobs.len()..).map(JobId);
        let valid =
            kept.iter().filter(|id| id.0 >= self.jobs.len()).copied().zip(new).all(|(id, next)| id == next)
                && kept.len() == jobs.len()
                && kept.iter().all(|id| self.jobs.get(id.0).is_none_or(|job| !job.retired))
                && jobs.iter().flat_map(|(_, plan)| &plan.needs).all(|need| kept.contains(&need.job));
        if !valid {
            return out.push(Effect::Respond { request, response: Err(Refusal::Unknown) });
        }
        let gone: Vec<_> = self.order.iter().filter(|id| !kept.contains(id)).copied().collect();
        self.settings = settings;
        let to_check = self.install(jobs);
        // The needs of removed jobs keep running until those have stopped.
        for id in &gone {
            for need in &self.jobs[id.0].plan.needs {
                self.dependents[need.job.0].push(*id);
            }
        }
        for id in &gone {
            self.order.push(*id);
            self.jobs[id.0].retired = true;
        }
        for id in gone {
            // A removed job no longer counts for the completion of the pod.
            let job = &self.jobs[id.0];
            if job.is_done() {
                self.unfinished -= usize::from(!job.plan.sidecar && !job.is_over());
                self.unhealthy -= usize::from(!job.is_healthy());
                self.order.retain(|other| *other != id);
                self.changed.insert(id);
                out.push(Effect::JobRemoved(id));
            } else {
                self.retiring.entry(job.plan.name.clone()).or_default().insert(id);
                self.with(id, now, out, |job, cx| {
                    job.request_stop(&Cause::Reload, job.plan.stop_signal, cx);
                });
            }
            self.dirty.insert(id);
        }
        self.dirty.extend(self.order.iter().copied());
        self.changed.extend(self.order.iter().copied());
        out.push(Effect::Respond { request, response: Ok(Outcome::Changed) });
        self.check_pod_death_dependencies(now, out);
        for id in to_check {
            self.check_death_dependencies(id, now, out);
        }
    }
}
