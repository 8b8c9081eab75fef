//! The simulated world: what is true outside the engine, learned from events and effects only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::pod::Seed;
use engine::{
    AttemptId, Condition, Effect, Event, ExitRule, HookKind, JobId, JobPlan, JobSnapshot, LifecycleRecord,
    PeerStatus, Plan, Pod, PodPhase, PodSettings, ProbeKind, Request, RequestId, RunId, Signal, Snapshot,
    Time,
};

use crate::invariants::{Checked, Step};

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
    pub(crate) streak: (bool, u32),
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
    /// A signal was sent to all processes of the run.
    pub(crate) all_signalled: bool,
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
    #[expect(clippy::needless_pass_by_value, reason = "every caller makes the event")]
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
    ) -> impl Iterator<Item = (JobId, &'a JobSnapshot)> + use<'a> {
        snapshot.order.iter().copied().zip(&snapshot.jobs)
    }

    fn snapshot(&self) -> FullSnapshot {
        let Snapshot { generation, phase, jobs } = self.pod.snapshot();
        FullSnapshot { generation, phase, jobs, order: self.pod.order().to_vec() }
    }
}

/// A snapshot with the ids of its jobs.
pub(crate) struct FullSnapshot {
    pub(crate) generation: u64,
    pub(crate) phase: PodPhase,
    pub(crate) jobs: Vec<JobSnapshot>,
    pub(crate) order: Vec<JobId>,
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
