//! What belongs to a run, and how it is signalled until nothing is left.
//!
//! A run's process leads a group; what it starts is in that group unless it leaves it (setsid(2)). Those
//! who have left, once their own parents are gone, are handed to us as orphans: [escaped_orphans](Groups::strays).
//! Where there is but one process to look after, every stray is of its making and ends with it. Where there are
//! many, a variable that each run is started with ([`MARK`]) tells whose a stray is; one that has cleared its
//! environment is nobody's, unless the run has a [control group](super::cgroup).
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

/// The variable that tells of which run a process is.
pub const MARK: &str = "SEXTON_RUN";

/// The runs that are there, or of which something is left.
#[derive(Debug)]
pub struct ProcessTable {
    runs: BTreeMap<RunId, Group>,
    /// The runs by the number of their process, while it has not ended.
    leaders: BTreeMap<Pid, RunId>,
    /// Those of them whose process has ended and who were told to end, which are looked at each time.
    ending: BTreeSet<RunId>,
    /// Strays may be there who have not had the signal of their run.
    untold: bool,
    helpers: BTreeMap<Pid, oneshot::Sender<Exit>>,
    /// Whose a stray is; None: nobody's.
    marks: BTreeMap<Pid, Option<RunId>>,
    /// There is but one process to look after: strays are its.
    sole: bool,
    /// Children that we already had when we became this program (by exec); nobody's concern.
    inherited: BTreeSet<Pid>,
}

#[derive(Debug)]
struct Group {
    /// The number of the process and so of its group.
    pid: Pid,
    /// How the process ended; None: it has not.
    exit: Option<Exit>,
    /// Nobody was left in the group after the end of the process: from then on its number may be anybody's,
    /// and is neither asked about nor signalled.
    empty: bool,
    /// Its control group, where there are such.
    cgroup: Option<RunGroup>,
    /// The signal that everything of the run gets, those included who turn up later.
    condemned: Option<Signal>,
    /// Strays who have had it.
    told: BTreeSet<Pid>,
}

/// A change that concerns a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReapedEvent {
    /// Which run.
    pub run: RunId,
    /// What.
    pub what: RunEvent,
}

/// What may happen to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEvent {
    /// Its process has ended.
    Exited {
        /// How.
        exit: Exit,
        /// It left processes behind.
        leftovers: bool,
        /// The kernel killed it, or something of it, because its memory was at its limit.
        out_of_memory: bool,
    },
    /// Nothing of it is left.
    Cleared,
    /// Its process was stopped by this signal.
    Suspended(Signal),
    /// Its process goes on.
    Resumed,
}

impl ProcessTable {
    /// Books with nothing in them. Children that we have at this moment were somebody else's before an
    /// exec, unless we are PID 1, to whom all belong.
    #[must_use]
    pub fn new(sole: bool) -> Self {
        let had = std::process::id() != 1 && reap::any_children();
        let inherited = if had { procfs::children().unwrap_or_default() } else { Vec::new() };
        Self {
            runs: BTreeMap::new(),
            leaders: BTreeMap::new(),
            ending: BTreeSet::new(),
            untold: false,
            helpers: BTreeMap::new(),
            marks: BTreeMap::new(),
            sole,
            inherited: inherited.into_iter().collect(),
        }
    }

    /// The value of [`MARK`] for a run.
    #[must_use]
    pub fn mark(run: RunId) -> String {
        format!("{}.{}", std::process::id(), run.0)
    }

    /// Enters a helper that was just started.
    pub fn enter_helper(&mut self, pid: Pid, ended: oneshot::Sender<Exit>) {
        self.helpers.insert(pid, ended);
    }

    /// Kills all helpers, with their groups.
    pub fn kill_helpers(&self) {
        // They have not been reaped, so the numbers are theirs.
        for pid in self.helpers.keys() {
            let _ = kill(-pid, Signal::KILL.0);
        }
    }

