//! Snapshots, reports and the world agree.

use std::collections::BTreeSet;

use engine::{AttemptId, Effect, Event, JobId, JobPhase, PodPhase, Request, RequestId};

use super::{Checked, Step, check};
use crate::world::{FullSnapshot, Lease, World};

impl World {
    pub(super) fn generation_rises(&mut self, step: &Step<'_>) -> Checked {
        let (before, after) = (step.before, step.after);
        check(after.generation >= self.generation, || "the generation fell".to_owned())?;
        self.generation = after.generation;
        let changed = before.jobs != after.jobs || before.phase != after.phase;
        let phases =
            |snapshot: &FullSnapshot| snapshot.jobs.iter().map(|job| job.phase.label()).collect::<Vec<_>>();
        check(phases(before) == phases(after) || !step.effects.is_empty(), || {
            "a phase changed without an effect".to_owned()
        })?;
        check(!changed || after.generation > before.generation, || "changed, same generation".to_owned())
    }

    /// `take_changed` returns every job whose snapshot has changed, once, and no job that the step did not concern.
    pub(super) fn changed_jobs_are_reported_once(
        &mut self,
        step: &Step<'_>,
        reported: &BTreeSet<JobId>,
    ) -> Checked {
        let ids: BTreeSet<_> = step.before.order.iter().chain(&step.after.order).copied().collect();
        let reload = matches!(step.event, Event::Reloaded { .. });
        for id in ids {
            let changed = step.before.get(id) != step.after.get(id);
            check(!changed || reported.contains(&id), || format!("{id:?} changed and was not reported"))?;
            check(changed || reload || !reported.contains(&id) || self.concerns(step, id), || {
                format!("{id:?} was reported after {:?}, which does not concern it", step.event)
            })?;
        }
        check(self.pod.take_changed().is_empty(), || "changed jobs are reported twice".to_owned())
    }

    fn concerns(&self, step: &Step<'_>, id: JobId) -> bool {
        let of_run = |run: &engine::RunId| step.before.get(id).is_some_and(|job| job.run == Some(*run));
        let by_event = match step.event {
            Event::Spawned(run)
            | Event::SpawnFailed(run, _)
            | Event::Exited { run, .. }
            | Event::Cleared(run)
            | Event::Suspended(run, _)
            | Event::Resumed(run)
            | Event::Notified(run, _)
            | Event::OverMemory { run, .. }
            | Event::Won(run)
            | Event::Campaigning(run, _)
            | Event::Lost { run, .. } => of_run(run),
            Event::Requested { action, .. } => match action {
                Request::Start(job)
                | Request::Stop(job)
                | Request::Restart(job)
                | Request::Signal(job, _)
                | Request::SignalGroup(job, _) => *job == id,
                Request::End => true,
            },
            // A timer, a probe or a hook: the effects say which job.
            Event::Started | Event::TimerFired | Event::PeerChanged { .. } => false,
            Event::Probed { .. }
            | Event::HookFinished { .. }
            | Event::Signalled(_)
            | Event::Reloaded { .. } => true,
        };
        let run_of = |attempt: &AttemptId| self.tasks.get(attempt).map(|(run, _)| *run);
        let by_effect = step.effects.iter().any(|effect| match effect {
            Effect::Spawn { job, .. }
            | Effect::Campaign { job, .. }
            | Effect::Probe { job, .. }
            | Effect::Hook { job, .. }
            | Effect::JobRemoved(job) => *job == id,
            Effect::Resign(run) | Effect::Signal { run, .. } => of_run(run),
            Effect::Abort(attempt) => run_of(attempt).is_none_or(|run| of_run(&run)),
            Effect::Publish(event) => event.job == id,
            Effect::WriteTombstone { job, .. } => *job == Some(id),
            Effect::Respond { .. } | Effect::End { .. } => true,
        });
        // A shutdown that begins concerns every job.
        by_event || by_effect || step.before.phase != step.after.phase
    }

    pub(super) fn never_two_runs_of_a_process(&self) -> Checked {
        let mut seen = BTreeSet::new();
        let present = self.processes.values().filter(|(_, process)| !process.abandoned);
        let twice = present.map(|(job, _)| &self.plans[job].name).any(|name| !seen.insert(name));
        check(!twice, || format!("two runs of one process: {:?}", self.processes))
    }

