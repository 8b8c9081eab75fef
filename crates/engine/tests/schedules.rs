//! Properties of the machine over a pretend world.
//!
//! A world holds what the machine cannot see: which processes are there, what they left behind, which of
//! them are deaf, which probes and hooks are under way, who waits for an answer. Weighted acts change the world or the clock; each becomes an event; after every event the
//! invariants are checked; at the end everything is asked to stop and must have ended within a bounded
//! number of steps. A failure prints its events in the form that `sexton debug replay` reads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::pod::Seed;
use engine::snapshot::JobPhase;
use engine::{
    AttemptId, Cause, CodeMap, Condition, DependencyTerm, DurationRange, Effect, Event, Exit, ExitRule,
    Expression, HookKind, JobEventKind, JobId, JobPlan, LifecycleRecord, Need, NotifyMessage, PeerExit,
    PeerStatus, Plan, Pod, PodPhase, PodSettings, Policy, PostStart, ProbeKind, ProbePlan, ProbeResult,
    Probes, Request, RequestId, Restart, RestartDelay, RestartLimit, RestartRule, RunId, Signal, Snapshot,
    SpawnError, SpawnErrorKind, StartDependency, StartLimitAction, Time, TimeoutAction,
};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// What the world or the clock may do next.
#[derive(Debug, Clone)]
enum Act {
    /// Let this much time pass, waking the machine when it asked to be woken.
    Pass(Duration),
    /// Wake it although nothing is due.
    WakeEarly,
    /// Report the oldest spawn that is still unreported.
    ReportSpawn,
    FailSpawn(SpawnErrorKind),
    /// The process ends by itself, with or without a report of its start before, leaving so many behind.
    Exit {
        code: i32,
        signal: bool,
        leaving: bool,
    },
    /// What was left behind goes away.
    Clear,
    Signal(Signal),
    Suspend,
    Resume,
    /// A report about a run that is over.
    Stale(u8),
    /// No start succeeds any more.
    RefuseAll,
    /// The oldest probe (or the hook, if there is one) is answered.
    Answer(Reply),
    /// The process says something.
    Say(NotifyMessage),
    /// It uses too much memory.
    OverMemory,
    /// Somebody wants something of the process at this place.
    Ask(Wish, u8),
    /// The oldest campaign is won.
    Win,
    /// What was won is lost, and somebody else's after so long.
    Lose(Duration),
    /// One of the peers is seen in another state.
    Peer(u8, PeerStatus),
    /// The configuration is read again: bit by bit, which processes stay, and whether they stay as they are.
    Reload(u8, u8),
}

#[derive(Debug, Clone, Copy)]
enum Reply {
    Pass,
    Fail,
    Cannot,
}

#[derive(Debug, Clone, Copy)]
enum Wish {
    Start,
    Stop,
    Restart,
    Signal,
    End,
}

#[derive(Debug, Clone, Copy)]
struct Process {
    /// Its start was reported to the machine.
    reported: bool,
    /// The process itself is there; else only what it left behind.
    leader: bool,
    stop_signals: u32,
    stopped_at: Option<Time>,
    /// Its grace began: with the hook before the signal, if there is one.
    ending_at: Option<Time>,
    /// KILL was sent, last at this time.
    killed_at: Option<Time>,
    /// The machine has given up waiting for it.
    abandoned: bool,
    over_memory: bool,
}

/// What is under way for a run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Task {
    Probe(ProbeKind),
    Hook(HookKind),
}

/// What only one can hold, as one run sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Tenure {
    Wanted,
    Ours,
    /// Until then.
    Lost(Time),
}

struct World {
    settings: PodSettings,
    plans: BTreeMap<JobId, JobPlan>,
    pod: Pod,
    now: Time,
    /// Processes take no notice of anything but KILL.
    deaf: bool,
    /// Processes take no notice of KILL either (uninterruptible sleep).
    stuck: bool,
    processes: BTreeMap<RunId, (JobId, Process)>,
    tenures: BTreeMap<RunId, (JobId, Tenure)>,
    used: BTreeSet<RunId>,
    over: Vec<RunId>,
    starts: Vec<(JobId, Time)>,
    tasks: BTreeMap<AttemptId, (RunId, Task)>,
    /// Processes that have passed their readiness probe since they were started.
    passed: BTreeSet<RunId>,
    /// The last code of a process.
    codes: BTreeMap<JobId, i32>,
    waiting: BTreeSet<RequestId>,
    requests: u64,
    /// When everything was asked to end.
    stop_began: Option<Time>,
    /// Restarts that were decided, but for planned ones.
    restarts: Vec<(JobId, Time)>,
    spawn_failures: usize,
    /// What was seen of peers, and since when.
    peers: BTreeMap<String, (PeerStatus, Time)>,
    /// Whom somebody wanted to run although what dooms them held.
    overruled: BTreeSet<JobId>,
    stones: BTreeMap<Option<JobId>, LifecycleRecord>,
    ended: Option<i32>,
    forced: bool,
    generation: u64,
    effects: Vec<Effect>,
    journal: Vec<(Time, Event)>,
}

type Checked = Result<(), String>;

