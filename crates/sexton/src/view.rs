//! What is shown of the processes: the engine's snapshot with numbers, names and times of day.

use std::time::Duration;

use engine::snapshot::LastEnd;
use engine::{Cause, Exit, JobPhase, JobSnapshot, PodPhase, Snapshot, Time};
use jiff::Timestamp;

use crate::clock::{Calendar, rfc3339_millis};
use crate::process::Pid;

/// What there is to show at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// Grows with each change.
    pub generation: u64,
    /// `run`, `supervise` or `watch`.
    pub mode: &'static str,
    /// The processes; at least one, which may be one that is not there.
    pub processes: Vec<ProcessView>,
    /// The answers to the three questions.
    pub health: Health,
    /// Nothing will change any more.
    pub over: bool,
}

/// The answers to the three questions of an orchestrator; a "no" has its reason.
#[derive(Debug, Clone)]
pub struct Health {
    /// Is it worth keeping?
    pub live: Result<(), String>,
    /// May it be given work?
    pub ready: Result<(), String>,
    /// Has it been started?
    pub started: Result<(), String>,
}

/// One process.
#[derive(Debug, Clone, Default)]
pub struct ProcessView {
    /// What people call it.
    pub name: String,
    /// What was executed.
    pub command: String,
    /// With which arguments.
    pub arguments: Vec<String>,
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
    pub own: Option<OwnView>,
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
pub struct OwnView {
    /// The engine's snapshot.
    pub job: JobSnapshot,
    /// Since when it is in its phase.
    pub since: Option<Timestamp>,
    /// What happens next by itself, and when: `kill`, `retry`, `ttl`.
    pub next: Option<(&'static str, Timestamp)>,
    /// When the last process ended, also while the next is there.
    pub last_at: Option<Timestamp>,
}

/// What does not change in the life of a process of our own.
#[derive(Debug, Clone)]
pub struct Constants {
    /// The mode's word.
    pub mode: &'static str,
    /// What people call it.
    pub name: String,
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
    /// Of a process of our own.
    #[must_use]
    pub fn own(
        constants: &Constants,
        snapshot: &Snapshot,
        pid: Option<Pid>,
        calendar: &mut Calendar,
    ) -> Self {
        let processes =
            snapshot.jobs.iter().map(|job| ProcessView::own(constants, job, pid, calendar)).collect();
        let health = snapshot
            .jobs
            .first()
            .map_or_else(Health::nothing_there, |job| Health::own(snapshot, job, calendar));
        let over = matches!(snapshot.phase, PodPhase::Ended { .. });
        Self { generation: snapshot.generation, mode: constants.mode, processes, health, over }
    }
}

impl ProcessView {
    fn own(constants: &Constants, job: &JobSnapshot, pid: Option<Pid>, calendar: &mut Calendar) -> Self {
        let status = match &job.last {
            _ if job.is_alive() => Status::Running,
            Some(LastEnd { exit: Some(Exit::Signal(_)), .. }) => Status::Killed,
            Some(LastEnd { exit: Some(_), by: Some(by), .. }) if ended_by_us(by) => Status::Killed,
            _ => Status::Stopped,
        };
        let (ttl, next) = match &job.phase {
            JobPhase::Running { ttl: Some((ttl, at)), .. } => (*ttl, Some(("ttl", *at))),
            JobPhase::Stopping { kill_at, .. } => (constants.ttl, Some(("kill", *kill_at))),
            JobPhase::Pausing { retry_at, .. } => (constants.ttl, Some(("retry", *retry_at))),
            _ => (constants.ttl, None),
        };
        let last_at = job.last.as_ref().and_then(|last| calendar.past(last.at));
        let own = OwnView {
            job: job.clone(),
            since: calendar.past(job.since),
            next: next.and_then(|(what, at)| Some((what, calendar.future(at)?))),
            last_at,
        };
        Self {
            name: constants.name.clone(),
            command: constants.command.clone(),
            arguments: constants.arguments.clone(),
            status,
            pid: pid.filter(|_| job.is_alive()),
            started_at: job.started_at.and_then(|at| calendar.past(at)),
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
    matches!(by, Cause::Signal(_) | Cause::SecondSignal(_) | Cause::Ttl(_) | Cause::GraceOver(_))
}

impl Health {
    fn nothing_there() -> Self {
        let no = || Err("there is no process".to_owned());
        Self { live: no(), ready: no(), started: no() }
    }

    fn own(snapshot: &Snapshot, job: &JobSnapshot, calendar: &Calendar) -> Self {
        let state = describe(snapshot, job, calendar);
        let over = job.phase == JobPhase::Done;
        let ready = matches!(job.phase, JobPhase::Running { suspended: None, .. })
            && job.ending.is_none()
            && snapshot.phase == PodPhase::Up;
        let answer = |yes: bool| if yes { Ok(()) } else { Err(state.clone()) };
        Self { live: answer(!over), ready: answer(ready), started: answer(job.starts > 0) }
    }

    /// Of processes of others: we know whether they are there.
    #[must_use]
    pub fn watched(present: bool, ever: bool, whom: &str) -> Self {
        let answer = |yes: bool| if yes { Ok(()) } else { Err(format!("there is no process {whom}")) };
        Self { live: answer(present), ready: answer(present), started: answer(ever) }
    }
}

/// The state in a few words.
fn describe(snapshot: &Snapshot, job: &JobSnapshot, calendar: &Calendar) -> String {
    // Not "in 5 s": what is said now may be read later.
    let when = |at: Time| {
        calendar.future(at).map_or_else(|| "some day".to_owned(), |at| format!("at {}", rfc3339_millis(at)))
    };
    match &job.phase {
        JobPhase::Waiting => "not started yet".to_owned(),
        JobPhase::Starting => "being started".to_owned(),
        JobPhase::Running { suspended: Some(signal), .. } => format!("suspended by {signal}"),
        JobPhase::Running { .. } => "running".to_owned(),
        JobPhase::Stopping { why, kill_at, leftovers } => {
            let who = if *leftovers { "what it left behind is ending" } else { "ending" };
            format!("{who}, because {why}; killed {}", when(*kill_at))
        }
        JobPhase::Killing { why, .. } => format!("killed, and not gone yet, because {why}"),
        JobPhase::Pausing { retry_at, cause } => {
            format!("restarted {}, because {cause}", when(*retry_at))
        }
        JobPhase::Done => {
            let how = match &job.last {
                None => "never started".to_owned(),
                Some(LastEnd { exit: Some(exit), by: None, .. }) => format!("ended with {exit}"),
                Some(LastEnd { exit: Some(exit), by: Some(by), .. }) => {
                    format!("ended with {exit}, because {by}")
                }
                Some(LastEnd { exit: None, by: Some(by), .. }) => by.to_string(),
                Some(LastEnd { exit: None, by: None, .. }) => "KILL did not end it".to_owned(),
            };
            match snapshot.phase {
                PodPhase::Lingering { until } => format!("{how}; we leave {}", when(until)),
                _ => how,
            }
        }
    }
}
