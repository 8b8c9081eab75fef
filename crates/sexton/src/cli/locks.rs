//! `sexton lock list` and `sexton lock guard`.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use serde_json::Value;
use thiserror::Error;

use crate::client::table::aligned;
use crate::locks::client::{LockClient, shown, within};
use crate::locks::guard;
use crate::locks::guard_start::ORDERS;
use spec::lock::HttpAddress;
use spec::program::Pid;

/// Time limit of the request.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// The lock server did not respond.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ListError(String);

/// Lists the locks that are held.
pub fn list(server: &HttpAddress, json: bool) -> Result<String, ListError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| ListError(error.to_string()))?;
    let all = runtime.block_on(within(LIMIT, LockClient(server.clone()).list())).map_err(ListError)?;
    if json {
        return Ok(format!("{all}\n"));
    }
    let text = |value: &Value| shown(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let mut rows = vec![["LOCK", "HOLDER", "FENCE", "REQUESTED"].map(str::to_owned)];
    rows.extend(all.as_array().into_iter().flatten().map(|lock| {
        let since = lock.get("timestamp").map(text).unwrap_or_default();
        [text(&lock["key"]), text(&lock["value"]), text(&lock["fence"]), since]
    }));
    Ok(aligned(&rows, |_| None))
}

/// Stands guard over the runs of another of us, whose orders come on a descriptor that it has given us.
pub fn stand_guard(of: Pid) -> io::Result<()> {
    // SAFETY: whoever starts a guard gives it this descriptor, and nothing else of ours is open yet.
    let orders = unsafe { OwnedFd::from_raw_fd(ORDERS) };
    // A number that is none of ours is an error and not somebody else's file.
    rustix::io::fcntl_getfd(&orders)?;
    guard::run(of, &orders)
}