fn check(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

impl World {
    fn new(plan: Plan, seed: u64, deaf: bool, stuck: bool) -> Self {
        Self {
            pod: Pod::new(Seed { plan: plan.clone(), seed }),
            settings: plan.pod,
            plans: (0..).map(JobId).zip(plan.jobs).collect(),
            now: Time::ZERO,
            deaf,
            stuck,
            processes: BTreeMap::new(),
            tenures: BTreeMap::new(),
            used: BTreeSet::new(),
            over: Vec::new(),
            starts: Vec::new(),
            tasks: BTreeMap::new(),
            passed: BTreeSet::new(),
            codes: BTreeMap::new(),
            waiting: BTreeSet::new(),
            requests: 0,
            stop_began: None,
            restarts: Vec::new(),
            spawn_failures: 0,
            peers: BTreeMap::new(),
            overruled: BTreeSet::new(),
            stones: BTreeMap::new(),
            ended: None,
            forced: false,
            generation: 0,
            effects: Vec::new(),
            journal: Vec::new(),
        }
    }

    fn event(&mut self, event: Event) -> Checked {
        self.journal.push((self.now, event.clone()));
        let was_ended = self.ended.is_some();
        let before = self.pod.snapshot();
        let waited = self.waiting_since(&before);
        let mut effects = Vec::new();
        self.pod.step(self.now, event, &mut effects);
        self.pod.check_indexes()?;
        let answers = |effect: &Effect| matches!(effect, Effect::Respond { .. });
        check(!was_ended || effects.iter().all(answers), || "an effect after the end".to_owned())?;
        let up = before.phase == PodPhase::Up;
        let starts = |effect: &Effect| matches!(effect, Effect::Spawn { .. });
        check(up || !effects.iter().any(starts), || "a start after the end was asked for".to_owned())?;
        let many = effects.iter().filter(|effect| starts(effect)).count();
        check(many <= self.plans.len(), || "one event has led to endless starts".to_owned())?;
        let after = self.pod.snapshot();
        if self.stop_began.is_none() && after.phase != PodPhase::Up {
            self.stop_began = Some(self.now);
        }
        for effect in &effects {
            if let Effect::Spawn { job, .. } = effect {
                self.invariant_awaited_holds(*job, &waited)?;
            }
            self.perform(effect, &after)?;
        }
        let quiet = effects.is_empty();
        self.effects.extend(effects);
        self.invariant_generation(&before, &after, quiet)?;
        self.invariant_never_two()?;
        self.invariant_tenure(&after)?;
        self.invariant_ended_means_nothing_outstanding(&after)?;
        self.invariant_waiting_has_a_deadline(&after)?;
        self.invariant_phase_matches_the_world(&after)?;
        self.invariant_no_death_is_missed(&after)?;
        self.invariant_patience_ends(&after)?;
        self.invariant_stones_tell_the_truth(&after)?;
        self.invariant_tasks_are_for_processes_that_are_there()
    }

    fn perform(&mut self, effect: &Effect, after: &Snapshot) -> Checked {
        match effect {
            Effect::Spawn { job, run } => {
                check(self.used.insert(*run), || format!("{run:?} used twice"))?;
                let ours = matches!(self.tenures.get(run), Some((of, Tenure::Ours)) if of == job);
                check(ours || !self.plans[job].needs_lease, || {
                    format!("{run:?} was started and is not ours")
                })?;
                self.invariant_needs_hold(*job)?;
                self.starts.push((*job, self.now));
                let process = Process {
                    reported: false,
                    leader: true,
                    stop_signals: 0,
                    stopped_at: None,
                    ending_at: None,
                    killed_at: None,
                    abandoned: false,
                    over_memory: false,
                };
                self.processes.insert(*run, (*job, process));
            }
            Effect::Campaign { job, run } => {
                check(self.plans[job].needs_lease, || format!("{job:?} campaigns for nothing"))?;
                let twice = self.tenures.values().any(|(of, tenure)| of == job && *tenure == Tenure::Wanted);
                check(!twice, || format!("{job:?} campaigns twice"))?;
                self.tenures.insert(*run, (*job, Tenure::Wanted));
            }
            Effect::Resign(run) => {
                check(self.tenures.remove(run).is_some(), || format!("{run:?} resigned from nothing"))?;
                check(!self.processes.contains_key(run), || format!("{run:?} resigned and is there"))?;
            }
            Effect::Signal { run, signal, .. } => {
                // A probe may have its own, and the whole may leave less.
                let grace = |job: JobId| {
                    let plan = &self.plans[&job];
                    let probes = [&plan.probes.startup, &plan.probes.liveness, &plan.probes.readiness];
                    let own = probes.into_iter().flatten().filter_map(|probe| probe.grace);
                    own.chain([plan.grace]).min().unwrap_or_default()
                };
                let cut = self.settings.deadline.is_some() && self.stop_began.is_some();
                let Some((job, process)) = self.processes.get_mut(run) else {
                    return Err(format!("{signal} to {run:?}, which is gone"));
                };
                check(process.reported, || format!("{signal} before the process was there"))?;
                if *signal == Signal::KILL {
                    let asked = process.ending_at.is_some_and(|at| self.now.since(at) >= grace(*job));
                    let lost =
                        matches!(self.tenures.get(run), Some((_, Tenure::Lost(by))) if self.now >= *by);
                    check(asked || self.forced || cut || lost || process.over_memory, || {
                        "KILL before the grace was over".to_owned()
                    })?;
                    process.killed_at = Some(self.now);
                }
            }
            Effect::WriteTombstone { job: of, record: stone } => {
                let same = self.stones.insert(*of, stone.clone()).as_ref() == Some(stone);
                check(!same, || format!("{of:?} carved twice: {stone:?}"))?;
            }
            Effect::Publish(news) => {
                self.invariant_stones_come_before_news(news)?;
                if let (JobEventKind::Stopping { cause, kill_at, .. }, Some(run)) = (&news.kind, news.run) {
                    self.invariant_stop_order(news.job, cause, after)?;
                    self.invariant_time_is_shared(news.job, cause, *kill_at, after)?;
                    let (_, process) = self.processes.get_mut(&run).ok_or("stopping what is gone")?;
                    process.stop_signals += 1;
                    process.stopped_at = Some(news.at);
                    process.ending_at = process.ending_at.or(Some(news.at));
                    check(process.stop_signals == 1, || format!("a second stop signal to {run:?}"))?;
                }
                if let JobEventKind::DependencyTimedOut { started_anyway: false, .. } = &news.kind {
                    self.codes.insert(news.job, 1);
                }
                if let (JobEventKind::HookStarted(HookKind::PreStop), Some(run)) = (&news.kind, news.run)
                    && let Some((_, process)) = self.processes.get_mut(&run)
                {
                    process.ending_at = Some(news.at);
                }
                // An end that was planned does not count.
                if let JobEventKind::Restarting { cause, .. } = &news.kind
                    && !matches!(cause, Cause::Ttl(_) | Cause::LeaseLost(_) | Cause::Request)
                {
                    self.restarts.push((news.job, news.at));
                    self.invariant_restarts_within_limit(news.job)?;
                }
                if let (JobEventKind::Stuck { abandoned: true }, Some(run)) = (&news.kind, news.run) {
                    let (job, process) = self.processes.get_mut(&run).ok_or("abandoned what is gone")?;
                    let patience = self.plans[job].abandon_after;
                    let waited = process.killed_at.is_some_and(|at| self.now.since(at) >= patience);
                    check(waited, || format!("{run:?} abandoned too early"))?;
                    process.abandoned = true;
                    // Held for ever.
                    self.tenures.remove(&run);
                    self.codes.entry(*job).or_insert(137);
                }
            }
            Effect::Probe { job, run, kind, attempt } => {
                self.task(*job, *run, *attempt, Task::Probe(*kind))?;
            }
            Effect::Hook { job, run, kind, attempt } => self.task(*job, *run, *attempt, Task::Hook(*kind))?,
            Effect::Abort(attempt) => {
                check(self.tasks.remove(attempt).is_some(), || format!("{attempt:?} is not under way"))?;
            }
            Effect::Respond { request, .. } => {
                check(self.waiting.remove(request), || {
                    format!("{request:?} answered twice, or never asked")
                })?;
            }
            Effect::JobRemoved(job) => {
                let left = self.processes.values().any(|(of, process)| of == job && !process.abandoned);
                check(!left, || format!("{job:?} forgotten while it is there"))?;
                let buried = self.stones.remove(&Some(*job)).is_none_or(|stone| stone.died.is_some());
                check(buried, || format!("{job:?} forgotten and nobody was told"))?;
            }
            Effect::End { code, .. } => {
                check(self.ended.replace(*code).is_none(), || "ended twice".to_owned())?;
                let stone = self.stones.get(&None).and_then(|stone| stone.died.as_ref());
                let told = stone.map(|death| death.code);
                check(!self.settings.tombstone || told == Some(*code), || {
                    format!("ended with {code}, and the peers were told {told:?}")
                })?;
            }
        }
        Ok(())
    }

    fn task(&mut self, job: JobId, run: RunId, attempt: AttemptId, task: Task) -> Checked {
        let there = self.processes.get(&run).is_some_and(|(of, process)| *of == job && process.leader);
        check(there, || format!("{task:?} for {run:?}, which is not there"))?;
        let twice = self.tasks.values().any(|other| *other == (run, task));
        check(!twice, || format!("{task:?} for {run:?} overlaps itself"))?;
        let late =
            matches!(task, Task::Hook(HookKind::PreStop)) && self.processes[&run].1.stopped_at.is_some();
        check(!late, || "a preStop hook behind the stop signal".to_owned())?;
        self.tasks.insert(attempt, (run, task));
        Ok(())
    }

    // === invariants ===

    /// What a process needs holds when it is started, as far as the world can tell.
    fn invariant_needs_hold(&self, job: JobId) -> Checked {
        for need in &self.plans[&job].needs {
            let plan = &self.plans[&need.job];
            let there =
                self.processes.iter().find(|(_, (of, process))| *of == need.job && !process.abandoned);
            let up = there.is_some_and(|(run, (_, process))| {
                let ready = plan.probes.readiness.is_none() || self.passed.contains(run);
                process.reported && process.leader && (need.condition == Condition::Started || ready)
            });
            let code = self.codes.get(&need.job).filter(|_| there.is_none());
            let holds = match need.condition {
                Condition::Started | Condition::Ready => up || code == Some(&0),
                Condition::Succeeded => code == Some(&0),
                Condition::Failed => code.is_some_and(|code| *code != 0),
                Condition::Exited => code.is_some(),
            };
            check(holds, || format!("{job:?} was started before {need:?} holds"))?;
        }
        Ok(())
    }

    fn holds(&self, expression: &Expression, old_ones_too: bool) -> bool {
        let has = |term: &DependencyTerm| {
            let (sighting, since) = self.peers.get(&term.peer).copied().unwrap_or_default();
            let ended = sighting.ended;
            // An old end counts later.
            let young = ended.is_some_and(|end| end.stale) && self.now.since(since) < self.settings.rebirth;
            let holds = match term.condition {
                Condition::Started => sighting.started,
                Condition::Ready => sighting.ready,
                Condition::Exited => ended.is_some(),
                Condition::Succeeded => ended.is_some_and(|end| end.code == Some(0)),
                Condition::Failed => ended.is_some_and(|end| end.code != Some(0)),
            };
            holds && (old_ones_too || !young)
        };
        expression.0.iter().any(|group| group.iter().all(has))
    }

    /// Since when processes wait, of those that do.
    fn waiting_since(&self, at: &Snapshot) -> BTreeMap<JobId, Time> {
        let jobs = self.pod.order().iter().copied().zip(&at.jobs);
        jobs.filter(|(_, job)| matches!(job.phase, JobPhase::Waiting { .. }))
            .map(|(id, job)| (id, job.since))
            .collect()
    }

    /// What a process awaits of peers holds when it is started, or it has waited as long as it was to.
    fn invariant_awaited_holds(&self, job: JobId, waited: &BTreeMap<JobId, Time>) -> Checked {
        let since = waited.get(&job).copied().unwrap_or(self.now);
        for it in &self.plans[&job].start_dependencies {
            let in_vain = it.at_timeout == TimeoutAction::StartAnyway
                && it.timeout.is_some_and(|timeout| self.now.since(since) >= timeout);
            check(in_vain || self.holds(&it.expression, true), || {
                format!("{job:?} was started before {} holds", it.expression)
            })?;
        }
        Ok(())
    }

    /// What is to end with a peer ends.
    fn invariant_no_death_is_missed(&self, after: &Snapshot) -> Checked {
        if after.phase != PodPhase::Up || self.journal.is_empty() {
            return Ok(());
        }
        for expression in &self.settings.death_dependencies {
            check(!self.holds(expression, false), || format!("all goes on although {expression:?} holds"))?;
        }
        for (id, job) in self.pod.order().iter().zip(&after.jobs) {
            let doomed =
                self.plans[id].death_dependencies.iter().any(|expression| self.holds(expression, false));
            let goes_on = job.ending.is_none() && !matches!(job.phase, JobPhase::Done(_));
            check(!doomed || !goes_on || self.overruled.contains(id), || {
                format!("{id:?} goes on although what dooms it holds: {:?}", job.phase)
            })?;
        }
        Ok(())
    }

    /// Whoever waits for peers, and not for ever, is woken.
    fn invariant_patience_ends(&self, after: &Snapshot) -> Checked {
        if after.phase != PodPhase::Up {
            return Ok(());
        }
        for (id, job) in self.pod.order().iter().zip(&after.jobs) {
            let plan = &self.plans[id];
            // For peers, and not for the one of its name that was there before it.
            let others = self.pod.order().iter().zip(&after.jobs);
            let before = others.filter(|(other, job)| job.retired && self.plans[other].name == plan.name);
            // What it campaigns for comes when it comes.
            let campaigns = self.tenures.values().any(|(of, _)| of == id);
            let waits = matches!(job.phase, JobPhase::Waiting { .. })
                && !campaigns
                && plan.needs.is_empty()
                && before.count() == 0;
            let open = |it: &&StartDependency| !self.holds(&it.expression, true);
            let mut open = plan.start_dependencies.iter().filter(open).filter_map(|it| it.timeout);
            let patience = open.any(|timeout| self.now.since(job.since) < timeout);
            check(!waits || !patience || self.pod.deadline().is_some(), || {
                format!("{id:?} waits and nobody wakes it")
            })?;
        }
        Ok(())
    }

    /// What others were told last is so.
    fn invariant_stones_tell_the_truth(&self, after: &Snapshot) -> Checked {
        for (id, job) in self.pod.order().iter().zip(&after.jobs) {
            if !self.plans[id].tombstone {
                continue;
            }
            let stone = self.stones.get(&Some(*id)).ok_or_else(|| format!("nobody was told of {id:?}"))?;
            let done = matches!(job.phase, JobPhase::Done(_));
            let there = job.is_alive();
            check(stone.ready.is_some() == job.ready, || format!("{id:?} ready? {job:?}, told {stone:?}"))?;
            check(stone.died.is_some() == done, || format!("{id:?} dead? {job:?}, told {stone:?}"))?;
            check(!there || stone.born.is_some(), || format!("{id:?} born? {job:?}, told {stone:?}"))?;
            check(stone.ready.is_none() || stone.born.is_some(), || format!("ready unborn: {stone:?}"))?;
        }
        if !self.settings.tombstone {
            return Ok(());
        }
        let stone = self.stones.get(&None).ok_or("nobody was told of the whole")?;
        let over = matches!(after.phase, PodPhase::Lingering { .. } | PodPhase::Ended { .. });
        check(stone.died.is_some() == over, || format!("all dead? told {stone:?}"))?;
        let ready =
            after.phase == PodPhase::Up && stone.born.is_some() && after.jobs.iter().all(|job| job.healthy);
        check(stone.ready.is_some() == ready, || format!("all ready? told {stone:?}"))
    }

    /// Peers learn first.
    fn invariant_stones_come_before_news(&self, news: &engine::JobEvent) -> Checked {
        let tombstone = self.plans.get(&news.job).is_some_and(|plan| plan.tombstone);
        let stone = self.stones.get(&Some(news.job));
        let known = |of: fn(&LifecycleRecord) -> bool| !tombstone || stone.is_some_and(of);
        match news.kind {
            JobEventKind::Started { .. } => {
                check(known(|stone| stone.born.is_some()), || format!("news before the stone: {news:?}"))
            }
            JobEventKind::Done => check(known(|stone| stone.died.is_some()), || {
                format!("news of an end before the stone: {news:?}")
            }),
            _ => Ok(()),
        }
    }

    /// When everything ends: whoever is needed is asked to end after those who need it have ended.
    fn invariant_stop_order(&self, job: JobId, cause: &Cause, after: &Snapshot) -> Checked {
        let of_all = matches!(&after.phase, PodPhase::Stopping { cause: all } if all == cause);
        if !of_all || self.forced {
            return Ok(());
        }
        let needs_it = |other: &JobId| self.plans[other].needs.iter().any(|need| need.job == job);
        let there = self.processes.values().find(|(other, process)| needs_it(other) && !process.abandoned);
        check(there.is_none(), || format!("{job:?} was asked to end before {there:?}, which needs it"))
    }

    /// When everything ends in time: whoever's turn it is leaves at least half of it to those that it needs.
    fn invariant_time_is_shared(
        &self,
        job: JobId,
        cause: &Cause,
        kill_at: Time,
        after: &Snapshot,
    ) -> Checked {
        let of_all = matches!(&after.phase, PodPhase::Stopping { cause: all } if all == cause);
        let (Some(limit), Some(began), true, false) =
            (self.settings.deadline, self.stop_began, of_all, self.forced)
        else {
            return Ok(());
        };
        let there =
            |need: &Need| self.processes.values().any(|(of, process)| *of == need.job && !process.abandoned);
        let others = self.plans[&job].needs.iter().any(there);
        let left = (began + limit).since(self.now);
        let takes = kill_at.since(self.now);
        check(!others || takes <= left / 2, || {
            format!("{job:?} takes {takes:?} of {left:?} that are for others too")
        })
    }

    fn invariant_tasks_are_for_processes_that_are_there(&self) -> Checked {
        let there = |run: &RunId| self.processes.get(run).is_some_and(|(_, process)| process.leader);
        let stray = self.tasks.iter().find(|(_, (run, _))| !there(run));
        check(stray.is_none(), || format!("{stray:?} is under way for nobody"))
    }

    /// What is not ours any more is ended by the time at which it may be somebody else's, as far as KILL ends it.
    fn invariant_tenure(&self, after: &Snapshot) -> Checked {
        let ended = matches!(after.phase, PodPhase::Ended { .. });
        for (run, (_, tenure)) in &self.tenures {
            let process = self.processes.get(run).map(|(_, process)| process);
            check(!ended, || format!("{run:?} is not resigned from at the end"))?;
            let late = matches!(tenure, Tenure::Lost(by) if self.now >= *by);
            let goes_on = process.is_some_and(|process| process.reported && process.killed_at.is_none());
            check(!late || !goes_on || self.pod.deadline().is_some_and(|at| at <= self.now), || {
                format!("{run:?} goes on although it may be somebody else's: {tenure:?}")
            })?;
        }
        Ok(())
    }

    fn invariant_never_two(&self) -> Checked {
        let mut seen = BTreeSet::new();
        let present = self.processes.values().filter(|(_, process)| !process.abandoned);
        let twice = present.map(|(job, _)| &self.plans[job].name).any(|name| !seen.insert(name));
        check(!twice, || format!("two runs of one process: {:?}", self.processes))
    }

    fn invariant_generation(&mut self, before: &Snapshot, after: &Snapshot, quiet: bool) -> Checked {
        check(after.generation >= self.generation, || "the generation fell".to_owned())?;
        self.generation = after.generation;
        let changed = before.jobs != after.jobs || before.phase != after.phase;
        let phases =
            |snapshot: &Snapshot| snapshot.jobs.iter().map(|job| job.phase.label()).collect::<Vec<_>>();
        check(phases(before) == phases(after) || !quiet, || {
            "something changed and nobody was told".to_owned()
        })?;
        check(!changed || after.generation > before.generation, || "changed, same generation".to_owned())
    }

    fn invariant_ended_means_nothing_outstanding(&self, after: &Snapshot) -> Checked {
        let ended = matches!(after.phase, PodPhase::Ended { .. });
        check(ended == self.ended.is_some(), || "phase and effect disagree about the end".to_owned())?;
        if !ended {
            return Ok(());
        }
        let left = self.processes.values().any(|(_, process)| !process.abandoned);
        check(!left, || format!("ended with processes left: {:?}", self.processes))?;
        check(self.waiting.is_empty(), || format!("ended without an answer to {:?}", self.waiting))?;
        check(self.pod.deadline().is_none(), || "a deadline after the end".to_owned())
    }

    fn invariant_waiting_has_a_deadline(&self, after: &Snapshot) -> Checked {
        let waits_for_time = after.jobs.iter().any(|job| {
            matches!(
                job.phase,
                JobPhase::Stopping { .. }
                    | JobPhase::Draining { .. }
                    | JobPhase::Killing { .. }
                    | JobPhase::Pausing { .. }
            )
        });
        check(!waits_for_time || self.pod.deadline().is_some(), || "waiting without a deadline".to_owned())
    }

    fn invariant_phase_matches_the_world(&self, after: &Snapshot) -> Checked {
        for (id, job) in self.pod.order().iter().zip(&after.jobs) {
            let there =
                self.processes.values().find(|(of, p)| of == id && !p.abandoned).map(|(_, process)| process);
            let fits = match (&job.phase, there) {
                (JobPhase::Running { .. } | JobPhase::Draining { .. }, Some(process)) => {
                    process.reported && process.leader
                }
                (JobPhase::Starting, Some(process)) => !process.reported && process.leader,
                (
                    JobPhase::Stopping { leftovers, .. } | JobPhase::Killing { leftovers, .. },
                    Some(process),
                ) => process.leader != *leftovers,
                (JobPhase::Waiting { .. } | JobPhase::Pausing { .. } | JobPhase::Done(_), None) => true,
                _ => false,
            };
            check(fits, || format!("{:?} but in the world {there:?}", job.phase))?;
        }
        Ok(())
    }

    fn invariant_restarts_within_limit(&self, job: JobId) -> Checked {
        let Some(limit) = self.plans[&job].restart.limit else { return Ok(()) };
        let restarts = self.restarts.iter().filter(|(restarted, _)| *restarted == job);
        let recent = restarts.filter(|(_, at)| self.now.since(*at) < limit.window).count();
        check(recent <= limit.restarts as usize, || format!("{recent} restarts within {:?}", limit.window))
    }

    // === acts ===

    fn act(&mut self, act: &Act) -> Checked {
        let first = |w: &Self, f: &dyn Fn(&Process) -> bool| {
            w.processes.iter().find(|(_, (_, process))| f(process)).map(|(run, _)| *run)
        };
        match act {
            Act::Pass(time) => self.pass(*time)?,
            Act::WakeEarly => self.event(Event::TimerFired)?,
            Act::ReportSpawn => {
                if let Some(run) = first(self, &|process| !process.reported) {
                    self.report_spawn(run)?;
                }
            }
            Act::FailSpawn(kind) => {
                if let Some(run) = first(self, &|process| !process.reported) {
                    self.spawn_failures += 1;
                    self.codes.insert(self.processes[&run].0, kind.exit_code());
                    self.remove(run);
                    let message = "no".to_owned();
                    self.event(Event::SpawnFailed(run, SpawnError { kind: *kind, message }))?;
                }
            }
            Act::Exit { code, signal, leaving } => {
                if let Some(run) = first(self, &|process| process.leader) {
                    let exit = if *signal { Exit::Signal(Signal(*code)) } else { Exit::Code(*code) };
                    self.exit(run, exit, *leaving)?;
                }
            }
            Act::Clear => {
                if let Some(run) = first(self, &|process| !process.leader) {
                    self.remove(run);
                    self.event(Event::Cleared(run))?;
                }
            }
            Act::Signal(signal) => self.signal(*signal)?,
            Act::Suspend => {
                if let Some(run) = first(self, &|process| process.reported && process.leader) {
                    self.event(Event::Suspended(run, Signal(19)))?;
                }
            }
            Act::Resume => {
                if let Some(run) = first(self, &|process| process.reported && process.leader) {
                    self.event(Event::Resumed(run))?;
                }
            }
            Act::Stale(which) => self.stale(*which)?,
            Act::RefuseAll => self.refuse_all()?,
            Act::Answer(reply) => self.reply(*reply)?,
            Act::Say(word) => {
                if let Some(run) = first(self, &|process| process.reported && process.leader) {
                    self.event(Event::Notified(run, *word))?;
                }
            }
            Act::OverMemory => {
                if let Some(run) = first(self, &|process| process.reported) {
                    if let Some((_, process)) = self.processes.get_mut(&run) {
                        process.over_memory = true;
                    }
                    self.event(Event::OverMemory { run, used: 2 << 20, limit: 1 << 20 })?;
                }
            }
            Act::Ask(wish, which) => {
                let place = JobId(usize::from(*which) % (self.pod.job_count() + 1));
                let what = match wish {
                    Wish::Start => Request::Start(place),
                    Wish::Stop => Request::Stop(place),
                    Wish::Restart => Request::Restart(place),
                    Wish::Signal => Request::Signal(place, Signal(10)),
                    Wish::End => Request::End,
                };
                if matches!(wish, Wish::Start | Wish::Restart) {
                    self.overruled.insert(place);
                }
                let request = self.request();
                self.event(Event::Requested { request, action: what })?;
            }
            Act::Win => {
                let wanted = self.tenures.iter_mut().find(|(_, (_, tenure))| *tenure == Tenure::Wanted);
                if let Some((run, tenure)) = wanted.map(|(run, (_, tenure))| (*run, tenure)) {
                    *tenure = Tenure::Ours;
                    self.event(Event::Campaigning(run, "it is another's".to_owned()))?;
                    self.event(Event::Won(run))?;
                }
            }
            Act::Lose(left) => {
                let ours = self.tenures.iter_mut().find(|(_, (_, tenure))| *tenure == Tenure::Ours);
                if let Some((run, tenure)) = ours.map(|(run, (_, tenure))| (*run, tenure)) {
                    let gone_by = self.now + *left;
                    *tenure = Tenure::Lost(gone_by);
                    self.event(Event::Lost { run, why: "lost".to_owned(), gone_by })?;
                }
            }
            Act::Peer(which, sighting) => {
                let peer = PEERS[usize::from(*which) % PEERS.len()].to_owned();
                let news = self.peers.get(&peer).map(|(seen, _)| seen) != Some(sighting);
                if news && *sighting != PeerStatus::default() {
                    let old = |seen: &PeerStatus| seen.ended.is_some_and(|end| end.stale);
                    let (before, since) = self.peers.get(&peer).copied().unwrap_or_default();
                    let since = if old(sighting) && old(&before) { since } else { self.now };
                    self.peers.insert(peer.clone(), (*sighting, since));
                    self.overruled.clear();
                    self.event(Event::PeerChanged { peer: peer.clone(), status: *sighting })?;
                }
                // The same again is no news.
                let before = (self.pod.snapshot(), self.effects.len());
                self.event(Event::PeerChanged { peer, status: *sighting })?;
                let same = before == (self.pod.snapshot(), self.effects.len());
                check(same || *sighting == PeerStatus::default(), || "seen twice, heeded twice".to_owned())?;
            }
            Act::Reload(keep, change) => self.reload(*keep, *change)?,
        }
        self.hear()
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        self.waiting.insert(RequestId(self.requests));
        RequestId(self.requests)
    }

    fn reply(&mut self, reply: Reply) -> Checked {
        let Some((attempt, (run, task))) = self.tasks.first_key_value().map(|(a, t)| (*a, *t)) else {
            return Ok(());
        };
        self.tasks.remove(&attempt);
        match task {
            Task::Probe(kind) => {
                let result = match reply {
                    Reply::Pass => ProbeResult::Passed,
                    Reply::Fail => ProbeResult::Failed("no".to_owned()),
                    Reply::Cannot => ProbeResult::Impossible("cannot".to_owned()),
                };
                if kind == ProbeKind::Readiness && result == ProbeResult::Passed {
                    self.passed.insert(run);
                }
                self.event(Event::Probed { attempt, result })?;
            }
            Task::Hook(_) => {
                let failed = matches!(reply, Reply::Fail).then(|| "no".to_owned());
                self.event(Event::HookFinished { attempt, failed })?;
            }
        }
        // The same again is old news.
        let before = self.pod.snapshot();
        self.event(Event::HookFinished { attempt, failed: None })?;
        check(before == self.pod.snapshot(), || "an answer counted twice".to_owned())
    }

    /// Processes whose bit in `keep` is 0 are dropped; those with a bit in `change` are replaced.
    fn reload(&mut self, keep: u8, change: u8) -> Checked {
        let old = self.pod.order().to_vec();
        let retired = |id: &JobId| self.pod.job(*id).is_none_or(|job| job.retired);
        let old: Vec<_> = old.into_iter().filter(|id| !retired(id)).collect();
        let bit = |bits: u8, place: usize| bits >> (place % 8) & 1 == 1;
        let mut next = self.pod.job_count();
        let mut moved = BTreeMap::new();
        for (place, id) in old.iter().enumerate().filter(|(place, _)| bit(keep, *place)) {
            let new = if bit(change, place) { JobId(next) } else { *id };
            next += usize::from(new != *id);
            moved.insert(*id, new);
        }
        if moved.is_empty() {
            return Ok(());
        }
        let same = moved.len() == old.len() && moved.iter().all(|(old, new)| old == new);
        let jobs: Vec<_> = old
            .iter()
            .filter_map(|id| {
                let mut plan = self.plans[id].clone();
                plan.needs.retain_mut(|need| moved.get(&need.job).map(|new| need.job = *new).is_some());
                Some((*moved.get(id)?, plan))
            })
            .collect();
        let settings = PodSettings { exit: ExitRule::FirstToFail, ..self.settings.clone() };
        let up = self.pod.snapshot().phase == PodPhase::Up;
        let request = self.request();
        if up {
            self.plans.extend(jobs.iter().cloned());
            self.settings = settings.clone();
        }
        let before = (self.pod.snapshot().jobs, self.effects.len());
        self.event(Event::Reloaded { request, jobs, pod: settings })?;
        let after = (self.pod.snapshot().jobs, self.effects.len() - 1);
        check(!same || !up || before == after, || "the same plan again changed something".to_owned())
    }

    fn signal(&mut self, signal: Signal) -> Checked {
        // The second wish of a person at the keyboard is the one thing that cuts the grace short.
        let stops = self.settings.stop_on.contains(&signal);
        let hastes =
            self.settings.fast_shutdown.as_ref().is_some_and(|(signals, _)| signals.contains(&signal));
        let stopping = matches!(self.pod.snapshot().phase, PodPhase::Stopping { .. });
        self.forced |=
            (signal != Signal::TERM && stops && stopping && self.settings.fast_shutdown.is_none()) || hastes;
        self.event(Event::Signalled(signal))
    }

    fn stale(&mut self, which: u8) -> Checked {
        let Some(run) = self.over.get(usize::from(which) % self.over.len().max(1)).copied() else {
            return Ok(());
        };
        let before = (self.pod.snapshot(), self.pod.deadline(), self.effects.len());
        let message = "late".to_owned();
        let kind = SpawnErrorKind::System;
        for event in [
            Event::Spawned(run),
            Event::SpawnFailed(run, SpawnError { kind, message }),
            Event::Exited {
                run,
                exit: Exit::Code(1),
                leftovers: which.is_multiple_of(2),
                out_of_memory: false,
            },
            Event::Notified(run, NotifyMessage::Ready),
            Event::OverMemory { run, used: 2, limit: 1 },
            Event::Cleared(run),
            Event::Suspended(run, Signal(19)),
            Event::Resumed(run),
        ] {
            self.event(event)?;
        }
        let after = (self.pod.snapshot(), self.pod.deadline(), self.effects.len());
        check(before == after, || format!("a stale report about {run:?} moved something"))
    }

    fn report_spawn(&mut self, run: RunId) -> Checked {
        if let Some((_, process)) = self.processes.get_mut(&run) {
            process.reported = true;
        }
        self.event(Event::Spawned(run))
    }

    fn exit(&mut self, run: RunId, exit: Exit, leftovers: bool) -> Checked {
        if let Some((job, _)) = self.processes.get(&run) {
            self.codes.insert(*job, exit.shell_code());
        }
        if leftovers {
            if let Some((_, process)) = self.processes.get_mut(&run) {
                process.leader = false;
                process.reported = true;
            }
        } else {
            self.remove(run);
        }
        self.event(Event::Exited { run, exit, leftovers, out_of_memory: false })
    }

    fn remove(&mut self, run: RunId) {
        self.processes.remove(&run);
        self.over.push(run);
    }

    fn hears(&self, process: &Process) -> bool {
        (process.killed_at.is_some() && !self.stuck) || (process.stopped_at.is_some() && !self.deaf)
    }

    /// Processes that hear a signal end of it.
    fn hear(&mut self) -> Checked {
        let Some((run, process)) = self
            .processes
            .iter()
            .find(|(_, (_, process))| !process.abandoned && self.hears(process))
            .map(|(run, (_, p))| (*run, *p))
        else {
            return Ok(());
        };
        if process.leader {
            let signal = if process.killed_at.is_some() { Signal::KILL } else { Signal::TERM };
            // What is polite ends with 0 when it is asked to.
            let polite = signal == Signal::TERM && run.0.is_multiple_of(2);
            self.exit(run, if polite { Exit::Code(0) } else { Exit::Signal(signal) }, true)
        } else {
            self.remove(run);
            self.event(Event::Cleared(run))
        }
    }

    fn pass(&mut self, time: Duration) -> Checked {
        let until = self.now + time;
        let mut at_once = 0;
        while let Some(at) = self.pod.deadline().filter(|at| *at <= until) {
            // A life, a grace and a pause of nothing may fall due together, but not for ever.
            at_once = if at > self.now { 0 } else { at_once + 1 };
            check(at_once <= 12 * self.plans.len(), || "a deadline that stays due".to_owned())?;
            self.now = self.now.max(at);
            self.event(Event::TimerFired)?;
        }
        self.now = until;
        Ok(())
    }

    /// A system that refuses every start is asked ten times a second at most.
    fn refuse_all(&mut self) -> Checked {
        let (begun, before) = (self.now, self.starts.len());
        for _ in 0..200 {
            let next = self.processes.iter().find(|(_, (_, process))| !process.reported).map(|(run, _)| *run);
            if let Some(run) = next {
                self.codes.insert(self.processes[&run].0, 71);
                self.remove(run);
                let error = SpawnError { kind: SpawnErrorKind::System, message: "no".to_owned() };
                self.event(Event::SpawnFailed(run, error))?;
            } else if let Some(at) = self.pod.deadline() {
                self.now = self.now.max(at);
                self.event(Event::TimerFired)?;
            } else {
                break;
            }
        }
        let tenths = self.now.since(begun).as_millis() / 100;
        let most = (tenths + 2) * self.plans.len() as u128;
        check((self.starts.len() - before) as u128 <= most, || "starts that fail follow too fast".to_owned())
    }

    /// However things stand: a request to end is fulfilled within a bounded number of steps, and, where the
    /// processes die of KILL, within the deadline that there is for all.
    fn end(&mut self) -> Checked {
        let began = (self.pod.snapshot().phase == PodPhase::Up).then_some(self.now);
        self.signal(Signal::TERM)?;
        for _ in 0..120 * self.plans.len() {
            if self.ended.is_some() {
                return self.ended_well(began);
            }
            let unreported: Vec<_> =
                self.processes.iter().filter(|(_, (_, p))| !p.reported).map(|(run, _)| *run).collect();
            for run in unreported {
                self.report_spawn(run)?;
            }
            while self.processes.values().any(|(_, process)| !process.abandoned && self.hears(process)) {
                self.hear()?;
            }
            if let Some(at) = self.pod.deadline() {
                self.now = self.now.max(at);
                self.event(Event::TimerFired)?;
            }
        }
        Err(format!("not ended by so many steps: {:?}", self.pod.snapshot()))
    }

    fn ended_well(&self, began: Option<Time>) -> Checked {
        let abandoned = self.processes.values().filter(|(_, process)| process.abandoned).count();
        check(self.used.len() == self.over.len() + abandoned, || "a run has no end".to_owned())?;
        check(self.tasks.is_empty(), || format!("still under way: {:?}", self.tasks))?;
        if let (Some(limit), Some(began), false) = (self.settings.deadline, began, self.stuck) {
            let took = self.now.since(began);
            check(took <= limit, || format!("took {took:?} of {limit:?} to end"))?;
        }
        Ok(())
    }

    fn run(&mut self, acts: &[Act]) -> Checked {
        self.event(Event::Started)?;
        for act in acts {
            self.act(act)?;
        }
        self.end()
    }

    fn journal(&self, plan: &Plan, seed: u64) -> String {
        let seed = Seed { plan: plan.clone(), seed };
        let head = serde_json::json!({ "version": 2, "seed": seed });
        let lines = self.journal.iter().map(|(at, event)| serde_json::json!({ "at": at, "event": event }));
        std::iter::once(head).chain(lines).map(|line| format!("{line}\n")).collect()
    }
}

// === what may be planned ===

fn duration(to_ms: u64) -> impl Strategy<Value = Duration> {
    (0..=to_ms).prop_map(Duration::from_millis)
}

fn span(to_ms: u64) -> impl Strategy<Value = DurationRange> {
    (duration(to_ms), duration(to_ms)).prop_map(|(a, b)| DurationRange { from: a.min(b), to: a.max(b) })
}

fn restart() -> impl Strategy<Value = Restart> {
    let delay = prop_oneof![
        Just(RestartDelay::Fixed(Duration::ZERO)),
        duration(8000).prop_map(RestartDelay::Fixed),
        (span(8000), duration(5000), any::<bool>()).prop_map(|(span, reset_after, first_at_once)| {
            RestartDelay::Exponential { range: span, reset_after, first_at_once }
        }),
    ];
    let limit = proptest::option::of(
        (0u32..4, duration(20_000)).prop_map(|(restarts, window)| RestartLimit { restarts, window }),
    );
    let policy =
        prop_oneof![1 => Just(Policy::Never), 1 => Just(Policy::OnFailure), 2 => Just(Policy::Always)];
    let rule =
        (0i32..4, any::<bool>()).prop_map(|(code, negated)| RestartRule { codes: vec![code, 9], negated });
    let rules = proptest::collection::vec(rule, 0..2);
    let limit_action = prop_oneof![
        Just(StartLimitAction::End),
        Just(StartLimitAction::Exit),
        Just(StartLimitAction::Hold),
        Just(StartLimitAction::Ignore)
    ];
    (policy, rules, delay, limit, limit_action).prop_map(|(policy, rules, delay, limit, limit_action)| {
        Restart { policy, rules, delay, limit, limit_action }
    })
}

fn probe() -> impl Strategy<Value = ProbePlan> {
    let thresholds = (1u32..3, 1u32..3, proptest::option::of(duration(2000)), any::<bool>());
    let period = (200u64..3000).prop_map(Duration::from_millis);
    (duration(2000), period, thresholds).prop_map(
        |(initial_delay, period, (success_threshold, failure_threshold, grace, restarts))| ProbePlan {
            initial_delay,
            period,
            timeout: Duration::from_secs(1),
            success_threshold,
            failure_threshold,
            grace,
            restarts,
        },
    )
}

fn probes() -> impl Strategy<Value = Probes> {
    let some = || proptest::option::weighted(0.3, probe());
    (some(), some(), some()).prop_map(|(startup, liveness, readiness)| Probes {
        startup,
        liveness,
        readiness,
    })
}

const PEERS: [&str; 2] = ["a", "b"];

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        Just(Condition::Started),
        Just(Condition::Ready),
        Just(Condition::Succeeded),
        Just(Condition::Failed),
        Just(Condition::Exited)
    ]
}

