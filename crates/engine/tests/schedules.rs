//! Properties of the machine over a pretend world.
//!
//! A world holds what the machine cannot see: which processes are there, what they left behind, which of
//! them are deaf. Weighted acts change the world or the clock; each becomes an event; after every event the
//! invariants are checked; at the end everything is asked to stop and must have ended within a bounded
//! number of steps. A failure prints its events in the form that `sexton debug replay` reads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::pod::Seed;
use engine::snapshot::JobPhase;
use engine::{
    Cause, Effect, Event, Exit, JobId, JobPlan, Pause, Plan, Pod, PodPhase, Restart, RestartLimit, RunId,
    Signal, Snapshot, Span, SpawnError, SpawnErrorKind, Time, What,
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
}

#[derive(Debug, Clone, Copy)]
struct Process {
    /// Its start was reported to the machine.
    reported: bool,
    /// The process itself is there; else only what it left behind.
    leader: bool,
    stop_signals: u32,
    stopped_at: Option<Time>,
    /// KILL was sent, last at this time.
    killed_at: Option<Time>,
    /// The machine has given up waiting for it.
    abandoned: bool,
}

struct World {
    plan: Plan,
    pod: Pod,
    now: Time,
    /// Processes take no notice of anything but KILL.
    deaf: bool,
    /// Processes take no notice of KILL either (uninterruptible sleep).
    stuck: bool,
    processes: BTreeMap<RunId, (JobId, Process)>,
    used: BTreeSet<RunId>,
    over: Vec<RunId>,
    starts: Vec<(JobId, Time)>,
    /// Restarts that were decided, but for planned ones.
    restarts: Vec<(JobId, Time)>,
    spawn_failures: usize,
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
            plan,
            now: Time::ZERO,
            deaf,
            stuck,
            processes: BTreeMap::new(),
            used: BTreeSet::new(),
            over: Vec::new(),
            starts: Vec::new(),
            restarts: Vec::new(),
            spawn_failures: 0,
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
        let mut effects = Vec::new();
        self.pod.step(self.now, event, &mut effects);
        check(!was_ended || effects.is_empty(), || "an effect after the end".to_owned())?;
        let up = before.phase == PodPhase::Up;
        let starts = |effect: &Effect| matches!(effect, Effect::Spawn { .. });
        check(up || !effects.iter().any(starts), || "a start after the end was asked for".to_owned())?;
        let many = effects.iter().filter(|effect| starts(effect)).count();
        check(many <= self.plan.jobs.len(), || "one event has led to endless starts".to_owned())?;
        for effect in &effects {
            self.perform(effect)?;
        }
        let quiet = effects.is_empty();
        self.effects.extend(effects);
        let after = self.pod.snapshot();
        self.invariant_generation(&before, &after, quiet)?;
        self.invariant_never_two()?;
        self.invariant_ended_means_nothing_outstanding(&after)?;
        self.invariant_waiting_has_a_deadline(&after)?;
        self.invariant_phase_matches_the_world(&after)
    }

    fn perform(&mut self, effect: &Effect) -> Checked {
        match effect {
            Effect::Spawn { job, run } => {
                check(self.used.insert(*run), || format!("{run:?} used twice"))?;
                self.starts.push((*job, self.now));
                let process = Process {
                    reported: false,
                    leader: true,
                    stop_signals: 0,
                    stopped_at: None,
                    killed_at: None,
                    abandoned: false,
                };
                self.processes.insert(*run, (*job, process));
            }
            Effect::Signal { run, signal, .. } => {
                let grace = |job: JobId| self.plan.jobs[job.0].grace;
                let Some((job, process)) = self.processes.get_mut(run) else {
                    return Err(format!("{signal} to {run:?}, which is gone"));
                };
                check(process.reported, || format!("{signal} before the process was there"))?;
                if *signal == Signal::KILL {
                    let asked = process.stopped_at.is_some_and(|at| self.now.since(at) >= grace(*job));
                    check(asked || self.forced, || "KILL before the grace was over".to_owned())?;
                    process.killed_at = Some(self.now);
                }
            }
            Effect::Tell(news) => {
                if let (What::Stopping { .. }, Some(run)) = (&news.what, news.run) {
                    let (_, process) = self.processes.get_mut(&run).ok_or("stopping what is gone")?;
                    process.stop_signals += 1;
                    process.stopped_at = Some(news.at);
                    check(process.stop_signals == 1, || format!("a second stop signal to {run:?}"))?;
                }
                // An end that was planned does not count.
                if let What::Restarting { cause, .. } = &news.what
                    && !matches!(cause, Cause::Ttl(_))
                {
                    self.restarts.push((news.job, news.at));
                    self.invariant_restarts_within_limit(news.job)?;
                }
                if let (What::Stuck { abandoned: true }, Some(run)) = (&news.what, news.run) {
                    let (job, process) = self.processes.get_mut(&run).ok_or("abandoned what is gone")?;
                    let patience = self.plan.jobs[job.0].abandon_after;
                    let waited = process.killed_at.is_some_and(|at| self.now.since(at) >= patience);
                    check(waited, || format!("{run:?} abandoned too early"))?;
                    process.abandoned = true;
                }
            }
            Effect::End { code } => {
                check(self.ended.replace(*code).is_none(), || "ended twice".to_owned())?;
            }
        }
        Ok(())
    }

    // === invariants ===

    fn invariant_never_two(&self) -> Checked {
        let mut seen = BTreeSet::new();
        let twice = self.processes.values().any(|(job, _)| !seen.insert(job.0));
        check(!twice, || format!("two runs of one process: {:?}", self.processes))
    }

    fn invariant_generation(&mut self, before: &Snapshot, after: &Snapshot, quiet: bool) -> Checked {
        check(after.generation >= self.generation, || "the generation fell".to_owned())?;
        self.generation = after.generation;
        let changed = before.jobs != after.jobs || before.phase != after.phase;
        check(!changed || !quiet, || "something changed and nobody was told".to_owned())?;
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
        check(self.pod.deadline().is_none(), || "a deadline after the end".to_owned())
    }

    fn invariant_waiting_has_a_deadline(&self, after: &Snapshot) -> Checked {
        let waits_for_time = after.jobs.iter().any(|job| {
            matches!(
                job.phase,
                JobPhase::Stopping { .. } | JobPhase::Killing { .. } | JobPhase::Pausing { .. }
            )
        });
        check(!waits_for_time || self.pod.deadline().is_some(), || "waiting without a deadline".to_owned())
    }

    fn invariant_phase_matches_the_world(&self, after: &Snapshot) -> Checked {
        for (index, job) in after.jobs.iter().enumerate() {
            let there = self.processes.values().find(|(id, _)| id.0 == index).map(|(_, process)| process);
            let fits = match (&job.phase, there) {
                (JobPhase::Running { .. }, Some(process)) => process.reported && process.leader,
                (JobPhase::Starting, Some(process)) => !process.reported && process.leader,
                (
                    JobPhase::Stopping { leftovers, .. } | JobPhase::Killing { leftovers, .. },
                    Some(process),
                ) => process.leader != *leftovers,
                (JobPhase::Waiting | JobPhase::Pausing { .. } | JobPhase::Done, None) => true,
                (JobPhase::Done, Some(process)) => process.abandoned,
                _ => false,
            };
            check(fits, || format!("{:?} but in the world {there:?}", job.phase))?;
        }
        Ok(())
    }

    fn invariant_restarts_within_limit(&self, job: JobId) -> Checked {
        let Restart::Always { limit: Some(limit), .. } = self.plan.jobs[job.0].restart else { return Ok(()) };
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
            Act::WakeEarly => self.event(Event::Woke)?,
            Act::ReportSpawn => {
                if let Some(run) = first(self, &|process| !process.reported) {
                    self.report_spawn(run)?;
                }
            }
            Act::FailSpawn(kind) => {
                if let Some(run) = first(self, &|process| !process.reported) {
                    self.spawn_failures += 1;
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
        }
        self.hear()
    }

    fn signal(&mut self, signal: Signal) -> Checked {
        // The second wish of a person at the keyboard is the one thing that cuts the grace short.
        self.forced |=
            signal != Signal::TERM && matches!(self.pod.snapshot().phase, PodPhase::Stopping { .. });
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
            Event::Exited { run, exit: Exit::Code(1), leftovers: which.is_multiple_of(2) },
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
        if leftovers {
            if let Some((_, process)) = self.processes.get_mut(&run) {
                process.leader = false;
                process.reported = true;
            }
        } else {
            self.remove(run);
        }
        self.event(Event::Exited { run, exit, leftovers })
    }

    fn remove(&mut self, run: RunId) {
        self.processes.remove(&run);
        self.over.push(run);
    }

    /// Processes that hear a signal end of it.
    fn hear(&mut self) -> Checked {
        let hearing = |process: &Process| {
            (process.killed_at.is_some() && !self.stuck) || (process.stopped_at.is_some() && !self.deaf)
        };
        let Some((run, process)) =
            self.processes.iter().find(|(_, (_, process))| hearing(process)).map(|(run, (_, p))| (*run, *p))
        else {
            return Ok(());
        };
        if process.leader {
            let signal = if process.killed_at.is_some() { Signal::KILL } else { Signal::TERM };
            self.exit(run, Exit::Signal(signal), true)
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
            check(at_once <= 3 * self.plan.jobs.len(), || "a deadline that stays due".to_owned())?;
            self.now = self.now.max(at);
            self.event(Event::Woke)?;
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
                self.remove(run);
                let error = SpawnError { kind: SpawnErrorKind::System, message: "no".to_owned() };
                self.event(Event::SpawnFailed(run, error))?;
            } else if let Some(at) = self.pod.deadline() {
                self.now = self.now.max(at);
                self.event(Event::Woke)?;
            } else {
                break;
            }
        }
        let tenths = self.now.since(begun).as_millis() / 100;
        let most = (tenths + 2) * self.plan.jobs.len() as u128;
        check((self.starts.len() - before) as u128 <= most, || "starts that fail follow too fast".to_owned())
    }

    /// However things stand: a request to end is fulfilled within a bounded number of steps.
    fn end(&mut self) -> Checked {
        self.signal(Signal::TERM)?;
        for _ in 0..60 {
            if self.ended.is_some() {
                return self.ended_well();
            }
            let unreported: Vec<_> =
                self.processes.iter().filter(|(_, (_, p))| !p.reported).map(|(run, _)| *run).collect();
            for run in unreported {
                self.report_spawn(run)?;
            }
            self.hear()?;
            if let Some(at) = self.pod.deadline() {
                self.now = self.now.max(at);
                self.event(Event::Woke)?;
            }
        }
        Err(format!("not ended by 60 steps: {:?}", self.pod.snapshot()))
    }

    fn ended_well(&self) -> Checked {
        let abandoned = self.processes.values().filter(|(_, process)| process.abandoned).count();
        check(self.used.len() == self.over.len() + abandoned, || "a run has no end".to_owned())
    }

    fn run(&mut self, acts: &[Act]) -> Checked {
        self.event(Event::Began)?;
        for act in acts {
            self.act(act)?;
        }
        self.end()
    }

    fn journal(&self, seed: u64) -> String {
        let seed = Seed { plan: self.plan.clone(), seed };
        let head = serde_json::json!({ "version": 1, "seed": seed });
        let lines = self.journal.iter().map(|(at, event)| serde_json::json!({ "at": at, "event": event }));
        std::iter::once(head).chain(lines).map(|line| format!("{line}\n")).collect()
    }
}

