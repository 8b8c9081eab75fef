//! Clients for other pods of the ensemble: HTTP or ZeroRPC, plain or over TLS.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::{Method, StatusCode};
use serde_json::Value as Json;
use zerorpc::{CallError, Client, Value};

use super::plan::DEFAULT_PORT;
use super::rpc;
use crate::locks::client::{Server, exchange, send, within};
use crate::probes::connect;
use net::tls::{Connector, Stream};
use spec::text::one_line;
use spec::tls::Files;

/// Time limit until a response starts.
const RESPONSE_LIMIT: Duration = Duration::from_secs(30);
/// Maximum size of a ZeroRPC response, in bytes: output of a command may triple when converted to text.
const MAX_RESPONSE: usize = 4 << 20;

/// The protocol of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
    /// ZeroRPC over ZeroMQ.
    ZeroRpc,
    /// ZeroRPC over ZeroMQ and TLS.
    ZeroRpcs,
}

impl Scheme {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Http, "http"),
        (Self::Https, "https"),
        (Self::ZeroRpc, "zerorpc"),
        (Self::ZeroRpcs, "zerorpcs"),
    ];

    /// Returns whether the connection uses TLS.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::Https | Self::ZeroRpcs)
    }

    const fn is_rpc(self) -> bool {
        matches!(self, Self::ZeroRpc | Self::ZeroRpcs)
    }
}

/// Another pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub scheme: Scheme,
    /// Host and port.
    pub at: Server,
}

impl FromStr for Peer {
    type Err = String;

    /// Parses `host` or `host:port`, optionally after `http://`, `https://`, `zerorpc://` or `zerorpcs://`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let found = Scheme::ALL.into_iter().find(|(_, name)| *name == scheme);
        let (scheme, _) = found.ok_or_else(|| {
            format!("unknown protocol '{scheme}': expected http, https, zerorpc or zerorpcs")
        })?;
        Ok(Self { scheme, at: Server::at(&format!("http://{rest}"), DEFAULT_PORT)? })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Scheme::ALL.into_iter().find(|(scheme, _)| *scheme == self.scheme);
        write!(f, "{}://{}", name.map_or("http", |(_, name)| name), self.at.authority())
    }
}

/// Connects to peers, with the credentials of this pod.
#[derive(Debug, Clone, Default)]
pub struct Dialer {
    /// Set if any peer uses TLS.
    pub tls: Option<Arc<Connector>>,
    /// Sent with each request.
    pub token: Option<Arc<str>>,
}

