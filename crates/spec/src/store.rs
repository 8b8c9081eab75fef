//! The storage of locks and ensembles.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The storage of locks and ensembles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorePlan {
    /// A local file, used by one process.
    Embedded(PathBuf),
    Etcd {
        endpoints: Vec<String>,
        /// CA bundle for the certificates of the nodes.
        ca: Option<PathBuf>,
        /// Client certificate and its key.
        identity: Option<(PathBuf, PathBuf)>,
        /// User name and password file.
        user: Option<(String, PathBuf)>,
    },
}

impl StorePlan {
    /// Whether the store may expire a lease before its time to live has passed.
    #[must_use]
    pub const fn may_lapse_early(&self) -> bool {
        matches!(self, Self::Etcd { .. })
    }
}
