//! Carries out effects, and checks each.

use engine::snapshot::TerminalReason;
use engine::{
    AttemptId, Cause, Effect, Event, HookKind, JobEvent, JobEventKind, JobId, JobPhase, JobSnapshot,
    KillMode, Policy, Request, RunId, Signal, SignalScope, StartLimitAction,
};

use crate::invariants::{Checked, Step, check};
use crate::world::{Lease, Process, Task, World};

impl World {
    pub(crate) fn perform(&mut self, effect: &Effect, step: &Step<'_>) -> Checked {
        match effect {
            Effect::Spawn { job, run } => {
                check(self.used_runs.insert(*run), || format!("{run:?} used twice"))?;
                let held = matches!(self.leases.get(run), Some((of, Lease::Held)) if of == job);
                check(held || !self.plans[job].needs_lease, || {
                    format!("{run:?} was started without its lease")
                })?;
                self.needs_hold(*job)?;
                self.starts.push((*job, self.now));
                self.processes.insert(*run, (*job, Process { leader: true, ..Process::default() }));
            }
            Effect::Campaign { job, run } => {
                check(self.plans[job].needs_lease, || format!("{job:?} campaigns without need"))?;
                let twice = self.leases.values().any(|(of, lease)| of == job && *lease == Lease::Wanted);
                check(!twice, || format!("{job:?} campaigns twice"))?;
                self.leases.insert(*run, (*job, Lease::Wanted));
            }
            Effect::Resign(run) => {
                check(self.leases.remove(run).is_some(), || format!("{run:?} resigned without a lease"))?;
                check(!self.processes.contains_key(run), || format!("{run:?} resigned while it is running"))?;
            }
            Effect::Signal { run, signal, scope } => self.signalled(*run, *signal, *scope, step)?,
            Effect::WriteTombstone { job, record } => {
                let same = self.records.insert(*job, record.clone()).as_ref() == Some(record);
                check(!same, || format!("tombstone of {job:?} written twice: {record:?}"))?;
            }
            Effect::Publish(event) => self.published(event, step)?,
            Effect::Probe { job, run, kind, attempt } => {
                self.begin_task(*job, *run, *attempt, Task::Probe(*kind))?;
                let probe =
                    &mut self.processes.get_mut(run).ok_or("probe of nothing")?.1.probes[*kind as usize];
                if matches!(step.event, Event::Probed { .. }) {
                    probe.tries += 1;
                    check(probe.tries < 3, || format!("{kind} probe of {run:?} repeated at once too often"))?;
                } else {
                    (probe.tries, probe.last_begun) = (0, Some(self.now));
                }
            }
            Effect::Hook { job, run, kind, attempt } => {
                self.begin_task(*job, *run, *attempt, Task::Hook(*kind))?;
                let deadline = self.plans[job].post_start.as_ref().map(|hook| self.now + hook.deadline);
                if *kind == HookKind::PostStart {
                    self.change(*run, |process| process.hook_by = deadline);
                }
            }
            Effect::Abort(attempt) => {
                let task = self.tasks.remove(attempt);
                check(task.is_some(), || format!("{attempt:?} was cancelled and is not under way"))?;
                if let Some((run, Task::Hook(HookKind::PostStart))) = task {
                    let now = self.now;
                    self.change(run, |process| {
                        process.hook_failed |= process.hook_by.is_some_and(|at| at <= now);
                        process.hook_by = None;
                    });
                }
            }
            Effect::Respond { request, .. } => {
                check(self.requests.remove(request).is_some(), || {
                    format!("{request:?} answered twice, or unknown")
                })?;
            }
            Effect::JobRemoved(job) => {
                let left = self.processes.values().any(|(of, process)| of == job && !process.abandoned);
                check(!left, || format!("{job:?} removed while it is running"))?;
                let died = self.records.remove(&Some(*job)).is_none_or(|record| record.died.is_some());
                check(died, || format!("{job:?} removed without a recorded death"))?;
                if self.ran.contains(job) {
                    self.marks.insert("removed-after-reload");
                }
            }
            Effect::End { code, .. } => {
                check(self.ended.replace(*code).is_none(), || "ended twice".to_owned())?;
                let death = self.records.get(&None).and_then(|record| record.died.as_ref());
                let recorded = death.map(|death| death.code);
                check(!self.settings.tombstone || recorded == Some(*code), || {
                    format!("ended with {code}, recorded {recorded:?}")
                })?;
            }
        }
        Ok(())
    }