fn expression() -> impl Strategy<Value = Expression> {
    let term = (any::<bool>(), condition()).prop_map(|(which, condition)| DependencyTerm {
        peer: PEERS[usize::from(which)].to_owned(),
        condition,
    });
    proptest::collection::vec(proptest::collection::vec(term, 1..3), 1..3).prop_map(Expression)
}

fn start_dependencies() -> impl Strategy<Value = Vec<StartDependency>> {
    let it = (expression(), proptest::option::of(duration(4000)), any::<bool>());
    let it = it.prop_map(|(expression, timeout, fail)| StartDependency {
        expression,
        timeout,
        at_timeout: if fail { TimeoutAction::Fail } else { TimeoutAction::StartAnyway },
    });
    prop_oneof![3 => Just(Vec::new()), 1 => proptest::collection::vec(it, 1..3)]
}

fn death_dependencies() -> impl Strategy<Value = Vec<Expression>> {
    prop_oneof![5 => Just(Vec::new()), 1 => proptest::collection::vec(expression(), 1..3)]
}

fn sighting() -> impl Strategy<Value = PeerStatus> {
    let end =
        (proptest::option::of(0i32..2), any::<bool>()).prop_map(|(code, old)| PeerExit { code, stale: old });
    prop_oneof![
        any::<bool>().prop_map(|ready| PeerStatus { started: true, ready, ended: None }),
        end.prop_map(|end| PeerStatus { started: false, ready: false, ended: Some(end) }),
    ]
}

