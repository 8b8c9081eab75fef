//! What is shown of the processes: the engine's snapshot with numbers, names and times of day.

pub mod api;
pub mod event_text;
pub mod hub;
pub mod metrics;
pub mod termination;

use std::sync::Arc;
use std::time::Duration;

use engine::snapshot::{LastRun, TerminalReason};
use engine::{Cause, Exit, JobPhase, JobSnapshot, PodPhase, Time};
use jiff::Timestamp;

use linux::clock::{Clock, rfc3339_millis};
use spec::program::Pid;

/// What there is to show at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// Grows with each change.
    pub generation: u64,
    /// `run`, `supervise`, `watch` or `up`.
    pub mode: &'static str,
    /// The processes, in the plan's order; of others, those that are there.
    pub processes: Vec<Arc<ProcessView>>,
    /// The answers to the three questions.
    pub health: Health,
    /// Why everything is ending, and until when; None: it is not.
    pub ending: Option<(String, Option<Time>)>,
    /// Nothing will change any more.
    pub over: bool,
}

/// The answers to the three questions of an orchestrator.
#[derive(Debug, Clone)]
pub struct Health {
    /// Is it worth keeping?
    pub live: HealthState,
    /// May it be given work?
    pub ready: HealthState,
    /// Has it been started?
    pub started: HealthState,
}

/// Yes, or why not.
#[derive(Debug, Clone)]
pub enum HealthState {
    /// Yes.
    Yes,
    /// No, for this reason.
    No(String),
    /// No: because of the process at this place.
    NoBecauseOf(usize),
}

impl HealthState {
    /// Is it yes?
    #[must_use]
    pub const fn is_yes(&self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// One process.
#[derive(Debug, Clone, Default)]
pub struct ProcessView {
    /// What people call it.
    pub name: Arc<str>,
    /// What was executed.
    pub command: String,
    /// With which arguments.
    pub arguments: Vec<String>,
    /// Its state in a few words.
    pub state: String,
    /// In the words of the status socket.
    pub status: Status,
    /// Its number, while it is there.
    pub pid: Option<Pid>,
    /// When the present process, or the last, was started.
    pub started_at: Option<Timestamp>,
    /// When the last process ended, if none is there.
    pub ended_at: Option<Timestamp>,
    /// Of the last process that ended; 128+n for a signal; 0 before.
    pub exit_code: i32,
    /// How long the present process may live.
    pub ttl: Duration,
    /// The pause, or how long we stay.
    pub wait: Duration,
    /// The second port.
    pub side_port: u16,
    /// What the engine knows beyond that; None for processes of others.
    pub own: Option<SupervisedStatus>,
}

/// In the words of the status socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// It is there.
    Running,
    /// It is not, and ended by itself if it ever was.
    #[default]
    Stopped,
    /// It is not: we ended it, or a signal did.
    Killed,
}

impl Status {
    /// The stable word.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Killed => "killed",
        }
    }
}

