//! The one entry to the supervisor: an event in, its effects performed and published.

use std::sync::Arc;
use std::time::Duration;

use engine::{Effect, Event, JobId, PodPhase, RunId, Signal, SignalScope};

use super::system::{ServiceState, System};
use super::{MemoryUse, PeerChanges, Supervisor, SupervisorEvent};
use crate::automaton;
use crate::status::hub::Change;
use linux::notify_listener::NotifyDatagram;
use linux::process_table::{ReapedEvent, RunEvent};
use linux::terminal::AfterSuspension;
use spec::program::Pid;

/// The pause, at first and at most, between looks for the remaining processes of a run. The supervisor is not
/// notified of their exits if they are not its children.
const LEFTOVERS_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// The pause between measurements of the memory that no control group limits.
const MEMORY_PAUSE: Duration = Duration::from_millis(500);

impl<S: System> Supervisor<S> {
    /// Handles one event: steps the engine, performs the effects, then publishes the new state and replies to
    /// requests. It never waits. After the last process has exited, [`Supervisor::exit`] is set and everything
    /// is published, but requests are still answered.
    pub(super) fn handle(&mut self, event: SupervisorEvent) {
        let was_up = self.exit.is_none();
        self.apply(event);
        self.publish();
        if let Some((code, from)) = self.exit.filter(|_| was_up) {
            self.write_termination_message(code, from);
            self.set_readiness_file(false);
            self.requests.refuse_pending();
        }
    }

    pub(super) fn apply(&mut self, event: SupervisorEvent) {
        match event {
            SupervisorEvent::Started { peers } => {
                // Left by an earlier run that was killed.
                self.set_readiness_file(false);
                self.warn_about_cpu_limits();
                self.peers_changed(peers);
                self.dispatch(Event::Started);
            }
            SupervisorEvent::TimerFired => {
                // Exits come before deadlines, and a SIGCHLD that was lost is made up for.
                self.reap();
                self.spawn_pending();
                if self.pod.deadline().is_some_and(|at| at <= self.system.now()) {
                    self.dispatch(Event::TimerFired);
                }
            }
            SupervisorEvent::Signals(signals) => self.signals_received(&signals),
            SupervisorEvent::LeftoversDue => self.reap(),
            SupervisorEvent::HelperRequested(request) => self.system.spawn_helper(request),
            SupervisorEvent::AttemptFinished(result) => self.attempt_finished(result),
            SupervisorEvent::Notified(notification) => self.notified(notification),
            SupervisorEvent::PeersChanged(peers) => self.peers_changed(peers),
            SupervisorEvent::LockChanged(run, change) => self.lock_changed(run, change),
            SupervisorEvent::LockGuardMissing => self.system.ensure_guard(),
            SupervisorEvent::MemoryCheckDue => self.check_memory(),
            SupervisorEvent::MemoryMeasured(over) => self.memory_measured(over),
            SupervisorEvent::Command(command) => self.command(command),
            SupervisorEvent::KeepaliveDue => self.system.notify(ServiceState::Alive, ""),
            SupervisorEvent::Batch(events) => {
                for event in events {
                    self.apply(event);
                }
            }
        }
    }

    /// Steps the engine, and performs the effects.
    pub(super) fn dispatch(&mut self, event: Event) {
        self.events.push_back(event);
        let mut effects = Vec::new();
        while let Some(event) = self.events.pop_front() {
            let now = self.system.now();
            self.system.write_journal(now, &event);
            self.pod.step(now, event, &mut effects);
            // Publications come last: what they report has been done, and peers can read it.
            let last = |effect: &mut Effect| {
                matches!(effect, Effect::Publish(_) | Effect::JobRemoved(_) | Effect::End { .. })
            };
            let last: Vec<Effect> = effects.extract_if(.., last).collect();
            for effect in effects.drain(..).chain(last) {
                self.perform(effect);
            }
        }
        self.system.signal_escaped();
    }

    fn signals_received(&mut self, signals: &[Signal]) {
        // Exits come before stop requests: a process that has exited needs no signal.
        if signals.contains(&Signal::CHLD) {
            self.reap();
        }
        for signal in signals {
            match *signal {
                // Not forwarded: they concern the supervisor and its own children.
                Signal::CHLD | Signal::URG => {}
                Signal::CONT => {
                    self.suspending = false;
                    if let Some(pid) = self.foreground_pid() {
                        self.system.foreground_resumed(pid);
                    }
                    self.dispatch(Event::Signalled(Signal::CONT));
                }
                signal if signal.suspends() => {
                    self.suspending = true;
                    if self.foreground_pid().is_some() {
                        // The supervisor is suspended once the process has been.
                        self.dispatch(Event::Signalled(signal));
                    } else {
                        self.system.suspend_self(signal);
                    }
                }
                Signal::HUP if self.up.is_some() => self.reload(None),
                Signal(libc::SIGUSR1 | libc::SIGUSR2) if self.up.is_some() => self.log_state(),
                signal => self.dispatch(Event::Signalled(signal)),
            }
        }
    }

