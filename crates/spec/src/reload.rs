//! The outcome of a reload.

/// What a reload has changed, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reloaded {
    pub added: Vec<String>,
    /// Processes that are restarted because their settings have changed.
    pub changed: Vec<String>,
    pub removed: Vec<String>,
    /// The number of processes that are unchanged.
    pub kept: usize,
}