    pub(super) fn phases_match_the_world(&self, after: &FullSnapshot) -> Checked {
        for (id, job) in self.jobs(after) {
            let process =
                self.processes.values().find(|(of, p)| *of == id && !p.abandoned).map(|(_, process)| process);
            let fits = match (&job.phase, process) {
                (JobPhase::Running { .. } | JobPhase::Draining { .. }, Some(process)) => {
                    process.reported && process.leader
                }
                (JobPhase::Starting, Some(process)) => !process.reported && process.leader,
                (
                    JobPhase::Stopping { leftovers, .. } | JobPhase::Killing { leftovers, .. },
                    Some(process),
                ) => process.leader != *leftovers,
                (JobPhase::Waiting { .. } | JobPhase::Pausing { .. } | JobPhase::Done(_), None) => true,
                _ => false,
            };
            check(fits, || format!("{id:?} is {:?}, but in the world {process:?}", job.phase))?;
            let known = self.codes.get(&id);
            let code = job.last.as_ref().map(|last| last.code);
            check(code.is_none() || known == code.as_ref(), || {
                format!("{id:?} has exit code {code:?}, in the world {known:?}")
            })?;
        }
        Ok(())
    }

    pub(super) fn tasks_belong_to_running_processes(&self) -> Checked {
        let running =
            |run: &engine::RunId| self.processes.get(run).is_some_and(|(_, process)| process.leader);
        let stray = self.tasks.iter().find(|(_, (run, _))| !running(run));
        check(stray.is_none(), || format!("{stray:?} is under way for a process that is gone"))
    }

    pub(super) fn waiting_has_a_deadline(&self, after: &FullSnapshot) -> Checked {
        let waits = after.jobs.iter().any(|job| {
            matches!(
                job.phase,
                JobPhase::Stopping { .. }
                    | JobPhase::Draining { .. }
                    | JobPhase::Killing { .. }
                    | JobPhase::Pausing { .. }
            )
        });
        check(!waits || self.pod.deadline().is_some(), || "waiting without a deadline".to_owned())
    }

    /// A process whose lease is lost is killed before another holder can acquire the lease.
    pub(super) fn leases_end_in_time(&self, after: &FullSnapshot) -> Checked {
        let ended = matches!(after.phase, PodPhase::Ended { .. });
        for (run, (_, lease)) in &self.leases {
            let process = self.processes.get(run).map(|(_, process)| process);
            check(!ended, || format!("the lease of {run:?} is not released at the end"))?;
            let late = matches!(lease, Lease::Lost(by) if self.now >= *by);
            let runs = process.is_some_and(|process| process.reported && process.killed_at.is_none());
            check(!late || !runs || self.pod.deadline().is_some_and(|at| at <= self.now), || {
                format!("{run:?} still runs although another holder may have its lease: {lease:?}")
            })?;
        }
        Ok(())
    }

    /// A request is answered as soon as it is fulfilled or impossible.
    pub(super) fn requests_are_answered(&self, after: &FullSnapshot) -> Checked {
        for (request, open) in &self.requests {
            let RequestId(_) = request;
            let (job, starts) = match open.action {
                Some(Request::Start(job) | Request::Restart(job)) => (job, true),
                Some(Request::Stop(job)) => (job, false),
                Some(Request::Signal(..) | Request::SignalGroup(..) | Request::End) | None => {
                    return Err(format!("{request:?} was not answered at once"));
                }
            };
            let Some(snapshot) = after.get(job) else {
                return Err(format!("{request:?} is open, its job was removed"));
            };
            let fulfilled = if starts {
                snapshot.started && snapshot.run.is_some_and(|run| run > open.newest_run)
            } else {
                matches!(snapshot.phase, JobPhase::Done(_))
            };
            check(!fulfilled, || format!("{request:?} is fulfilled and was not answered"))?;
            check(!starts || after.phase == PodPhase::Up, || {
                format!("{request:?} waits for a start during shutdown")
            })?;
        }
        Ok(())
    }
}
