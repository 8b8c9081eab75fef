//! The limit of open descriptors (RLIMIT_NOFILE), for sexton and for its processes.
//!
//! Each process costs two descriptors, for its output, so sexton raises its soft limit to the hard limit. A process
//! gets the original limit back: many programs close every possible descriptor, or use select(2), which cannot handle
//! numbers beyond 1024.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit to the hard limit.
pub fn raise() {
    let before = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: before.maximum, ..before }).is_ok() {
        let _ = BEFORE.set(before);
    }
}

/// The original soft and hard limit, for processes; None if the limit was not changed.
#[must_use]
pub fn for_processes() -> Option<(u64, u64)> {
    let Rlimit { current, maximum } = BEFORE.get()?;
    Some((current.unwrap_or(libc::RLIM_INFINITY), maximum.unwrap_or(libc::RLIM_INFINITY)))
}
