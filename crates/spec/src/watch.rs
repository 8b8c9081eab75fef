//! The plan of `sexton watch`.

use std::time::Duration;

use crate::program::Pid;

/// Processes of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Which.
    pub whom: Whom,
    /// The pause between looks at the process list.
    pub every: Duration,
}

/// Which processes of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// Those who execute something of this name.
    Named(String),
    /// This one.
    Numbered(Pid),
}
