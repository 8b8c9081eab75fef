//! `sexton debug replay FILE`: a journal from the field, step by step.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::path::Path;

use engine::{Effect, Event, Pod, Time};

use crate::journal::{Head, Line, VERSION};

/// No line of ours is longer.
const LONGEST_LINE: u64 = 16 << 20;

/// Repeats the events and tells what the engine made of each, as far as the journal can be read.
pub fn replay(path: &Path, out: &mut impl Write) -> Result<(), String> {
    let name = path.display();
    let file = File::open(path).map_err(|error| format!("cannot open {name}: {error}"))?;
    let mut file = BufReader::new(file);
    let mut next = |number: u64| {
        let line = next_line(&mut file).map_err(|error| format!("{name}, line {number}: {error}"));
        line.transpose()
    };
    let first = next(1).ok_or_else(|| format!("{name} is empty: expected a journal"))??;
    let head: Head = serde_json::from_slice(&first)
        .map_err(|error| format!("{name}, line 1: {error}: expected the head of a journal"))?;
    if head.version != VERSION {
        return Err(format!("{name}: a journal of version {}; this sexton reads {VERSION}", head.version));
    }
    let mut pod = Pod::new(head.seed);
    for number in 2.. {
        let Some(line) = next(number) else { break };
        let Line { at, event } = serde_json::from_slice(&line?)
            .map_err(|error| format!("{name}, line {number}: {error}: expected an event"))?;
        if step(&mut pod, at, event, out).is_err() {
            // Whoever reads has read enough (`| head`).
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
            Effect::Publish(news) => writeln!(out, "          tell    {:?}", news.kind),
            Effect::Spawn { job, run } => writeln!(out, "          spawn   job {} as run {}", job.0, run.0),
            Effect::Campaign { job, run } => {
                writeln!(out, "          want    what job {} runs by, for run {}", job.0, run.0)
            }
            Effect::Resign(run) => writeln!(out, "          resign  from what run {} ran by", run.0),
            Effect::Signal { run, signal, scope } => {
                writeln!(out, "          signal  {signal} to run {} ({scope:?})", run.0)
            }
            Effect::Probe { run, kind, attempt, .. } => {
                writeln!(out, "          probe   run {}: {kind}, attempt {}", run.0, attempt.0)
            }
            Effect::Hook { run, kind, attempt, .. } => {
                writeln!(out, "          hook    run {}: {kind}, attempt {}", run.0, attempt.0)
            }
            Effect::Abort(attempt) => writeln!(out, "          abort   attempt {}", attempt.0),
            Effect::Respond { request, response: answer } => {
                writeln!(out, "          answer  request {}: {answer:?}", request.0)
            }
            Effect::WriteTombstone { job: of, record: stone } => {
                let whose = of.map_or_else(|| "the whole".to_owned(), |job| format!("job {}", job.0));
                writeln!(out, "          carve   {whose}: {stone:?}")
            }
            Effect::JobRemoved(job) => writeln!(out, "          forget  job {}", job.0),
            Effect::End { code, .. } => writeln!(out, "          end     with code {code}"),
        }?;
    }
    pod.snapshot().jobs.iter().try_for_each(|job| writeln!(out, "          now     {:?}", job.phase))
}

fn next_line(file: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    file.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    if line.len() as u64 == LONGEST_LINE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a line of more than 16 MiB: no journal of ours",
        ));
    }
    Ok((!line.is_empty()).then_some(line))
}