impl Dialer {
    /// Creates a dialer; the TLS files are read only if a peer uses TLS.
    pub fn new<'a>(
        peers: impl IntoIterator<Item = &'a Peer>,
        files: Files,
        token: Option<Arc<str>>,
    ) -> Result<Self, String> {
        let encrypted = peers.into_iter().any(|peer| peer.scheme.is_encrypted());
        let tls = encrypted.then(|| Connector::new(files)).transpose()?.map(Arc::new);
        Ok(Self { tls, token })
    }

    async fn connect(&self, peer: &Peer) -> Result<Box<dyn Stream>, String> {
        let stream = connect(&peer.at.host, peer.at.port).await.map_err(|problem| problem.to_string())?;
        match &self.tls {
            _ if !peer.scheme.is_encrypted() => Ok(Box::new(stream)),
            Some(tls) => Ok(Box::new(tls.connect(&peer.at.host, stream).await?)),
            None => Err("TLS is not configured".to_owned()),
        }
    }

    /// Sends an HTTP request.
    pub async fn http_request(
        &self,
        peer: &Peer,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, String), String> {
        let failed = |why: String| format!("request to {peer} failed: {why}");
        let token =
            self.token.iter().map(|token| ("authorization", format!("Bearer {token}"))).collect::<Vec<_>>();
        let stream = self.connect(peer).await.map_err(failed)?;
        let (code, answer) = exchange(stream, &peer.at, method, path, &token, body).await.map_err(failed)?;
        Ok((code, String::from_utf8_lossy(&answer).into_owned()))
    }

    /// Calls a ZeroRPC method with a JSON argument.
    pub async fn call(&self, peer: &Peer, method: &str, request: &[u8]) -> Result<String, String> {
        let failed = |why: &dyn fmt::Display| format!("request to {peer} failed: {why}");
        let stream = self.connect(peer).await.map_err(|why| failed(&why))?;
        let mut client = Client::connect(stream, MAX_RESPONSE).await.map_err(|error| failed(&error))?;
        let header = self.token.iter().map(|token| (rpc::TOKEN.into(), Value::from(&**token))).collect();
        let args = vec![String::from_utf8_lossy(request).into_owned().into()];
        let mut replies = client.request(method, args, header).await.map_err(|error| failed(&error))?;
        match replies.next().await {
            Ok(Some(Value::String(text))) => Ok(text.into_str().unwrap_or_default()),
            Ok(other) => Ok(other.map(|value| value.to_string()).unwrap_or_default()),
            Err(CallError::Fault(fault)) => Err(format!("{peer}: {}", one_line(&fault.to_string()))),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Passes the recent events of a pod to `line`, and with `follow` also new ones, until `line` returns false.
    pub async fn events(
        &self,
        peer: &Peer,
        follow: bool,
        mut line: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), String> {
        let failed = |why: &dyn fmt::Display| format!("request to {peer} failed: {why}");
        let stream = within(RESPONSE_LIMIT, self.connect(peer)).await.map_err(|why| failed(&why))?;
        if peer.scheme.is_rpc() {
            let mut client = Client::connect(stream, MAX_RESPONSE).await.map_err(|error| failed(&error))?;
            let args = vec![follow.into()];
            let mut replies =
                client.request("events", args, Vec::new()).await.map_err(|error| failed(&error))?;
            while let Some(value) = replies.next().await.map_err(|error| failed(&error))? {
                if !line(format!("{}\n", value.as_str().unwrap_or_default()).as_bytes()) {
                    break;
                }
            }
            return Ok(());
        }
        let path = if follow { "/v1/events?follow" } else { "/v1/events" };
        let sent = send(stream, &peer.at, Method::GET, path, &[], Vec::new());
        let answer = within(RESPONSE_LIMIT, sent).await;
        let mut answer = answer.map_err(|why| failed(&why))?;
        if answer.code != StatusCode::OK {
            return Err(format!("{peer}: HTTP {}", answer.code.as_u16()));
        }
        while let Some(frame) = answer.body.frame().await {
            let frame = frame.map_err(|error| failed(&error))?;
            if frame.data_ref().is_some_and(|data| !line(data)) {
                break;
            }
        }
        Ok(())
    }

    /// Sends a keepalive to a master.
    pub async fn ping(&self, peer: &Peer, keepalive: Vec<u8>) -> Result<(), String> {
        if peer.scheme.is_rpc() {
            return self.call(peer, "ping", &keepalive).await.map(drop);
        }
        match self.http_request(peer, Method::PUT, "/ping", keepalive).await? {
            (StatusCode::OK, _) => Ok(()),
            (code, answer) => Err(format!("{peer}: HTTP {}: {}", code.as_u16(), one_line(answer.trim()))),
        }
    }

    /// Runs a command on a pod and returns its output.
    pub async fn invoke(&self, peer: &Peer, command: &str) -> Result<String, String> {
        let request = serde_json::json!({"cmd": command}).to_string().into_bytes();
        if peer.scheme.is_rpc() {
            return self.call(peer, "invoke", &request).await;
        }
        body_of(peer, self.http_request(peer, Method::PUT, "/script", request).await?)
    }

    /// Returns the response of a pod to a GET request.
    pub async fn get(&self, peer: &Peer, path: &str) -> Result<String, String> {
        if peer.scheme.is_rpc() {
            return Err(format!("{peer}: ZeroRPC has only invoke and events: use http"));
        }
        body_of(peer, self.http_request(peer, Method::GET, path, Vec::new()).await?)
    }
}

fn body_of(peer: &Peer, (code, text): (StatusCode, String)) -> Result<String, String> {
    if code == StatusCode::OK {
        return Ok(text);
    }
    // The reason, if the body is JSON.
    let parsed: Option<Json> = serde_json::from_str(&text).ok();
    let why = parsed.as_ref().and_then(|json| json["error"].as_str()).unwrap_or(text.trim());
    Err(format!("{peer}: HTTP {}: {}", code.as_u16(), one_line(why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_peers_with_and_without_port_and_protocol() {
        for (text, expected) in [
            ("a", Ok("http://a:8000")),
            ("a:1", Ok("http://a:1")),
            ("https://a", Ok("https://a:8000")),
            ("zerorpc://[::1]:7", Ok("zerorpc://[::1]:7")),
            ("zerorpcs://a", Ok("zerorpcs://a:8000")),
            ("tcp://a", Err("expected http, https, zerorpc")),
            ("https://a/b", Err("without a path")),
        ] {
            match (text.parse::<Peer>(), expected) {
                (Ok(peer), Ok(shown)) => assert_eq!(peer.to_string(), shown),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
    }
}
