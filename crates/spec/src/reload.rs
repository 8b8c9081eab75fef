//! The outcome of a reload.

/// What a reload has changed, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reloaded {
    /// New ones.
    pub added: Vec<String>,
    /// Those that are started anew, because they are planned otherwise.
    pub changed: Vec<String>,
    /// Those that are not planned any more.
    pub removed: Vec<String>,
    /// How many stay as they are.
    pub kept: usize,
}
