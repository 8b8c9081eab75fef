//! HTTP requests with the kubelet's semantics (`pkg/probe/http` of Kubernetes 1.32): GET, 200 to 399 pass, at most
//! 10 KiB of the response are read, connections are not reused. At most ten redirects to the same host are followed;
//! a redirect to another host passes.

use hyper::header::{ACCEPT, CONNECTION, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Uri};
use net::http_client::{HttpError, HttpRequest};
use net::tls::Stream;

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

async fn exchange(
    stream: impl Stream + 'static,
    method: Method,
    check: &HttpCheck,
) -> Result<(u16, Vec<u8>, Option<String>), Problem> {
    let failed = |error: HttpError| Problem::Failed(format!("no HTTP response: {error}"));
    let host = if check.host.contains(':') { format!("[{}]", check.host) } else { check.host.clone() };
    let authority = format!("{host}:{}", check.port);
    let mut message = HttpRequest::new(method, &authority, &check.path);
    message.headers = headers(check);
    let mut response = net::http_client::send(stream, message).await.map_err(failed)?;
    let location = response.headers.get(LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned);
    // An incomplete body is accepted.
    let mut body = Vec::new();
    while body.len() < MAX_READ
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(MAX_READ);
    Ok((response.status.as_u16(), body, location))
}

fn headers(check: &HttpCheck) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = vec![
        (USER_AGENT, HeaderValue::from_static(AGENT)),
        (ACCEPT, HeaderValue::from_static("*/*")),
        (CONNECTION, HeaderValue::from_static("close")),
    ];
    headers.extend(check.headers.iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    }));
    headers
}
