//! An HTTP server with limits on connections.
//!
//! A status socket has to respond even when everything else fails, so no client may block the others: the head of a
//! request must arrive within [`HEAD_TIMEOUT`] and have at most [`MAX_HEAD`] bytes, and above the limit of connections the
//! one that has been idle longest is closed. A connection without data holds no buffer.
//!
//! TCP connections may use TLS, and a second protocol that is detected by its first byte ([`ServerOptions`]).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::listen::{Bound, has_pending_connection};
use crate::tls::{Acceptor, Stream};

/// Time limit for the head of a request, and for being idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of the head of a request, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// Maximum number of connections, if the limit of descriptors allows it.
const MAX_CONNECTIONS: usize = 1024;
/// Time limit of pending responses at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(200);
/// Pause after a failed accept(2).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Size of the buffer for detecting the protocol, in bytes.
const DETECTION_BUFFER: usize = 64;

/// Options of a server in addition to plain HTTP.
#[derive(Clone, Default)]
pub struct ServerOptions {
    /// TLS for TCP connections.
    pub tls: Option<Arc<Acceptor>>,
    /// A second protocol.
    pub other: Option<Arc<dyn AltProtocol>>,
}

/// A second protocol on the same port.
pub trait AltProtocol: Send + Sync {
    /// Returns the first byte of each of its connections.
    fn first_byte(&self) -> u8;
    /// Serves a connection until it is closed or the future is dropped.
    fn serve(&self, stream: Box<dyn Stream>, caller: Caller, place: ConnectionHandle) -> Serving;
}

/// The future that serves a connection.
pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The client of a connection; in the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Whether the client is on this machine.
    pub local: bool,
    /// Whether it has a certificate signed by the CA.
    pub certified: bool,
}

/// Counts connections.
pub trait ConnectionMetrics: Send + Sync {
    /// A connection was accepted.
    fn opened(&self);
    /// A connection was closed.
    fn closed(&self);
    /// A connection was closed to make room for another.
    fn cut(&self);
}

/// Counts nothing.
impl ConnectionMetrics for () {
    fn opened(&self) {}
    fn closed(&self) {}
    fn cut(&self) {}
}

/// A running server.
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    router: Router,
    metrics: Arc<dyn ConnectionMetrics>,
    options: ServerOptions,
    limit: usize,
    open: Mutex<Open>,
    closing: watch::Sender<bool>,
}

/// The connections, ordered by last activity: the first has been idle longest.
#[derive(Debug, Default)]
struct Open {
    ticks: u64,
    connections: BTreeMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    /// Number of requests in progress.
    busy: usize,
    task: AbortHandle,
}

impl Server {
    /// Starts serving these sockets.
    pub fn start(
        listeners: Vec<Bound>,
        router: Router,
        metrics: Arc<dyn ConnectionMetrics>,
        options: ServerOptions,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            router,
            metrics,
            options,
            limit: connection_limit(),
            open: Mutex::default(),
            closing: watch::Sender::new(false),
        });
        for listener in listeners {
            let shared = Arc::clone(&shared);
            match listener {
                Bound::Tcp(listener) => {
                    listener.set_nonblocking(true)?;
                    tokio::spawn(shared.accept(TcpListener::from_std(listener)?));
                }
                Bound::Unix(listener) => {
                    listener.set_nonblocking(true)?;
                    tokio::spawn(shared.accept(UnixListener::from_std(listener)?));
                }
                Bound::Control(listener) => {
                    listener.set_nonblocking(true)?;
                    tokio::spawn(shared.accept(OwnUserOnly(UnixListener::from_std(listener)?)));
                }
            }
        }
        Ok(Self { shared })
    }

    /// Stops the server after pending responses, with a short time limit.
    pub async fn finish(self) {
        // Idle connections close at once, the others after their response. Each holds a receiver while it is open.
        self.shared.closing.send_replace(true);
        let _ = timeout(SHUTDOWN_TIMEOUT, self.shared.closing.closed()).await;
    }
}

/// Returns the limit of connections: half of the descriptors, so that the rest is left for supervision.
fn connection_limit() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors / 2).unwrap_or(usize::MAX).clamp(4, MAX_CONNECTIONS)
}

/// A listener.
trait Accept: AsFd {
    type Stream: Connected;
    async fn accept_one(&self) -> io::Result<Self::Stream>;
}

/// An accepted connection.
trait Connected: Stream + 'static {
    fn wait_readable(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Returns whether the client is on this machine.
    fn is_local(&self) -> bool;
    /// Returns whether TLS applies to the connection.
    fn is_remote(&self) -> bool {
        false
    }
}