    /// Reaps children, and dispatches what happened to runs.
    fn reap(&mut self) {
        for ReapedEvent { run, what } in self.system.reap() {
            match what {
                RunEvent::Exited { exit, leftovers, out_of_memory } => {
                    // The output of a process comes before its exit.
                    self.system.process_exited(run, exit, leftovers);
                    self.dispatch(Event::Exited { run, exit, leftovers, out_of_memory });
                }
                RunEvent::Cleared => {
                    self.system.run_cleared(run);
                    self.dispatch(Event::Cleared(run));
                }
                RunEvent::Suspended(signal) => self.suspended(run, signal),
                RunEvent::Resumed => self.dispatch(Event::Resumed(run)),
            }
        }
        let now = self.system.now();
        self.leftovers_check = match self.leftovers_check {
            _ if !self.system.any_leftovers() => None,
            None => Some((now + LEFTOVERS_PAUSE.0, LEFTOVERS_PAUSE.0)),
            Some((at, pause)) if at <= now => {
                let pause = (pause * 2).min(LEFTOVERS_PAUSE.1);
                Some((now + pause, pause))
            }
            pending => pending,
        };
    }

    fn suspended(&mut self, run: RunId, signal: Signal) {
        self.dispatch(Event::Suspended(run, signal));
        let Some(pid) = self.system.pid(run) else { return };
        let after = match self.system.foreground_suspended(pid, signal) {
            Some(after) => after,
            // Keys reach the process through the supervisor: when they have suspended it, the shell waits until
            // the supervisor is suspended too.
            None if std::mem::take(&mut self.suspending) => self.system.suspend_self(signal),
            None => AfterSuspension::Wait,
        };
        if after == AfterSuspension::Continue {
            self.system.signal(run, Signal::CONT, SignalScope::Group);
        }
    }

    /// The only process of `run` and `supervise`, which leads the group that has the terminal or would have it.
    fn foreground_pid(&self) -> Option<Pid> {
        if self.up.is_some() {
            return None;
        }
        let run = self.pod.job(JobId(0)).and_then(|job| job.run);
        run.and_then(|run| self.system.pid(run))
    }

    fn attempt_finished(&mut self, result: Event) {
        if let Event::Probed { attempt, .. } | Event::HookFinished { attempt, .. } = &result
            && self.system.take_finished(*attempt)
        {
            self.dispatch(result);
        }
    }

    fn notified(&mut self, NotifyDatagram { run, assignments, status }: NotifyDatagram) {
        for word in assignments {
            self.dispatch(Event::Notified(run, word));
        }
        let is_automaton = self.is_automaton(run);
        if let (Some(status), Some(id)) = (status, self.pod.job_of(run))
            && let Some(job) = self.jobs.get_mut(&id)
        {
            let name = Arc::clone(&job.info.name);
            self.publisher.mark_changed(id);
            match automaton::status::read(&status).filter(|_| is_automaton) {
                Some((tag, from)) => {
                    job.status = Some(format!("state {tag}"));
                    self.state_entered(&name, run, tag, from);
                }
                None => job.status = Some(status),
            }
        }
    }

    pub(super) fn is_automaton(&self, run: RunId) -> bool {
        let job = self.pod.job_of(run).and_then(|id| self.jobs.get(&id));
        job.and_then(|job| job.plan.as_ref()).is_some_and(|plan| plan.automaton)
    }

    /// An automaton notifies the supervisor of each state that it enters.
    fn state_entered(&self, name: &str, run: RunId, tag: &str, from: Option<&str>) {
        self.hub.metrics.entered(name, tag);
        self.hub.publish_event(Change {
            number: 0,
            at: String::new(),
            process: name.to_owned(),
            run: Some(run.0),
            pid: self.system.pid(run),
            event: "entered",
            cause: None,
            message: automaton::status::entered(tag, from),
        });
    }

    /// Starts to measure the memory of processes whose limits no control group enforces.
    fn check_memory(&mut self) {
        self.memory_check = Some(self.system.now() + MEMORY_PAUSE);
        let limit = |run| self.jobs.get(&self.pod.job_of(run)?)?.plan.as_ref()?.memory_limit;
        let processes = self.system.without_memory_limit().into_iter();
        let limits: Vec<_> = processes.filter_map(|(run, pid)| Some((run, pid, limit(run)?))).collect();
        if limits.is_empty() {
            return;
        }
        // The next measurement waits for the result of this one.
        self.memory_check = None;
        self.system.measure_memory(limits);
    }

    fn memory_measured(&mut self, over: Vec<MemoryUse>) {
        self.memory_check = Some(self.system.now() + MEMORY_PAUSE);
        for MemoryUse { run, used, limit } in over {
            self.dispatch(Event::OverMemory { run, used, limit });
        }
    }

    pub(super) fn peers_changed(&mut self, peers: PeerChanges) {
        for (peer, status) in peers {
            self.dispatch(Event::PeerChanged { peer, status });
        }
    }

    pub(super) fn is_shutting_down(&self) -> bool {
        *self.pod.phase() != PodPhase::Up
    }
}
