//! An ensemble of pods: members send keepalives, masters keep an ordered list of them, and the leader runs a callback.
//!
//! ```text
//! payload file ─► reporter ──PUT /ping──► routes ──► Registry (ensemble crate) ──► store
//!                                                      │ changed           ▲
//!                          leadership ──Won, Lost──► Driver ──► callback ──┘ state, with the fence
//!                                                      │
//!                                                    hub, api state ──► routes
//! ```
//!
//! * [`identity`]: discovers the identity of this pod
//! * [`peers`]: clients for other pods
//! * [`proof`]: authorization of commands and keepalives
//! * [`rpc`]: the API over ZeroRPC
//! * [`plan`]: configuration of an ensemble
//! * `payload`: the payload of keepalives
//! * `reporter`: sends keepalives
//! * [`leadership`]: the lock of the leader
//! * [`state`]: saves the state of callbacks
//! * [`callback`]: one run of the callback
//! * [`leadership_leases`]: leases that depend on the leadership
//! * [`commands`]: commands requested by other pods
//! * [`counters`] and statsd: metrics
//! * `reading`: reads the output of commands
//! * [`routes`]: the HTTP API
//! * [`driver`]: the event loop

pub mod callback;
pub mod commands;
pub mod counters;
pub mod driver;
pub mod identity;
pub mod leadership;
pub mod leadership_leases;
mod payload;
pub mod peers;
pub mod plan;
pub mod proof;
mod reading;
mod reporter;
pub mod routes;
pub mod rpc;
pub mod state;

pub use driver::Driver;
pub use spec::ensemble::EnsemblePlan;
