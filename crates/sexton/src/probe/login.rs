//! Connections to databases and brokers: by TCP or a unix socket, encrypted or not.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;

use super::{Problem, connect, tls};
use crate::config::dsn::{Login, Place, Tls};
use crate::words::describe;

/// Something that bytes go through.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Connects to a server.
pub(super) async fn open(login: &Login) -> Result<Box<dyn Stream>, Problem> {
    match &login.place {
        Place::Unix(path) => {
            let connected = UnixStream::connect(path).await;
            let connected = connected
                .map_err(|error| Problem::Failed(format!("{}: {}", path.display(), describe(&error))))?;
            Ok(Box::new(connected))
        }
        Place::Tcp { host, port } => {
            let stream = connect(host, *port).await?;
            match &login.tls {
                Tls::Off | Tls::IfOffered => Ok(Box::new(stream)),
                Tls::Unverified => Ok(Box::new(tls::encrypt(stream, host).await?)),
                Tls::Verified { ca, .. } => {
                    let config = verifying(ca.as_deref())?;
                    let name = ServerName::try_from(host.clone())
                        .map_err(|_| Problem::Failed(format!("'{host}' is no name of a host")))?;
                    let encrypted = TlsConnector::from(config).connect(name, stream).await;
                    let failed =
                        |error| Problem::Failed(format!("TLS with {host}:{port}: {}", describe(&error)));
                    Ok(Box::new(encrypted.map_err(failed)?))
                }
            }
        }
    }
}

/// Knows those whom the system knows, and those of a file.
fn verifying(ca: Option<&Path>) -> Result<Arc<ClientConfig>, Problem> {
    let impossible = |why: String| Problem::Impossible(why);
    // To read them takes a while: once is enough.
    static KNOWN: OnceLock<RootCertStore> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    });
    let mut roots = known.clone();
    if let Some(path) = ca {
        let named = |why: &dyn std::fmt::Display| impossible(format!("{}: {why}", path.display()));
        let certificates =
            rustls::pki_types::CertificateDer::pem_file_iter(path).map_err(|error| named(&error))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| named(&error))?;
            roots.add(certificate).map_err(|error| named(&error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| impossible(error.to_string()))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
