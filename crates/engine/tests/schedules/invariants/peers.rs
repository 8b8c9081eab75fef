//! Death dependencies, and the tombstones that peers read.

use engine::{JobEvent, JobEventKind, JobPhase, LifecycleRecord, PodPhase};

use super::{Checked, check};
use crate::world::{FullSnapshot, World};

impl World {
    /// A death dependency that holds stops the job, or the pod.
    pub(super) fn death_dependencies_stop(&self, after: &FullSnapshot) -> Checked {
        if after.phase != PodPhase::Up || !self.began {
            return Ok(());
        }
        for expression in &self.settings.death_dependencies {
            check(!self.holds(expression, false), || format!("the pod is up although {expression:?} holds"))?;
        }
        for (id, job) in self.jobs(after) {
            let fired =
                self.plans[&id].death_dependencies.iter().any(|expression| self.holds(expression, false));
            let remains = job.ending.is_none() && !matches!(job.phase, JobPhase::Done(_));
            check(!fired || !remains || self.overruled.contains(&id), || {
                format!("{id:?} is not stopped although its death dependency holds: {:?}", job.phase)
            })?;
        }
        Ok(())
    }

    /// The last tombstones match the state.
    pub(super) fn tombstones_are_true(&self, after: &FullSnapshot) -> Checked {
        for (id, job) in self.jobs(after) {
            if !self.plans[&id].tombstone {
                continue;
            }
            let record =
                self.records.get(&Some(id)).ok_or_else(|| format!("no tombstone of {id:?} was written"))?;
            let done = matches!(job.phase, JobPhase::Done(_));
            let alive = job.is_alive();
            check(record.ready.is_some() == job.ready, || format!("{id:?} ready? {job:?}, {record:?}"))?;
            check(record.died.is_some() == done, || format!("{id:?} dead? {job:?}, {record:?}"))?;
            check(!alive || record.born.is_some(), || format!("{id:?} born? {job:?}, {record:?}"))?;
            check(record.ready.is_none() || record.born.is_some(), || format!("ready unborn: {record:?}"))?;
        }
        if !self.settings.tombstone {
            return Ok(());
        }
        let record = self.records.get(&None).ok_or("no tombstone of the pod was written")?;
        let over = matches!(after.phase, PodPhase::Lingering { .. } | PodPhase::Ended { .. });
        check(record.died.is_some() == over, || format!("pod dead? {record:?}"))?;
        let ready =
            after.phase == PodPhase::Up && record.born.is_some() && after.jobs.iter().all(|job| job.healthy);
        check(record.ready.is_some() == ready, || format!("pod ready? {record:?}"))
    }

    /// Peers learn of a start or an end before subscribers.
    pub(crate) fn tombstone_comes_first(&self, event: &JobEvent) -> Checked {
        let tombstone = self.plans.get(&event.job).is_some_and(|plan| plan.tombstone);
        let record = self.records.get(&Some(event.job));
        let known = |of: fn(&LifecycleRecord) -> bool| !tombstone || record.is_some_and(of);
        let first = match event.kind {
            JobEventKind::Started { .. } => known(|record| record.born.is_some()),
            JobEventKind::Done => known(|record| record.died.is_some()),
            _ => true,
        };
        check(first, || format!("published before the tombstone: {event:?}"))
    }
}
