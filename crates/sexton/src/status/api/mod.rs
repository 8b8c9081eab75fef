//! The HTTP API. Responses are made from the [hub](crate::status::hub), so they never wait for the supervisor. TCP sockets
//! are read-only; requests that change anything need the control socket ([`mod@control`]).

mod control;
mod health;
mod routes;
mod status;

pub use control::control_router;
pub use routes::router;
