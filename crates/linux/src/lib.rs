//! Processes as Linux has them: started, signalled, reaped.
//!
//! * [`signals`]: what others send us, read from a descriptor
//! * [`spawn`]: the one way to start a process
//! * [`reap`]: the one place that waits for children
//! * [`process_table`]: what belongs to a run, and how it is signalled until nothing is left
//! * [`terminal`]: who has the terminal
//! * [`ids`]: groups and sessions by number
//! * [`cgroup`]: control groups, where a part of their tree is ours
//! * [`descriptors`]: how many we may have
//! * [`procfs`]: what `/proc` knows
//! * [`clock`], [`pipe`], [`readable`]: time, pipes and descriptors for the event loop
//! * [`notify`], [`notify_listener`]: sd_notify(3), sent and received
//! * [`resource_usage`]: CPU and memory of process trees
//! * [`pidfd`]: holding on to processes that are not ours

pub mod cgroup;
pub mod clock;
pub mod descriptors;
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
