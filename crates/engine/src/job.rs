//! The life of one process.
//!
//! ```text
//!           Began            Spawned                 TTL, stop
//! Waiting ────────► Starting ───────► Running ──────────────────► Stopping
//!                    │  ▲                │ Exited, leftovers ────────►│ │ grace over
//!        SpawnFailed │  │ retry_at       │                            │ ▼
//!                    │  │                │ Exited, nothing left       │ Killing ──┐ abandon_at:
//!                    ▼  │                ▼                            ▼ │ ▲       │ KILL again,
//!                   (settle) ◄───────────────────────────── Cleared ────┘ └───────┘ or give it up
//!                    │  │
//!         restart    │  │ no restart, limit reached, somebody asked for the end
//!        Pausing ◄───┘  └───► Done
//! ```
//!
//! * Each phase holds the deadlines and the run it is about, and nothing else does: to leave a phase is to
//!   cancel its timer, so a stale timer cannot exist.
//! * What is wished ([`Intent`]) is a field of its own beside what is ([`Phase`]). A stop is legal in every
//!   phase and is never taken back.
//! * The happy path of `run`: Waiting, Starting, Running, Done. Of a stop: Running, Stopping (signal sent),
//!   Done; or, deaf to the signal: Running, Stopping, Killing, Done.
//! * A process that ends and leaves others behind goes through Stopping too, with `exit` known: what is left
//!   gets the same signal, the same grace and the same KILL. The next run begins when nothing is left.
//! * The failing path: not startable at all (no such program) at the first start is Done at once. Later, or
//!   when the system was short of something, it is as if the process had ended badly.
//! * A process that KILL does not end (uninterruptible sleep) is waited for as long as it is to be
//!   restarted, since there must never be two; once it is to end for good it is given up after a while.

use std::time::Duration;

use crate::backoff::{self, Restarts};
use crate::dice::Dice;
use crate::event::{Cause, Effect, News, Reach, SpawnError, SpawnErrorKind, What};
use crate::plan::{JobPlan, Restart};
use crate::{Exit, JobId, RunId, Signal, Time};

/// KILL is not sent to the same process again before this, whatever the plan says.
const BETWEEN_KILLS: Duration = Duration::from_millis(100);

/// A start that failed is not tried again before this, whatever the plan says.
const BETWEEN_FAILED_STARTS: Duration = Duration::from_millis(100);

/// What is wished for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intent {
    /// It shall run, as its restart policy has it.
    Up,
    /// It shall end for good.
    Down(Cause),
}

/// What is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Never started.
    Waiting,
    /// The driver was asked to start it.
    Starting { run: RunId },
    /// It is there.
    Running {
        run: RunId,
        ttl_at: Option<(Time, Duration)>,
        forwarded: Option<Signal>,
        suspended: Option<Signal>,
    },
    /// It, or what it left behind (then `exit` is known), was asked to end.
    Stopping { run: RunId, exit: Option<Exit>, why: Cause, kill_at: Time },
    /// It, or what it left behind, was sent KILL.
    Killing { run: RunId, exit: Option<Exit>, why: Cause, abandon_at: Time },
    /// It will be started again.
    Pausing { retry_at: Time, cause: Cause },
    /// It has ended for good.
    Done,
}

/// How the last attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Exited { exit: Exit, by: Option<Cause> },
    SpawnFailed(SpawnErrorKind),
    Abandoned,
}

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
    pub(crate) last: Option<(Outcome, Time)>,
    /// Runs in a row that did not last.
    streak: u32,
    restarts: Restarts,
}

/// What a step may use and fill.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) next_run: &'a mut u64,
    pub(crate) dice: &'a mut Dice,
    pub(crate) out: &'a mut Vec<Effect>,
}

impl Job {
    pub(crate) fn new(id: JobId, plan: JobPlan) -> Self {
        Self {
            id,
            plan,
            intent: Intent::Up,
            phase: Phase::Waiting,
            phase_since: Time::ZERO,
            starts: 0,
            started_at: None,
            last: None,
            streak: 0,
            restarts: Restarts::default(),
        }
    }

    // === what others ask ===

