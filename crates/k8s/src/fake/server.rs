//! Connections of the fake server: TLS, HTTP and routing.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::body::{Chunk, ChunkedBody};
use super::certificates::Certificates;
use super::shapes;
use super::state::{After, Fault, RecordedRequest, ServerState, Verb};

/// Starts the thread, which stops when the sender of `stopped` is dropped.
pub(super) fn start(
    made: &Certificates,
    state: Arc<ServerState>,
    stopped: oneshot::Receiver<()>,
) -> (SocketAddr, JoinHandle<()>) {
    let acceptor = acceptor(made).unwrap_or_else(|error| panic!("cannot set up TLS: {error}"));
    let (listener, address) = listen().unwrap_or_else(|error| panic!("cannot listen: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("cannot create a runtime: {error}"));
    let thread = std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = stopped => {}
                error = serve(listener, acceptor, state) => panic!("cannot accept: {error}"),
            }
        });
    });
    (address, thread)
}

/// Binds the socket before the thread starts, so that clients can connect at once.
fn listen() -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn acceptor(made: &Certificates) -> Result<TlsAcceptor, Box<dyn std::error::Error>> {
    let chain = vec![CertificateDer::from_pem_file(&made.certificate)?];
    let key = PrivateKeyDer::from_pem_file(&made.key)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: std::net::TcpListener, acceptor: TlsAcceptor, state: Arc<ServerState>) -> io::Error {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, acceptor.clone(), Arc::clone(&state)));
            }
            Err(error) => return error,
        }
    }
}

/// Serves a connection. Errors are ignored, since tests cause them.
async fn connection(stream: TcpStream, acceptor: TlsAcceptor, state: Arc<ServerState>) {
    // Sends single bytes at once.
    let _ = stream.set_nodelay(true);
    if let Ok(stream) = acceptor.accept(stream).await {
        let service = service_fn(move |request| handle(request, Arc::clone(&state)));
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }
}

async fn handle(request: Request<Incoming>, state: Arc<ServerState>) -> io::Result<Response<ChunkedBody>> {
    let recorded = parse(&request);
    let fault = state.record(&recorded);
    match fault {
        None => {}
        Some(Fault::Hang) => pending().await,
        Some(Fault::Drop) => return Err(io::Error::other("dropped on request")),
        Some(Fault::RotatedToken(token)) => {
            state.rotate_token(&token);
            return Ok(refused(&state, 401, "Unauthorized", "Unauthorized", None));
        }
        Some(Fault::Status { code, reason, message, retry_after }) => {
            return Ok(refused(&state, code, &reason, &message, retry_after));
        }
        Some(Fault::Forbidden) => {
            let RecordedRequest { verb, namespace, .. } = &recorded;
            let message = shapes::forbidden(verb.word(), namespace);
            return Ok(refused(&state, 403, "Forbidden", &message, None));
        }
        Some(Fault::Body(content, after)) => return Ok(full(&state, StatusCode::OK, content, after)),
    }
    if !state.knows(&recorded.token) {
        return Ok(refused(&state, 401, "Unauthorized", "Unauthorized", None));
    }
    Ok(match recorded.verb {
        Verb::Get => match state.get(&recorded) {
            Some(pod) => full(&state, StatusCode::OK, pod, After::End),
            None => {
                let message = format!("pods \"{}\" not found", recorded.name);
                refused(&state, 404, "NotFound", &message, None)
            }
        },
        Verb::List => full(&state, StatusCode::OK, state.list(&recorded), After::End),
        Verb::Watch => watch(&state, &recorded),
        Verb::Other => {
            refused(&state, 404, "NotFound", "the server could not find the requested resource", None)
        }
    })
}

fn watch(state: &ServerState, recorded: &RecordedRequest) -> Response<ChunkedBody> {
    let (sender, body) = ChunkedBody::new(state.trickles());
    if let Some(seconds) = recorded.query.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok()) {
        let sender = sender.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(seconds)) => { let _ = sender.send(Chunk::End); }
                () = sender.closed() => {}
            }
        });
    }
    state.watch(recorded, sender);
    response(StatusCode::OK, body)
}

fn refused(
    state: &ServerState,
    code: u16,
    reason: &str,
    message: &str,
    retry_after: Option<u64>,
) -> Response<ChunkedBody> {
    let status = shapes::status(code, reason, message, retry_after).to_string();
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = full(state, code, status.into_bytes(), After::End);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn full(state: &ServerState, code: StatusCode, content: Vec<u8>, after: After) -> Response<ChunkedBody> {
    let (sender, body) = ChunkedBody::of(content, after, state.trickles());
    if let Some(sender) = sender {
        state.keep(sender);
    }
    response(code, body)
}

fn response(code: StatusCode, body: ChunkedBody) -> Response<ChunkedBody> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Parses a request.
fn parse(request: &Request<Incoming>) -> RecordedRequest {
    let query: BTreeMap<_, _> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (unescape(name), unescape(value)))
        .collect();
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let parts: Vec<_> = request.uri().path().split('/').collect();
    let watches = query.get("watch").is_some_and(|watch| watch == "1" || watch == "true");
    let selected = query.get("fieldSelector").and_then(|selector| selector.strip_prefix("metadata.name="));
    let (verb, namespace, name) = match parts[..] {
        ["", "api", "v1", "namespaces", namespace, "pods"] => {
            (if watches { Verb::Watch } else { Verb::List }, namespace, selected.unwrap_or_default())
        }
        ["", "api", "v1", "namespaces", namespace, "pods", name] => (Verb::Get, namespace, name),
        // Nodes have no namespace.
        ["", "api", "v1", "nodes", name] => (Verb::Get, "", name),
        _ => (Verb::Other, "", ""),
    };
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    RecordedRequest {
        verb,
        namespace,
        name,
        token: header(AUTHORIZATION).strip_prefix("Bearer ").unwrap_or_default().to_owned(),
        agent: header(USER_AGENT).to_owned(),
        target: request.uri().to_string(),
        at: std::time::Instant::now(),
        query,
    }
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
