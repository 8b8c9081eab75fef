//! The addresses and the response format of the status socket.

use std::net::SocketAddr;

/// The listener of the status socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// No listener.
    Nowhere,
    /// A TCP address.
    At {
        address: SocketAddr,
        /// Whether the next free port above is bound too.
        side: bool,
    },
    /// The listener passed by the service manager; sd_listen_fds(3).
    Activated,
}

/// Switches for compatibility with the older tools' HTTP responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    /// Respond with a list, as newer kapo does, rather than with a single object.
    pub list: bool,
    /// Respond with the state at any other path.
    pub any_path: bool,
    /// Serve the paths for several processes.
    pub many: bool,
    /// Liveness is the same as readiness, as with process-wrapper's files.
    pub liveness_is_readiness: bool,
}
