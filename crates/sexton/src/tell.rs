//! What the engine has to tell, for people: the words of the log and of the events.

use engine::{Exit, News, Time, What};
use log::Level;

/// How loud, and in which words.
#[must_use]
pub fn words(news: &News) -> (Level, String) {
    let after = |at: Time| format!("{:?}", at.since(news.at));
    match &news.what {
        What::Started { ttl: None } => (Level::Info, "started".to_owned()),
        What::Started { ttl: Some(ttl) } => (Level::Info, format!("started, to live {ttl:?}")),
        What::StartFailed(error) => (Level::Error, error.message.clone()),
        What::Exited { out_of_memory: true, .. } => {
            (Level::Error, "killed: it used too much memory (OOMKilled)".to_owned())
        }
        What::Exited { exit, cause, leftovers, .. } => {
            let cause = cause.as_ref().map(|cause| format!(", because {cause}")).unwrap_or_default();
            let left = if *leftovers { "; it left processes behind" } else { "" };
            (Level::Info, format!("ended with {exit}{cause}{left}"))
        }
        What::Waiting { need } => (Level::Info, format!("waits for {need}")),
        What::WaitedInVain { missing, timeout, goes_on: true } => {
            (Level::Warn, format!("started without it: it waited {timeout:?} for {missing}"))
        }
        What::WaitedInVain { missing, timeout, goes_on: false } => {
            (Level::Error, format!("not started: it waited {timeout:?} for {missing}"))
        }
        What::NeedFailed { need, condition } => {
            (Level::Error, format!("not started: {need} cannot be {} any more", condition.label()))
        }
        What::Ready => (Level::Info, "ready".to_owned()),
        What::Unready { reason } => (Level::Warn, format!("not ready: {reason}")),
        What::ProbeFailed { kind, reason, failures, threshold } => {
            let level = if failures >= threshold { Level::Warn } else { Level::Info };
            (level, format!("{kind} probe failed ({failures} of {threshold}): {reason}"))
        }
        What::Hooking(kind) => (Level::Debug, format!("its {kind} hook is carried out")),
        What::HookFailed { kind, reason } => (Level::Warn, format!("its {kind} hook has failed: {reason}")),
        What::Ending { cause } => (Level::Info, format!("to end for good, because {cause}")),
        What::Stopping { cause, kill_at } => {
            (Level::Info, format!("asked to end, because {cause}; KILL follows in {}", after(*kill_at)))
        }
        What::Killing { cause } => (Level::Warn, format!("sent KILL, because {cause}")),
        What::Stuck { abandoned: true } => {
            (Level::Error, "even KILL has not ended it: left to itself".to_owned())
        }
        What::Stuck { abandoned: false } => {
            (Level::Error, "even KILL has not ended it: no other is started while it is there".to_owned())
        }
        What::Forwarded(signal) => (Level::Debug, format!("handed on {signal}")),
        What::StopRepeated(signal) => (Level::Info, format!("we got {signal} again: it is ending already")),
        What::Restarting { retry_at, cause } if *retry_at <= news.at => {
            (Level::Info, format!("restarted at once, because {cause}"))
        }
        What::Restarting { retry_at, cause } => {
            (Level::Info, format!("restarted in {}, because {cause}", after(*retry_at)))
        }
        What::GaveUp { limit, window, held } => {
            let held = if *held { "; it stays down until somebody starts it" } else { "" };
            let why =
                format!("it would have to be restarted more often than {limit} times within {window:?}");
            (Level::Error, format!("given up: {why}{held}"))
        }
        What::Suspended(signal) => (Level::Info, format!("suspended by {signal}")),
        What::Resumed => (Level::Info, "goes on".to_owned()),
        What::Done => (Level::Debug, "done".to_owned()),
    }
}

/// Why, as a stable word.
#[must_use]
pub fn cause(what: &What) -> Option<&'static str> {
    match what {
        What::Exited { cause, .. } => cause.as_ref().map(engine::Cause::label),
        What::Ending { cause }
        | What::Stopping { cause, .. }
        | What::Killing { cause }
        | What::Restarting { cause, .. } => Some(cause.label()),
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
