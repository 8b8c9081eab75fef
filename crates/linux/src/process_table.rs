//! The processes of each run, and signals to them until none is left.
//!
//! The main process of a run leads a process group; its descendants are in that group unless they leave it
//! (setsid(2)). Once their parents have exited, those that left become orphans and sexton adopts them: see
//! [`ProcessTable::escaped_orphans`]. With a single supervised process, every such orphan belongs to it. With several,
//! a variable in the environment ([`MARK`]) names the run; an orphan that has cleared its environment belongs to no
//! run, unless the run has a [control group](super::cgroup).
//!
//! Helpers (the commands of probes and hooks) lead groups of their own, and what they leave behind is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Once;

use engine::{Exit, RunId, Signal, SignalScope};
use tokio::sync::oneshot;

use super::cgroup::RunGroup;
use super::procfs;
use super::reap::{self, Change};
use super::signals::kill;
use spec::program::Pid;

/// The environment variable that names the run of a process.
pub const MARK: &str = "SEXTON_RUN";

/// The runs that have processes left, and the helpers.
#[derive(Debug)]
pub struct ProcessTable {
    runs: BTreeMap<RunId, Group>,
    /// The runs by their main process, until it has exited.
    leaders: BTreeMap<Pid, RunId>,
    /// The runs whose main process has exited or that were signalled to stop; checked at every reap.
    ending: BTreeSet<RunId>,
    /// Escaped orphans may exist that have not had the signal of their run.
    orphans_unsignalled: bool,
    helpers: BTreeMap<Pid, oneshot::Sender<Exit>>,
    /// The run of each escaped orphan; None: unknown.
    orphan_runs: BTreeMap<Pid, Option<RunId>>,
    /// There is a single supervised process: all escaped orphans are its descendants.
    single: bool,
    /// Children from before sexton was executed in this process; ignored.
    inherited: BTreeSet<Pid>,
}

#[derive(Debug)]
struct Group {
    /// The main process, and so the process group.
    pid: Pid,
    /// Exit status of the main process, once it has exited.
    exit: Option<Exit>,
    /// The group was empty after the main process had exited: its ID may have been reused and is no longer
    /// checked or signalled.
    empty: bool,
    cgroup: Option<RunGroup>,
    /// The signal for all processes of the run, including those that appear later.
    stop_signal: Option<Signal>,
    /// Escaped orphans that have had it.
    signalled: BTreeSet<Pid>,
}

/// A state change of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReapedEvent {
    pub run: RunId,
    pub what: RunEvent,
}

/// The kinds of state changes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEvent {
    /// The main process has exited.
    Exited {
        exit: Exit,
        /// Other processes of the run are left.
        leftovers: bool,
        /// The kernel killed a process of the run because the memory limit was reached.
        out_of_memory: bool,
    },
    /// No process of the run is left.
    Cleared,
    /// The main process was stopped by this signal.
    Suspended(Signal),
    /// The main process was continued.
    Resumed,
}

impl ProcessTable {
    /// An empty table. Children that exist now date from before an exec and are ignored, unless sexton is PID 1, to
    /// which all belong.
    #[must_use]
    pub fn new(single: bool) -> Self {
        let has_children = std::process::id() != 1 && reap::any_children();
        let inherited = if has_children { procfs::children().unwrap_or_default() } else { Vec::new() };
        Self {
            runs: BTreeMap::new(),
            leaders: BTreeMap::new(),
            ending: BTreeSet::new(),
            orphans_unsignalled: false,
            helpers: BTreeMap::new(),
            orphan_runs: BTreeMap::new(),
            single,
            inherited: inherited.into_iter().collect(),
        }
    }

    /// The value of [`MARK`] for a run.
    #[must_use]
    pub fn mark(run: RunId) -> String {
        format!("{}.{}", std::process::id(), run.0)
    }

    /// Adds a helper that was just started.
    pub fn enter_helper(&mut self, pid: Pid, on_exit: oneshot::Sender<Exit>) {
        self.helpers.insert(pid, on_exit);
    }

    /// Kills all helpers, with their groups.
    pub fn kill_helpers(&self) {
        // They have not been reaped, so the IDs are still theirs.
        for pid in self.helpers.keys() {
            let _ = kill(-pid, Signal::KILL.0);
        }
    }

    /// Adds a process that was just started.
    pub fn enter(&mut self, run: RunId, pid: Pid, cgroup: Option<RunGroup>) {
        self.runs.insert(
            run,
            Group { pid, exit: None, empty: false, cgroup, stop_signal: None, signalled: BTreeSet::new() },
        );
        self.leaders.insert(pid, run);
    }

