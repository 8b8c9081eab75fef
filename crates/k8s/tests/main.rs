//! The client against a pretend API server: TLS, HTTP and JSON are real, the faults are made on purpose. Nothing
//! waits for time to pass, but for what the server was asked or the client tells.

mod calls;
mod harness;
mod trust;
mod watch;
mod watch_faults;
