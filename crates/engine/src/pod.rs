//! A pod: all jobs together. They are started when their needs are met; when the last one has completed, the pod ends.
//!
//! ```text
//!        stop signal, request, exitFrom, restart limit, all but sidecars completed   all done
//!  Up ─────────────────────────────────────────────────────────────────► Stopping ────────► Ended
//!   │                                                                        │ on its own     ▲
//!   └─ all done ──► Lingering ─── time, signal ──────────────────────────────┼────────────────┘
//!                      ▲                                                     │
//!                      └─────────────────────────────────────────────────────┘
//! ```
//!
//! * Normal run: Up until all jobs are done, Lingering so that the status can be queried, Ended. Shutdown: Up,
//!   Stopping, Ended. `Stopping` is a latch: nothing leads back to `Up`.
//! * Start order: a job is started when all its needs are met, the first time and each time after.
//! * Stop order is the reverse: a job is sent its stop signal when all its dependents have exited. A shutdown has one
//!   time limit; the remaining time is divided among the remaining stages, and a job gets no more than its own grace
//!   period.
//! * A change of a job marks it and its neighbours in the dependency graph as dirty; only dirty jobs are re-evaluated,
//!   so that the cost of a step does not depend on the number of jobs.
//!
//! * `indexes`: the only way to change a job, and the indexes that follow; `scheduler`: start and stop order
//! * `shutdown`: signals, the end of the pod and its exit code; `requests`: client requests; `reload`: new plans
//! * `peers`: death dependencies and tombstones

mod indexes;
mod peers;
mod reload;
mod requests;
mod scheduler;
mod shutdown;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::effect::{Effect, Refusal};
use crate::event::Event;
use crate::job::Job;
use crate::peer::{LifecycleRecord, Peers};
use crate::plan::{Plan, PodSettings};
use crate::rng::Rng;
use crate::snapshot::{JobSnapshot, PodPhase, Snapshot};
use crate::{AttemptId, JobId, RunId, Time};

/// The state machine of a pod. See the [page of the crate](crate) for how it is driven.
#[derive(Debug, Clone)]
pub struct Pod {
    settings: PodSettings,
    /// By id. A job that was removed by a reload keeps its entry.
    jobs: Vec<Job>,
    /// The jobs in plan order, followed by those that are being removed by a reload.
    order: Vec<JobId>,
    /// The jobs that need a job, by its id.
    dependents: Vec<Vec<JobId>>,
    /// The number of shutdown stages from a job on, by its id.
    stages: Vec<u32>,
    /// Jobs that were removed and have not stopped, by name: no other job of that name is started.
    retiring: BTreeMap<String, BTreeSet<JobId>>,
    /// Jobs of the plan, by name.
    planned: BTreeMap<String, JobId>,
    phase: PodPhase,
    /// The time limit of the shutdown.
    end_by: Option<Time>,
    /// The shutdown was requested: not all processes ended on their own.
    stop_requested: bool,
    /// Fast shutdown: stop order and preStop hooks are skipped.
    fast_shutdown: bool,
    began: bool,
    next_id: u64,
    rng: Rng,
    generation: u64,
    runs: BTreeMap<RunId, JobId>,
    attempts: BTreeMap<AttemptId, JobId>,
    timers: BTreeSet<(Time, JobId)>,
    /// Jobs to be re-evaluated by the scheduler.
    dirty: BTreeSet<JobId>,
    /// Jobs that have changed since [`Pod::take_changed`].
    changed: BTreeSet<JobId>,
    /// Visible state has changed in this step.
    touched: bool,
    /// Number of jobs that are not done.
    undone: usize,
    /// Number of jobs, without sidecars, that keep the pod from completing.
    unfinished: usize,
    /// Number of unhealthy jobs.
    unhealthy: usize,
    /// The job that determines the exit code by failing first, and its code.
    failed: Option<(JobId, i32)>,
    peers: Peers,
    /// Jobs whose tombstones may have to be written.
    to_record: BTreeSet<JobId>,
    /// When the first process was started.
    born: Option<Time>,
    /// The last tombstone of the pod.
    record: Option<LifecycleRecord>,
}

/// The initial state of a [`Pod`]: together with the events, all that is needed to replay it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seed {
    pub plan: Plan,
    /// The seed of the random numbers.
    pub seed: u64,
}

impl Pod {
    /// Returns a pod that waits for [`Event::Started`].
    #[must_use]
    pub fn new(Seed { plan, seed }: Seed) -> Self {
        let mut this = Self {
            settings: plan.pod,
            jobs: Vec::new(),
            order: Vec::new(),
            dependents: Vec::new(),
            stages: Vec::new(),
            retiring: BTreeMap::new(),
            planned: BTreeMap::new(),
            phase: PodPhase::Up,
            end_by: None,
            stop_requested: false,
            fast_shutdown: false,
            began: false,
            next_id: 1,
            rng: Rng::new(seed),
            generation: 0,
            runs: BTreeMap::new(),
            attempts: BTreeMap::new(),
            timers: BTreeSet::new(),
            dirty: BTreeSet::new(),
            changed: BTreeSet::new(),
            touched: false,
            undone: 0,
            unfinished: 0,
            unhealthy: 0,
            failed: None,
            peers: Peers::default(),
            to_record: BTreeSet::new(),
            born: None,
            record: None,
        };
        this.install((0..).map(JobId).zip(plan.jobs).collect());
        this
    }

