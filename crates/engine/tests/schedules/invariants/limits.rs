//! The limits of a running process: time to live, start deadline, watchdog, hooks, probes, grace period.

use std::time::Duration;

use engine::{
    Cause, Event, HookKind, JobId, JobPhase, JobPlan, JobSnapshot, PodPhase, ProbeKind, ProbePlan, Time,
};

use super::{Checked, Step, check};
use crate::world::{EXTENSION_FOR_HOOK, FullSnapshot, Lease, Process, Task, World};

fn probe_plan(plan: &JobPlan, kind: ProbeKind) -> Option<&ProbePlan> {
    match kind {
        ProbeKind::Startup => plan.probes.startup.as_ref(),
        ProbeKind::Liveness => plan.probes.liveness.as_ref(),
        ProbeKind::Readiness => plan.probes.readiness.as_ref(),
    }
}

/// Whether start-up is complete.
fn is_up(plan: &JobPlan, process: &Process) -> bool {
    let startup = plan.probes.startup.is_none() || process.probes[ProbeKind::Startup as usize].passes;
    (process.notified_ready || !plan.notifies) && startup
}

impl Process {
    fn limits(&self) -> [Option<Time>; 4] {
        [self.ttl_at, self.ready_by, self.watchdog_by, self.hook_by]
    }
}

impl World {
    fn process_of(&self, job: &JobSnapshot) -> Option<&Process> {
        self.processes.get(&job.run?).map(|(_, process)| process)
    }

