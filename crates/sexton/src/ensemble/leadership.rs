//! The leadership: the lock `leader` in the store of the ensemble, held like any other lock.

use std::time::Duration;

use ensemble::lock::{Acquired, Holder, Locks};
use ensemble::state::LEADER;
use ensemble::{LeaseId, StoreError};
use tokio::time::Instant;

use crate::locks::client::{Granted, InUse, Reply};
use crate::locks::holder::LeaseServer;

/// The lock of the leader, acquired at the store directly.
#[derive(Debug)]
pub struct Leadership {
    /// Locks below the prefix of the ensemble.
    pub locks: Locks,
    pub holder: Holder,
}

impl LeaseServer for Leadership {
    async fn acquire(&self, ttl: Duration, wait: Duration) -> Result<Reply, String> {
        let acquired = self.locks.acquire(LEADER, &self.holder, ttl, Instant::now() + wait).await;
        match acquired.map_err(|error| error.to_string())? {
            Acquired::Held { lease, fence, .. } => {
                Ok(Reply::Granted(Granted { id: lease.to_string(), fence: fence.0 }))
            }
            Acquired::Taken(taken) => {
                let (value, labels) = (taken.holder.value, taken.holder.labels);
                Ok(Reply::InUse(InUse { value, labels, fence: taken.fence.0 }))
            }
        }
    }

    async fn keep_alive(&self, id: &str) -> Result<bool, String> {
        match self.locks.keep_alive(lease(id)?).await {
            Ok(_) => Ok(true),
            Err(StoreError::LeaseGone(_)) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn release(&self, id: &str) -> Result<(), String> {
        self.locks.release(lease(id)?).await.map_err(|error| error.to_string())
    }
}

fn lease(id: &str) -> Result<LeaseId, String> {
    id.parse().map_err(|_| format!("invalid lease '{id}'"))
}
