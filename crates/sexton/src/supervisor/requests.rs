//! Requests of clients, and reloads of the configuration.

use std::collections::BTreeMap;

use engine::{Event, JobId, Outcome, Plan, Refusal, Request, RequestId};

use super::job::Job;
use super::system::System;
use super::{SupervisedProcess, Supervisor, has_memory_limits, tombstone_targets};
use crate::control::{Command, ControlError, ProcessAction, Reply};
use config::compile::diff::{Diff, diff};
use config::compile::{Source, UpPlan};
use spec::reload::Reloaded;
use spec::text::describe;

/// Requests that the engine has not answered, and answers that are sent when what they report has been published.
#[derive(Default)]
pub(super) struct Requests {
    newest: u64,
    pending: BTreeMap<RequestId, Pending>,
    answered: Vec<(Pending, Result<Outcome, ControlError>)>,
}

/// The receiver of an answer.
enum Pending {
    Request(Reply<Outcome>),
    /// A reload, with what it has changed. Without a reply it was requested by SIGHUP.
    Reload(Option<Reply<Reloaded>>, Reloaded),
}

impl Requests {
    fn add(&mut self, pending: Pending) -> RequestId {
        self.newest += 1;
        let request = RequestId(self.newest);
        self.pending.insert(request, pending);
        request
    }

    /// Stores the engine's answer.
    pub(super) fn answer(&mut self, request: RequestId, answer: Result<Outcome, Refusal>) {
        if let Some(pending) = self.pending.remove(&request) {
            self.answered.push((pending, answer.map_err(ControlError::Refused)));
        }
    }

    /// Sends the answers.
    pub(super) fn send_answers(&mut self) {
        for (pending, answer) in self.answered.drain(..) {
            match pending {
                // An error: the client has disconnected.
                Pending::Request(reply) => drop(reply.send(answer)),
                Pending::Reload(reply, reloaded) => finish_reload(reply, answer.map(|_| reloaded)),
            }
        }
    }

    /// Refuses the requests that the engine has not answered, because the supervisor shuts down.
    pub(super) fn refuse_pending(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let refused = || Err(ControlError::Refused(Refusal::ShuttingDown));
        self.answered.extend(pending.into_values().map(|pending| (pending, refused())));
        self.send_answers();
    }
}

