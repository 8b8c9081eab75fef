//! Connections to databases and brokers over TCP or a unix socket, with or without TLS.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;

use super::{Problem, connect};
use net::tls::{Stream, add_roots, system_roots, trusting};
use spec::dsn::{ConnectionInfo, Endpoint, Tls};
use spec::text::describe;

/// Connects to a server.
pub(super) async fn open(login: &ConnectionInfo) -> Result<Box<dyn Stream>, Problem> {
    match &login.place {
        Endpoint::Unix(path) => {
            let connected = UnixStream::connect(path).await;
            let connected = connected
                .map_err(|error| Problem::Failed(format!("{}: {}", path.display(), describe(&error))))?;
            Ok(Box::new(connected))
        }
        Endpoint::Tcp { host, port } => {
            let stream = connect(host, *port).await?;
            match &login.tls {
                Tls::Off | Tls::IfOffered => Ok(Box::new(stream)),
                Tls::Unverified => Ok(Box::new(super::encrypt(stream, host).await?)),
                Tls::Verified { ca, .. } => {
                    let config = verifying(ca.as_deref())?;
                    let name = ServerName::try_from(host.clone())
                        .map_err(|_| Problem::Failed(format!("'{host}' is not a valid host name")))?;
                    let encrypted = TlsConnector::from(config).connect(name, stream).await;
                    let failed =
                        |error| Problem::Failed(format!("TLS with {host}:{port}: {}", describe(&error)));
                    Ok(Box::new(encrypted.map_err(failed)?))
                }
            }
        }
    }
}

/// A configuration that trusts the system's roots, and those of a file.
fn verifying(ca: Option<&Path>) -> Result<Arc<ClientConfig>, Problem> {
    let mut roots = system_roots().clone();
    let config = match ca {
        Some(path) => add_roots(&mut roots, path).and_then(|()| trusting(roots)),
        None => trusting(roots),
    };
    config.map(Arc::new).map_err(Problem::Impossible)
}
