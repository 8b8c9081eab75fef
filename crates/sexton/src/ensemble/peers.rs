//! Other pods of the ensemble, and how they are spoken to: HTTP or ZeroRPC, plain or encrypted.

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
use spec::tls::Files;

/// How long a pod may take to begin to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer by ZeroRPC: what a command prints may grow threefold when it is made text.
const LONGEST_ANSWER: usize = 4 << 20;

/// What we trust, and what we show.
#[derive(Debug, Clone, Default)]
pub struct Dialer {
    /// For those who are spoken to by TLS.
    pub tls: Option<Arc<Connector>>,
    /// Shown to whoever is asked.
    pub token: Option<Arc<str>>,
}

impl Dialer {
    /// With these files; and without them, if all that is spoken to is plain.
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
            None => Err("there is nothing by which to trust it".to_owned()),
        }
    }

    /// Asks for something by HTTP.
    pub async fn ask(
        &self,
        peer: &Peer,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, String), String> {
        let failed = |why: String| format!("{peer} does not answer: {why}");
        let token =
            self.token.iter().map(|token| ("authorization", format!("Bearer {token}"))).collect::<Vec<_>>();
        let stream = self.connect(peer).await.map_err(failed)?;
        let (code, answer) = exchange(stream, &peer.at, method, path, &token, body).await.map_err(failed)?;
        Ok((code, String::from_utf8_lossy(&answer).into_owned()))
    }

    /// Calls a method that takes JSON, by ZeroRPC.
    pub async fn call(&self, peer: &Peer, method: &str, request: &[u8]) -> Result<String, String> {
        let failed = |why: &dyn fmt::Display| format!("{peer} does not answer: {why}");
        let stream = self.connect(peer).await.map_err(|why| failed(&why))?;
        let mut client = Client::over(stream, LONGEST_ANSWER).await.map_err(|error| failed(&error))?;
        let header = self.token.iter().map(|token| (rpc::TOKEN.into(), Value::from(&**token))).collect();
        let args = vec![String::from_utf8_lossy(request).into_owned().into()];
        let mut replies = client.ask(method, args, header).await.map_err(|error| failed(&error))?;
        match replies.next().await {
            Ok(Some(Value::String(text))) => Ok(text.into_str().unwrap_or_default()),
            Ok(other) => Ok(other.map(|value| value.to_string()).unwrap_or_default()),
            Err(CallError::Fault(fault)) => Err(format!("{peer}: {}", one_line(&fault.to_string()))),
            Err(error) => Err(failed(&error)),
        }
    }

    /// What has happened at a pod, line by line, and what happens if it is to be followed; until that is not wanted any
    /// more.
    pub async fn events(
        &self,
        peer: &Peer,
        follow: bool,
        mut line: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), String> {
        let failed = |why: &dyn fmt::Display| format!("{peer} does not answer: {why}");
        let stream = within(PATIENCE, self.connect(peer)).await.map_err(|why| failed(&why))?;
        if peer.scheme.is_rpc() {
            let mut client = Client::over(stream, LONGEST_ANSWER).await.map_err(|error| failed(&error))?;
            let args = vec![follow.into()];
            let mut replies = client.ask("events", args, Vec::new()).await.map_err(|error| failed(&error))?;
            while let Some(value) = replies.next().await.map_err(|error| failed(&error))? {
                if !line(format!("{}\n", value.as_str().unwrap_or_default()).as_bytes()) {
                    break;
                }
            }
            return Ok(());
        }
        let path = if follow { "/v1/events?follow" } else { "/v1/events" };
        let sent = send(stream, &peer.at, Method::GET, path, &[], Vec::new());
        let answer = within(PATIENCE, sent).await;
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

    /// Tells a master that we are alive.
    pub async fn ping(&self, peer: &Peer, keepalive: Vec<u8>) -> Result<(), String> {
        if peer.scheme.is_rpc() {
            return self.call(peer, "ping", &keepalive).await.map(drop);
        }
        match self.ask(peer, Method::PUT, "/ping", keepalive).await? {
            (StatusCode::OK, _) => Ok(()),
            (code, answer) => Err(format!("{peer}: HTTP {}: {}", code.as_u16(), one_line(answer.trim()))),
        }
    }

    /// Has a pod run a command: what that prints.
    pub async fn invoke(&self, peer: &Peer, command: &str) -> Result<String, String> {
        let request = serde_json::json!({"cmd": command}).to_string().into_bytes();
        if peer.scheme.is_rpc() {
            return self.call(peer, "invoke", &request).await;
        }
        answered(peer, self.ask(peer, Method::PUT, "/script", request).await?)
    }

    /// What a pod tells at a path, as text.
    pub async fn get(&self, peer: &Peer, path: &str) -> Result<String, String> {
        if peer.scheme.is_rpc() {
            return Err(format!("{peer}: by ZeroRPC there are only invoke and events; ask by http"));
        }
        answered(peer, self.ask(peer, Method::GET, path, Vec::new()).await?)
    }
}

fn answered(peer: &Peer, (code, text): (StatusCode, String)) -> Result<String, String> {
    if code == StatusCode::OK {
        return Ok(text);
    }
    // What is said why, if it is JSON.
    let parsed: Option<Json> = serde_json::from_str(&text).ok();
    let why = parsed.as_ref().and_then(|json| json["error"].as_str()).unwrap_or(text.trim());
    Err(format!("{peer}: HTTP {}: {}", code.as_u16(), one_line(why)))
}