/// A process that may need those before it.
fn job() -> impl Strategy<Value = (JobPlan, [Option<Condition>; 3])> {
    let condition = prop_oneof![
        3 => Just(Condition::Started),
        3 => Just(Condition::Ready),
        1 => Just(Condition::Succeeded),
        1 => Just(Condition::Failed),
        1 => Just(Condition::Exited)
    ];
    let condition = || proptest::option::weighted(0.35, condition.clone());
    let hook =
        (duration(3000), any::<bool>()).prop_map(|(deadline, when_ready)| PostStart { deadline, when_ready });
    let more = (
        proptest::bool::weighted(0.15),
        probes(),
        proptest::bool::weighted(0.15),
        proptest::option::weighted(0.2, duration(5000)),
        proptest::option::weighted(0.1, duration(5000)),
        proptest::option::weighted(0.25, hook),
        proptest::bool::weighted(0.25),
        any::<bool>(),
        (start_dependencies(), death_dependencies(), any::<bool>(), proptest::bool::weighted(0.25)),
    );
    let needs = [condition(), condition(), condition()];
    (restart(), proptest::option::of(span(5000)), duration(6000), duration(3000), any::<bool>(), more, needs)
        .prop_map(|(restart, ttl, grace, abandon_after, terminal, more, needs)| {
            let (
                sidecar,
                probes,
                notifies,
                start_deadline,
                watchdog,
                post_start,
                pre_stop,
                must_start,
                of_peers,
            ) = more;
            let (start_dependencies, death_dependencies, tombstone, needs_lease) = of_peers;
            let plan = JobPlan {
                needs_lease,
                name: "p".to_owned(),
                needs: Vec::new(),
                start_dependencies,
                death_dependencies,
                tombstone,
                sidecar,
                restart,
                ttl,
                stop_signal: Signal::TERM,
                grace,
                abandon_after,
                terminal,
                must_start,
                probes,
                notifies,
                start_deadline,
                watchdog,
                post_start,
                pre_stop,
            };
            (plan, needs)
        })
}

