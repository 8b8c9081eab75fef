//! The few calls of the Kubernetes API that sexton needs: what state the containers of a pod are in, once
//! ([`Client::pod`]) or as it changes ([`watch::watch_pod`]), and who a pod and its node are ([`Client::pod_identity`]).
//!
//! ```text
//!  environment, service account ─► Config ─► Client ─┬─ pod ──► PodState
//!                                                    └─ watch_pod: list ─► watch ─► Update, Update, …
//!                                                                   ▲        │
//!                                                                   └────────┘ 410 Gone
//! ```
//!
//! * HTTP/1.1 over TLS. The cluster's CA is verified, and the name or address of the server.
//! * Each call has a connection of its own: a watch keeps one for minutes, and there is little else to send.
//! * The token is read anew for each call, since projected tokens are replaced while we run.
//! * What is read is bounded in size and in time, whatever the other side does.
//!
//! The crate knows pods and their containers, and nothing of who wants to know about them.

mod client;
mod config;
mod error;
mod exchange;
mod identity;
mod limits;
mod names;
mod pod;
#[cfg(feature = "pretend")]
pub mod pretend;
mod status;
mod tls;
pub mod watch;

pub use client::Client;
pub use config::{Config, SERVICE_ACCOUNT};
pub use error::{Kind, KubeError};
pub use identity::{NodeIdentity, Pairs, PodIdentity};
pub use limits::{Limits, Pace};
pub use pod::{ContainerState, PodState, State};
