//! The server: concurrent calls on one connection.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{AbortHandle, Abortable, Aborted};
use futures_util::stream::{FuturesUnordered, Stream, StreamExt as _};
use rmpv::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};

use crate::channel::{Channel, Due};
use crate::event::{self, Event, Fault};
use crate::wire::{Socket, TIMEOUT, Wire, WireError};

/// Maximum number of concurrent calls on a connection.
const MAX_CALLS: usize = 64;
/// Maximum length of a message id, in bytes: a UUID in hexadecimal has 32.
const MAX_ID: usize = 256;

/// A call of a method.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Name of the method.
    pub name: String,
    pub args: Vec<Value>,
    /// Headers of the request.
    pub header: Vec<(Value, Value)>,
}

/// A stream of result values.
pub type ValueStream = Pin<Box<dyn Stream<Item = Result<Value, Fault>> + Send>>;

/// The result of a call.
pub enum Response {
    /// One value.
    One(Value),
    /// A stream of values, sent at the pace of the client.
    Many(ValueStream),
}

/// Description of a method, for introspection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    pub name: &'static str,
    /// Names of the arguments.
    pub args: &'static [&'static str],
    pub doc: &'static str,
}

/// A pending response.
pub type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response, Fault>> + Send>>;

/// The methods of a server.
pub trait Service: Send + Sync {
    /// Returns the name of the service.
    fn name(&self) -> &str;
    /// Returns its methods.
    fn methods(&self) -> &'static [Method];
    /// Carries out a call of one of the methods. The future is dropped when the client is gone.
    fn call(&self, call: Call) -> ResponseFuture;
}

/// Progress of a call.
enum Step {
    Returned(Result<Response, Fault>),
    Next(Option<Result<Value, Fault>>, ValueStream),
}

/// A call in progress.
struct ActiveCall {
    channel: Channel,
    abort: AbortHandle,
    /// The rest of the values, while there is no slot for the next one.
    blocked: Option<ValueStream>,
}

/// Pending steps of the active calls, with the ids of the calls.
type Steps = FuturesUnordered<Abortable<Pin<Box<dyn Future<Output = (Vec<u8>, Step)> + Send>>>>;

