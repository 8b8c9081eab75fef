//! What belongs to a run, and how it is signalled until nothing is left.
//!
//! A run's process leads a group; what it starts is in that group unless it leaves it (setsid(2)). Those
//! who have left, once their own parents are gone, are handed to us as orphans: [strays](Groups::strays).
//! Where there is but one process to look after, every stray is of its making and ends with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Once;

use engine::{Exit, Reach, RunId, Signal};

use super::reap::{self, Change};
use super::signals::kill;
use super::{Pid, procfs};

/// The runs that are there, or of which something is left.
#[derive(Debug)]
pub struct Groups {
    runs: BTreeMap<RunId, Group>,
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
    /// The signal that everything of the run gets, those included who turn up later.
    condemned: Option<Signal>,
    /// Strays who have had it.
    told: BTreeSet<Pid>,
}

/// A change that concerns a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Happened {
    /// Which run.
    pub run: RunId,
    /// What.
    pub what: ToRun,
}

/// What may happen to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToRun {
    /// Its process has ended.
    Exited {
        /// How.
        exit: Exit,
        /// It left processes behind.
        leftovers: bool,
    },
    /// Nothing of it is left.
    Cleared,
    /// Its process was stopped by this signal.
    Suspended(Signal),
    /// Its process goes on.
    Resumed,
}

impl Groups {
    /// Books with nothing in them. Children that we have at this moment were somebody else's before an
    /// exec, unless we are PID 1, to whom all belong.
    #[must_use]
    pub fn new(sole: bool) -> Self {
        let had = std::process::id() != 1 && reap::any_children();
        let inherited = if had { procfs::children().unwrap_or_default() } else { Vec::new() };
        Self { runs: BTreeMap::new(), sole, inherited: inherited.into_iter().collect() }
    }

    /// Enters a process that was just started.
    pub fn enter(&mut self, run: RunId, pid: Pid) {
        self.runs
            .insert(run, Group { pid, exit: None, empty: false, condemned: None, told: BTreeSet::new() });
    }

    /// The process of a run, if it has not ended.
    #[must_use]
    pub fn pid(&self, run: RunId) -> Option<Pid> {
        self.runs.get(&run).filter(|group| group.exit.is_none()).map(|group| group.pid)
    }

    /// Is a run's process gone and something of the run still there?
    #[must_use]
    pub fn any_leftovers(&self) -> bool {
        self.runs.values().any(|group| group.exit.is_some())
    }

    /// Forgets a run of which something could not be ended.
    pub fn abandon(&mut self, run: RunId) {
        self.runs.remove(&run);
    }

    /// Sends a signal.
    pub fn signal(&mut self, run: RunId, signal: Signal, reach: Reach) {
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
        if reach == Reach::Everything && signal != Signal::CONT {
            group.condemned = Some(signal);
            group.told.clear();
            let strays = self.strays();
            self.tell(&strays);
        }
    }

    /// Takes what has happened to our children. What was condemned and turned up since gets its signal.
    pub fn reap(&mut self) -> Vec<Happened> {
        let mut happened = Vec::new();
        let mut exited = Vec::new();
        for (pid, change) in reap::reap() {
            let run = self.runs.iter().find(|(_, group)| group.pid == pid && group.exit.is_none());
            let Some(run) = run.map(|(run, _)| *run) else {
                if let Change::Ended(exit) = change {
                    self.forget_stray(pid);
                    log::debug!(pid = pid; "reaped an orphan that ended with {exit}");
                }
                continue;
            };
            match change {
                Change::Ended(exit) => {
                    if let Some(group) = self.runs.get_mut(&run) {
                        group.exit = Some(exit);
                    }
                    exited.push((run, exit));
                }
                Change::Suspended(signal) => {
                    happened.push(Happened { run, what: ToRun::Suspended(signal) });
                }
                Change::Resumed => happened.push(Happened { run, what: ToRun::Resumed }),
            }
        }
        let ending = self.runs.values().any(|group| group.exit.is_some() || group.condemned.is_some());
        let strays = if ending { self.strays() } else { Vec::new() };
        self.tell(&strays);
        // Only now, since the others of its group may have been reaped right behind it.
        let over: Vec<_> =
            self.runs.iter().filter(|(_, group)| group.exit.is_some()).map(|(run, _)| *run).collect();
        for run in over {
            let leftovers = self.has_leftovers(run, &strays);
            if !leftovers {
                self.runs.remove(&run);
            }
            match exited.iter().find(|(of, _)| *of == run) {
                Some((_, exit)) => {
                    happened.push(Happened { run, what: ToRun::Exited { exit: *exit, leftovers } });
                }
                None if !leftovers => happened.push(Happened { run, what: ToRun::Cleared }),
                None => {}
            }
        }
        happened
    }

    /// The run's process has ended: is anything of it left?
    fn has_leftovers(&mut self, run: RunId, strays: &[Pid]) -> bool {
        let Some(group) = self.runs.get_mut(&run) else { return false };
        group.empty = group.empty || !group_is_populated(group.pid);
        !group.empty || !strays.is_empty()
    }

    /// Our children that are neither the process of a run nor inherited, where they are of a run's making.
    /// One that has just ended may be among them; its end is told soon.
    fn strays(&self) -> Vec<Pid> {
        if !self.sole || !reap::any_children() {
            return Vec::new();
        }
        let children = procfs::children().unwrap_or_else(|error| {
            static ONCE: Once = Once::new();
            ONCE.call_once(|| {
                log::warn!("cannot see who left a process group, and so cannot end them: /proc: {error}");
            });
            Vec::new()
        });
        let led = |pid: &Pid| self.runs.values().any(|group| group.pid == *pid && group.exit.is_none());
        children.into_iter().filter(|pid| !led(pid) && !self.inherited.contains(pid)).collect()
    }

    /// Those of them who have not had the signal that their run is condemned to get it now. A stray is our
    /// unreaped child: its number is its own.
    fn tell(&mut self, strays: &[Pid]) {
        for group in self.runs.values_mut() {
            let Some(signal) = group.condemned else { continue };
            for stray in strays {
                if group.told.insert(*stray) {
                    let _ = kill(*stray, signal.0);
                    if signal != Signal::KILL {
                        let _ = kill(*stray, Signal::CONT.0);
                    }
                }
            }
        }
    }

    fn forget_stray(&mut self, pid: Pid) {
        self.inherited.remove(&pid);
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
