//! One request and its answer, on a connection of its own, within limits of time and size.

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

/// The most that is read of the head of an answer.
const MOST_HEAD: usize = 64 << 10;
/// The server's audit log shows who has asked.
const WHO: &str = concat!("sexton/", env!("CARGO_PKG_VERSION"));

/// What is asked, and what an error has to name.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Path and query.
    pub(crate) target: String,
    /// The verb of the permission that it needs.
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
        KubeError::Slow { server: self.server(), request: self.target.clone(), what, limit }
    }

    pub(crate) fn malformed(&self, why: &impl ToString, bytes: &[u8]) -> KubeError {
        let beginning = crate::names::told(&String::from_utf8_lossy(&bytes[..bytes.len().min(400)]));
        KubeError::Malformed { request: self.target.clone(), why: why.to_string(), beginning }
    }

    pub(crate) fn long(&self, what: &'static str, limit: usize) -> KubeError {
        KubeError::Long { request: self.target.clone(), what, limit }
    }
}

/// An answer of which the body is still to come. Whoever drops it closes the connection.
pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    _connection: Driven,
}

/// The connection is driven by a task of its own, which ends with whoever reads the answer.
struct Driven(AbortHandle);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends a request and waits for the head of its answer.
pub(crate) async fn ask(
    request: &Request<'_>,
    token: &str,
    trust: &Trust,
    limits: &Limits,
) -> Result<Answer, KubeError> {
    let connected = timeout(limits.connect, async {
        let stream = connect(request).await?;
        trust.encrypt(stream, request.config, &request.server()).await
    });
    let stream = connected.await.map_err(|_| request.slow("connection", limits.connect))??;
    let answered = timeout(limits.head, async {
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MOST_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| request.failed(&error))?;
        let connection = Driven(tokio::spawn(async move { drop(connection.await) }).abort_handle());
        let answer = sender.send_request(composed(request, token)?).await;
        Ok((answer.map_err(|error| request.failed(&chain(&error)))?, connection))
    });
    let (answer, connection) = answered.await.map_err(|_| request.slow("answer", limits.head))??;
    let (head, body) = answer.into_parts();
    Ok(Answer { code: head.status, headers: head.headers, body, _connection: connection })
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

fn composed(request: &Request<'_>, token: &str) -> Result<hyper::Request<Empty<Bytes>>, KubeError> {
    let mut composed = hyper::Request::new(Empty::new());
    *composed.uri_mut() = request.target.parse().map_err(|error| request.failed(&error))?;
    let headers = composed.headers_mut();
    let host = HeaderValue::from_str(&request.server()).map_err(|error| request.failed(&error))?;
    let mut token =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| request.failed(&error))?;
    // It is not shown by whoever prints headers.
    token.set_sensitive(true);
    headers.insert(HOST, host);
    headers.insert(AUTHORIZATION, token);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(WHO));
    Ok(composed)
}

impl Answer {
    /// The next piece of the body; `None` at its end. Nothing is lost when the wait is given up.
    pub(crate) async fn piece(&mut self, request: &Request<'_>) -> Result<Option<Bytes>, KubeError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| request.failed(&chain(&error)))?;
            // Trailers tell us nothing.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The whole body, if it is not longer than `most` and does not take longer than `limit`.
    pub(crate) async fn whole(
        &mut self,
        request: &Request<'_>,
        most: usize,
        limit: Duration,
    ) -> Result<Vec<u8>, KubeError> {
        let (whole, cut) = self.beginning(request, most, limit).await?;
        if cut { Err(request.long("the body", most)) } else { Ok(whole) }
    }

    /// What the body begins with, and whether there is more.
    pub(crate) async fn beginning(
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
        timeout(limit, read).await.map_err(|_| request.slow("whole answer", limit))?
    }
}

/// hyper tells the cause only when asked.
fn chain(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
