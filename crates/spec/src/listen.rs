//! The address and the response format of the HTTP server.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Address of the HTTP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listen {
    /// No server.
    Nowhere,
    At {
        address: SocketAddr,
        /// Also listen on the next free port above.
        side: bool,
    },
    /// The listening socket passed by the service manager.
    Activated,
}

/// Compatibility switches of HTTP responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpCompat {
    /// The status is a list with one object, as in newer versions of kapo.
    pub list: bool,
    /// Unknown paths return the status.
    pub any_path: bool,
    /// There are many processes; the routes for them exist.
    pub many: bool,
    /// /liveness returns the same as /readiness, as with process-wrapper's files.
    pub liveness_is_readiness: bool,
}
