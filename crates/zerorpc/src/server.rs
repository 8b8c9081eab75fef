//! The side that answers: one connection, many calls at once.

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
use crate::wire::{PATIENCE, Socket, Wire, WireError};

/// The most calls at once on one connection.
const MOST_CALLS: usize = 64;
/// The longest id of a message, in bytes: a UUID in hexadecimal has 32.
const LONGEST_ID: usize = 256;

/// What somebody wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Which method.
    pub name: String,
    /// Its arguments.
    pub args: Vec<Value>,
    /// What came beside them.
    pub header: Vec<(Value, Value)>,
}

/// Values that come one after the other.
pub type Answers = Pin<Box<dyn Stream<Item = Result<Value, Fault>> + Send>>;

/// What there is to say to a call.
pub enum Answer {
    /// This.
    One(Value),
    /// One after the other, as the other side takes them.
    Many(Answers),
}

/// A method, as introspection shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// What its arguments are called.
    pub args: &'static [&'static str],
    /// What it does.
    pub doc: &'static str,
}

/// An answer that is still to come.
pub type Answering = Pin<Box<dyn Future<Output = Result<Answer, Fault>> + Send>>;

/// Whoever answers calls.
pub trait Service: Send + Sync {
    /// What it is called.
    fn name(&self) -> &str;
    /// What can be called.
    fn methods(&self) -> &'static [Method];
    /// Answers a call of one of its methods. It is dropped when whoever asked is gone.
    fn call(&self, call: Call) -> Answering;
}

/// What has come of a call so far.
enum Step {
    Answered(Result<Answer, Fault>),
    Next(Option<Result<Value, Fault>>, Answers),
}

/// A call under way.
struct Under {
    channel: Channel,
    abort: AbortHandle,
    /// What follows, until there is room for it.
    waits: Option<Answers>,
}

/// Calls under way, by the ids of their messages.
type Steps = FuturesUnordered<Abortable<Pin<Box<dyn Future<Output = (Vec<u8>, Step)> + Send>>>>;

