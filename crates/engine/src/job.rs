//! The life of one process.
//!
//! ```text
//!        needs hold       Spawned                TTL, probe, hook, stop
//! Waiting ───────► Starting ─────► Running ─────────────────────────────► Draining
//!    ▲              │                │ │                  no preStop hook │ │ hook done, or its time over
//!    │  SpawnFailed │                │ └──────────────────────────────────┼─┤
//!    │              │         Exited │                                    │ ▼ stop signal
//!    │              │                │    Exited, leftovers               │ Stopping
//!    │              │                ├────────────────────────────────────┼►│ │ grace over
//!    │              │                │                                    │ │ ▼
//!    │              │                │                                    │ │ Killing ──┐ abandon_at:
//!    │              ▼                ▼ Exited                             ▼ ▼ │ ▲       │ KILL again,
//!    │            (settle) ◄──────────────────────── Exited, Cleared ───────┴─┘ └───────┘ or give it up
//!    │ retry_at     │  │
//!  Pausing ◄────────┘  └─► Done: over by itself, stopped on request, given up, or what it needs has failed
//! ```
//!
//! * Each phase holds the deadlines and the run it is about, and nothing else does: to leave a phase is to
//!   cancel its timer, so a stale timer cannot exist. What is known of a process that is there [`RunningState`]
//!   goes from phase to phase with it.
//! * What is wished ([`Intent`]) is a field of its own beside what is ([`Phase`]). A wish for the end is
//!   legal in every phase. Only one that came by request can be taken back.
//! * The happy path of `run`: Waiting, Starting, Running, Done. Of a stop: Running, Stopping (signal sent),
//!   Done; or, deaf to the signal: Running, Stopping, Killing, Done.
//! * Many are stopped in order: the wish comes first and stops every restart, the signal comes when the
//!   [pod](crate::pod) says that it is its turn.
//! * A process that ends and leaves others behind goes through Stopping too, with `exit` known: what is left
//!   gets the same signal, the same grace and the same KILL. The next run begins when nothing is left.
//! * The failing path: not startable at all (no such program) is as if the process had ended badly, with
//!   127 or 126; where the plan says that the first start must succeed, it is Done at once.
//! * A process that runs only while we hold what only one can hold is Campaigning between Waiting and Starting;
//!   [`lease`] has the rest of that.
//! * A process that KILL does not end (uninterruptible sleep) is waited for as long as it is to be
//!   restarted, since there must never be two; once it is to end for good it is given up after a while.

mod lease;
mod peers;
mod requests;

use std::collections::BTreeMap;
use std::time::Duration;

use lease::LeaseHold;
use requests::{PendingRequest, answer};

use crate::backoff::{self, Restarts};
use crate::event::{
    Cause, Effect, HookKind, JobEvent, JobEventKind, NotifyMessage, Refusal, SignalScope, SpawnError,
    SpawnErrorKind, TerminalReason,
};
use crate::peer::LifecycleRecord;
use crate::plan::{Condition, JobPlan, Policy, StartLimitAction};
use crate::probe::ProbeResult;
use crate::rng::Rng;
use crate::running::{Probing, RunningState, probe_plan};
use crate::{AttemptId, Exit, JobId, RequestId, RunId, Signal, Time};

/// KILL is not sent to the same process again before this, whatever the plan says.
pub(crate) const BETWEEN_KILLS: Duration = Duration::from_millis(100);

/// A start that failed is not tried again before this, whatever the plan says.
const BETWEEN_FAILED_STARTS: Duration = Duration::from_millis(100);

/// The most time that a process may ask for at once, while it is ending.
const MOST_MORE_TIME: Duration = Duration::from_secs(3600);

/// What a preStop hook leaves of the grace for the signal, as the kubelet has it.
const LEFT_FOR_THE_SIGNAL: Duration = Duration::from_secs(2);

/// What is wished for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intent {
    /// It shall run, as its restart policy has it.
    Up,
    /// It shall end for good.
    Down {
        cause: Cause,
        /// What it is sent, when it is its turn.
        signal: Signal,
    },
}

/// What is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// To be started as soon as what it needs holds; since when it has been peers that it waits for, and when
    /// the patience with the next of them is over.
    Waiting { since: Option<Time>, until: Option<Time> },
    /// All that it needs holds but this: what only one can hold has to be ours. `since` as in Waiting.
    Campaigning { run: RunId, since: Option<Time>, won: bool },
    /// The driver was asked to start it.
    Starting { run: RunId },
    /// It is there.
    Running(Box<RunningState>),
    /// Its preStop hook is carried out, before it is asked to end.
    Draining {
        life: Box<RunningState>,
        why: Cause,
        signal: Signal,
        attempt: AttemptId,
        until: Time,
        kill_at: Time,
    },
    /// It, or what it left behind (then `exit` is known), was asked to end.
    Stopping { life: Box<RunningState>, exit: Option<Exit>, why: Cause, kill_at: Time },
    /// It, or what it left behind, was sent KILL.
    Killing { life: Box<RunningState>, exit: Option<Exit>, why: Cause, abandon_at: Time },
    /// It will be started again.
    Pausing { retry_at: Time, cause: Cause },
    /// It is not there, and will not be by itself.
    Done(TerminalReason),
}