    fn begin_task(&mut self, job: JobId, run: RunId, attempt: AttemptId, task: Task) -> Checked {
        let running = self.processes.get(&run).is_some_and(|(of, process)| *of == job && process.leader);
        check(running, || format!("{task:?} for {run:?}, which is not running"))?;
        let twice = self.tasks.values().any(|other| *other == (run, task));
        check(!twice, || format!("{task:?} for {run:?} overlaps itself"))?;
        let late =
            matches!(task, Task::Hook(HookKind::PreStop)) && self.processes[&run].1.stopped_at.is_some();
        check(!late, || "preStop hook after the stop signal".to_owned())?;
        self.tasks.insert(attempt, (run, task));
        Ok(())
    }

    fn signalled(&mut self, run: RunId, signal: Signal, scope: SignalScope, step: &Step<'_>) -> Checked {
        let plan_grace = |job: JobId| {
            let plan = &self.plans[&job];
            let probes = [&plan.probes.startup, &plan.probes.liveness, &plan.probes.readiness];
            let own = probes.into_iter().flatten().filter_map(|probe| probe.grace);
            own.chain([plan.grace]).min().unwrap_or_default()
        };
        // A shutdown with a time limit may leave less.
        let limited = self.settings.deadline.is_some() && self.stop_began.is_some();
        let Some((job, process)) = self.processes.get(&run) else {
            return Err(format!("{signal} to {run:?}, which is gone"));
        };
        check(process.reported, || format!("{signal} before {run:?} was started"))?;
        let main_only = process.leader && self.plans[job].kill_mode == KillMode::Main;
        let asked = matches!(step.event, Event::Requested { action: Request::SignalGroup(..), .. });
        if main_only && !matches!(signal, Signal::KILL | Signal::CONT) && !asked {
            check(scope == SignalScope::Main, || {
                format!("{signal} to more than the main process of {run:?}")
            })?;
        }
        if scope == SignalScope::Everything
            && let Some((_, process)) = self.processes.get_mut(&run)
        {
            process.all_signalled = true;
        }
        if signal != Signal::KILL {
            return Ok(());
        }
        let Some((job, process)) = self.processes.get(&run) else { return Ok(()) };
        let expired = process.ending_at.is_some_and(|at| self.now.since(at) >= plan_grace(*job));
        let lost = matches!(self.leases.get(&run), Some((_, Lease::Lost(by))) if self.now >= *by);
        check(expired || self.forced || limited || lost || process.over_memory, || {
            "SIGKILL within the grace period".to_owned()
        })?;
        let now = self.now;
        if let Some((_, process)) = self.processes.get_mut(&run) {
            process.killed_at = Some(now);
        }
        Ok(())
    }

    fn published(&mut self, event: &JobEvent, step: &Step<'_>) -> Checked {
        self.tombstone_comes_first(event)?;
        let (job, at) = (event.job, event.at);
        check(at == self.now, || format!("wrong time: {event:?}"))?;
        match (&event.kind, event.run) {
            (JobEventKind::Started { ttl }, Some(run)) => {
                self.ttl_is_as_planned(job, *ttl)?;
                if let Some((_, process)) = self.processes.get_mut(&run) {
                    process.ttl_at = ttl.map(|ttl| at + ttl);
                }
            }
            (JobEventKind::Stopping { leftovers: true, .. }, Some(run))
                if self.processes.get(&run).is_some_and(|(_, process)| process.stop_signals > 0) =>
            {
                let main_only = self.plans[&job].kill_mode == KillMode::Main;
                let (_, process) = self.processes.get_mut(&run).ok_or("stop of a process that is gone")?;
                process.stop_signals += 1;
                check(main_only && process.stop_signals == 2, || format!("another stop signal to {run:?}"))?;
            }
            (JobEventKind::Stopping { cause, kill_at, .. }, Some(run)) => {
                self.stops_in_order(job, cause, step.after)?;
                self.time_is_shared(job, cause, *kill_at, step.after)?;
                let (_, process) = self.processes.get_mut(&run).ok_or("stop of a process that is gone")?;
                process.stop_signals += 1;
                process.stopped_at = Some(at);
                process.ending_at = process.ending_at.or(Some(at));
                check(process.stop_signals == 1, || format!("second stop signal to {run:?}"))?;
                let ending_at = process.ending_at;
                self.grace_is_as_planned(job, ending_at, *kill_at)?;
                self.mark_stop(cause);
            }
            (JobEventKind::HookStarted(HookKind::PreStop), Some(run)) => {
                if let Some((_, process)) = self.processes.get_mut(&run) {
                    process.ending_at = Some(at);
                }
            }
            (JobEventKind::Forwarded(signal), Some(run)) => {
                self.forwarded.insert(run, *signal);
            }
            (JobEventKind::DependencyTimedOut { started_anyway: false, .. }, _) => {
                self.codes.insert(job, 1);
            }
            // A planned exit does not count.
            (JobEventKind::Restarting { cause, .. }, _)
                if !matches!(cause, Cause::Ttl(_) | Cause::LeaseLost(_) | Cause::Request) =>
            {
                self.restarts.push((job, at));
                self.restarts_stay_within_limit(job)?;
            }
            (JobEventKind::RestartLimitReached { .. }, _) => {
                self.marks.insert("restart-limit");
            }
            (JobEventKind::Stuck { abandoned }, Some(run)) => self.stuck(run, *abandoned, step)?,
            (JobEventKind::Done, _) => self.done(job, step),
            _ => {}
        }
        Ok(())
    }

