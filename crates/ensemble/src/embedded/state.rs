//! The content of an embedded store, and the effect of each request. Pure: time comes in, writes to disk go out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use crate::store::{
    Change, Changes, Committed, Condition, Entry, Lease, LeaseId, Page, Revision, StoreError, Transaction,
    Write,
};

/// Writes kept for watches from an earlier revision.
const HISTORY: usize = 10_000;
/// Bytes of writes kept.
const HISTORY_BYTES: usize = 16 << 20;

/// A write to disk, to be completed before the change is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DiskWrite {
    Entry(Entry),
    DeleteEntry(String),
    Lease(Lease),
    DeleteLease(LeaseId),
}

/// A lease, when it lapses, and the keys that are bound to it.
#[derive(Debug, Clone)]
struct LeaseState {
    ttl: Duration,
    lapses: Duration,
    keys: BTreeSet<String>,
}

/// The content of the store. Times are since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) revision: Revision,
    /// Identifier of the newest lease.
    pub(crate) newest_lease: u64,
    entries: BTreeMap<String, Entry>,
    leases: BTreeMap<LeaseId, LeaseState>,
    by_lapse: BTreeSet<(Duration, LeaseId)>,
    history: VecDeque<Changes>,
    history_bytes: usize,
    /// Writes to disk since the last [`take`](Self::take).
    to_disk: Vec<DiskWrite>,
    unpublished: Vec<Changes>,
}

impl State {
    /// Restores the content of the disk. Leases start again: nothing could renew them while the store was down.
    pub(crate) fn loaded(
        revision: Revision,
        newest_lease: u64,
        entries: Vec<Entry>,
        leases: Vec<Lease>,
        now: Duration,
    ) -> Self {
        let mut state = Self { revision, newest_lease, ..Self::default() };
        for lease in leases {
            state.insert_lease(lease, now);
        }
        for entry in entries {
            if let Some(lease) = entry.lease.and_then(|lease| state.leases.get_mut(&lease)) {
                lease.keys.insert(entry.key.clone());
            }
            state.entries.insert(entry.key.clone(), entry);
        }
        state
    }

