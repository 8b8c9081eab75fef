//! What happens in the world by chance, turned into events.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::{
    Event, Exit, JobId, NotifyMessage, PeerStatus, PodPhase, ProbeResult, Request, RequestId, RunId, Signal,
    SpawnError, SpawnErrorKind,
};

use crate::invariants::{Checked, check};
use crate::world::{Lease, Process, Task, World, reload_settings};

/// A change of the world or the clock.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Time passes; the timer fires whenever it is due.
    Pass(Duration),
    /// The timer fires although nothing is due.
    WakeEarly,
    /// Report the oldest unreported start.
    ReportSpawn,
    FailSpawn(SpawnErrorKind),
    /// A process exits on its own, possibly before its start was reported, possibly leaving processes behind.
    Exit {
        code: i32,
        signal: bool,
        leaving: bool,
    },
    /// The processes that were left behind exit.
    Clear,
    Signal(Signal),
    Suspend,
    Resume,
    /// Reports about a run that is over.
    Stale(u8),
    /// Every start fails for a while.
    RefuseAll,
    /// The oldest probe or hook finishes.
    Finish(TaskResult),
    Notify(NotifyMessage),
    OverMemory,
    /// A client request about the job with this index.
    Ask(Action, u8),
    /// The oldest campaign acquires its lease.
    Win,
    /// A held lease is lost; another holder may acquire it after this time.
    Lose(Duration),
    Peer(u8, PeerStatus),
    /// A reload; one bit per job: whether it stays, and whether it is replaced.
    Reload(u8, u8),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum TaskResult {
    Pass,
    Fail,
    Impossible,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    Start,
    Stop,
    Restart,
    Signal,
    SignalGroup,
    End,
}

pub(crate) const PEERS: [&str; 2] = ["a", "b"];

impl World {
    pub(crate) fn run(&mut self, acts: &[Act]) -> Checked {
        self.event(Event::Started)?;
        for act in acts {
            self.act(act)?;
        }
        self.end()
    }

    fn act(&mut self, act: &Act) -> Checked {
        let first = |world: &Self, f: &dyn Fn(&Process) -> bool| {
            world.processes.iter().find(|(_, (_, process))| f(process)).map(|(run, _)| *run)
        };
        let running = |process: &Process| process.reported && process.leader;
        match act {
            Act::Pass(time) => self.pass(*time)?,
            Act::WakeEarly => self.event(Event::TimerFired)?,
            Act::ReportSpawn => {
                if let Some(run) = first(self, &|process| !process.reported) {
                    self.event(Event::Spawned(run))?;
                }
            }
            Act::FailSpawn(kind) => {
                if let Some(run) = first(self, &|process| !process.reported) {
                    self.event(Event::SpawnFailed(run, spawn_error(*kind)))?;
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
                    self.event(Event::Cleared(run))?;
                }
            }
            Act::Signal(signal) => self.event(Event::Signalled(*signal))?,
            Act::Suspend => {
                if let Some(run) = first(self, &running) {
                    self.event(Event::Suspended(run, Signal(19)))?;
                }
            }
            Act::Resume => {
                if let Some(run) = first(self, &running) {
                    self.event(Event::Resumed(run))?;
                }
            }
            Act::Stale(index) => self.stale(*index)?,
            Act::RefuseAll => self.refuse_all()?,
            Act::Finish(result) => self.finish_task(*result)?,
            Act::Notify(message) => {
                if let Some(run) = first(self, &running) {
                    self.event(Event::Notified(run, *message))?;
                }
            }
            Act::OverMemory => {
                if let Some(run) = first(self, &|process| process.reported) {
                    self.event(Event::OverMemory { run, used: 2 << 20, limit: 1 << 20 })?;
                }
            }
            Act::Ask(action, index) => {
                let job = JobId(usize::from(*index) % (self.pod.job_count() + 1));
                let action = match action {
                    Action::Start => Request::Start(job),
                    Action::Stop => Request::Stop(job),
                    Action::Restart => Request::Restart(job),
                    Action::Signal => Request::Signal(job, Signal(10)),
                    Action::SignalGroup => Request::SignalGroup(job, Signal(10)),
                    Action::End => Request::End,
                };
                let request = self.next_request();
                self.event(Event::Requested { request, action })?;
            }
            Act::Win => {
                let wanted = self.leases.iter().find(|(_, (_, lease))| *lease == Lease::Wanted);
                if let Some(run) = wanted.map(|(run, _)| *run) {
                    self.event(Event::Campaigning(run, "another holder has it".to_owned()))?;
                    self.event(Event::Won(run))?;
                }
            }
            Act::Lose(left) => {
                let held = self.leases.iter().find(|(_, (_, lease))| *lease == Lease::Held);
                if let Some(run) = held.map(|(run, _)| *run) {
                    let gone_by = self.now + *left;
                    self.event(Event::Lost { run, why: "lost".to_owned(), gone_by })?;
                }
            }
            Act::Peer(index, status) => self.peer(*index, *status)?,
            Act::Reload(keep, change) => self.reload(*keep, *change)?,
        }
        self.deliver_signals()
    }

