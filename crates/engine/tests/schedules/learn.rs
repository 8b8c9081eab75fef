//! What an event says about the world.

use engine::{
    AttemptId, Effect, Event, Exit, HookKind, JobPhase, JobPlan, NotifyMessage, Outcome, PeerStatus,
    PodPhase, ProbeKind, ProbeResult, Request, RequestId, RunId, Signal, SpawnErrorKind, Time,
};

use crate::world::{FullSnapshot, Lease, OpenRequest, Process, Task, World};

impl World {
    pub(crate) fn learn(&mut self, event: &Event, before: &FullSnapshot) {
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

    pub(crate) fn change(&mut self, run: RunId, change: impl FnOnce(&mut Process)) {
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

    fn remove(&mut self, run: RunId) {
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
    pub(crate) fn install(&mut self, event: &Event, effects: &[Effect]) {
        let Event::Reloaded { request, jobs, pod } = event else { return };
        let accepted = |effect: &Effect| matches!(effect, Effect::Respond { request: of, response: Ok(Outcome::Changed) } if of == request);
        if effects.iter().any(accepted) {
            self.plans.extend(jobs.iter().cloned());
            self.settings = pod.clone();
        }
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

/// The exit code of a shell for this exit.
fn exit_code(exit: Exit) -> i32 {
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
