//! The published status of processes: the engine's snapshot with PIDs, names and times of day.

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

/// The status at one moment. Readers get the newest; the engine is never queried.
#[derive(Debug, Clone)]
pub struct View {
    /// Increases with each change.
    pub generation: u64,
    /// `run`, `supervise`, `watch` or `up`.
    pub mode: &'static str,
    /// The supervised processes in the order of the plan, or the watched processes that exist.
    pub processes: Vec<Arc<ProcessView>>,
    /// Liveness, readiness, startup.
    pub health: Health,
    /// The reason and the deadline of a shutdown in progress.
    pub ending: Option<(String, Option<Time>)>,
    /// All processes have exited and nothing changes any more.
    pub over: bool,
}

/// Health as an orchestrator asks for it.
#[derive(Debug, Clone)]
pub struct Health {
    /// Liveness: whether it must not be restarted.
    pub live: HealthState,
    /// Readiness: whether it can receive traffic.
    pub ready: HealthState,
    /// Startup: whether it has started.
    pub started: HealthState,
}

/// The result of a health question.
#[derive(Debug, Clone)]
pub enum HealthState {
    /// Yes.
    Yes,
    /// No, with the reason.
    No(String),
    /// No, because of the process with this index.
    NoBecauseOf(usize),
}

impl HealthState {
    /// Whether it is yes.
    #[must_use]
    pub const fn is_yes(&self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// The status of one process.
#[derive(Debug, Clone, Default)]
pub struct ProcessView {
    pub name: Arc<str>,
    pub command: String,
    pub arguments: Vec<String>,
    /// The state as a short text.
    pub state: String,
    /// The state as the status socket reports it.
    pub status: Status,
    /// The PID while it runs.
    pub pid: Option<Pid>,
    /// When the current or the last run started.
    pub started_at: Option<Timestamp>,
    /// When the last run ended, unless one is in progress.
    pub ended_at: Option<Timestamp>,
    /// The exit code of the last run; 128+n for signal n; 0 before the first exit.
    pub exit_code: i32,
    /// The time to live of the current run.
    pub ttl: Duration,
    /// `supervise`: the restart delay; `run`: how long sexton stays after the exit.
    pub wait: Duration,
    /// The second port, 0 for none.
    pub side_port: u16,
    /// Details of a supervised process; `None` for a watched one.
    pub own: Option<SupervisedStatus>,
}

/// The state as the status socket reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// It runs.
    Running,
    /// It does not run; the last run, if any, exited on its own.
    #[default]
    Stopped,
    /// It does not run; sexton or a signal ended the last run.
    Killed,
}

impl Status {
    /// The stable label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Killed => "killed",
        }
    }
}

/// Details of a supervised process.
#[derive(Debug, Clone)]
pub struct SupervisedStatus {
    /// The engine's snapshot.
    pub job: JobSnapshot,
    /// The start of the current phase.
    pub since: Option<Timestamp>,
    /// The next timer and its time: `kill`, `retry` or `ttl`.
    pub next: Option<(&'static str, Timestamp)>,
    /// When the last run ended, also during the next one.
    pub last_at: Option<Timestamp>,
    /// The `STATUS=` text of sd_notify(3).
    pub said: Option<String>,
}

/// The static description of a supervised process.
#[derive(Debug, Clone)]
pub struct ProcessInfo {
    /// What people call it.
    pub name: Arc<str>,
    pub command: String,
    pub arguments: Vec<String>,
    /// The time to live, if it is fixed.
    pub ttl: Duration,
    /// `supervise`: the restart delay; `run`: how long sexton stays after the exit.
    pub wait: Duration,
    /// The second port, 0 for none.
    pub side_port: u16,
}

impl View {
    /// The status of supervised processes. With `many`, the pod is healthy if each process is; a single process is healthy
    /// while it runs.
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
                Some((cause, _)) => HealthState::No(format!("shutting down ({cause})")),
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

    /// The reason of a negative answer.
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

    /// The process with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<ProcessView>> {
        self.processes.iter().find(|process| &*process.name == name)
    }
}

impl ProcessView {
    /// The status of a supervised process; `before` is the one published last, whose times of day are kept.
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
            Some(LastRun { exit: Some(_), by: Some(by), .. }) if stopped_by_sexton(by) => Status::Killed,
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
        // A time of day is fixed when it is first published, so that setting the clock does not move it.
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

/// Whether sexton or a client of it ended the process.
const fn stopped_by_sexton(by: &Cause) -> bool {
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
    /// The health of a watched process: `ever` tells whether it was found before.
    #[must_use]
    pub fn watched(present: bool, ever: bool, selector: &str) -> Self {
        let answer = |yes: bool| {
            if yes { HealthState::Yes } else { HealthState::No(format!("there is no process {selector}")) }
        };
        Self { live: answer(present), ready: answer(present), started: answer(ever) }
    }
}

/// The state as a short text.
fn describe(pod: &PodPhase, job: &JobSnapshot, clock: Clock) -> String {
    // A time of day and not "in 5 s": the text may be read later.
    let when = |at: Time| {
        clock
            .of_day(at)
            .map_or_else(|| "at an unknown time".to_owned(), |at| format!("at {}", rfc3339_millis(at)))
    };
    let last_exit = || match &job.last {
        None => "never started".to_owned(),
        Some(LastRun { exit: Some(_), out_of_memory: true, .. }) => "killed (out of memory)".to_owned(),
        Some(LastRun { exit: Some(exit), by: None, .. }) => format!("exited with {exit}"),
        Some(LastRun { exit: Some(exit), by: Some(by), .. }) => format!("exited with {exit} ({by})"),
        Some(LastRun { exit: None, by: Some(by), .. }) => by.to_string(),
        Some(LastRun { exit: None, by: None, .. }) => "still alive after SIGKILL".to_owned(),
    };
    match &job.phase {
        JobPhase::Waiting { need: None } => "not started yet".to_owned(),
        JobPhase::Waiting { need: Some(need) } => format!("waiting for {need}"),
        JobPhase::Starting => "starting".to_owned(),
        JobPhase::Running { suspended: Some(signal), .. } => format!("suspended by {}", signal.long_name()),
        JobPhase::Running { .. } => match (&job.ending, &job.unready_reason) {
            (Some(cause), _) => format!("waiting for its dependents to stop ({cause})"),
            (None, Some(reason)) => format!("running, not ready: {reason}"),
            (None, None) => "running".to_owned(),
        },
        JobPhase::Draining { why, kill_at } => {
            format!("running preStop hook ({why}); SIGKILL {}", when(*kill_at))
        }
        JobPhase::Stopping { why, kill_at, leftovers } => {
            let what = if *leftovers { "stopping processes left behind" } else { "stopping" };
            format!("{what} ({why}); SIGKILL {}", when(*kill_at))
        }
        JobPhase::Killing { why, .. } => format!("sent SIGKILL, still alive ({why})"),
        JobPhase::Pausing { retry_at, cause } => {
            format!("restarting {} ({cause})", when(*retry_at))
        }
        JobPhase::Done(TerminalReason::NeedFailed { need, condition }) => {
            format!("not started: {need} cannot become {}", condition.label())
        }
        JobPhase::Done(TerminalReason::RestartLimit(_)) => {
            format!("restart limit reached; {}", last_exit())
        }
        JobPhase::Done(TerminalReason::Stopped) => format!("stopped on request; {}", last_exit()),
        JobPhase::Done(TerminalReason::Exited) => {
            let how = last_exit();
            match pod {
                PodPhase::Lingering { until } => format!("{how}; sexton exits {}", when(*until)),
                _ => how,
            }
        }
    }
}