impl Accept for TcpListener {
    type Stream = TcpStream;
    async fn accept_one(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        // Responses are small and sent in one packet.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;
    async fn accept_one(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Accepts only connections of the own user and root, whatever the mode of the socket.
struct OwnUserOnly(UnixListener);

impl AsFd for OwnUserOnly {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Accept for OwnUserOnly {
    type Stream = UnixStream;
    async fn accept_one(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.0.accept().await?;
        let peer = stream.peer_cred()?.uid();
        if peer == 0 || peer == rustix::process::geteuid().as_raw() {
            return Ok(stream);
        }
        log::warn!(uid = peer; "refused a connection of another user to the control socket");
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

impl Connected for TcpStream {
    async fn wait_readable(&self) -> io::Result<()> {
        self.readable().await
    }

    fn is_local(&self) -> bool {
        // A client that connects to an address of this machine from this machine has the same address.
        let own = self.local_addr().map(|own| own.ip().to_canonical()).ok();
        self.peer_addr().is_ok_and(|peer| {
            let peer = peer.ip().to_canonical();
            peer.is_loopback() || Some(peer) == own
        })
    }

    fn is_remote(&self) -> bool {
        true
    }
}

impl Connected for UnixStream {
    async fn wait_readable(&self) -> io::Result<()> {
        self.readable().await
    }

    fn is_local(&self) -> bool {
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn accept<L: Accept>(self: Arc<Self>, listener: L) {
        let mut refused = false;
        loop {
            match listener.accept_one().await {
                Ok(stream) => {
                    refused = false;
                    self.take(stream);
                }
                // The client disconnected before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if has_pending_connection(&listener) {
                        if !refused {
                            log::warn!("cannot accept a connection: {error}");
                        }
                        refused = true;
                        self.close_idlest(&mut self.lock());
                    }
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn take(self: &Arc<Self>, stream: impl Connected) {
        let mut open = self.lock();
        if open.connections.len() >= self.limit {
            self.close_idlest(&mut open);
        }
        let tick = open.tick();
        let task = tokio::spawn(serve(stream, Entry { shared: Arc::clone(self), tick: Mutex::new(tick) }));
        open.connections.insert(tick, Connection { busy: 0, task: task.abort_handle() });
        self.metrics.opened();
    }

    /// Closes the connection that has been idle longest; if all are busy, the one with the oldest request.
    fn close_idlest(&self, open: &mut Open) {
        let idle =
            open.connections.iter().find(|(_, connection)| connection.busy == 0).map(|(tick, _)| *tick);
        let quietest = idle.or_else(|| open.connections.keys().next().copied());
        if let Some(connection) = quietest.and_then(|tick| open.connections.remove(&tick)) {
            connection.task.abort();
            self.metrics.cut();
        }
    }
}

impl Open {
    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }
}

/// The entry of an open connection in the table.
struct Entry {
    shared: Arc<Shared>,
    tick: Mutex<u64>,
}

impl Entry {
    /// Moves the connection to the end of the idle order. `busy` maps the number of requests in progress.
    fn note_activity(&self, busy: impl FnOnce(usize) -> usize) {
        let mut open = self.shared.lock();
        let mut own = self.tick.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut connection) = open.connections.remove(&own) {
            connection.busy = busy(connection.busy);
            *own = open.tick();
            open.connections.insert(*own, connection);
        }
    }
}

/// Handle of a connection that uses the second protocol.
#[derive(Clone)]
pub struct ConnectionHandle(Arc<Entry>);

impl ConnectionHandle {
    /// Marks the connection as busy until the returned guard is dropped.
    #[must_use]
    pub fn busy(&self) -> Busy {
        Busy::with(Arc::clone(&self.0))
    }
}

/// A guard that marks a request as in progress.
pub struct Busy(Arc<Entry>);

impl Busy {
    fn with(entry: Arc<Entry>) -> Self {
        entry.note_activity(|busy| busy + 1);
        Self(entry)
    }

    /// Keeps the connection busy until a streamed body ends.
    fn until_sent(self, body: Body) -> Body {
        if body.size_hint().exact().is_some() {
            return body;
        }
        Body::new(body.map_frame(move |frame| {
            self.0.note_activity(|busy| busy);
            frame
        }))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.note_activity(|busy| busy.saturating_sub(1));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let own = *self.tick.get_mut().unwrap_or_else(PoisonError::into_inner);
        if self.shared.lock().connections.remove(&own).is_some() {
            self.shared.metrics.closed();
        }
    }
}

async fn serve(stream: impl Connected, entry: Entry) {
    let entry = Arc::new(entry);
    let mut closing = entry.shared.closing.subscribe();
    tokio::select! {
        readable = timeout(HEAD_TIMEOUT, stream.wait_readable()) => {
            if !matches!(readable, Ok(Ok(()))) {
                return;
            }
        }
        _ = closing.wait_for(|closing| *closing) => return,
    }
    let caller = Caller { local: stream.is_local(), certified: false };
    let ServerOptions { tls, other } = &entry.shared.options;
    match (tls.as_ref().filter(|_| stream.is_remote()), other) {
        (None, None) => serve_http(stream, caller, entry, closing).await,
        (None, Some(other)) => {
            detect_protocol(Arc::clone(other), Box::new(stream), caller, entry, closing).await;
        }
        (Some(tls), other) => {
            let accepted = timeout(HEAD_TIMEOUT, tls.accept(stream)).await;
            let accepted = accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let (stream, certified) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => return log::debug!("TLS handshake with a client failed: {error}"),
            };
            let caller = Caller { certified, ..caller };
            match other {
                Some(other) => {
                    detect_protocol(Arc::clone(other), Box::new(stream), caller, entry, closing).await;
                }
                None => serve_http(stream, caller, entry, closing).await,
            }
        }
    }
}

/// Detects the protocol by the first byte.
async fn detect_protocol(
    other: Arc<dyn AltProtocol>,
    stream: Box<dyn Stream>,
    caller: Caller,
    entry: Arc<Entry>,
    mut closing: watch::Receiver<bool>,
) {
    let mut stream = BufReader::with_capacity(DETECTION_BUFFER, stream);
    let first = match timeout(HEAD_TIMEOUT, stream.fill_buf()).await {
        Ok(Ok(bytes)) => bytes.first().copied(),
        Ok(Err(_)) | Err(_) => None,
    };
    match first {
        None => {}
        Some(byte) if byte == other.first_byte() => tokio::select! {
            () = other.serve(Box::new(stream), caller, ConnectionHandle(entry)) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        },
        Some(_) => serve_http(stream, caller, entry, closing).await,
    }
}

/// Serves HTTP.
async fn serve_http(
    stream: impl Stream + 'static,
    caller: Caller,
    entry: Arc<Entry>,
    mut closing: watch::Receiver<bool>,
) {
    let service = service_fn(|mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(caller);
        let entry = Arc::clone(&entry);
        async move {
            let busy = Busy::with(entry);
            let answer = tower_service::Service::call(&mut busy.0.shared.router.clone(), request).await;
            answer.map(|answer| answer.map(|body| busy.until_sent(body)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // Errors are those of the client: it disconnected, was too slow or did not use HTTP.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = closing.wait_for(|closing| *closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    impl Connected for DuplexStream {
        async fn wait_readable(&self) -> io::Result<()> {
            Ok(())
        }

        fn is_local(&self) -> bool {
            true
        }
    }

    fn shared() -> Arc<Shared> {
        Arc::new(Shared {
            router: Router::new().route("/", get(async || "hello")),
            metrics: Arc::new(()),
            options: ServerOptions::default(),
            limit: 4,
            open: Mutex::default(),
            closing: watch::Sender::new(false),
        })
    }

    /// Sends bytes on a connection; returns the response and the time until the connection was closed.
    async fn closed_after(request: &[u8]) -> io::Result<(String, Duration)> {
        let (mut client, server) = duplex(1 << 16);
        shared().take(server);
        let started = Instant::now();
        client.write_all(request).await?;
        let mut response = String::new();
        client.read_to_string(&mut response).await?;
        Ok((response, started.elapsed()))
    }

    #[tokio::test(start_paused = true)]
    async fn closes_a_connection_with_an_incomplete_request() -> io::Result<()> {
        let (response, after) = closed_after(b"GET / HTTP/1.1\r\nHost:").await?;
        assert_eq!(response, "");
        assert!(after >= HEAD_TIMEOUT && after < HEAD_TIMEOUT * 2, "{after:?}");
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn closes_a_connection_that_is_idle_between_requests() -> io::Result<()> {
        let (response, after) = closed_after(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        assert!(response.ends_with("hello"), "{response}");
        assert!(after >= HEAD_TIMEOUT && after < HEAD_TIMEOUT * 2, "{after:?}");
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn closes_the_idlest_connection_above_the_limit() -> io::Result<()> {
        let shared = shared();
        let mut clients = Vec::new();
        for _ in 0..4 {
            let (client, server) = duplex(1 << 16);
            shared.take(server);
            clients.push(client);
        }
        // The first sends another request, so that the second is the idlest when a fifth arrives.
        clients[0].write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        let mut buffer = [0; 512];
        assert!(clients[0].read(&mut buffer).await? > 0);
        let (_fifth, server) = duplex(1 << 16);
        shared.take(server);
        let started = Instant::now();
        assert_eq!(clients[1].read(&mut buffer).await?, 0);
        assert!(started.elapsed() < HEAD_TIMEOUT, "closed by the limit, not by the timeout");
        clients[0].write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        assert!(clients[0].read(&mut buffer).await? > 0);
        Ok(())
    }
}
