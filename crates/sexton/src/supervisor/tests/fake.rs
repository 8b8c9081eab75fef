//! A system that records what the supervisor does to it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::{
    AttemptId, Event, Exit, JobId, LifecycleRecord, RunId, Signal, SignalScope, SpawnError, SpawnErrorKind,
    Time,
};
use tokio::sync::oneshot;

use super::super::system::{
    Attempts, Host, JobControl, Locks, Outputs, ProbeStart, ProcessStart, Processes, ServiceState, Tombstones,
};
use super::super::{PeerChanges, SupervisedProcess, Supervisor, SupervisorEvent, UpState, first_view};
use crate::control::{Command, ControlError};
use crate::probes::SpawnRequest;
use crate::status::hub::Hub;
use crate::tombstones::TombstoneTargets;
use config::compile;
use config::compile::{CliOverrides, ConfigError, ProcessPlan, Source, UpPlan};
use linux::clock::Clock;
use linux::process_table::{ReapedEvent, RunEvent};
use linux::terminal::AfterSuspension;
use spec::lock::LockPlan;
use spec::pod::PodPlan;
use spec::probe::Action;
use spec::program::Pid;

/// Records calls as text, and lets tests decide their results.
#[derive(Default)]
pub(super) struct Fake {
    now: Time,
    calls: RefCell<Vec<String>>,
    names: BTreeMap<JobId, String>,
    running: BTreeMap<RunId, Pid>,
    /// What the next call of `reap` returns.
    reaped: Vec<ReapedEvent>,
    leftovers: bool,
    attempts: BTreeSet<AttemptId>,
    /// Runs with a lock that they want or hold.
    locks: BTreeSet<RunId>,
    /// The message of the error of each attempt to spawn.
    pub(super) spawn_error: Option<&'static str>,
    /// How long each attempt to spawn takes.
    pub(super) spawn_time: Duration,
    /// The text of the configuration file.
    pub(super) configuration: &'static str,
    /// To see what is published at the time of a call.
    hub: Option<Arc<Hub>>,
}

impl Fake {
    fn call(&self, call: impl Into<String>) {
        self.calls.borrow_mut().push(call.into());
    }

    fn name(&self, job: JobId) -> &str {
        self.names.get(&job).map_or("?", String::as_str)
    }
}

impl Host for Fake {
    fn now(&self) -> Time {
        self.now
    }

    fn write_journal(&mut self, _: Time, event: &Event) {
        if let Event::Exited { run, .. } | Event::SpawnFailed(run, _) = event {
            let what = if matches!(event, Event::Exited { .. }) { "exit" } else { "failed spawn" };
            self.call(format!("journal: {what} of {}", run.0));
        }
    }

    fn notify(&self, state: ServiceState, status: &str) {
        self.call(format!("notify {state:?}: {status}"));
    }

    fn load_configuration(&self, up: &UpState) -> Result<UpPlan, ConfigError> {
        plan_of(self.configuration)
            .map_err(|problem| ConfigError { source: up.source.to_string(), problems: vec![problem] })
    }

    fn set_readiness_file(&mut self, _: &Path, present: bool) -> io::Result<()> {
        self.call(if present { "create readiness file" } else { "remove readiness file" });
        Ok(())
    }

    fn write_termination_message(&mut self, _: &Path, text: &str) {
        let over = self.hub.as_ref().is_some_and(|hub| hub.view().over);
        let first = text.lines().next().unwrap_or_default();
        let first = first.split(" at ").next().unwrap_or_default();
        self.call(format!("termination message, {}published: {first}", if over { "" } else { "not " }));
    }
}

impl Processes for Fake {
    fn spawn(&mut self, start: &ProcessStart<'_>) -> Result<(), SpawnError> {
        self.now = self.now + self.spawn_time;
        self.call(format!("spawn {} as {}", self.name(start.job), start.run.0));
        if let Some(message) = self.spawn_error {
            return Err(SpawnError { kind: SpawnErrorKind::System, message: message.to_owned() });
        }
        self.running.insert(start.run, 1000 + Pid::try_from(start.run.0).unwrap_or(0));
        Ok(())
    }

    fn spawn_helper(&mut self, _: SpawnRequest) {
        self.call("spawn helper");
    }

