//! Processes started by others, observed through the process list.
//!
//! ```text
//! process list ──update──► ProcessWatchSet ──► Appeared, Exited
//! pidfd ─────────exited──►       ▲
//!                                └── present, last exited
//! ```
//!
//! * A process is identified by its PID *and* its start time, since PIDs are reused.
//! * An exit is reported once: by the pidfd with its status, or by the next update without.
//! * A status that arrives after the exit was reported is added to the last exit.

use crate::{Exit, Time};

/// A process found in the process list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedProcess {
    pub pid: u32,
    /// Start time in kernel clock ticks since boot; distinguishes it from a later process with the same PID.
    pub start_ticks: u64,
    /// The command and its arguments.
    pub arguments: Vec<String>,
}

/// The exit of an observed process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedExit {
    pub process: ObservedProcess,
    /// When the exit was noticed.
    pub at: Time,
    /// The exit status, if known.
    pub exit: Option<Exit>,
}

/// A change since the last update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Appeared(ObservedProcess),
    Exited(ObservedExit),
}

/// The observed processes that are present, and the last one that exited.
#[derive(Debug, Clone, Default)]
pub struct ProcessWatchSet {
    present: Vec<ObservedProcess>,
    last: Option<ObservedExit>,
}

impl ProcessWatchSet {
    /// The present processes, ordered by PID.
    #[must_use]
    pub fn present(&self) -> &[ObservedProcess] {
        &self.present
    }

    /// The last exit.
    #[must_use]
    pub const fn last(&self) -> Option<&ObservedExit> {
        self.last.as_ref()
    }

    /// Takes the processes found in the process list and returns the changes, exits first. An exec changes the
    /// arguments, not the identity.
    pub fn update(&mut self, now: Time, mut found: Vec<ObservedProcess>) -> Vec<Change> {
        found.sort_by_key(|seen| seen.pid);
        found.dedup_by_key(|seen| seen.pid);
        let same =
            |a: &ObservedProcess, b: &ObservedProcess| a.pid == b.pid && a.start_ticks == b.start_ticks;
        let was = std::mem::replace(&mut self.present, found);
        let gone = was.iter().filter(|old| !self.present.iter().any(|new| same(old, new)));
        let exits: Vec<_> =
            gone.map(|process| ObservedExit { process: process.clone(), at: now, exit: None }).collect();
        self.last = exits.last().cloned().or(self.last.take());
        let came = self.present.iter().filter(|new| !was.iter().any(|old| same(old, new))).cloned();
        exits.into_iter().map(Change::Exited).chain(came.map(Change::Appeared)).collect()
    }

    /// Handles the exit of a process that was watched through its pidfd. Returns None if the process is unknown or its
    /// exit was already reported; its status is recorded even then.
    pub fn exited(&mut self, now: Time, pid: u32, start_ticks: u64, exit: Option<Exit>) -> Option<Change> {
        let same = |seen: &ObservedProcess| seen.pid == pid && seen.start_ticks == start_ticks;
        let Some(index) = self.present.iter().position(same) else {
            if let Some(last) = self.last.as_mut().filter(|last| same(&last.process)) {
                last.exit = last.exit.or(exit);
            }
            return None;
        };
        let observed = ObservedExit { process: self.present.remove(index), at: now, exit };
        self.last = Some(observed.clone());
        Some(Change::Exited(observed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pid: u32, start_ticks: u64) -> ObservedProcess {
        ObservedProcess { pid, start_ticks, arguments: vec!["puppet".to_owned()] }
    }

    fn pids(changes: &[Change]) -> Vec<(char, u32)> {
        changes
            .iter()
            .map(|change| match change {
                Change::Appeared(process) => ('+', process.pid),
                Change::Exited(observed) => ('-', observed.process.pid),
            })
            .collect()
    }

    #[test]
    fn reports_appearances_and_exits_once() {
        let mut watched = ProcessWatchSet::default();
        assert_eq!(pids(&watched.update(Time(1), vec![seen(7, 1), seen(3, 1)])), [('+', 3), ('+', 7)]);
        assert_eq!(pids(&watched.update(Time(2), vec![seen(3, 1), seen(7, 1)])), []);
        assert_eq!(pids(&watched.update(Time(3), vec![seen(7, 1), seen(9, 2)])), [('-', 3), ('+', 9)]);
        assert_eq!(watched.last().map(|last| (last.process.pid, last.at)), Some((3, Time(3))));
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let mut watched = ProcessWatchSet::default();
        watched.update(Time(1), vec![seen(7, 1)]);
        assert_eq!(pids(&watched.update(Time(2), vec![seen(7, 5)])), [('-', 7), ('+', 7)]);
        assert_eq!(watched.exited(Time(3), 7, 1, None), None, "a late report about the first process");
        assert_eq!(watched.present().len(), 1);
    }

    #[test]
    fn the_exit_status_can_arrive_later() {
        let mut watched = ProcessWatchSet::default();
        watched.update(Time(1), vec![seen(7, 1)]);
        watched.exited(Time(2), 7, 1, None);
        assert_eq!(watched.last().and_then(|last| last.exit), None);
        assert_eq!(
            watched.exited(Time(3), 7, 1, Some(Exit::Code(3))),
            None,
            "the exit itself was already reported"
        );
        assert_eq!(watched.last().and_then(|last| last.exit), Some(Exit::Code(3)));
        watched.exited(Time(3), 7, 2, Some(Exit::Code(4)));
        assert_eq!(watched.last().and_then(|last| last.exit), Some(Exit::Code(3)), "another process");
    }

    #[test]
    fn an_exit_is_not_reported_again_by_the_next_update() {
        let mut watched = ProcessWatchSet::default();
        watched.update(Time(1), vec![seen(7, 1)]);
        let change = watched.exited(Time(2), 7, 1, Some(Exit::Code(3)));
        assert_eq!(change.map(|change| pids(&[change])), Some(vec![('-', 7)]));
        assert_eq!(watched.update(Time(3), vec![]), []);
        assert_eq!(watched.last().and_then(|last| last.exit), Some(Exit::Code(3)));
    }
}