/// What the engine knows of a process of our own.
#[derive(Debug, Clone)]
pub struct SupervisedStatus {
    /// The engine's snapshot.
    pub job: JobSnapshot,
    /// Since when it is in its phase.
    pub since: Option<Timestamp>,
    /// What happens next by itself, and when: `kill`, `retry`, `ttl`.
    pub next: Option<(&'static str, Timestamp)>,
    /// When the last process ended, also while the next is there.
    pub last_at: Option<Timestamp>,
    /// What it says about itself.
    pub said: Option<String>,
}

/// What does not change in the life of a process of our own.
#[derive(Debug, Clone)]
pub struct ProcessInfo {
    /// What people call it.
    pub name: Arc<str>,
    /// What is executed.
    pub command: String,
    /// With which arguments.
    pub arguments: Vec<String>,
    /// A fixed lifetime.
    pub ttl: Duration,
    /// The pause, or how long we stay.
    pub wait: Duration,
    /// The second port.
    pub side_port: u16,
}

impl View {
    /// Of processes of our own. `many`: they are healthy when each is as it should be; one alone is judged by
    /// whether it is there.
    #[must_use]
    pub fn own(
        mode: &'static str,
        generation: u64,
        phase: &PodPhase,
        end_by: Option<Time>,
        processes: Vec<Arc<ProcessView>>,
        many: bool,
    ) -> Self {
        let ending = match phase {
            PodPhase::Stopping { cause } => Some((cause.to_string(), end_by)),
            PodPhase::Up | PodPhase::Lingering { .. } | PodPhase::Ended { .. } => None,
        };
        let first = |good: &dyn Fn(&JobSnapshot) -> bool| {
            let bad = |process: &Arc<ProcessView>| process.own.as_ref().is_some_and(|own| !good(&own.job));
            processes.iter().position(bad).map_or(HealthState::Yes, HealthState::NoBecauseOf)
        };
        let health = if many {
            let ready = match &ending {
                Some((cause, _)) => HealthState::No(format!("everything is ending, because {cause}")),
                None => first(&|job: &JobSnapshot| job.healthy),
            };
            let up = |job: &JobSnapshot| job.started || job.healthy || job.started_at.is_some();
            Health { live: first(&|job| !job.has_failed_permanently()), ready, started: first(&up) }
        } else {
            let up = *phase == PodPhase::Up;
            let runs = |job: &JobSnapshot| matches!(job.phase, JobPhase::Running { suspended: None, .. });
            Health {
                live: first(&|job| !matches!(job.phase, JobPhase::Done(_))),
                ready: first(&|job| runs(job) && job.ending.is_none() && up),
                started: first(&|job| job.starts > 0),
            }
        };
        let over = matches!(phase, PodPhase::Ended { .. });
        Self { generation, mode, processes, health, ending, over }
    }

    /// Why an answer is no.
    #[must_use]
    pub fn reason(&self, answer: &HealthState) -> Option<String> {
        match answer {
            HealthState::Yes => None,
            HealthState::No(reason) => Some(reason.clone()),
            HealthState::NoBecauseOf(place) => self.processes.get(*place).map(|process| {
                if self.processes.len() == 1 && self.mode != "up" {
                    return process.state.clone();
                }
                format!("{}: {}", process.name, process.state)
            }),
        }
    }

    /// The process of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<ProcessView>> {
        self.processes.iter().find(|process| &*process.name == name)
    }
}

impl ProcessView {
    /// A process of our own, as it is now; `before` is what was shown of it last: what has a time keeps it.
    #[must_use]
    pub fn own(
        constants: &ProcessInfo,
        job: JobSnapshot,
        pod: &PodPhase,
        pid: Option<Pid>,
        said: Option<&str>,
        before: Option<&Self>,
        clock: Clock,
    ) -> Self {
        let status = match &job.last {
            _ if job.is_alive() => Status::Running,
            Some(LastRun { exit: Some(Exit::Signal(_)), .. }) => Status::Killed,
            Some(LastRun { exit: Some(_), by: Some(by), .. }) if ended_by_us(by) => Status::Killed,
            _ => Status::Stopped,
        };
        let (ttl, next) = match &job.phase {
            JobPhase::Running { ttl: Some((ttl, at)), .. } => (*ttl, Some(("ttl", *at))),
            JobPhase::Draining { kill_at, .. } | JobPhase::Stopping { kill_at, .. } => {
                (constants.ttl, Some(("kill", *kill_at)))
            }
            JobPhase::Pausing { retry_at, .. } => (constants.ttl, Some(("retry", *retry_at))),
            _ => (constants.ttl, None),
        };
        let old = before.and_then(|before| before.own.as_ref());
        // A time of day is fixed when it is first shown, also when the system's clock is set later.
        let day = |at: Time, known: Option<(Time, Option<Timestamp>)>| match known {
            Some((same, day)) if same == at => day,
            _ => clock.of_day(at),
        };
        let last_at = job.last.as_ref().and_then(|last| {
            day(last.at, old.and_then(|old| Some((old.job.last.as_ref()?.at, old.last_at))))
        });
        let started_at = job.started_at.and_then(|at| {
            day(at, old.and_then(|old| old.job.started_at).zip(before.map(|before| before.started_at)))
        });
        let own = SupervisedStatus {
            since: day(job.since, old.map(|old| (old.job.since, old.since))),
            next: next.and_then(|(what, at)| Some((what, clock.of_day(at)?))),
            last_at,
            said: said.map(str::to_owned),
            job,
        };
        let job = &own.job;
        Self {
            name: Arc::clone(&constants.name),
            command: constants.command.clone(),
            arguments: constants.arguments.clone(),
            state: describe(pod, job, clock),
            status,
            pid: pid.filter(|_| job.is_alive()),
            started_at,
            ended_at: last_at.filter(|_| !job.is_alive()),
            exit_code: job.last.as_ref().map_or(0, |last| last.code),
            ttl,
            wait: constants.wait,
            side_port: constants.side_port,
            own: Some(own),
        }
    }
}

