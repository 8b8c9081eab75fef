//! The processes of each run, and signals to them until none is left.
//!
//! The main process of a run leads a process group; its descendants are in that group unless they leave it
//! (setsid(2)). Once their parents have exited, those that left become orphans and sexton adopts them: see
//! [`ProcessTable::escaped_orphans`]. With a single supervised process, every such orphan belongs to it. With several,
//! a variable in the environment ([`MARK`]) names the run; an orphan that has cleared its environment belongs to no
//! run, unless the run has a [control group](super::cgroup).
//!
//! Helpers (the commands of probes and hooks) lead groups of their own, and what they leave behind is killed: the rest of
//! the group when they have exited, and then processes outside of it that have their mark.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Once;
use std::time::{Duration, Instant};

use engine::{Exit, RunId, Signal, SignalScope};
use tokio::sync::oneshot;

use super::cgroup::RunGroup;
use super::procfs;
use super::reap::{self, Change};
use super::signals::kill;
use spec::program::Pid;

/// The shortest time between two searches for processes that helpers have left behind, since each lists all children.
const HELPER_SEARCH_INTERVAL: Duration = Duration::from_millis(100);

/// The environment variable that names the run of a process, or the helper.
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
    helpers: BTreeMap<Pid, Helper>,
    next_helper: u64,
    /// When helpers may have left processes behind: the time of the next search for them.
    helper_search: Option<Instant>,
    /// The owner of each escaped orphan; None: unknown.
    orphan_owners: BTreeMap<Pid, Option<Owner>>,
    /// There is a single supervised process: all escaped orphans are its descendants.
    single: bool,
    /// Children from before sexton was executed in this process; ignored.
    inherited: BTreeSet<Pid>,
}

/// The identity of a helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HelperId(u64);

#[derive(Debug)]
struct Helper {
    /// None: it has no mark, and nothing that it starts is killed with it.
    id: Option<HelperId>,
    on_exit: oneshot::Sender<Exit>,
}

/// What an escaped orphan belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Run(RunId),
    Helper(HelperId),
}

impl Owner {
    /// Parses a mark without the part that names the supervisor.
    fn parse(mark: &str) -> Option<Self> {
        match mark.strip_prefix('h') {
            Some(helper) => helper.parse().ok().map(|id| Self::Helper(HelperId(id))),
            None => mark.parse().ok().map(|run| Self::Run(RunId(run))),
        }
    }
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
            next_helper: 0,
            helper_search: None,
            orphan_owners: BTreeMap::new(),
            single,
            inherited: inherited.into_iter().collect(),
        }
    }

    /// The value of [`MARK`] for a run.
    #[must_use]
    pub fn mark(run: RunId) -> String {
        format!("{}.{}", std::process::id(), run.0)
    }

    /// Names a helper that is about to be started. Returns its identity and the value of [`MARK`].
    pub fn name_helper(&mut self) -> (HelperId, String) {
        self.next_helper += 1;
        (HelperId(self.next_helper), format!("{}.h{}", std::process::id(), self.next_helper))
    }

    /// Adds a helper that was just started. With an identity, what it leaves behind is killed.
    pub fn enter_helper(&mut self, pid: Pid, id: Option<HelperId>, on_exit: oneshot::Sender<Exit>) {
        self.helpers.insert(pid, Helper { id, on_exit });
    }

    /// Kills all helpers with an identity, with their groups.
    pub fn kill_helpers(&self) {
        // They have not been reaped, so the IDs are still theirs.
        for (pid, _) in self.helpers.iter().filter(|(_, helper)| helper.id.is_some()) {
            let _ = kill(-pid, Signal::KILL.0);
        }
    }

    /// Whether there are helpers with an identity, or there may be processes that such helpers have left behind.
    #[must_use]
    pub fn any_helpers(&self) -> bool {
        self.helper_search.is_some() || self.helpers.values().any(|helper| helper.id.is_some())
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

    /// Whether any run has processes left after its main process has exited, or a helper may have.
    #[must_use]
    pub fn any_leftovers(&self) -> bool {
        self.helper_search.is_some()
            || self.ending.iter().any(|run| self.runs.get(run).is_some_and(|group| group.exit.is_some()))
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
        let target = match scope {
            SignalScope::Main => Some(group.pid).filter(|_| group.exit.is_none()),
            SignalScope::Group | SignalScope::Everything => Some(-group.pid).filter(|_| !group.empty),
        };
        if let Some(target) = target {
            match kill(target, signal.0) {
                // All members have exited; the next reap reports it.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => {
                    log::warn!(pid = group.pid, signal:% = signal; "cannot signal the process: {error}");
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
        let search = self.helper_search.is_some_and(|at| at <= Instant::now());
        let escaped_orphans =
            if self.ending.is_empty() && !search { Vec::new() } else { self.escaped_orphans() };
        self.signal_orphans(&escaped_orphans);
        if search {
            self.kill_orphans_of_helpers();
        }
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
        if let Some(helper) = self.helpers.remove(&pid) {
            // Err: nothing waits for it any more.
            let _ = helper.on_exit.send(exit);
            if helper.id.is_some() {
                self.helper_search.get_or_insert_with(Instant::now);
            }
            return;
        }
        // Its children are orphans now.
        if self.next_helper > 0 {
            self.helper_search.get_or_insert_with(Instant::now);
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
        // Without helpers, all orphans belong to a single process.
        let only = self.runs.keys().next_back().copied().filter(|_| self.single);
        if let (Some(run), 0) = (only, self.next_helper) {
            return escaped_orphans.into_iter().map(|pid| (pid, run)).collect();
        }
        self.orphan_owners.retain(|pid, _| escaped_orphans.contains(pid));
        let own = format!("{}.", std::process::id());
        let owner = |pid: Pid| Owner::parse(procfs::variable(pid, MARK)?.strip_prefix(&own)?);
        let with_run = |pid: Pid| match *self.orphan_owners.entry(pid).or_insert_with(|| owner(pid)) {
            Some(Owner::Run(run)) => Some((pid, run)),
            Some(Owner::Helper(_)) => None,
            None => only.map(|run| (pid, run)),
        };
        escaped_orphans.into_iter().filter_map(with_run).collect()
    }

    /// Kills the escaped orphans of helpers that have exited, as found by the last search. They may have children, which
    /// are orphans then: after a find there is another search.
    fn kill_orphans_of_helpers(&mut self) {
        let is_running = |id: HelperId| self.helpers.values().any(|helper| helper.id == Some(id));
        let mut found = false;
        for (pid, owner) in &self.orphan_owners {
            if matches!(owner, Some(Owner::Helper(id)) if !is_running(*id)) {
                found = true;
                let _ = kill(*pid, Signal::KILL.0);
            }
        }
        self.helper_search = found.then(|| Instant::now() + HELPER_SEARCH_INTERVAL);
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
        self.orphan_owners.remove(&pid);
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
