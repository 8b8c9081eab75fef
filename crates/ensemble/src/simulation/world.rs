//! The invariants of the simulation: what must never happen, and what must have happened in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::member::Member;
use crate::state::State;
use crate::store::Change;

/// How long callbacks fail after everything else is repaired.
const CALLBACK_FAILURES: Duration = Duration::from_secs(30);

/// A running callback.
#[derive(Debug, Clone)]
struct Runs {
    by: usize,
    fence: u64,
    digest: Arc<str>,
}

#[derive(Debug, Default)]
struct Seen {
    running: Option<Runs>,
    /// The last run, and whether it succeeded.
    last: Option<(Runs, bool)>,
    started: usize,
    /// The highest fencing token that has run a callback.
    fence: u64,
    /// Assigned numbers, and the member of each.
    numbers: BTreeMap<u64, String>,
    /// Numbers of live members.
    there: BTreeMap<String, u64>,
    /// The leader in the store, and the last one that wrote.
    leader: Option<u64>,
    wrote: u64,
    /// The stored state: the number that a callback printed.
    kept: u64,
}

/// The observer of the simulation.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    seen: Mutex<Seen>,
    /// The store may expire leases early.
    ends_leases: bool,
    calm: AtomicBool,
    /// When callbacks begin to succeed always.
    content: Mutex<Option<Instant>>,
    pub(super) faults: AtomicU64,
}

impl World {
    pub(super) fn new(seed: u64, ends_leases: bool) -> Self {
        Self {
            seed,
            seen: Mutex::default(),
            ends_leases,
            calm: AtomicBool::new(false),
            content: Mutex::default(),
            faults: AtomicU64::new(0),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there are no more faults.
    pub(super) fn settle(&self, calm: bool) {
        self.calm.store(calm, Ordering::Relaxed);
        let content = calm.then(|| Instant::now() + CALLBACK_FAILURES);
        *self.content.lock().unwrap_or_else(PoisonError::into_inner) = content;
    }

    /// Whether callbacks may fail.
    pub(super) fn callbacks_succeed(&self) -> bool {
        let content = *self.content.lock().unwrap_or_else(PoisonError::into_inner);
        content.is_some_and(|content| content <= Instant::now())
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// A master starts its callback. Returns the number of the run.
    pub(super) fn start(&self, by: usize, fence: u64, digest: Arc<str>) -> usize {
        let mut seen = self.seen();
        assert!(
            seen.running.is_none(),
            "seed {}: {by} starts one while {:?} is running",
            self.seed,
            seen.running
        );
        assert!(fence >= seen.fence, "seed {}: {fence} after {}", self.seed, seen.fence);
        let leads = seen.leader == Some(fence);
        assert!(
            leads || self.ends_leases,
            "seed {}: {fence} starts one, and {:?} leads",
            self.seed,
            seen.leader
        );
        let runs = Runs { by, fence, digest };
        seen.fence = fence;
        seen.started += 1;
        seen.running = Some(runs.clone());
        seen.last = Some((runs, false));
        seen.started
    }

    /// No process of the run is left.
    pub(super) fn end(&self, by: usize, fence: u64, well: bool) {
        let mut seen = self.seen();
        let running = seen.running.take();
        assert!(
            running.as_ref().is_some_and(|runs| (runs.by, runs.fence) == (by, fence)),
            "seed {}: {by} with {fence} ends, and {running:?} runs",
            self.seed
        );
        if let Some((_, succeeded)) = &mut seen.last {
            *succeeded = well;
        }
    }

    /// The store has applied a change; `created` is the creation revision of the entry.
    pub(super) fn written(&self, prefix: &str, change: &Change) {
        let mut seen = self.seen();
        let seed = self.seed;
        let Some(rest) = change.key().strip_prefix(prefix) else { return };
        if rest == "leader" {
            seen.leader = match change {
                Change::Put(entry) => {
                    assert!(seen.running.is_none(), "seed {seed}: another leads over {:?}", seen.running);
                    Some(entry.created.0)
                }
                Change::Deleted(_) => None,
            };
        }
        if let (Some(id), Change::Deleted(_)) = (rest.strip_prefix("members/"), change) {
            seen.there.remove(id);
        }
        let Change::Put(entry) = change else { return };
        if rest == "state" {
            let state: State = serde_json::from_slice(&entry.value).unwrap_or_default();
            assert_eq!(
                Some(state.fence),
                seen.leader,
                "seed {seed}: only the leader writes, by the order of the store"
            );
            assert!(state.fence >= seen.wrote, "seed {seed}: {} after {}", state.fence, seen.wrote);
            seen.wrote = state.fence;
            let kept = state.state.as_u64().unwrap_or(0);
            assert!(kept >= seen.kept, "seed {seed}: the state goes back from {} to {kept}", seen.kept);
            seen.kept = kept;
        }
        if let Some(id) = rest.strip_prefix("members/") {
            let member: Member =
                serde_json::from_slice(&entry.value).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let before = seen.there.insert(id.to_owned(), member.seq);
            assert!(before.is_none_or(|before| before == member.seq), "seed {seed}: {id} keeps its number");
            if before.is_none() {
                let newest = seen.numbers.last_key_value().map_or(0, |(number, _)| *number);
                assert!(member.seq > newest, "seed {seed}: {} for {id}, after {newest}", member.seq);
                seen.numbers.insert(member.seq, id.to_owned());
            }
        }
    }

    /// Whether the last callback had this list, and succeeded.
    pub(super) fn is_at_rest(&self, digest: &Arc<str>) {
        let seen = self.seen();
        assert!(seen.running.is_none(), "seed {}: {:?} runs still", self.seed, seen.running);
        let last = seen.last.as_ref().map(|(runs, well)| (&runs.digest, *well));
        assert_eq!(last, Some((digest, true)), "seed {}: a change is without its callback", self.seed);
        let unique: BTreeSet<_> = seen.there.values().collect();
        assert_eq!(unique.len(), seen.there.len());
    }

    pub(super) fn counted(&self) -> (usize, u64) {
        (self.seen().started, self.faults.load(Ordering::Relaxed))
    }
}
