//! The client of a lock server.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use ensemble::lock::Holder;
use hyper::header::{CONTENT_TYPE, HeaderName};
use hyper::{Method, StatusCode};
use net::http_client::{HttpError, HttpRequest, HttpResponse};
use net::tls::Stream;
use serde::{Deserialize, Serialize};
use spec::lock::HttpAddress;
use spec::text::{describe, one_line};
use tokio::time::timeout;

/// The time to live that is requested.
pub const TTL_HEADER: &str = "x-lease-ttl";
/// How long the server may wait for the lock to become free. The older tool's server does not know it and answers at once.
pub const WAIT_HEADER: &str = "x-lease-wait";
/// The largest body of a response, in bytes.
const MAX_BODY: usize = 64 << 20;
/// How much of a holder's description is shown, in characters.
const MAX_SHOWN: usize = 200;

/// A request for a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The name of the lock.
    pub key: String,
    /// The holder.
    #[serde(flatten)]
    pub holder: Holder,
}

/// A granted lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The lease.
    pub id: String,
    /// The fencing token: higher than that of each earlier holder; 0 if the server assigns none.
    #[serde(default)]
    pub fence: u64,
}

/// A lock that has another holder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InUse {
    /// The holder.
    pub value: String,
    /// The holder's labels.
    pub labels: BTreeMap<String, String>,
    /// The holder's fencing token.
    pub fence: u64,
}

/// The reply to a request for a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Granted(Granted),
    InUse(InUse),
}

#[derive(Debug, Serialize, Deserialize)]
struct LeaseBody<'a> {
    id: &'a str,
}

/// A client of a lock server; each request has a connection of its own.
#[derive(Debug, Clone)]
pub struct LockClient(pub HttpAddress);

impl LockClient {
    /// Requests a lock; the server may wait for it to become free.
    pub async fn acquire(&self, claim: &Claim, ttl: Duration, wait: Duration) -> Result<Reply, String> {
        let body = serde_json::to_vec(claim).map_err(|error| error.to_string())?;
        let headers = [(TTL_HEADER, format!("{ttl:?}")), (WAIT_HEADER, format!("{wait:?}"))];
        let (code, answer) = self.exchange(Method::POST, "/lease", &headers, body).await?;
        parse_reply(code, &answer).unwrap_or_else(|| Err(self.unexpected(code, &answer)))
    }

    /// Renews a lease. False: there is no such lease any more.
    pub async fn keep_alive(&self, id: &str) -> Result<bool, String> {
        let body = serde_json::to_vec(&LeaseBody { id }).map_err(|error| error.to_string())?;
        let (code, answer) = self.exchange(Method::POST, "/keepalive", &[], body).await?;
        match code {
            StatusCode::OK => Ok(true),
            StatusCode::NO_CONTENT => Ok(false),
            code => Err(self.unexpected(code, &answer)),
        }
    }

    /// Releases a lease. A server without that request lets it expire.
    pub async fn release(&self, id: &str) -> Result<(), String> {
        let (code, answer) = self.exchange(Method::DELETE, &format!("/lease/{id}"), &[], Vec::new()).await?;
        match code {
            StatusCode::OK
            | StatusCode::NO_CONTENT
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED => Ok(()),
            code => Err(self.unexpected(code, &answer)),
        }
    }

    /// Lists the locks that are held.
    pub async fn list(&self) -> Result<serde_json::Value, String> {
        let (code, answer) = self.exchange(Method::GET, "/v1/locks", &[], Vec::new()).await?;
        if code != StatusCode::OK {
            return Err(self.unexpected(code, &answer));
        }
        serde_json::from_slice(&answer).map_err(|error| format!("{}: invalid JSON: {error}", self.0))
    }

