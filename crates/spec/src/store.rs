//! The store of locks and ensembles.

use std::path::PathBuf;

/// A store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlan {
    /// A file that only this process uses.
    Embedded(PathBuf),
    /// An etcd cluster.
    Etcd {
        /// The URLs of its nodes.
        endpoints: Vec<String>,
        /// CA certificates (PEM).
        ca: Option<PathBuf>,
        /// The client certificate and its key (PEM).
        identity: Option<(PathBuf, PathBuf)>,
        /// The user name, and the file with the password.
        user: Option<(String, PathBuf)>,
    },
}

impl StorePlan {
    /// Whether the store may revoke a lease before its time to live has passed (etcd #15247).
    #[must_use]
    pub const fn may_lapse_early(&self) -> bool {
        matches!(self, Self::Etcd { .. })
    }
}
