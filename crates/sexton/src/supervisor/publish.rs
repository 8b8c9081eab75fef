//! Publishes the state: the hub, the readiness file, the service manager, the termination message.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use engine::pod::Seed;
use engine::{JobId, Pod, PodPhase};

use super::Supervisor;
use super::system::{ServiceState, System};
use crate::status::termination;
use crate::status::{ProcessInfo, ProcessView, View};
use linux::clock::Clock;

/// The number of lines of output in the termination message.
const TERMINATION_LINES: usize = 40;

/// What was published last.
#[derive(Default)]
pub(super) struct Publisher {
    views: BTreeMap<JobId, Arc<ProcessView>>,
    last: Option<(u64, PodPhase)>,
    /// Processes with changes that the engine does not know of.
    changed: BTreeSet<JobId>,
    /// Whether the readiness file exists; None: unknown.
    readiness_file: Option<bool>,
    /// The last error of the readiness file, which is logged once.
    readiness_error: Option<io::ErrorKind>,
}

impl Publisher {
    pub(super) fn mark_changed(&mut self, job: JobId) {
        self.changed.insert(job);
    }

    pub(super) fn remove(&mut self, job: JobId) {
        self.views.remove(&job);
    }
}

impl<S: System> Supervisor<S> {
    /// Publishes what has changed, and only then sends answers: a client that has one sees the state that it reports.
    pub(super) fn publish(&mut self) {
        self.publish_changes();
        self.requests.send_answers();
    }

    fn publish_changes(&mut self) {
        let now = (self.pod.generation(), self.pod.phase().clone());
        let publisher = &mut self.publisher;
        if publisher.last.as_ref() == Some(&now) && publisher.changed.is_empty() {
            return;
        }
        let mut changed = self.pod.take_changed();
        if publisher.last.as_ref().is_none_or(|(_, phase)| *phase != now.1) {
            // The state of each process depends on the phase of the pod.
            changed.extend(self.pod.order());
        }
        changed.append(&mut publisher.changed);
        for id in changed {
            self.update_view(id);
        }
        self.publisher.last = Some(now);
        self.publish_view();
    }

    fn update_view(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(snapshot) = self.pod.job(id) else { return };
        let pid = snapshot.run.and_then(|run| self.system.pid(run));
        let before = self.publisher.views.get(&id).map(|view| &**view);
        let status = job.status.as_deref();
        let view = ProcessView::own(&job.info, snapshot, self.pod.phase(), pid, status, before, self.clock);
        self.publisher.views.insert(id, Arc::new(view));
    }

    fn publish_view(&mut self) {
        let views = &self.publisher.views;
        let processes = self.pod.order().iter().filter_map(|id| views.get(id).cloned()).collect();
        let was_ready = self.hub.view().health.ready.is_yes();
        let view = View::own(
            self.mode,
            self.pod.generation(),
            self.pod.phase(),
            self.pod.end_by(),
            processes,
            self.up.is_some(),
        );
        let ready = view.health.ready.is_yes();
        let ending = view.ending.is_some();
        if let Some(up) = &self.up {
            let gone = if up.plan.readiness_file_sticky { ending || view.over } else { !ready };
            if ready || gone {
                self.set_readiness_file(ready);
            }
            if ready != was_ready && !ending && !view.over {
                let status = if ready { "all processes are ready" } else { "not all processes are ready" };
                let why = view.reason(&view.health.ready).map(|why| format!(": {why}")).unwrap_or_default();
                log::info!("{status}{why}");
                let state = if ready { ServiceState::Ready } else { ServiceState::Status };
                self.system.notify(state, status);
            }
        }
        self.hub.publish(view);
    }

    /// Warns of CPU limits that no control group enforces.
    pub(super) fn warn_about_cpu_limits(&self) {
        if self.system.limits_cpu() {
            return;
        }
        let plans = self.jobs.values().filter_map(|job| job.plan.as_ref());
        for plan in plans.filter(|plan| plan.cpu_limit.is_some()) {
            log::warn!(process:% = plan.name; "CPU limit not enforced: there is no writable control group (cgroup v2) with a CPU controller");
        }
    }

    /// Creates or removes the readiness file, if it is configured and that has not been done yet.
    pub(super) fn set_readiness_file(&mut self, present: bool) {
        let Some(file) = self.up.as_ref().and_then(|up| up.plan.readiness_file.as_ref()) else { return };
        if self.publisher.readiness_file == Some(present) {
            return;
        }
        match self.system.set_readiness_file(file, present) {
            Ok(()) => {
                self.publisher.readiness_file = Some(present);
                self.publisher.readiness_error = None;
            }
            Err(error) if self.publisher.readiness_error == Some(error.kind()) => {}
            Err(error) => {
                let verb = if present { "create" } else { "remove" };
                log::warn!(file:% = file.display(); "cannot {verb} the readiness file: {error}");
                self.publisher.readiness_error = Some(error.kind());
            }
        }
    }

    /// Logs the state of each process, after SIGUSR1 or SIGUSR2.
    pub(super) fn log_state(&self) {
        for view in &self.hub.view().processes {
            let pid = view.pid.map(|pid| pid.to_string()).unwrap_or_default();
            let starts = view.own.as_ref().map_or(0, |own| own.job.starts);
            log::warn!(process:% = view.name, pid:% = pid, starts = starts; "{}", view.state);
        }
    }

    /// Writes the termination message: the exit code, and the process that determined it.
    pub(super) fn write_termination_message(&mut self, code: i32, from: Option<JobId>) {
        let Some(up) = &self.up else { return };
        let view = from.and_then(|id| self.publisher.views.get(&id));
        let lines = from.map(|id| self.system.last_lines(id, TERMINATION_LINES)).unwrap_or_default();
        let report = termination::report(code, view.map(|view| &**view), &lines);
        if code != 0 {
            let first = report.lines().next().unwrap_or_default();
            log::error!(code = code; "{first}");
        }
        self.system.write_termination_message(&up.termination_log, &report);
    }
}

/// The state before anything was started.
#[must_use]
pub fn first_view(
    mode: &'static str,
    processes: &[&ProcessInfo],
    seed: &Seed,
    many: bool,
    clock: Clock,
) -> View {
    let snapshot = Pod::new(seed.clone()).snapshot();
    let views = processes
        .iter()
        .zip(snapshot.jobs)
        .map(|(info, job)| Arc::new(ProcessView::own(info, job, &snapshot.phase, None, None, None, clock)));
    View::own(mode, 0, &snapshot.phase, None, views.collect(), many)
}