    fn next_request(&mut self) -> RequestId {
        self.request_count += 1;
        RequestId(self.request_count)
    }

    fn peer(&mut self, index: u8, status: PeerStatus) -> Checked {
        let peer = PEERS[usize::from(index) % PEERS.len()].to_owned();
        self.event(Event::PeerChanged { peer: peer.clone(), status })?;
        // A repeated report has no effect.
        let before = (self.pod.snapshot(), self.effects.len());
        self.event(Event::PeerChanged { peer, status })?;
        let same = before == (self.pod.snapshot(), self.effects.len());
        check(same || status == PeerStatus::default(), || {
            "a repeated report of a peer had an effect".to_owned()
        })
    }

    fn finish_task(&mut self, result: TaskResult) -> Checked {
        let Some((attempt, (_, task))) = self.tasks.first_key_value().map(|(id, task)| (*id, *task)) else {
            return Ok(());
        };
        if matches!(task, Task::Hook(_)) {
            let failed = matches!(result, TaskResult::Fail).then(|| "no".to_owned());
            self.event(Event::HookFinished { attempt, failed })?;
        } else {
            let result = match result {
                TaskResult::Pass => ProbeResult::Passed,
                TaskResult::Fail => ProbeResult::Failed("no".to_owned()),
                TaskResult::Impossible => ProbeResult::Impossible("cannot".to_owned()),
            };
            self.event(Event::Probed { attempt, result })?;
        }
        // A repeated result has no effect.
        let before = self.pod.snapshot();
        self.event(Event::HookFinished { attempt, failed: None })?;
        check(before == self.pod.snapshot(), || "a repeated result had an effect".to_owned())
    }