    /// The main process of a run, if it has not exited.
    #[must_use]
    pub fn pid(&self, run: RunId) -> Option<Pid> {
        self.runs.get(&run).filter(|group| group.exit.is_none()).map(|group| group.pid)
    }

    /// Whether the process group of a run has members. Processes that have left it do not count.
    #[must_use]
    pub fn is_group_populated(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|group| !group.empty && group_is_populated(group.pid))
    }

    /// Whether any run has processes left after its main process has exited.
    #[must_use]
    pub fn any_leftovers(&self) -> bool {
        self.ending.iter().any(|run| self.runs.get(run).is_some_and(|group| group.exit.is_some()))
    }

    /// The runs and their main processes, of those that have not exited.
    pub fn leaders(&self) -> impl Iterator<Item = (RunId, Pid)> {
        self.leaders.iter().map(|(pid, run)| (*run, *pid))
    }

    /// Removes a run of which a process could not be stopped.
    pub fn abandon(&mut self, run: RunId) {
        if let Some(group) = self.runs.remove(&run) {
            self.leaders.remove(&group.pid);
        }
        self.ending.remove(&run);
    }

    /// Sends a signal. Escaped orphans get it in [`signal_strays`](Self::signal_strays).
    pub fn signal(&mut self, run: RunId, signal: Signal, scope: SignalScope) {
        let Some(group) = self.runs.get_mut(&run) else { return };
        if !group.empty {
            match kill(-group.pid, signal.0) {
                // All members have exited; the next reap reports it.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => {
                    log::warn!(pid = group.pid, signal:% = signal; "cannot signal the process group: {error}");
                }
                Ok(()) => {}
            }
        }
        // Escaped orphans are continued right after the signal.
        if scope == SignalScope::Everything && signal != Signal::CONT {
            if let Some(cgroup) = &group.cgroup {
                cgroup.signal_outside_group(group.pid, signal);
            }
            group.stop_signal = Some(signal);
            group.signalled.clear();
            self.ending.insert(run);
            self.orphans_unsignalled = true;
        }
    }

    /// Sends pending signals to escaped orphans. Called once per batch of signals, since finding them takes a scan
    /// of all children.
    pub fn signal_strays(&mut self) {
        if self.orphans_unsignalled {
            let escaped_orphans = self.escaped_orphans();
            self.signal_orphans(&escaped_orphans);
        }
    }

    /// Reaps children and returns the changes of runs. Processes that have appeared since the stop signal get it.
    pub fn reap(&mut self) -> Vec<ReapedEvent> {
        let mut happened = Vec::new();
        let mut exited = Vec::new();
        // What a helper leaves behind is killed while its process ID is still reserved.
        for pid in self.helpers.keys().filter(|pid| reap::has_ended(**pid)) {
            let _ = kill(-pid, Signal::KILL.0);
        }
        for (pid, change) in reap::reap() {
            let Some(run) = self.leaders.get(&pid).copied() else {
                if let Change::Ended(exit) = change {
                    self.reap_other(pid, exit);
                }
                continue;
            };
            match change {
                Change::Ended(exit) => {
                    if let Some(group) = self.runs.get_mut(&run) {
                        group.exit = Some(exit);
                    }
                    self.leaders.remove(&pid);
                    self.ending.insert(run);
                    exited.push((run, exit));
                }
                Change::Suspended(signal) => {
                    happened.push(ReapedEvent { run, what: RunEvent::Suspended(signal) });
                }
                Change::Resumed => happened.push(ReapedEvent { run, what: RunEvent::Resumed }),
            }
        }
        let escaped_orphans = if self.ending.is_empty() { Vec::new() } else { self.escaped_orphans() };
        self.signal_orphans(&escaped_orphans);
        // Only now, since other members of the group may have been reaped right after it.
        for run in self.ending.clone() {
            if self.runs.get(&run).is_none_or(|group| group.exit.is_none()) {
                continue;
            }
            let out_of_memory = self.is_out_of_memory(run);
            let leftovers = self.has_leftovers(run, &escaped_orphans);
            if !leftovers {
                self.runs.remove(&run);
                self.ending.remove(&run);
            }
            match exited.iter().find(|(of, _)| *of == run) {
                Some((_, exit)) => {
                    happened.push(ReapedEvent {
                        run,
                        what: RunEvent::Exited { exit: *exit, leftovers, out_of_memory },
                    });
                }
                None if !leftovers => happened.push(ReapedEvent { run, what: RunEvent::Cleared }),
                None => {}
            }
        }
        happened
    }

    /// Whether processes of the run are left after its main process has exited.
    fn has_leftovers(&mut self, run: RunId, escaped_orphans: &[(Pid, RunId)]) -> bool {
        let Some(group) = self.runs.get_mut(&run) else { return false };
        group.empty = group.empty || !group_is_populated(group.pid);
        let outside = group.cgroup.as_ref().is_some_and(RunGroup::is_populated);
        if let (true, Some(cgroup), Some(signal)) = (outside, &group.cgroup, group.stop_signal) {
            // Those that have appeared since.
            if signal == Signal::KILL {
                cgroup.signal_outside_group(group.pid, signal);
            }
        }
        outside || !group.empty || escaped_orphans.iter().any(|(_, of)| *of == run)
    }

    fn is_out_of_memory(&self, run: RunId) -> bool {
        let cgroup = self.runs.get(&run).and_then(|group| group.cgroup.as_ref());
        cgroup.is_some_and(RunGroup::is_out_of_memory)
    }

    /// Whether the kernel enforces the memory limit of a run.
    #[must_use]
    pub fn limits_memory(&self, run: RunId) -> bool {
        self.runs.get(&run).and_then(|group| group.cgroup.as_ref()).is_some_and(|cgroup| cgroup.limits_memory)
    }

    /// Handles the exit of a child that is not the main process of a run.
    fn reap_other(&mut self, pid: Pid, exit: Exit) {
        if let Some(on_exit) = self.helpers.remove(&pid) {
            // Err: nothing waits for it any more.
            let _ = on_exit.send(exit);
            return;
        }
        self.forget_orphan(pid);
        log::debug!(pid = pid; "reaped an orphan: {exit}");
    }

    /// The children that are neither main processes nor helpers nor inherited, with their runs. It may include one
    /// that has just exited and is reaped next.
    fn escaped_orphans(&mut self) -> Vec<(Pid, RunId)> {
        if !reap::any_children() {
            return Vec::new();
        }
        let children = procfs::children().unwrap_or_else(|error| {
            static ONCE: Once = Once::new();
            ONCE.call_once(|| {
                log::warn!("cannot find processes that left their process group, so they will not be stopped: /proc: {error}");
            });
            Vec::new()
        });
        let known = |pid: &Pid| {
            self.leaders.contains_key(pid) || self.helpers.contains_key(pid) || self.inherited.contains(pid)
        };
        let escaped_orphans: BTreeSet<Pid> = children.into_iter().filter(|pid| !known(pid)).collect();
        if self.single {
            let only = self.runs.keys().next_back().copied();
            return escaped_orphans.into_iter().filter_map(|pid| Some((pid, only?))).collect();
        }
        self.orphan_runs.retain(|pid, _| escaped_orphans.contains(pid));
        let own = format!("{}.", std::process::id());
        let of = |pid: Pid| procfs::variable(pid, MARK)?.strip_prefix(&own)?.parse().ok().map(RunId);
        let with_run = |pid: Pid| Some((pid, (*self.orphan_runs.entry(pid).or_insert_with(|| of(pid)))?));
        escaped_orphans.into_iter().filter_map(with_run).collect()
    }

    /// Sends the stop signal of its run to each orphan that has not had it. An orphan is an unreaped child, so its
    /// process ID is still reserved.
    fn signal_orphans(&mut self, escaped_orphans: &[(Pid, RunId)]) {
        self.orphans_unsignalled = false;
        for (stray, run) in escaped_orphans {
            let Some(group) = self.runs.get_mut(run) else { continue };
            let Some(signal) = group.stop_signal else { continue };
            if group.signalled.insert(*stray) {
                let _ = kill(*stray, signal.0);
                if signal != Signal::KILL {
                    let _ = kill(*stray, Signal::CONT.0);
                }
            }
        }
    }

    fn forget_orphan(&mut self, pid: Pid) {
        self.inherited.remove(&pid);
        self.orphan_runs.remove(&pid);
        for group in self.runs.values_mut() {
            group.signalled.remove(&pid);
        }
    }
}

/// Whether the group has a member that has not exited.
fn group_is_populated(group: Pid) -> bool {
    match kill(-group, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => false,
        // It has members, but they may be zombies that their parent (outside the group, else sexton would not
        // check) has not reaped: those do not count.
        Ok(()) | Err(_) => members(group).map_or(true, |members| members > 0),
    }
}

fn members(group: Pid) -> io::Result<usize> {
    Ok(procfs::processes()?.iter().filter(|stat| stat.pgrp == group && !stat.is_zombie()).count())
}
