//! A connection that is accepted.

use super::Checked;

/// Connects, and closes without a word. The end is abrupt, so that thousands of probes leave no connections waiting
/// for late packets (`TIME_WAIT`), as the kubelet has it.
pub(super) async fn connects(host: &str, port: u16) -> Checked {
    let stream = super::connect(host, port).await?;
    let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO));
    Ok(())
}
