//! The API over ZeroRPC, on the same port: `ping(json)` and `invoke(json)`, as in the older tool, and `events()`.
//!
//! The token is in the header `token` of a call, or in the JSON key `token`, for clients without headers.

use std::sync::Arc;

use ensemble::member;
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;
use zerorpc::{Call, FIRST_BYTE, Fault, Method, Response, ResponseFuture, Service, Value};

use super::commands;
use super::proof::{Credentials, Refusal};
use super::routes::{ApiState, Refused};
use crate::status::hub::Hub;
use net::server::{AltProtocol, Busy, Caller, ConnectionHandle, Serving};
use net::tls::Stream;

/// Maximum size of a message, in bytes: a keepalive with its envelope.
pub const LONGEST: usize = member::LONGEST + (64 << 10);
/// Key of the token.
pub use super::commands::TOKEN;

/// The ZeroRPC server.
pub struct Rpc {
    /// State shared with the HTTP handlers.
    pub api: ApiState,
    /// Source of events.
    pub hub: Arc<Hub>,
}

impl AltProtocol for Rpc {
    fn first_byte(&self) -> u8 {
        FIRST_BYTE
    }

    fn serve(&self, stream: Box<dyn Stream>, caller: Caller, place: ConnectionHandle) -> Serving {
        let (api, hub) = (self.api.clone(), Arc::clone(&self.hub));
        let service = Arc::new(Connection { api, hub, caller, place });
        Box::pin(async move {
            if let Err(error) = zerorpc::serve(stream, service, LONGEST).await {
                log::debug!("ZeroRPC connection closed: {error}");
            }
        })
    }
}

/// A connection.
struct Connection {
    api: ApiState,
    hub: Arc<Hub>,
    caller: Caller,
    place: ConnectionHandle,
}

impl Service for Connection {
    fn name(&self) -> &str {
        "sexton"
    }

    fn methods(&self) -> &'static [Method] {
        &[
            Method { name: "ping", args: &["json"], doc: "Receives a keepalive of a member." },
            Method {
                name: "invoke",
                args: &["json"],
                doc: "Runs the command cmd and returns its output. Needs the token or a client certificate.",
            },
            Method {
                name: "events",
                args: &["follow"],
                doc: "Returns the recent events, and new ones unless follow is false: JSON, one after the other.",
            },
        ]
    }

    fn call(&self, mut call: Call) -> ResponseFuture {
        let busy = self.place.busy();
        if call.name == "events" {
            let follow = call.args.first().and_then(Value::as_bool).unwrap_or(true);
            return Box::pin(std::future::ready(Ok(Response::Many(events(&self.hub, follow, busy)))));
        }
        let is_ping = call.name == "ping";
        let (api, certified) = (self.api.clone(), self.caller.certified);
        let token = call.header.iter().find(|(name, _)| name.as_str() == Some(TOKEN));
        let token = token.and_then(|(_, token)| token.as_str().map(str::to_owned));
        let argument = std::mem::take(&mut call.args).into_iter().next();
        drop(call);
        Box::pin(async move {
            let _busy = busy;
            let json = match argument {
                Some(Value::String(text)) => text.into_bytes(),
                Some(Value::Binary(bytes)) => bytes,
                _ => return Err(Fault::new("TypeError", "expected one argument, JSON as a string")),
            };
            let credentials = Credentials { token: token.or_else(|| token_of(&json)), certified };
            if is_ping {
                let taken = api.take(&json, &credentials).await;
                return taken.map(|()| Response::One("OK".into())).map_err(|refused| match refused {
                    Refused::Unauthorized(why) => Fault::new("PermissionError", why),
                    Refused::Invalid(why) => Fault::new("ValueError", why),
                    Refused::Store(why) => Fault::new("StoreError", why),
                });
            }
            api.policy
                .may_invoke(&credentials)
                .map_err(|refusal: Refusal| Fault::new("PermissionError", refusal.why()))?;
            let outcome = commands::run(&json, api.invoke_user, &api.runner).await;
            outcome
                .map(|outcome| Response::One(outcome.text().into()))
                .map_err(|why| Fault::new("CommandError", why))
        })
    }
}

/// Reads the token from the JSON.
fn token_of(json: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct WithToken {
        token: Option<String>,
    }
    serde_json::from_slice::<WithToken>(json).ok()?.token
}

/// Returns the recent events, followed by new ones if `follow` is set.
fn events(hub: &Hub, follow: bool, busy: Busy) -> zerorpc::ValueStream {
    let (recent, following) = hub.changes();
    let text =
        |change: &crate::status::hub::Change| Ok(serde_json::to_string(change).unwrap_or_default().into());
    let recent = recent.into_iter();
    Box::pin(stream::unfold((recent, following, busy), move |(mut recent, mut following, busy)| async move {
        if let Some(change) = recent.next() {
            return Some((text(&change), (recent, following, busy)));
        }
        if !follow {
            return None;
        }
        loop {
            match following.recv().await {
                Ok(change) => return Some((text(&change), (recent, following, busy))),
                // The client sees from the numbers that some are missing.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }))
}
