//! The tree of processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// Number, parent, state and name of each process.
fn processes() -> Vec<(i32, i32, char, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers.filter_map(line).collect()
}

fn line(pid: i32) -> Option<(i32, i32, char, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (front, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((pid, fields.next()?.parse().ok()?, state, front.split_once('(')?.1.to_owned()))
}

/// Whether there is a process with that PID that has not exited.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    line(pid).is_some_and(|(_, _, state, _)| !matches!(state, 'Z' | 'X'))
}

/// The state of a process: `R`, `S`, `T`, `Z`…
#[must_use]
pub fn state(pid: i32) -> Option<char> {
    line(pid).map(|(_, _, state, _)| state)
}

/// All descendants of a process, zombies included, with their names.
#[must_use]
pub fn descendants(root: i32) -> BTreeMap<i32, String> {
    let all = processes();
    let mut found = BTreeMap::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for (pid, of, _, name) in &all {
            if *of == parent && found.insert(*pid, name.clone()).is_none() {
                parents.push(*pid);
            }
        }
    }
    found
}

/// Descendants that have exited and were not reaped.
#[must_use]
pub fn zombies(root: i32) -> usize {
    descendants(root).keys().filter(|pid| state(**pid) == Some('Z')).count()
}

/// Returns the numbers of a process's open descriptors.
#[must_use]
pub fn descriptors(pid: i32) -> BTreeSet<u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Allows a process to open descriptors below `limit` only; prlimit(2).
#[track_caller]
pub fn limit_descriptors(pid: i32, limit: u64) {
    let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
    if let Err(error) = prlimit(Pid::from_raw(pid), Resource::Nofile, limit) {
        panic!("prlimit {pid}: {error}");
    }
}
