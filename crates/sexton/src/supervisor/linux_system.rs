//! The [`System`](super::system::System) of the program.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use engine::{
    AttemptId, Event, Exit, JobId, LifecycleRecord, RunId, Signal, SignalScope, SpawnError, SpawnErrorKind,
    Time,
};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::locks::RunLocks;
use super::system::{
    Attempts, Host, JobControl, ProbeStart, ProcessStart, Processes, ServiceState, Tombstones,
};
use super::{MemoryUse, PeerChanges, UpState, output_plan};
use crate::journal::Journal;
use crate::logs::capture::{Outputs, Pipes};
use crate::probes::{self, SpawnRequest};
use crate::status::termination;
use crate::tombstones::{Graveyard, TombstoneTargets};
use config::compile;
use config::compile::{ConfigError, ProcessPlan, UpPlan};
use linux::blocking;
use linux::cgroup::Cgroups;
use linux::clock::Clock;
use linux::notify::Notify;
use linux::notify_listener::{self, NotifyDatagram};
use linux::process_table::{MARK, ProcessTable, ReapedEvent};
use linux::resource_usage;
use linux::spawn::{Start, spawn};
use linux::terminal::{self, AfterSuspension, Terminal};
use spec::environment::Real;
use spec::pod::PodPlan;
use spec::probe::Action;
use spec::program::Pid;
use spec::text::describe;

pub(super) struct LinuxSystem {
    pub(super) clock: Clock,
    pub(super) processes: ProcessTable,
    /// Dropped after the process table, whose entries are inside of it.
    pub(super) cgroups: Option<Cgroups>,
    pub(super) outputs: Outputs,
    pub(super) terminal: Option<Terminal>,
    pub(super) journal: Option<Journal>,
    pub(super) notify: Notify,
    pub(super) graveyard: Option<Graveyard>,
    /// Probes and hooks in progress.
    pub(super) attempts: BTreeMap<AttemptId, AbortHandle>,
    /// The tasks that receive notifications of processes.
    pub(super) listeners: BTreeMap<RunId, AbortHandle>,
    pub(super) locks: RunLocks,
    pub(super) senders: Senders,
}

/// The way from tasks to the event loop.
pub(super) struct Senders {
    pub(super) results: mpsc::UnboundedSender<Event>,
    pub(super) helpers: mpsc::UnboundedSender<SpawnRequest>,
    pub(super) notifications: mpsc::Sender<NotifyDatagram>,
    pub(super) measured: mpsc::UnboundedSender<Vec<MemoryUse>>,
}

impl Host for LinuxSystem {
    fn now(&self) -> Time {
        self.clock.now()
    }

    fn write_journal(&mut self, at: Time, event: &Event) {
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.note(at, event)
        {
            log::warn!(file:% = journal.path().display(); "cannot write the event journal, closing it: {error}");
            self.journal = None;
        }
    }

    fn notify(&self, state: ServiceState, status: &str) {
        match state {
            ServiceState::Ready => self.notify.ready(status),
            ServiceState::Status => self.notify.status(status),
            ServiceState::Stopping => self.notify.stopping(status),
            ServiceState::Alive => self.notify.alive(),
        }
    }

    fn load_configuration(&self, up: &UpState) -> Result<UpPlan, ConfigError> {
        compile::load(&up.source, &up.overrides, &Real)
    }

    fn set_readiness_file(&mut self, file: &Path, present: bool) -> io::Result<()> {
        let (result, done) = if present {
            // Created, not opened: a symbolic link is not followed.
            let created = fs::OpenOptions::new().write(true).create_new(true).open(file).map(drop);
            (created, io::ErrorKind::AlreadyExists)
        } else {
            (fs::remove_file(file), io::ErrorKind::NotFound)
        };
        result.or_else(|error| if error.kind() == done { Ok(()) } else { Err(error) })
    }

    fn write_termination_message(&mut self, file: &Path, text: &str) {
        termination::write(file, text);
    }
}

