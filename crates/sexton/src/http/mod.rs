//! The HTTP server. It only reads: what it answers comes from the [hub](crate::hub), so an answer never
//! waits for anything that is going on.

mod health;
mod routes;
mod server;
mod status;

pub use routes::router;
pub use server::Server;
