//! TLS by files: whom we trust, and what we show. Files that are replaced, as certificates are, are read again.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use spec::text::describe;
use spec::tls::Files;

/// Something that bytes go through.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The certificates of those whom the system knows.
pub fn system_roots() -> &'static RootCertStore {
    // To read them takes a while: once is enough.
    static KNOWN: OnceLock<RootCertStore> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

/// Adds those of a file.
pub fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let before = roots.len();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if roots.len() == before {
        return Err(format!("{}: expected certificates in PEM, found none", path.display()));
    }
    Ok(())
}

/// A client that trusts these, and shows nothing.
pub fn trusting(roots: RootCertStore) -> Result<ClientConfig, String> {
    Ok(client()?.with_root_certificates(roots).with_no_client_auth())
}

fn client() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, String> {
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    config.map_err(|error| error.to_string())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let read = std::fs::read(path).map_err(|error| named(&describe(&error)))?;
    CertificateDer::pem_slice_iter(&read).collect::<Result<_, _>>().map_err(|error| named(&error))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity((certificate, key): &(PathBuf, PathBuf)) -> Result<Identity, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", key.display());
    let chain = certificates(certificate)?;
    if chain.is_empty() {
        return Err(format!("{}: expected a certificate in PEM, found none", certificate.display()));
    }
    let read = std::fs::read(key).map_err(|error| named(&describe(&error)))?;
    let key = PrivateKeyDer::from_pem_slice(&read)
        .map_err(|error| named(&format!("expected a private key in PEM: {error}")))?;
    Ok((chain, key))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let Some(path) = ca else { return Ok(system_roots().clone()) };
    let mut roots = RootCertStore::empty();
    add_roots(&mut roots, path)?;
    Ok(roots)
}

/// What was made of files, until they are others.
struct Made<T> {
    files: Files,
    make: fn(&Files) -> Result<T, String>,
    /// Of which files, what; and of which others that could not be used.
    current: Mutex<(Vec<Stamp>, T, Vec<Stamp>)>,
}

/// What tells a file from one that has replaced it.
type Stamp = Option<(u64, u64, i64, i64)>;

impl<T: Clone> Made<T> {
    fn new(files: Files, make: fn(&Files) -> Result<T, String>) -> Result<Self, String> {
        let current = Mutex::new((stamps(&files), make(&files)?, Vec::new()));
        Ok(Self { files, make, current })
    }

    fn get(&self) -> T {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.files);
        if current.0 != stamps {
            match (self.make)(&self.files) {
                Ok(made) => {
                    log::info!("certificates have changed and were read again");
                    (current.0, current.1) = (stamps, made);
                }
                // Half replaced, perhaps, or the system is short of something: it is tried again, and told once.
                Err(why) if current.2 != stamps => {
                    log::warn!("certificates have changed and cannot be used: {why}");
                    current.2 = stamps;
                }
                Err(_) => {}
            }
        }
        current.1.clone()
    }
}

fn stamps(files: &Files) -> Vec<Stamp> {
    let stamp = |file: Metadata| (file.ino(), file.size(), file.mtime(), file.mtime_nsec());
    let own = files.own.iter().flat_map(|(certificate, key)| [certificate, key]);
    own.chain(&files.ca).map(|path| std::fs::metadata(path).ok().map(stamp)).collect()
}

/// The side that is called.
pub struct Acceptor(Made<TlsAcceptor>);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Acceptor({:?})", self.0.files)
    }
}

impl Acceptor {
    /// With our certificate. Whoever shows one himself has to be known by the CA.
    pub fn new(files: Files) -> Result<Self, String> {
        let make = |files: &Files| {
            let own = files.own.as_ref().ok_or("a server needs a certificate and a key")?;
            let (chain, key) = identity(own)?;
            let config = ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?;
            let config = match files.ca.as_deref() {
                None => config.with_no_client_auth(),
                Some(path) => {
                    let known = Arc::new(roots(Some(path))?);
                    let verifier = WebPkiClientVerifier::builder_with_provider(known, provider());
                    // Probes of the kubelet show none: who has to have one is decided by what he wants.
                    let verifier = verifier.allow_unauthenticated().build();
                    config.with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
                }
            };
            let mut config = config.with_single_cert(chain, key).map_err(|error| error.to_string())?;
            // A session that is resumed would not look at the certificate again, which may be out of date by then.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Ok(TlsAcceptor::from(Arc::new(config)))
        };
        Made::new(files, make).map(Self)
    }

    /// Speaks TLS on a connection; true: the other side has shown a certificate that the CA knows.
    pub async fn accept<S: Stream>(&self, stream: S) -> io::Result<(impl Stream + use<S>, bool)> {
        let stream = self.0.get().accept(stream).await?;
        let certified = stream.get_ref().1.peer_certificates().is_some_and(|shown| !shown.is_empty());
        Ok((stream, certified))
    }
}

/// The side that calls.
pub struct Connector(Made<Arc<ClientConfig>>);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector({:?})", self.0.files)
    }
}

impl Connector {
    /// With our certificate, if there is one.
    pub fn new(files: Files) -> Result<Self, String> {
        let make = |files: &Files| {
            let known = roots(files.ca.as_deref())?;
            let Some(own) = &files.own else { return Ok(Arc::new(trusting(known)?)) };
            let (chain, key) = identity(own)?;
            let config = client()?.with_root_certificates(known).with_client_auth_cert(chain, key);
            Ok(Arc::new(config.map_err(|error| error.to_string())?))
        };
        Made::new(files, make).map(Self)
    }

    /// Speaks TLS on a connection to this host.
    pub async fn connect<S: Stream>(&self, host: &str, stream: S) -> Result<impl Stream + use<S>, String> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| format!("'{host}' is no name of a host"))?;
        let connected = TlsConnector::from(self.0.get()).connect(name, stream).await;
        connected.map_err(|error| format!("TLS: {}", describe(&error)))
    }
}