    /// Enters a process that was just started.
    pub fn enter(&mut self, run: RunId, pid: Pid, cgroup: Option<RunGroup>) {
        self.runs.insert(
            run,
            Group { pid, exit: None, empty: false, cgroup, condemned: None, told: BTreeSet::new() },
        );
        self.leaders.insert(pid, run);
    }

    /// The process of a run, if it has not ended.
    #[must_use]
    pub fn pid(&self, run: RunId) -> Option<Pid> {
        self.runs.get(&run).filter(|group| group.exit.is_none()).map(|group| group.pid)
    }

    /// Is anybody left in the group of a run? Those who have left the group do not count.
    #[must_use]
    pub fn is_group_populated(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|group| !group.empty && group_is_populated(group.pid))
    }

    /// Is a run's process gone and something of the run still there?
    #[must_use]
    pub fn any_leftovers(&self) -> bool {
        self.ending.iter().any(|run| self.runs.get(run).is_some_and(|group| group.exit.is_some()))
    }

    /// The runs and the numbers of their processes, of those that have not ended.
    pub fn leaders(&self) -> impl Iterator<Item = (RunId, Pid)> {
        self.leaders.iter().map(|(pid, run)| (*run, *pid))
    }

    /// Forgets a run of which something could not be ended.
    pub fn abandon(&mut self, run: RunId) {
        if let Some(group) = self.runs.remove(&run) {
            self.leaders.remove(&group.pid);
        }
        self.ending.remove(&run);
    }

    /// Sends a signal; to those who have left the group, with [`signal_strays`](Self::signal_strays).
    pub fn signal(&mut self, run: RunId, signal: Signal, scope: SignalScope) {
        let Some(group) = self.runs.get_mut(&run) else { return };
        if !group.empty {
            match kill(-group.pid, signal.0) {
                // All of it has ended; that will be told in its time.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => {
                    log::warn!(pid = group.pid, signal:% = signal; "cannot signal the process group: {error}");
                }
                Ok(()) => {}
            }
        }
        // Strays are continued together with what else they are told.
        if scope == SignalScope::Everything && signal != Signal::CONT {
            if let Some(cgroup) = &group.cgroup {
                cgroup.signal_beside(group.pid, signal);
            }
            group.condemned = Some(signal);
            group.told.clear();
            self.ending.insert(run);
            self.untold = true;
        }
    }

    /// Passes signals on to those who have left the groups of the runs they were for. Once for all signals that
    /// are sent together: to find the strays takes a look at all our children.
    pub fn signal_strays(&mut self) {
        if self.untold {
            let escaped_orphans = self.escaped_orphans();
            self.tell(&escaped_orphans);
        }
    }

    /// Takes what has happened to our children. What was condemned and turned up since gets its signal.
    pub fn reap(&mut self) -> Vec<ReapedEvent> {
        let mut happened = Vec::new();
        let mut exited = Vec::new();
        // What a helper leaves behind is killed while its number is still its own.
        for pid in self.helpers.keys().filter(|pid| reap::has_ended(**pid)) {
            let _ = kill(-pid, Signal::KILL.0);
        }
        for (pid, change) in reap::reap() {
            let Some(run) = self.leaders.get(&pid).copied() else {
                if let Change::Ended(exit) = change {
                    self.ended_beside(pid, exit);
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
        self.tell(&escaped_orphans);
        // Only now, since the others of its group may have been reaped right behind it.
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

    /// The run's process has ended: is anything of it left?
    fn has_leftovers(&mut self, run: RunId, escaped_orphans: &[(Pid, RunId)]) -> bool {
        let Some(group) = self.runs.get_mut(&run) else { return false };
        group.empty = group.empty || !group_is_populated(group.pid);
        let beside = group.cgroup.as_ref().is_some_and(RunGroup::is_populated);
        if let (true, Some(cgroup), Some(signal)) = (beside, &group.cgroup, group.condemned) {
            // Whoever has turned up since.
            if signal == Signal::KILL {
                cgroup.signal_beside(group.pid, signal);
            }
        }
        beside || !group.empty || escaped_orphans.iter().any(|(_, of)| *of == run)
    }

    fn is_out_of_memory(&self, run: RunId) -> bool {
        let cgroup = self.runs.get(&run).and_then(|group| group.cgroup.as_ref());
        cgroup.is_some_and(RunGroup::is_out_of_memory)
    }

    /// Does the kernel keep the memory of a run within its limit?
    #[must_use]
    pub fn limits_memory(&self, run: RunId) -> bool {
        self.runs.get(&run).and_then(|group| group.cgroup.as_ref()).is_some_and(|cgroup| cgroup.limits_memory)
    }

    /// Somebody has ended who is the process of no run.
    fn ended_beside(&mut self, pid: Pid, exit: Exit) {
        if let Some(ended) = self.helpers.remove(&pid) {
            // Nobody waits for it any more: nobody hears.
            let _ = ended.send(exit);
            return;
        }
        self.forget_stray(pid);
        log::debug!(pid = pid; "reaped an orphan that ended with {exit}");
    }

    /// Our children that are neither the process of a run nor a helper nor inherited, and whose they are. One that
    /// has just ended may be among them; its end is told soon.
    fn escaped_orphans(&mut self) -> Vec<(Pid, RunId)> {
        if !reap::any_children() {
            return Vec::new();
        }
        let children = procfs::children().unwrap_or_else(|error| {
            static ONCE: Once = Once::new();
            ONCE.call_once(|| {
                log::warn!("cannot see who left a process group, and so cannot end them: /proc: {error}");
            });
            Vec::new()
        });
        let known = |pid: &Pid| {
            self.leaders.contains_key(pid) || self.helpers.contains_key(pid) || self.inherited.contains(pid)
        };
        let escaped_orphans: BTreeSet<Pid> = children.into_iter().filter(|pid| !known(pid)).collect();
        if self.sole {
            let only = self.runs.keys().next_back().copied();
            return escaped_orphans.into_iter().filter_map(|pid| Some((pid, only?))).collect();
        }
        self.marks.retain(|pid, _| escaped_orphans.contains(pid));
        let own = format!("{}.", std::process::id());
        let of = |pid: Pid| procfs::variable(pid, MARK)?.strip_prefix(&own)?.parse().ok().map(RunId);
        let whose = |pid: Pid| Some((pid, (*self.marks.entry(pid).or_insert_with(|| of(pid)))?));
        escaped_orphans.into_iter().filter_map(whose).collect()
    }

    /// Those of them who have not had the signal that their run is condemned to get it now. A stray is our
    /// unreaped child: its number is its own.
    fn tell(&mut self, escaped_orphans: &[(Pid, RunId)]) {
        self.untold = false;
        for (stray, run) in escaped_orphans {
            let Some(group) = self.runs.get_mut(run) else { continue };
            let Some(signal) = group.condemned else { continue };
            if group.told.insert(*stray) {
                let _ = kill(*stray, signal.0);
                if signal != Signal::KILL {
                    let _ = kill(*stray, Signal::CONT.0);
                }
            }
        }
    }

    fn forget_stray(&mut self, pid: Pid) {
        self.inherited.remove(&pid);
        self.marks.remove(&pid);
        for group in self.runs.values_mut() {
            group.told.remove(&pid);
        }
    }
}

/// Is there anybody in the group who has not ended?
fn group_is_populated(group: Pid) -> bool {
    match kill(-group, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => false,
        // Somebody is there, be it only one who has ended and whose own parent does not look (and that
        // parent has left the group, else we would not ask): those do not count.
        Ok(()) | Err(_) => members(group).map_or(true, |members| members > 0),
    }
}

fn members(group: Pid) -> io::Result<usize> {
    Ok(procfs::processes()?.iter().filter(|stat| stat.pgrp == group && !stat.is_zombie()).count())
}
