//! All processes together: they begin together, and when the last has ended the pod ends.
//!
//! ```text
//!        stop signal               all done
//!  Up ───────────────► Stopping ─────────────► Ended
//!   │                                            ▲
//!   └─ all done ──► Lingering ─── time, signal ──┘
//! ```
//!
//! `Stopping` is a latch: nothing leads back to `Up`.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::event::{Cause, Effect, Event};
use crate::job::{Context, Job};
use crate::plan::Plan;
use crate::snapshot::{JobSnapshot, PodPhase, Snapshot};
use crate::{JobId, RunId, Signal, Time};

/// The machine. See the [crate's page](crate) for how it is driven.
#[derive(Debug, Clone)]
pub struct Pod {
    plan: Plan,
    jobs: Vec<Job>,
    phase: PodPhase,
    next_run: u64,
    dice: Dice,
    generation: u64,
}

/// A [`Pod`] to begin with: all that is needed, besides the events, to repeat its life.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seed {
    /// What to do.
    pub plan: Plan,
    /// Where chance begins.
    pub seed: u64,
}

impl Pod {
    /// A pod that waits for [`Event::Began`].
    #[must_use]
    pub fn new(Seed { plan, seed }: Seed) -> Self {
        let jobs = plan.jobs.iter().cloned().enumerate().map(|(i, plan)| Job::new(JobId(i), plan)).collect();
        Self { plan, jobs, phase: PodPhase::Up, next_run: 1, dice: Dice::new(seed), generation: 0 }
    }

    /// Takes a fact and appends what is to be done about it to `effects`.
    ///
    /// Total: any event is legal at any time. One that is about an older run, or comes after the end,
    /// changes nothing.
    pub fn step(&mut self, now: Time, event: Event, effects: &mut Vec<Effect>) {
        if matches!(self.phase, PodPhase::Ended { .. }) {
            return;
        }
        let before = effects.len();
        match event {
            Event::Began => self.began(now, effects),
            Event::Woke => self.woke(now, effects),
            Event::Signalled(signal) => self.signalled(signal, now, effects),
            Event::Spawned(run) => self.of(run, now, effects, |job, cx| job.spawned(run, cx)),
            Event::SpawnFailed(run, error) => {
                self.of(run, now, effects, |job, cx| job.spawn_failed(run, error, cx));
            }
            Event::Exited { run, exit, leftovers } => {
                self.of(run, now, effects, |job, cx| job.exited(run, exit, leftovers, cx));
            }
            Event::Cleared(run) => self.of(run, now, effects, |job, cx| job.cleared(run, cx)),
            Event::Suspended(run, signal) => {
                self.of(run, now, effects, |job, cx| job.suspended(run, signal, cx));
            }
            Event::Resumed(run) => self.of(run, now, effects, |job, cx| job.resumed(run, cx)),
        }
        self.settle(now, effects);
        if effects.len() > before {
            self.generation += 1;
        }
    }

    /// When to send [`Event::Woke`] at the latest; None: there is nothing to wait for but facts.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let own = match self.phase {
            PodPhase::Lingering { until } => Some(until),
            PodPhase::Up | PodPhase::Stopping { .. } | PodPhase::Ended { .. } => None,
        };
        self.jobs.iter().filter_map(Job::deadline).chain(own).min()
    }

    /// What others may see.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            generation: self.generation,
            phase: self.phase.clone(),
            jobs: self.jobs.iter().map(JobSnapshot::of).collect(),
        }
    }

    fn began(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.next_run == 1 && self.phase == PodPhase::Up {
            self.each(now, effects, Job::start);
        }
    }

    fn woke(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.each(now, effects, Job::woke);
        if let PodPhase::Lingering { until } = self.phase
            && until <= now
        {
            self.end(effects);
        }
    }

    fn signalled(&mut self, signal: Signal, now: Time, effects: &mut Vec<Effect>) {
        let stops = self.plan.stop_on.contains(&signal);
        match (&self.phase, stops) {
            (PodPhase::Up, true) => self.stop(signal, now, effects),
            (PodPhase::Up, false) => {
                let mut heard = false;
                self.each(now, effects, |job, cx| heard |= job.forward(signal, cx));
                if !heard && signal.ends_a_program() {
                    self.stop(signal, now, effects);
                }
            }
            (PodPhase::Stopping { .. }, true) if signal == Signal::TERM => {
                self.each(now, effects, |job, cx| job.stop_repeated(signal, cx));
            }
            (PodPhase::Stopping { .. }, true) => {
                self.each(now, effects, |job, cx| job.force(&Cause::SecondSignal(signal), cx));
            }
            (PodPhase::Stopping { .. }, false) => {
                self.each(now, effects, |job, cx| {
                    job.forward(signal, cx);
                });
            }
            (PodPhase::Lingering { .. }, _) if stops || signal.ends_a_program() => self.end(effects),
            (PodPhase::Lingering { .. } | PodPhase::Ended { .. }, _) => {}
        }
    }

    fn stop(&mut self, signal: Signal, now: Time, effects: &mut Vec<Effect>) {
        let cause = Cause::Signal(signal);
        self.phase = PodPhase::Stopping { cause: cause.clone() };
        self.each(now, effects, |job, cx| {
            // TERM is the general wish to end and is put in the process's own terms.
            let sent = if signal == Signal::TERM { job.plan.stop_signal } else { signal };
            job.stop(&cause, sent, cx);
        });
    }

    /// When all have ended, so does the pod, sooner or later.
    fn settle(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if !self.jobs.iter().all(Job::is_done) {
            return;
        }
        match self.phase {
            PodPhase::Up => {
                let any_ran = self.jobs.iter().any(|job| job.starts > 0);
                if any_ran && !self.plan.linger.is_zero() {
                    self.phase = PodPhase::Lingering { until: now + self.plan.linger };
                } else {
                    self.end(effects);
                }
            }
            PodPhase::Stopping { .. } => self.end(effects),
            PodPhase::Lingering { .. } | PodPhase::Ended { .. } => {}
        }
    }

    /// The code is that of the first process, in the plan's order, that ended badly; else 0.
    fn end(&mut self, effects: &mut Vec<Effect>) {
        let code = self.jobs.iter().map(Job::code).find(|code| *code != 0).unwrap_or(0);
        self.phase = PodPhase::Ended { code };
        effects.push(Effect::End { code });
    }

    fn each(&mut self, now: Time, out: &mut Vec<Effect>, mut f: impl FnMut(&mut Job, &mut Context<'_>)) {
        for job in &mut self.jobs {
            f(job, &mut Context { now, next_run: &mut self.next_run, dice: &mut self.dice, out });
        }
    }

    /// The job whose present run this is; an event about any other run is old news.
    fn of(
        &mut self,
        run: RunId,
        now: Time,
        out: &mut Vec<Effect>,
        f: impl FnOnce(&mut Job, &mut Context<'_>),
    ) {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.run() == Some(run)) {
            f(job, &mut Context { now, next_run: &mut self.next_run, dice: &mut self.dice, out });
        }
    }
}