    /// Returns when the next lease lapses.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.by_lapse.first().map(|(at, _)| *at)
    }

    /// Returns the pending writes to disk, and the changes to publish after them.
    pub(crate) fn take(&mut self) -> (Vec<DiskWrite>, Vec<Changes>) {
        (std::mem::take(&mut self.to_disk), std::mem::take(&mut self.unpublished))
    }

    /// Returns the newest published revision.
    pub(crate) fn published_up_to(&self) -> Revision {
        self.unpublished.first().map_or(self.revision, |first| Revision(first.revision.0 - 1))
    }

    pub(crate) fn get(&self, key: &str) -> Option<Entry> {
        self.entries.get(key).cloned()
    }

    pub(crate) fn list(&self, prefix: &str, after: Option<&str>, most: usize) -> Page {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut found = self
            .entries
            .range::<str, _>((from, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(|entry| entry.key.starts_with(prefix));
        let entries: Vec<_> = found.by_ref().take(most).cloned().collect();
        Page { entries, more: found.next().is_some(), revision: self.revision }
    }

    pub(crate) fn commit(&mut self, transaction: Transaction) -> Result<Committed, StoreError> {
        let mut written = BTreeSet::new();
        for write in &transaction.writes {
            let (Write::Put { key, .. } | Write::Delete(key)) = write;
            if !written.insert(key) {
                return Err(StoreError::Refused(format!("the transaction writes '{key}' twice")));
            }
        }
        if !transaction.conditions.iter().all(|condition| self.holds(condition)) {
            let found = transaction.conditions.iter().map(|condition| self.get(condition.key()));
            return Ok(Committed::Refused(found.collect()));
        }
        for write in &transaction.writes {
            if let Write::Put { lease: Some(lease), .. } = write
                && !self.leases.contains_key(lease)
            {
                return Err(StoreError::LeaseGone(*lease));
            }
        }
        let changes: Vec<_> = transaction.writes.into_iter().filter_map(|write| self.write(write)).collect();
        self.complete(changes);
        Ok(Committed::Done(self.revision))
    }

    fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Absent(key) => !self.entries.contains_key(key),
            Condition::Unchanged(key, at) => self.entries.get(key).is_some_and(|entry| entry.changed == *at),
            Condition::Since(key, at) => self.entries.get(key).is_some_and(|entry| entry.created == *at),
        }
    }

    /// Applies one write of a transaction, at the next revision.
    fn write(&mut self, write: Write) -> Option<Change> {
        let revision = Revision(self.revision.0 + 1);
        match write {
            Write::Put { key, value, lease } => {
                let before = self.entries.get(&key);
                let created = before.map_or(revision, |entry| entry.created);
                if let Some(bound) =
                    before.and_then(|entry| entry.lease).and_then(|id| self.leases.get_mut(&id))
                {
                    bound.keys.remove(&key);
                }
                if let Some(bound) = lease.and_then(|id| self.leases.get_mut(&id)) {
                    bound.keys.insert(key.clone());
                }
                let entry = Entry { key: key.clone(), value, created, changed: revision, lease };
                self.to_disk.push(DiskWrite::Entry(entry.clone()));
                self.entries.insert(key, entry.clone());
                Some(Change::Put(entry))
            }
            Write::Delete(key) => {
                let entry = self.entries.remove(&key)?;
                if let Some(bound) = entry.lease.and_then(|id| self.leases.get_mut(&id)) {
                    bound.keys.remove(&key);
                }
                self.to_disk.push(DiskWrite::DeleteEntry(key.clone()));
                Some(Change::Deleted(key))
            }
        }
    }

    /// Completes a transaction. One without a change gets no revision.
    fn complete(&mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.revision = Revision(self.revision.0 + 1);
        let changes = Changes { revision: self.revision, changes };
        self.unpublished.push(changes.clone());
        self.history_bytes += size_of(&changes);
        self.history.push_back(changes);
        while self.history.len() > HISTORY || self.history_bytes > HISTORY_BYTES {
            let Some(oldest) = self.history.pop_front() else { break };
            self.history_bytes -= size_of(&oldest);
        }
    }

    /// Returns the changes after a revision, if all of them are still available.
    pub(crate) fn since(&self, after: Revision) -> Result<Vec<Changes>, StoreError> {
        let available_from =
            self.history.front().map_or(self.revision, |first| Revision(first.revision.0 - 1));
        if after < available_from {
            return Err(StoreError::Compacted(available_from));
        }
        Ok(self.history.iter().filter(|changes| changes.revision > after).cloned().collect())
    }

    pub(crate) fn grant(&mut self, ttl: Duration, now: Duration) -> Lease {
        self.newest_lease += 1;
        let lease = Lease { id: LeaseId(self.newest_lease), ttl };
        self.insert_lease(lease, now);
        self.to_disk.push(DiskWrite::Lease(lease));
        lease
    }

    fn insert_lease(&mut self, lease: Lease, now: Duration) {
        let lapses = now + lease.ttl;
        self.by_lapse.insert((lapses, lease.id));
        self.leases.insert(lease.id, LeaseState { ttl: lease.ttl, lapses, keys: BTreeSet::new() });
    }

    pub(crate) fn keep_alive(&mut self, id: LeaseId, now: Duration) -> Result<Duration, StoreError> {
        let Some(lease) = self.leases.get_mut(&id) else { return Err(StoreError::LeaseGone(id)) };
        self.by_lapse.remove(&(lease.lapses, id));
        lease.lapses = now + lease.ttl;
        self.by_lapse.insert((lease.lapses, id));
        Ok(lease.ttl)
    }

    pub(crate) fn revoke(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.remove(&id) else { return };
        self.by_lapse.remove(&(lease.lapses, id));
        self.to_disk.push(DiskWrite::DeleteLease(id));
        let changes = lease.keys.into_iter().filter_map(|key| self.write(Write::Delete(key))).collect();
        self.complete(changes);
    }

    /// Deletes the leases that have lapsed.
    pub(crate) fn lapse(&mut self, now: Duration) {
        while let Some((at, id)) = self.by_lapse.first().copied()
            && at <= now
        {
            self.revoke(id);
        }
    }
}

