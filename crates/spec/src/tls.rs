//! Certificates.

use std::path::PathBuf;

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files {
    /// The own certificate and its key.
    pub own: Option<(PathBuf, PathBuf)>,
    /// CA certificates; `None`: those of the system.
    pub ca: Option<PathBuf>,
}
