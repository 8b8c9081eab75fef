//! Processes as Linux has them: started, signalled, reaped.
//!
//! * [`signals`]: what others send us, read from a descriptor
//! * [`spawn`]: the one way to start a process
//! * [`reap`]: the one place that waits for children
//! * [`group`]: what belongs to a run, and how it is signalled until nothing is left
//! * [`terminal`]: who has the terminal
//! * [`ids`]: groups and sessions by number
//! * [`cgroup`]: control groups, where a part of their tree is ours
//! * [`descriptors`]: how many we may have
//! * [`procfs`]: what `/proc` knows
//! * [`pidfd`]: holding on to processes that are not ours

pub mod cgroup;
pub mod descriptors;
pub mod group;
pub mod ids;
pub mod pidfd;
pub mod procfs;
pub mod reap;
pub mod signals;
pub mod spawn;
pub mod terminal;

use std::path::PathBuf;

/// First argument by which the executable acts as sexton, whatever name it is run under.
pub const AS_SEXTON: &str = "--as-sexton";

/// The program that we are. It may have been replaced since it was started; then it has no name any more.
#[must_use]
pub fn ourselves() -> PathBuf {
    std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| "/proc/self/exe".into())
}

/// The number of a process. Numbers are used again: one is only safe while the process is our unreaped
/// child, or while it leads a group that is not empty.
pub type Pid = i32;
