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
