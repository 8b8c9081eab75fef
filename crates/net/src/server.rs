//! Connections: accepted, limited, put away.
//!
//! A status socket has to answer when everything else is in trouble, so no client may take it from the
//! others: a request must be sent within [`HEAD_WITHIN`], a head may be of [`LARGEST_HEAD`] at most, and when
//! there are more connections than the limit, the one that has been quiet longest is cut. A connection that
//! has not said anything yet holds no buffer.
//!
//! On TCP there may be TLS, and beside HTTP another protocol that is told by its first byte ([`ServerOptions`]).

use std::collections::BTreeMap;
use std::io;
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

use crate::listen::Bound;
use crate::tls::{Acceptor, Stream};

/// How long a client may take to send the head of a request, and may be quiet between two.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes.
const LARGEST_HEAD: usize = 16 << 10;
/// The most connections, where the limit of descriptors allows it.
const MOST_CONNECTIONS: usize = 1024;
/// How long answers may take that are under way when we end.
const LAST_ANSWERS: Duration = Duration::from_millis(200);
/// How long to wait when the system cannot give us another connection.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// How much of a connection is looked at to tell its protocol.
const FIRST: usize = 64;

/// What a server takes beside plain HTTP.
#[derive(Clone, Default)]
pub struct ServerOptions {
    /// Connections by TCP are encrypted.
    pub tls: Option<Arc<Acceptor>>,
    /// Another protocol.
    pub other: Option<Arc<dyn AltProtocol>>,
}

/// Another protocol on the same port.
pub trait AltProtocol: Send + Sync {
    /// What each of its connections begins with.
    fn first_byte(&self) -> u8;
    /// Serves a connection, until it is closed or this is dropped.
    fn serve(&self, stream: Box<dyn Stream>, caller: Caller, place: ConnectionHandle) -> Serving;
}

/// A connection that is served.
pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who is at the other end; among the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// He calls from this machine.
    pub near: bool,
    /// He has shown a certificate that the CA knows.
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
    beside: ServerOptions,
    limit: usize,
    open: Mutex<Open>,
    closing: watch::Sender<bool>,
}

/// The connections, by when they were last spoken to: the first has been quiet longest.
#[derive(Debug, Default)]
struct Open {
    ticks: u64,
    connections: BTreeMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    /// How many requests of it are being answered.
    busy: usize,
    task: AbortHandle,
}

impl Server {
    /// Answers on these sockets from now on.
    pub fn start(
        listeners: Vec<Bound>,
        router: Router,
        metrics: Arc<dyn ConnectionMetrics>,
        beside: ServerOptions,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            router,
            metrics,
            beside,
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
                    tokio::spawn(shared.accept(OnlyUs(UnixListener::from_std(listener)?)));
                }
            }
        }
        Ok(Self { shared })
    }

    /// Lets answers that are under way go out, but not for long.
    pub async fn finish(self) {
        // Those that wait for the next request close at once, the others after their answer. Each holds a
        // receiver as long as it is open.
        self.shared.closing.send_replace(true);
        let _ = timeout(LAST_ANSWERS, self.shared.closing.closed()).await;
    }
}

/// Half of the descriptors that we may have: the others are for what we are there for.
fn connection_limit() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors / 2).unwrap_or(usize::MAX).clamp(4, MOST_CONNECTIONS)
}

/// What accepts connections.
trait Accepts {
    type Stream: Readable;
    async fn accept_one(&self) -> io::Result<Self::Stream>;
}

/// A connection of which we can tell that something has come.
trait Readable: Stream + 'static {
    fn spoken_to(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Does it come from this machine?
    fn is_near(&self) -> bool;
    /// Does it come over a network, where it is encrypted if anything is?
    fn is_remote(&self) -> bool {
        false
    }
}

