//! TLS to the API server, whose certificate must be signed by the cluster's CA for the requested host.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{described, read_ca, unusable};
use crate::{Config, KubeError};

/// TLS configuration for one server.
#[derive(Clone)]
pub(crate) struct Trust {
    connector: TlsConnector,
    host: ServerName<'static>,
}

impl Trust {
    pub(crate) fn new(config: &Config) -> Result<Self, KubeError> {
        let impossible = |why: String| KubeError::TlsSetup { why };
        let host = ServerName::try_from(config.host.clone())
            .map_err(|_| impossible(format!("invalid host name or address '{}'", config.host)))?;
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| impossible(error.to_string()))?
            .with_root_certificates(roots(&config.ca_file)?)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(client)), host })
    }

    pub(crate) async fn encrypt(
        &self,
        stream: TcpStream,
        config: &Config,
        server: &str,
    ) -> Result<TlsStream<TcpStream>, KubeError> {
        self.connector
            .connect(self.host.clone(), stream)
            .await
            .map_err(|error| refused(&error, config, server))
    }
}

/// Reads a bundle. It may contain several certificates, as during a rotation of the cluster's CA.
fn roots(file: &Path) -> Result<RootCertStore, KubeError> {
    let bad = |why: String| unusable("the CA of the cluster", file, why);
    let bundle = read_ca(file)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bundle) {
        let certificate = certificate.map_err(|error| bad(format!("not PEM: {error}")))?;
        roots.add(certificate).map_err(|error| bad(format!("invalid certificate: {error}")))?;
    }
    if roots.is_empty() { Err(bad("no certificate in PEM".to_owned())) } else { Ok(roots) }
}

fn refused(error: &io::Error, config: &Config, server: &str) -> KubeError {
    let server = server.to_owned();
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    let Some(Error::InvalidCertificate(fault)) = cause else {
        return KubeError::Connect { server, why: format!("TLS: {}", described(error)) };
    };
    let ca = config.ca_file.display();
    let why = match fault {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("not signed by a CA in {ca} ({fault})")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("not valid for '{}' ({fault})", config.host)
        }
        _ => fault.to_string(),
    };
    KubeError::Certificate { server, why }
}
