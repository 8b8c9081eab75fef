//! The HTTP server. What it answers comes from the [hub](crate::status::hub), so an answer never waits for anything that is
//! going on. Over TCP it only reads; what changes anything is asked over the control socket ([`mod@control`]).

mod control;
mod health;
mod routes;
mod status;

pub use control::control_router;
pub use routes::router;
