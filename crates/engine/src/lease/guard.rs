//! The runs that a guard process watches: which of them must be killed when.

use std::collections::BTreeMap;
use std::time::Duration;

use super::BootInstant;
use crate::RunId;

/// The first and the longest pause between two looks at whether a killed run is gone.
pub const RECHECK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// The runs under guard. Pure: the guard process and the simulation kill what [`GuardedRuns::due`] names.
#[derive(Debug, Clone, Default)]
pub struct GuardedRuns {
    runs: BTreeMap<RunId, Guarded>,
    orphaned: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Guarded {
    /// When it must be killed; `None`: no lease is known yet.
    until: Option<BootInstant>,
    /// It was killed, and is looked at again then, after this pause.
    killed: Option<(BootInstant, Duration)>,
}

impl Guarded {
    fn due(&self) -> Option<BootInstant> {
        self.killed.map(|(at, _)| at).or(self.until)
    }
}

impl GuardedRuns {
    /// A run may live until then.
    pub fn arm(&mut self, run: RunId, until: BootInstant) {
        *self.runs.entry(run).or_default() = Guarded { until: Some(until), killed: None };
    }

    /// A run has a process: if its time has passed already, it is due at once.
    pub fn started(&mut self, run: RunId) {
        self.runs.entry(run).or_default().killed = None;
    }

    /// Nothing of a run is left.
    pub fn disarm(&mut self, run: RunId) {
        self.runs.remove(&run);
    }

    /// Forgets all runs; the supervisor sends the full state again.
    pub fn clear(&mut self) {
        self.runs.clear();
    }

    /// The supervisor is gone. Returns the runs that are to be stopped at once.
    pub fn orphan(&mut self) -> Vec<RunId> {
        self.orphaned = true;
        self.runs.keys().copied().collect()
    }

    /// Whether the supervisor is gone.
    #[must_use]
    pub const fn is_orphaned(&self) -> bool {
        self.orphaned
    }

    /// Whether there is nothing left to guard, and no supervisor that could add something.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.orphaned && self.runs.is_empty()
    }

    /// When to look again.
    #[must_use]
    pub fn deadline(&self) -> Option<BootInstant> {
        self.runs.values().filter_map(Guarded::due).min()
    }

    /// The runs that must be killed now, and whether for the first time.
    #[must_use]
    pub fn due(&self, now: BootInstant) -> Vec<(RunId, bool)> {
        let due = self.runs.iter().filter(|(_, run)| run.due().is_some_and(|at| at <= now));
        due.map(|(id, run)| (*id, run.killed.is_none())).collect()
    }

    /// A run was killed; `left`: some process of it was still there.
    pub fn killed(&mut self, id: RunId, left: bool, now: BootInstant) {
        // While the supervisor lives it disarms what is gone; until then the guard kills what may turn up.
        if !left && self.orphaned {
            self.runs.remove(&id);
        } else if let Some(run) = self.runs.get_mut(&id) {
            let pause = run.killed.map_or(RECHECK.0, |(_, pause)| (pause * 2).min(RECHECK.1));
            run.killed = Some((now + pause, pause));
        }
    }
}