    fn unexpected(&self, code: StatusCode, answer: &[u8]) -> String {
        let text = String::from_utf8_lossy(&answer[..answer.len().min(200)]);
        format!("the lock server {} responded with HTTP {} {}", self.0, code.as_u16(), one_line(text.trim()))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let failed = |why: &dyn Display| format!("{} does not respond: {why}", self.0);
        let HttpAddress { host, port } = &self.0;
        let stream = net::connect::connect(host, *port).await;
        let stream = stream.map_err(|error| failed(&format_args!("{host}:{port}: {}", describe(&error))))?;
        exchange(stream, &self.0, method, path, headers, body).await.map_err(|error| failed(&error))
    }
}

/// Sends a request with a JSON body, and reads the complete response.
pub(crate) async fn exchange(
    stream: impl Stream + 'static,
    server: &HttpAddress,
    method: Method,
    path: &str,
    headers: &[(&'static str, String)],
    body: Vec<u8>,
) -> Result<(StatusCode, Vec<u8>), HttpError> {
    let mut response = send(stream, server, method, path, headers, body).await?;
    let body = response.body(MAX_BODY).await?;
    Ok((response.status, body))
}

/// Sends a request with a JSON body.
pub(crate) async fn send(
    stream: impl Stream + 'static,
    server: &HttpAddress,
    method: Method,
    path: &str,
    headers: &[(&'static str, String)],
    body: Vec<u8>,
) -> Result<HttpResponse, HttpError> {
    let authority = server.authority();
    let mut request = HttpRequest::new(method, &authority, path).header(CONTENT_TYPE, "application/json")?;
    for (name, value) in headers {
        request = request.header(HeaderName::from_static(name), value)?;
    }
    request.body = body;
    net::http_client::send(stream, request).await
}

/// A holder's description of itself, on one line and of limited length.
#[must_use]
pub fn shown(text: &str) -> String {
    one_line(text).chars().take(MAX_SHOWN).collect()
}

/// Parses the response to a claim; None: the status code is not one of a lock server.
pub fn parse_reply(code: StatusCode, body: &[u8]) -> Option<Result<Reply, String>> {
    match code {
        StatusCode::CREATED => Some(granted(body).map(Reply::Granted)),
        StatusCode::ACCEPTED => {
            let mut by: InUse = serde_json::from_slice(body).unwrap_or_default();
            by.value = shown(&by.value);
            Some(Ok(Reply::InUse(by)))
        }
        _ => None,
    }
}

/// Parses a grant: JSON with an id, a JSON number or string, or plain text, as the older tool's server may send it.
fn granted(answer: &[u8]) -> Result<Granted, String> {
    if let Ok(granted) = serde_json::from_slice::<Granted>(answer) {
        return check_id(granted);
    }
    let id = match serde_json::from_slice::<serde_json::Value>(answer) {
        Ok(serde_json::Value::Number(number)) => number.to_string(),
        Ok(serde_json::Value::String(text)) => text,
        Ok(_) => String::new(),
        Err(_) => String::from_utf8_lossy(answer).trim().to_owned(),
    };
    check_id(Granted { id, fence: 0 })
}

fn check_id(granted: Granted) -> Result<Granted, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if granted.id.is_empty() || granted.id.len() > 128 || !granted.id.chars().all(plain) {
        return Err("the lock server granted the lock without a valid id".to_owned());
    }
    Ok(granted)
}

/// The result of a request, or an error after `limit`.
pub async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    timeout(limit, request).await.unwrap_or_else(|_| Err(format!("no response within {limit:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_an_id_in_several_forms() {
        let id = |answer: &str| granted(answer.as_bytes()).map(|granted| (granted.id, granted.fence)).ok();
        assert_eq!(id(r#"{"id": "00ab", "fence": 7, "key": "x"}"#), Some(("00ab".to_owned(), 7)));
        assert_eq!(id("7587862094"), Some(("7587862094".to_owned(), 0)));
        assert_eq!(id("\"abc\""), Some(("abc".to_owned(), 0)));
        assert_eq!(id("abc\n"), Some(("abc".to_owned(), 0)));
        for answer in ["", "{}", "a b", "../x", "[1]"] {
            assert_eq!(id(answer), None, "{answer}");
        }
    }
}
