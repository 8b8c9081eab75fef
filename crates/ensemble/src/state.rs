//! The stored state of callbacks: what the last one printed, and the digest of the list that it saw. Each write has two
//! conditions: the writer still leads, so a deposed leader changes nothing; and the state is unchanged since the writer
//! read it, so an abandoned request that arrives late changes nothing either.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::{Committed, Condition, Entry, Revision, Store, StoreError, Transaction, Write};

/// Name of the lock that the leader holds.
pub const LEADER: &str = "leader";

/// The stored state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// Output of the last callback that printed JSON.
    #[serde(default)]
    pub state: Value,
    /// Digest of the list that the last callback saw; `None` from its start until it has succeeded.
    #[serde(default)]
    pub digest: Option<String>,
    /// Fencing token of the leader that wrote this.
    #[serde(default)]
    pub fence: u64,
}

/// Access to the stored state.
#[derive(Debug, Clone)]
pub struct States {
    store: Arc<dyn Store>,
    key: String,
    leader: String,
    /// Last known revision of the state; `None`: there is no state.
    known: Arc<Mutex<Option<Revision>>>,
}

/// Attempts of a write that conflicts with others.
const TRIES: usize = 5;

impl States {
    /// Accesses the state below the prefix of an ensemble.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, prefix: &str) -> Self {
        Self {
            store,
            key: format!("{prefix}state"),
            leader: format!("{prefix}{LEADER}"),
            known: Arc::default(),
        }
    }

    /// Reads the state. Data that cannot be parsed is treated as missing.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn load(&self) -> Result<State, StoreError> {
        let found = self.store.get(&self.key).await?;
        self.note_revision(found.as_ref());
        Ok(found.and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or_default())
    }

    /// Writes the state if the leader with its fencing token still leads; `false`: it does not.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn save(&self, state: &State) -> Result<bool, StoreError> {
        let value = serde_json::to_vec(state).unwrap_or_default();
        let leads = Revision(state.fence);
        for _ in 0..TRIES {
            let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = Transaction {
                conditions: vec![
                    Condition::Since(self.leader.clone(), leads),
                    match known {
                        Some(known) => Condition::Unchanged(self.key.clone(), known),
                        None => Condition::Absent(self.key.clone()),
                    },
                ],
                writes: vec![Write::Put { key: self.key.clone(), value: value.clone(), lease: None }],
            };
            match self.store.commit(transaction).await? {
                Committed::Done(at) => {
                    *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
                    return Ok(true);
                }
                Committed::Refused(found) => {
                    let [leader, written] = found.as_slice() else { return Ok(false) };
                    if leader.as_ref().is_none_or(|entry| entry.created != leads) {
                        return Ok(false);
                    }
                    self.note_revision(written.as_ref());
                    // An earlier attempt wrote it; its response was lost.
                    if written.as_ref().is_some_and(|entry| entry.value == value) {
                        return Ok(true);
                    }
                }
            }
        }
        Err(StoreError::Unavailable("concurrent writes of the state".to_owned()))
    }

    fn note_revision(&self, found: Option<&Entry>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = found.map(|entry| entry.changed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::embedded::Embedded;
    use crate::lock::{Acquired, Holder, Locks};

    #[tokio::test]
    async fn a_deposed_leader_cannot_write() {
        let directory = testkit::private_directory();
        let store = Embedded::open(&directory.path().join("store")).unwrap_or_else(|error| panic!("{error}"));
        let store: Arc<dyn Store> = Arc::new(store);
        let (states, locks) = (States::new(Arc::clone(&store), "/p/"), Locks::new(store, "/p/"));
        assert_eq!(states.load().await, Ok(State::default()));
        let lead = async || {
            let held =
                locks.acquire(LEADER, &Holder::default(), Duration::from_secs(9), Instant::now()).await;
            let Ok(Acquired::Held { lease, fence, .. }) = held else { panic!("{held:?}") };
            (lease, fence.0)
        };
        let (lease, first) = lead().await;
        let by = |fence: u64, text: &str| State { state: text.into(), digest: Some("d".into()), fence };
        assert_eq!(states.save(&by(first, "one")).await, Ok(true));
        assert_eq!(locks.release(lease).await, Ok(()));
        assert_eq!(states.save(&by(first, "late")).await, Ok(false), "no leader");
        let (_, second) = lead().await;
        assert!(second > first);
        assert_eq!(states.save(&by(first, "late")).await, Ok(false), "another leads");
        assert_eq!(states.save(&by(second, "two")).await, Ok(true));
        assert_eq!(states.save(&by(second, "two")).await, Ok(true), "a repeated write succeeds");
        assert_eq!(states.load().await, Ok(by(second, "two")));
    }
}
