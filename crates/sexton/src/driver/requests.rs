//! What somebody wants of us while we run.

use engine::{Event, JobId, Outcome, Plan, PodPhase, Refusal, Request, RequestId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Driver, Job, Process, cast, constants, streams};
use crate::config::up::diff::{Diff, diff};
use crate::config::up::{self, Source, UpPlan};
use crate::control::{Command, ControlError, Reply, Wish};
use crate::tombstones::Graveyard;
use spec::environment::Real;
use spec::reload::Reloaded;
use spec::text::describe;

impl Driver {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Process { name, wish, reply } => {
                let id = match self.find(&name) {
                    Ok(id) => id,
                    Err(error) => return drop(reply.send(Err(error))),
                };
                let what = match wish {
                    Wish::Start => Request::Start(id),
                    Wish::Stop => Request::Stop(id),
                    Wish::Restart => Request::Restart(id),
                    Wish::Signal(signal) => Request::Signal(id, signal),
                };
                self.request(what, reply);
            }
            Command::End(reply) => self.request(Request::End, reply),
            Command::Reload(reply) => {
                let result = self.reload();
                match &result {
                    Ok(reloaded) => log::info!("read again: {}", in_words(reloaded)),
                    Err(error) => log::error!("not read again, nothing has changed: {error}"),
                }
                let _ = reply.send(result);
            }
            Command::HeartBeat { name, reply } => {
                let result = self.find(&name).map(|id| {
                    if let Some(job) = self.jobs.get_mut(&id) {
                        job.heart_beat = Some(Instant::now());
                    }
                });
                let _ = reply.send(result);
            }
        }
    }

    pub(super) fn find(&self, name: &str) -> Result<JobId, ControlError> {
        let retired = |id: &JobId| self.pod.job(*id).is_none_or(|job| job.retired);
        let planned = self.pod.order().iter().filter(|id| !retired(id));
        let named = |id: &&JobId| self.jobs.get(id).is_some_and(|job| &*job.constants.name == name);
        planned.clone().find(named).copied().ok_or_else(|| {
            let names: Vec<_> =
                planned.filter_map(|id| Some(self.jobs.get(id)?.constants.name.clone())).collect();
            let hint = spec::suggest::hint(name, names.iter().map(|name| &**name));
            ControlError::Unknown(format!("there is no process '{name}'{hint}"))
        })
    }

    pub(super) fn request(&mut self, what: Request, reply: Reply<Outcome>) {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.requests.insert(request, reply);
        self.feed(Event::Requested { request, action: what });
    }

    /// Reads the configuration again. All or nothing: a file that is not all right changes nothing.
    pub(super) fn reload(&mut self) -> Result<Reloaded, ControlError> {
        let Some(many) = &self.many else {
            return Err(ControlError::Configuration(
                "there is no configuration that could be read again".to_owned(),
            ));
        };
        if *self.pod.phase() != PodPhase::Up {
            return Err(ControlError::Refused(Refusal::ShuttingDown));
        }
        if let Source::File(path) = &many.source
            && !path.is_file()
        {
            // A pipe cannot be read again, and must not hold us up.
            return Err(ControlError::Configuration(format!("{} is no regular file", path.display())));
        }
        let new = up::load(&many.source, &many.beside, &Real)
            .map_err(|error| ControlError::Configuration(error.to_string()))?;
        let first_new = self.pod.job_count();
        let Diff { places, told } = diff(&many.plan, &many.places, &new, first_new);
        let fresh = || (0..new.processes.len()).filter(|place| places[*place].0 >= first_new);
        for place in fresh() {
            let process = &new.processes[place];
            let planned = self.outputs.plan(
                places[place],
                &process.name,
                streams(process),
                process.logs.clone(),
                false,
            );
            planned
                .map_err(|error| ControlError::Configuration(format!("no output: {}", describe(&error))))?;
        }
        let news = self.recast(&new, &places)?;
        for place in fresh() {
            let process = &new.processes[place];
            let made = Process {
                constants: constants(process),
                program: process.program.clone(),
                plan: Some(process.clone()),
                lock: process.lock.clone(),
            };
            self.jobs.insert(places[place], Job::new(made, &new.plan.jobs[place]));
        }
        let Plan { jobs, mut pod } = new.plan.clone();
        let placed = jobs.into_iter().zip(&places).map(|(mut job, place)| {
            for need in &mut job.needs {
                need.job = places[need.job.0];
            }
            (*place, job)
        });
        let jobs = placed.collect();
        if let engine::ExitRule::From(id) = &mut pod.exit {
            *id = places[id.0];
        }
        if new.processes.iter().any(|process| process.memory_limit.is_some()) && self.look_at_memory.is_none()
        {
            self.look_at_memory = Some(Instant::now());
        }
        if let Some(many) = &mut self.many {
            (many.plan, many.places) = (new, places);
        }
        self.seen(news);
        let (reply, mut answer) = oneshot::channel();
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.requests.insert(request, reply);
        self.feed(Event::Reloaded { request, jobs, pod });
        self.publish();
        match answer.try_recv() {
            Ok(Err(refused)) => Err(refused),
            Ok(Ok(_)) | Err(_) => Ok(told),
        }
    }
}

impl Driver {
    /// Looks at the peers of a new plan. What the pod itself is does not change while we run.
    fn recast(
        &mut self,
        new: &UpPlan,
        places: &[JobId],
    ) -> Result<Vec<(String, engine::PeerStatus)>, ControlError> {
        let refused = |message: String| Err(ControlError::Configuration(message));
        let cast = cast(&new.plan, places, &new.processes);
        let begun = match (&mut self.graveyard, &new.pod) {
            (None, None) => return Ok(Vec::new()),
            (None, Some(pod)) => Graveyard::begin(pod.clone(), cast, self.clock).map(|(graveyard, news)| {
                self.graveyard = Some(graveyard);
                news
            }),
            // Without us nobody would be told of the end of the whole.
            (Some(graveyard), None) if graveyard.plan().name.is_none() => graveyard.recast(cast),
            (Some(graveyard), Some(pod)) if pod == graveyard.plan() => graveyard.recast(cast),
            (Some(_), _) => {
                return refused(
                    "graveyard: who we are, where it is and whom we tell to end needs a new start".to_owned(),
                );
            }
        };
        begun.or_else(|error| refused(error.to_string()))
    }
}

pub(super) fn in_words(reloaded: &Reloaded) -> String {
    let list = |what: &str, names: &[String]| match names {
        [] => String::new(),
        names => format!("{what} {}; ", names.join(", ")),
    };
    let Reloaded { added, changed, removed, kept } = reloaded;
    format!(
        "{}{}{}{kept} as before",
        list("added", added),
        list("changed", changed),
        list("removed", removed)
    )
}
