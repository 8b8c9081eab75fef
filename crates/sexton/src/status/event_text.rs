//! What the engine has to tell, for people: the words of the log and of the events.

use engine::{Exit, JobEvent, JobEventKind, Time};
use log::Level;

/// How loud, and in which words.
#[must_use]
pub fn words(news: &JobEvent) -> (Level, String) {
    let after = |at: Time| format!("{:?}", at.since(news.at));
    match &news.kind {
        JobEventKind::Started { ttl: None } => (Level::Info, "started".to_owned()),
        JobEventKind::Started { ttl: Some(ttl) } => (Level::Info, format!("started, to live {ttl:?}")),
        JobEventKind::StartFailed(error) => (Level::Error, error.message.clone()),
        JobEventKind::Exited { out_of_memory: true, .. } => {
            (Level::Error, "killed: it used too much memory (OOMKilled)".to_owned())
        }
        JobEventKind::Exited { exit, cause, leftovers, .. } => {
            let cause = cause.as_ref().map(|cause| format!(", because {cause}")).unwrap_or_default();
            let left = if *leftovers { "; it left processes behind" } else { "" };
            (Level::Info, format!("ended with {exit}{cause}{left}"))
        }
        JobEventKind::Waiting { need } => (Level::Info, format!("waits for {need}")),
        JobEventKind::DependencyTimedOut { missing, timeout, started_anyway: true } => {
            (Level::Warn, format!("started without it: it waited {timeout:?} for {missing}"))
        }
        JobEventKind::DependencyTimedOut { missing, timeout, started_anyway: false } => {
            (Level::Error, format!("not started: it waited {timeout:?} for {missing}"))
        }
        JobEventKind::NeedFailed { need, condition } => {
            (Level::Error, format!("not started: {need} cannot be {} any more", condition.label()))
        }
        JobEventKind::Ready => (Level::Info, "ready".to_owned()),
        JobEventKind::Unready { reason } => (Level::Warn, format!("not ready: {reason}")),
        JobEventKind::ProbeFailed { kind, reason, failures, threshold } => {
            let level = if failures >= threshold { Level::Warn } else { Level::Info };
            (level, format!("{kind} probe failed ({failures} of {threshold}): {reason}"))
        }
        JobEventKind::HookStarted(kind) => (Level::Debug, format!("its {kind} hook is carried out")),
        JobEventKind::HookFailed { kind, reason } => {
            (Level::Warn, format!("its {kind} hook has failed: {reason}"))
        }
        JobEventKind::Ending { cause } => (Level::Info, format!("to end for good, because {cause}")),
        JobEventKind::Stopping { cause, kill_at } => {
            (Level::Info, format!("asked to end, because {cause}; KILL follows in {}", after(*kill_at)))
        }
        JobEventKind::Killing { cause } => (Level::Warn, format!("sent KILL, because {cause}")),
        JobEventKind::Stuck { abandoned: true } => {
            (Level::Error, "even KILL has not ended it: left to itself".to_owned())
        }
        JobEventKind::Stuck { abandoned: false } => {
            (Level::Error, "even KILL has not ended it: no other is started while it is there".to_owned())
        }
        JobEventKind::Forwarded(signal) => (Level::Debug, format!("handed on {signal}")),
        JobEventKind::StopRepeated(signal) => {
            (Level::Info, format!("we got {signal} again: it is ending already"))
        }
        JobEventKind::Restarting { retry_at, cause } if *retry_at <= news.at => {
            (Level::Info, format!("restarted at once, because {cause}"))
        }
        JobEventKind::Restarting { retry_at, cause } => {
            (Level::Info, format!("restarted in {}, because {cause}", after(*retry_at)))
        }
        JobEventKind::RestartLimitReached { limit, window, held } => {
            let held = if *held { "; it stays down until somebody starts it" } else { "" };
            let why =
                format!("it would have to be restarted more often than {limit} times within {window:?}");
            (Level::Error, format!("given up: {why}{held}"))
        }
        JobEventKind::Suspended(signal) => (Level::Info, format!("suspended by {signal}")),
        JobEventKind::Resumed => (Level::Info, "goes on".to_owned()),
        JobEventKind::Done => (Level::Debug, "done".to_owned()),
    }
}

/// Why, as a stable word.
#[must_use]
pub fn cause(what: &JobEventKind) -> Option<&'static str> {
    match what {
        JobEventKind::Exited { cause, .. } => cause.as_ref().map(engine::Cause::label),
        JobEventKind::Ending { cause }
        | JobEventKind::Stopping { cause, .. }
        | JobEventKind::Killing { cause }
        | JobEventKind::Restarting { cause, .. } => Some(cause.label()),
        _ => None,
    }
}

/// The code and the signal of an exit, as two words of which one is empty.
#[must_use]
pub fn exit_words(exit: Exit) -> (String, String) {
    match exit {
        Exit::Code(code) => (code.to_string(), String::new()),
        Exit::Signal(signal) => (String::new(), signal.to_string()),
    }
}