fn plan() -> impl Strategy<Value = Plan> {
    let stop_on = prop_oneof![Just(vec![Signal::TERM]), Just(vec![Signal::TERM, Signal::INT, Signal::QUIT]),];
    let linger = prop_oneof![Just(Duration::ZERO), duration(4000)];
    let fast_shutdown = proptest::option::of(duration(1000).prop_map(|grace| (vec![Signal::INT], grace)));
    let settings = (
        stop_on,
        linger,
        fast_shutdown,
        any::<bool>(),
        proptest::option::of((500u64..9000).prop_map(Duration::from_millis)),
        0usize..8,
        (
            death_dependencies(),
            (1u64..5000).prop_map(Duration::from_millis),
            any::<bool>(),
            proptest::option::of(0i32..2),
        ),
    );
    (proptest::collection::vec(job(), 1..5), settings).prop_map(|(jobs, settings)| {
        let (stop_on, linger, fast_shutdown, forward, deadline, exit, of_peers) = settings;
        let (death_dependencies, rebirth, tombstone, caused) = of_peers;
        let codes = CodeMap { caused, codes: vec![(3, 0), (4, 5)] };
        let exit = match exit {
            from if from < jobs.len() => ExitRule::From(JobId(from)),
            5 => ExitRule::FirstInPlan,
            _ => ExitRule::FirstToFail,
        };
        let mut plans: Vec<JobPlan> = Vec::new();
        for (place, (mut plan, needs)) in jobs.into_iter().enumerate() {
            plan.name = format!("p{place}");
            plan.needs = (0..place)
                .filter_map(|job| Some(Need { job: JobId(job), condition: needs[job % 3]? }))
                .filter(|need| {
                    let may_end = plans[need.job.0].restart.may_end();
                    may_end || matches!(need.condition, Condition::Started | Condition::Ready)
                })
                .collect();
            plans.push(plan);
        }
        Plan {
            jobs: plans,
            pod: PodSettings {
                stop_on,
                fast_shutdown,
                forward,
                linger,
                deadline,
                exit,
                codes,
                death_dependencies,
                rebirth,
                tombstone,
            },
        }
    })
}