/// Answers what is asked on this connection until it is closed.
///
/// # Errors
///
/// The other side does not keep to the protocol, or does not read what it has asked for.
pub async fn serve<S>(stream: S, service: Arc<dyn Service>, longest: usize) -> Result<(), WireError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let slow = |_| WireError::Io(std::io::ErrorKind::TimedOut.into());
    let wire = timeout(PATIENCE, Wire::open(stream, Socket::Router, longest)).await.map_err(slow)??;
    let mut session = Session {
        wire,
        service,
        began: Instant::now(),
        calls: BTreeMap::new(),
        steps: FuturesUnordered::new(),
        newest: 0,
    };
    loop {
        match session.turn().await {
            Ok(()) => {}
            Err(WireError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

struct Session<S> {
    wire: Wire<S>,
    service: Arc<dyn Service>,
    began: Instant,
    calls: BTreeMap<Vec<u8>, Under>,
    steps: Steps,
    newest: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn turn(&mut self) -> Result<(), WireError> {
        let due = self.calls.values().map(|call| call.channel.deadline()).min();
        let due = due.map(|due| self.began + due);
        let woken = async {
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
                self.heard(&message).await
            }
            step = &mut step => match step {
                Some(Ok((id, step))) => self.stepped(id, step).await,
                Some(Err(Aborted)) | None => Ok(()),
            },
            () = woken => self.woke().await,
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    async fn say(&mut self, on: &[u8], name: &str, args: Value) -> Result<(), WireError> {
        self.newest += 1;
        let event = Event::new(self.newest.to_string().into(), Some(&value_of(on)), name, args);
        let packed = event.pack();
        let sent = timeout(PATIENCE, self.wire.send(&packed)).await;
        sent.map_err(|_| WireError::Io(std::io::ErrorKind::TimedOut.into()))?
    }

    async fn heard(&mut self, message: &[u8]) -> Result<(), WireError> {
        let event = Event::unpack(message).map_err(WireError::Protocol)?;
        let now = self.now();
        if let Some(on) = event.of_header("response_to") {
            let id = id_of(on).ok_or(WireError::Protocol("an id is no text, or too long"))?;
            // Of a call that is over: so be it.
            let Some(call) = self.calls.get_mut(&id) else { return Ok(()) };
            call.channel.heard(now);
            if event.name == event::MORE {
                call.channel.more(event.args.as_array().and_then(|all| all.first()?.as_u64()).unwrap_or(0));
                if let Some(answers) = call.waits.take() {
                    self.next(id, answers);
                }
            }
            return Ok(());
        }
        let id = event.of_header("message_id").and_then(id_of);
        let id = id.ok_or(WireError::Protocol("a call has no id, or too long a one"))?;
        if self.calls.contains_key(&id) {
            return Err(WireError::Protocol("a call has the id of another"));
        }
        if event.of_header("v").and_then(Value::as_u64).is_none_or(|version| version < event::VERSION) {
            let fault = Fault::new("ProtocolError", "expected version 3 of the protocol");
            return self.say(&id, event::ERR, fault.value()).await;
        }
        if self.calls.len() >= MOST_CALLS {
            let fault = Fault::new("Busy", format!("{MOST_CALLS} calls are under way on this connection"));
            return self.say(&id, event::ERR, fault.value()).await;
        }
        let args = match event.args {
            Value::Array(args) => args,
            Value::Nil => Vec::new(),
            other => vec![other],
        };
        let call = Call { name: event.name, args, header: event.header };
        let answer: Answering = match built_in(&*self.service, &call) {
            Some(answer) => Box::pin(std::future::ready(answer.map(Answer::One))),
            None if self.service.methods().iter().any(|method| method.name == call.name) => {
                self.service.call(call)
            }
            None => Box::pin(std::future::ready(Err(Fault::new("NameError", call.name)))),
        };
        let (abort, of_abort) = AbortHandle::new_pair();
        self.calls.insert(id.clone(), Under { channel: Channel::new(now), abort, waits: None });
        self.steps
            .push(Abortable::new(Box::pin(async move { (id, Step::Answered(answer.await)) }), of_abort));
        Ok(())
    }

    /// Waits for the next value.
    fn next(&mut self, id: Vec<u8>, mut answers: Answers) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let (abort, of_abort) = AbortHandle::new_pair();
        call.abort = abort;
        self.steps.push(Abortable::new(
            Box::pin(async move {
                let next = answers.next().await;
                (id, Step::Next(next, answers))
            }),
            of_abort,
        ));
    }

    /// Says what needs room: whoever has asked for it has room for the first, and `next` waits for more.
    async fn stepped(&mut self, id: Vec<u8>, step: Step) -> Result<(), WireError> {
        let (last, name, args, answers) = match step {
            Step::Answered(Ok(Answer::Many(answers))) => {
                self.next(id, answers);
                return Ok(());
            }
            Step::Answered(Ok(Answer::One(value))) => (true, event::OK, Value::Array(vec![value]), None),
            Step::Next(Some(Ok(value)), answers) => (false, event::STREAM, value, Some(answers)),
            Step::Next(None, _) => (true, event::STREAM_DONE, Value::Nil, None),
            Step::Answered(Err(fault)) | Step::Next(Some(Err(fault)), _) => {
                (true, event::ERR, fault.value(), None)
            }
        };
        let Some(call) = self.calls.get_mut(&id) else { return Ok(()) };
        call.channel.sent();
        let room = call.channel.has_room();
        self.say(&id, name, args).await?;
        if last {
            self.calls.remove(&id);
        } else if let Some(answers) = answers {
            match self.calls.get_mut(&id) {
                Some(call) if !room => call.waits = Some(answers),
                _ => self.next(id, answers),
            }
        }
        Ok(())
    }

    async fn woke(&mut self) -> Result<(), WireError> {
        let now = self.now();
        let (mut beats, mut lost) = (Vec::new(), Vec::new());
        for (id, call) in &mut self.calls {
            match call.channel.woke(now) {
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
            self.say(&id, event::HEARTBEAT, Value::Array(vec![0.into()])).await?;
        }
        Ok(())
    }
}

/// The bytes of an id, and whether it is a text.
fn id_of(value: &Value) -> Option<Vec<u8>> {
    let (mark, bytes) = match value {
        Value::String(text) => (b's', text.as_bytes()),
        Value::Binary(bytes) => (b'b', bytes.as_slice()),
        _ => return None,
    };
    (bytes.len() <= LONGEST_ID).then(|| [&[mark], bytes].concat())
}

/// An id as the other side has written it.
fn value_of(id: &[u8]) -> Value {
    match id.split_first() {
        Some((b's', text)) => String::from_utf8_lossy(text).into_owned().into(),
        Some((_, bytes)) => Value::Binary(bytes.to_vec()),
        None => Value::Nil,
    }
}

/// What every server answers of itself.
fn built_in(service: &dyn Service, call: &Call) -> Option<Result<Value, Fault>> {
    let of = |method: &Method| {
        let args = method.args.iter().map(|name| Value::Map(vec![("name".into(), (*name).into())]));
        (Value::from(method.name), args.collect::<Vec<_>>(), Value::from(method.doc))
    };
    let asked = || {
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
        "_zerorpc_help" => asked().map(|(_, _, doc)| doc),
        "_zerorpc_args" => asked().map(|(_, args, _)| args.into()),
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
