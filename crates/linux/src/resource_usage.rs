//! CPU and memory usage of process trees: all descendants and group members of a process. Measured on request.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use crate::procfs::{self, Stat};
use crate::sys;
use spec::program::Pid;

/// CPU and memory usage of a process tree.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ResourceUsage {
    /// CPU time of the running processes in seconds.
    pub cpu_seconds: f64,
    /// Resident memory in bytes; shared pages count for each process.
    pub resident_bytes: u64,
    /// Number of processes.
    pub processes: u64,
}

/// Measures the trees of these processes with a single scan of the process list.
#[must_use]
pub fn measure(roots: &[Pid]) -> BTreeMap<Pid, ResourceUsage> {
    let mut found: BTreeMap<Pid, ResourceUsage> = BTreeMap::new();
    if roots.is_empty() {
        return found;
    }
    let page = sys::page_size();
    #[expect(clippy::cast_precision_loss, reason = "the ticks of a machine's uptime fit")]
    let seconds = |ticks: u64| ticks as f64 / sys::clock_ticks_per_second() as f64;
    for (root, members) in trees(roots, procfs::processes().unwrap_or_default()) {
        let figures = found.entry(root).or_default();
        for stat in members {
            figures.cpu_seconds += seconds(stat.cpu_ticks);
            figures.resident_bytes += stat.resident_pages * page;
            figures.processes += 1;
        }
    }
    found
}

/// The trees above their memory limit, with their usage in bytes. Shared pages count proportionally (PSS) if that can be
/// read.
#[must_use]
pub fn over(roots: &[Pid], limit_of: impl Fn(Pid) -> u64) -> BTreeMap<Pid, u64> {
    let page = sys::page_size();
    let used = |(root, members): (Pid, Vec<Stat>)| {
        let resident = members.iter().map(|stat| stat.resident_pages * page).sum::<u64>();
        if resident <= limit_of(root) {
            return None;
        }
        let own: u64 = members.iter().map(|stat| pss(stat.pid).unwrap_or(0)).sum();
        let used = if own > 0 { own } else { resident };
        (used > limit_of(root)).then_some((root, used))
    };
    trees(roots, procfs::processes().unwrap_or_default()).into_iter().filter_map(used).collect()
}

fn pss(pid: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

/// The members of each tree: by process group, or by the nearest root among the ancestors.
fn trees(roots: &[Pid], all: Vec<Stat>) -> BTreeMap<Pid, Vec<Stat>> {
    let parents: HashMap<Pid, Pid> = all.iter().map(|stat| (stat.pid, stat.ppid)).collect();
    let root_set: std::collections::HashSet<Pid> = roots.iter().copied().collect();
    let mut trees: BTreeMap<Pid, Vec<Stat>> = BTreeMap::new();
    for stat in all {
        let mut root = root_set.contains(&stat.pgrp).then_some(stat.pgrp);
        let mut ancestor = stat.pid;
        // Bounded: a list that changes while it is read may contain a loop.
        for _ in 0..1024 {
            if root.is_some() {
                break;
            }
            root = root_set.contains(&ancestor).then_some(ancestor);
            match parents.get(&ancestor) {
                Some(parent) if *parent > 0 => ancestor = *parent,
                _ => break,
            }
        }
        if let Some(root) = root.filter(|_| !stat.is_zombie()) {
            trees.entry(root).or_default().push(stat);
        }
    }
    trees
}