fn act() -> impl Strategy<Value = Act> {
    let kind = prop_oneof![
        Just(SpawnErrorKind::NotFound),
        Just(SpawnErrorKind::NotExecutable),
        Just(SpawnErrorKind::System)
    ];
    let signal = prop_oneof![
        2 => Just(Signal::TERM),
        2 => Just(Signal::INT),
        1 => Just(Signal::HUP),
        3 => Just(Signal(10)),
    ];
    prop_oneof![
        8 => duration(4000).prop_map(Act::Pass),
        2 => Just(Act::WakeEarly),
        10 => Just(Act::ReportSpawn),
        2 => kind.prop_map(Act::FailSpawn),
        8 => (0i32..20, any::<bool>(), any::<bool>())
            .prop_map(|(code, signal, leaving)| Act::Exit { code: code.max(i32::from(signal)), signal, leaving }),
        4 => Just(Act::Clear),
        1 => signal.prop_map(Act::Signal),
        1 => Just(Act::Suspend),
        1 => Just(Act::Resume),
        3 => any::<u8>().prop_map(Act::Stale),
        1 => Just(Act::RefuseAll),
        10 => prop_oneof![4 => Just(Reply::Pass), 2 => Just(Reply::Fail), 1 => Just(Reply::Cannot)]
            .prop_map(Act::Answer),
        1 => prop_oneof![
            Just(NotifyMessage::Ready),
            Just(NotifyMessage::Watchdog),
            Just(NotifyMessage::WatchdogTrigger),
            Just(NotifyMessage::Stopping),
            duration(3000).prop_map(NotifyMessage::ExtendTimeout)
        ].prop_map(Act::Say),
        1 => Just(Act::OverMemory),
        6 => Just(Act::Win),
        2 => duration(3000).prop_map(Act::Lose),
        3 => (
            prop_oneof![
                6 => Just(Wish::Start),
                6 => Just(Wish::Stop),
                6 => Just(Wish::Restart),
                2 => Just(Wish::Signal),
                1 => Just(Wish::End)
            ],
            any::<u8>()
        ).prop_map(|(wish, which)| Act::Ask(wish, which)),
        5 => (any::<u8>(), sighting()).prop_map(|(which, sighting)| Act::Peer(which, sighting)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(keep, change)| Act::Reload(keep, change)),
        1 => Just(Act::Reload(255, 0)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1500,
        max_shrink_iters: 2_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/schedules.regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_the_invariants_hold_and_a_stop_ends(
        plan in plan(),
        seed in any::<u64>(),
        deaf in any::<bool>(),
        stuck in proptest::bool::weighted(0.2),
        acts in proptest::collection::vec(act(), 0..120),
    ) {
        let mut world = World::new(plan.clone(), seed, deaf, stuck);
        if let Err(broken) = world.run(&acts) {
            return Err(TestCaseError::fail(format!("{broken}\n{}", world.journal(&plan, seed))));
        }
        let mut again = World::new(plan, seed, deaf, stuck);
        let _ = again.run(&acts);
        prop_assert_eq!(&world.effects, &again.effects, "the same input gave other effects");
    }
}
