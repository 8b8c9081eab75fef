//! TCP connections by host name or address.

use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};

use linux::blocking;
use tokio::net::TcpStream;

/// Connects to the first address of `host` that accepts. A name is resolved by the system.
///
/// # Errors
///
/// The name does not resolve, or no address accepts; the error is that of the last address.
pub async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    match host.parse::<IpAddr>() {
        Ok(address) => TcpStream::connect((address, port)).await,
        Err(_) => {
            let host = host.to_owned();
            let resolve = move || (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
            let addresses = blocking::run(resolve).await??;
            TcpStream::connect(addresses.as_slice()).await
        }
    }
}
