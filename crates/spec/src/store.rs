//! The store of locks and ensembles.

use std::path::PathBuf;

/// A store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlan {
    /// In this file, for us alone.
    Embedded(PathBuf),
    /// In etcd.
    Etcd {
        /// Its nodes.
        endpoints: Vec<String>,
        /// Who may have signed their certificates.
        ca: Option<PathBuf>,
        /// Our certificate and its key.
        identity: Option<(PathBuf, PathBuf)>,
        /// Our name there, and the file with the password.
        user: Option<(String, PathBuf)>,
    },
}

impl StorePlan {
    /// Is it of the kind that may end leases that are alive?
    #[must_use]
    pub const fn may_lapse_early(&self) -> bool {
        matches!(self, Self::Etcd { .. })
    }
}
