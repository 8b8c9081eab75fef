//! The status as JSON: in kapo's format, and in full.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use engine::snapshot::LastRun;
use engine::{Exit, JobPhase};
use jiff::Timestamp;
use serde::Serialize;

use crate::status::event_text::exit_labels;
use crate::status::{ProcessView, View};
use linux::clock::rfc3339;
use linux::resource_usage::ResourceUsage;
use spec::program::Pid;

/// Go's zero time, which newer versions of kapo write for a missing time.
const GO_ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// An entry in kapo's format, with kapo's names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    command: &'a str,
    arguments: &'a [String],
    mode: &'static str,
    status: &'static str,
    start_time: String,
    end_time: String,
    exit_code: i32,
    #[serde(rename = "TTL")]
    ttl: Number,
    wait: Number,
    sidebind_port: u16,
}

/// A number, written as an integer if it is one.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Number {
    Whole(u64),
    Fraction(f64),
}

/// `GET /`: a single process as an object (missing times are empty, durations in seconds), or a list (Go's zero time,
/// durations in nanoseconds), always used for several processes.
pub(super) fn state(view: &View, list: bool) -> Bytes {
    let bare = match view.processes.as_slice() {
        [process] if !list => Some(serde_json::to_vec(&entry(view.mode, process, false))),
        _ => None,
    };
    let json = bare.unwrap_or_else(|| {
        let entries: Vec<_> = view.processes.iter().map(|process| entry(view.mode, process, list)).collect();
        serde_json::to_vec(&entries)
    });
    line(json)
}

