//! What callbacks leave behind: what they printed, and which list they saw. It is written on the condition that whoever
//! writes still leads, so that a leader that is none any more changes nothing; and on the condition that nothing was
//! written since he looked, so that a request that was given up and comes late changes nothing either.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::{Committed, Condition, Entry, Revision, Store, StoreError, Transaction, Write};

/// The name of the lock that the leader holds.
pub const LEADER: &str = "leader";

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// What the last callback that printed JSON has printed.
    #[serde(default)]
    pub state: Value,
    /// The digest of the list that the last callback saw; none from its beginning until it has ended well.
    #[serde(default)]
    pub digest: Option<String>,
    /// The number of the leader that wrote this.
    #[serde(default)]
    pub fence: u64,
}

/// Where it is.
#[derive(Debug, Clone)]
pub struct States {
    store: Arc<dyn Store>,
    key: String,
    leader: String,
    /// When what is there was written, as far as we know; none: there is nothing.
    known: Arc<Mutex<Option<Revision>>>,
}

/// How often a write is tried that others of ours get in the way of.
const TRIES: usize = 5;

impl States {
    /// Below the prefix of an ensemble.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, prefix: &str) -> Self {
        Self {
            store,
            key: format!("{prefix}state"),
            leader: format!("{prefix}{LEADER}"),
            known: Arc::default(),
        }
    }

    /// What is there. Somebody else's data is as if there were nothing.
    ///
    /// # Errors
    ///
    /// As the store's.
    pub async fn load(&self) -> Result<State, StoreError> {
        let found = self.store.get(&self.key).await?;
        self.know(found.as_ref());
        Ok(found.and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or_default())
    }

    /// Writes it, if the leader with this number still leads. False: it does not.
    ///
    /// # Errors
    ///
    /// As the store's.
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
                    self.know(written.as_ref());
                    // It was written when the answer was lost.
                    if written.as_ref().is_some_and(|entry| entry.value == value) {
                        return Ok(true);
                    }
                }
            }
        }
        Err(StoreError::Unavailable("others write the state all the time".to_owned()))
    }

    fn know(&self, found: Option<&Entry>) {
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
    async fn a_leader_that_is_none_any_more_writes_nothing() {
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
        assert_eq!(states.save(&by(first, "late")).await, Ok(false), "nobody leads");
        let (_, second) = lead().await;
        assert!(second > first);
        assert_eq!(states.save(&by(first, "late")).await, Ok(false), "another leads");
        assert_eq!(states.save(&by(second, "two")).await, Ok(true));
        assert_eq!(states.save(&by(second, "two")).await, Ok(true), "twice is once");
        assert_eq!(states.load().await, Ok(by(second, "two")));
    }
}
