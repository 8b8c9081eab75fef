//! A request that is answered, with the kubelet's semantics (`pkg/probe/http` of Kubernetes 1.32):
//! GET, 200 to 399 pass, 10 KiB of the answer are read at most, no connection is kept. A redirect to the same host
//! is followed, ten times at most; one to another host passes.

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;

use super::{Checked, MOST_READ, Problem, connect, told};
use spec::probe::HttpCheck;

/// The most redirects that are followed.
const MOST_REDIRECTS: usize = 10;
/// The kubelet says `kube-probe/1.32`; servers that know it treat us like it.
const WHO: &str = concat!("kube-probe/1.32 sexton/", env!("CARGO_PKG_VERSION"));

/// Whether the answer is 200 to 399.
pub(crate) async fn passes(check: &HttpCheck) -> Checked {
    let mut check = check.clone();
    for _ in 0..=MOST_REDIRECTS {
        let (code, body, location) = ask(Method::GET, &check).await?;
        match code {
            301 | 302 | 303 | 307 | 308 => match location.as_deref().and_then(|to| redirected(&check, to)) {
                Some(next) => check = next,
                // To another host, or to nowhere: whoever redirects is there.
                None => return Ok(()),
            },
            200..400 => return Ok(()),
            _ => return Err(Problem::Failed(format!("HTTP {code}{}", told(&body)))),
        }
    }
    Err(Problem::Failed(format!("more than {MOST_REDIRECTS} redirects")))
}

/// Whether there is an answer.
pub(super) async fn answers(check: &HttpCheck) -> Checked {
    ask(Method::GET, check).await.map(drop)
}

/// Whether a POST is answered with 200 to 399.
pub(crate) async fn post(check: &HttpCheck) -> Checked {
    match ask(Method::POST, check).await? {
        (200..400, ..) => Ok(()),
        (code, body, _) => Err(Problem::Failed(format!("HTTP {code}{}", told(&body)))),
    }
}

/// Where a redirect leads, if it is to the same host.
fn redirected(check: &HttpCheck, to: &str) -> Option<HttpCheck> {
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

async fn ask(method: Method, check: &HttpCheck) -> Result<(u16, Vec<u8>, Option<String>), Problem> {
    let stream = connect(&check.host, check.port).await?;
    if check.tls {
        exchange(super::encrypt(stream, &check.host).await?, method, check).await
    } else {
        exchange(stream, method, check).await
    }
}

/// The connection is driven by a task of its own, which ends with whoever waits for the answer.
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
    let failed = |error: hyper::Error| Problem::Failed(format!("no HTTP answer: {error}"));
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(64 << 10).handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let _driven = Driven(tokio::spawn(async move { drop(connection.await) }).abort_handle());
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = method;
    *request.uri_mut() =
        check.path.parse().map_err(|_| Problem::Failed(format!("no path: {}", check.path)))?;
    fill(request.headers_mut(), check);
    let answer = sender.send_request(request).await.map_err(failed)?;
    let code = answer.status().as_u16();
    let location = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned);
    Ok((code, beginning(answer).await, location))
}

fn fill(headers: &mut HeaderMap, check: &HttpCheck) {
    headers.insert(USER_AGENT, HeaderValue::from_static(WHO));
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

/// What is read of an answer. One that breaks off is an answer all the same.
async fn beginning(mut answer: Response<Incoming>) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < MOST_READ
        && let Some(Ok(frame)) = answer.frame().await
    {
        body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    body.truncate(MOST_READ);
    body
}
