//! One request and its response, on its own connection, with limits of time and size.

use std::net::IpAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::StatusCode;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::tls::Trust;
use crate::{Config, KubeError, Limits};

/// Maximum size of the head of a response, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// User agent, for the audit log of the server.
const AGENT: &str = concat!("sexton/", env!("CARGO_PKG_VERSION"));

/// A request, with what error messages need.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Path and query.
    pub(crate) target: String,
    /// Verb of the required permission.
    pub(crate) verb: &'static str,
    pub(crate) namespace: &'a str,
    pub(crate) config: &'a Config,
}

impl Request<'_> {
    pub(crate) fn server(&self) -> String {
        let Config { host, port, .. } = self.config;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    fn failed(&self, why: &impl ToString) -> KubeError {
        KubeError::Exchange { server: self.server(), request: self.target.clone(), why: why.to_string() }
    }

    fn slow(&self, what: &'static str, limit: Duration) -> KubeError {
        KubeError::Timeout { server: self.server(), request: self.target.clone(), what, limit }
    }

    pub(crate) fn malformed(&self, why: &impl ToString, bytes: &[u8]) -> KubeError {
        let beginning = crate::names::shown(&String::from_utf8_lossy(&bytes[..bytes.len().min(400)]));
        KubeError::Malformed { request: self.target.clone(), why: why.to_string(), beginning }
    }

    pub(crate) fn long(&self, what: &'static str, limit: usize) -> KubeError {
        KubeError::TooLong { request: self.target.clone(), what, limit }
    }
}

/// A response whose body has not been read. Dropping it closes the connection.
pub(crate) struct ApiResponse {
    pub(crate) code: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    _connection: ConnectionTask,
}

/// The task that drives a connection, aborted with the response.
struct ConnectionTask(AbortHandle);

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends a request and waits for the head of the response.
pub(crate) async fn send(
    request: &Request<'_>,
    token: &str,
    trust: &Trust,
    limits: &Limits,
) -> Result<ApiResponse, KubeError> {
    let connected = timeout(limits.connect, async {
        let stream = connect(request).await?;
        trust.encrypt(stream, request.config, &request.server()).await
    });
    let stream = connected.await.map_err(|_| request.slow("connection", limits.connect))??;
    let answered = timeout(limits.head, async {
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| request.failed(&error))?;
        let connection = ConnectionTask(tokio::spawn(async move { drop(connection.await) }).abort_handle());
        let response = sender.send_request(build(request, token)?).await;
        Ok((response.map_err(|error| request.failed(&chain(&error)))?, connection))
    });
    let (response, connection) = answered.await.map_err(|_| request.slow("response", limits.head))??;
    let (head, body) = response.into_parts();
    Ok(ApiResponse { code: head.status, headers: head.headers, body, _connection: connection })
}

async fn connect(request: &Request<'_>) -> Result<TcpStream, KubeError> {
    let Config { host, port, .. } = request.config;
    let connected = match host.parse::<IpAddr>() {
        Ok(address) => TcpStream::connect((address, *port)).await,
        Err(_) => TcpStream::connect((host.as_str(), *port)).await,
    };
    connected.map_err(|error| KubeError::Connect {
        server: request.server(),
        why: crate::config::described(&error),
    })
}

fn build(request: &Request<'_>, token: &str) -> Result<hyper::Request<Empty<Bytes>>, KubeError> {
    let mut build = hyper::Request::new(Empty::new());
    *build.uri_mut() = request.target.parse().map_err(|error| request.failed(&error))?;
    let headers = build.headers_mut();
    let host = HeaderValue::from_str(&request.server()).map_err(|error| request.failed(&error))?;
    let mut token =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| request.failed(&error))?;
    // Keeps the token out of debug output.
    token.set_sensitive(true);
    headers.insert(HOST, host);
    headers.insert(AUTHORIZATION, token);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    Ok(build)
}

impl ApiResponse {
    /// Reads the next chunk of the body; `None` at the end. Cancel-safe.
    pub(crate) async fn piece(&mut self, request: &Request<'_>) -> Result<Option<Bytes>, KubeError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| request.failed(&chain(&error)))?;
            // Trailers are ignored.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Reads the complete body, of at most `most` bytes, within `limit`.
    pub(crate) async fn read_all(
        &mut self,
        request: &Request<'_>,
        most: usize,
        limit: Duration,
    ) -> Result<Vec<u8>, KubeError> {
        let (body, cut) = self.read_up_to(request, most, limit).await?;
        if cut { Err(request.long("the body", most)) } else { Ok(body) }
    }

    /// Reads at most `most` bytes of the body. Returns whether there is more.
    pub(crate) async fn read_up_to(
        &mut self,
        request: &Request<'_>,
        most: usize,
        limit: Duration,
    ) -> Result<(Vec<u8>, bool), KubeError> {
        let read = async {
            let mut body = Vec::new();
            while let Some(piece) = self.piece(request).await? {
                let room = most - body.len();
                if piece.len() > room {
                    body.extend_from_slice(&piece[..room]);
                    return Ok((body, true));
                }
                body.extend_from_slice(&piece);
            }
            Ok((body, false))
        };
        timeout(limit, read).await.map_err(|_| request.slow("complete response", limit))?
    }
}

/// Formats an error with its cause, which hyper omits.
fn chain(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
