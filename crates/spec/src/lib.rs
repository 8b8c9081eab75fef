//! Plans and text rules that every layer may name: no I/O, no clock.
//!
//! The configuration makes these plans of files, flags and variables; everything above only reads them.
#![forbid(unsafe_code)]

pub mod dsn;
pub mod duration;
pub mod ensemble;
pub mod environment;
pub mod listen;
pub mod lock;
pub mod logs;
pub mod names;
pub mod notify;
pub mod pod;
pub mod probe;
pub mod program;
pub mod reload;
pub mod store;
pub mod suggest;
pub mod text;
pub mod tls;
pub mod watch;
