//! What holds after every event.

mod consistency;
mod limits;
mod peers;
mod restart;
mod shutdown;
mod start;

use std::collections::BTreeSet;

use engine::{Cause, Effect, Event, JobEvent, JobEventKind, JobId, JobSnapshot, PodPhase, Request};

use crate::world::{FullSnapshot, World};

pub(crate) type Checked = Result<(), String>;

pub(crate) fn check(holds: bool, violation: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(violation()) }
}

/// An event and what the engine made of it.
pub(crate) struct Step<'a> {
    pub(crate) event: &'a Event,
    pub(crate) before: &'a FullSnapshot,
    pub(crate) after: &'a FullSnapshot,
    pub(crate) effects: &'a [Effect],
}

impl Step<'_> {
    pub(crate) fn before(&self, id: JobId) -> Option<&JobSnapshot> {
        self.before.get(id)
    }

    /// The job after the step; for a removed job, before it.
    pub(crate) fn after(&self, id: JobId) -> Option<&JobSnapshot> {
        self.after.get(id).or_else(|| self.before.get(id))
    }

    fn events(&self) -> impl Iterator<Item = &JobEvent> {
        self.effects.iter().filter_map(|effect| match effect {
            Effect::Publish(event) => Some(event),
            _ => None,
        })
    }

    /// Whether the event is a request to start or restart this job.
    fn requests_start(&self, id: JobId) -> bool {
        matches!(
            self.event,
            Event::Requested { action: Request::Start(job) | Request::Restart(job), .. } if *job == id
        )
    }

    /// Whether no permanent stop of this job was requested before this event.
    pub(crate) fn wanted(&self, id: JobId) -> bool {
        self.requests_start(id) || self.before(id).is_some_and(|job| job.ending.is_none())
    }

    /// Whether no permanent stop of this job was requested before its `Done` in this step.
    pub(crate) fn was_wanted_until(&self, id: JobId) -> bool {
        let done = |event: &&JobEvent| !(event.job == id && event.kind == JobEventKind::Done);
        let stop = |event: JobEventKind| matches!(event, JobEventKind::Ending { .. });
        self.wanted(id)
            && !self.events().take_while(done).any(|event| event.job == id && stop(event.kind.clone()))
    }
}

impl FullSnapshot {
    pub(crate) fn get(&self, id: JobId) -> Option<&JobSnapshot> {
        self.order.iter().position(|other| *other == id).map(|index| &self.jobs[index])
    }
}

impl World {
    /// What the effects of a step may be.
    pub(crate) fn check_effects(&self, step: &Step<'_>, was_ended: bool) -> Checked {
        let responses = |effect: &Effect| matches!(effect, Effect::Respond { .. });
        check(!was_ended || step.effects.iter().all(responses), || "an effect after the end".to_owned())?;
        let up = step.before.phase == PodPhase::Up;
        let starts = |effect: &&Effect| matches!(effect, Effect::Spawn { .. });
        let count = step.effects.iter().filter(starts).count();
        check(up || count == 0, || "a start during shutdown".to_owned())?;
        check(count <= self.plans.len(), || "one event has led to endless starts".to_owned())
    }

    pub(crate) fn check_all(&mut self, step: &Step<'_>, changed: &BTreeSet<JobId>) -> Checked {
        let Step { before, after, .. } = step;
        self.generation_rises(step)?;
        self.changed_jobs_are_reported_once(step, changed)?;
        self.never_two_runs_of_a_process()?;
        self.phases_match_the_world(after)?;
        self.tasks_belong_to_running_processes()?;
        self.waiting_has_a_deadline(after)?;
        self.leases_end_in_time(after)?;
        self.tombstones_are_true(after)?;
        self.death_dependencies_stop(after)?;
        self.start_dependencies_time_out(after)?;
        self.waits_only_with_a_reason(after)?;
        self.readiness_is_derived_from_the_world(after)?;
        self.timer_covers_all_limits(after)?;
        self.limits_stop_processes(step)?;
        self.stops_have_a_reason(step)?;
        self.probes_are_carried_out(after)?;
        self.failures_stop_processes(after)?;
        self.restart_policy_is_followed(step)?;
        self.restart_delays_expire(step)?;
        self.requests_are_answered(after)?;
        self.pod_stops_for_a_reason(step)?;
        self.leftovers_are_signalled(step)?;
        self.pod_completes(after)?;
        self.lingers_as_planned(before, after, step.event)?;
        self.exit_code_follows_the_rule(after)?;
        self.end_leaves_nothing(after)
    }

    /// Whether this stop is part of the shutdown of the pod.
    fn of_shutdown(cause: &Cause, after: &FullSnapshot) -> bool {
        matches!(&after.phase, PodPhase::Stopping { cause: of_pod } if of_pod == cause)
    }
}
