//! The client: one call at a time on a connection.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use rmpv::Value;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};

use crate::channel::{Channel, Due};
use crate::event::{self, Event, Fault};
use crate::wire::{Socket, TIMEOUT, Wire, WireError};

/// Maximum number of values of a stream in transit.
const SLOTS: u64 = 100;

/// A failed call.
#[derive(Debug, Error)]
pub enum CallError {
    /// The connection failed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The server reports an error.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The server sends no heartbeats any more.
    #[error("no heartbeat from the server")]
    Lost,
    /// The response does not fit the call.
    #[error("unexpected response '{0}'")]
    Unexpected(String),
}

/// A connection to a server.
#[derive(Debug)]
pub struct Client<S> {
    wire: Wire<S>,
    opened: Instant,
    /// Random prefix of the message ids of this client.
    id_prefix: u64,
    last_id: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Performs the handshake on a connection.
    ///
    /// # Errors
    ///
    /// The peer does not speak ZeroMQ.
    pub async fn connect(stream: S, longest: usize) -> Result<Self, WireError> {
        let opened = timeout(TIMEOUT, Wire::open(stream, Socket::Dealer, longest)).await;
        let wire = opened.map_err(|_| WireError::Io(std::io::ErrorKind::TimedOut.into()))??;
        let id_prefix = RandomState::new().hash_one(std::process::id());
        Ok(Self { wire, opened: Instant::now(), id_prefix, last_id: 0 })
    }

    /// Calls a method that returns one value.
    ///
    /// # Errors
    ///
    /// The call failed at the server, or the server is gone.
    pub async fn call(&mut self, name: &str, args: Vec<Value>) -> Result<Value, CallError> {
        let mut replies = self.request(name, args, Vec::new()).await?;
        let event = replies.event().await?;
        match (event.name.as_str(), event.args) {
            (event::OK, Value::Array(mut args)) if !args.is_empty() => Ok(args.swap_remove(0)),
            (event::ERR, args) => Err(Fault::read(&args).into()),
            (other, _) => Err(CallError::Unexpected(other.to_owned())),
        }
    }

    /// Calls a method that returns any number of values, with additional headers.
    ///
    /// # Errors
    ///
    /// The server is gone.
    pub async fn request(
        &mut self,
        name: &str,
        args: Vec<Value>,
        header: Vec<(Value, Value)>,
    ) -> Result<Replies<'_, S>, CallError> {
        let id = self.id();
        let mut event = Event::new(id.clone(), None, name, args.into());
        event.header.extend(header);
        self.wire.send(&event.pack()).await?;
        let channel = Channel::new(self.opened.elapsed());
        Ok(Replies { client: self, id, channel, slots: 1, first: true, complete: false })
    }

    fn id(&mut self) -> Value {
        self.last_id += 1;
        format!("{:016x}{:016x}", self.id_prefix, self.last_id).into()
    }
}

/// The values of a call, one after the other.
#[derive(Debug)]
pub struct Replies<'a, S> {
    client: &'a mut Client<S>,
    id: Value,
    channel: Channel,
    /// Number of values that the server may still send.
    slots: u64,
    first: bool,
    complete: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Replies<'_, S> {
    /// Returns the next value, or `None` after the last.
    ///
    /// # Errors
    ///
    /// The call failed at the server, or the server is gone.
    pub async fn next(&mut self) -> Result<Option<Value>, CallError> {
        if self.complete {
            return Ok(None);
        }
        // The first value needs no slot from here, and is the only one of a method that returns one.
        if !std::mem::take(&mut self.first) && self.slots < SLOTS / 2 {
            let more = SLOTS - self.slots;
            self.slots += more;
            self.send(event::MORE, more).await?;
        }
        let event = self.event().await?;
        self.complete = event.name != event::STREAM;
        match (event.name.as_str(), event.args) {
            (event::STREAM, value) => Ok(Some(value)),
            (event::STREAM_DONE, _) => Ok(None),
            (event::OK, Value::Array(args)) => Ok(args.into_iter().next()),
            (event::ERR, args) => Err(Fault::read(&args).into()),
            (other, _) => Err(CallError::Unexpected(other.to_owned())),
        }
    }

    async fn send(&mut self, name: &str, number: u64) -> Result<(), CallError> {
        let event = Event::new(self.client.id(), Some(&self.id), name, vec![Value::from(number)].into());
        Ok(self.client.wire.send(&event.pack()).await?)
    }

    fn now(&self) -> Duration {
        self.client.opened.elapsed()
    }

    /// Returns the next event of this call, except heartbeats.
    async fn event(&mut self) -> Result<Event, CallError> {
        loop {
            let due = self.client.opened + self.channel.deadline();
            tokio::select! {
                message = self.client.wire.receive() => {
                    let event = Event::unpack(&message?).map_err(WireError::Protocol)?;
                    if event.header_value("response_to") != Some(&self.id) {
                        // Belongs to an abandoned call.
                        continue;
                    }
                    self.channel.received(self.now());
                    match event.name.as_str() {
                        event::HEARTBEAT | event::MORE => {}
                        _ => {
                            self.slots = self.slots.saturating_sub(1);
                            return Ok(event);
                        }
                    }
                }
                () = sleep_until(due) => match self.channel.tick(self.now()) {
                    Some(Due::Heartbeat) => self.send(event::HEARTBEAT, 0).await?,
                    Some(Due::Lost) => return Err(CallError::Lost),
                    None => {}
                },
            }
        }
    }
}
