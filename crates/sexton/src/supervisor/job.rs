//! The supervisor's data about each process, in addition to the engine's.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use engine::{JobId, Time};

use crate::probes::{Facts, ProbeConnections};
use crate::status::ProcessInfo;
use crate::tombstones::TombstoneTargets;
use config::compile::ProcessPlan;
use spec::lock::LockPlan;
use spec::logs::LogFormat;
use spec::logs::{OutputPlan, StreamPlan};
use spec::probe::Action;
use spec::program::Program;

/// The number of restarts of a process that are remembered, for probes.
const RESTARTS_KEPT: usize = 256;

/// A process of the plan, without its settings for the engine.
pub struct SupervisedProcess {
    pub info: ProcessInfo,
    pub program: Program,
    /// The settings that only a process of `up` has.
    pub plan: Option<ProcessPlan>,
    /// It runs only while this lock is held.
    pub lock: Option<LockPlan>,
}

impl From<&ProcessPlan> for SupervisedProcess {
    fn from(plan: &ProcessPlan) -> Self {
        Self {
            info: process_info(plan),
            program: plan.program.clone(),
            plan: Some(plan.clone()),
            lock: plan.lock.clone(),
        }
    }
}

pub(super) struct Job {
    pub(super) info: ProcessInfo,
    pub(super) program: Program,
    pub(super) plan: Option<ProcessPlan>,
    pub(super) lock: Option<LockPlan>,
    pub(super) connections: [ProbeConnections; 3],
    pub(super) hooks: [Option<Arc<Action>>; 2],
    pub(super) watchdog: Option<Duration>,
    /// The times of the last restarts.
    restarts: VecDeque<Time>,
    started: Time,
    heartbeat: Option<Time>,
    /// The status that it has sent (sd_notify(3)).
    pub(super) status: Option<String>,
}

impl Job {
    pub(super) fn new(process: SupervisedProcess, plan: &engine::JobPlan, now: Time) -> Self {
        let SupervisedProcess { info, program, plan: own, lock } = process;
        let hook = |action: Option<&Option<Action>>| action.cloned().flatten().map(Arc::new);
        Self {
            hooks: [
                hook(own.as_ref().map(|own| &own.post_start)),
                hook(own.as_ref().map(|own| &own.pre_stop)),
            ],
            connections: Default::default(),
            watchdog: plan.watchdog,
            info,
            program,
            plan: own,
            lock,
            restarts: VecDeque::new(),
            started: now,
            heartbeat: None,
            status: None,
        }
    }

    pub(super) fn spawned(&mut self, now: Time, is_restart: bool) {
        if is_restart {
            self.restarts.push_back(now);
            self.restarts.drain(..self.restarts.len().saturating_sub(RESTARTS_KEPT));
        }
        (self.started, self.heartbeat, self.status) = (now, None, None);
    }

    pub(super) fn heartbeat(&mut self, now: Time) {
        self.heartbeat = Some(now);
    }

    /// What probes ask the supervisor instead of the process.
    pub(super) fn facts(&self, now: Time) -> Facts {
        Facts {
            restarts: self.restarts.iter().map(|at| now.since(*at)).collect(),
            heart_beat: now.since(self.heartbeat.unwrap_or(self.started)),
        }
    }
}

/// The published description of a process of `up`.
#[must_use]
pub fn process_info(plan: &ProcessPlan) -> ProcessInfo {
    // The text of the file, with references to variables: their values may be secrets.
    let mut arguments = plan.arguments.iter().cloned();
    ProcessInfo {
        name: plan.name.as_str().into(),
        command: arguments.next().unwrap_or_default(),
        arguments: arguments.collect(),
        ttl: Duration::ZERO,
        wait: Duration::ZERO,
        side_port: 0,
    }
}

/// The treatment of the output of a process of `up`.
#[must_use]
pub fn output_plan(plan: &ProcessPlan) -> OutputPlan {
    let stream = if plan.logs.format == LogFormat::None { StreamPlan::Discard } else { StreamPlan::Records };
    OutputPlan { stdout: stream, stderr: stream }
}

/// The peers that a plan depends on, and the tombstones that it writes. `ids` and `processes` are in the same order.
#[must_use]
pub fn tombstone_targets(plan: &engine::Plan, ids: &[JobId], processes: &[ProcessPlan]) -> TombstoneTargets {
    let peers = |expressions: &[engine::Expression]| {
        expressions.iter().flat_map(engine::Expression::peers).map(str::to_owned).collect::<Vec<_>>()
    };
    let death = plan.jobs.iter().map(|job| &job.death_dependencies).chain([&plan.pod.death_dependencies]);
    let doom: BTreeSet<String> = death.flat_map(|expressions| peers(expressions)).collect();
    let birth = plan.jobs.iter().flat_map(|job| &job.start_dependencies);
    let birth = birth.flat_map(|it| peers(std::slice::from_ref(&it.expression)));
    let tombstones = processes.iter().zip(ids);
    let tombstones = tombstones.filter_map(|(process, id)| Some((*id, process.tombstone.clone()?)));
    TombstoneTargets { awaited: birth.collect(), doom, stones: tombstones.collect() }
}
