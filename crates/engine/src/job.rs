//! The lifecycle of one process.
//!
//! ```text
//!        needs met        Spawned                TTL, probe, hook, stop
//! Waiting ───────► Starting ─────► Running ─────────────────────────────► Draining
//!    ▲              │                │ │                  no preStop hook │ │ hook finished or timed out
//!    │  SpawnFailed │                │ └──────────────────────────────────┼─┤
//!    │              │         Exited │                                    │ ▼ stop signal
//!    │              │                │    Exited, leftovers               │ Stopping
//!    │              │                ├────────────────────────────────────┼►│ │ grace period over
//!    │              │                │                                    │ │ ▼
//!    │              │                │                                    │ │ Killing ──┐ abandon_at:
//!    │              ▼                ▼ Exited                             ▼ ▼ │ ▲       │ SIGKILL again,
//!    │     (decide_after_exit) ◄─────────────────────── Exited, Cleared ────┴─┘ └───────┘ or abandon it
//!    │ retry_at     │  │
//!  Pausing ◄────────┘  └─► Done: completed, stopped on request, restart limit, dependency failed
//! ```
//!
//! * Each phase owns its deadlines and the run it is about: leaving a phase cancels its timer, so a stale timer cannot
//!   exist. The [state of the running process](running::RunningState) moves from phase to phase.
//! * What is intended ([`Intent`]) is separate from what is ([`Phase`]). A stop request is valid in every phase. Only a
//!   stop requested by a client can be reverted.
//! * Normal run: Waiting, Starting, Running, Done. Stop: Running, Stopping (signal sent), Done. Stop of a process that
//!   ignores the signal: Running, Stopping, Killing, Done.
//! * In an ordered shutdown the intent comes first and prevents restarts; the signal is sent when the [pod](crate::pod)
//!   finds that all dependents have exited.
//! * A process that exits and leaves others behind goes through Stopping too, with `exit` known: what is left gets the
//!   same signal, grace period and SIGKILL. The next run starts when no process is left.
//! * Failures: a process that cannot be started counts as exited with 127 or 126; if the plan says that the first start
//!   must succeed, the job is Done at once.
//! * A job that needs a lease is Campaigning between Waiting and Starting; see [`lock`].
//! * A process that is still alive after SIGKILL (uninterruptible sleep) is waited for as long as it would be
//!   restarted, since there must never be two; in a permanent stop it is abandoned after a while.
//!
//! * `phases`: intent, phase and result types; `context`: inputs and outputs of a step
//! * `running`: probes, hooks and notifications of a running process
//! * `run`: start, and the events of a run; `stop`: from the stop request to SIGKILL; `restart`: decisions after an
//!   exit
//! * `requests`, [`lock`], `peers`: client requests, leases, start dependencies and tombstones
//! * `view`: conditions, exit code and snapshot for others

mod context;
mod lock;
mod peers;
mod phases;
mod requests;
mod restart;
mod run;
mod running;
mod stop;
mod view;

pub(crate) use context::Context;
pub(crate) use phases::{Intent, Phase};

use lock::LeaseHold;
use phases::RunResult;
use requests::PendingRequest;
use running::{Probing, RunningState};

use crate::backoff::Restarts;
use crate::cause::TerminalReason;
use crate::job_event::JobEventKind;
use crate::peer::LifecycleRecord;
use crate::plan::JobPlan;
use crate::{JobId, RequestId, RunId, Time};

/// A process of the plan and its state.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    id: JobId,
    pub(crate) plan: JobPlan,
    pub(crate) intent: Intent,
    pub(crate) phase: Phase,
    phase_since: Time,
    /// Number of processes started.
    pub(crate) starts: u64,
    started_at: Option<Time>,
    newest_run: RunId,
    lease: Option<LeaseHold>,
    last: Option<(RunResult, Time)>,
    /// Consecutive runs that did not reset the back-off delay.
    streak: u32,
    restarts: Restarts,
    /// The pending conditions that were published last.
    waits_for: Option<String>,
    /// It was removed from the configuration.
    pub(crate) retired: bool,
    requests: Vec<(RequestId, PendingRequest)>,
    /// First start since it was last Done.
    born: Option<Time>,
    /// It has left Done since the last tombstone: the recorded death is outdated.
    revived: bool,
    /// The last tombstone.
    record: Option<LifecycleRecord>,
}