impl Accepts for TcpListener {
    type Stream = TcpStream;
    async fn accept_one(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        // Answers are small and go out in one piece.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

impl Accepts for UnixListener {
    type Stream = UnixStream;
    async fn accept_one(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Accepts nobody but ourselves and root, whatever the mode of the socket has become.
struct OnlyUs(UnixListener);

impl Accepts for OnlyUs {
    type Stream = UnixStream;
    async fn accept_one(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.0.accept().await?;
        let peer = stream.peer_cred()?.uid();
        if peer == 0 || peer == rustix::process::geteuid().as_raw() {
            return Ok(stream);
        }
        log::warn!(uid = peer; "somebody else's connection to the control socket was refused");
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

impl Readable for TcpStream {
    async fn spoken_to(&self) -> io::Result<()> {
        self.readable().await
    }

    fn is_near(&self) -> bool {
        // Whoever asks this machine by an address of its own has that address himself.
        let ours = self.local_addr().map(|ours| ours.ip().to_canonical()).ok();
        self.peer_addr().is_ok_and(|peer| {
            let peer = peer.ip().to_canonical();
            peer.is_loopback() || Some(peer) == ours
        })
    }

    fn is_remote(&self) -> bool {
        true
    }
}

impl Readable for UnixStream {
    async fn spoken_to(&self) -> io::Result<()> {
        self.readable().await
    }

    fn is_near(&self) -> bool {
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn accept<L: Accepts>(self: Arc<Self>, listener: L) {
        let mut refused = false;
        loop {
            match listener.accept_one().await {
                Ok(stream) => {
                    refused = false;
                    self.take(stream);
                }
                // The client has gone while it waited.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !refused {
                        log::warn!("cannot take another connection: {error}");
                    }
                    refused = true;
                    self.cut_quietest(&mut self.lock());
                    sleep(AFTER_REFUSAL).await;
                }
            }
        }
    }

    fn take(self: &Arc<Self>, stream: impl Readable) {
        let mut open = self.lock();
        if open.connections.len() >= self.limit {
            self.cut_quietest(&mut open);
        }
        let tick = open.tick();
        let task = tokio::spawn(serve(stream, Entry { shared: Arc::clone(self), tick: Mutex::new(tick) }));
        open.connections.insert(tick, Connection { busy: 0, task: task.abort_handle() });
        self.metrics.opened();
    }

    /// Cuts a connection on which nothing is being answered; if there is none, the one that asked first.
    fn cut_quietest(&self, open: &mut Open) {
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

/// The place of a connection in the books, as long as it is open.
struct Entry {
    shared: Arc<Shared>,
    tick: Mutex<u64>,
}

impl Entry {
    /// Something was said on it: the connection is the last to be cut. `busy` tells how many are being answered from how
    /// many were.
    fn spoken(&self, busy: impl FnOnce(usize) -> usize) {
        let mut open = self.shared.lock();
        let mut own = self.tick.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut connection) = open.connections.remove(&own) {
            connection.busy = busy(connection.busy);
            *own = open.tick();
            open.connections.insert(*own, connection);
        }
    }
}

/// The place of a connection that speaks another protocol.
#[derive(Clone)]
pub struct ConnectionHandle(Arc<Entry>);

impl ConnectionHandle {
    /// Something is being answered, as long as this is there.
    #[must_use]
    pub fn busy(&self) -> Busy {
        Busy::with(Arc::clone(&self.0))
    }
}

/// A request is being answered, as long as this is there.
pub struct Busy(Arc<Entry>);

impl Busy {
    fn with(entry: Arc<Entry>) -> Self {
        entry.spoken(|busy| busy + 1);
        Self(entry)
    }

    /// An answer that goes on and on is being answered until it ends.
    fn until_sent(self, body: Body) -> Body {
        if body.size_hint().exact().is_some() {
            return body;
        }
        Body::new(body.map_frame(move |frame| {
            self.0.spoken(|busy| busy);
            frame
        }))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.spoken(|busy| busy.saturating_sub(1));
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

async fn serve(stream: impl Readable, entry: Entry) {
    let entry = Arc::new(entry);
    let mut closing = entry.shared.closing.subscribe();
    tokio::select! {
        spoken = timeout(HEAD_WITHIN, stream.spoken_to()) => {
            if !matches!(spoken, Ok(Ok(()))) {
                return;
            }
        }
        _ = closing.wait_for(|closing| *closing) => return,
    }
    let caller = Caller { near: stream.is_near(), certified: false };
    let ServerOptions { tls, other } = &entry.shared.beside;
    match (tls.as_ref().filter(|_| stream.is_remote()), other) {
        (None, None) => speak(stream, caller, entry, closing).await,
        (None, Some(other)) => tell_apart(Arc::clone(other), Box::new(stream), caller, entry, closing).await,
        (Some(tls), other) => {
            let accepted = timeout(HEAD_WITHIN, tls.accept(stream)).await;
            let accepted = accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let (stream, certified) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => return log::debug!("no TLS with a client: {error}"),
            };
            let caller = Caller { certified, ..caller };
            match other {
                Some(other) => {
                    tell_apart(Arc::clone(other), Box::new(stream), caller, entry, closing).await;
                }
                None => speak(stream, caller, entry, closing).await,
            }
        }
    }
}

/// Looks at the first byte that comes.
async fn tell_apart(
    other: Arc<dyn AltProtocol>,
    stream: Box<dyn Stream>,
    caller: Caller,
    entry: Arc<Entry>,
    mut closing: watch::Receiver<bool>,
) {
    let mut stream = BufReader::with_capacity(FIRST, stream);
    let first = match timeout(HEAD_WITHIN, stream.fill_buf()).await {
        Ok(Ok(bytes)) => bytes.first().copied(),
        Ok(Err(_)) | Err(_) => None,
    };
    match first {
        None => {}
        Some(byte) if byte == other.first_byte() => tokio::select! {
            () = other.serve(Box::new(stream), caller, ConnectionHandle(entry)) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        },
        Some(_) => speak(stream, caller, entry, closing).await,
    }
}

/// Speaks HTTP.
async fn speak(
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
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // An error is the client's: it has gone, was too slow or spoke no HTTP. Nobody else is concerned.
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

    impl Readable for DuplexStream {
        async fn spoken_to(&self) -> io::Result<()> {
            Ok(())
        }

        fn is_near(&self) -> bool {
            true
        }
    }

    fn shared() -> Arc<Shared> {
        Arc::new(Shared {
            router: Router::new().route("/", get(async || "hello")),
            metrics: Arc::new(()),
            beside: ServerOptions::default(),
            limit: 4,
            open: Mutex::default(),
            closing: watch::Sender::new(false),
        })
    }

    /// All that comes on a connection on which this was said, and after what time it was closed.
    async fn closed_after(said: &[u8]) -> io::Result<(String, Duration)> {
        let (mut client, server) = duplex(1 << 16);
        shared().take(server);
        let begun = Instant::now();
        client.write_all(said).await?;
        let mut heard = String::new();
        client.read_to_string(&mut heard).await?;
        Ok((heard, begun.elapsed()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_finish_its_request_is_cut_in_time() -> io::Result<()> {
        let (heard, after) = closed_after(b"GET / HTTP/1.1\r\nHost:").await?;
        assert_eq!(heard, "");
        assert!(after >= HEAD_WITHIN && after < HEAD_WITHIN * 2, "{after:?}");
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_quiet_between_two_requests_is_cut_in_time() -> io::Result<()> {
        let (heard, after) = closed_after(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        assert!(heard.ends_with("hello"), "{heard}");
        assert!(after >= HEAD_WITHIN && after < HEAD_WITHIN * 2, "{after:?}");
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_the_one_that_was_quiet_longest_is_cut() -> io::Result<()> {
        let shared = shared();
        let mut clients = Vec::new();
        for _ in 0..4 {
            let (client, server) = duplex(1 << 16);
            shared.take(server);
            clients.push(client);
        }
        // The first speaks again, so that the second is the quietest when a fifth comes.
        clients[0].write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        let mut buffer = [0; 512];
        assert!(clients[0].read(&mut buffer).await? > 0);
        let (_fifth, server) = duplex(1 << 16);
        shared.take(server);
        let begun = Instant::now();
        assert_eq!(clients[1].read(&mut buffer).await?, 0);
        assert!(begun.elapsed() < HEAD_WITHIN, "cut, not timed out");
        clients[0].write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        assert!(clients[0].read(&mut buffer).await? > 0);
        Ok(())
    }
}
