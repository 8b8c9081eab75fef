//! The simulated world: what is true outside the engine, learned from events and effects only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::pod::Seed;
use engine::{
    AttemptId, Cause, Condition, Effect, Event, Exit, ExitRule, HookKind, JobEvent, JobEventKind, JobId,
    JobPhase, JobPlan, LifecycleRecord, NotifyMessage, Outcome, PeerStatus, Plan, Pod, PodPhase, PodSettings,
    ProbeKind, ProbeResult, Request, RequestId, RunId, Signal, Snapshot, SpawnErrorKind, Time,
};

use crate::invariants::{Checked, Step, check};

/// How processes react to signals.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Habits {
    /// They ignore every signal but SIGKILL.
    pub(crate) ignore_stop: bool,
    /// They are in uninterruptible sleep: SIGKILL has no effect either.
    pub(crate) unkillable: bool,
}

/// The results of a probe of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Probing {
    pub(crate) last_begun: Option<Time>,
    /// Attempts of the same tick that could not be carried out.
    pub(crate) tries: u32,
    /// The last result, and how often it occurred in a row.
    streak: (bool, u32),
    pub(crate) passes: bool,
    /// The failure threshold is reached, and no success threshold since.
    pub(crate) failed: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Process {
    /// Its start was reported to the engine.
    pub(crate) reported: bool,
    /// The main process is running; otherwise only what it left behind.
    pub(crate) leader: bool,
    pub(crate) started_at: Time,
    pub(crate) stop_signals: u32,
    pub(crate) stopped_at: Option<Time>,
    /// Start of its grace period: of the preStop hook, if there is one.
    pub(crate) ending_at: Option<Time>,
    /// Last SIGKILL.
    pub(crate) killed_at: Option<Time>,
    /// The engine does not wait for it any more.
    pub(crate) abandoned: bool,
    pub(crate) over_memory: bool,
    pub(crate) suspended: bool,
    pub(crate) notified_ready: bool,
    pub(crate) watchdog_triggered: bool,
    /// The plan's limits, as points in time; `ready_by` until it is ready for the first time.
    pub(crate) ttl_at: Option<Time>,
    pub(crate) ready_by: Option<Time>,
    pub(crate) watchdog_by: Option<Time>,
    pub(crate) hook_by: Option<Time>,
    pub(crate) hook_done: bool,
    pub(crate) hook_failed: bool,
    pub(crate) was_ready: bool,
    pub(crate) probes: [Probing; 3],
}

/// A probe or hook under way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Task {
    Probe(ProbeKind),
    Hook(HookKind),
}

/// The lease of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Lease {
    Wanted,
    Held,
    /// Lost; another holder may acquire it at this time.
    Lost(Time),
}

/// An open request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenRequest {
    pub(crate) action: Option<Request>,
    /// The newest run at the time of the request.
    pub(crate) newest_run: RunId,
}

pub(crate) struct World {
    pub(crate) settings: PodSettings,
    pub(crate) plans: BTreeMap<JobId, JobPlan>,
    pub(crate) pod: Pod,
    pub(crate) now: Time,
    pub(crate) habits: Habits,
    pub(crate) began: bool,
    pub(crate) processes: BTreeMap<RunId, (JobId, Process)>,
    pub(crate) leases: BTreeMap<RunId, (JobId, Lease)>,
    pub(crate) used_runs: BTreeSet<RunId>,
    pub(crate) finished_runs: Vec<RunId>,
    pub(crate) starts: Vec<(JobId, Time)>,
    /// The last signal that was forwarded to a run.
    pub(crate) forwarded: BTreeMap<RunId, Signal>,
    /// Jobs of which a process was started.
    pub(crate) ran: BTreeSet<JobId>,
    pub(crate) tasks: BTreeMap<AttemptId, (RunId, Task)>,
    /// The last exit code of a job.
    pub(crate) codes: BTreeMap<JobId, i32>,
    pub(crate) requests: BTreeMap<RequestId, OpenRequest>,
    pub(crate) request_count: u64,
    /// When the shutdown began.
    pub(crate) stop_began: Option<Time>,
    /// Restarts that count for the limit.
    pub(crate) restarts: Vec<(JobId, Time)>,
    /// The status of each peer, and since when.
    pub(crate) peers: BTreeMap<String, (PeerStatus, Time)>,
    /// Jobs that were started by a request although a death dependency holds.
    pub(crate) overruled: BTreeSet<JobId>,
    pub(crate) records: BTreeMap<Option<JobId>, LifecycleRecord>,
    /// The job whose failure decides the exit code, and its code.
    pub(crate) failed: Option<(JobId, i32)>,
    pub(crate) ended: Option<i32>,
    /// A second signal or a fast shutdown: grace periods are cut.
    pub(crate) forced: bool,
    pub(crate) generation: u64,
    pub(crate) effects: Vec<Effect>,
    pub(crate) journal: Vec<(Time, Event)>,
    /// Features that this schedule has, for recorded journals.
    pub(crate) marks: BTreeSet<&'static str>,
}

