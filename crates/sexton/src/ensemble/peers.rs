//! Clients for other pods of the ensemble: HTTP or ZeroRPC, plain or over TLS.

use spec::ensemble::Peer;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::Value as Json;
use zerorpc::{CallError, Client, Value};

use super::rpc;
use crate::locks::client::{exchange, send, within};
use crate::probes::connect;
use net::tls::{Connector, Stream};
use spec::text::one_line;
use spec::tls::TlsFiles;

/// Time limit until a response starts.
const RESPONSE_LIMIT: Duration = Duration::from_secs(30);
/// Maximum size of a ZeroRPC response, in bytes: output of a command may triple when converted to text.
const MAX_RESPONSE: usize = 4 << 20;

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
        files: TlsFiles,
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
        let failed = |why: &dyn fmt::Display| format!("request to {peer} failed: {why}");
        let token =
            self.token.iter().map(|token| ("authorization", format!("Bearer {token}"))).collect::<Vec<_>>();
        let stream = self.connect(peer).await.map_err(|error| failed(&error))?;
        let (code, answer) =
            exchange(stream, &peer.at, method, path, &token, body).await.map_err(|error| failed(&error))?;
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
        let sent = async {
            send(stream, &peer.at, Method::GET, path, &[], Vec::new())
                .await
                .map_err(|error| error.to_string())
        };
        let answer = within(RESPONSE_LIMIT, sent).await;
        let mut answer = answer.map_err(|why| failed(&why))?;
        if answer.status != StatusCode::OK {
            return Err(format!("{peer}: HTTP {}", answer.status.as_u16()));
        }
        while let Some(data) = answer.chunk().await.map_err(|error| failed(&error))? {
            if !line(&data) {
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
