//! Text and log level of the events of the engine.

use engine::time::rounded;
use engine::{Exit, JobEvent, JobEventKind, Time};
use log::Level;

/// Returns the level and the message of an event of the process `name`.
#[must_use]
pub fn describe(event: &JobEvent, name: &str) -> (Level, String) {
    let after = |at: Time| rounded(at.since(event.at)).to_string();
    match &event.kind {
        JobEventKind::Started { ttl: None } => (Level::Info, "started".to_owned()),
        JobEventKind::Started { ttl: Some(ttl) } => {
            (Level::Info, format!("started, time to live {}", rounded(*ttl)))
        }
        JobEventKind::StartFailed(error) => (Level::Error, error.message.clone()),
        JobEventKind::Exited { out_of_memory: true, .. } => {
            (Level::Error, "killed: memory limit exceeded (OOMKilled)".to_owned())
        }
        JobEventKind::Exited { exit, cause, leftovers, .. } => {
            let cause = cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
            let left = if *leftovers { "; stopping the processes it left behind" } else { "" };
            (Level::Info, format!("exited with {exit}{cause}{left}"))
        }
        JobEventKind::Waiting { need } => (Level::Info, format!("waiting for {need}")),
        JobEventKind::DependencyTimedOut { missing, timeout, started_anyway: true } => {
            (Level::Warn, format!("starting without {missing}: timed out after {}", rounded(*timeout)))
        }
        JobEventKind::DependencyTimedOut { missing, timeout, started_anyway: false } => (
            Level::Error,
            format!("not started: timed out after {} waiting for {missing}", rounded(*timeout)),
        ),
        JobEventKind::NeedFailed { need, condition } => {
            (Level::Error, format!("not started: {need} can no longer be {}", condition.label()))
        }
        JobEventKind::Ready => (Level::Info, "ready".to_owned()),
        JobEventKind::Unready { reason } => (Level::Warn, format!("not ready: {reason}")),
        JobEventKind::ProbeFailed { kind, reason, failures, threshold } => {
            let level = if failures >= threshold { Level::Warn } else { Level::Info };
            (level, format!("{kind} probe failed ({failures} of {threshold}): {reason}"))
        }
        JobEventKind::HookStarted(kind) => (Level::Debug, format!("running {kind} hook")),
        JobEventKind::HookFailed { kind, reason } => (Level::Warn, format!("{kind} hook failed: {reason}")),
        JobEventKind::Ending { cause: engine::Cause::Request } => {
            (Level::Info, "stop requested (control socket)".to_owned())
        }
        JobEventKind::Ending { cause } => (Level::Info, format!("stop requested ({cause})")),
        JobEventKind::Stopping { cause, kill_at, signal, leftovers } => {
            let (signal, after) = (signal.long_name(), after(*kill_at));
            let to = if *leftovers { " to processes left behind" } else { "" };
            (Level::Info, format!("sent {signal}{to} ({cause}); SIGKILL in {after}"))
        }
        JobEventKind::Killing { cause } => (Level::Warn, format!("sent SIGKILL ({cause})")),
        JobEventKind::Stuck { abandoned: true } => {
            (Level::Error, "still alive after SIGKILL; abandoned".to_owned())
        }
        JobEventKind::Stuck { abandoned: false } => {
            (Level::Error, "still alive after SIGKILL; not restarted until it has exited".to_owned())
        }
        JobEventKind::Forwarded(signal) => (Level::Debug, format!("forwarded {}", signal.long_name())),
        JobEventKind::StopRepeated(signal) => {
            (Level::Info, format!("received {} again; already stopping", signal.long_name()))
        }
        JobEventKind::Restarting { retry_at, cause } if *retry_at <= event.at => {
            (Level::Info, format!("restarting now ({cause})"))
        }
        JobEventKind::Restarting { retry_at, cause } => {
            (Level::Info, format!("restarting in {} ({cause})", after(*retry_at)))
        }
        JobEventKind::RestartLimitReached { limit, window, held } => {
            let help =
                if *held { format!("; run 'sexton start {name}' to start it again") } else { String::new() };
            let reached = format!("restart limit reached ({limit} in {})", rounded(*window));
            (Level::Error, format!("giving up: {reached}{help}"))
        }
        JobEventKind::Suspended(signal) => (Level::Info, format!("suspended by {}", signal.long_name())),
        JobEventKind::Resumed => (Level::Info, "resumed (SIGCONT)".to_owned()),
        JobEventKind::Done => (Level::Debug, "done".to_owned()),
    }
}

/// Returns the stable word for the cause of an event.
#[must_use]
pub fn cause(kind: &JobEventKind) -> Option<&'static str> {
    match kind {
        JobEventKind::Exited { cause, .. } => cause.as_ref().map(engine::Cause::label),
        JobEventKind::Ending { cause }
        | JobEventKind::Stopping { cause, .. }
        | JobEventKind::Killing { cause }
        | JobEventKind::Restarting { cause, .. } => Some(cause.label()),
        _ => None,
    }
}

/// Returns the exit code and the signal as texts, one of which is empty.
#[must_use]
pub fn exit_labels(exit: Exit) -> (String, String) {
    match exit {
        Exit::Code(code) => (code.to_string(), String::new()),
        Exit::Signal(signal) => (String::new(), signal.to_string()),
    }
}
