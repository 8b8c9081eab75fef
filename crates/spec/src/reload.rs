//! The outcome of a reload.

/// The names of the processes that a reload has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reloaded {
    pub added: Vec<String>,
    /// Restarted, because their configuration changed.
    pub changed: Vec<String>,
    /// Stopped, because they are not in the configuration any more.
    pub removed: Vec<String>,
    /// The number of unchanged processes.
    pub kept: usize,
}