impl Job {
    pub(crate) fn new(id: JobId, plan: JobPlan) -> Self {
        Self {
            id,
            plan,
            intent: Intent::Up,
            phase: Phase::WAITING,
            phase_since: Time::ZERO,
            starts: 0,
            started_at: None,
            newest_run: RunId(0),
            lease: None,
            last: None,
            streak: 0,
            restarts: Restarts::default(),
            waits_for: None,
            retired: false,
            requests: Vec::new(),
            born: None,
            revived: false,
            record: None,
        }
    }

    fn running(&self) -> Option<&RunningState> {
        match &self.phase {
            Phase::Running(state)
            | Phase::Draining { state, .. }
            | Phase::Stopping { state, .. }
            | Phase::Killing { state, .. } => Some(state),
            Phase::Waiting { .. }
            | Phase::Campaigning { .. }
            | Phase::Starting { .. }
            | Phase::Pausing { .. }
            | Phase::Done(_) => None,
        }
    }

    fn running_mut(&mut self) -> Option<(&mut RunningState, &JobPlan)> {
        match &mut self.phase {
            Phase::Running(state)
            | Phase::Draining { state, .. }
            | Phase::Stopping { state, .. }
            | Phase::Killing { state, .. } => Some((state, &self.plan)),
            Phase::Waiting { .. }
            | Phase::Campaigning { .. }
            | Phase::Starting { .. }
            | Phase::Pausing { .. }
            | Phase::Done(_) => None,
        }
    }

    /// The current run.
    pub(crate) fn run(&self) -> Option<RunId> {
        match &self.phase {
            Phase::Campaigning { run, .. } | Phase::Starting { run, .. } => Some(*run),
            _ => self.running().map(|state| state.run),
        }
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done(_))
    }

    pub(crate) const fn is_wanted(&self) -> bool {
        matches!(self.intent, Intent::Up)
    }

    const fn probing(&self) -> Probing {
        match (&self.phase, &self.intent) {
            (Phase::Running(_), Intent::Up) => Probing::All,
            _ => Probing::Ending,
        }
    }

    /// When [`Job::timer_fired`] must be called.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let of_state = |state: &RunningState| state.deadline(&self.plan, self.probing());
        match &self.phase {
            Phase::Running(state) => of_state(state),
            Phase::Draining { state, until, .. } => of_state(state).into_iter().chain([*until]).min(),
            Phase::Stopping { state, exit: None, kill_at, .. } => {
                of_state(state).into_iter().chain([*kill_at]).min()
            }
            Phase::Stopping { kill_at, .. } => Some(*kill_at),
            Phase::Killing { abandon_at, .. } => Some(*abandon_at),
            Phase::Pausing { retry_at, .. } => Some(*retry_at),
            Phase::Waiting { until, .. } => *until,
            Phase::Campaigning { .. } | Phase::Starting { .. } | Phase::Done(_) => None,
        }
    }

    /// Acts on what has changed. To be called after each change.
    pub(crate) fn review(&mut self, cx: &mut Context<'_>) {
        if self.is_wanted()
            && let Phase::Running(state) = &mut self.phase
        {
            state.review(self.id, &self.plan, cx);
        }
        self.answer_requests(cx);
    }

    fn enter(&mut self, phase: Phase, cx: &mut Context<'_>) {
        if self.is_done() && !matches!(phase, Phase::Done(_)) {
            self.born = None;
            self.revived = true;
        }
        self.phase = phase;
        self.phase_since = cx.now;
        self.resign_if_over(cx);
    }

    fn finish(&mut self, reason: TerminalReason, cx: &mut Context<'_>) {
        self.waits_for = None;
        self.enter(Phase::Done(reason), cx);
        self.publish(None, JobEventKind::Done, cx);
    }

    fn publish(&self, run: Option<RunId>, kind: JobEventKind, cx: &mut Context<'_>) {
        cx.publish(self.id, run, kind);
    }
}