impl World {
    pub(crate) fn new(plan: Plan, seed: u64, habits: Habits) -> Self {
        Self {
            pod: Pod::new(Seed { plan: plan.clone(), seed }),
            settings: plan.pod,
            plans: (0..).map(JobId).zip(plan.jobs).collect(),
            now: Time::ZERO,
            habits,
            began: false,
            processes: BTreeMap::new(),
            leases: BTreeMap::new(),
            used_runs: BTreeSet::new(),
            finished_runs: Vec::new(),
            starts: Vec::new(),
            forwarded: BTreeMap::new(),
            ran: BTreeSet::new(),
            tasks: BTreeMap::new(),
            codes: BTreeMap::new(),
            requests: BTreeMap::new(),
            request_count: 0,
            stop_began: None,
            restarts: Vec::new(),
            peers: BTreeMap::new(),
            overruled: BTreeSet::new(),
            records: BTreeMap::new(),
            failed: None,
            ended: None,
            forced: false,
            generation: 0,
            effects: Vec::new(),
            journal: Vec::new(),
            marks: BTreeSet::new(),
        }
    }

    /// Sends an event to the engine, carries out the effects and checks the invariants.
    pub(crate) fn event(&mut self, event: Event) -> Checked {
        self.journal.push((self.now, event.clone()));
        let was_ended = self.ended.is_some();
        let before = self.snapshot();
        let waiting = self.waiting_since(&before);
        self.learn(&event, &before);
        let mut effects = Vec::new();
        self.pod.step(self.now, event.clone(), &mut effects);
        self.pod.check_indexes()?;
        self.install(&event, &effects);
        let after = self.snapshot();
        if self.stop_began.is_none() && after.phase != PodPhase::Up {
            self.stop_began = Some(self.now);
        }
        let changed = self.pod.take_changed();
        let step = Step { event: &event, before: &before, after: &after, effects: &effects };
        self.check_effects(&step, was_ended)?;
        for effect in &effects {
            if let Effect::Spawn { job, .. } = effect {
                self.start_dependencies_hold(*job, &waiting)?;
            }
            self.perform(effect, &step)?;
        }
        self.follow(&step);
        self.check_all(&step, &changed)?;
        self.effects.extend(effects);
        Ok(())
    }

