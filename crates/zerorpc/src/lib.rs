//! ZeroRPC, version 3 of its protocol, over ZeroMQ's transport (ZMTP 3.0): the server's side and the client's, on any
//! stream of bytes, so that a server can share its port with other protocols: the first byte of a connection is
//! [`FIRST_BYTE`], which neither HTTP nor TLS begins with.
//!
//! ```text
//! bytes ◄─► wire (greeting, frames, messages) ◄─► event (MessagePack) ◄─► channel (heartbeats, slots; pure)
//!                                                                           ▲             ▲
//!                                                                        server         client
//! ```
//!
//! * A call is a channel: its name is the id of the message that asked. Both sides send heartbeats on it, and give it up
//!   when none has come for two of the other's.
//! * What is sent on a channel takes a slot; `_zpc_more` gives some. So a stream never runs ahead of its reader.
//! * There is one task for each connection, and no thread.
//!
//! The rules are those of the protocol's reference, the PyPI package `zerorpc`, and of ZMTP's RFC 23.

mod channel;
mod client;
mod event;
mod server;
mod wire;

pub use channel::HEARTBEAT;
pub use client::{CallError, Client, Replies};
pub use event::Fault;
pub use rmpv::Value;
pub use server::{Answer, Answering, Answers, Call, Method, Service, serve};
pub use wire::{FIRST_BYTE, LONGEST, WireError};

/// Entry points of the fuzz targets into the parsers.
#[doc(hidden)]
pub mod fuzz {
    use bytes::BytesMut;

    use crate::event::Event;
    use crate::wire::{Frame, socket_of, take_frame};

    /// Parses frames, and the events and handshakes in them; returns the number of events.
    #[must_use]
    pub fn frames(received: &[u8]) -> usize {
        let mut buffer = BytesMut::from(received);
        let mut events = 0;
        while let Ok(Some(frame)) = take_frame(&mut buffer, 1 << 16) {
            match frame {
                Frame::Part(body, _) => events += usize::from(Event::unpack(&body).is_ok()),
                Frame::Command(body) => drop(socket_of(&body)),
            }
        }
        events
    }

    /// Parses an event; one that is valid is the same after packing.
    pub fn event(bytes: &[u8]) {
        if let Ok(event) = Event::unpack(bytes) {
            let packed = event.pack();
            let again = Event::unpack(&packed).map(Event::pack);
            assert_eq!(again.as_deref(), Ok(&packed[..]));
        }
    }
}