    /// Running, and no stop was requested: only then limits apply.
    fn limited<'a>(
        &'a self,
        snapshot: &'a FullSnapshot,
    ) -> impl Iterator<Item = (JobId, &'a JobSnapshot, &'a Process)> {
        self.jobs(snapshot)
            .filter(|(_, job)| matches!(job.phase, JobPhase::Running { .. }) && job.ending.is_none())
            .filter_map(|(id, job)| Some((id, job, self.process_of(job)?)))
    }

    pub(crate) fn ttl_is_as_planned(&self, job: JobId, ttl: Option<Duration>) -> Checked {
        let range = self.plans[&job].ttl;
        let fits = match (range, ttl) {
            (Some(range), Some(ttl)) => range.from <= ttl && ttl <= range.to,
            (None, None) => true,
            _ => false,
        };
        check(fits, || format!("{job:?} has a time to live of {ttl:?}, planned {range:?}"))
    }

    /// SIGKILL is announced for the end of the grace period at the latest.
    pub(crate) fn grace_is_as_planned(&self, job: JobId, from: Option<Time>, kill_at: Time) -> Checked {
        let plan = &self.plans[&job];
        let own = ProbeKind::ALL.into_iter().filter_map(|kind| probe_plan(plan, kind)?.grace);
        let grace = own.chain([plan.grace]).max().unwrap_or_default();
        let extension = if plan.pre_stop { EXTENSION_FOR_HOOK } else { Duration::ZERO };
        let latest = from.unwrap_or(self.now) + grace + extension;
        check(kill_at <= latest, || format!("{job:?} has until {kill_at:?}, not {latest:?}"))
    }

    /// The timer fires for every limit in time.
    pub(super) fn timer_covers_all_limits(&self, after: &FullSnapshot) -> Checked {
        let running = self.limited(after).flat_map(|(_, _, process)| process.limits()).flatten();
        let stopping = after.jobs.iter().filter_map(|job| match job.phase {
            JobPhase::Stopping { kill_at, .. } | JobPhase::Draining { kill_at, .. } => Some(kill_at),
            JobPhase::Pausing { retry_at, .. } => Some(retry_at),
            _ => None,
        });
        let linger = match after.phase {
            PodPhase::Lingering { until } => Some(until),
            _ => None,
        };
        let first = running.chain(stopping).chain(linger).min();
        let timer = self.pod.deadline();
        check(first.is_none_or(|at| timer.is_some_and(|timer| timer <= at)), || {
            format!("a limit at {first:?}, but the timer is set for {timer:?}")
        })
    }

    /// A process that has reached a limit is stopped, and one whose grace period is over is killed.
    pub(super) fn limits_stop_processes(&self, step: &Step<'_>) -> Checked {
        if *step.event != Event::TimerFired {
            return Ok(());
        }
        for (id, job) in self.jobs(step.before) {
            let after = step.after(id);
            let same = || {
                after.is_some_and(|after| {
                    after.phase.label() == job.phase.label()
                        && after.since == job.since
                        && after.run == job.run
                })
            };
            match job.phase {
                JobPhase::Running { .. } if job.ending.is_none() => {
                    let reached =
                        |process: &Process| process.limits().into_iter().flatten().any(|at| at <= self.now);
                    let over = self.process_of(job).is_some_and(reached);
                    check(!over || !same(), || {
                        format!("{id:?} has reached a limit and was not stopped: {:?}", self.process_of(job))
                    })?;
                }
                JobPhase::Stopping { kill_at, .. } | JobPhase::Draining { kill_at, .. }
                    if kill_at <= self.now =>
                {
                    check(!same(), || format!("{id:?} is still not killed after its grace period"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A running process is stopped only for a reason that is true in the world.
    pub(super) fn stops_have_a_reason(&self, step: &Step<'_>) -> Checked {
        for (id, job) in self.jobs(step.after) {
            let was_stopping = step.before(id).is_some_and(|before| {
                before.run == job.run
                    && matches!(
                        before.phase,
                        JobPhase::Draining { .. } | JobPhase::Stopping { .. } | JobPhase::Killing { .. }
                    )
            });
            let (JobPhase::Draining { why, .. }
            | JobPhase::Stopping { why, .. }
            | JobPhase::Killing { why, .. }) = &job.phase
            else {
                continue;
            };
            let Some(process) = self.process_of(job).filter(|_| !was_stopping) else { continue };
            let plan = &self.plans[&id];
            let reached = |at: Option<Time>| at.is_some_and(|at| at <= self.now);
            let lost = job.run.is_some_and(|run| matches!(self.leases.get(&run), Some((_, Lease::Lost(_)))));
            let fits = match why {
                Cause::Ttl(ttl) => {
                    process.ttl_at == Some(process.started_at + *ttl) && reached(process.ttl_at)
                }
                Cause::StartDeadline(_) => {
                    plan.start_deadline.is_some() && !process.was_ready && reached(process.ready_by)
                }
                Cause::Watchdog(Some(_)) => reached(process.watchdog_by),
                Cause::Watchdog(None) => process.watchdog_triggered,
                Cause::Probe(kind, _) => {
                    let restarts = probe_plan(plan, *kind).is_some_and(|probe| probe.restarts);
                    process.probes[*kind as usize].failed && (restarts || *kind != ProbeKind::Readiness)
                }
                Cause::Hook(HookKind::PostStart, _) => process.hook_failed || reached(process.hook_by),
                Cause::Memory(..) => process.over_memory,
                Cause::LeaseLost(_) => lost,
                Cause::LeaderExited(_) | Cause::Terminal(_) => !process.leader,
                // A forwarded signal terminated the main process, or the pod stops.
                Cause::Signal(signal) => {
                    job.run.is_some_and(|run| self.forwarded.get(&run) == Some(signal))
                        || step.after.phase != PodPhase::Up
                }
                Cause::Request => {
                    matches!(step.event, Event::Requested { .. })
                        || job.ending == Some(Cause::Request)
                        || step.after.phase != PodPhase::Up
                }
                other => job.ending.as_ref() == Some(other),
            };
            check(fits, || format!("{id:?} is stopped for no reason ({why:?}): {process:?}"))?;
        }
        Ok(())
    }

    // === probes ===

    /// Readiness follows from notifications, probes, hooks and job control.
    pub(super) fn readiness_is_derived_from_the_world(&self, after: &FullSnapshot) -> Checked {
        for (id, job, process) in self.limited(after) {
            let plan = &self.plans[&id];
            let up = is_up(plan, process);
            let when_ready = plan.post_start.as_ref().is_some_and(|hook| hook.when_ready);
            let started = up && (when_ready || process.hook_done);
            let probed =
                plan.probes.readiness.is_none() || process.probes[ProbeKind::Readiness as usize].passes;
            let ready = started && probed && process.hook_done && !process.suspended;
            check(job.started == started, || format!("{id:?} started? {} {process:?}", job.started))?;
            check(job.ready == ready, || format!("{id:?} ready? {} {process:?}", job.ready))?;
        }
        Ok(())
    }

    /// A probe is carried out in every period.
    pub(super) fn probes_are_carried_out(&self, after: &FullSnapshot) -> Checked {
        for (id, job, process) in self.limited(after) {
            let plan = &self.plans[&id];
            for kind in ProbeKind::ALL {
                let Some(probe) = probe_plan(plan, kind) else { continue };
                let applies = match kind {
                    ProbeKind::Startup => !process.probes[kind as usize].passes,
                    ProbeKind::Liveness | ProbeKind::Readiness => is_up(plan, process),
                };
                let run = job.run.unwrap_or(engine::RunId(0));
                if !applies || self.tasks.values().any(|task| *task == (run, Task::Probe(kind))) {
                    continue;
                }
                let due = match process.probes[kind as usize].last_begun {
                    Some(at) => at + probe.period,
                    None => process.started_at + probe.initial_delay,
                };
                let timer = self.pod.deadline();
                check(timer.is_some_and(|at| at <= due), || {
                    format!("{kind} probe of {id:?} is due at {due:?}, the timer is set for {timer:?}")
                })?;
            }
        }
        Ok(())
    }

    /// A failed probe or hook, a watchdog trigger and too much memory stop the process.
    pub(super) fn failures_stop_processes(&self, after: &FullSnapshot) -> Checked {
        for (id, job, process) in self.limited(after) {
            let plan = &self.plans[&id];
            for kind in ProbeKind::ALL {
                let failed = process.probes[kind as usize].failed;
                let fatal = match kind {
                    ProbeKind::Startup | ProbeKind::Liveness => true,
                    // Before the process was ever ready its start deadline applies, if there is one.
                    ProbeKind::Readiness => {
                        plan.probes.readiness.as_ref().is_some_and(|probe| probe.restarts)
                            && (process.was_ready || plan.start_deadline.is_none())
                    }
                };
                check(!failed || !fatal, || {
                    format!("{kind} probe of {id:?} has failed, and {:?}", job.phase)
                })?;
            }
            let failed = process.hook_failed || process.watchdog_triggered || process.over_memory;
            check(!failed, || format!("{id:?} should have been stopped: {process:?}"))?;
        }
        Ok(())
    }
}