    fn signal(&mut self, run: RunId, signal: Signal, _: SignalScope) {
        // Each stop signal is followed by SIGCONT, which is left out.
        if signal != Signal::CONT {
            self.call(format!("signal {}: {signal}", run.0));
        }
    }

    fn signal_escaped(&mut self) {}

    fn reap(&mut self) -> Vec<ReapedEvent> {
        for ReapedEvent { run, what } in &self.reaped {
            if matches!(what, RunEvent::Exited { .. }) {
                self.running.remove(run);
            }
        }
        std::mem::take(&mut self.reaped)
    }

    fn pid(&self, run: RunId) -> Option<Pid> {
        self.running.get(&run).copied()
    }

    fn abandon(&mut self, run: RunId) {
        self.call(format!("abandon {}", run.0));
    }

    fn any_leftovers(&self) -> bool {
        self.leftovers
    }

    fn without_memory_limit(&self) -> Vec<(RunId, Pid)> {
        self.running.iter().map(|(run, pid)| (*run, *pid)).collect()
    }

    fn measure_memory(&mut self, limits: Vec<(RunId, Pid, u64)>) {
        for (run, _, limit) in limits {
            self.call(format!("measure memory of {}: limit {limit}", run.0));
        }
    }

    fn limits_cpu(&self) -> bool {
        false
    }
}

impl JobControl for Fake {
    fn foreground_suspended(&self, _: Pid, _: Signal) -> Option<AfterSuspension> {
        None
    }

    fn foreground_resumed(&self, _: Pid) {}

    fn suspend_self(&self, signal: Signal) -> AfterSuspension {
        self.call(format!("suspend: {signal}"));
        AfterSuspension::Wait
    }
}

impl Outputs for Fake {
    fn plan_output(&mut self, job: JobId, plan: &ProcessPlan) -> io::Result<()> {
        self.names.insert(job, plan.name.clone());
        self.call(format!("plan output of {}", plan.name));
        Ok(())
    }

    fn process_exited(&mut self, run: RunId, _: Exit, leftovers: bool) {
        self.call(format!("{} output of {}", if leftovers { "drain" } else { "close" }, run.0));
    }

    fn run_cleared(&mut self, run: RunId) {
        self.call(format!("close output of {}", run.0));
    }

    fn last_lines(&self, _: JobId, _: usize) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

impl Attempts for Fake {
    fn probe(&mut self, attempt: AttemptId, _: ProbeStart) {
        self.attempts.insert(attempt);
        self.call(format!("probe {}", attempt.0));
    }

    fn hook(&mut self, attempt: AttemptId, _: Arc<Action>) {
        self.attempts.insert(attempt);
        self.call(format!("hook {}", attempt.0));
    }

    fn cancel(&mut self, attempt: AttemptId) {
        self.attempts.remove(&attempt);
        self.call(format!("cancel {}", attempt.0));
    }

    fn take_finished(&mut self, attempt: AttemptId) -> bool {
        self.attempts.remove(&attempt)
    }
}

impl Locks for Fake {
    fn campaign(&mut self, run: RunId, _: &str, lock: &LockPlan) {
        self.locks.insert(run);
        self.call(format!("acquire {} for {}", lock.name, run.0));
    }

    fn resign(&mut self, run: RunId) {
        self.locks.remove(&run);
        self.call(format!("release lock of {}", run.0));
    }

    fn set_fence(&mut self, run: RunId, _: u64) -> bool {
        self.locks.contains(&run)
    }

    fn ensure_guard(&mut self) {
        self.call("ensure guard");
    }
}

impl Tombstones for Fake {
    fn write_tombstone(&mut self, of: Option<JobId>, record: &LifecycleRecord) {
        let name = of.map_or("pod", |job| self.name(job));
        let state = match record {
            LifecycleRecord { died: Some(_), .. } => "died",
            LifecycleRecord { ready: Some(_), .. } => "ready",
            LifecycleRecord { born: Some(_), .. } => "born",
            _ => "not born",
        };
        let published = self.hub.as_ref().map_or(String::new(), |hub| {
            hub.view().processes.iter().map(|process| process.status.label()).collect::<Vec<_>>().join(",")
        });
        self.call(format!("tombstone of {name}: {state}; published: {published}"));
    }

