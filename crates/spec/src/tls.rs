//! The files of TLS.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Files in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TlsFiles {
    /// The certificate of this side and its key.
    pub own: Option<(PathBuf, PathBuf)>,
    /// CA bundle for the certificates of peers; None: the system CAs.
    pub ca: Option<PathBuf>,
}
