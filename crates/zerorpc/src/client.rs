//! The side that asks: one call at a time.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use rmpv::Value;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};

use crate::channel::{Channel, Due};
use crate::event::{self, Event, Fault};
use crate::wire::{PATIENCE, Socket, Wire, WireError};

/// How many values of a stream may be on their way to us.
const SLOTS: u64 = 100;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// The connection.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The other side says so.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Nothing is heard of the other side any more.
    #[error("the other side sends no heartbeats any more")]
    Lost,
    /// It answers something else than what is asked for.
    #[error("the answer is '{0}', which does not fit the call")]
    Odd(String),
}

/// A connection to somebody who answers calls.
#[derive(Debug)]
pub struct Client<S> {
    wire: Wire<S>,
    began: Instant,
    /// What our ids begin with: nobody else's begin so.
    chance: u64,
    newest: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Over this connection.
    ///
    /// # Errors
    ///
    /// There is nobody who speaks ZeroMQ.
    pub async fn over(stream: S, longest: usize) -> Result<Self, WireError> {
        let opened = timeout(PATIENCE, Wire::open(stream, Socket::Dealer, longest)).await;
        let wire = opened.map_err(|_| WireError::Io(std::io::ErrorKind::TimedOut.into()))??;
        let chance = RandomState::new().hash_one(std::process::id());
        Ok(Self { wire, began: Instant::now(), chance, newest: 0 })
    }

    /// Calls a method that has one answer.
    ///
    /// # Errors
    ///
    /// It has failed there, or the other side is gone.
    pub async fn call(&mut self, name: &str, args: Vec<Value>) -> Result<Value, CallError> {
        let mut replies = self.ask(name, args, Vec::new()).await?;
        let event = replies.event().await?;
        match (event.name.as_str(), event.args) {
            (event::OK, Value::Array(mut args)) if !args.is_empty() => Ok(args.swap_remove(0)),
            (event::ERR, args) => Err(Fault::read(&args).into()),
            (other, _) => Err(CallError::Odd(other.to_owned())),
        }
    }

    /// Calls a method that has any number of answers, with more in the header.
    ///
    /// # Errors
    ///
    /// The other side is gone.
    pub async fn ask(
        &mut self,
        name: &str,
        args: Vec<Value>,
        header: Vec<(Value, Value)>,
    ) -> Result<Replies<'_, S>, CallError> {
        let id = self.id();
        let mut event = Event::new(id.clone(), None, name, args.into());
        event.header.extend(header);
        self.wire.send(&event.pack()).await?;
        let channel = Channel::new(self.began.elapsed());
        Ok(Replies { client: self, id, channel, given: 1, first: true, over: false })
    }

    fn id(&mut self) -> Value {
        self.newest += 1;
        format!("{:016x}{:016x}", self.chance, self.newest).into()
    }
}

/// What comes of a call, one after the other.
#[derive(Debug)]
pub struct Replies<'a, S> {
    client: &'a mut Client<S>,
    id: Value,
    channel: Channel,
    /// How many more the other side may send.
    given: u64,
    first: bool,
    over: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Replies<'_, S> {
    /// The next; None: there are no more.
    ///
    /// # Errors
    ///
    /// It has failed there, or the other side is gone.
    pub async fn next(&mut self) -> Result<Option<Value>, CallError> {
        if self.over {
            return Ok(None);
        }
        // The first comes unasked for, and is the only one of a method that has one answer.
        if !std::mem::take(&mut self.first) && self.given < SLOTS / 2 {
            let more = SLOTS - self.given;
            self.given += more;
            self.say(event::MORE, more).await?;
        }
        let event = self.event().await?;
        self.over = event.name != event::STREAM;
        match (event.name.as_str(), event.args) {
            (event::STREAM, value) => Ok(Some(value)),
            (event::STREAM_DONE, _) => Ok(None),
            (event::OK, Value::Array(args)) => Ok(args.into_iter().next()),
            (event::ERR, args) => Err(Fault::read(&args).into()),
            (other, _) => Err(CallError::Odd(other.to_owned())),
        }
    }

    async fn say(&mut self, name: &str, number: u64) -> Result<(), CallError> {
        let event = Event::new(self.client.id(), Some(&self.id), name, vec![Value::from(number)].into());
        Ok(self.client.wire.send(&event.pack()).await?)
    }

    fn now(&self) -> Duration {
        self.client.began.elapsed()
    }

    /// The next event of this call that is no heartbeat.
    async fn event(&mut self) -> Result<Event, CallError> {
        loop {
            let due = self.client.began + self.channel.deadline();
            tokio::select! {
                message = self.client.wire.receive() => {
                    let event = Event::unpack(&message?).map_err(WireError::Protocol)?;
                    if event.of_header("response_to") != Some(&self.id) {
                        // Of a call that was given up.
                        continue;
                    }
                    self.channel.heard(self.now());
                    match event.name.as_str() {
                        event::HEARTBEAT | event::MORE => {}
                        _ => {
                            self.given = self.given.saturating_sub(1);
                            return Ok(event);
                        }
                    }
                }
                () = sleep_until(due) => match self.channel.woke(self.now()) {
                    Some(Due::Heartbeat) => self.say(event::HEARTBEAT, 0).await?,
                    Some(Due::Lost) => return Err(CallError::Lost),
                    None => {}
                },
            }
        }
    }
}