// === what may be planned ===

fn duration(to_ms: u64) -> impl Strategy<Value = Duration> {
    (0..=to_ms).prop_map(Duration::from_millis)
}

fn span(to_ms: u64) -> impl Strategy<Value = Span> {
    (duration(to_ms), duration(to_ms)).prop_map(|(a, b)| Span { from: a.min(b), to: a.max(b) })
}

fn restart() -> impl Strategy<Value = Restart> {
    let pause = prop_oneof![
        Just(Pause::Fixed(Duration::ZERO)),
        duration(8000).prop_map(Pause::Fixed),
        (span(8000), duration(5000)).prop_map(|(span, reset_after)| Pause::Growing { span, reset_after }),
    ];
    let limit = proptest::option::of(
        (0u32..4, duration(20_000)).prop_map(|(restarts, window)| RestartLimit { restarts, window }),
    );
    prop_oneof![
        1 => Just(Restart::Never),
        3 => (pause, limit).prop_map(|(pause, limit)| Restart::Always { pause, limit }),
    ]
}

fn job() -> impl Strategy<Value = JobPlan> {
    (restart(), proptest::option::of(span(5000)), duration(6000), duration(3000), any::<bool>()).prop_map(
        |(restart, ttl, grace, abandon_after, terminal)| JobPlan {
            name: "p".to_owned(),
            restart,
            ttl,
            stop_signal: Signal::TERM,
            grace,
            abandon_after,
            terminal,
        },
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    let stop_on = prop_oneof![Just(vec![Signal::TERM]), Just(vec![Signal::TERM, Signal::INT, Signal::QUIT]),];
    (proptest::collection::vec(job(), 1..4), stop_on, prop_oneof![Just(Duration::ZERO), duration(4000)])
        .prop_map(|(jobs, stop_on, linger)| Plan { jobs, stop_on, linger })
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
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1500,
        max_shrink_iters: 20_000,
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
            return Err(TestCaseError::fail(format!("{broken}\n{}", world.journal(seed))));
        }
        let mut again = World::new(plan, seed, deaf, stuck);
        let _ = again.run(&acts);
        prop_assert_eq!(&world.effects, &again.effects, "the same input gave other effects");
    }
}
