//! All processes together: they begin when what they need holds, and when the last has ended the pod ends.
//!
//! ```text
//!        stop signal, request, exitFrom, limit, all but sidecars are over         all done
//!  Up ─────────────────────────────────────────────────────────────────► Stopping ────────► Ended
//!   │                                                                        │ over by itself ▲
//!   └─ all done ──► Lingering ─── time, signal ──────────────────────────────┼────────────────┘
//!                      ▲                                                     │
//!                      └─────────────────────────────────────────────────────┘
//! ```
//!
//! * `Stopping` is a latch: nothing leads back to `Up`.
//! * Start order: a process is started when all its needs hold, the first time and each time after.
//! * Stop order is the reverse: of those that are to end, one is asked to when all that need it have ended.
//!   A stop of everything has one deadline; whoever's turn it is gets the time that is left, divided by the
//!   number of stages that are still to come, and no more than its own grace.
//! * A change of one process is followed along its needs and to those who need it, and nowhere else, so that
//!   a step costs the same however many there are.

mod peers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dependencies;
use crate::event::TerminalReason;
use crate::event::{Cause, Effect, Event, Outcome, Refusal, Request};
use crate::job::{ConditionStatus, Context, Intent, Job, Phase};
use crate::peer::{LifecycleRecord, Peers};
use crate::plan::{ExitRule, JobPlan, Plan, PodSettings, StartLimitAction};
use crate::rng::Rng;
use crate::snapshot::{JobSnapshot, PodPhase, Snapshot};
use crate::{AttemptId, JobId, Need, RequestId, RunId, Signal, Time};

/// The machine. See the [crate's page](crate) for how it is driven.
#[derive(Debug, Clone)]
pub struct Pod {
    settings: PodSettings,
    /// By place. A place stays, empty, when its process is not planned any more.
    jobs: Vec<Job>,
    /// The places in the plan's order, and behind them those that are being ended by a reload.
    order: Vec<JobId>,
    /// Who needs it, by place.
    dependents: Vec<Vec<JobId>>,
    /// How many stages its stop leaves, by place.
    stages: Vec<u32>,
    /// Those that are not planned any more and have not ended, by name: no other of that name may begin.
    retiring: BTreeMap<String, BTreeSet<JobId>>,
    /// Those that are planned, by name.
    planned: BTreeMap<String, JobId>,
    phase: PodPhase,
    /// When everything has to have ended.
    end_by: Option<Time>,
    /// Nobody waits for his turn any more.
    fast_shutdown: bool,
    began: bool,
    next_id: u64,
    rng: Rng,
    generation: u64,
    runs: BTreeMap<RunId, JobId>,
    attempts: BTreeMap<AttemptId, JobId>,
    timers: BTreeSet<(Time, JobId)>,
    /// Whose situation may have changed: themselves, what they need, or who needs them.
    dirty: BTreeSet<JobId>,
    /// Who has changed since somebody [asked](Pod::take_changed).
    changed: BTreeSet<JobId>,
    /// Something that others may see has changed in this step.
    touched: bool,
    /// Those that are not done, and of them those that are no sidecars and not at rest either.
    undone: usize,
    unfinished: usize,
    /// Those that are not as they should be.
    unhealthy: usize,
    /// Who decides our exit code, and the code.
    failed: Option<(JobId, i32)>,
    peers: Peers,
    /// Of whom others may have to be told.
    to_carve: BTreeSet<JobId>,
    /// When the first process was there.
    born: Option<Time>,
    /// What others were told of the whole last.
    carved: Option<LifecycleRecord>,
}

/// A [`Pod`] to begin with: all that is needed, besides the events, to repeat its life.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seed {
    /// What to do.
    pub plan: Plan,
    /// Where chance begins.
    pub seed: u64,
}

/// What others may wait for, and what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct JobFacts {
    run: Option<RunId>,
    deadline: Option<Time>,
    started: bool,
    ready: bool,
    wanted: bool,
    done: bool,
    over: bool,
    healthy: bool,
}

impl JobFacts {
    fn of(job: &Job) -> Self {
        Self {
            run: job.run(),
            deadline: job.deadline(),
            started: job.has_started(),
            ready: job.is_ready(),
            wanted: job.is_wanted(),
            done: job.is_done(),
            over: job.is_over(),
            healthy: job.is_healthy(),
        }
    }

