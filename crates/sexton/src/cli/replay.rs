//! `sexton debug replay FILE`: replays an event journal step by step.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::path::Path;

use engine::{Effect, Event, Pod, Time};

use crate::journal::{Head, Line, VERSION};

/// The maximum length of a line of a journal.
const LONGEST_LINE: u64 = 16 << 20;

/// Replays the events and prints the effects of each, as far as the journal can be read.
pub fn replay(path: &Path, out: &mut impl Write) -> Result<(), String> {
    let name = path.display();
    let file = File::open(path).map_err(|error| format!("cannot open {name}: {error}"))?;
    replay_from(&name.to_string(), BufReader::new(file), out)
}

/// Replays a journal from a reader; `name` is for messages.
pub fn replay_from(name: &str, mut file: impl BufRead, out: &mut impl Write) -> Result<(), String> {
    let mut next = |number: u64| {
        let line = next_line(&mut file).map_err(|error| format!("{name}, line {number}: {error}"));
        line.transpose()
    };
    let first = next(1).ok_or_else(|| format!("{name} is empty: expected a journal"))??;
    let head: Head = serde_json::from_slice(&first)
        .map_err(|error| format!("{name}, line 1: {error}: expected the first line of a journal"))?;
    if head.version != VERSION {
        return Err(format!(
            "{name}: journal version {} is not supported (expected version {VERSION})",
            head.version
        ));
    }
    let mut pod = Pod::new(head.seed);
    for number in 2.. {
        let Some(line) = next(number) else { break };
        let Line { at, event } = serde_json::from_slice(&line?)
            .map_err(|error| format!("{name}, line {number}: {error}: expected an event"))?;
        if step(&mut pod, at, event, out).is_err() {
            // The reader has closed the pipe (`| head`).
            break;
        }
    }
    Ok(())
}

fn step(pod: &mut Pod, at: Time, event: Event, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:.6}  {event:?}", at.since(Time::ZERO).as_secs_f64())?;
    let mut effects = Vec::new();
    pod.step(at, event, &mut effects);
    for effect in effects {
        match effect {
            Effect::Publish(event) => writeln!(out, "          publish {:?}", event.kind),
            Effect::Spawn { job, run } => writeln!(out, "          spawn   job {} as run {}", job.0, run.0),
            Effect::Campaign { job, run } => {
                writeln!(out, "          campaign for the lease of job {} as run {}", job.0, run.0)
            }
            Effect::Resign(run) => writeln!(out, "          resign  the lease of run {}", run.0),
            Effect::Signal { run, signal, scope } => {
                writeln!(out, "          signal  {} to run {} ({scope:?})", signal.long_name(), run.0)
            }
            Effect::Probe { run, kind, attempt, .. } => {
                writeln!(out, "          probe   run {}: {kind}, attempt {}", run.0, attempt.0)
            }
            Effect::Hook { run, kind, attempt, .. } => {
                writeln!(out, "          hook    run {}: {kind}, attempt {}", run.0, attempt.0)
            }
            Effect::Abort(attempt) => writeln!(out, "          abort   attempt {}", attempt.0),
            Effect::Respond { request, response } => {
                writeln!(out, "          respond request {}: {response:?}", request.0)
            }
            Effect::WriteTombstone { job, record } => {
                let owner = job.map_or_else(|| "pod".to_owned(), |job| format!("job {}", job.0));
                writeln!(out, "          tombstone of {owner}: {record:?}")
            }
            Effect::JobRemoved(job) => writeln!(out, "          removed job {}", job.0),
            Effect::End { code, .. } => writeln!(out, "          end     with code {code}"),
        }?;
    }
    pod.snapshot().jobs.iter().try_for_each(|job| writeln!(out, "          now     {:?}", job.phase))
}

fn next_line(file: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    file.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    if line.len() as u64 == LONGEST_LINE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "line longer than 16 MiB: not a journal"));
    }
    Ok((!line.is_empty()).then_some(line))
}
