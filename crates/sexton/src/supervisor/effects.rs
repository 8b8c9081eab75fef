//! Performs the effects of the engine.

use std::sync::Arc;
use std::time::Duration;

use engine::{
    AttemptId, Effect, Event, HookKind, JobEvent, JobEventKind, JobId, ProbeKind, RunId, SpawnError,
    SpawnErrorKind,
};

use super::Supervisor;
use super::system::{ProbeStart, ProcessStart, ServiceState, System};
use crate::status::event_text;
use crate::status::hub::Change;

/// How long spawning may take before signals, results and clients get their turn.
const SPAWN_SLICE: Duration = Duration::from_millis(2);

impl<S: System> Supervisor<S> {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { job, run } => self.starts.push_back((job, run)),
            Effect::Campaign { job, run } => self.campaign(job, run),
            Effect::Resign(run) => self.system.resign(run),
            Effect::Signal { run, signal, scope } => self.system.signal(run, signal, scope),
            Effect::Probe { job, kind, attempt, .. } => self.probe(job, kind, attempt),
            Effect::Hook { job, kind, attempt, .. } => self.hook(job, kind, attempt),
            Effect::Abort(attempt) => self.system.cancel(attempt),
            Effect::WriteTombstone { job, record } => self.system.write_tombstone(job, &record),
            Effect::Publish(event) => self.report(&event),
            Effect::Respond { request, response } => self.requests.answer(request, response),
            Effect::JobRemoved(job) => {
                self.jobs.remove(&job);
                self.publisher.remove(job);
                self.system.remove_job(job);
            }
            Effect::End { code, from } => self.exit = Some((code, from)),
        }
    }

    /// Spawns processes that are waiting for it, within [`SPAWN_SLICE`].
    pub(super) fn spawn_pending(&mut self) {
        let began = self.system.now();
        while let Some((job, run)) = self.starts.pop_front() {
            let event = match self.spawn(job, run) {
                Ok(()) => Event::Spawned(run),
                Err(error) => Event::SpawnFailed(run, error),
            };
            self.dispatch(event);
            if self.system.now().since(began) > SPAWN_SLICE {
                return;
            }
        }
    }

    fn spawn(&mut self, id: JobId, run: RunId) -> Result<(), SpawnError> {
        let Some(job) = self.jobs.get_mut(&id) else {
            let message = "the process was removed from the configuration".to_owned();
            return Err(SpawnError { kind: SpawnErrorKind::System, message });
        };
        self.system.spawn(&ProcessStart {
            job: id,
            run,
            program: &job.program,
            plan: job.plan.as_ref(),
            has_lock: job.lock.is_some(),
            watchdog: job.watchdog,
        })?;
        let is_restart = self.pod.job(id).is_some_and(|job| job.starts > 0);
        job.spawned(self.system.now(), is_restart);
        Ok(())
    }

    fn probe(&mut self, id: JobId, kind: ProbeKind, attempt: AttemptId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(probe) = job.plan.as_ref().and_then(|plan| plan.probes.get(kind)) else { return };
        let start = ProbeStart {
            checks: Arc::clone(&probe.checks),
            timeout: probe.timing.timeout,
            facts: job.facts(self.system.now()),
            connections: job.connections[kind as usize].clone(),
        };
        self.system.probe(attempt, start);
    }

    fn hook(&mut self, id: JobId, kind: HookKind, attempt: AttemptId) {
        match self.jobs.get(&id).and_then(|job| job.hooks[kind as usize].clone()) {
            Some(action) => self.system.hook(attempt, action),
            None => self.events.push_back(Event::HookFinished { attempt, failed: None }),
        }
    }

    /// Reports an event of a process to the log, the service manager, the metrics and the subscribers.
    fn report(&mut self, event: &JobEvent) {
        let Some(job) = self.jobs.get(&event.job) else { return };
        let name = Arc::clone(&job.info.name);
        let (level, message) = event_text::describe(event, &name);
        let pid = event.run.and_then(|run| self.system.pid(run));
        match (event.run, pid) {
            (Some(run), Some(pid)) => log::log!(level, process:% = name, run = run.0, pid = pid; "{message}"),
            (Some(run), None) => log::log!(level, process:% = name, run = run.0; "{message}"),
            (None, _) => log::log!(level, process:% = name; "{message}"),
        }
        let state = match &event.kind {
            JobEventKind::Started { .. } if self.up.is_none() => Some(ServiceState::Ready),
            JobEventKind::Ending { .. } if self.is_shutting_down() => Some(ServiceState::Stopping),
            JobEventKind::Exited { .. }
            | JobEventKind::Restarting { .. }
            | JobEventKind::RestartLimitReached { .. } => Some(ServiceState::Status),
            _ => None,
        };
        if let Some(state) = state {
            self.system.notify(state, &format!("{name}: {message}"));
        }
        if let (JobEventKind::Stuck { abandoned: true }, Some(run)) = (&event.kind, event.run) {
            self.system.abandon(run);
        }
        self.hub.metrics.count(&name, &event.kind);
        self.hub.publish_event(Change {
            number: 0,
            at: String::new(),
            process: name.to_string(),
            run: event.run.map(|run| run.0),
            pid,
            event: event.kind.label(),
            cause: event_text::cause(&event.kind),
            message,
        });
    }
}