/// Serves a connection until it is closed.
///
/// # Errors
///
/// The client violates the protocol, or does not read its responses.
pub async fn serve<S>(stream: S, service: Arc<dyn Service>, longest: usize) -> Result<(), WireError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let slow = |_| WireError::Io(std::io::ErrorKind::TimedOut.into());
    let wire = timeout(TIMEOUT, Wire::open(stream, Socket::Router, longest)).await.map_err(slow)??;
    let mut session = Session {
        wire,
        service,
        opened: Instant::now(),
        calls: BTreeMap::new(),
        steps: FuturesUnordered::new(),
        last_id: 0,
    };
    loop {
        match session.step().await {
            Ok(()) => {}
            Err(WireError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

struct Session<S> {
    wire: Wire<S>,
    service: Arc<dyn Service>,
    opened: Instant,
    calls: BTreeMap<Vec<u8>, ActiveCall>,
    steps: Steps,
    last_id: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn step(&mut self) -> Result<(), WireError> {
        let due = self.calls.values().map(|call| call.channel.deadline()).min();
        let due = due.map(|due| self.opened + due);
        let deadline = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let step = poll_fn(|context| match self.steps.poll_next_unpin(context) {
            std::task::Poll::Ready(None) => std::task::Poll::Pending,
            other => other,
        });
        let mut step = pin!(step);
        tokio::select! {
            message = self.wire.receive() => {
                let message = message?;
                self.handle_message(&message).await
            }
            step = &mut step => match step {
                Some(Ok((id, step))) => self.handle_step(id, step).await,
                Some(Err(Aborted)) | None => Ok(()),
            },
            () = deadline => self.tick().await,
        }
    }

    fn now(&self) -> Duration {
        self.opened.elapsed()
    }

    async fn send(&mut self, on: &[u8], name: &str, args: Value) -> Result<(), WireError> {
        self.last_id += 1;
        let event = Event::new(self.last_id.to_string().into(), Some(&value_of(on)), name, args);
        let packed = event.pack();
        let sent = timeout(TIMEOUT, self.wire.send(&packed)).await;
        sent.map_err(|_| WireError::Io(std::io::ErrorKind::TimedOut.into()))?
    }

    async fn handle_message(&mut self, message: &[u8]) -> Result<(), WireError> {
        let event = Event::unpack(message).map_err(WireError::Protocol)?;
        let now = self.now();
        if let Some(on) = event.header_value("response_to") {
            let id = id_of(on).ok_or(WireError::Protocol("an id is not text, or is too long"))?;
            // The call may have ended already.
            let Some(call) = self.calls.get_mut(&id) else { return Ok(()) };
            call.channel.received(now);
            if event.name == event::MORE {
                call.channel.more(event.args.as_array().and_then(|all| all.first()?.as_u64()).unwrap_or(0));
                if let Some(values) = call.blocked.take() {
                    self.await_next(id, values);
                }
            }
            return Ok(());
        }
        let id = event.header_value("message_id").and_then(id_of);
        let id = id.ok_or(WireError::Protocol("a call has no id, or an id that is too long"))?;
        if self.calls.contains_key(&id) {
            return Err(WireError::Protocol("a call has the id of another active call"));
        }
        if event.header_value("v").and_then(Value::as_u64).is_none_or(|version| version < event::VERSION) {
            let fault = Fault::new("ProtocolError", "expected version 3 of the protocol");
            return self.send(&id, event::ERR, fault.value()).await;
        }
        if self.calls.len() >= MAX_CALLS {
            let fault = Fault::new("Busy", format!("{MAX_CALLS} calls are active on this connection"));
            return self.send(&id, event::ERR, fault.value()).await;
        }
        let args = match event.args {
            Value::Array(args) => args,
            Value::Nil => Vec::new(),
            other => vec![other],
        };
        let call = Call { name: event.name, args, header: event.header };
        let answer: ResponseFuture = match built_in(&*self.service, &call) {
            Some(answer) => Box::pin(std::future::ready(answer.map(Response::One))),
            None if self.service.methods().iter().any(|method| method.name == call.name) => {
                self.service.call(call)
            }
            None => Box::pin(std::future::ready(Err(Fault::new("NameError", call.name)))),
        };
        let (abort, of_abort) = AbortHandle::new_pair();
        self.calls.insert(id.clone(), ActiveCall { channel: Channel::new(now), abort, blocked: None });
        self.steps
            .push(Abortable::new(Box::pin(async move { (id, Step::Returned(answer.await)) }), of_abort));
        Ok(())
    }

    /// Waits for the next value.
    fn await_next(&mut self, id: Vec<u8>, mut values: ValueStream) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let (abort, of_abort) = AbortHandle::new_pair();
        call.abort = abort;
        self.steps.push(Abortable::new(
            Box::pin(async move {
                let next = values.next().await;
                (id, Step::Next(next, values))
            }),
            of_abort,
        ));
    }

    /// Sends what takes a slot: there is one for the first value; later ones are awaited only when a slot is free.
    async fn handle_step(&mut self, id: Vec<u8>, step: Step) -> Result<(), WireError> {
        let (last, name, args, values) = match step {
            Step::Returned(Ok(Response::Many(values))) => {
                self.await_next(id, values);
                return Ok(());
            }
            Step::Returned(Ok(Response::One(value))) => (true, event::OK, Value::Array(vec![value]), None),
            Step::Next(Some(Ok(value)), values) => (false, event::STREAM, value, Some(values)),
            Step::Next(None, _) => (true, event::STREAM_DONE, Value::Nil, None),
            Step::Returned(Err(fault)) | Step::Next(Some(Err(fault)), _) => {
                (true, event::ERR, fault.value(), None)
            }
        };
        let Some(call) = self.calls.get_mut(&id) else { return Ok(()) };
        call.channel.sent();
        let room = call.channel.has_room();
        self.send(&id, name, args).await?;
        if last {
            self.calls.remove(&id);
        } else if let Some(values) = values {
            match self.calls.get_mut(&id) {
                Some(call) if !room => call.blocked = Some(values),
                _ => self.await_next(id, values),
            }
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), WireError> {
        let now = self.now();
        let (mut beats, mut lost) = (Vec::new(), Vec::new());
        for (id, call) in &mut self.calls {
            match call.channel.tick(now) {
                Some(Due::Heartbeat) => beats.push(id.clone()),
                Some(Due::Lost) => lost.push(id.clone()),
                None => {}
            }
        }
        for id in lost {
            if let Some(call) = self.calls.remove(&id) {
                call.abort.abort();
            }
        }
        for id in beats {
            self.send(&id, event::HEARTBEAT, Value::Array(vec![0.into()])).await?;
        }
        Ok(())
    }
}

/// Encodes an id as its bytes after a marker of its type.
fn id_of(value: &Value) -> Option<Vec<u8>> {
    let (mark, bytes) = match value {
        Value::String(text) => (b's', text.as_bytes()),
        Value::Binary(bytes) => (b'b', bytes.as_slice()),
        _ => return None,
    };
    (bytes.len() <= MAX_ID).then(|| [&[mark], bytes].concat())
}

/// Decodes an id to the form that the client has sent.
fn value_of(id: &[u8]) -> Value {
    match id.split_first() {
        Some((b's', text)) => String::from_utf8_lossy(text).into_owned().into(),
        Some((_, bytes)) => Value::Binary(bytes.to_vec()),
        None => Value::Nil,
    }
}

/// Answers the introspection methods that every server has.
fn built_in(service: &dyn Service, call: &Call) -> Option<Result<Value, Fault>> {
    let of = |method: &Method| {
        let args = method.args.iter().map(|name| Value::Map(vec![("name".into(), (*name).into())]));
        (Value::from(method.name), args.collect::<Vec<_>>(), Value::from(method.doc))
    };
    let requested = || {
        let name = call.args.first().and_then(Value::as_str).unwrap_or_default();
        let found = service.methods().iter().find(|method| method.name == name).map(of);
        found.ok_or_else(|| Fault::new("KeyError", name))
    };
    Some(match call.name.as_str() {
        "_zerorpc_name" => Ok(service.name().into()),
        "_zerorpc_ping" => Ok(Value::Array(vec!["pong".into(), service.name().into()])),
        "_zerorpc_list" => {
            Ok(service.methods().iter().map(|method| method.name.into()).collect::<Vec<Value>>().into())
        }
        "_zerorpc_help" => requested().map(|(_, _, doc)| doc),
        "_zerorpc_args" => requested().map(|(_, args, _)| args.into()),
        "_zerorpc_inspect" => {
            let methods = service.methods().iter().map(of).map(|(name, args, doc)| {
                (name, Value::Map(vec![("args".into(), args.into()), ("doc".into(), doc)]))
            });
            Ok(Value::Map(vec![
                ("name".into(), service.name().into()),
                ("methods".into(), Value::Map(methods.collect())),
            ]))
        }
        _ => return None,
    })
}
