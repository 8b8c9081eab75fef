//! Death dependencies on peers, and the tombstones of the pod and its jobs.

use super::Pod;
use crate::cause::Cause;
use crate::effect::Effect;
use crate::job::{Job, Phase};
use crate::peer::{Death, LifecycleRecord};
use crate::{JobId, PodPhase, Time};

impl Pod {
    /// Re-evaluates start and death dependencies after a change of peers.
    pub(super) fn on_peers_changed(&mut self, now: Time, out: &mut Vec<Effect>) {
        if !self.began || self.phase != PodPhase::Up {
            return;
        }
        self.check_pod_death_dependencies(now, out);
        if self.phase != PodPhase::Up {
            return;
        }
        for id in self.order.clone() {
            let job = &self.jobs[id.0];
            if job.retired || !job.is_wanted() {
                continue;
            }
            if matches!(job.phase, Phase::Waiting { .. }) && !job.plan.start_dependencies.is_empty() {
                self.dirty.insert(id);
            }
            self.check_death_dependencies(id, now, out);
        }
    }

    /// Stops a job if one of its death dependencies has fired.
    pub(super) fn check_death_dependencies(&mut self, id: JobId, now: Time, out: &mut Vec<Effect>) {
        let job = &self.jobs[id.0];
        let signal = job.plan.stop_signal;
        if self.phase == PodPhase::Up
            && !job.is_done()
            && job.is_wanted()
            && let Some(text) = self.fired_death_dependency(id)
        {
            self.with(id, now, out, |job, cx| job.request_stop(&Cause::Peer(text), signal, cx));
            self.dirty.insert(id);
        }
    }

    /// Shuts down the pod if one of its death dependencies has fired.
    pub(super) fn check_pod_death_dependencies(&mut self, now: Time, out: &mut Vec<Effect>) {
        let expressions = &self.settings.death_dependencies;
        let fired = expressions.iter().find_map(|expression| self.peers.fired_death_dependency(expression));
        if let Some(text) = fired.filter(|_| self.began) {
            self.stop(&Cause::Peer(text), None, now, out);
        }
    }

    /// Describes the death dependency of a job that has fired, if any.
    pub(super) fn fired_death_dependency(&self, id: JobId) -> Option<String> {
        let expressions = &self.jobs[id.0].plan.death_dependencies;
        expressions.iter().find_map(|expression| self.peers.fired_death_dependency(expression))
    }

    /// Writes the tombstones that have changed: before all other effects of this step, which start at `at`. One that
    /// only withdraws readiness comes last, so that it does not delay stops caused by the same event.
    pub(super) fn write_tombstones(&mut self, at: usize, now: Time, out: &mut Vec<Effect>) {
        let mut first = Vec::new();
        for id in std::mem::take(&mut self.to_record) {
            if let Some((record, withdraws)) = self.jobs[id.0].updated_record(&self.settings.codes, now) {
                let list = if withdraws { &mut *out } else { &mut first };
                list.push(Effect::WriteTombstone { job: Some(id), record });
            }
        }
        if self.settings.tombstone {
            let before = self.record.clone().unwrap_or_default();
            let record = self.current_record(&before, now);
            if self.record.is_none() || record != before {
                let list = if record.only_withdraws(self.record.as_ref()) { &mut *out } else { &mut first };
                list.push(Effect::WriteTombstone { job: None, record: record.clone() });
                self.record = Some(record);
            }
        }
        out.splice(at..at, first);
    }

    fn current_record(&mut self, before: &LifecycleRecord, now: Time) -> LifecycleRecord {
        let ran = || self.order.iter().any(|id| self.jobs[id.0].starts > 0);
        self.born = self.born.or_else(|| ran().then_some(now));
        let over = matches!(self.phase, PodPhase::Lingering { .. } | PodPhase::Ended { .. });
        let death = || {
            let (code, from) = self.verdict();
            let job = from.or_else(|| self.order.first().copied()).map(|id| &self.jobs[id.0]);
            let reason = match (&job, self.order.len()) {
                (Some(job), 1) => job.describe_end(),
                (Some(job), _) if from.is_some() => format!("{}: {}", job.plan.name, job.describe_end()),
                _ => "all processes have exited".to_owned(),
            };
            Death { at: now, code, signal: job.and_then(Job::last_signal), reason }
        };
        LifecycleRecord {
            born: self.born,
            ready: (self.phase == PodPhase::Up && self.born.is_some() && self.unhealthy == 0)
                .then(|| before.ready.unwrap_or(now)),
            died: over.then(|| before.died.clone().unwrap_or_else(death)),
        }
    }
}
