//! Process groups, sessions and the terminal's foreground group.
//!
//! An ID may be 0: a group or session outside the own PID namespace (pid_namespaces(7)). It must not be
//! signalled or compared as if it were a real ID.
#![allow(unsafe_code)]

use std::os::fd::RawFd;

use spec::program::Pid;

/// Standard input, which may be a terminal.
const STDIN: RawFd = 0;

/// The parent process; 0 when it is outside the PID namespace.
#[must_use]
pub fn parent() -> Pid {
    // SAFETY: no memory is involved.
    unsafe { libc::getppid() }
}

/// The process group of sexton.
#[must_use]
pub fn own_group() -> Pid {
    // SAFETY: no memory is involved.
    unsafe { libc::getpgrp() }
}

/// The process group of a process.
#[must_use]
pub fn group_of(pid: Pid) -> Option<Pid> {
    // SAFETY: no memory is involved.
    let group = unsafe { libc::getpgid(pid) };
    (group >= 0).then_some(group)
}

/// The session of a process; 0 selects the calling process.
#[must_use]
pub fn session_of(pid: Pid) -> Option<Pid> {
    // SAFETY: no memory is involved.
    let session = unsafe { libc::getsid(pid) };
    (session >= 0).then_some(session)
}

/// The foreground group of the terminal on standard input.
#[must_use]
pub fn foreground() -> Option<Pid> {
    // SAFETY: no memory is involved.
    let group = unsafe { libc::tcgetpgrp(STDIN) };
    (group > 0).then_some(group)
}

/// Sets the foreground group of the terminal on standard input. Async-signal-safe.
pub fn set_foreground(group: Pid) -> bool {
    // SAFETY: no memory is involved.
    group > 0 && unsafe { libc::tcsetpgrp(STDIN, group) } == 0
}
