//! The guard: another process of ours that knows until when each run may be there, and kills it then, whatever has
//! become of us.
//!
//! It reads records from a pipe and sleeps until the earliest of the times that it was told. As long as we live, each
//! keepalive that was answered moves that time. When the pipe ends we are gone: then it asks the runs to end at once,
//! and kills what is left when their times have come. It ignores the signals that ask a program to end, and ends by
//! itself when there is nothing left to guard.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::{RunId, Signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::pace::Boot;
use linux::process_table::MARK;
use linux::procfs;
use linux::signals::kill;
use spec::program::Pid;

/// Three numbers of eight bytes each: what, of which run, and a value. A write of so few bytes to a pipe is whole
/// (`PIPE_BUF` of pipe(7)).
const RECORD: usize = 24;
/// The run may be there until then (ns, `CLOCK_BOOTTIME`).
const ARM: u64 = 1;
/// The number of its process, and of its group.
const GROUP: u64 = 2;
/// Nothing of the run is there any more.
const FREE: u64 = 3;
/// Everything that was told is void; it is told anew.
const CLEAR: u64 = 4;

/// Between looks at whether what was killed is gone, at first and at most.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// What the guard has to know of a run.
#[derive(Debug, Clone, Copy, Default)]
struct Charge {
    until: Option<Boot>,
    pid: Option<Pid>,
}

#[derive(Debug, Default)]
struct Books {
    charges: BTreeMap<RunId, Charge>,
    /// Something could not be told: all of it is told again.
    behind: bool,
    /// Where the guard listens; None: there is none.
    pipe: Option<File>,
}

/// The way to the guard. What it has to know is kept here, too: if it ends, the next one is told all of it.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    books: Arc<Mutex<Books>>,
}

impl Guard {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a guard (again), who reads from the other end of this pipe. Writing to it must not block.
    pub fn stands(&self, pipe: File) {
        let mut books = self.books();
        books.pipe = Some(pipe);
        books.tell_all();
    }

    /// Until when a run may be there.
    #[must_use]
    pub fn until(&self, run: RunId) -> Option<Boot> {
        self.books().charges.get(&run).and_then(|charge| charge.until)
    }

    /// There is none at present.
    pub fn fell(&self) {
        self.books().pipe = None;
    }

    /// Is there one?
    #[must_use]
    pub fn is_standing(&self) -> bool {
        self.books().pipe.is_some()
    }

    /// A run may be there until then.
    pub fn arm(&self, run: RunId, until: Boot) {
        let mut books = self.books();
        books.charges.entry(run).or_default().until = Some(until);
        books.tell(ARM, run, until.0);
    }

    /// The process of a run that is guarded.
    pub fn group(&self, run: RunId, pid: Pid) {
        let mut books = self.books();
        if let Some(charge) = books.charges.get_mut(&run) {
            charge.pid = Some(pid);
            books.tell(GROUP, run, u64::from(pid.unsigned_abs()));
        }
    }

    /// Nothing of a run is there any more.
    pub fn free(&self, run: RunId) {
        let mut books = self.books();
        if books.charges.remove(&run).is_some() {
            books.tell(FREE, run, 0);
        }
    }
}

impl Books {
    /// From nothing on.
    fn tell_all(&mut self) {
        self.behind = false;
        self.write(CLEAR, RunId(0), 0);
        for (run, charge) in self.charges.clone() {
            if let Some(until) = charge.until {
                self.write(ARM, run, until.0);
            }
            if let Some(pid) = charge.pid {
                self.write(GROUP, run, u64::from(pid.unsigned_abs()));
            }
        }
    }

    fn tell(&mut self, what: u64, run: RunId, value: u64) {
        if self.behind {
            self.tell_all();
        } else {
            self.write(what, run, value);
        }
    }

    fn write(&mut self, what: u64, run: RunId, value: u64) {
        let Some(pipe) = &mut self.pipe else { return };
        let record = [what.to_ne_bytes(), run.0.to_ne_bytes(), value.to_ne_bytes()].concat();
        match pipe.write(&record) {
            Ok(_) => {}
            // It is stopped, and was for long. It is told all again with the next keepalive; to hang up would have it
            // believe that we are gone.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !std::mem::replace(&mut self.behind, true) {
                    log::error!("the guard of the locks does not listen");
                }
            }
            Err(error) => {
                log::error!("the guard of the locks is gone: {error}");
                self.pipe = None;
            }
        }
    }
}

/// What the guard knows of a run.
#[derive(Debug, Clone, Copy)]
struct Watched {
    charge: Charge,
    /// When its process was started: another of that number is none of ours.
    started: Option<u64>,
    /// It was killed, and is looked at again then, after this pause.
    killed: Option<(Boot, Duration)>,
}

struct Post {
    /// Whose runs they are.
    of: Pid,
    runs: BTreeMap<RunId, Watched>,
    /// Nobody tells us anything any more.
    alone: bool,
}

