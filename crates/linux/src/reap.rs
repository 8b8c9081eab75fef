//! The one place that waits for children.
//!
//! Children are started and reaped by the same thread, one after the other: an exit cannot be seen before
//! the number of the child is in the books, and a number is safe to signal until it is reaped here.

use engine::{Exit, Signal};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitOptions, WaitStatus, wait, waitid};

use spec::program::Pid;

/// What became of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It has ended, and its number is free.
    Ended(Exit),
    /// It was stopped.
    Suspended(Signal),
    /// It goes on.
    Resumed,
}

/// All that has happened to children since the last call, orphans that were handed to us included. Never
/// blocks. One CHLD may stand for many changes, so all are taken.
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
            // Nothing more has happened, or there are no children.
            Ok(None) | Err(_) => return changes,
        }
    }
}

/// Has a child ended that was not reaped yet?
#[must_use]
pub fn has_ended(pid: Pid) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let child = rustix::process::Pid::from_raw(pid).map(WaitId::Pid);
    child.is_some_and(|child| matches!(waitid(child, look), Ok(Some(_))))
}

/// Have we any children at all, ended or not?
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

/// Makes orphaned descendants ours to reap, where we are not PID 1, whose they are anyway.
pub fn adopt_orphans() {
    if std::process::id() == 1 {
        return;
    }
    let set = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let read_back = rustix::process::child_subreaper();
    if set.is_err() || !matches!(read_back, Ok(Some(_))) {
        log::warn!(
            "we cannot adopt orphans (PR_SET_CHILD_SUBREAPER): processes that leave their group will escape us"
        );
    }
}