    fn set_tombstone_targets(
        &mut self,
        _: Option<&PodPlan>,
        _: TombstoneTargets,
    ) -> Result<PeerChanges, String> {
        Ok(Vec::new())
    }

    fn remove_job(&mut self, job: JobId) {
        self.call(format!("remove {}", self.name(job)));
    }
}

fn plan_of(text: &str) -> Result<UpPlan, String> {
    let environment: BTreeMap<&str, &str> = BTreeMap::new();
    compile::from_text(text, None, &CliOverrides::default(), &environment)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// A supervisor of `up` for this configuration that has started, and spawned what does not wait for anything.
pub(super) fn started(configuration: &'static str) -> Supervisor<Fake> {
    let plan = plan_of(configuration).unwrap_or_else(|problem| panic!("{problem}"));
    let clock = Clock::begin();
    let seed = engine::pod::Seed { plan: plan.plan.clone(), seed: 1 };
    let processes: Vec<_> = plan.processes.iter().map(SupervisedProcess::from).collect();
    let infos: Vec<_> = processes.iter().map(|process| &process.info).collect();
    let hub = Arc::new(Hub::new(first_view("up", &infos, &seed, true, clock)));
    let ids: Vec<_> = (0..processes.len()).map(JobId).collect();
    let names = ids.iter().zip(&plan.processes).map(|(id, process)| (*id, process.name.clone()));
    let fake = Fake {
        names: names.collect(),
        configuration,
        hub: Some(Arc::clone(&hub)),
        now: Time::ZERO + Duration::from_secs(1),
        ..Fake::default()
    };
    let up = UpState {
        source: Source::Variable(configuration.into()),
        overrides: CliOverrides::default(),
        plan,
        ids,
        termination_log: "/dev/termination-log".into(),
    };
    let mut supervisor = Supervisor::new(fake, "up", seed, clock, processes, hub, Some(up));
    supervisor.handle(SupervisorEvent::Started { peers: Vec::new() });
    supervisor.settle();
    supervisor
}

/// The reply to a request.
pub(super) type Answer<T> = oneshot::Receiver<Result<T, ControlError>>;

impl Supervisor<Fake> {
    /// Handles all timers that are due.
    pub(super) fn settle(&mut self) {
        while self.exit.is_none() && self.is_due() {
            self.handle(SupervisorEvent::TimerFired);
        }
    }

    pub(super) fn system_time(&self) -> Time {
        self.system.now
    }

    /// Lets time pass without handling timers.
    pub(super) fn system_advance(&mut self, time: Duration) {
        self.system.now = self.system.now + time;
    }

    /// Lets time pass, and handles the timers that are due then.
    pub(super) fn advance(&mut self, time: Duration) {
        self.system_advance(time);
        self.settle();
    }

    /// A signal is received.
    pub(super) fn receive(&mut self, signal: Signal) {
        self.handle(SupervisorEvent::Signals(vec![signal]));
        self.settle();
    }

    /// The process of a run exits.
    pub(super) fn exit_of(&mut self, run: u64, exit: Exit) {
        self.reaps(run, RunEvent::Exited { exit, leftovers: false, out_of_memory: false });
        self.receive(Signal::CHLD);
    }

    /// The next call of `reap` returns this.
    pub(super) fn reaps(&mut self, run: u64, what: RunEvent) {
        self.system.leftovers = matches!(what, RunEvent::Exited { leftovers: true, .. });
        self.system.reaped.push(ReapedEvent { run: RunId(run), what });
    }

    /// Handles a request of a client.
    pub(super) fn ask<T>(
        &mut self,
        command: impl FnOnce(oneshot::Sender<Result<T, ControlError>>) -> Command,
    ) -> Answer<T> {
        let (reply, answer) = oneshot::channel();
        self.handle(SupervisorEvent::Command(command(reply)));
        self.settle();
        answer
    }

    /// The calls since the last time, less those that start with a word of `except`.
    pub(super) fn calls_except(&mut self, except: &[&str]) -> Vec<String> {
        let mut calls = self.system.calls.take();
        calls.retain(|call| !except.iter().any(|word| call.starts_with(word)));
        calls
    }

    /// The calls since the last time.
    pub(super) fn calls(&mut self) -> Vec<String> {
        self.calls_except(&[])
    }
}
