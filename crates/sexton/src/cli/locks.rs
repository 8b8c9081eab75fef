//! `sexton lock list` and `sexton lock guard`.

use std::io;

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

/// Runs the lock guard of the supervisor with this PID, which passes it a descriptor for its records.
pub fn run_guard(of: Pid) -> io::Result<()> {
    // The process that starts a guard passes it this descriptor; nothing else is open yet.
    let orders = linux::sys::inherited_descriptor(ORDERS)?;
    guard::run(of, &orders)
}
