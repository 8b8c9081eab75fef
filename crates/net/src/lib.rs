//! The network: connections, TLS, the HTTP client and the HTTP server.
#![forbid(unsafe_code)]

pub mod connect;
pub mod http_client;
pub mod json;
pub mod listen;
pub mod query;
pub mod server;
pub mod tls;
pub mod tls_unverified;