    /// The jobs of the pod with their ids.
    pub(crate) fn jobs<'a>(
        &self,
        snapshot: &'a FullSnapshot,
    ) -> impl Iterator<Item = (JobId, &'a engine::JobSnapshot)> + use<'a> {
        snapshot.order.iter().copied().zip(&snapshot.jobs)
    }

    fn snapshot(&self) -> FullSnapshot {
        let Snapshot { generation, phase, jobs } = self.pod.snapshot();
        FullSnapshot { generation, phase, jobs, order: self.pod.order().to_vec() }
    }

    // === what an event says about the world ===

    fn learn(&mut self, event: &Event, before: &FullSnapshot) {
        let now = self.now;
        match event {
            Event::Started => self.began = true,
            Event::Spawned(run) => {
                if let Some((job, process)) = self.processes.get_mut(run)
                    && !process.reported
                {
                    process.began(&self.plans[job], now);
                    self.ran.insert(*job);
                    if before.get(*job).is_some_and(|job| job.ending.is_some()) {
                        self.marks.insert("stop-during-start");
                    }
                }
            }
            Event::SpawnFailed(run, error) => {
                if let Some((job, _)) = self.processes.get(run) {
                    self.codes.insert(*job, spawn_code(error.kind));
                    self.remove(*run);
                }
            }
            Event::Exited { run, exit, leftovers, .. } => {
                if let Some((job, process)) = self.processes.get_mut(run)
                    && process.leader
                {
                    if !process.abandoned {
                        self.codes.insert(*job, exit_code(*exit));
                    }
                    self.ran.insert(*job);
                    if *leftovers {
                        process.leader = false;
                        process.reported = true;
                    } else {
                        self.remove(*run);
                    }
                }
            }
            Event::Cleared(run) => {
                if self.processes.contains_key(run) {
                    self.remove(*run);
                }
            }
            Event::Suspended(run, _) => self.change(*run, |process| process.suspended = true),
            Event::Resumed(run) => self.change(*run, |process| process.suspended = false),
            Event::Probed { attempt, result } => self.probed(*attempt, result),
            Event::HookFinished { attempt, failed } => {
                if let Some((run, Task::Hook(HookKind::PostStart))) = self.tasks.remove(attempt) {
                    self.change(run, |process| {
                        process.hook_by = None;
                        process.hook_done |= failed.is_none();
                        process.hook_failed |= failed.is_some();
                    });
                }
            }
            Event::Notified(run, message) => self.notified(*run, *message, before),
            Event::OverMemory { run, .. } => {
                if let Some((_, process)) = self.processes.get_mut(run) {
                    process.over_memory |= process.reported;
                }
            }
            Event::Won(run) => {
                if let Some((_, lease)) = self.leases.get_mut(run) {
                    *lease = Lease::Held;
                }
            }
            Event::Lost { run, gone_by, .. } => {
                if let Some((_, lease)) = self.leases.get_mut(run) {
                    *lease = Lease::Lost(*gone_by);
                }
            }
            Event::PeerChanged { peer, status } => self.peer_changed(peer, *status),
            Event::Requested { request, action } => {
                if let Request::Start(job) | Request::Restart(job) = action {
                    self.overruled.insert(*job);
                }
                self.open_request(*request, Some(*action));
            }
            Event::Reloaded { request, .. } => self.open_request(*request, None),
            Event::Signalled(signal) => {
                // Only these cut the grace period short.
                let stops = self.settings.stop_on.contains(signal);
                let fast =
                    self.settings.fast_shutdown.as_ref().is_some_and(|(signals, _)| signals.contains(signal));
                let stopping = matches!(before.phase, PodPhase::Stopping { .. });
                let second =
                    *signal != Signal::TERM && stops && stopping && self.settings.fast_shutdown.is_none();
                self.forced |= second || fast;
            }
            Event::TimerFired | Event::Campaigning(..) => {}
        }
    }

    fn change(&mut self, run: RunId, change: impl FnOnce(&mut Process)) {
        if let Some((_, process)) = self.processes.get_mut(&run)
            && process.reported
            && process.leader
        {
            change(process);
        }
    }

    fn open_request(&mut self, request: RequestId, action: Option<Request>) {
        let newest_run = self.used_runs.last().copied().unwrap_or(RunId(0));
        self.requests.insert(request, OpenRequest { action, newest_run });
    }

    pub(crate) fn remove(&mut self, run: RunId) {
        self.processes.remove(&run);
        self.finished_runs.push(run);
    }

    fn probed(&mut self, attempt: AttemptId, result: &ProbeResult) {
        let Some((run, Task::Probe(kind))) = self.tasks.remove(&attempt) else { return };
        let Some((job, process)) = self.processes.get_mut(&run) else { return };
        let probes = &self.plans[job].probes;
        let plan = match kind {
            ProbeKind::Startup => &probes.startup,
            ProbeKind::Liveness => &probes.liveness,
            ProbeKind::Readiness => &probes.readiness,
        };
        let (Some(plan), probe) = (plan, &mut process.probes[kind as usize]) else { return };
        let passed = match result {
            ProbeResult::Passed => true,
            ProbeResult::Failed(_) => false,
            ProbeResult::Impossible(_) => return,
        };
        let streak = if probe.streak.0 == passed { probe.streak.1 + 1 } else { 1 };
        probe.streak = (passed, streak);
        if passed && streak >= plan.success_threshold {
            (probe.passes, probe.failed) = (true, false);
        } else if !passed && streak >= plan.failure_threshold {
            (probe.passes, probe.failed) = (false, true);
        }
    }

    fn notified(&mut self, run: RunId, message: NotifyMessage, before: &FullSnapshot) {
        let running = self
            .jobs(before)
            .any(|(_, job)| job.run == Some(run) && matches!(job.phase, JobPhase::Running { .. }));
        let Some((job, process)) = self.processes.get_mut(&run).filter(|_| running) else { return };
        let (plan, now) = (&self.plans[job], self.now);
        match message {
            NotifyMessage::Ready => process.notified_ready = true,
            NotifyMessage::Watchdog => process.watchdog_by = plan.watchdog.map(|limit| now + limit),
            NotifyMessage::WatchdogTrigger => process.watchdog_triggered = true,
            NotifyMessage::ExtendTimeout(more) => {
                let later = |at: Time| at.max(now + more);
                process.ready_by = process.ready_by.map(later);
                process.watchdog_by = process.watchdog_by.map(later);
            }
            NotifyMessage::Stopping => {}
        }
    }

    fn peer_changed(&mut self, peer: &str, status: PeerStatus) {
        let known = self.peers.get(peer).copied();
        if known.map(|(seen, _)| seen) == Some(status) || (known.is_none() && status == PeerStatus::default())
        {
            return;
        }
        let stale = |seen: &PeerStatus| seen.ended.is_some_and(|end| end.stale);
        let (before, since) = known.unwrap_or_default();
        let since = if stale(&status) && stale(&before) { since } else { self.now };
        self.peers.insert(peer.to_owned(), (status, since));
        self.overruled.clear();
    }

    /// Takes over the plan of a reload that the engine has accepted.
    fn install(&mut self, event: &Event, effects: &[Effect]) {
        let Event::Reloaded { request, jobs, pod } = event else { return };
        let accepted = |effect: &Effect| matches!(effect, Effect::Respond { request: of, response: Ok(Outcome::Changed) } if of == request);
        if effects.iter().any(accepted) {
            self.plans.extend(jobs.iter().cloned());
            self.settings = pod.clone();
        }
    }

    // === effects ===

    fn perform(&mut self, effect: &Effect, step: &Step<'_>) -> Checked {
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
            Effect::Signal { run, signal, .. } => self.signalled(*run, *signal)?,
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

    fn signalled(&mut self, run: RunId, signal: Signal) -> Checked {
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
        if signal != Signal::KILL {
            return Ok(());
        }
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
            (JobEventKind::Restarting { cause, .. }, _) => {
                // A planned exit does not count.
                if !matches!(cause, Cause::Ttl(_) | Cause::LeaseLost(_) | Cause::Request) {
                    self.restarts.push((job, at));
                    self.restarts_stay_within_limit(job)?;
                }
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
        let leaves = step.wanted(job) && self.plans[&job].restart.policy != engine::Policy::Never;
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
        use engine::{StartLimitAction as Action, snapshot::TerminalReason as Reason};
        match &snapshot.phase {
            JobPhase::Done(Reason::RestartLimit(Action::Exit)) if !retired => self.failed = Some((job, code)),
            JobPhase::Done(Reason::RestartLimit(Action::Ignore)) => {}
            _ if wanted && code != 0 && self.failed.is_none() => {
                self.failed = Some((job, code));
            }
            _ => {}
        }
    }

    /// The exit code of a job after the mapping of the plan. `ending`: why a permanent stop was requested.
    pub(crate) fn mapped_code(&self, job: &engine::JobSnapshot, ending: Option<&Cause>) -> i32 {
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
    fn follow(&mut self, step: &Step<'_>) {
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

impl Process {
    fn began(&mut self, plan: &JobPlan, now: Time) {
        self.reported = true;
        self.started_at = now;
        self.ready_by = plan.start_deadline.map(|limit| now + limit);
        self.hook_done = plan.post_start.is_none();
        self.probes[ProbeKind::Liveness as usize].passes = true;
    }
}

/// A snapshot with the ids of its jobs.
pub(crate) struct FullSnapshot {
    pub(crate) generation: u64,
    pub(crate) phase: PodPhase,
    pub(crate) jobs: Vec<engine::JobSnapshot>,
    pub(crate) order: Vec<JobId>,
}

/// The exit code of a shell for this exit.
pub(crate) fn exit_code(exit: Exit) -> i32 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal.0,
    }
}

fn spawn_code(kind: SpawnErrorKind) -> i32 {
    match kind {
        SpawnErrorKind::NotFound => 127,
        SpawnErrorKind::NotExecutable => 126,
        SpawnErrorKind::System => 71,
    }
}

/// The settings of a reload: the job that decides the exit code may be gone.
pub(crate) fn reload_settings(settings: &PodSettings) -> PodSettings {
    PodSettings { exit: ExitRule::FirstToFail, ..settings.clone() }
}

/// Whether a need counts as fulfilled by a process that has completed with this code.
pub(crate) fn met_by_code(condition: Condition, code: i32) -> bool {
    match condition {
        Condition::Started | Condition::Ready | Condition::Succeeded => code == 0,
        Condition::Failed => code != 0,
        Condition::Exited => true,
    }
}

/// The part of the grace period that is added for the stop signal after a preStop hook, at most.
pub(crate) const EXTENSION_FOR_HOOK: Duration = Duration::from_secs(2);
