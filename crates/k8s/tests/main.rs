//! Tests of the client with the fake API server: TLS, HTTP and JSON are real, faults are injected. Tests wait for
//! requests and updates, not for time to pass.

mod calls;
mod harness;
mod trust;
mod watch;
mod watch_faults;
