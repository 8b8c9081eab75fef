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
        What::Exited { exit, cause, leftovers } => {
            let cause = cause.as_ref().map(|cause| format!(", because {cause}")).unwrap_or_default();
            let left = if *leftovers { "; it left processes behind" } else { "" };
            (Level::Info, format!("ended with {exit}{cause}{left}"))
        }
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
        What::GaveUp { limit, window } => (
            Level::Error,
            format!(
                "given up: it would have to be restarted more often than {limit} times within {window:?}"
            ),
        ),
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
