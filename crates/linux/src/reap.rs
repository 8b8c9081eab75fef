//! Reaping of children; the only module that waits for them.
//!
//! One thread both starts and reaps children: no exit is seen before the child is in the process table, and a
//! process ID is safe to signal until the child is reaped here.

use engine::{Exit, Signal};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitOptions, WaitStatus, wait, waitid};

use spec::program::Pid;

/// A state change of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It has exited and was reaped; its ID may be reused.
    Ended(Exit),
    /// It was stopped by this signal.
    Suspended(Signal),
    /// It was continued.
    Resumed,
}

/// Reaps all state changes of children since the last call, adopted orphans included. Never blocks. One SIGCHLD may
/// stand for several changes, so all pending ones are taken.
#[must_use]
pub fn reap() -> Vec<(Pid, Change)> {
    let mut changes = Vec::new();
    loop {
        match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED) {
            Ok(Some((pid, status))) => {
                if let Some(change) = meaning(status) {
                    changes.push((pid.as_raw_nonzero().get(), change));
                }
            }
            Err(Errno::INTR) => {}
            // No more changes, or no children.
            Ok(None) | Err(_) => return changes,
        }
    }
}

/// Whether a child has exited and not been reaped.
#[must_use]
pub fn has_ended(pid: Pid) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let child = rustix::process::Pid::from_raw(pid).map(WaitId::Pid);
    child.is_some_and(|child| matches!(waitid(child, look), Ok(Some(_))))
}

/// Whether there are any children, running or exited.
#[must_use]
pub fn any_children() -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::All, look), Err(Errno::CHILD))
}

fn meaning(status: WaitStatus) -> Option<Change> {
    if let Some(code) = status.exit_status() {
        Some(Change::Ended(Exit::Code(code)))
    } else if let Some(signal) = status.terminating_signal() {
        Some(Change::Ended(Exit::Signal(Signal(signal))))
    } else if let Some(signal) = status.stopping_signal() {
        Some(Change::Suspended(Signal(signal)))
    } else {
        status.continued().then_some(Change::Resumed)
    }
}

/// Makes sexton the reaper of orphaned descendants; PID 1 is one anyway.
pub fn adopt_orphans() {
    if std::process::id() == 1 {
        return;
    }
    let set = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let read_back = rustix::process::child_subreaper();
    if set.is_err() || !matches!(read_back, Ok(Some(_))) {
        log::warn!(
            "cannot adopt orphans (PR_SET_CHILD_SUBREAPER): processes that leave their process group will not be stopped"
        );
    }
}
