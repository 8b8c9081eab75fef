//! Groups, sessions and the terminal's foreground group, by number.
//!
//! A number may be 0: that of a group or session outside our PID namespace (pid_namespaces(7)). It is no
//! number to act upon, and must not be taken for one.

use std::os::fd::RawFd;

use spec::program::Pid;

/// Standard input, as the terminal that we may have.
const STDIN: RawFd = 0;

/// Our parent; 0 when it is outside our PID namespace.
#[must_use]
pub fn parent() -> Pid {
    // SAFETY: no memory is involved.
    unsafe { libc::getppid() }
}

/// Our process group.
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

/// The session of a process; of ourselves for 0.
#[must_use]
pub fn session_of(pid: Pid) -> Option<Pid> {
    // SAFETY: no memory is involved.
    let session = unsafe { libc::getsid(pid) };
    (session >= 0).then_some(session)
}

/// The foreground group of the terminal that is our standard input.
#[must_use]
pub fn foreground() -> Option<Pid> {
    // SAFETY: no memory is involved.
    let group = unsafe { libc::tcgetpgrp(STDIN) };
    (group > 0).then_some(group)
}

/// Makes a group the foreground group of the terminal that is our standard input. Safe after a fork.
pub fn set_foreground(group: Pid) -> bool {
    // SAFETY: no memory is involved.
    group > 0 && unsafe { libc::tcsetpgrp(STDIN, group) } == 0
}
