//! HTTP requests with the kubelet's semantics (`pkg/probe/http` of Kubernetes 1.32): GET, 200 to 399 pass, at most
//! 10 KiB of the response are read, connections are not reused. At most ten redirects to the same host are followed;
//! a redirect to another host passes.

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;

use super::{Checked, MAX_READ, Problem, connect, excerpt};
use spec::probe::HttpCheck;

/// The maximum number of redirects.
const MAX_REDIRECTS: usize = 10;
/// Starts like the kubelet's user agent, so that servers which recognize it treat sexton alike.
const AGENT: &str = concat!("kube-probe/1.32 sexton/", env!("CARGO_PKG_VERSION"));

/// Passes if the status is 200 to 399.
pub(crate) async fn passes(check: &HttpCheck) -> Checked {
    let mut check = check.clone();
    for _ in 0..=MAX_REDIRECTS {
        let (code, body, location) = request(Method::GET, &check).await?;
        match code {
            301 | 302 | 303 | 307 | 308 => {
                match location.as_deref().and_then(|to| redirect_target(&check, to)) {
                    Some(next) => check = next,
                    // To another host, or invalid: passes, as in the kubelet.
                    None => return Ok(()),
                }
            }
            200..400 => return Ok(()),
            _ => return Err(Problem::Failed(format!("HTTP {code}{}", excerpt(&body)))),
        }
    }
    Err(Problem::Failed(format!("more than {MAX_REDIRECTS} redirects")))
}

/// Passes on any response.
pub(super) async fn answers(check: &HttpCheck) -> Checked {
    request(Method::GET, check).await.map(drop)
}

/// Sends a POST; passes if the status is 200 to 399.
pub(crate) async fn post(check: &HttpCheck) -> Checked {
    match request(Method::POST, check).await? {
        (200..400, ..) => Ok(()),
        (code, body, _) => Err(Problem::Failed(format!("HTTP {code}{}", excerpt(&body)))),
    }
}

/// The target of a redirect, if it is on the same host.
fn redirect_target(check: &HttpCheck, to: &str) -> Option<HttpCheck> {
    let uri: Uri = to.parse().ok()?;
    let Some(host) = uri.host() else {
        let path = if to.starts_with('/') {
            to.to_owned()
        } else {
            let directory = check.path.rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("{directory}/{to}")
        };
        return Some(HttpCheck { path, ..check.clone() });
    };
    if host.trim_matches(['[', ']']) != check.host {
        return None;
    }
    let tls = uri.scheme_str() == Some("https");
    Some(HttpCheck {
        tls,
        port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        ..check.clone()
    })
}

async fn request(method: Method, check: &HttpCheck) -> Result<(u16, Vec<u8>, Option<String>), Problem> {
    let stream = connect(&check.host, check.port).await?;
    if check.tls {
        exchange(super::encrypt(stream, &check.host).await?, method, check).await
    } else {
        exchange(stream, method, check).await
    }
}

/// The task that drives a connection; aborted when the response is no longer awaited.
pub(crate) struct Driven(pub(crate) AbortHandle);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    check: &HttpCheck,
) -> Result<(u16, Vec<u8>, Option<String>), Problem> {
    let failed = |error: hyper::Error| Problem::Failed(format!("no HTTP response: {error}"));
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(64 << 10).handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let _driven = Driven(tokio::spawn(async move { drop(connection.await) }).abort_handle());
    let mut message = Request::new(Empty::<Bytes>::new());
    *message.method_mut() = method;
    *message.uri_mut() =
        check.path.parse().map_err(|_| Problem::Failed(format!("invalid path: {}", check.path)))?;
    set_headers(message.headers_mut(), check);
    let answer = sender.send_request(message).await.map_err(failed)?;
    let code = answer.status().as_u16();
    let location = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned);
    Ok((code, read_start(answer).await, location))
}

fn set_headers(headers: &mut HeaderMap, check: &HttpCheck) {
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let host = if check.host.contains(':') { format!("[{}]", check.host) } else { check.host.clone() };
    if let Ok(host) = HeaderValue::from_str(&format!("{host}:{}", check.port)) {
        headers.insert(HOST, host);
    }
    for (name, value) in &check.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            headers.insert(name, value);
        }
    }
}

/// Reads the start of a response body. An incomplete body is accepted.
async fn read_start(mut answer: Response<Incoming>) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < MAX_READ
        && let Some(Ok(frame)) = answer.frame().await
    {
        body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    body.truncate(MAX_READ);
    body
}