    pub(crate) const fn run(&self) -> Option<RunId> {
        match self.phase {
            Phase::Starting { run }
            | Phase::Running { run, .. }
            | Phase::Stopping { run, .. }
            | Phase::Killing { run, .. } => Some(run),
            Phase::Waiting | Phase::Pausing { .. } | Phase::Done => None,
        }
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Running { ttl_at, .. } => ttl_at.map(|(at, _)| at),
            Phase::Stopping { kill_at, .. } => Some(*kill_at),
            Phase::Killing { abandon_at, .. } => Some(*abandon_at),
            Phase::Pausing { retry_at, .. } => Some(*retry_at),
            Phase::Waiting | Phase::Starting { .. } | Phase::Done => None,
        }
    }

    /// The exit code that this process stands for.
    pub(crate) const fn code(&self) -> i32 {
        match (&self.last, &self.intent) {
            (Some((Outcome::Exited { exit, .. }, _)), _) => exit.shell_code(),
            (Some((Outcome::SpawnFailed(kind), _)), _) => kind.exit_code(),
            (Some((Outcome::Abandoned, _)), _) => 128 + Signal::KILL.0,
            (None, Intent::Down(Cause::Signal(signal) | Cause::SecondSignal(signal))) => 128 + signal.0,
            (None, _) => 0,
        }
    }

    // === what happens ===

    pub(crate) fn start(&mut self, cx: &mut Context<'_>) {
        let run = RunId(*cx.next_run);
        *cx.next_run += 1;
        self.enter(Phase::Starting { run }, cx);
        cx.out.push(Effect::Spawn { job: self.id, run });
    }

    pub(crate) fn spawned(&mut self, run: RunId, cx: &mut Context<'_>) {
        match &self.phase {
            Phase::Starting { run: current } if *current == run => {}
            // An older attempt, or one whose end was reported first.
            _ => return,
        }
        self.note_start(run, cx);
        if let Intent::Down(cause) = self.intent.clone() {
            // The stop came while the process was being made.
            let signal = self.plan.stop_signal;
            self.begin_stop(run, cause, signal, None, cx);
        }
    }

    pub(crate) fn spawn_failed(&mut self, run: RunId, error: SpawnError, cx: &mut Context<'_>) {
        match &self.phase {
            Phase::Starting { run: current } if *current == run => {}
            _ => return,
        }
        let kind = error.kind;
        self.tell(Some(run), What::StartFailed(error), cx);
        self.last = Some((Outcome::SpawnFailed(kind), cx.now));
        let hopeless = self.starts == 0 && kind != SpawnErrorKind::System;
        if hopeless {
            self.finish(cx);
        } else {
            self.settle(Cause::SpawnFailed(kind), cx);
        }
    }

    pub(crate) fn exited(&mut self, run: RunId, exit: Exit, leftovers: bool, cx: &mut Context<'_>) {
        if self.run() != Some(run) {
            return;
        }
        if matches!(self.phase, Phase::Starting { .. }) {
            // It lived so short that its end was seen before its start was reported.
            self.note_start(run, cx);
        }
        match self.phase.clone() {
            Phase::Running { forwarded, .. } => {
                let by = self.ended_by(exit, forwarded);
                self.note_exit(run, exit, by.clone(), leftovers, cx);
                if leftovers {
                    let why = by.unwrap_or(Cause::LeaderExited(exit));
                    let signal = self.plan.stop_signal;
                    self.begin_stop(run, why, signal, Some(exit), cx);
                } else {
                    self.settle(by.unwrap_or(Cause::Exited(exit)), cx);
                }
            }
            Phase::Stopping { exit: None, why, kill_at, .. } => {
                self.note_exit(run, exit, Some(why.clone()), leftovers, cx);
                if leftovers {
                    // They had the stop signal with everybody else: no second one.
                    self.enter(Phase::Stopping { run, exit: Some(exit), why, kill_at }, cx);
                } else {
                    self.settle(why, cx);
                }
            }
            Phase::Killing { exit: None, why, abandon_at, .. } => {
                self.note_exit(run, exit, Some(why.clone()), leftovers, cx);
                if leftovers {
                    self.enter(Phase::Killing { run, exit: Some(exit), why, abandon_at }, cx);
                } else {
                    self.settle(why, cx);
                }
            }
            // Told twice: once was enough. The others have no run, or were dealt with above.
            Phase::Stopping { exit: Some(_), .. }
            | Phase::Killing { exit: Some(_), .. }
            | Phase::Waiting
            | Phase::Starting { .. }
            | Phase::Pausing { .. }
            | Phase::Done => {}
        }
    }

    pub(crate) fn cleared(&mut self, run: RunId, cx: &mut Context<'_>) {
        match self.phase.clone() {
            Phase::Stopping { run: current, exit: Some(exit), why, .. }
            | Phase::Killing { run: current, exit: Some(exit), why, .. }
                if current == run =>
            {
                let cause = match why {
                    Cause::LeaderExited(_) => Cause::Exited(exit),
                    other => other,
                };
                self.settle(cause, cx);
            }
            // About an older run, or before the end of the process itself was reported.
            _ => {}
        }
    }

    pub(crate) fn suspended(&mut self, run: RunId, signal: Signal, cx: &mut Context<'_>) {
        if let Phase::Running { run: current, suspended, .. } = &mut self.phase
            && *current == run
            && *suspended != Some(signal)
        {
            *suspended = Some(signal);
            self.tell(Some(run), What::Suspended(signal), cx);
        }
    }

    pub(crate) fn resumed(&mut self, run: RunId, cx: &mut Context<'_>) {
        if let Phase::Running { run: current, suspended, .. } = &mut self.phase
            && *current == run
            && suspended.take().is_some()
        {
            self.tell(Some(run), What::Resumed, cx);
        }
    }

    /// Hands a signal on. False: there is nobody to hand it to.
    pub(crate) fn forward(&mut self, signal: Signal, cx: &mut Context<'_>) -> bool {
        let Some(run) = self.run() else { return false };
        match &mut self.phase {
            Phase::Running { forwarded, .. } => *forwarded = Some(signal),
            // The group is not there yet, or all that is left of it was sent KILL.
            Phase::Starting { .. } | Phase::Killing { .. } => return true,
            Phase::Stopping { .. } | Phase::Waiting | Phase::Pausing { .. } | Phase::Done => {}
        }
        cx.out.push(Effect::Signal { run, signal, reach: Reach::Group });
        self.tell(Some(run), What::Forwarded(signal), cx);
        true
    }

    /// Asks for the end; `signal` is what the process is sent.
    pub(crate) fn stop(&mut self, cause: &Cause, signal: Signal, cx: &mut Context<'_>) {
        if self.intent == Intent::Up {
            self.intent = Intent::Down(cause.clone());
            self.tell(self.run(), What::Ending { cause: cause.clone() }, cx);
        }
        match self.phase {
            Phase::Waiting | Phase::Pausing { .. } => self.finish(cx),
            Phase::Running { run, .. } => self.begin_stop(run, cause.clone(), signal, None, cx),
            // Starting: the signal follows when the process is there. Ending: it has had its signal, and
            // with the new intent nothing follows.
            Phase::Starting { .. } | Phase::Stopping { .. } | Phase::Killing { .. } | Phase::Done => {}
        }
    }

    /// Says that a request to end was heard and changes nothing: a process gets one stop signal.
    pub(crate) fn stop_repeated(&self, signal: Signal, cx: &mut Context<'_>) {
        if let Some(run) = self.run() {
            self.tell(Some(run), What::StopRepeated(signal), cx);
        }
    }

    /// Ends it without further grace.
    pub(crate) fn force(&mut self, cause: &Cause, cx: &mut Context<'_>) {
        if let Phase::Stopping { run, exit, why, .. } = self.phase.clone() {
            self.begin_kill(run, exit, why, cause.clone(), cx);
        }
    }

    /// Does what has become due.
    pub(crate) fn woke(&mut self, cx: &mut Context<'_>) {
        if self.deadline().is_none_or(|at| at > cx.now) {
            return;
        }
        match self.phase.clone() {
            Phase::Running { run, ttl_at: Some((_, ttl)), .. } => {
                let signal = self.plan.stop_signal;
                self.begin_stop(run, Cause::Ttl(ttl), signal, None, cx);
            }
            Phase::Stopping { run, exit, why, .. } => {
                let cause = Cause::GraceOver(self.plan.grace);
                self.begin_kill(run, exit, why, cause, cx);
            }
            Phase::Killing { run, exit, why, .. } => {
                let abandoned = self.intent != Intent::Up || self.plan.restart == Restart::Never;
                self.tell(Some(run), What::Stuck { abandoned }, cx);
                if abandoned {
                    if exit.is_none() {
                        self.last = Some((Outcome::Abandoned, cx.now));
                    }
                    self.finish(cx);
                } else {
                    let cause = Cause::GraceOver(self.plan.grace);
                    self.begin_kill(run, exit, why, cause, cx);
                }
            }
            Phase::Pausing { .. } => self.start(cx),
            Phase::Running { ttl_at: None, .. } | Phase::Waiting | Phase::Starting { .. } | Phase::Done => {}
        }
    }

    // === how ===

    fn enter(&mut self, phase: Phase, cx: &Context<'_>) {
        self.phase = phase;
        self.phase_since = cx.now;
    }

    fn tell(&self, run: Option<RunId>, what: What, cx: &mut Context<'_>) {
        cx.out.push(Effect::Tell(News { at: cx.now, job: self.id, run, what }));
    }

    fn note_start(&mut self, run: RunId, cx: &mut Context<'_>) {
        let ttl = self.plan.ttl.map(|span| span.at(cx.dice.unit()));
        let ttl_at = ttl.map(|ttl| (cx.now + ttl, ttl));
        self.starts += 1;
        self.started_at = Some(cx.now);
        self.enter(Phase::Running { run, ttl_at, forwarded: None, suspended: None }, cx);
        self.tell(Some(run), What::Started { ttl }, cx);
    }

    fn note_exit(
        &mut self,
        run: RunId,
        exit: Exit,
        by: Option<Cause>,
        leftovers: bool,
        cx: &mut Context<'_>,
    ) {
        self.last = Some((Outcome::Exited { exit, by: by.clone() }, cx.now));
        self.tell(Some(run), What::Exited { exit, cause: by, leftovers }, cx);
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

    fn begin_stop(
        &mut self,
        run: RunId,
        why: Cause,
        signal: Signal,
        exit: Option<Exit>,
        cx: &mut Context<'_>,
    ) {
        let kill_at = cx.now + self.plan.grace;
        self.enter(Phase::Stopping { run, exit, why: why.clone(), kill_at }, cx);
        self.tell(Some(run), What::Stopping { cause: why, kill_at }, cx);
        let reach = Reach::Everything;
        cx.out.push(Effect::Signal { run, signal, reach });
        if signal != Signal::CONT {
            // A process that is suspended hears nothing until it goes on; systemd.kill(5) does the same.
            cx.out.push(Effect::Signal { run, signal: Signal::CONT, reach });
        }
    }

    fn begin_kill(&mut self, run: RunId, exit: Option<Exit>, why: Cause, cause: Cause, cx: &mut Context<'_>) {
        let abandon_at = cx.now + self.plan.abandon_after.max(BETWEEN_KILLS);
        self.enter(Phase::Killing { run, exit, why, abandon_at }, cx);
        self.tell(Some(run), What::Killing { cause }, cx);
        cx.out.push(Effect::Signal { run, signal: Signal::KILL, reach: Reach::Everything });
    }

    /// The run is over and nothing of it is left: what now?
    fn settle(&mut self, cause: Cause, cx: &mut Context<'_>) {
        let wanted = self.intent == Intent::Up && !matches!(cause, Cause::Terminal(_));
        let (true, Restart::Always { pause, limit }) = (wanted, &self.plan.restart) else {
            return self.finish(cx);
        };
        // An end that was planned says nothing about how well it runs.
        let planned = matches!(cause, Cause::Ttl(_));
        if let Some(limit) = *limit
            && !planned
            && !self.restarts.allow(limit, cx.now)
        {
            self.tell(None, What::GaveUp { limit: limit.restarts, window: limit.window }, cx);
            return self.finish(cx);
        }
        let ran = self.started_at.map_or(Duration::ZERO, |at| cx.now.since(at));
        if planned || (!matches!(cause, Cause::SpawnFailed(_)) && backoff::was_good(pause, ran)) {
            self.streak = 0;
        }
        let pause = backoff::pause(pause, self.streak, cx.dice.unit());
        self.streak = self.streak.saturating_add(u32::from(!planned));
        // What the system refuses at once it would refuse as fast as we can ask.
        let least =
            if matches!(cause, Cause::SpawnFailed(_)) { BETWEEN_FAILED_STARTS } else { Duration::ZERO };
        // Also without a pause the start waits for its turn, so that no event leads to more than one.
        let retry_at = cx.now + pause.max(least);
        self.tell(None, What::Restarting { retry_at, cause: cause.clone() }, cx);
        self.enter(Phase::Pausing { retry_at, cause }, cx);
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        self.enter(Phase::Done, cx);
        self.tell(None, What::Done, cx);
    }
}
