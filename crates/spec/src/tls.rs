//! The certificates by which peers prove themselves to each other.

use std::path::PathBuf;

/// Files in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files {
    /// Our certificate and its key.
    pub own: Option<(PathBuf, PathBuf)>,
    /// Who may have signed those of others; None: whom the system knows.
    pub ca: Option<PathBuf>,
}