fn entry<'a>(mode: &'static str, process: &'a ProcessView, go: bool) -> Entry<'a> {
    let time = |at: Option<Timestamp>| match at {
        Some(at) => rfc3339(at),
        None if go => GO_ZERO_TIME.to_owned(),
        None => String::new(),
    };
    let duration = |duration: Duration| {
        if go {
            Number::Whole(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
        } else if duration.subsec_nanos() == 0 {
            Number::Whole(duration.as_secs())
        } else {
            Number::Fraction(duration.as_secs_f64())
        }
    };
    Entry {
        command: &process.command,
        arguments: &process.arguments,
        mode,
        status: process.status.label(),
        start_time: time(process.started_at),
        end_time: time(process.ended_at),
        exit_code: process.exit_code,
        ttl: duration(process.ttl),
        wait: duration(process.wait),
        sidebind_port: process.side_port,
    }
}

/// The full status.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FullStatus<'a> {
    mode: &'static str,
    generation: u64,
    live: bool,
    ready: bool,
    started: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Set during shutdown.
    #[serde(skip_serializing_if = "Option::is_none")]
    ending: Option<Ending<'a>>,
    processes: Vec<Process<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ending<'a> {
    cause: &'a str,
    /// Deadline of the shutdown.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// Processes that have not stopped.
    waiting_for: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Process<'a> {
    name: &'a str,
    command: &'a str,
    arguments: &'a [String],
    status: &'static str,
    pid: Option<i32>,
    started_at: Option<String>,
    /// The state as a short text.
    #[serde(skip_serializing_if = "str::is_empty")]
    state: &'a str,
    #[serde(flatten)]
    own: Option<Own>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    cpu_seconds: f64,
    memory_bytes: u64,
    processes: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Own {
    phase: &'static str,
    since: Option<String>,
    /// Cause of this phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended_by: Option<String>,
    /// The main process has exited, but processes that it left behind are running.
    leftovers: bool,
    run: Option<u64>,
    started: bool,
    ready: bool,
    healthy: bool,
    starts: u64,
    /// Its `STATUS=` text.
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    probes: Vec<Probe>,
    /// The next timer.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Next>,
    last_exit: Option<LastExit>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    kind: &'static str,
    passes: bool,
    /// Consecutive failures.
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Next {
    what: &'static str,
    at: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LastExit {
    at: Option<String>,
    /// Exit code like that of a shell.
    exit_code: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_label: Option<&'static str>,
    out_of_memory: bool,
}

/// `GET /v1/processes`.
pub(super) fn processes(
    view: &View,
    usage: &BTreeMap<Pid, ResourceUsage>,
    clock: impl Fn(engine::Time) -> Option<Timestamp>,
) -> Bytes {
    let health = &view.health;
    let there = |process: &&std::sync::Arc<ProcessView>| {
        process.own.as_ref().is_some_and(|own| !matches!(own.job.phase, JobPhase::Done(_)))
    };
    let full = FullStatus {
        mode: view.mode,
        generation: view.generation,
        live: health.live.is_yes(),
        ready: health.ready.is_yes(),
        started: health.started.is_yes(),
        reason: view.reason(&health.ready),
        ending: view.ending.as_ref().map(|(cause, by)| Ending {
            cause,
            by: by.and_then(clock).map(rfc3339),
            waiting_for: view.processes.iter().filter(there).map(|process| &*process.name).collect(),
        }),
        processes: view.processes.iter().map(|it| process(it, usage)).collect(),
    };
    line(serde_json::to_vec(&full))
}

/// `GET /v1/processes/NAME`.
pub(super) fn one(it: &ProcessView, usage: &BTreeMap<Pid, ResourceUsage>) -> Bytes {
    line(serde_json::to_vec(&process(it, usage)))
}

fn process<'a>(process: &'a ProcessView, usage: &BTreeMap<Pid, ResourceUsage>) -> Process<'a> {
    let own = process.own.as_ref().map(|own| {
        let job = &own.job;
        let (cause, suspended_by, leftovers) = match &job.phase {
            JobPhase::Stopping { why, leftovers, .. } | JobPhase::Killing { why, leftovers } => {
                (Some(why.to_string()), None, *leftovers)
            }
            JobPhase::Draining { why, .. } => (Some(why.to_string()), None, false),
            JobPhase::Pausing { cause, .. } => (Some(cause.to_string()), None, false),
            JobPhase::Running { suspended, .. } => (None, suspended.map(|signal| signal.to_string()), false),
            JobPhase::Waiting { need } => {
                (need.as_ref().map(|need| format!("waiting for {need}")), None, false)
            }
            JobPhase::Starting | JobPhase::Done(_) => (None, None, false),
        };
        let probe = |probe: &engine::snapshot::ProbeSnapshot| Probe {
            kind: probe.kind.label(),
            passes: probe.passes,
            failures: probe.failures,
            last_failure: probe.reason.clone(),
        };
        Own {
            phase: job.phase.label(),
            since: own.since.map(rfc3339),
            cause,
            suspended_by,
            leftovers,
            run: job.run.map(|run| run.0),
            started: job.started,
            ready: job.ready,
            healthy: job.healthy,
            starts: job.starts,
            said: own.said.clone(),
            probes: job.probes.iter().map(probe).collect(),
            next: own.next.map(|(what, at)| Next { what, at: rfc3339(at) }),
            last_exit: job.last.as_ref().map(|last| last_exit(last, own.last_at)),
        }
    });
    let usage = process.pid.and_then(|pid| usage.get(&pid)).map(|figures| Usage {
        cpu_seconds: figures.cpu_seconds,
        memory_bytes: figures.resident_bytes,
        processes: figures.processes,
    });
    Process {
        name: &process.name,
        command: &process.command,
        arguments: &process.arguments,
        status: process.status.label(),
        pid: process.pid,
        started_at: process.started_at.map(rfc3339),
        state: &process.state,
        own,
        usage,
    }
}

fn last_exit(last: &LastRun, at: Option<Timestamp>) -> LastExit {
    LastExit {
        at: at.map(rfc3339),
        exit_code: last.code,
        code: match last.exit {
            Some(Exit::Code(code)) => Some(code),
            Some(Exit::Signal(_)) | None => None,
        },
        signal: last.exit.map(|exit| exit_labels(exit).1).filter(|signal| !signal.is_empty()),
        reason: last.by.as_ref().map(ToString::to_string),
        reason_label: if last.out_of_memory {
            Some("OOMKilled")
        } else {
            last.by.as_ref().map(engine::Cause::label)
        },
        out_of_memory: last.out_of_memory,
    }
}

/// Returns the text with a line end. Serializing plain values does not fail.
fn line(json: serde_json::Result<Vec<u8>>) -> Bytes {
    let mut json = json.unwrap_or_default();
    json.push(b'\n');
    json.into()
}
