//! TCP connections.

use super::Checked;

/// Passes if the connection is accepted. It is then closed in order: a server logs a reset as an error.
pub(super) async fn connects(host: &str, port: u16) -> Checked {
    super::connect(host, port).await.map(drop)
}