/// Did it end because we, or somebody through us, wanted it to?
const fn ended_by_us(by: &Cause) -> bool {
    matches!(
        by,
        Cause::Signal(_)
            | Cause::SecondSignal(_)
            | Cause::Ttl(_)
            | Cause::GracePeriodOver(_)
            | Cause::Request
    )
}

impl Health {
    /// Of processes of others: we know whether they are there.
    #[must_use]
    pub fn watched(present: bool, ever: bool, whom: &str) -> Self {
        let answer = |yes: bool| {
            if yes { HealthState::Yes } else { HealthState::No(format!("there is no process {whom}")) }
        };
        Self { live: answer(present), ready: answer(present), started: answer(ever) }
    }
}

/// The state in a few words.
fn describe(pod: &PodPhase, job: &JobSnapshot, clock: Clock) -> String {
    // Not "in 5 s": what is said now may be read later.
    let when = |at: Time| {
        clock.of_day(at).map_or_else(|| "some day".to_owned(), |at| format!("at {}", rfc3339_millis(at)))
    };
    let how_it_ended = || match &job.last {
        None => "never started".to_owned(),
        Some(LastRun { exit: Some(_), out_of_memory: true, .. }) => {
            "killed, because it used too much memory".to_owned()
        }
        Some(LastRun { exit: Some(exit), by: None, .. }) => format!("ended with {exit}"),
        Some(LastRun { exit: Some(exit), by: Some(by), .. }) => format!("ended with {exit}, because {by}"),
        Some(LastRun { exit: None, by: Some(by), .. }) => by.to_string(),
        Some(LastRun { exit: None, by: None, .. }) => "KILL did not end it".to_owned(),
    };
    match &job.phase {
        JobPhase::Waiting { need: None } => "not started yet".to_owned(),
        JobPhase::Waiting { need: Some(need) } => format!("waits for {need}"),
        JobPhase::Starting => "being started".to_owned(),
        JobPhase::Running { suspended: Some(signal), .. } => format!("suspended by {signal}"),
        JobPhase::Running { .. } => match (&job.ending, &job.unready_reason) {
            (Some(cause), _) => format!("waits for its turn to end, because {cause}"),
            (None, Some(reason)) => format!("running, not ready: {reason}"),
            (None, None) => "running".to_owned(),
        },
        JobPhase::Draining { why, kill_at } => {
            format!("its preStop hook is carried out, because {why}; killed {}", when(*kill_at))
        }
        JobPhase::Stopping { why, kill_at, leftovers } => {
            let who = if *leftovers { "what it left behind is ending" } else { "ending" };
            format!("{who}, because {why}; killed {}", when(*kill_at))
        }
        JobPhase::Killing { why, .. } => format!("killed, and not gone yet, because {why}"),
        JobPhase::Pausing { retry_at, cause } => {
            format!("restarted {}, because {cause}", when(*retry_at))
        }
        JobPhase::Done(TerminalReason::NeedFailed { need, condition }) => {
            format!("not started: {need} cannot be {} any more", condition.label())
        }
        JobPhase::Done(TerminalReason::RestartLimit(_)) => {
            format!("given up after too many restarts; it {}", how_it_ended())
        }
        JobPhase::Done(TerminalReason::Stopped) => format!("stopped on request; it {}", how_it_ended()),
        JobPhase::Done(TerminalReason::Exited) => {
            let how = how_it_ended();
            match pod {
                PodPhase::Lingering { until } => format!("{how}; we leave {}", when(*until)),
                _ => how,
            }
        }
    }
}
