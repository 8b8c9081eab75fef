//! The HTTP client: one request and its response over a connected stream.
//!
//! A connection carries one request; there is no pool, no cookie and no proxy. Timeouts are the caller's, since a
//! future that is dropped closes its connection. Redirects are the caller's too.

use std::fmt;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use hyper::http::uri::InvalidUri;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use crate::tls::Stream;

/// Largest head of a response, in bytes.
const LARGEST_HEAD: usize = 64 << 10;

/// Why there is no response, or no complete one.
#[derive(Debug)]
pub enum HttpError {
    /// The path or a header cannot be sent.
    Invalid(String),
    /// The peer does not speak HTTP, or the connection broke.
    Exchange(hyper::Error),
    /// The body is longer than this many bytes.
    TooLong(usize),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => f.write_str(why),
            // hyper names the cause only as the source of the error.
            Self::Exchange(error) => match std::error::Error::source(error) {
                Some(cause) => write!(f, "{error}: {cause}"),
                None => write!(f, "{error}"),
            },
            Self::TooLong(limit) => write!(f, "the body is longer than {limit} bytes"),
        }
    }
}

impl std::error::Error for HttpError {}

impl From<hyper::Error> for HttpError {
    fn from(error: hyper::Error) -> Self {
        Self::Exchange(error)
    }
}

impl From<InvalidUri> for HttpError {
    fn from(error: InvalidUri) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<InvalidHeaderValue> for HttpError {
    fn from(error: InvalidHeaderValue) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// A task that drives a connection; it is aborted when this is dropped.
#[derive(Debug)]
pub struct ConnectionTask(AbortHandle);

impl ConnectionTask {
    /// Spawns it on the running event loop.
    pub fn spawn(connection: impl Future<Output = Result<(), hyper::Error>> + Send + 'static) -> Self {
        Self(tokio::spawn(async move { drop(connection.await) }).abort_handle())
    }
}

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A request. Its path holds the query; `Host` is set from `authority`.
#[derive(Debug)]
pub struct HttpRequest<'a> {
    /// The method.
    pub method: Method,
    /// Host and port, as in a URL.
    pub authority: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// Further headers; one named `Host` replaces the default.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body; empty for none.
    pub body: Vec<u8>,
}

impl<'a> HttpRequest<'a> {
    /// A request without further headers and without a body.
    #[must_use]
    pub const fn new(method: Method, authority: &'a str, path: &'a str) -> Self {
        Self { method, authority, path, headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header.
    ///
    /// # Errors
    ///
    /// The value holds a control character.
    pub fn header(mut self, name: HeaderName, value: &str) -> Result<Self, HttpError> {
        self.headers.push((name, HeaderValue::from_str(value)?));
        Ok(self)
    }
}

/// A response whose head was received. Dropping it closes the connection.
#[derive(Debug)]
pub struct HttpResponse {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    _task: ConnectionTask,
}

/// Sends a request and waits for the head of the response.
///
/// # Errors
///
/// The request is invalid, the peer does not speak HTTP/1.1, or the connection broke.
pub async fn send(
    stream: impl Stream + 'static,
    request: HttpRequest<'_>,
) -> Result<HttpResponse, HttpError> {
    let mut message = Request::new(Full::new(Bytes::from(request.body)));
    *message.method_mut() = request.method;
    *message.uri_mut() = request.path.parse()?;
    message.headers_mut().insert(HOST, HeaderValue::from_str(request.authority)?);
    for (name, value) in request.headers {
        message.headers_mut().insert(name, value);
    }
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(LARGEST_HEAD).handshake(TokioIo::new(stream)).await?;
    let task = ConnectionTask::spawn(connection);
    let (head, body) = sender.send_request(message).await?.into_parts();
    Ok(HttpResponse { status: head.status, headers: head.headers, body, _task: task })
}

impl HttpResponse {
    /// The next part of the body; `None` at its end. Cancelling the wait loses nothing.
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        while let Some(frame) = self.body.frame().await {
            // Trailers are ignored.
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The first `limit` bytes of the body, and whether there is more.
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub async fn prefix(&mut self, limit: usize) -> Result<(Vec<u8>, bool), HttpError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            let room = limit - body.len();
            if chunk.len() > room {
                body.extend_from_slice(&chunk[..room]);
                return Ok((body, true));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((body, false))
    }

    /// The complete body.
    ///
    /// # Errors
    ///
    /// It is longer than `limit` bytes, or the connection broke.
    pub async fn body(&mut self, limit: usize) -> Result<Vec<u8>, HttpError> {
        match self.prefix(limit).await? {
            (body, false) => Ok(body),
            (_, true) => Err(HttpError::TooLong(limit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// What a server received, and how the client saw its response.
    async fn exchanged(response: &'static [u8]) -> (String, Result<HttpResponse, HttpError>) {
        let (client, mut server) = duplex(1 << 16);
        let served = tokio::spawn(async move {
            let mut received = vec![0; 4096];
            let length = server.read(&mut received).await.unwrap_or(0);
            received.truncate(length);
            let _ = server.write_all(response).await;
            String::from_utf8_lossy(&received).into_owned()
        });
        let request = HttpRequest::new(Method::GET, "h:1", "/a?b").header(HeaderName::from_static("x"), "y");
        let response = match request {
            Ok(request) => send(client, request).await,
            Err(error) => Err(error),
        };
        (served.await.unwrap_or_default(), response)
    }

    #[tokio::test]
    async fn sends_the_request_and_reads_the_body_up_to_its_limit() -> Result<(), HttpError> {
        let (received, response) = exchanged(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        assert!(received.starts_with("GET /a?b HTTP/1.1\r\n"), "{received}");
        assert!(received.contains("host: h:1\r\n") && received.contains("x: y\r\n"), "{received}");
        assert_eq!(response?.body(5).await?, b"hello");
        let (_, response) = exchanged(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        assert!(matches!(response?.body(4).await, Err(HttpError::TooLong(4))));
        let (_, response) = exchanged(b"HTTP/1.1 500 No\r\ncontent-length: 5\r\n\r\nhello").await;
        let mut response = response?;
        assert_eq!((response.status.as_u16(), response.prefix(2).await?), (500, (b"he".to_vec(), true)));
        Ok(())
    }

    #[tokio::test]
    async fn reports_a_peer_that_does_not_speak_http_or_breaks_off() -> Result<(), HttpError> {
        let (_, response) = exchanged(b"SSH-2.0-x\r\n").await;
        assert!(matches!(response, Err(HttpError::Exchange(_))), "{response:?}");
        let (_, response) = exchanged(b"").await;
        assert!(matches!(response, Err(HttpError::Exchange(_))), "{response:?}");
        let (_, response) = exchanged(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello").await;
        assert!(matches!(response?.body(100).await, Err(HttpError::Exchange(_))));
        Ok(())
    }

    #[test]
    fn refuses_a_header_that_would_end_its_line() {
        let request =
            HttpRequest::new(Method::GET, "h", "/").header(HeaderName::from_static("x"), "a\r\nb: c");
        assert!(matches!(request, Err(HttpError::Invalid(_))));
    }
}
