//! Who is there, for processes that somebody else started and that we only look at.
//!
//! A look at the process list gives [`ObservedProcess`]s. A process is the same as at the last look when its number
//! *and* the time of its start are: numbers are used again.

use crate::{Exit, Time};

/// A process that a look at the process list has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedProcess {
    /// Its number.
    pub pid: u32,
    /// When it was started, in the kernel's clock ticks since boot: tells it from a later process with the
    /// same number.
    pub start_ticks: u64,
    /// Its arguments, the first being the command itself.
    pub arguments: Vec<String>,
}

/// The end of the last process that was here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedExit {
    /// Who it was.
    pub process: ObservedProcess,
    /// When we saw that it had gone.
    pub at: Time,
    /// How it ended, if the system told us.
    pub exit: Option<Exit>,
}

/// A change since the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Somebody new.
    Appeared(ObservedProcess),
    /// Somebody has gone.
    Exited(ObservedExit),
}

/// Those who are there now, and who went last.
#[derive(Debug, Clone, Default)]
pub struct ProcessWatchSet {
    present: Vec<ObservedProcess>,
    last: Option<ObservedExit>,
}

impl ProcessWatchSet {
    /// Those who are there, by number.
    #[must_use]
    pub fn present(&self) -> &[ObservedProcess] {
        &self.present
    }

    /// Who went last.
    #[must_use]
    pub const fn last(&self) -> Option<&ObservedExit> {
        self.last.as_ref()
    }

    /// Takes what a look has found. Departures come before arrivals. An exec changes the arguments, not
    /// the process.
    pub fn update(&mut self, now: Time, mut found: Vec<ObservedProcess>) -> Vec<Change> {
        found.sort_by_key(|seen| seen.pid);
        found.dedup_by_key(|seen| seen.pid);
        let same =
            |a: &ObservedProcess, b: &ObservedProcess| a.pid == b.pid && a.start_ticks == b.start_ticks;
        let was = std::mem::replace(&mut self.present, found);
        let gone = was.iter().filter(|old| !self.present.iter().any(|new| same(old, new)));
        let departures: Vec<_> =
            gone.map(|who| ObservedExit { process: who.clone(), at: now, exit: None }).collect();
        self.last = departures.last().cloned().or(self.last.take());
        let came = self.present.iter().filter(|new| !was.iter().any(|old| same(old, new))).cloned();
        departures.into_iter().map(Change::Exited).chain(came.map(Change::Appeared)).collect()
    }

    /// A process that we held on to has ended. None: it was not here, or was known to have gone; then how it
    /// ended may be news all the same.
    pub fn exited(&mut self, now: Time, pid: u32, start_ticks: u64, exit: Option<Exit>) -> Option<Change> {
        let same = |seen: &ObservedProcess| seen.pid == pid && seen.start_ticks == start_ticks;
        let Some(index) = self.present.iter().position(same) else {
            if let Some(last) = self.last.as_mut().filter(|last| same(&last.process)) {
                last.exit = last.exit.or(exit);
            }
            return None;
        };
        let departure = ObservedExit { process: self.present.remove(index), at: now, exit };
        self.last = Some(departure.clone());
        Some(Change::Exited(departure))
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
                Change::Appeared(who) => ('+', who.pid),
                Change::Exited(departure) => ('-', departure.process.pid),
            })
            .collect()
    }

    #[test]
    fn arrivals_and_departures_are_told_once() {
        let mut roster = ProcessWatchSet::default();
        assert_eq!(pids(&roster.update(Time(1), vec![seen(7, 1), seen(3, 1)])), [('+', 3), ('+', 7)]);
        assert_eq!(pids(&roster.update(Time(2), vec![seen(3, 1), seen(7, 1)])), []);
        assert_eq!(pids(&roster.update(Time(3), vec![seen(7, 1), seen(9, 2)])), [('-', 3), ('+', 9)]);
        assert_eq!(roster.last().map(|last| (last.process.pid, last.at)), Some((3, Time(3))));
    }

    #[test]
    fn a_number_used_again_is_somebody_else() {
        let mut roster = ProcessWatchSet::default();
        roster.update(Time(1), vec![seen(7, 1)]);
        assert_eq!(pids(&roster.update(Time(2), vec![seen(7, 5)])), [('-', 7), ('+', 7)]);
        assert_eq!(roster.exited(Time(3), 7, 1, None), None, "a late word about the first one");
        assert_eq!(roster.present().len(), 1);
    }

    #[test]
    fn how_it_ended_may_be_learnt_later() {
        let mut roster = ProcessWatchSet::default();
        roster.update(Time(1), vec![seen(7, 1)]);
        roster.exited(Time(2), 7, 1, None);
        assert_eq!(roster.last().and_then(|last| last.exit), None);
        assert_eq!(roster.exited(Time(3), 7, 1, Some(Exit::Code(3))), None, "that it went is no news");
        assert_eq!(roster.last().and_then(|last| last.exit), Some(Exit::Code(3)));
        roster.exited(Time(3), 7, 2, Some(Exit::Code(4)));
        assert_eq!(roster.last().and_then(|last| last.exit), Some(Exit::Code(3)), "somebody else");
    }

    #[test]
    fn an_end_that_was_seen_is_not_told_again_by_the_next_look() {
        let mut roster = ProcessWatchSet::default();
        roster.update(Time(1), vec![seen(7, 1)]);
        let change = roster.exited(Time(2), 7, 1, Some(Exit::Code(3)));
        assert_eq!(change.map(|change| pids(&[change])), Some(vec![('-', 7)]));
        assert_eq!(roster.update(Time(3), vec![]), []);
        assert_eq!(roster.last().and_then(|last| last.exit), Some(Exit::Code(3)));
    }
}
