//! The plan of `sexton watch`.

use std::time::Duration;

use crate::program::Pid;

/// Processes that were started by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    pub selector: ProcessSelector,
    /// Interval between scans of the process list.
    pub every: Duration,
}

/// Selects the processes to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessSelector {
    /// All with this executable name.
    Named(String),
    /// The one with this process ID.
    Numbered(Pid),
}
