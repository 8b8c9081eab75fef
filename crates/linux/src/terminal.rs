//! Who has the terminal.
//!
//! When our standard input is a terminal and we are its foreground job, the process that we start becomes
//! the foreground job instead: its keys (Ctrl-C, Ctrl-Z, Ctrl-\) go to it alone, and it may read.
//!
//! ```text
//!            Ctrl-Z: the group is stopped      we take the terminal back and stop ourselves
//! group ─────────────────────────────────► us ──────────────────────────────────────────► shell
//!   ▲                                       │                                              │ fg, bg
//!   └── CONT; the terminal too, if it is ours ◄──────────────── CONT ──────────────────────┘
//! ```
//!
//! So the shell sees what it would have seen without us. See "Implementing a Job Control Shell" in the
//! manual of the GNU C library.

use std::cell::{Cell, RefCell};

use engine::Signal;
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

use super::signals::{self, kill};
use super::{ids, procfs};
use spec::program::Pid;

/// The terminal that is our standard input.
#[derive(Debug)]
pub struct Terminal {
    /// Its modes when we began.
    modes: Option<Termios>,
    /// Its modes when the group was stopped, until it goes on.
    modes_of_group: RefCell<Option<Termios>>,
    /// The process, or some job of its making, has the terminal: it was ours, and we gave it away.
    given: Cell<bool>,
}

/// What to do about a group that was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterSuspension {
    /// Continue it at once.
    Continue,
    /// Wait for a CONT.
    Wait,
}

impl Terminal {
    /// None: standard input is no terminal.
    #[must_use]
    pub fn on_stdin() -> Option<Self> {
        isatty(stdin()).then(|| Self {
            modes: tcgetattr(stdin()).ok(),
            modes_of_group: RefCell::default(),
            given: Cell::new(false),
        })
    }

    /// Are we the foreground job now?
    #[must_use]
    pub fn is_ours(&self) -> bool {
        ids::foreground() == Some(ids::own_group())
    }

    /// A process is about to be started. True: it shall [take](take_as_child) the terminal.
    #[must_use]
    pub fn offer(&self) -> bool {
        self.given.set(self.is_ours());
        self.given.get()
    }

    /// The process has ended, or could not be started after all. If the terminal was given to it we take it
    /// back, whichever of its jobs had it; with the modes that we found, if it had no chance to tidy up.
    pub fn ended(&self, by_signal: bool) {
        if self.given.replace(false) {
            self.take();
            if by_signal {
                self.set_modes(self.modes.as_ref());
            }
        }
    }

    /// The group was stopped.
    #[must_use]
    pub fn suspended(&self, group: Pid, signal: Signal) -> AfterSuspension {
        if matches!(signal.0, libc::SIGTTIN | libc::SIGTTOU) && self.is_ours() {
            // It was started or continued in the background; meanwhile we were brought to the foreground.
            self.give(group);
            return AfterSuspension::Continue;
        }
        let somebody = !nobody_would_continue_us();
        if somebody {
            self.take_from_group();
        }
        if signal.suspends() {
            return suspend_ourselves(signal);
        }
        // STOP is somebody's deliberate act. The shell, if there is one, is told by our own stop.
        if somebody {
            let _ = kill(own_number(), libc::SIGSTOP);
        }
        AfterSuspension::Wait
    }

    /// We were continued: the group gets the terminal, if we did.
    pub fn continued(&self, group: Pid) {
        if self.is_ours() {
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
        // TTOU is blocked, like all signals: then tcsetpgrp(3) works from the background too.
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

/// Stops us by this signal, as our process was stopped or as we were asked to, until the shell continues us.
pub fn suspend_ourselves(signal: Signal) -> AfterSuspension {
    if nobody_would_continue_us() {
        // Nobody would ever say `fg`. For TSTP the kernel has a rule: a group that nobody could continue
        // ("orphaned", setpgid(2)) is not stopped, and without us the process would have been in one. But
        // who was stopped for reading would only be stopped for reading again.
        return if signal == Signal::TSTP { AfterSuspension::Continue } else { AfterSuspension::Wait };
    }
    // The other members of a pipeline `sexton … | less` stop with us, as they would have without us; and the
    // shell is told by which signal.
    let _ = kill(-ids::own_group(), signal.0);
    signals::take_effect(signal);
    AfterSuspension::Wait
}

/// Is our process group orphaned (setpgid(2))? Then there is no shell above us that would say `fg`: the
/// nearest ancestor outside our group is in another session, or there is none.
fn nobody_would_continue_us() -> bool {
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

fn own_number() -> Pid {
    Pid::try_from(std::process::id()).unwrap_or(0)
}

/// In a child that leads its own group, before it executes: makes the group the foreground job. The child
/// does it itself, lest it read before it may; TTOU is still blocked, lest it be stopped for asking. Where it
/// fails the process works all the same, in the background.
pub fn take_as_child() {
    ids::set_foreground(ids::own_group());
}
