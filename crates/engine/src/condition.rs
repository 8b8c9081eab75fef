//! Conditions that a process can wait for.

use serde::{Deserialize, Serialize};

/// A condition on another process or peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// It is running, its startup probe has passed and its postStart hook is done; or it completed with exit code 0.
    Started,
    /// It is ready; or it completed with exit code 0.
    Ready,
    /// It completed with exit code 0.
    Succeeded,
    /// It completed with any other exit code.
    Failed,
    /// It completed with any exit code.
    Exited,
}

impl Condition {
    /// The stable word for configuration files and machines.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Exited => "exited",
        }
    }
}

/// Whether a condition is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConditionStatus {
    Met,
    Pending,
    /// Cannot be met any more without manual intervention.
    Impossible,
}
