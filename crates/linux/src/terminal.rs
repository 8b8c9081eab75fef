//! Job control: the foreground process group of the terminal.
//!
//! When standard input is a terminal and sexton is its foreground job, the process that sexton starts becomes the
//! foreground job instead: its keys (Ctrl-C, Ctrl-Z, Ctrl-\) reach only that process, and it may read from it.
//!
//! ```text
//!              Ctrl-Z: the group is stopped        sexton takes the terminal back and stops itself
//! group ───────────────────────────────────► sexton ─────────────────────────────────────────────► shell
//!   ▲                                           │                                                   │ fg, bg
//!   └─ SIGCONT; terminal too, if in foreground ◄────────────────── SIGCONT ─────────────────────────┘
//! ```
//!
//! So the shell sees the same as without sexton. See "Implementing a Job Control Shell" in the GNU C library manual.

use std::cell::{Cell, RefCell};

use engine::Signal;
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

use super::signals::{self, kill};
use super::{ids, procfs};
use spec::program::Pid;

/// The terminal on standard input.
#[derive(Debug)]
pub struct Terminal {
    /// Modes at the start of sexton.
    modes: Option<Termios>,
    /// Modes at the time the group was stopped, until it is continued.
    modes_of_group: RefCell<Option<Termios>>,
    /// Whether sexton had the terminal and gave it to the process (which may have passed it on to its own jobs).
    given: Cell<bool>,
}

/// What to do about a process group that was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterSuspension {
    /// Continue it immediately.
    Continue,
    /// Wait for SIGCONT.
    Wait,
}

impl Terminal {
    /// The terminal on standard input; None if standard input is not a terminal.
    #[must_use]
    pub fn on_stdin() -> Option<Self> {
        isatty(stdin()).then(|| Self {
            modes: tcgetattr(stdin()).ok(),
            modes_of_group: RefCell::default(),
            given: Cell::new(false),
        })
    }

    /// Whether sexton is the foreground job.
    #[must_use]
    pub fn is_foreground(&self) -> bool {
        ids::foreground() == Some(ids::own_group())
    }

    /// Called before a process is started. Returns whether the child must [take](take_as_child) the terminal.
    #[must_use]
    pub fn offer(&self) -> bool {
        self.given.set(self.is_foreground());
        self.given.get()
    }

    /// Takes the terminal back, if it was given away, after the process has exited or failed to start. If a signal
    /// killed it, it could not restore the modes: the initial ones are set.
    pub fn ended(&self, by_signal: bool) {
        if self.given.replace(false) {
            self.take();
            if by_signal {
                self.set_modes(self.modes.as_ref());
            }
        }
    }

    /// Handles a stop of the process group.
    #[must_use]
    pub fn suspended(&self, group: Pid, signal: Signal) -> AfterSuspension {
        if matches!(signal.0, libc::SIGTTIN | libc::SIGTTOU) && self.is_foreground() {
            // It was started or continued in the background; sexton was brought to the foreground since.
            self.give(group);
            return AfterSuspension::Continue;
        }
        let has_shell = !in_orphaned_group();
        if has_shell {
            self.take_from_group();
        }
        if signal.suspends() {
            return suspend_self(signal);
        }
        // SIGSTOP was sent on purpose. Stopping sexton too informs the shell, if there is one.
        if has_shell {
            let _ = kill(own_pid(), libc::SIGSTOP);
        }
        AfterSuspension::Wait
    }

    /// Handles SIGCONT: gives the terminal to the group if sexton is in the foreground.
    pub fn continued(&self, group: Pid) {
        if self.is_foreground() {
            self.set_modes(self.modes_of_group.take().as_ref());
            self.give(group);
        }
    }

    fn take_from_group(&self) {
        if self.given.replace(false) {
            *self.modes_of_group.borrow_mut() = tcgetattr(stdin()).ok();
            self.take();
            self.set_modes(self.modes.as_ref());
        }
    }

    fn take(&self) {
        // SIGTTOU is blocked, like all signals, so tcsetpgrp(3) works from the background too.
        ids::set_foreground(ids::own_group());
    }

    fn give(&self, group: Pid) {
        self.given.set(ids::set_foreground(group));
    }

    fn set_modes(&self, modes: Option<&Termios>) {
        if let Some(modes) = modes {
            let _ = tcsetattr(stdin(), OptionalActions::Now, modes);
        }
    }
}

/// Stops sexton by this signal until the shell continues it: because the process was stopped, or on request.
pub fn suspend_self(signal: Signal) -> AfterSuspension {
    if in_orphaned_group() {
        // No shell would continue sexton. The kernel does not stop an orphaned process group (setpgid(2)) by
        // SIGTSTP, and without sexton the process would have been in one. After SIGTTIN, continuing would only
        // stop it again.
        return if signal == Signal::TSTP { AfterSuspension::Continue } else { AfterSuspension::Wait };
    }
    // The other members of a pipeline `sexton … | less` stop too, as without sexton, and the shell sees the signal.
    let _ = kill(-ids::own_group(), signal.0);
    signals::take_effect(signal);
    AfterSuspension::Wait
}

/// Whether the process group of sexton is orphaned (setpgid(2)): the nearest ancestor outside the group is in
/// another session or does not exist, so no shell can continue it.
fn in_orphaned_group() -> bool {
    let session = ids::session_of(0);
    let mut ancestor = ids::parent();
    while ancestor > 0 {
        if ids::session_of(ancestor) != session {
            return true;
        }
        if ids::group_of(ancestor) != Some(ids::own_group()) {
            return false;
        }
        ancestor = procfs::stat(ancestor).map_or(0, |stat| stat.ppid);
    }
    true
}

fn own_pid() -> Pid {
    Pid::try_from(std::process::id()).unwrap_or(0)
}

/// Makes the child's own process group the foreground job; called in the child before exec, so that it cannot read
/// too early. SIGTTOU is still blocked, so the call does not stop it. If it fails, the process runs in the background.
pub fn take_as_child() {
    ids::set_foreground(ids::own_group());
}