/// Approximate size of a write in memory, in bytes.
fn size_of(changes: &Changes) -> usize {
    let value = |change: &Change| match change {
        Change::Put(entry) => entry.value.len(),
        Change::Deleted(_) => 0,
    };
    changes.changes.iter().map(|change| 100 + change.key().len() + value(change)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Action {
        Put(u8, u8, Option<u8>),
        PutIfAbsent(u8, u8),
        Delete(u8),
        PutBoth(u8, u8),
        Grant(u8),
        KeepAlive(u8),
        Revoke(u8),
        Wait(u8),
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            4 => (0..6u8, any::<u8>(), proptest::option::of(0..6u8)).prop_map(|(key, value, lease)| Action::Put(key, value, lease)),
            2 => (0..6u8, any::<u8>()).prop_map(|(key, value)| Action::PutIfAbsent(key, value)),
            2 => (0..6u8).prop_map(Action::Delete),
            1 => (0..6u8, 0..6u8).prop_map(|(one, other)| Action::PutBoth(one, other)),
            2 => (1..20u8).prop_map(Action::Grant),
            3 => (0..6u8).prop_map(Action::KeepAlive),
            1 => (0..6u8).prop_map(Action::Revoke),
            3 => (1..10u8).prop_map(Action::Wait),
        ]
    }

    fn key(number: u8) -> String {
        format!("k{number}")
    }

    fn put(number: u8, value: u8, lease: Option<LeaseId>) -> Write {
        Write::Put { key: key(number), value: vec![value], lease }
    }

    /// The expected content of the store.
    #[derive(Default)]
    struct Model {
        now: Duration,
        /// Entries according to the writes to disk.
        entries: BTreeMap<String, Entry>,
        leases: BTreeMap<LeaseId, Lease>,
        /// Entries according to the published changes.
        watched: BTreeMap<String, Entry>,
        published: Revision,
        /// Last renewal and TTL of the leases that were not revoked.
        renewed: BTreeMap<LeaseId, (Duration, Duration)>,
        newest: Vec<LeaseId>,
    }

    impl Model {
        fn lease(&self, number: u8) -> Option<LeaseId> {
            self.newest.get(self.newest.len().checked_sub(1 + usize::from(number))?).copied()
        }

        fn take(&mut self, state: &mut State) {
            let (to_disk, published) = state.take();
            for change in to_disk {
                match change {
                    DiskWrite::Entry(entry) => drop(self.entries.insert(entry.key.clone(), entry)),
                    DiskWrite::DeleteEntry(key) => assert!(self.entries.remove(&key).is_some()),
                    DiskWrite::Lease(lease) => drop(self.leases.insert(lease.id, lease)),
                    DiskWrite::DeleteLease(id) => assert!(self.leases.remove(&id).is_some()),
                }
            }
            for changes in published {
                assert_eq!(changes.revision.0, self.published.0 + 1, "each write is published exactly once");
                self.published = changes.revision;
                for change in changes.changes {
                    match change {
                        Change::Put(entry) => drop(self.watched.insert(entry.key.clone(), entry)),
                        Change::Deleted(key) => assert!(self.watched.remove(&key).is_some()),
                    }
                }
            }
        }

        fn carry_out(&mut self, state: &mut State, action: &Action) {
            let commit =
                |state: &mut State, conditions, writes| state.commit(Transaction { conditions, writes });
            match *action {
                Action::Put(number, value, lease) => {
                    let lease = lease.and_then(|lease| self.lease(lease));
                    let alive = lease.is_none_or(|lease| self.renewed.contains_key(&lease));
                    let done = commit(state, vec![], vec![put(number, value, lease)]);
                    assert_eq!(done.is_ok(), alive, "{done:?}");
                }
                Action::PutIfAbsent(number, value) => {
                    let was = self.watched.contains_key(&key(number));
                    let done =
                        commit(state, vec![Condition::Absent(key(number))], vec![put(number, value, None)]);
                    assert_eq!(matches!(done, Ok(Committed::Done(_))), !was);
                }
                Action::Delete(number) => {
                    let deleted = commit(state, vec![], vec![Write::Delete(key(number))]);
                    assert!(matches!(deleted, Ok(Committed::Done(_))));
                }
                Action::PutBoth(one, other) => {
                    let done = commit(state, vec![], vec![put(one, 0, None), put(other, 0, None)]);
                    assert_eq!(done.is_ok(), one != other, "{done:?}");
                }
                Action::Grant(ttl) => {
                    let ttl = Duration::from_secs(ttl.into());
                    let lease = state.grant(ttl, self.now);
                    assert!(!self.newest.contains(&lease.id));
                    self.newest.push(lease.id);
                    self.renewed.insert(lease.id, (self.now, ttl));
                }
                Action::KeepAlive(number) => {
                    let Some(id) = self.lease(number) else { return };
                    let kept = state.keep_alive(id, self.now);
                    assert_eq!(kept.is_ok(), self.renewed.contains_key(&id));
                    if let Some((renewed, _)) = self.renewed.get_mut(&id) {
                        *renewed = self.now;
                    }
                }
                Action::Revoke(number) => {
                    let Some(id) = self.lease(number) else { return };
                    state.revoke(id);
                    self.renewed.remove(&id);
                }
                Action::Wait(seconds) => {
                    self.now += Duration::from_secs(seconds.into());
                    state.lapse(self.now);
                    let now = self.now;
                    self.renewed.retain(|_, (renewed, ttl)| *renewed + *ttl > now);
                }
            }
        }

        fn check(&self, state: &State) {
            let listed = state.list("", None, usize::MAX);
            let listed: BTreeMap<_, _> =
                listed.entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
            assert_eq!(listed, self.watched, "published changes and content agree");
            assert_eq!(listed, self.entries, "content on disk and in memory agree");
            assert!(self.leases.keys().eq(self.renewed.keys()), "leases lapse on time and not earlier");
            for entry in listed.values() {
                assert!(entry.lease.is_none_or(|lease| self.renewed.contains_key(&lease)), "{entry:?}");
                assert!(entry.created <= entry.changed && entry.changed <= state.revision);
            }
            let next = self.renewed.values().map(|(renewed, ttl)| *renewed + *ttl).min();
            assert_eq!(state.deadline(), next);
        }
    }

    proptest! {
        #[test]
        fn content_disk_and_published_changes_agree(actions in proptest::collection::vec(action(), 1..120), reopen in 0..120usize) {
            let (mut state, mut model) = (State::default(), Model::default());
            for (number, action) in actions.iter().enumerate() {
                model.carry_out(&mut state, action);
                model.take(&mut state);
                model.check(&state);
                if number == reopen {
                    // The store is reopened: leases start again.
                    let (entries, leases) = (model.entries.values().cloned(), model.leases.values().copied());
                    state = State::loaded(state.revision, state.newest_lease, entries.collect(), leases.collect(), model.now);
                    let now = model.now;
                    model.renewed.values_mut().for_each(|(renewed, _)| *renewed = now);
                    model.check(&state);
                }
            }
        }

        #[test]
        fn a_watch_from_any_revision_catches_up_or_is_compacted(writes in 1..60u64, from in 0..60u64) {
            let mut state = State::default();
            for number in 0..writes {
                let wrote = state.commit(Transaction { conditions: vec![], writes: vec![put(0, u8::try_from(number).unwrap_or(0), None)] });
                prop_assert_eq!(wrote, Ok(Committed::Done(Revision(number + 1))));
            }
            let since = state.since(Revision(from));
            let expected: Vec<_> = (from + 1..=writes).map(Revision).collect();
            prop_assert_eq!(since.map(|all| all.iter().map(|changes| changes.revision).collect::<Vec<_>>()), Ok(expected));
            let reopened = State::loaded(state.revision, 0, vec![], vec![], Duration::ZERO);
            let known = if from < writes { Err(StoreError::Compacted(Revision(writes))) } else { Ok(vec![]) };
            prop_assert_eq!(reopened.since(Revision(from)), known);
        }
    }
}