    fn affects_others(self, before: Self) -> bool {
        let told = |s: Self| (s.started, s.ready, s.wanted, s.done, s.over);
        told(self) != told(before)
    }
}

impl Pod {
    /// A pod that waits for [`Event::Started`].
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
            to_carve: BTreeSet::new(),
            born: None,
            carved: None,
        };
        this.place((0..).map(JobId).zip(plan.jobs).collect());
        this
    }

    /// Takes a fact and appends what is to be done about it to `effects`.
    ///
    /// Total: any event is legal at any time. One that is about an older run, or comes after the end,
    /// changes nothing.
    pub fn step(&mut self, now: Time, event: Event, effects: &mut Vec<Effect>) {
        if matches!(self.phase, PodPhase::Ended { .. }) {
            if let Event::Requested { request, .. } | Event::Reloaded { request, .. } = event {
                effects.push(Effect::Respond { request, response: Err(Refusal::ShuttingDown) });
            }
            return;
        }
        let before = (effects.len(), self.phase.clone());
        match event {
            Event::Started => self.began(now, effects),
            Event::TimerFired => self.woke(now, effects),
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
                self.of_attempt(attempt, now, effects, |job, cx| job.hooked(attempt, failed, cx));
            }
            Event::Notified(run, word) => self.of_run(run, now, effects, |job, cx| job.said(run, word, cx)),
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
        self.settle(now, effects);
        self.carve(before.0, now, effects);
        let touched = std::mem::take(&mut self.touched);
        if touched || before != (effects.len(), self.phase.clone()) {
            self.generation += 1;
        }
    }

    /// When to send [`Event::TimerFired`] at the latest; None: there is nothing to wait for but facts.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let own = match self.phase {
            PodPhase::Lingering { until } => Some(until),
            PodPhase::Up | PodPhase::Stopping { .. } | PodPhase::Ended { .. } => None,
        };
        let peers = self.peers.deadline().filter(|_| self.phase == PodPhase::Up);
        self.timers.first().map(|(at, _)| *at).into_iter().chain(own).chain(peers).min()
    }

    /// What others may see.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            generation: self.generation,
            phase: self.phase.clone(),
            jobs: self.order.iter().map(|id| JobSnapshot::of(&self.jobs[id.0])).collect(),
        }
    }

    /// Grows with each step that did something.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Where the whole is in its life.
    #[must_use]
    pub const fn phase(&self) -> &PodPhase {
        &self.phase
    }

    /// When everything has to have ended, if it is ending and there is such a time.
    #[must_use]
    pub const fn end_by(&self) -> Option<Time> {
        self.end_by
    }

    /// The places of the processes, in the plan's order.
    #[must_use]
    pub fn order(&self) -> &[JobId] {
        &self.order
    }

    /// How many places there are; the next new process gets this one.
    #[must_use]
    pub const fn job_count(&self) -> usize {
        self.jobs.len()
    }

    /// What others may see of one process.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<JobSnapshot> {
        self.jobs.get(id.0).map(JobSnapshot::of)
    }

    /// The process whose run this is, while something of the run is there.
    #[must_use]
    pub fn job_of(&self, run: RunId) -> Option<JobId> {
        self.runs.get(&run).copied()
    }

    /// The processes that have changed since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<JobId> {
        std::mem::take(&mut self.changed)
    }

    // === one process ===

    /// The one way to change a process: the books follow.
    fn with(
        &mut self,
        id: JobId,
        now: Time,
        out: &mut Vec<Effect>,
        f: impl FnOnce(&mut Job, &mut Context<'_>),
    ) {
        let Some(job) = self.jobs.get_mut(id.0) else { return };
        let before = JobFacts::of(job);
        let mut cx = Context {
            now,
            next_id: &mut self.next_id,
            rng: &mut self.rng,
            attempts: &mut self.attempts,
            out,
            touched: false,
        };
        let told = cx.out.len();
        f(job, &mut cx);
        job.review(&mut cx);
        let quiet = cx.out.len() == told && !cx.touched;
        let after = JobFacts::of(job);
        self.update_indexes(id, before, after);
        if !quiet || after != before {
            self.changed.insert(id);
            self.dirty.insert(id);
            self.touched = true;
        }
        if after.run.is_some() && self.failed.is_some_and(|(failed, _)| failed == id) {
            // Somebody has started it again.
            self.failed = None;
        }
        if after.affects_others(before) {
            self.mark_dirty(id);
        }
        if after.done && !before.done {
            self.ended(id, now, out);
        }
    }

    fn update_indexes(&mut self, id: JobId, before: JobFacts, after: JobFacts) {
        if before.run != after.run {
            before.run.and_then(|run| self.runs.remove(&run));
            after.run.map(|run| self.runs.insert(run, id));
        }
        if before.deadline != after.deadline {
            before.deadline.map(|at| self.timers.remove(&(at, id)));
            after.deadline.map(|at| self.timers.insert((at, id)));
        }
        let job = &self.jobs[id.0];
        self.undone = self.undone + usize::from(!after.done) - usize::from(!before.done);
        self.unhealthy = self.unhealthy + usize::from(!after.healthy) - usize::from(!before.healthy);
        if job.plan.tombstone {
            self.to_carve.insert(id);
        }
        if !job.plan.sidecar {
            self.unfinished = self.unfinished + usize::from(!after.over) - usize::from(!before.over);
        }
    }

    /// Its situation, that of what it needs and of who needs it may be another now.
    fn mark_dirty(&mut self, id: JobId) {
        self.dirty.insert(id);
        self.dirty.extend(self.jobs[id.0].plan.needs.iter().map(|need| need.job));
        self.dirty.extend(self.dependents[id.0].iter().copied());
    }

    /// A process has come to rest: what does that mean for the whole?
    fn ended(&mut self, id: JobId, now: Time, out: &mut Vec<Effect>) {
        let job = &self.jobs[id.0];
        let (name, code) = (job.plan.name.clone(), job.mapped_code(&self.settings.codes));
        if job.is_wanted()
            && code != 0
            && self.failed.is_none()
            && !matches!(job.phase, Phase::Done(TerminalReason::RestartLimit(StartLimitAction::Ignore)))
        {
            self.failed = Some((id, code));
        }
        if job.retired {
            if let Some(others) = self.retiring.get_mut(&name) {
                others.remove(&id);
                if others.is_empty() {
                    self.retiring.remove(&name);
                    self.dirty.extend(self.planned.get(&name));
                }
            }
            self.unhealthy -= usize::from(!self.jobs[id.0].is_healthy());
            self.order.retain(|other| *other != id);
            out.push(Effect::JobRemoved(id));
        } else if matches!(job.phase, Phase::Done(TerminalReason::RestartLimit(StartLimitAction::Exit))) {
            self.failed = Some((id, code));
            self.stop(&Cause::RestartLimit(name), None, now, out);
        } else if self.settings.exit == ExitRule::From(id) && job.is_over() {
            self.stop(&Cause::ExitFrom(name), None, now, out);
        }
    }

    /// The process whose present run this is; an event about any other run is old news.
    fn of_run(
        &mut self,
        run: RunId,
        now: Time,
        out: &mut Vec<Effect>,
        f: impl FnOnce(&mut Job, &mut Context<'_>),
    ) {
        if let Some(id) = self.runs.get(&run).copied() {
            self.with(id, now, out, f);
        }
    }

    /// The process for which this attempt is made; one that is not wanted any more is old news.
    fn of_attempt(
        &mut self,
        attempt: AttemptId,
        now: Time,
        out: &mut Vec<Effect>,
        f: impl FnOnce(&mut Job, &mut Context<'_>),
    ) {
        if let Some(id) = self.attempts.remove(&attempt) {
            self.with(id, now, out, f);
        }
    }

    fn each(&mut self, now: Time, out: &mut Vec<Effect>, mut f: impl FnMut(&mut Job, &mut Context<'_>)) {
        for id in self.order.clone() {
            self.with(id, now, out, &mut f);
        }
    }

    // === order ===

    fn began(&mut self, now: Time, out: &mut Vec<Effect>) {
        if !self.began && self.phase == PodPhase::Up {
            self.began = true;
            self.dirty.extend(self.order.iter().copied());
            self.on_peers_changed(now, out);
        }
    }

    /// Whoever is concerned: is it his turn to be started, or to be stopped?
    fn reconcile(&mut self, now: Time, out: &mut Vec<Effect>) {
        while let Some(id) = self.dirty.pop_first() {
            let job = &self.jobs[id.0];
            if job.awaits_its_turn() {
                if self.fast_shutdown || !self.has_to_wait_for_others(id) {
                    let share = self.share(id, now);
                    let fast_shutdown = self.fast_shutdown;
                    self.with(id, now, out, |job, cx| job.stop(share, fast_shutdown, cx));
                }
            } else if self.began && self.phase == PodPhase::Up && job.is_wanted() && !job.retired {
                match job.phase {
                    Phase::Waiting { .. } | Phase::Campaigning { won: true, .. } => {
                        self.start_if_it_may(id, now, out);
                    }
                    Phase::Done(TerminalReason::NeedFailed { .. })
                        if self.worst_need(id).is_none_or(|(_, h)| h != ConditionStatus::Impossible) =>
                    {
                        self.with(id, now, out, Job::reconsider);
                    }
                    _ => {}
                }
            }
        }
    }

    fn start_if_it_may(&mut self, id: JobId, now: Time, out: &mut Vec<Effect>) {
        let job = &self.jobs[id.0];
        // Whoever starts it by hand although it is doomed means it.
        if !job.has_pending_start()
            && let Some(what) = self.fired_death_dependency(id)
        {
            let signal = job.plan.stop_signal;
            return self.with(id, now, out, |job, cx| job.request_stop(&Cause::Peer(what), signal, cx));
        }
        let name = &job.plan.name;
        if self.retiring.contains_key(name) {
            let name = name.clone();
            let need = format!("the {name} of before to be exited");
            return self.with(id, now, out, |job, cx| job.waits(need, cx));
        }
        let Some((need, holds)) = self.worst_need(id) else {
            if self.jobs[id.0].plan.start_dependencies.is_empty() {
                return self.with(id, now, out, Job::proceed);
            }
            let peers = std::mem::take(&mut self.peers);
            self.with(id, now, out, |job, cx| job.await_peers(&peers, cx));
            self.peers = peers;
            return;
        };
        let name = self.jobs[need.job.0].plan.name.clone();
        if holds == ConditionStatus::Impossible {
            self.with(id, now, out, |job, cx| job.need_failed(name, need.condition, cx));
        } else {
            let need = format!("{name} to be {}", need.condition.label());
            self.with(id, now, out, |job, cx| job.waits(need, cx));
        }
    }

    /// The need of a process that is farthest from holding; None: all hold.
    fn worst_need(&self, id: JobId) -> Option<(Need, ConditionStatus)> {
        let needs = self.jobs[id.0].plan.needs.iter();
        let mut open = needs.filter_map(|need| {
            let holds = self
                .jobs
                .get(need.job.0)
                .map_or(ConditionStatus::Impossible, |other| other.holds(need.condition));
            (holds != ConditionStatus::Met).then_some((*need, holds))
        });
        let first = open.next()?;
        Some(if first.1 == ConditionStatus::Impossible {
            first
        } else {
            open.find(|(_, h)| *h == ConditionStatus::Impossible).unwrap_or(first)
        })
    }

    /// Is somebody who needs it to be ended first?
    fn has_to_wait_for_others(&self, id: JobId) -> bool {
        let ending = |other: &JobId| {
            let job = &self.jobs[other.0];
            !job.is_wanted() && !job.is_done()
        };
        self.dependents[id.0].iter().any(ending)
    }

    /// How long a process may take to end whose turn it is.
    fn share(&self, id: JobId, now: Time) -> Option<Duration> {
        let end_by = self.end_by?;
        Some(end_by.since(now) / self.stages[id.0].max(1))
    }

    // === the whole ===

    fn woke(&mut self, now: Time, out: &mut Vec<Effect>) {
        let due: Vec<_> = self.timers.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        for id in due {
            self.with(id, now, out, Job::woke);
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

    fn signalled(&mut self, signal: Signal, now: Time, out: &mut Vec<Effect>) {
        let stops = self.settings.stop_on.contains(&signal);
        let fast_shutdown = self
            .settings
            .fast_shutdown
            .as_ref()
            .filter(|(signals, _)| signals.contains(&signal))
            .map(|(_, grace)| *grace);
        match (&self.phase, stops) {
            (PodPhase::Up, true) => self.stop(&Cause::Signal(signal), fast_shutdown, now, out),
            (PodPhase::Up, false) if self.settings.forward => {
                let mut heard = false;
                self.each(now, out, |job, cx| heard |= job.forward(signal, cx));
                if !heard && signal.ends_a_program() {
                    self.stop(&Cause::Signal(signal), None, now, out);
                }
            }
            (PodPhase::Stopping { .. }, true) if fast_shutdown.is_some() && !self.fast_shutdown => {
                self.fast_shutdown_now(fast_shutdown.unwrap_or_default(), now, out);
            }
            (PodPhase::Stopping { .. }, true) if signal == Signal::TERM => {
                self.each(now, out, |job, cx| job.stop_repeated(signal, cx));
            }
            (PodPhase::Stopping { .. }, true)
                if self.settings.fast_shutdown.is_none() || fast_shutdown.is_some() =>
            {
                self.each(now, out, |job, cx| job.force(&Cause::SecondSignal(signal), cx));
            }
            (PodPhase::Stopping { .. }, true) => {
                self.each(now, out, |job, cx| job.stop_repeated(signal, cx));
            }
            (PodPhase::Stopping { .. }, false) if self.settings.forward => {
                self.each(now, out, |job, cx| {
                    job.forward(signal, cx);
                });
            }
            (PodPhase::Lingering { .. }, _) if stops || signal.ends_a_program() => self.end(out),
            (
                PodPhase::Up
                | PodPhase::Stopping { .. }
                | PodPhase::Lingering { .. }
                | PodPhase::Ended { .. },
                _,
            ) => {}
        }
    }

    fn stop(&mut self, cause: &Cause, fast_shutdown: Option<Duration>, now: Time, out: &mut Vec<Effect>) {
        if self.phase != PodPhase::Up {
            return;
        }
        self.phase = PodPhase::Stopping { cause: cause.clone() };
        self.end_by = self.settings.deadline.map(|limit| now + limit);
        let forward = self.settings.forward;
        self.each(now, out, |job, cx| {
            let signal = match *cause {
                // TERM is the general wish to end and is put in the process's own terms; where signals are
                // not handed on, every such wish is.
                Cause::Signal(signal) if signal != Signal::TERM && forward => signal,
                _ => job.plan.stop_signal,
            };
            job.request_stop(cause, signal, cx);
        });
        for id in self.order.clone() {
            if let Some(share) = self.share(id, now) {
                self.with(id, now, out, |job, cx| job.limit(share, cx));
            }
        }
        self.dirty.extend(self.order.iter().copied());
        if let Some(grace) = fast_shutdown {
            self.fast_shutdown_now(grace, now, out);
        }
    }

    /// Order and hooks are given up, and the grace is cut.
    fn fast_shutdown_now(&mut self, grace: Duration, now: Time, out: &mut Vec<Effect>) {
        self.fast_shutdown = true;
        self.end_by = Some(self.end_by.map_or(now + grace, |at| at.min(now + grace)));
        for stages in &mut self.stages {
            *stages = 1;
        }
        self.each(now, out, |job, cx| job.fast_shutdown_now(grace, cx));
        self.dirty.extend(self.order.iter().copied());
    }

    fn requested(&mut self, request: RequestId, action: Request, now: Time, out: &mut Vec<Effect>) {
        let job = match action {
            Request::Start(job) | Request::Stop(job) | Request::Restart(job) | Request::Signal(job, _) => {
                Some(job)
            }
            Request::End => None,
        };
        let known = |id: JobId| self.jobs.get(id.0).is_some_and(|job| !job.retired);
        let refusal = if job.is_some_and(|id| !known(id)) {
            Some(Refusal::Unknown)
        } else if self.phase != PodPhase::Up && !matches!(action, Request::End | Request::Signal(..)) {
            Some(Refusal::ShuttingDown)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return out.push(Effect::Respond { request, response: Err(refusal) });
        }
        match action {
            Request::Start(id) => {
                self.with(id, now, out, |job, cx| job.handle_start(request, cx));
                self.dirty.insert(id);
            }
            Request::Stop(id) => {
                self.with(id, now, out, |job, cx| job.handle_stop(request, cx));
                self.dirty.insert(id);
            }
            Request::Restart(id) => {
                self.with(id, now, out, |job, cx| job.handle_restart(request, cx));
                self.dirty.insert(id);
            }
            Request::Signal(id, signal) => {
                let mut heard = false;
                self.with(id, now, out, |job, cx| heard = job.forward(signal, cx));
                let answer = if heard { Ok(Outcome::Changed) } else { Err(Refusal::NotRunning) };
                out.push(Effect::Respond { request, response: answer });
            }
            Request::End => {
                let up = self.phase == PodPhase::Up;
                self.stop(&Cause::Request, None, now, out);
                if let PodPhase::Lingering { .. } = self.phase {
                    self.end(out);
                }
                let answer = if up { Outcome::Changed } else { Outcome::Unchanged };
                out.push(Effect::Respond { request, response: Ok(answer) });
            }
        }
    }

    /// When all have ended, so does the pod, sooner or later.
    fn settle(&mut self, now: Time, out: &mut Vec<Effect>) {
        match &self.phase {
            PodPhase::Up if self.unfinished == 0 => {
                if self.undone > 0 {
                    self.stop(&Cause::AllExited, None, now, out);
                    self.reconcile(now, out);
                    return self.settle(now, out);
                }
                self.over_by_itself(now, out);
            }
            PodPhase::Stopping { cause: Cause::AllExited } if self.undone == 0 => {
                self.over_by_itself(now, out)
            }
            PodPhase::Stopping { .. } if self.undone == 0 => self.end(out),
            PodPhase::Up
            | PodPhase::Stopping { .. }
            | PodPhase::Lingering { .. }
            | PodPhase::Ended { .. } => {}
        }
    }

    fn over_by_itself(&mut self, now: Time, out: &mut Vec<Effect>) {
        let any_ran = self.jobs.iter().any(|job| job.starts > 0);
        if any_ran && !self.settings.linger.is_zero() {
            self.phase = PodPhase::Lingering { until: now + self.settings.linger };
        } else {
            self.end(out);
        }
    }

    fn end(&mut self, out: &mut Vec<Effect>) {
        let (code, from) = self.verdict();
        self.phase = PodPhase::Ended { code };
        out.push(Effect::End { code, from });
    }

    /// Our exit code as it would be now, and whose it is.
    fn verdict(&self) -> (i32, Option<JobId>) {
        let of = |id: JobId| self.jobs.get(id.0).map_or(0, |job| job.mapped_code(&self.settings.codes));
        let decided = match self.settings.exit {
            ExitRule::FirstInPlan => self.order.iter().map(|id| (*id, of(*id))).find(|(_, code)| *code != 0),
            ExitRule::FirstToFail => self.failed,
            ExitRule::From(id) => Some((id, of(id))),
        };
        (decided.map_or(0, |(_, code)| code), decided.map(|(id, _)| id))
    }

    // === the plan ===

    /// Puts processes into their places: new ones, or new plans of those that are there.
    fn place(&mut self, jobs: Vec<(JobId, JobPlan)>) -> Vec<JobId> {
        let mut doomed_anew = Vec::new();
        self.order = jobs.iter().map(|(id, _)| *id).collect();
        for (id, plan) in jobs {
            if let Some(job) = self.jobs.get_mut(id.0) {
                let was = JobFacts::of(job);
                let sidecar = job.plan.sidecar;
                if job.plan.death_dependencies != plan.death_dependencies {
                    doomed_anew.push(id);
                }
                job.plan = plan;
                self.unfinished -= usize::from(!sidecar && !was.over);
                self.unfinished += usize::from(!job.plan.sidecar && !was.over);
            } else {
                self.undone += 1;
                self.unfinished += usize::from(!plan.sidecar);
                self.unhealthy += 1;
                if plan.tombstone {
                    self.to_carve.insert(id);
                }
                self.jobs.push(Job::new(id, plan));
            }
        }
        self.planned = self.order.iter().map(|id| (self.jobs[id.0].plan.name.clone(), *id)).collect();
        self.dependents = vec![Vec::new(); self.jobs.len()];
        for job in &self.order {
            for need in &self.jobs[job.0].plan.needs {
                if let Some(dependents) = self.dependents.get_mut(need.job.0) {
                    dependents.push(*job);
                }
            }
        }
        let jobs = &self.jobs;
        self.stages = dependencies::stages(jobs.len(), |job| &jobs[job].plan.needs);
        doomed_anew
    }

    fn reloaded(
        &mut self,
        request: RequestId,
        jobs: Vec<(JobId, JobPlan)>,
        settings: PodSettings,
        now: Time,
        out: &mut Vec<Effect>,
    ) {
        if self.phase != PodPhase::Up {
            return out.push(Effect::Respond { request, response: Err(Refusal::ShuttingDown) });
        }
        let kept: BTreeSet<_> = jobs.iter().map(|(id, _)| *id).collect();
        // Places are given in order; a plan that does not is none of ours.
        let new = (self.jobs.len()..).map(JobId);
        let fits =
            kept.iter().filter(|id| id.0 >= self.jobs.len()).copied().zip(new).all(|(id, next)| id == next)
                && kept.len() == jobs.len()
                && kept.iter().all(|id| self.jobs.get(id.0).is_none_or(|job| !job.retired))
                && jobs.iter().flat_map(|(_, plan)| &plan.needs).all(|need| kept.contains(&need.job));
        if !fits {
            return out.push(Effect::Respond { request, response: Err(Refusal::Unknown) });
        }
        let gone: Vec<_> = self.order.iter().filter(|id| !kept.contains(id)).copied().collect();
        self.settings = settings;
        let doomed_anew = self.place(jobs);
        // What those that go need stays until they have gone.
        for id in &gone {
            for need in &self.jobs[id.0].plan.needs {
                self.dependents[need.job.0].push(*id);
            }
        }
        for id in &gone {
            self.order.push(*id);
            self.jobs[id.0].retired = true;
        }
        for id in gone {
            // It does not count any more for what the whole waits for.
            let job = &self.jobs[id.0];
            if job.is_done() {
                self.unfinished -= usize::from(!job.plan.sidecar && !job.is_over());
                self.unhealthy -= usize::from(!job.is_healthy());
                self.order.retain(|other| *other != id);
                self.changed.insert(id);
                out.push(Effect::JobRemoved(id));
            } else {
                self.retiring.entry(job.plan.name.clone()).or_default().insert(id);
                self.with(id, now, out, |job, cx| job.request_stop(&Cause::Reload, job.plan.stop_signal, cx));
            }
            self.dirty.insert(id);
        }
        self.dirty.extend(self.order.iter().copied());
        self.changed.extend(self.order.iter().copied());
        out.push(Effect::Respond { request, response: Ok(Outcome::Changed) });
        self.check_pod_death_dependencies(now, out);
        for id in doomed_anew {
            self.check_death_dependencies(id, now, out);
        }
    }

    /// Nothing in the plan's or the machine's books contradicts the processes. For tests.
    #[doc(hidden)]
    pub fn check_indexes(&self) -> Result<(), String> {
        let undone = self.jobs.iter().filter(|job| !job.is_done()).count();
        let active = self.jobs.iter().filter(|job| !job.plan.sidecar && !job.is_over());
        let unfinished = active.filter(|job| !(job.retired && job.is_done())).count();
        let timers: BTreeSet<_> =
            self.jobs.iter().enumerate().filter_map(|(i, job)| Some((job.deadline()?, JobId(i)))).collect();
        let runs: BTreeMap<_, _> =
            self.jobs.iter().enumerate().filter_map(|(i, job)| Some((job.run()?, JobId(i)))).collect();
        let fits =
            |name: &str, yes: bool| if yes { Ok(()) } else { Err(format!("the books are wrong: {name}")) };
        fits("undone", undone == self.undone)?;
        fits("unfinished", unfinished == self.unfinished)?;
        let unhealthy = self.order.iter().filter(|id| !self.jobs[id.0].is_healthy()).count();
        fits("unhealthy", unhealthy == self.unhealthy)?;
        fits("timers", timers == self.timers)?;
        fits("runs", runs == self.runs)?;
        fits(
            "intent",
            self.phase == PodPhase::Up
                || self.jobs.iter().all(|job| !matches!(job.intent, Intent::Up) || job.is_done()),
        )
    }
}
