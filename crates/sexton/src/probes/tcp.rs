//! TCP connections.

use super::Checked;

/// Passes if the connection is accepted. It is then reset, as in the kubelet, so that thousands of probes leave no
/// connections in `TIME_WAIT`.
pub(super) async fn connects(host: &str, port: u16) -> Checked {
    let stream = super::connect(host, port).await?;
    let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO));
    Ok(())
}
