//! The same by ZeroRPC, on the same port: `ping(json)` and `invoke(json)`, as the older tool has them, and `events()`.
//!
//! The token stands in the header of a call (`token`), or as `token` in the JSON, for clients that know no headers.

use std::sync::Arc;

use ensemble::member;
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;
use zerorpc::{Answer, Answering, Call, FIRST_BYTE, Fault, Method, Service, Value};

use super::commands;
use super::proof::{Credentials, Refusal};
use super::routes::{ApiState, Refused};
use crate::status::hub::Hub;
use net::server::{AltProtocol, Busy, Caller, ConnectionHandle, Serving};
use net::tls::Stream;

/// The longest message: a keepalive, and what is around it.
pub const LONGEST: usize = member::LONGEST + (64 << 10);
/// Where the token is.
pub use super::commands::TOKEN;

/// Serves connections.
pub struct Rpc {
    /// What answers are made of.
    pub table: ApiState,
    /// What happens.
    pub hub: Arc<Hub>,
}

impl AltProtocol for Rpc {
    fn first_byte(&self) -> u8 {
        FIRST_BYTE
    }

    fn serve(&self, stream: Box<dyn Stream>, caller: Caller, place: ConnectionHandle) -> Serving {
        let (table, hub) = (self.table.clone(), Arc::clone(&self.hub));
        let service = Arc::new(Connection { table, hub, caller, place });
        Box::pin(async move {
            if let Err(error) = zerorpc::serve(stream, service, LONGEST).await {
                log::debug!("a connection of ZeroRPC has ended: {error}");
            }
        })
    }
}

/// One connection.
struct Connection {
    table: ApiState,
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
            Method { name: "ping", args: &["json"], doc: "Takes a keepalive of a member." },
            Method {
                name: "invoke",
                args: &["json"],
                doc: "Runs the command cmd, and answers what it prints. Needs the token, or a certificate.",
            },
            Method {
                name: "events",
                args: &["follow"],
                doc: "Tells what has happened lately, and what happens unless follow is false: JSON, one after the other.",
            },
        ]
    }

    fn call(&self, mut call: Call) -> Answering {
        let busy = self.place.busy();
        if call.name == "events" {
            let follow = call.args.first().and_then(Value::as_bool).unwrap_or(true);
            return Box::pin(std::future::ready(Ok(Answer::Many(events(&self.hub, follow, busy)))));
        }
        let is_ping = call.name == "ping";
        let (table, certified) = (self.table.clone(), self.caller.certified);
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
            let shown = Credentials { token: token.or_else(|| token_of(&json)), certified };
            if is_ping {
                let taken = table.take(&json, &shown).await;
                return taken.map(|()| Answer::One("OK".into())).map_err(|refused| match refused {
                    Refused::Unproven(why) => Fault::new("PermissionError", why),
                    Refused::Wrong(why) => Fault::new("ValueError", why),
                    Refused::Store(why) => Fault::new("StoreError", why),
                });
            }
            table
                .proof
                .may_invoke(&shown)
                .map_err(|refusal: Refusal| Fault::new("PermissionError", refusal.why()))?;
            let outcome = commands::run(&json, table.invoke_user, &table.runner).await;
            outcome
                .map(|outcome| Answer::One(outcome.text().into()))
                .map_err(|why| Fault::new("CommandError", why))
        })
    }
}

/// The token in the JSON.
fn token_of(json: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Shows {
        token: Option<String>,
    }
    serde_json::from_slice::<Shows>(json).ok()?.token
}

/// What has happened lately, and then what happens, if that is to be followed.
fn events(hub: &Hub, follow: bool, busy: Busy) -> zerorpc::Answers {
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
                // The numbers show that some are missing.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }))
}
