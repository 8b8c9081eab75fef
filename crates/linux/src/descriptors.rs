//! How many descriptors we may have, and how many our processes may.
//!
//! Each process costs us two, for its output; so we take as many as the hard limit allows. A process gets back what we
//! had: many programs close each descriptor that they may have, or use select(2), which cannot count beyond 1024.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Takes as many as we may have.
pub fn raise() {
    let before = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: before.maximum, ..before }).is_ok() {
        let _ = BEFORE.set(before);
    }
}

/// What a process gets, if it is another limit than ours: soft and hard.
#[must_use]
pub fn for_processes() -> Option<(u64, u64)> {
    let Rlimit { current, maximum } = BEFORE.get()?;
    Some((current.unwrap_or(libc::RLIM_INFINITY), maximum.unwrap_or(libc::RLIM_INFINITY)))
}
