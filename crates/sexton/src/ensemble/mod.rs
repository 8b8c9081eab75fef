//! An ensemble of pods: members report, masters keep an ordered list of them, and the one that leads runs a callback.
//!
//! ```text
//! payload file ─► reporter ──PUT /ping──► routes ──► Registry (ensemble crate) ──► store
//!                                                      │ changed           ▲
//!                          leadership ──Won, Lost──► Driver ──► callback ──┘ state, with the fence
//!                                                      │
//!                                                    hub, table ──► routes
//! ```
//!
//! * [`identity`]: who this pod is, where nobody has said so
//! * [`peers`]: how other pods are spoken to
//! * [`proof`]: who may have us run commands
//! * [`rpc`]: the same by ZeroRPC
//! * [`plan`]: what an ensemble is asked to do
//! * `payload`: what a member tells
//! * `reporter`: a member's signs of life
//! * [`leadership`]: one master leads
//! * [`state`]: what callbacks leave behind in the store
//! * [`callback`]: one run of the callback
//! * [`tenants`]: processes that run by our leadership
//! * [`commands`]: what others may have us run
//! * [`counters`]: what is counted
//! * `reading`: what commands print
//! * [`routes`]: what is answered
//! * [`driver`]: all together

pub mod callback;
pub mod commands;
pub mod counters;
pub mod driver;
pub mod identity;
pub mod leadership;
mod payload;
pub mod peers;
pub mod plan;
pub mod proof;
mod reading;
mod reporter;
pub mod routes;
pub mod rpc;
pub mod state;
pub mod tenants;

pub use driver::Driver;
pub use spec::ensemble::EnsemblePlan;
