//! A small client of the Kubernetes API: the state of a pod's containers, once ([`Client::pod`]) or as it changes
//! ([`watch::watch_pod`]), and the identity of a pod and its node ([`Client::pod_identity`]).
//!
//! ```text
//!  environment, service account ─► Config ─► Client ─┬─ pod ──► PodState
//!                                                    └─ watch_pod: list ─► watch ─► Update, Update, …
//!                                                                   ▲        │
//!                                                                   └────────┘ 410 Gone
//! ```
//!
//! * HTTP/1.1 over TLS. The server certificate is verified: the cluster's CA and the host name or address.
//! * Each request uses its own connection: a watch keeps one for minutes, and there are few other requests.
//! * The token is read again for each request, since projected tokens are rotated.
//! * Every response is limited in size and time.

#![forbid(unsafe_code)]

mod client;
mod config;
mod error;
mod exchange;
#[cfg(feature = "fake")]
pub mod fake;
mod identity;
mod limits;
mod names;
mod pod;
mod status;
mod tls;
pub mod watch;

pub use client::Client;
pub use config::{Config, SERVICE_ACCOUNT};
pub use error::{Kind, KubeError};
pub use identity::{NodeIdentity, Pairs, PodIdentity};
pub use limits::{Limits, Pace};
pub use pod::{ContainerState, PodState, RunState};