impl Phase {
    pub(crate) const WAITING: Self = Self::Waiting { since: None, until: None };
}

/// How the last attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunResult {
    Exited {
        exit: Exit,
        by: Option<Cause>,
        out_of_memory: bool,
    },
    SpawnFailed(SpawnError),
    /// It waited so long for this, in vain.
    DependencyTimedOut(String, Duration),
    Abandoned,
}

/// The exit code of what waited in vain for others, as kubexit has it.
pub(crate) const NOT_BORN: i32 = 1;

/// One process of the plan and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    id: JobId,
    pub(crate) plan: JobPlan,
    pub(crate) intent: Intent,
    pub(crate) phase: Phase,
    pub(crate) phase_since: Time,
    /// How often a process of it was there.
    pub(crate) starts: u64,
    pub(crate) started_at: Option<Time>,
    newest_run: RunId,
    lease: Option<LeaseHold>,
    pub(crate) last: Option<(RunResult, Time)>,
    /// Runs in a row that did not last.
    streak: u32,
    restarts: Restarts,
    /// What was told last of what it waits for.
    pub(crate) waits_for: Option<String>,
    /// It is not planned any more.
    pub(crate) retired: bool,
    requests: Vec<(RequestId, PendingRequest)>,
    /// When it was there first, since it was done last.
    born: Option<Time>,
    /// It was done and is not any more, or was not in between: its death of before is none of this life.
    risen: bool,
    /// What others were told of it last.
    carved: Option<LifecycleRecord>,
}

/// What a step may use and fill.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) next_id: &'a mut u64,
    pub(crate) rng: &'a mut Rng,
    pub(crate) attempts: &'a mut BTreeMap<AttemptId, JobId>,
    pub(crate) out: &'a mut Vec<Effect>,
    /// Something that others may see has changed without being news.
    pub(crate) touched: bool,
}

impl Context<'_> {
    fn number(&mut self) -> u64 {
        let number = *self.next_id;
        *self.next_id += 1;
        number
    }

    /// A new attempt, about which news will come.
    pub(crate) fn attempt(&mut self, job: JobId) -> AttemptId {
        let attempt = AttemptId(self.number());
        self.attempts.insert(attempt, job);
        attempt
    }

    /// An attempt is not wanted any more.
    pub(crate) fn abort(&mut self, attempt: AttemptId) {
        if self.attempts.remove(&attempt).is_some() {
            self.out.push(Effect::Abort(attempt));
        }
    }
}

/// Who tells news.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventEmitter {
    pub(crate) job: JobId,
}

impl EventEmitter {
    pub(crate) fn tell(self, run: Option<RunId>, kind: JobEventKind, cx: &mut Context<'_>) {
        cx.out.push(Effect::Publish(JobEvent { at: cx.now, job: self.job, run, kind }));
    }
}

