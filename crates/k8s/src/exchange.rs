//! One request and its response, on its own connection, with limits of time and size.

use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, StatusCode};
use net::http_client::{HttpRequest, HttpResponse};
use tokio::time::timeout;

use crate::tls::Trust;
use crate::{Config, KubeError, Limits};

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
    response: HttpResponse,
}

/// Sends a request and waits for the head of the response.
pub(crate) async fn send(
    request: &Request<'_>,
    token: &str,
    trust: &Trust,
    limits: &Limits,
) -> Result<ApiResponse, KubeError> {
    let connected = timeout(limits.connect, async {
        let Config { host, port, .. } = request.config;
        let stream = net::connect::connect(host, *port).await.map_err(|error| KubeError::Connect {
            server: request.server(),
            why: spec::text::describe(&error),
        })?;
        trust.encrypt(stream, request.config, &request.server()).await
    });
    let stream = connected.await.map_err(|_| request.slow("connection", limits.connect))??;
    let server = request.server();
    let message = build(request, &server, token)?;
    let answered = timeout(limits.head, net::http_client::send(stream, message)).await;
    let response = answered.map_err(|_| request.slow("response", limits.head))?;
    let response = response.map_err(|error| request.failed(&error))?;
    Ok(ApiResponse { code: response.status, headers: response.headers.clone(), response })
}

fn build<'a>(request: &'a Request<'_>, server: &'a str, token: &str) -> Result<HttpRequest<'a>, KubeError> {
    let mut token =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| request.failed(&error))?;
    // Keeps the token out of debug output.
    token.set_sensitive(true);
    let mut message = HttpRequest::new(Method::GET, server, &request.target);
    message.headers = vec![
        (AUTHORIZATION, token),
        (ACCEPT, HeaderValue::from_static("application/json")),
        (USER_AGENT, HeaderValue::from_static(AGENT)),
    ];
    Ok(message)
}

impl ApiResponse {
    /// Reads the next chunk of the body; `None` at the end. Cancel-safe.
    pub(crate) async fn piece(&mut self, request: &Request<'_>) -> Result<Option<Bytes>, KubeError> {
        self.response.chunk().await.map_err(|error| request.failed(&error))
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
        let read = timeout(limit, self.response.prefix(most)).await;
        read.map_err(|_| request.slow("complete response", limit))?.map_err(|error| request.failed(&error))
    }
}
