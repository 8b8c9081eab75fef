//! The plan of `sexton watch`.

use std::time::Duration;

use crate::program::Pid;

/// The processes that are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    pub whom: Whom,
    /// The interval between scans of `/proc`.
    pub every: Duration,
}

/// A selector of processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// Those whose executable has this name.
    Named(String),
    /// The process with this PID.
    Numbered(Pid),
}