    /// Jobs whose bit in `keep` is 0 are dropped; those with a bit in `change` are replaced.
    fn reload(&mut self, keep: u8, change: u8) -> Checked {
        let retired = |id: &JobId| self.pod.job(*id).is_none_or(|job| job.retired);
        let old: Vec<_> = self.pod.order().iter().copied().filter(|id| !retired(id)).collect();
        let bit = |bits: u8, index: usize| bits >> (index % 8) & 1 == 1;
        let mut next = self.pod.job_count();
        let mut moved = BTreeMap::new();
        for (index, id) in old.iter().enumerate().filter(|(index, _)| bit(keep, *index)) {
            let new = if bit(change, index) { JobId(next) } else { *id };
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
        let pod = reload_settings(&self.settings);
        let up = self.pod.snapshot().phase == PodPhase::Up;
        let request = self.next_request();
        let before = (self.pod.snapshot().jobs, self.effects.len());
        self.event(Event::Reloaded { request, jobs, pod })?;
        let after = (self.pod.snapshot().jobs, self.effects.len() - 1);
        check(!same || !up || before == after, || {
            "a reload of the same plan has changed something".to_owned()
        })
    }

    fn stale(&mut self, index: u8) -> Checked {
        let runs = &self.finished_runs;
        let Some(run) = runs.get(usize::from(index) % runs.len().max(1)).copied() else { return Ok(()) };
        let before = (self.pod.snapshot(), self.pod.deadline(), self.effects.len());
        let leftovers = index.is_multiple_of(2);
        for event in [
            Event::Spawned(run),
            Event::SpawnFailed(run, spawn_error(SpawnErrorKind::System)),
            Event::Exited { run, exit: Exit::Code(1), leftovers, out_of_memory: false },
            Event::Notified(run, NotifyMessage::Ready),
            Event::OverMemory { run, used: 2, limit: 1 },
            Event::Cleared(run),
            Event::Suspended(run, Signal(19)),
            Event::Resumed(run),
        ] {
            self.event(event)?;
        }
        let after = (self.pod.snapshot(), self.pod.deadline(), self.effects.len());
        check(before == after, || format!("a stale report about {run:?} had an effect"))
    }

    fn exit(&mut self, run: RunId, exit: Exit, leftovers: bool) -> Checked {
        self.event(Event::Exited { run, exit, leftovers, out_of_memory: false })
    }

    fn reacts(&self, process: &Process) -> bool {
        (process.killed_at.is_some() && !self.habits.unkillable)
            || (process.stopped_at.is_some() && !self.habits.ignore_stop)
    }

    /// Lets a process that reacts to a signal exit.
    fn deliver_signals(&mut self) -> Checked {
        let reacting =
            self.processes.iter().find(|(_, (_, process))| !process.abandoned && self.reacts(process));
        let Some((run, process)) = reacting.map(|(run, (_, process))| (*run, *process)) else {
            return Ok(());
        };
        if !process.leader {
            return self.event(Event::Cleared(run));
        }
        let signal = if process.killed_at.is_some() { Signal::KILL } else { Signal::TERM };
        // Every other process exits with 0 after a stop signal.
        let polite = signal == Signal::TERM && run.0.is_multiple_of(2);
        self.exit(run, if polite { Exit::Code(0) } else { Exit::Signal(signal) }, true)
    }

    fn pass(&mut self, time: Duration) -> Checked {
        let until = self.now + time;
        let mut at_once = 0;
        while let Some(at) = self.pod.deadline().filter(|at| *at <= until) {
            // Several deadlines of zero length may be due together, but not without end.
            at_once = if at > self.now { 0 } else { at_once + 1 };
            check(at_once <= 12 * self.plans.len(), || "a deadline that stays due".to_owned())?;
            self.now = self.now.max(at);
            self.event(Event::TimerFired)?;
        }
        self.now = until;
        Ok(())
    }

    /// Failing starts are repeated ten times a second at most.
    fn refuse_all(&mut self) -> Checked {
        let (began, before) = (self.now, self.starts.len());
        for _ in 0..200 {
            let next = self.processes.iter().find(|(_, (_, process))| !process.reported).map(|(run, _)| *run);
            if let Some(run) = next {
                self.event(Event::SpawnFailed(run, spawn_error(SpawnErrorKind::System)))?;
            } else if let Some(at) = self.pod.deadline() {
                self.now = self.now.max(at);
                self.event(Event::TimerFired)?;
            } else {
                break;
            }
        }
        let tenths = self.now.since(began).as_millis() / 100;
        let most = (tenths + 2) * self.plans.len() as u128;
        check((self.starts.len() - before) as u128 <= most, || {
            "failing starts follow each other too fast".to_owned()
        })
    }

    /// A shutdown finishes in a bounded number of steps, and within its time limit if SIGKILL has an effect.
    pub(crate) fn end(&mut self) -> Checked {
        let began = (self.pod.snapshot().phase == PodPhase::Up).then_some(self.now);
        self.event(Event::Signalled(Signal::TERM))?;
        for _ in 0..120 * self.plans.len() {
            if self.ended.is_some() {
                return self.ended_cleanly(began);
            }
            let unreported: Vec<_> =
                self.processes.iter().filter(|(_, (_, p))| !p.reported).map(|(run, _)| *run).collect();
            for run in unreported {
                self.event(Event::Spawned(run))?;
            }
            while self.processes.values().any(|(_, process)| !process.abandoned && self.reacts(process)) {
                self.deliver_signals()?;
            }
            if let Some(at) = self.pod.deadline() {
                self.now = self.now.max(at);
                self.event(Event::TimerFired)?;
            }
        }
        Err(format!("the shutdown did not finish: {:?}", self.pod.snapshot()))
    }

    fn ended_cleanly(&self, began: Option<engine::Time>) -> Checked {
        let abandoned = self.processes.values().filter(|(_, process)| process.abandoned).count();
        check(self.used_runs.len() == self.finished_runs.len() + abandoned, || {
            "a run has no end".to_owned()
        })?;
        check(self.tasks.is_empty(), || format!("still under way: {:?}", self.tasks))?;
        if let (Some(limit), Some(began), false) = (self.settings.deadline, began, self.habits.unkillable) {
            let took = self.now.since(began);
            check(took <= limit, || format!("the shutdown took {took:?} of {limit:?}"))?;
        }
        Ok(())
    }
}

fn spawn_error(kind: SpawnErrorKind) -> SpawnError {
    SpawnError { kind, message: "no".to_owned() }
}
