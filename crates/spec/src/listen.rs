//! The addresses and the response format of the status socket.

use std::net::SocketAddr;

/// Where to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    Nowhere,
    /// At this address, and with `side` at the next free port above too.
    At {
        /// The address.
        address: SocketAddr,
        /// Also bind the next free port above.
        side: bool,
    },
    /// On the listener that the service manager hands us.
    Activated,
}

/// In whose manner to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    /// A list, as newer kapo has it, rather than the bare object.
    pub list: bool,
    /// The state at any path that means nothing else.
    pub any_path: bool,
    /// There are many processes: more may be asked.
    pub many: bool,
    /// Liveness asks what readiness asks, as in process-wrapper's files.
    pub liveness_is_readiness: bool,
}
