//! Event journals, in the format of `sexton --debug-journal`: written for a failed schedule, and replayed as tests.
//!
//! To record the journals again after a change of their format:
//! `cargo test -p engine --test schedules -- --ignored records_journals`
#![expect(
    clippy::disallowed_methods,
    reason = "journals are files; the engine itself does no input or output"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use engine::pod::Seed;
use engine::{Event, Plan, Time};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use serde::{Deserialize, Serialize};

use crate::generators;
use crate::invariants::Checked;
use crate::world::{Habits, World};

/// `VERSION` in `crates/sexton/src/journal.rs`.
const VERSION: u32 = 3;

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    seed: Seed,
}

#[derive(Serialize, Deserialize)]
struct Line {
    at: Time,
    event: Event,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals")
}

fn text(world: &World, plan: &Plan, seed: u64) -> String {
    let head = Head { version: VERSION, seed: Seed { plan: plan.clone(), seed } };
    let lines = world.journal.iter().map(|(at, event)| Line { at: *at, event: event.clone() });
    let lines = lines.map(|line| serde_json::to_string(&line).expect("JSON"));
    std::iter::once(serde_json::to_string(&head).expect("JSON"))
        .chain(lines)
        .map(|line| line + "\n")
        .collect()
}

/// Writes the journal of a failed schedule and returns its path. While proptest simplifies, the last one is the simplest.
pub(crate) fn write_failure(world: &World, plan: &Plan, seed: u64) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schedules-failure.jsonl");
    match fs::write(&path, text(world, plan, seed)) {
        Ok(()) => path.display().to_string(),
        Err(error) => format!("not written: {}: {error}", path.display()),
    }
}

/// Replays a journal with all invariants; what is left is shut down.
fn replay(journal: &str) -> Result<World, String> {
    let mut lines = journal.lines();
    let head: Head = serde_json::from_str(lines.next().ok_or("empty")?).map_err(|error| error.to_string())?;
    if head.version != VERSION {
        return Err(format!("version {}, expected {VERSION}: record it again", head.version));
    }
    let Seed { plan, seed } = head.seed;
    let mut world = World::new(plan, seed, Habits::default());
    let replayed = (|| -> Checked {
        for line in lines {
            let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
            world.now = line.at;
            world.event(line.event)?;
        }
        if world.ended.is_none() { world.end() } else { Ok(()) }
    })();
    replayed.map(|()| world)
}

#[test]
fn invariants_hold_in_the_journals() {
    let mut files: Vec<_> = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut names = BTreeSet::new();
    for file in &files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let world = replay(&fs::read_to_string(file).unwrap())
            .unwrap_or_else(|violation| panic!("{}: {violation}", file.display()));
        if RECORDED.contains(&name.as_str()) {
            assert!(
                world.marks.contains(name.as_str()),
                "{name} does not happen any more: {:?}",
                world.marks
            );
        }
        names.insert(name);
    }
    for name in RECORDED {
        assert!(names.contains(*name), "the journal {name} is missing");
    }
}

/// The journals that `records_journals` records: each is the simplest schedule that has this mark.
const RECORDED: &[&str] = &[
    "abandoned",
    "lease-lost",
    "leftovers",
    "linger",
    "peer-death",
    "removed-after-reload",
    "restart-limit",
    "start-deadline",
    "stop-during-start",
    "ttl",
    "watchdog",
];

#[test]
#[ignore = "writes files: run it after a change of the journal format"]
fn records_journals() {
    for name in RECORDED {
        let config = Config {
            cases: 20_000,
            max_shrink_iters: 20_000,
            failure_persistence: None,
            ..Config::default()
        };
        let acts = proptest::collection::vec(generators::act(), 0..60);
        let input = (generators::plan(), 0..1000u64, generators::habits(), acts);
        let found = TestRunner::new(config).run(&input, |(plan, seed, habits, acts)| {
            let mut world = World::new(plan, seed, habits);
            let ran = world.run(&acts);
            prop_assert!(ran.is_err() || !world.marks.contains(name));
            Ok(())
        });
        let Err(TestError::Fail(_, (plan, seed, habits, acts))) = found else {
            panic!("no schedule has the mark {name}: {found:?}");
        };
        let mut world = World::new(plan.clone(), seed, habits);
        world.run(&acts).expect("it held before");
        fs::write(directory().join(format!("{name}.jsonl")), text(&world, &plan, seed)).unwrap();
    }
}