impl Processes for LinuxSystem {
    fn spawn(&mut self, request: &ProcessStart<'_>) -> Result<(), SpawnError> {
        let ProcessStart { job, run, program, .. } = *request;
        let command = program.command.to_string_lossy();
        let failed = |what: &str, error: &io::Error| SpawnError {
            kind: SpawnErrorKind::System,
            message: format!("cannot start '{command}': {what}: {}", describe(error)),
        };
        let pipes = self.outputs.pipes(job).map_err(|error| failed("cannot create a pipe", &error))?;
        let Pipes { stdout, stderr, ends } = pipes;
        let mut start = Start::with(stdout, stderr);
        let mut receiver = None;
        let mut cgroup = None;
        if request.plan.is_some() || request.has_lock {
            start.variables.push((MARK, ProcessTable::mark(run).into()));
        }
        start.variables.extend(self.locks.variable(run));
        start.not_after = self.locks.guard.until(run).map(|until| until.0);
        if let Some(plan) = request.plan {
            if let Some(cgroups) = &self.cgroups {
                let made = cgroups.make(&plan.name, run, plan.memory_limit, plan.cpu_limit);
                let made = made.and_then(|group| Ok((group.entry()?, group)));
                let (entry, group) = made.map_err(|error| failed("cannot create a control group", &error))?;
                (start.cgroup, cgroup) = (Some(entry), Some(group));
            }
            if let Some(kind) = plan.notify {
                let user = program.attributes.user;
                let prepared = notify_listener::prepare(kind, run, user, request.watchdog, &mut start);
                receiver =
                    Some(prepared.map_err(|error| failed("cannot create a notification socket", &error))?);
            }
        } else {
            start.stdin = true;
            start.foreground = self.terminal.as_ref().is_some_and(Terminal::offer);
        }
        let pid = spawn(program, start).inspect_err(|_| {
            if let Some(terminal) = &self.terminal {
                terminal.ended(false);
            }
        })?;
        self.processes.enter(run, pid, cgroup);
        self.locks.guard.group(run, pid);
        self.outputs.follow(job, run, pid, ends);
        if let Some(receiver) = receiver {
            let listener = notify_listener::listen(run, pid, receiver, self.senders.notifications.clone());
            self.listeners.insert(run, listener);
        }
        Ok(())
    }

    fn spawn_helper(&mut self, request: SpawnRequest) {
        request.start(&mut self.processes);
    }

    fn signal(&mut self, run: RunId, signal: Signal, scope: SignalScope) {
        self.processes.signal(run, signal, scope);
    }

    fn signal_escaped(&mut self) {
        self.processes.signal_strays();
    }

    fn reap(&mut self) -> Vec<ReapedEvent> {
        self.processes.reap()
    }

    fn pid(&self, run: RunId) -> Option<Pid> {
        self.processes.pid(run)
    }

    fn abandon(&mut self, run: RunId) {
        self.processes.abandon(run);
    }

    fn any_leftovers(&self) -> bool {
        self.processes.any_leftovers()
    }

    fn without_memory_limit(&self) -> Vec<(RunId, Pid)> {
        self.processes.leaders().filter(|(run, _)| !self.processes.limits_memory(*run)).collect()
    }

    fn measure_memory(&mut self, limits: Vec<(RunId, Pid, u64)>) {
        let measured = self.senders.measured.clone();
        let measure = move || {
            let roots: Vec<Pid> = limits.iter().map(|(_, pid, _)| *pid).collect();
            let limit_of = |pid: Pid| {
                limits.iter().find(|(_, of, _)| *of == pid).map_or(u64::MAX, |(_, _, limit)| *limit)
            };
            let over = resource_usage::over(&roots, limit_of);
            let over = limits
                .into_iter()
                .filter_map(|(run, pid, limit)| Some(MemoryUse { run, used: *over.get(&pid)?, limit }));
            over.collect()
        };
        tokio::spawn(async move {
            // Without a thread, there is another measurement later. Err of send: the supervisor has shut down.
            let _ = measured.send(blocking::run(measure).await.unwrap_or_default());
        });
    }

    fn limits_cpu(&self) -> bool {
        self.cgroups.as_ref().is_some_and(Cgroups::limits_processors)
    }
}

