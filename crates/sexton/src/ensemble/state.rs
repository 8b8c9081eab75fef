//! What a callback leaves behind: what it printed, and which list it saw. It is written on the condition that whoever
//! writes still leads, so that a leader that is none any more changes nothing.

use std::sync::Arc;
use std::time::Duration;

use ensemble::{Committed, Condition, Revision, Store, StoreError, Transaction, Write};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::sleep;

/// The longest state: what a store takes as one value, with room for the rest.
pub const LONGEST: usize = 1 << 20;

/// The pause before the store is asked again.
pub const PAUSE: Duration = Duration::from_millis(500);

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
}

impl States {
    /// Below the prefix of an ensemble.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, prefix: &str) -> Self {
        Self { store, key: format!("{prefix}state"), leader: format!("{prefix}{}", super::leadership::NAME) }
    }

    /// What is there. Somebody else's data is as if there were nothing.
    pub async fn load(&self) -> Result<State, StoreError> {
        let found = self.store.get(&self.key).await?;
        Ok(found.and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or_default())
    }

    /// Writes it, also to a store that does not answer for a time, until it is `over`.
    ///
    /// # Errors
    ///
    /// Another leads, the store does not take it, or it is over.
    pub async fn save_patiently(&self, state: &State, over: impl Fn() -> bool) -> Result<(), String> {
        loop {
            match self.save(state).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err("another leads".to_owned()),
                Err(error) if !error.is_retryable() => return Err(error.to_string()),
                Err(error) => log::warn!("the state is not saved yet: {error}"),
            }
            sleep(PAUSE).await;
            if over() {
                return Err("we are ending".to_owned());
            }
        }
    }

    /// Writes it, if the leader with this number still leads. False: it does not.
    pub async fn save(&self, state: &State) -> Result<bool, StoreError> {
        let value = serde_json::to_vec(state).unwrap_or_default();
        let transaction = Transaction {
            conditions: vec![Condition::Since(self.leader.clone(), Revision(state.fence))],
            writes: vec![Write::Put { key: self.key.clone(), value, lease: None }],
        };
        Ok(matches!(self.store.commit(transaction).await?, Committed::Done(_)))
    }
}

#[cfg(test)]
mod tests {
    use ensemble::embedded::Embedded;
    use ensemble::lock::{Acquired, Holder, Locks};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_leader_that_is_none_any_more_writes_nothing() {
        let directory = testkit::private_directory();
        let store = Embedded::open(&directory.path().join("store")).unwrap_or_else(|error| panic!("{error}"));
        let store: Arc<dyn Store> = Arc::new(store);
        let (states, locks) = (States::new(Arc::clone(&store), "/p/"), Locks::new(store, "/p/"));
        assert_eq!(states.load().await, Ok(State::default()));
        let lead = async || {
            let held =
                locks.acquire("leader", &Holder::default(), Duration::from_secs(9), Instant::now()).await;
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
        assert_eq!(states.load().await, Ok(by(second, "two")));
    }
}
