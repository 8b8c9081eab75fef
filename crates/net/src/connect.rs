//! TCP connections by host name or address.

use std::io;
use std::net::IpAddr;

use tokio::net::{TcpStream, lookup_host};

/// Connects to the first address of `host` that accepts. A name is resolved by the system.
///
/// # Errors
///
/// The name does not resolve, or no address accepts; the error is that of the last address.
pub async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    match host.parse::<IpAddr>() {
        Ok(address) => TcpStream::connect((address, port)).await,
        Err(_) => {
            let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
            TcpStream::connect(addresses.as_slice()).await
        }
    }
}