impl JobControl for LinuxSystem {
    fn foreground_suspended(&self, pid: Pid, signal: Signal) -> Option<AfterSuspension> {
        self.terminal.as_ref().map(|terminal| terminal.suspended(pid, signal))
    }

    fn foreground_resumed(&self, pid: Pid) {
        if let Some(terminal) = &self.terminal {
            terminal.continued(pid);
        }
    }

    fn suspend_self(&self, signal: Signal) -> AfterSuspension {
        terminal::suspend_self(signal)
    }
}

impl super::system::Outputs for LinuxSystem {
    fn plan_output(&mut self, job: JobId, plan: &ProcessPlan) -> io::Result<()> {
        self.outputs.plan(job, &plan.name, output_plan(plan), plan.logs.clone(), false)
    }

    fn process_exited(&mut self, run: RunId, exit: Exit, leftovers: bool) {
        if let Some(terminal) = &self.terminal {
            terminal.ended(matches!(exit, Exit::Signal(_)));
        }
        if leftovers {
            self.outputs.drain(run);
        } else {
            self.outputs.close(run);
        }
        if let Some(listener) = self.listeners.remove(&run) {
            listener.abort();
        }
    }

    fn run_cleared(&mut self, run: RunId) {
        self.outputs.close(run);
    }

    fn last_lines(&self, job: JobId, count: usize) -> Vec<Vec<u8>> {
        let kept = self.outputs.kept(job);
        kept.iter().flat_map(|kept| kept.lines(count)).map(|line| line.text).collect()
    }
}

impl Attempts for LinuxSystem {
    fn probe(&mut self, attempt: AttemptId, start: ProbeStart) {
        let ProbeStart { checks, timeout, facts, connections } = start;
        let (helpers, results) = (self.senders.helpers.clone(), self.senders.results.clone());
        let task = probes::begin_probe(attempt, checks, timeout, facts, connections, helpers, results);
        self.attempts.insert(attempt, task);
    }

    fn hook(&mut self, attempt: AttemptId, action: Arc<Action>) {
        let (helpers, results) = (self.senders.helpers.clone(), self.senders.results.clone());
        self.attempts.insert(attempt, probes::begin_hook(attempt, action, helpers, results));
    }

    fn cancel(&mut self, attempt: AttemptId) {
        if let Some(task) = self.attempts.remove(&attempt) {
            task.abort();
        }
    }

    fn take_finished(&mut self, attempt: AttemptId) -> bool {
        self.attempts.remove(&attempt).is_some()
    }
}

impl Tombstones for LinuxSystem {
    fn write_tombstone(&mut self, of: Option<JobId>, record: &LifecycleRecord) {
        if let Some(graveyard) = &mut self.graveyard
            && let Err(error) = graveyard.carve(of, record)
        {
            log::error!("{error}");
        }
    }

    fn set_tombstone_targets(
        &mut self,
        pod: Option<&PodPlan>,
        targets: TombstoneTargets,
    ) -> Result<PeerChanges, String> {
        let peers = match (&mut self.graveyard, pod) {
            (None, None) => return Ok(Vec::new()),
            (None, Some(pod)) => {
                Graveyard::begin(pod.clone(), targets, self.clock).map(|(graveyard, peers)| {
                    self.graveyard = Some(graveyard);
                    peers
                })
            }
            // The tombstone of the pod, which the old plan names, must be written at shutdown.
            (Some(graveyard), None) if graveyard.plan().name.is_none() => graveyard.set_targets(targets),
            (Some(graveyard), Some(pod)) if pod == graveyard.plan() => graveyard.set_targets(targets),
            (Some(_), _) => {
                return Err(
                    "graveyard: a changed name, directory or list of quit requests needs a restart of sexton"
                        .to_owned(),
                );
            }
        };
        peers.map_err(|error| error.to_string())
    }

    fn remove_job(&mut self, job: JobId) {
        self.outputs.forget(job);
        if let Some(graveyard) = &mut self.graveyard {
            graveyard.forget(job);
        }
    }
}