    /// Handles an event and appends the resulting effects to `effects`.
    ///
    /// Any event is valid at any time. One that is about an older run, or comes after the end, has no effect.
    pub fn step(&mut self, now: Time, event: Event, effects: &mut Vec<Effect>) {
        if matches!(self.phase, PodPhase::Ended { .. }) {
            if let Event::Requested { request, .. } | Event::Reloaded { request, .. } = event {
                effects.push(Effect::Respond { request, response: Err(Refusal::ShuttingDown) });
            }
            return;
        }
        let before = (effects.len(), self.phase.clone());
        match event {
            Event::Started => self.started(now, effects),
            Event::TimerFired => self.timer_fired(now, effects),
            Event::Signalled(signal) => self.signalled(signal, now, effects),
            Event::Spawned(run) => self.of_run(run, now, effects, |job, cx| job.spawned(run, cx)),
            Event::SpawnFailed(run, error) => {
                self.of_run(run, now, effects, |job, cx| job.spawn_failed(run, error, cx));
            }
            Event::Exited { run, exit, leftovers, out_of_memory } => {
                self.of_run(run, now, effects, |job, cx| job.exited(run, exit, leftovers, out_of_memory, cx));
            }
            Event::Cleared(run) => self.of_run(run, now, effects, |job, cx| job.cleared(run, cx)),
            Event::Suspended(run, signal) => {
                self.of_run(run, now, effects, |job, cx| job.suspended(run, signal, cx));
            }
            Event::Resumed(run) => self.of_run(run, now, effects, |job, cx| job.resumed(run, cx)),
            Event::Probed { attempt, result } => {
                self.of_attempt(attempt, now, effects, |job, cx| job.probed(attempt, result, cx));
            }
            Event::HookFinished { attempt, failed } => {
                self.of_attempt(attempt, now, effects, |job, cx| job.hook_finished(attempt, failed, cx));
            }
            Event::Notified(run, message) => {
                self.of_run(run, now, effects, |job, cx| job.notified(run, message, cx));
            }
            Event::OverMemory { run, used, limit } => {
                self.of_run(run, now, effects, |job, cx| job.over_memory(run, used, limit, cx));
            }
            Event::Won(run) => self.of_run(run, now, effects, |job, cx| job.won(run, cx)),
            Event::Campaigning(run, why) => {
                self.of_run(run, now, effects, |job, cx| job.campaigns(run, why, cx));
            }
            Event::Lost { run, why, gone_by } => {
                self.of_run(run, now, effects, |job, cx| job.lost(run, why, gone_by, cx));
            }
            Event::PeerChanged { peer, status } => {
                if self.peers.update(peer, status, self.settings.rebirth, now) {
                    self.on_peers_changed(now, effects);
                }
            }
            Event::Requested { request, action } => self.requested(request, action, now, effects),
            Event::Reloaded { request, jobs, pod } => self.reloaded(request, jobs, pod, now, effects),
        }
        self.reconcile(now, effects);
        self.end_when_done(now, effects);
        self.write_tombstones(before.0, now, effects);
        let touched = std::mem::take(&mut self.touched);
        if touched || before != (effects.len(), self.phase.clone()) {
            self.generation += 1;
        }
    }

    fn started(&mut self, now: Time, out: &mut Vec<Effect>) {
        if !self.began && self.phase == PodPhase::Up {
            self.began = true;
            self.dirty.extend(self.order.iter().copied());
            self.on_peers_changed(now, out);
        }
    }

    fn timer_fired(&mut self, now: Time, out: &mut Vec<Effect>) {
        let due: Vec<_> = self.timers.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        for id in due {
            self.with(id, now, out, Job::timer_fired);
            self.dirty.insert(id);
        }
        if self.peers.expire_old_deaths(now) {
            self.on_peers_changed(now, out);
        }
        if let PodPhase::Lingering { until } = self.phase
            && until <= now
        {
            self.end(out);
        }
    }

    /// When to send [`Event::TimerFired`]; None: no deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let own = match self.phase {
            PodPhase::Lingering { until } => Some(until),
            PodPhase::Up | PodPhase::Stopping { .. } | PodPhase::Ended { .. } => None,
        };
        let peers = self.peers.deadline().filter(|_| self.phase == PodPhase::Up);
        self.timers.first().map(|(at, _)| *at).into_iter().chain(own).chain(peers).min()
    }

    /// The state for status queries.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            generation: self.generation,
            phase: self.phase.clone(),
            jobs: self.order.iter().map(|id| self.jobs[id.0].snapshot()).collect(),
        }
    }

    /// Increases with each step that changed something.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The phase of the pod.
    #[must_use]
    pub const fn phase(&self) -> &PodPhase {
        &self.phase
    }

    /// The time limit of the shutdown, if there is one.
    #[must_use]
    pub const fn end_by(&self) -> Option<Time> {
        self.end_by
    }

    /// The settings of the pod as a whole.
    #[must_use]
    pub const fn settings(&self) -> &PodSettings {
        &self.settings
    }

    /// Whether a shutdown was requested before all processes ended on their own.
    #[must_use]
    pub const fn stop_requested(&self) -> bool {
        self.stop_requested
    }

    /// The jobs in plan order.
    #[must_use]
    pub fn order(&self) -> &[JobId] {
        &self.order
    }

    /// The number of jobs, including removed ones: the id of the next new job.
    #[must_use]
    pub const fn job_count(&self) -> usize {
        self.jobs.len()
    }

    /// The state of a job.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<JobSnapshot> {
        self.jobs.get(id.0).map(Job::snapshot)
    }

    /// The job of a run, while a process of the run is left.
    #[must_use]
    pub fn job_of(&self, run: RunId) -> Option<JobId> {
        self.runs.get(&run).copied()
    }

    /// Returns the jobs that have changed since the last call.
    pub fn take_changed(&mut self) -> BTreeSet<JobId> {
        std::mem::take(&mut self.changed)
    }
}
