//! TLS settings from files: trusted CAs, and the own certificate. Replaced files are read again.

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
use spec::tls::TlsFiles;

/// A byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The CA certificates of the system.
pub fn system_roots() -> &'static RootCertStore {
    // Reading them takes long, so it happens once.
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

/// Adds the CA certificates of a file.
pub fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let before = roots.len();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if roots.len() == before {
        return Err(format!("{}: expected PEM certificates, found none", path.display()));
    }
    Ok(())
}

/// A client configuration with these CA certificates and without a client certificate.
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
        return Err(format!("{}: expected a PEM certificate, found none", certificate.display()));
    }
    let read = std::fs::read(key).map_err(|error| named(&describe(&error)))?;
    let key = PrivateKeyDer::from_pem_slice(&read)
        .map_err(|error| named(&format!("expected a PEM private key: {error}")))?;
    Ok((chain, key))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let Some(path) = ca else { return Ok(system_roots().clone()) };
    let mut roots = RootCertStore::empty();
    add_roots(&mut roots, path)?;
    Ok(roots)
}

/// A configuration that is rebuilt when its files change.
struct Reloading<T> {
    files: TlsFiles,
    build: fn(&TlsFiles) -> Result<T, String>,
    /// Stamps of the files in use, the configuration, and stamps of the last files that were unusable.
    current: Mutex<(Vec<FileStamp>, T, Vec<FileStamp>)>,
}

/// Identifies a version of a file: inode, size, modification time.
type FileStamp = Option<(u64, u64, i64, i64)>;

impl<T: Clone> Reloading<T> {
    fn new(files: TlsFiles, build: fn(&TlsFiles) -> Result<T, String>) -> Result<Self, String> {
        let current = Mutex::new((stamps(&files), build(&files)?, Vec::new()));
        Ok(Self { files, build, current })
    }

    fn get(&self) -> T {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.files);
        if current.0 != stamps {
            match (self.build)(&self.files) {
                Ok(built) => {
                    log::info!("certificates reloaded");
                    (current.0, current.1) = (stamps, built);
                }
                // Possibly half replaced, or a shortage of system resources: retried, and reported once.
                Err(why) if current.2 != stamps => {
                    log::warn!("cannot reload certificates, keeping the previous ones: {why}");
                    current.2 = stamps;
                }
                Err(_) => {}
            }
        }
        current.1.clone()
    }
}

fn stamps(files: &TlsFiles) -> Vec<FileStamp> {
    let stamp = |file: Metadata| (file.ino(), file.size(), file.mtime(), file.mtime_nsec());
    let own = files.own.iter().flat_map(|(certificate, key)| [certificate, key]);
    own.chain(&files.ca).map(|path| std::fs::metadata(path).ok().map(stamp)).collect()
}

/// The server side of TLS.
pub struct Acceptor(Reloading<TlsAcceptor>);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Acceptor({:?})", self.0.files)
    }
}

impl Acceptor {
    /// A server with the own certificate. If the client sends a certificate, the CA must have signed it.
    pub fn new(files: TlsFiles) -> Result<Self, String> {
        let build = |files: &TlsFiles| {
            let own = files.own.as_ref().ok_or("a server needs a certificate and a key")?;
            let (chain, key) = identity(own)?;
            let config = ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?;
            let config = match files.ca.as_deref() {
                None => config.with_no_client_auth(),
                Some(path) => {
                    let trusted = Arc::new(roots(Some(path))?);
                    let verifier = WebPkiClientVerifier::builder_with_provider(trusted, provider());
                    // The kubelet's probes have none; whether one is required depends on the request.
                    let verifier = verifier.allow_unauthenticated().build();
                    config.with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
                }
            };
            let mut config = config.with_single_cert(chain, key).map_err(|error| error.to_string())?;
            // A resumed session would not check the client certificate, which may have expired.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Ok(TlsAcceptor::from(Arc::new(config)))
        };
        Reloading::new(files, build).map(Self)
    }

    /// Performs the handshake. Returns also whether the client has sent a certificate, which is then verified.
    pub async fn accept<S: Stream>(&self, stream: S) -> io::Result<(impl Stream + use<S>, bool)> {
        let stream = self.0.get().accept(stream).await?;
        let certified = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
        Ok((stream, certified))
    }
}

/// The client side of TLS.
pub struct Connector(Reloading<Arc<ClientConfig>>);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector({:?})", self.0.files)
    }
}

impl Connector {
    /// A client with the own certificate, if there is one.
    pub fn new(files: TlsFiles) -> Result<Self, String> {
        let build = |files: &TlsFiles| {
            let trusted = roots(files.ca.as_deref())?;
            let Some(own) = &files.own else { return Ok(Arc::new(trusting(trusted)?)) };
            let (chain, key) = identity(own)?;
            let config = client()?.with_root_certificates(trusted).with_client_auth_cert(chain, key);
            Ok(Arc::new(config.map_err(|error| error.to_string())?))
        };
        Reloading::new(files, build).map(Self)
    }

    /// Performs the handshake with this host.
    pub async fn connect<S: Stream>(&self, host: &str, stream: S) -> Result<impl Stream + use<S>, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("'{host}' is not a valid host name"))?;
        let connected = TlsConnector::from(self.0.get()).connect(name, stream).await;
        connected.map_err(|error| format!("TLS: {}", describe(&error)))
    }
}
