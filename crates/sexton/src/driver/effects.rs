//! What the engine wants: processes, signals, probes, hooks, words.

use std::io;
use std::sync::Arc;

use engine::{
    AttemptId, Effect, Event, HookKind, JobEvent, JobEventKind, JobId, PodPhase, ProbeKind, RunId, Signal,
    SignalScope, SpawnError, SpawnErrorKind,
};
use tokio::time::Instant;

use super::{Driver, RESTARTS_KEPT};
use crate::control::ControlError;
use crate::logs::capture::Pipes;
use crate::probes;
use crate::probes::Facts;
use crate::status::event_text;
use crate::status::hub::Change;
use linux::notify_listener;
use linux::notify_listener::NotifyReceiver;
use linux::process_table::{MARK, ProcessTable};
use linux::spawn::{Start, spawn};
use linux::terminal::Terminal;
use spec::text::describe;

impl Driver {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { job, run } => self.starts.push_back((job, run)),
            Effect::Campaign { job, run } => self.campaign(job, run),
            Effect::Resign(run) => self.tenures.resign(run),
            Effect::Signal { run, signal, scope } => {
                // The scripts of an automaton are its own to end: it wants to run the last one.
                let scope =
                    if signal != Signal::KILL && self.is_automaton(run) { SignalScope::Group } else { scope };
                self.groups.signal(run, signal, scope);
            }
            Effect::Probe { job, kind, attempt, .. } => self.probe(job, kind, attempt),
            Effect::Hook { job, kind, attempt, .. } => self.hook(job, kind, attempt),
            Effect::Abort(attempt) => {
                if let Some(task) = self.tasks.remove(&attempt) {
                    task.abort();
                }
            }
            Effect::WriteTombstone { job: of, record: stone } => {
                if let Some(Err(error)) = self.graveyard.as_mut().map(|graveyard| graveyard.carve(of, &stone))
                {
                    log::error!("{error}");
                }
            }
            Effect::Publish(news) => self.tell(&news),
            Effect::Respond { request, response: answer } => {
                if let Some(reply) = self.requests.remove(&request) {
                    self.replies.push((reply, answer.map_err(ControlError::Refused)));
                }
            }
            Effect::JobRemoved(job) => {
                self.jobs.remove(&job);
                self.views.remove(&job);
                self.outputs.forget(job);
                if let Some(graveyard) = &mut self.graveyard {
                    graveyard.forget(job);
                }
            }
            Effect::End { code, from } => self.end = Some((code, from)),
        }
    }

    pub(super) fn spawn(&mut self, id: JobId, run: RunId) -> Result<(), SpawnError> {
        let Some(job) = self.jobs.get_mut(&id) else {
            let message = "there is no such process".to_owned();
            return Err(SpawnError { kind: SpawnErrorKind::System, message });
        };
        let command = job.program.command.to_string_lossy();
        let system = |what: &str, error: &io::Error| SpawnError {
            kind: SpawnErrorKind::System,
            message: format!("cannot start '{command}': {what}: {}", describe(error)),
        };
        let pipes = self.outputs.pipes(id).map_err(|error| system("no pipe", &error))?;
        let Pipes { stdout, stderr, ends } = pipes;
        let mut start = Start::with(stdout, stderr);
        let mut ear: Option<NotifyReceiver> = None;
        let mut cgroup = None;
        if job.plan.is_some() || job.lock.is_some() {
            start.variables.push((MARK, ProcessTable::mark(run).into()));
        }
        start.variables.extend(self.tenures.variable(run));
        start.not_after = self.tenures.guard.until(run).map(|until| until.0);
        if let Some(plan) = &job.plan {
            if let Some(cgroups) = &self.cgroups {
                let made = cgroups.make(&plan.name, run, plan.memory_limit, plan.cpu_limit);
                let made = made.and_then(|group| Ok((group.entry()?, group)));
                let (entry, group) = made.map_err(|error| system("no control group", &error))?;
                (start.cgroup, cgroup) = (Some(entry), Some(group));
            }
            if let Some(kind) = plan.notify {
                let user = job.program.attributes.user;
                let made = notify_listener::prepare(kind, run, user, job.watchdog, &mut start);
                ear = Some(made.map_err(|error| system("nowhere to say that it is ready", &error))?);
            }
        } else {
            start.stdin = true;
            start.foreground = self.terminal.as_ref().is_some_and(Terminal::offer);
        }
        match spawn(&job.program, start) {
            Ok(pid) => {
                self.groups.enter(run, pid, cgroup);
                self.tenures.guard.group(run, pid);
                self.outputs.follow(id, run, pid, ends);
                if let Some(ear) = ear {
                    self.ears.insert(run, notify_listener::listen(run, pid, ear, self.inbox.said.0.clone()));
                }
                let now = Instant::now();
                if self.pod.job(id).is_some_and(|job| job.starts > 0) {
                    job.restarts.push_back(now);
                    job.restarts.drain(..job.restarts.len().saturating_sub(RESTARTS_KEPT));
                }
                (job.started, job.heart_beat, job.said) = (now, None, None);
                Ok(())
            }
            Err(error) => {
                if let Some(terminal) = &self.terminal {
                    terminal.ended(false);
                }
                Err(error)
            }
        }
    }

    pub(super) fn probe(&mut self, id: JobId, kind: ProbeKind, attempt: AttemptId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let facts = Facts {
            restarts: job.restarts.iter().map(Instant::elapsed).collect(),
            heart_beat: job.heart_beat.unwrap_or(job.started).elapsed(),
        };
        let Some(probe) = job.plan.as_ref().and_then(|plan| plan.probes.get(kind)) else { return };
        let (checks, limit) = (Arc::clone(&probe.checks), probe.timing.timeout);
        let (runner, results) = (self.inbox.asked.0.clone(), self.inbox.results.0.clone());
        let kept = job.kept[kind as usize].clone();
        let task = probes::begin_probe(attempt, checks, limit, facts, kept, runner, results);
        self.tasks.insert(attempt, task);
    }

    pub(super) fn hook(&mut self, id: JobId, kind: HookKind, attempt: AttemptId) {
        let action = self.jobs.get(&id).and_then(|job| job.hooks[kind as usize].clone());
        let Some(action) = action else {
            return self.events.push_back(Event::HookFinished { attempt, failed: None });
        };
        let (runner, results) = (self.inbox.asked.0.clone(), self.inbox.results.0.clone());
        self.tasks.insert(attempt, probes::begin_hook(attempt, action, runner, results));
    }

    pub(super) fn tell(&mut self, news: &JobEvent) {
        let Some(job) = self.jobs.get(&news.job) else { return };
        let name = Arc::clone(&job.constants.name);
        let (level, message) = event_text::words(news, &name);
        let pid = news.run.and_then(|run| self.groups.pid(run));
        match (news.run, pid) {
            (Some(run), Some(pid)) => log::log!(level, process:% = name, run = run.0, pid = pid; "{message}"),
            (Some(run), None) => log::log!(level, process:% = name, run = run.0; "{message}"),
            (None, _) => log::log!(level, process:% = name; "{message}"),
        }
        match &news.kind {
            JobEventKind::Started { .. } if self.many.is_none() => {
                self.notify.ready(&format!("{name}: {message}"))
            }
            JobEventKind::Ending { .. } if *self.pod.phase() != PodPhase::Up => {
                self.notify.stopping(&format!("{name}: {message}"));
            }
            JobEventKind::Exited { .. }
            | JobEventKind::Restarting { .. }
            | JobEventKind::RestartLimitReached { .. } => {
                self.notify.status(&format!("{name}: {message}"));
            }
            JobEventKind::Stuck { abandoned: true } => {
                if let Some(run) = news.run {
                    self.groups.abandon(run);
                }
            }
            _ => {}
        }
        self.hub.metrics.count(&name, &news.kind);
        self.hub.tell(Change {
            number: 0,
            at: String::new(),
            process: name.to_string(),
            run: news.run.map(|run| run.0),
            pid,
            event: news.kind.label(),
            cause: event_text::cause(&news.kind),
            message,
        });
    }
}
