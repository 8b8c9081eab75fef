//! Asks a lock server.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ensemble::lock::Holder;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::probes::connect;
use crate::probes::http::Driven;
use net::tls::Stream;
use spec::probe::HttpCheck;

/// How long the lock is to last.
pub const TTL_HEADER: &str = "x-lease-ttl";
/// How long the server may wait for it to become free. Not known to the older tool's server, which answers at once.
pub const WAIT_HEADER: &str = "x-lease-wait";
/// The most that is read of the head of an answer, and of its body.
const MOST_HEAD: usize = 64 << 10;
const MOST_READ: usize = 64 << 20;
/// How much of what a holder says of itself is shown.
const SHOWN: usize = 200;

/// Where a lock server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl FromStr for Server {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let named = spec::text::without_login(url);
        Self::at(url, super::DEFAULT_PORT).map_err(|why| format!("'{named}' is no lock server: {why}"))
    }
}

impl Server {
    /// At a URL, which may leave out the port.
    pub fn at(url: &str, default: u16) -> Result<Self, String> {
        let HttpCheck { tls, host, port, path, .. } = HttpCheck::of_url(url)?;
        if tls {
            return Err("it speaks http, not https".to_owned());
        }
        if path != "/" {
            return Err("expected http://host:port without a path".to_owned());
        }
        let given = url.trim_end_matches('/').ends_with(&format!(":{port}"));
        Ok(Self { host, port: if given { port } else { default } })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The name of the lock.
    pub key: String,
    /// Who wants it.
    #[serde(flatten)]
    pub holder: Holder,
}

/// A lock that is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// By which it is kept alive.
    pub id: String,
    /// Higher than that of every holder before. 0: the server gives none.
    #[serde(default)]
    pub fence: u64,
}

/// A lock that is somebody else's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InUse {
    /// Whose.
    pub value: String,
    /// More of that.
    pub labels: BTreeMap<String, String>,
    /// Its number.
    pub fence: u64,
}

/// What a server says to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is ours.
    Granted(Granted),
    /// It is somebody else's.
    InUse(InUse),
}

#[derive(Debug, Serialize, Deserialize)]
struct Named<'a> {
    id: &'a str,
}

impl Server {
    /// Asks for a lock; the server may wait for it.
    pub async fn acquire(&self, claim: &Claim, ttl: Duration, wait: Duration) -> Result<Reply, String> {
        let body = serde_json::to_vec(claim).map_err(|error| error.to_string())?;
        let headers = [(TTL_HEADER, format!("{ttl:?}")), (WAIT_HEADER, format!("{wait:?}"))];
        let (code, answer) = self.exchange(Method::POST, "/lease", &headers, body).await?;
        parse_reply(code, &answer).unwrap_or_else(|| Err(self.unexpected(code, &answer)))
    }

    /// Says that we are alive. False: it is not ours any more.
    pub async fn keep_alive(&self, id: &str) -> Result<bool, String> {
        let body = serde_json::to_vec(&Named { id }).map_err(|error| error.to_string())?;
        let (code, answer) = self.exchange(Method::POST, "/keepalive", &[], body).await?;
        match code {
            StatusCode::OK => Ok(true),
            StatusCode::NO_CONTENT => Ok(false),
            code => Err(self.unexpected(code, &answer)),
        }
    }

    /// Gives it back. A server that does not know how lets it lapse.
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

    /// All that are held.
    pub async fn list(&self) -> Result<serde_json::Value, String> {
        let (code, answer) = self.exchange(Method::GET, "/v1/locks", &[], Vec::new()).await?;
        if code != StatusCode::OK {
            return Err(self.unexpected(code, &answer));
        }
        serde_json::from_slice(&answer).map_err(|error| format!("{self}: no JSON: {error}"))
    }

    fn unexpected(&self, code: StatusCode, answer: &[u8]) -> String {
        let text = String::from_utf8_lossy(&answer[..answer.len().min(200)]);
        format!("the lock server {self} answers HTTP {} {}", code.as_u16(), spec::text::one_line(text.trim()))
    }

    /// One request and its answer, on a connection of its own.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), String> {
        let failed = |why: &dyn fmt::Display| format!("{self} does not answer: {why}");
        let stream = connect(&self.host, self.port).await.map_err(|problem| failed(&problem))?;
        exchange(stream, self, method, path, headers, body).await.map_err(|error| failed(&error))
    }

    /// As it stands in URLs.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }
}

/// An answer whose body is still to come, and the connection that it comes on.
pub(crate) struct Answering {
    pub(crate) code: StatusCode,
    pub(crate) body: Incoming,
    _driven: Driven,
}

/// One request and its answer, on this connection.
pub(crate) async fn exchange(
    stream: impl Stream + 'static,
    server: &Server,
    method: Method,
    path: &str,
    headers: &[(&'static str, String)],
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), String> {
    let answer = send(stream, server, method, path, headers, body).await?;
    let body = Limited::new(answer.body, MOST_READ).collect().await;
    Ok((answer.code, body.map_err(|error| error.to_string())?.to_bytes()))
}

/// The same, and the body is read by whoever asks.
pub(crate) async fn send(
    stream: impl Stream + 'static,
    server: &Server,
    method: Method,
    path: &str,
    headers: &[(&'static str, String)],
    body: Vec<u8>,
) -> Result<Answering, String> {
    fn failed(error: &dyn fmt::Display) -> String {
        error.to_string()
    }
    let handshake = http1::Builder::new().max_buf_size(MOST_HEAD).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
    let driven = Driven(tokio::spawn(async move { drop(connection.await) }).abort_handle());
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|error| failed(&error))?;
    let host = HeaderValue::from_str(&server.authority()).map_err(|error| failed(&error))?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).map_err(|error| failed(&error))?;
        request.headers_mut().insert(*name, value);
    }
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    Ok(Answering { code: answer.status(), body: answer.into_body(), _driven: driven })
}

/// What somebody says of himself, for people: one line, and not endless.
#[must_use]
pub fn shown(text: &str) -> String {
    spec::text::one_line(text).chars().take(SHOWN).collect()
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

/// Its id as JSON, or as it is: the older tool's server may say it so.
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
        return Err("the lock server granted the lock and gave no id that we understand".to_owned());
    }
    Ok(granted)
}

/// Within a limit of time.
pub async fn within<T>(limit: Duration, asked: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(limit, asked).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_url_without_a_path() {
        for (url, expected) in [
            ("http://localhost:8191", Ok("http://localhost:8191")),
            ("http://locks/", Ok("http://locks:8191")),
            ("http://[::1]:1", Ok("http://[::1]:1")),
            ("http://locks:80", Ok("http://locks:80")),
            ("https://locks", Err("http, not https")),
            ("http://locks/a", Err("without a path")),
            ("locks", Err("no lock server")),
            ("http://u:pass@locks/x", Err("'http://(hidden)@locks/x'")),
        ] {
            match (url.parse::<Server>(), expected) {
                (Ok(server), Ok(shown)) => assert_eq!(server.to_string(), shown),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (other, _) => panic!("{url}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_id_is_understood_in_several_forms() {
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