impl<S: System> Supervisor<S> {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Process { name, action, reply } => {
                let id = match self.find(&name) {
                    Ok(id) => id,
                    Err(error) => return drop(reply.send(Err(error))),
                };
                let what = match action {
                    ProcessAction::Start => Request::Start(id),
                    ProcessAction::Stop => Request::Stop(id),
                    ProcessAction::Restart => Request::Restart(id),
                    ProcessAction::Signal(signal) => Request::Signal(id, signal),
                    ProcessAction::SignalGroup(signal) => Request::SignalGroup(id, signal),
                };
                self.request(what, reply);
            }
            Command::End(reply) => self.request(Request::End, reply),
            Command::Reload(reply) => self.reload(Some(reply)),
            Command::HeartBeat { name, reply } => {
                let now = self.system.now();
                let found = self.find(&name).map(|id| {
                    if let Some(job) = self.jobs.get_mut(&id) {
                        job.heartbeat(now);
                    }
                });
                let _ = reply.send(found);
            }
        }
    }

    fn find(&self, name: &str) -> Result<JobId, ControlError> {
        let retired = |id: &JobId| self.pod.job(*id).is_none_or(|job| job.retired);
        let planned = self.pod.order().iter().filter(|id| !retired(id));
        let named = |id: &&JobId| self.jobs.get(id).is_some_and(|job| &*job.info.name == name);
        planned.clone().find(named).copied().ok_or_else(|| {
            let names: Vec<_> = planned.filter_map(|id| Some(self.jobs.get(id)?.info.name.clone())).collect();
            let hint = spec::suggest::hint(name, names.iter().map(|name| &**name));
            ControlError::Unknown(format!("there is no process '{name}'{hint}"))
        })
    }

    fn request(&mut self, what: Request, reply: Reply<Outcome>) {
        let request = self.requests.add(Pending::Request(reply));
        self.dispatch(Event::Requested { request, action: what });
    }

    /// Reloads the configuration. An invalid one changes nothing.
    pub(super) fn reload(&mut self, reply: Option<Reply<Reloaded>>) {
        let (new, Diff { places: ids, reloaded }) = match self.load() {
            Ok(loaded) => loaded,
            Err(error) => return finish_reload(reply, Err(error)),
        };
        let peers = match self.prepare(&new, &ids) {
            Ok(peers) => peers,
            Err(error) => return finish_reload(reply, Err(error)),
        };
        let Plan { jobs, mut pod } = new.plan.clone();
        let jobs = jobs.into_iter().zip(&ids).map(|(mut job, id)| {
            for need in &mut job.needs {
                need.job = ids[need.job.0];
            }
            (*id, job)
        });
        let jobs = jobs.collect();
        if let engine::ExitRule::From(id) = &mut pod.exit {
            *id = ids[id.0];
        }
        if has_memory_limits(&new) && self.memory_check.is_none() {
            self.memory_check = Some(self.system.now());
        }
        if let Some(up) = &mut self.up {
            (up.plan, up.ids) = (new, ids);
        }
        self.peers_changed(peers);
        let request = self.requests.add(Pending::Reload(reply, reloaded));
        self.dispatch(Event::Reloaded { request, jobs, pod });
    }

    /// Loads the configuration, and compares it with the present one.
    fn load(&self) -> Result<(UpPlan, Diff), ControlError> {
        let invalid = |message: String| ControlError::Configuration(message);
        let Some(up) = &self.up else {
            return Err(invalid("there is no configuration file to reload".to_owned()));
        };
        if self.is_shutting_down() {
            return Err(ControlError::Refused(Refusal::ShuttingDown));
        }
        if let Source::File(path) = &up.source
            && !path.is_file()
        {
            // A pipe cannot be read twice, and could block.
            return Err(invalid(format!("{} is not a regular file", path.display())));
        }
        let new = self.system.load_configuration(up).map_err(|error| invalid(error.to_string()))?;
        let changes = diff(&up.plan, &up.ids, &new, self.pod.job_count());
        Ok((new, changes))
    }

    /// Prepares everything of a reload that can fail: the output of new processes, and tombstones.
    fn prepare(&mut self, new: &UpPlan, ids: &[JobId]) -> Result<super::PeerChanges, ControlError> {
        let first_new = self.pod.job_count();
        let added =
            || ids.iter().zip(&new.processes).zip(&new.plan.jobs).filter(|((id, _), _)| id.0 >= first_new);
        for ((id, process), _) in added() {
            self.system.plan_output(*id, process).map_err(|error| {
                let why = describe(&error);
                ControlError::Configuration(format!("cannot set up the output of {}: {why}", process.name))
            })?;
        }
        let targets = tombstone_targets(&new.plan, ids, &new.processes);
        let peers = self.system.set_tombstone_targets(new.pod.as_ref(), targets);
        let peers = peers.map_err(ControlError::Configuration)?;
        let now = self.system.now();
        for ((id, process), plan) in added() {
            self.jobs.insert(*id, Job::new(SupervisedProcess::from(process), plan, now));
        }
        Ok(peers)
    }
}

fn finish_reload(reply: Option<Reply<Reloaded>>, result: Result<Reloaded, ControlError>) {
    match &result {
        Ok(reloaded) => log::info!("configuration reloaded: {}", summary(reloaded)),
        Err(error) => log::error!("cannot reload the configuration, nothing has changed: {error}"),
    }
    if let Some(reply) = reply {
        let _ = reply.send(result);
    }
}

fn summary(reloaded: &Reloaded) -> String {
    let list = |what: &str, names: &[String]| match names {
        [] => String::new(),
        names => format!("{what} {}; ", names.join(", ")),
    };
    let Reloaded { added, changed, removed, kept } = reloaded;
    format!(
        "{}{}{}{kept} unchanged",
        list("added", added),
        list("changed", changed),
        list("removed", removed)
    )
}