    fn stuck(&mut self, run: RunId, abandoned: bool, step: &Step<'_>) -> Checked {
        let (job, process) = self.processes.get_mut(&run).ok_or("abandoned what is gone")?;
        let abandon_after = self.plans[job].abandon_after;
        let waited = process.killed_at.is_some_and(|at| self.now.since(at) >= abandon_after);
        check(waited, || format!("{run:?} abandoned too early"))?;
        let job = *job;
        let leaves = step.wanted(job) && self.plans[&job].restart.policy != Policy::Never;
        check(!abandoned || !leaves, || format!("{run:?} abandoned although it would be restarted"))?;
        if abandoned {
            self.marks.insert("abandoned");
        }
        if abandoned && let Some((_, process)) = self.processes.get_mut(&run) {
            process.abandoned = true;
            // The lease is held for ever.
            self.leases.remove(&run);
            if process.leader {
                self.codes.insert(job, 137);
            }
        }
        Ok(())
    }

    /// A job is done: it may decide the exit code.
    fn done(&mut self, job: JobId, step: &Step<'_>) {
        let Some(snapshot) = step.after(job) else { return };
        let retired = snapshot.retired;
        let wanted = step.was_wanted_until(job);
        let code = self.mapped_code(snapshot, snapshot.ending.as_ref().filter(|_| !wanted));
        match &snapshot.phase {
            JobPhase::Done(TerminalReason::RestartLimit(StartLimitAction::Exit)) if !retired => {
                self.failed = Some((job, code));
            }
            JobPhase::Done(TerminalReason::RestartLimit(StartLimitAction::Ignore)) => {}
            _ if wanted && code != 0 && self.failed.is_none() => {
                self.failed = Some((job, code));
            }
            _ => {}
        }
    }

    /// The exit code of a job after the mapping of the plan. `ending`: why a permanent stop was requested.
    pub(crate) fn mapped_code(&self, job: &JobSnapshot, ending: Option<&Cause>) -> i32 {
        let code = job.last.as_ref().map_or_else(
            || match ending {
                Some(Cause::Signal(signal) | Cause::SecondSignal(signal)) => 128 + signal.0,
                _ => 0,
            },
            |last| last.code,
        );
        let intentional = match &job.last {
            Some(last) if last.exit.is_some() => last.by.as_ref().is_some_and(Cause::is_intentional),
            Some(last) => last.by.is_none() && ending.is_some(),
            None => ending.is_some(),
        };
        if let (true, Some(instead)) = (intentional, self.settings.codes.caused) {
            return instead;
        }
        let mapped = self.settings.codes.codes.iter().find(|(from, _)| *from == code);
        mapped.map_or(code, |(_, to)| *to)
    }

    /// Follows what the step has changed.
    pub(crate) fn follow(&mut self, step: &Step<'_>) {
        let now = self.now;
        for (id, job) in self.jobs(step.after) {
            if job.run.is_some() && self.failed.is_some_and(|(failed, _)| failed == id) {
                self.failed = None;
            }
            let Some(run) = job.run else { continue };
            let Some((_, process)) = self.processes.get_mut(&run) else { continue };
            if job.started && process.watchdog_by.is_none() {
                process.watchdog_by = self.plans[&id].watchdog.map(|limit| now + limit);
            }
            if job.ready {
                process.was_ready = true;
                process.ready_by = None;
            }
        }
    }

    fn mark_stop(&mut self, cause: &Cause) {
        self.marks.extend(match cause {
            Cause::LeaseLost(_) => Some("lease-lost"),
            Cause::Peer(_) => Some("peer-death"),
            Cause::Watchdog(Some(_)) => Some("watchdog"),
            Cause::StartDeadline(_) => Some("start-deadline"),
            Cause::Ttl(_) => Some("ttl"),
            Cause::LeaderExited(_) => Some("leftovers"),
            _ => None,
        });
    }
}
