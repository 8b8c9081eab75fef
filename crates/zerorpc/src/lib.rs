//! ZeroRPC, protocol version 3, over ZeroMQ's transport (ZMTP 3.0): a server and a client on any byte stream. A server
//! can share its port with other protocols: the first byte of a connection is [`FIRST_BYTE`], which neither HTTP nor TLS
//! starts with.
//!
//! ```text
//! bytes ◄─► wire (greeting, frames, messages) ◄─► event (MessagePack) ◄─► channel (heartbeats, slots; pure)
//!                                                                           ▲             ▲
//!                                                                        server         client
//! ```
//!
//! * A call is a channel, identified by the id of its first message. Both sides send heartbeats on it, and close it after
//!   two missed heartbeats.
//! * Each value sent on a channel takes a slot; `_zpc_more` adds slots. So a stream never runs ahead of its reader.
//! * There is one task for each connection, and no thread.
//!
//! The reference is the PyPI package `zerorpc`, and RFC 23 of ZeroMQ for ZMTP.

#![forbid(unsafe_code)]

mod channel;
mod client;
mod event;
mod server;
mod wire;

pub use channel::HEARTBEAT;
pub use client::{CallError, Client, Replies};
pub use event::Fault;
pub use rmpv::Value;
pub use server::{Call, Method, Response, ResponseFuture, Service, ValueStream, serve};
pub use wire::{FIRST_BYTE, LONGEST, WireError};

/// Entry points of the fuzz targets into the parsers.
#[doc(hidden)]
pub mod fuzz {
    use bytes::BytesMut;

    use crate::event::Event;
    use crate::wire::{Frame, socket_type_of, take_frame};

    /// Parses frames, and the events and handshakes in them; returns the number of events.
    #[must_use]
    pub fn frames(received: &[u8]) -> usize {
        let mut buffer = BytesMut::from(received);
        let mut events = 0;
        while let Ok(Some(frame)) = take_frame(&mut buffer, 1 << 16) {
            match frame {
                Frame::Part(body, _) => events += usize::from(Event::unpack(&body).is_ok()),
                Frame::Command(body) => drop(socket_type_of(&body)),
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