/// What holds of a process, as far as others wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConditionStatus {
    Met,
    Pending,
    /// Not any more, unless somebody interferes.
    Impossible,
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
            risen: false,
            carved: None,
        }
    }

    // === what others ask ===

    pub(crate) fn life(&self) -> Option<&RunningState> {
        match &self.phase {
            Phase::Running(life)
            | Phase::Draining { life, .. }
            | Phase::Stopping { life, .. }
            | Phase::Killing { life, .. } => Some(life),
            Phase::Waiting { .. }
            | Phase::Campaigning { .. }
            | Phase::Starting { .. }
            | Phase::Pausing { .. }
            | Phase::Done(_) => None,
        }
    }

    fn life_mut(&mut self) -> Option<(&mut RunningState, &JobPlan)> {
        match &mut self.phase {
            Phase::Running(life)
            | Phase::Draining { life, .. }
            | Phase::Stopping { life, .. }
            | Phase::Killing { life, .. } => Some((life, &self.plan)),
            Phase::Waiting { .. }
            | Phase::Campaigning { .. }
            | Phase::Starting { .. }
            | Phase::Pausing { .. }
            | Phase::Done(_) => None,
        }
    }

    pub(crate) fn run(&self) -> Option<RunId> {
        match &self.phase {
            Phase::Campaigning { run, .. } | Phase::Starting { run, .. } => Some(*run),
            _ => self.life().map(|life| life.run),
        }
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done(_))
    }

    pub(crate) const fn is_wanted(&self) -> bool {
        matches!(self.intent, Intent::Up)
    }

    /// It is done and does not keep the whole from being over. What was stopped or held may be started again.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(
            self.phase,
            Phase::Done(
                TerminalReason::Exited
                    | TerminalReason::NeedFailed { .. }
                    | TerminalReason::RestartLimit(
                        StartLimitAction::End | StartLimitAction::Exit | StartLimitAction::Ignore
                    )
            )
        )
    }

    /// It is as it should be: ready, or done with what it had to do, or of no account.
    pub(crate) fn is_healthy(&self) -> bool {
        match &self.phase {
            Phase::Done(TerminalReason::Exited) => self.last.is_some() && self.code() == 0,
            Phase::Done(TerminalReason::RestartLimit(StartLimitAction::Ignore)) => true,
            _ => self.is_ready(),
        }
    }

    /// The process itself is there, has started and is to be kept.
    pub(crate) fn has_started(&self) -> bool {
        match &self.phase {
            Phase::Running(life) => self.is_wanted() && life.has_started(&self.plan),
            _ => false,
        }
    }

    /// The process itself is there, is ready and is to be kept.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.phase {
            Phase::Running(life) => self.is_wanted() && life.is_ready(&self.plan),
            _ => false,
        }
    }

    /// Does this hold, of what others may need?
    pub(crate) fn holds(&self, condition: Condition) -> ConditionStatus {
        let ended_well = match &self.phase {
            Phase::Done(TerminalReason::Exited) => Some(self.last.is_some() && self.code() == 0),
            Phase::Done(
                TerminalReason::NeedFailed { .. }
                | TerminalReason::RestartLimit(
                    StartLimitAction::End | StartLimitAction::Exit | StartLimitAction::Ignore,
                ),
            ) => Some(false),
            _ => None,
        };
        let yes = match (condition, ended_well) {
            (Condition::Exited, Some(_)) => self.last.is_some(),
            (Condition::Failed, Some(well)) => !well && self.last.is_some(),
            (_, Some(well)) => well,
            (Condition::Started, None) => self.has_started(),
            (Condition::Ready, None) => self.is_ready(),
            (Condition::Succeeded | Condition::Failed | Condition::Exited, None) => false,
        };
        match (yes, ended_well) {
            (true, _) => ConditionStatus::Met,
            (false, None) => ConditionStatus::Pending,
            (false, Some(_)) => ConditionStatus::Impossible,
        }
    }

    const fn probing(&self) -> Probing {
        match (&self.phase, &self.intent) {
            (Phase::Running(_), Intent::Up) => Probing::All,
            _ => Probing::Ending,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let of_life = |life: &RunningState| life.deadline(&self.plan, self.probing());
        match &self.phase {
            Phase::Running(life) => of_life(life),
            Phase::Draining { life, until, .. } => of_life(life).into_iter().chain([*until]).min(),
            Phase::Stopping { life, exit: None, kill_at, .. } => {
                of_life(life).into_iter().chain([*kill_at]).min()
            }
            Phase::Stopping { kill_at, .. } => Some(*kill_at),
            Phase::Killing { abandon_at, .. } => Some(*abandon_at),
            Phase::Pausing { retry_at, .. } => Some(*retry_at),
            Phase::Waiting { until, .. } => *until,
            Phase::Campaigning { .. } | Phase::Starting { .. } | Phase::Done(_) => None,
        }
    }

    /// The exit code that this process stands for.
    pub(crate) const fn code(&self) -> i32 {
        match (&self.last, &self.intent) {
            (Some((RunResult::Exited { exit, .. }, _)), _) => exit.shell_code(),
            (Some((RunResult::SpawnFailed(error), _)), _) => error.kind.exit_code(),
            (Some((RunResult::DependencyTimedOut(..), _)), _) => NOT_BORN,
            (Some((RunResult::Abandoned, _)), _) => 128 + Signal::KILL.0,
            (None, Intent::Down { cause: Cause::Signal(signal) | Cause::SecondSignal(signal), .. }) => {
                128 + signal.0
            }
            (None, _) => 0,
        }
    }

    const fn teller(&self) -> EventEmitter {
        EventEmitter { job: self.id }
    }

    // === what happens ===

    /// What it waits for, as news if it is some.
    pub(crate) fn waits(&mut self, need: String, cx: &mut Context<'_>) {
        match &mut self.phase {
            Phase::Waiting { until, .. } => *until = None,
            // Won, and meanwhile something else is missing.
            Phase::Campaigning { .. } => self.enter(Phase::WAITING, cx),
            _ => {}
        }
        self.waits_for_this(need, cx);
    }

    fn waits_for_this(&mut self, need: String, cx: &mut Context<'_>) {
        if self.waits_for.as_ref() != Some(&need) {
            self.waits_for = Some(need.clone());
            self.tell(None, JobEventKind::Waiting { need }, cx);
        }
    }

    /// What it needs cannot hold any more.
    pub(crate) fn need_failed(&mut self, need: String, condition: Condition, cx: &mut Context<'_>) {
        self.tell(None, JobEventKind::NeedFailed { need: need.clone(), condition }, cx);
        self.finish(TerminalReason::NeedFailed { need, condition }, cx);
    }

    /// What it needs can hold after all: somebody has interfered.
    pub(crate) fn reconsider(&mut self, cx: &mut Context<'_>) {
        if self.is_wanted() && matches!(self.phase, Phase::Done(TerminalReason::NeedFailed { .. })) {
            self.enter(Phase::WAITING, cx);
        }
    }

    fn start(&mut self, run: RunId, cx: &mut Context<'_>) {
        self.waits_for = None;
        self.enter(Phase::Starting { run }, cx);
        cx.out.push(Effect::Spawn { job: self.id, run });
    }

    fn next_run(&mut self, cx: &mut Context<'_>) -> RunId {
        self.newest_run = RunId(cx.number());
        self.newest_run
    }

    pub(crate) fn spawned(&mut self, run: RunId, cx: &mut Context<'_>) {
        // An older attempt, or one whose end was reported first, changes nothing.
        if matches!(self.phase, Phase::Starting { run: current } if current == run) {
            self.enter_running(run, cx);
            self.apply_lease_loss(cx);
        }
    }

    pub(crate) fn spawn_failed(&mut self, run: RunId, error: SpawnError, cx: &mut Context<'_>) {
        match &self.phase {
            Phase::Starting { run: current } if *current == run => {}
            _ => return,
        }
        let kind = error.kind;
        let refused = |(_, goal): &mut (RequestId, PendingRequest)| matches!(goal, PendingRequest::Up(from) if *from <= run);
        for (request, _) in self.requests.extract_if(.., refused) {
            answer(request, Err(Refusal::Failed(error.message.clone())), cx);
        }
        self.tell(Some(run), JobEventKind::StartFailed(error.clone()), cx);
        self.last = Some((RunResult::SpawnFailed(error.clone()), cx.now));
        let hopeless = self.plan.must_start && self.starts == 0 && kind != SpawnErrorKind::System;
        if hopeless {
            self.finish(TerminalReason::Exited, cx);
        } else {
            self.decide_after_exit(Cause::SpawnFailed(error), cx);
        }
    }

    pub(crate) fn exited(
        &mut self,
        run: RunId,
        exit: Exit,
        leftovers: bool,
        out_of_memory: bool,
        cx: &mut Context<'_>,
    ) {
        if self.run() != Some(run) {
            return;
        }
        if matches!(self.phase, Phase::Starting { .. }) {
            // It lived so short that its end was seen before its start was reported.
            self.enter_running(run, cx);
        }
        if let Some((life, _)) = self.life_mut() {
            life.over(cx);
        }
        match self.phase.clone() {
            Phase::Running(life) => {
                let by = self.ended_by(exit, life.forwarded);
                self.note_exit(run, exit, by.clone(), leftovers, out_of_memory, cx);
                if leftovers {
                    let why = by.unwrap_or(Cause::LeaderExited(exit));
                    let kill_at = cx.now + self.plan.grace;
                    self.send_stop_signal(life, why, self.plan.stop_signal, Some(exit), kill_at, cx);
                } else {
                    self.decide_after_exit(by.unwrap_or(Cause::Exited(exit)), cx);
                }
            }
            Phase::Draining { life, why, signal, attempt, kill_at, .. } => {
                cx.abort(attempt);
                self.note_exit(run, exit, Some(why.clone()), leftovers, out_of_memory, cx);
                if leftovers {
                    self.send_stop_signal(life, why, signal, Some(exit), kill_at, cx);
                } else {
                    self.decide_after_exit(why, cx);
                }
            }
            Phase::Stopping { life, exit: None, why, kill_at } => {
                self.note_exit(run, exit, Some(why.clone()), leftovers, out_of_memory, cx);
                if leftovers {
                    // They had the stop signal with everybody else: no second one.
                    self.enter(Phase::Stopping { life, exit: Some(exit), why, kill_at }, cx);
                } else {
                    self.decide_after_exit(why, cx);
                }
            }
            Phase::Killing { life, exit: None, why, abandon_at } => {
                self.note_exit(run, exit, Some(why.clone()), leftovers, out_of_memory, cx);
                if leftovers {
                    self.enter(Phase::Killing { life, exit: Some(exit), why, abandon_at }, cx);
                } else {
                    self.decide_after_exit(why, cx);
                }
            }
            // Told twice: once was enough. The others have no run, or were dealt with above.
            Phase::Stopping { exit: Some(_), .. }
            | Phase::Killing { exit: Some(_), .. }
            | Phase::Waiting { .. }
            | Phase::Campaigning { .. }
            | Phase::Starting { .. }
            | Phase::Pausing { .. }
            | Phase::Done(_) => {}
        }
    }

    pub(crate) fn cleared(&mut self, run: RunId, cx: &mut Context<'_>) {
        match &self.phase {
            Phase::Stopping { life, exit: Some(exit), why, .. }
            | Phase::Killing { life, exit: Some(exit), why, .. }
                if life.run == run =>
            {
                let cause = match why {
                    Cause::LeaderExited(_) => Cause::Exited(*exit),
                    other => other.clone(),
                };
                self.decide_after_exit(cause, cx);
            }
            // About an older run, or before the end of the process itself was reported.
            _ => {}
        }
    }

    pub(crate) fn suspended(&mut self, run: RunId, signal: Signal, cx: &mut Context<'_>) {
        if let Phase::Running(life) = &mut self.phase
            && life.run == run
            && life.suspended != Some(signal)
        {
            life.suspended = Some(signal);
            self.tell(Some(run), JobEventKind::Suspended(signal), cx);
        }
    }

    pub(crate) fn resumed(&mut self, run: RunId, cx: &mut Context<'_>) {
        if let Phase::Running(life) = &mut self.phase
            && life.run == run
            && life.suspended.take().is_some()
        {
            self.tell(Some(run), JobEventKind::Resumed, cx);
        }
    }

    pub(crate) fn probed(&mut self, attempt: AttemptId, result: ProbeResult, cx: &mut Context<'_>) {
        let teller = self.teller();
        let Some((life, plan)) = self.life_mut() else { return };
        let run = life.run;
        let Some(cause) = life.probed(teller, attempt, result, plan, cx) else { return };
        if let (Cause::Probe(kind, _), true) = (&cause, matches!(self.phase, Phase::Running(_))) {
            let grace = probe_plan(&self.plan, *kind).and_then(|probe| probe.grace);
            self.begin_end(run, cause, grace.unwrap_or(self.plan.grace), cx);
        }
    }

    pub(crate) fn hooked(&mut self, attempt: AttemptId, failed: Option<String>, cx: &mut Context<'_>) {
        let teller = self.teller();
        match &mut self.phase {
            Phase::Running(life) => {
                let run = life.run;
                if let Some(cause) = life.hooked(teller, attempt, failed, cx) {
                    self.begin_end(run, cause, self.plan.grace, cx);
                }
            }
            Phase::Draining { life, attempt: current, .. } if *current == attempt => {
                let run = life.run;
                if let Some(reason) = failed {
                    // Its failure is only told; see "Container Lifecycle Hooks" of Kubernetes.
                    self.tell(Some(run), JobEventKind::HookFailed { kind: HookKind::PreStop, reason }, cx);
                }
                self.pre_stop_finished(cx);
            }
            _ => {}
        }
    }

    pub(crate) fn said(&mut self, run: RunId, word: NotifyMessage, cx: &mut Context<'_>) {
        if let (NotifyMessage::ExtendTimeout(more), Phase::Stopping { life, kill_at, .. }) =
            (word, &mut self.phase)
            && life.run == run
        {
            // Where everything ends, the whole has its own limit: nobody gets more than that leaves.
            let of_all = !matches!(
                self.intent,
                Intent::Up | Intent::Down { cause: Cause::Request | Cause::Reload, .. }
            );
            if self.plan.notifies && !of_all {
                let asked = cx.now + more.min(MOST_MORE_TIME);
                *kill_at = (*kill_at).max(lease::within(self.lease.as_ref(), asked));
                cx.touched = true;
            }
            return;
        }
        if let Phase::Running(life) = &mut self.phase
            && life.run == run
            && let Some(cause) = life.said(word, &self.plan, cx)
        {
            self.begin_end(run, cause, self.plan.grace, cx);
        }
    }

    pub(crate) fn over_memory(&mut self, run: RunId, used: u64, limit: u64, cx: &mut Context<'_>) {
        let cause = Cause::Memory(used, limit);
        match &mut self.phase {
            Phase::Running(life) | Phase::Draining { life, .. } | Phase::Stopping { life, .. }
                if life.run == run =>
            {
                let mut life = life.clone();
                life.end_begins(cx);
                let exit = match &self.phase {
                    Phase::Stopping { exit, .. } => *exit,
                    _ => None,
                };
                if let Phase::Draining { attempt, .. } = self.phase {
                    cx.abort(attempt);
                }
                // The kernel gives no grace either.
                self.begin_kill(life, exit, cause.clone(), cause, cx);
            }
            _ => {}
        }
    }

    /// Hands a signal on. False: there is nobody to hand it to.
    pub(crate) fn forward(&mut self, signal: Signal, cx: &mut Context<'_>) -> bool {
        let Some(run) = self.run() else { return false };
        match &mut self.phase {
            Phase::Running(life) => life.forwarded = Some(signal),
            Phase::Campaigning { .. } => return false,
            // The group is not there yet, or all that is left of it was sent KILL.
            Phase::Starting { .. } | Phase::Killing { .. } => return true,
            Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Waiting { .. }
            | Phase::Pausing { .. }
            | Phase::Done(_) => {}
        }
        cx.out.push(Effect::Signal { run, signal, scope: SignalScope::Group });
        self.tell(Some(run), JobEventKind::Forwarded(signal), cx);
        true
    }

    // === the end ===

    /// The end is wished for; `signal` is what the process will be sent when [its turn](Self::stop) has come.
    pub(crate) fn request_stop(&mut self, cause: &Cause, signal: Signal, cx: &mut Context<'_>) {
        if self.is_wanted() {
            self.intent = Intent::Down { cause: cause.clone(), signal };
            if !self.is_done() {
                self.tell(self.run(), JobEventKind::Ending { cause: cause.clone() }, cx);
            }
        } else if let Intent::Down { cause: by @ Cause::Request, .. } = &mut self.intent
            && !matches!(self.phase, Phase::Done(_))
        {
            // What was to end until somebody starts it again now ends for good.
            *by = cause.clone();
        }
        if let Some((life, _)) = self.life_mut() {
            life.end_begins(cx);
        }
        if matches!(self.phase, Phase::Waiting { .. } | Phase::Campaigning { .. } | Phase::Pausing { .. }) {
            self.finish(self.rest(), cx);
        }
    }

    /// Does it wait for its turn to be stopped?
    pub(crate) const fn awaits_its_turn(&self) -> bool {
        matches!((&self.intent, &self.phase), (Intent::Down { .. }, Phase::Running(_)))
    }

    /// It is its turn: asks for the end, within so long at most.
    pub(crate) fn stop(&mut self, share: Option<Duration>, fast_shutdown: bool, cx: &mut Context<'_>) {
        let (Intent::Down { cause, signal }, Phase::Running(life)) = (self.intent.clone(), &self.phase)
        else {
            return;
        };
        let life = life.clone();
        let grace = share.map_or(self.plan.grace, |share| self.plan.grace.min(share));
        if fast_shutdown {
            self.send_stop_signal(life, cause, signal, None, cx.now + grace, cx);
        } else {
            self.begin_stop(life, cause, signal, grace, share.is_none(), cx);
        }
    }

    /// Says that a request to end was heard and changes nothing: a process gets one stop signal.
    pub(crate) fn stop_repeated(&self, signal: Signal, cx: &mut Context<'_>) {
        if let Some(run) = self.run() {
            self.tell(Some(run), JobEventKind::StopRepeated(signal), cx);
        }
    }

    /// It is ending already: it has no more than this for it from now on.
    pub(crate) fn limit(&mut self, share: Duration, cx: &mut Context<'_>) {
        let soon = cx.now + share;
        cx.touched |= self.is_ending();
        match &mut self.phase {
            Phase::Stopping { kill_at, .. } => *kill_at = (*kill_at).min(soon),
            Phase::Draining { until, kill_at, .. } => {
                *until = (*until).min(cx.now + share / 2);
                *kill_at = (*kill_at).min(soon);
            }
            _ => {}
        }
    }

    /// Leaves it no more than this from now on; a hook is not waited for.
    pub(crate) fn fast_shutdown_now(&mut self, grace: Duration, cx: &mut Context<'_>) {
        let soon = cx.now + grace;
        cx.touched |= self.is_ending();
        match &mut self.phase {
            Phase::Stopping { kill_at, .. } => *kill_at = (*kill_at).min(soon),
            Phase::Draining { kill_at, attempt, .. } => {
                *kill_at = (*kill_at).min(soon);
                let attempt = *attempt;
                cx.abort(attempt);
                self.pre_stop_finished(cx);
            }
            _ => {}
        }
    }

    const fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. } | Phase::Stopping { .. })
    }

    /// Ends it without further grace.
    pub(crate) fn force(&mut self, cause: &Cause, cx: &mut Context<'_>) {
        match self.phase.clone() {
            Phase::Stopping { life, exit, why, .. } => self.begin_kill(life, exit, why, cause.clone(), cx),
            Phase::Draining { life, why, attempt, .. } => {
                cx.abort(attempt);
                self.begin_kill(life, None, why, cause.clone(), cx);
            }
            _ => {}
        }
    }

    // === conclusions ===

    /// Draws the conclusions of what has changed. To be called after each change.
    pub(crate) fn review(&mut self, cx: &mut Context<'_>) {
        let teller = self.teller();
        if self.is_wanted()
            && let Phase::Running(life) = &mut self.phase
        {
            life.review(teller, &self.plan, cx);
        }
        self.answer_requests(cx);
    }

    // === time ===

    /// Does what has become due.
    pub(crate) fn woke(&mut self, cx: &mut Context<'_>) {
        if self.deadline().is_none_or(|at| at > cx.now) {
            return;
        }
        let (teller, probing) = (self.teller(), self.probing());
        match &mut self.phase {
            Phase::Running(life)
            | Phase::Draining { life, .. }
            | Phase::Stopping { life, exit: None, .. } => {
                life.probe_due(teller, &self.plan, probing, cx);
            }
            _ => {}
        }
        match &mut self.phase {
            Phase::Running(life) => {
                let run = life.run;
                if probing == Probing::All
                    && let Some(cause) = life.overdue(teller, &self.plan, cx)
                {
                    self.begin_end(run, cause, self.plan.grace, cx);
                }
            }
            Phase::Draining { life, until, attempt, .. } if *until <= cx.now => {
                let (run, attempt) = (life.run, *attempt);
                cx.abort(attempt);
                let reason = "not done when the grace was nearly over".to_owned();
                self.tell(Some(run), JobEventKind::HookFailed { kind: HookKind::PreStop, reason }, cx);
                self.pre_stop_finished(cx);
            }
            Phase::Stopping { life, exit, why, kill_at } if *kill_at <= cx.now => {
                let (life, exit, why) = (life.clone(), *exit, why.clone());
                let cause = Cause::GracePeriodOver(kill_at.since(self.phase_since));
                self.begin_kill(life, exit, why, cause, cx);
            }
            Phase::Killing { life, exit, why, .. } => {
                let (life, exit, why) = (life.clone(), *exit, why.clone());
                let once = self.plan.restart.policy == Policy::Never && !self.has_pending_start();
                let abandoned = !self.is_wanted() || once;
                self.tell(Some(life.run), JobEventKind::Stuck { abandoned }, cx);
                if abandoned {
                    // It may be there for ever, and nobody else's may be meanwhile.
                    self.lease = None;
                    if exit.is_none() {
                        self.last = Some((RunResult::Abandoned, cx.now));
                    }
                    self.finish(self.rest(), cx);
                } else {
                    let cause = Cause::GracePeriodOver(self.plan.grace);
                    self.begin_kill(life, exit, why, cause, cx);
                }
            }
            Phase::Pausing { .. } => self.enter(Phase::WAITING, cx),
            Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Waiting { .. }
            | Phase::Campaigning { .. }
            | Phase::Starting { .. }
            | Phase::Done(_) => {}
        }
    }

    // === how ===

    fn enter(&mut self, phase: Phase, cx: &mut Context<'_>) {
        if self.is_done() && !matches!(phase, Phase::Done(_)) {
            // A new life.
            self.born = None;
            self.risen = true;
        }
        self.phase = phase;
        self.phase_since = cx.now;
        self.resign_if_over(cx);
    }

    fn tell(&self, run: Option<RunId>, kind: JobEventKind, cx: &mut Context<'_>) {
        self.teller().tell(run, kind, cx);
    }

    fn enter_running(&mut self, run: RunId, cx: &mut Context<'_>) {
        let life = RunningState::new(run, &self.plan, cx);
        let ttl = life.ttl.map(|(_, ttl)| ttl);
        self.starts += 1;
        self.started_at = Some(cx.now);
        self.born = self.born.or(Some(cx.now));
        self.enter(Phase::Running(Box::new(life)), cx);
        self.tell(Some(run), JobEventKind::Started { ttl }, cx);
    }

    fn note_exit(
        &mut self,
        run: RunId,
        exit: Exit,
        by: Option<Cause>,
        leftovers: bool,
        out_of_memory: bool,
        cx: &mut Context<'_>,
    ) {
        let out_of_memory = out_of_memory || matches!(by, Some(Cause::Memory(..)));
        self.last = Some((RunResult::Exited { exit, by: by.clone(), out_of_memory }, cx.now));
        self.tell(Some(run), JobEventKind::Exited { exit, cause: by, leftovers, out_of_memory }, cx);
    }

    /// Who ended a process that we had not asked to end?
    fn ended_by(&self, exit: Exit, forwarded: Option<Signal>) -> Option<Cause> {
        let from_keys = |code| matches!(code, Signal::INT | Signal::QUIT);
        match exit {
            Exit::Signal(signal) if forwarded == Some(signal) => Some(Cause::Signal(signal)),
            Exit::Signal(signal) if self.plan.terminal && from_keys(signal) => Some(Cause::Terminal(signal)),
            // A shell whose command was interrupted says so with its code.
            Exit::Code(code) if self.plan.terminal && from_keys(Signal(code - 128)) => {
                Some(Cause::Terminal(Signal(code - 128)))
            }
            Exit::Signal(_) | Exit::Code(_) => None,
        }
    }

    /// Ends a run for a reason of its own; what follows is decided when it is over.
    fn begin_end(&mut self, run: RunId, why: Cause, grace: Duration, cx: &mut Context<'_>) {
        if let Phase::Running(life) = &self.phase
            && life.run == run
        {
            let life = life.clone();
            self.begin_stop(life, why, self.plan.stop_signal, grace, true, cx);
        }
    }

    /// Begins with the hook, if there is one. `extensible`: where the grace is too short for both, the signal
    /// gets its time on top.
    fn begin_stop(
        &mut self,
        mut life: Box<RunningState>,
        why: Cause,
        signal: Signal,
        grace: Duration,
        extensible: bool,
        cx: &mut Context<'_>,
    ) {
        life.end_begins(cx);
        if !self.plan.pre_stop {
            return self.send_stop_signal(life, why, signal, None, cx.now + grace, cx);
        }
        let (for_hook, for_both) = if grace > 2 * LEFT_FOR_THE_SIGNAL || !extensible {
            (grace.saturating_sub(LEFT_FOR_THE_SIGNAL.min(grace / 2)), grace)
        } else {
            let for_hook = grace.saturating_sub(LEFT_FOR_THE_SIGNAL).max(grace / 2);
            (for_hook, for_hook + LEFT_FOR_THE_SIGNAL)
        };
        let (kind, run, attempt) = (HookKind::PreStop, life.run, cx.attempt(self.id));
        let kill_at = lease::within(self.lease.as_ref(), cx.now + for_both);
        let until = kill_at.min(cx.now + for_hook);
        self.enter(Phase::Draining { life, why, signal, attempt, until, kill_at }, cx);
        self.tell(Some(run), JobEventKind::HookStarted(kind), cx);
        cx.out.push(Effect::Hook { job: self.id, run, kind, attempt });
    }

    /// The hook is done, or is not waited for: now the signal.
    fn pre_stop_finished(&mut self, cx: &mut Context<'_>) {
        if let Phase::Draining { life, why, signal, kill_at, .. } = self.phase.clone() {
            self.send_stop_signal(life, why, signal, None, kill_at, cx);
        }
    }

    fn send_stop_signal(
        &mut self,
        mut life: Box<RunningState>,
        why: Cause,
        signal: Signal,
        exit: Option<Exit>,
        kill_at: Time,
        cx: &mut Context<'_>,
    ) {
        life.end_begins(cx);
        let run = life.run;
        let kill_at = lease::within(self.lease.as_ref(), kill_at);
        self.enter(Phase::Stopping { life, exit, why: why.clone(), kill_at }, cx);
        self.tell(Some(run), JobEventKind::Stopping { cause: why, kill_at }, cx);
        let scope = SignalScope::Everything;
        cx.out.push(Effect::Signal { run, signal, scope });
        if signal != Signal::CONT {
            // A process that is suspended hears nothing until it goes on; systemd.kill(5) does the same.
            cx.out.push(Effect::Signal { run, signal: Signal::CONT, scope });
        }
    }

    fn begin_kill(
        &mut self,
        mut life: Box<RunningState>,
        exit: Option<Exit>,
        why: Cause,
        cause: Cause,
        cx: &mut Context<'_>,
    ) {
        life.over(cx);
        let run = life.run;
        let abandon_at = cx.now + self.plan.abandon_after.max(BETWEEN_KILLS);
        self.enter(Phase::Killing { life, exit, why, abandon_at }, cx);
        self.tell(Some(run), JobEventKind::Killing { cause }, cx);
        cx.out.push(Effect::Signal { run, signal: Signal::KILL, scope: SignalScope::Everything });
    }

    /// The run is over and nothing of it is left: what now?
    fn decide_after_exit(&mut self, cause: Cause, cx: &mut Context<'_>) {
        let by_hand = cause == Cause::Request || self.has_pending_start();
        if !self.is_wanted() || (matches!(cause, Cause::Terminal(_)) && !by_hand) {
            return self.finish(self.rest(), cx);
        }
        if by_hand {
            // By hand: no policy, no pause, and it says nothing about how well it runs.
            self.streak = 0;
            let (retry_at, cause) = (cx.now, Cause::Request);
            self.tell(None, JobEventKind::Restarting { retry_at, cause: cause.clone() }, cx);
            return self.enter(Phase::Pausing { retry_at, cause }, cx);
        }
        // An end that was planned says nothing about how well it runs.
        let planned = matches!(cause, Cause::Ttl(_) | Cause::LeaseLost(_));
        let restart = &self.plan.restart;
        let again = match cause {
            Cause::Ttl(_) => restart.policy == Policy::Always,
            // It was not to end: it runs again when we have got it back.
            Cause::LeaseLost(_) => restart.policy != Policy::Never,
            _ => restart.applies(self.code()),
        };
        if !again {
            return self.finish(TerminalReason::Exited, cx);
        }
        if let Some(limit) = restart.limit
            && !planned
            && !self.restarts.allow(limit, cx.now)
        {
            let limit_action = restart.limit_action;
            let held = limit_action == StartLimitAction::Hold;
            self.tell(
                None,
                JobEventKind::RestartLimitReached { limit: limit.restarts, window: limit.window, held },
                cx,
            );
            return self.finish(TerminalReason::RestartLimit(limit_action), cx);
        }
        let pause = &restart.delay;
        let ran = self.started_at.map_or(Duration::ZERO, |at| cx.now.since(at));
        if planned || (!matches!(cause, Cause::SpawnFailed(_)) && backoff::was_good(pause, ran)) {
            self.streak = 0;
        }
        let pause = backoff::pause(pause, self.streak, cx.rng.unit());
        self.streak = self.streak.saturating_add(u32::from(!planned));
        // What the system refuses at once it would refuse as fast as we can ask.
        let least =
            if matches!(cause, Cause::SpawnFailed(_)) { BETWEEN_FAILED_STARTS } else { Duration::ZERO };
        // Also without a pause the start waits for its turn, so that no event leads to more than one.
        let retry_at = cx.now + pause.max(least);
        self.tell(None, JobEventKind::Restarting { retry_at, cause: cause.clone() }, cx);
        self.enter(Phase::Pausing { retry_at, cause }, cx);
    }

    /// What it is when it has ended now.
    fn rest(&self) -> TerminalReason {
        match self.intent {
            Intent::Down { cause: Cause::Request, .. } => TerminalReason::Stopped,
            Intent::Down { .. } | Intent::Up => TerminalReason::Exited,
        }
    }

    fn finish(&mut self, rest: TerminalReason, cx: &mut Context<'_>) {
        self.waits_for = None;
        self.enter(Phase::Done(rest), cx);
        self.tell(None, JobEventKind::Done, cx);
    }
}