/// Stands guard for that process until it has ended and nothing is left to guard. Records come from `orders`.
pub fn stand(of: Pid, orders: &OwnedFd) -> io::Result<()> {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2] {
        // SAFETY: to ignore a signal takes no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let mut post = Post { of, runs: BTreeMap::new(), alone: false };
    let mut unread = Vec::new();
    loop {
        post.look(Boot::now());
        if post.alone && post.runs.is_empty() {
            return Ok(());
        }
        set(&timer, post.next())?;
        let mut waited = [PollFd::new(&timer, PollFlags::IN), PollFd::new(orders, PollFlags::IN)];
        let waited = if post.alone { &mut waited[..1] } else { &mut waited[..] };
        match poll(waited, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !post.alone && waited[1].revents() != PollFlags::empty() {
            post.read(orders, &mut unread)?;
        }
    }
}

fn set(timer: &OwnedFd, next: Option<Boot>) -> io::Result<()> {
    // A time of zero would disarm it: what is past is one nanosecond after the boot.
    let at = next.map_or(0, |at| at.0.max(1));
    let spec = |nanos: u64| Timespec {
        tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
    };
    let once = Itimerspec { it_interval: spec(0), it_value: spec(at) };
    timerfd_settime(timer.as_fd(), TimerfdTimerFlags::ABSTIME, &once)?;
    Ok(())
}

impl Post {
    /// Takes what has come.
    fn read(&mut self, orders: &OwnedFd, unread: &mut Vec<u8>) -> io::Result<()> {
        let mut buffer = [0; RECORD * 64];
        match rustix::io::read(orders, &mut buffer) {
            Ok(0) => {
                self.alone = true;
                for (run, watched) in &self.runs {
                    self.signal(*run, *watched, Signal::TERM);
                    self.signal(*run, *watched, Signal::CONT);
                }
            }
            Ok(length) => {
                unread.extend_from_slice(&buffer[..length]);
                for record in
                    unread.drain(..unread.len() - unread.len() % RECORD).collect::<Vec<_>>().chunks(RECORD)
                {
                    let number = |at: usize| record[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
                    self.order(number(0), RunId(number(8)), number(16));
                }
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn order(&mut self, what: u64, run: RunId, value: u64) {
        let fresh = Watched { charge: Charge::default(), started: None, killed: None };
        match what {
            ARM => {
                let watched = self.runs.entry(run).or_insert(fresh);
                (watched.charge.until, watched.killed) = (Some(Boot(value)), None);
            }
            GROUP => {
                let watched = self.runs.entry(run).or_insert(fresh);
                watched.charge.pid = Pid::try_from(value).ok();
                watched.started =
                    watched.charge.pid.and_then(|pid| Some(procfs::stat(pid).ok()?.start_ticks));
                // If its time is over already, it is looked at at once.
                watched.killed = None;
            }
            FREE => drop(self.runs.remove(&run)),
            CLEAR => self.runs.clear(),
            _ => {}
        }
    }

    /// When to look again.
    fn next(&self) -> Option<Boot> {
        let due = |watched: &Watched| watched.killed.map(|(at, _)| at).or(watched.charge.until);
        self.runs.values().filter_map(due).min()
    }

    /// Kills what may not be there any more.
    fn look(&mut self, now: Boot) {
        let due = |watched: &Watched| {
            watched.killed.map(|(at, _)| at).or(watched.charge.until).is_some_and(|at| at <= now)
        };
        let runs: Vec<_> = self.runs.iter().filter(|(_, it)| due(it)).map(|(run, it)| (*run, *it)).collect();
        for (run, watched) in runs {
            let left = self.signal(run, watched, Signal::KILL);
            if watched.killed.is_none() && left {
                eprintln!("sexton: guard: run {} of {} outlives its lock, and was killed", run.0, self.of);
            }
            let pause = watched.killed.map_or(LOOK_AGAIN.0, |(_, pause)| (pause * 2).min(LOOK_AGAIN.1));
            match self.runs.get_mut(&run) {
                // While somebody is there who tells us that it is gone, we kill what may turn up.
                Some(watched) if left || !self.alone => watched.killed = Some((now + pause, pause)),
                _ => drop(self.runs.remove(&run)),
            }
        }
    }

    /// Sends a signal to all of a run. False: there is nobody.
    fn signal(&self, run: RunId, watched: Watched, signal: Signal) -> bool {
        let Ok(all) = procfs::processes() else { return true };
        let mark = format!("{}.{}", self.of, run.0);
        let mut found = false;
        let mut group = None;
        if let Some(pid) = watched.charge.pid {
            let leader = all.iter().find(|stat| stat.pid == pid);
            // The number of a group is not given to anybody else as long as somebody is in it.
            if leader.is_none_or(|leader| Some(leader.start_ticks) == watched.started) {
                group = Some(pid);
                if all.iter().any(|stat| stat.pgrp == pid && !stat.is_zombie()) {
                    found = true;
                    // Gone meanwhile: that is what is wanted.
                    let _ = kill(-pid, signal.0);
                }
            }
        }
        // Those who have left the group carry the mark.
        for stat in all.iter().filter(|stat| Some(stat.pgrp) != group && !stat.is_zombie()) {
            if procfs::variable(stat.pid, MARK).as_deref() == Some(&mark) {
                found = true;
                let _ = kill(stat.pid, signal.0);
            }
        }
        found
    }
}
