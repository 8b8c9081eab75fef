//! Linux processes: start, signal, reap.
//!
//! * [`signals`]: received signals, read from a signalfd
//! * [`spawn`]: process start; the only module that forks
//! * [`exec`]: which file is executed, and why that fails
//! * [`reap`]: the only module that waits for children
//! * [`process_table`]: the processes of a run, and signals to them until none is left
//! * [`terminal`]: foreground process group of the terminal
//! * [`ids`]: process groups and sessions by number
//! * [`cgroup`]: control groups, where a subtree is delegated
//! * [`descriptors`]: limits of open descriptors
//! * [`procfs`]: process information from `/proc`
//! * [`pidfd`]: references to processes that are not children
//! * [`blocking`]: blocking work on threads
//! * [`clock`], [`pipe`], [`readable`]: time, pipes and descriptors for the event loop
//! * [`notify`], [`notify_listener`]: sd_notify(3), sent and received
//! * [`resource_usage`]: CPU and memory of process trees
//! * [`sys`]: other unsafe calls
//!
//! The only crate with unsafe code: the modules `ids`, `pidfd`, `readable`, `signals`, `spawn` and `sys`.
#![deny(unsafe_code)]

pub mod blocking;
pub mod cgroup;
pub mod clock;
pub mod descriptors;
mod exec;
pub mod ids;
pub mod notify;
pub mod notify_listener;
pub mod pidfd;
pub mod pipe;
pub mod process_table;
pub mod procfs;
pub mod readable;
pub mod reap;
pub mod resource_usage;
pub mod signals;
pub mod spawn;
pub mod sys;
pub mod terminal;
