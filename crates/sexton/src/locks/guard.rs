//! The guard process: kills the runs of a supervisor whose leases have expired, whatever has become of the supervisor.
//!
//! It reads records from a pipe and sleeps until the earliest deadline. While the supervisor lives, each answered keepalive
//! moves that deadline. The end of the pipe means that the supervisor is gone: the guard then stops the runs at once, and
//! kills what is left at its deadline. It ignores the signals that stop a program, and exits when nothing is left to guard.
//!
//! Which run is killed when is decided by [`GuardedRuns`]; this file does the I/O.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::{RunId, Signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use engine::lease::{BootInstant, GuardedRuns};
use linux::clock::boot_now;
use linux::process_table::MARK;
use linux::procfs;
use linux::signals::kill;
use spec::program::Pid;

/// A record is three numbers of eight bytes: kind, run, value. A write of so few bytes to a pipe is atomic (`PIPE_BUF`,
/// pipe(7)).
const RECORD: usize = 24;
/// Kind: the run may live until then (ns, `CLOCK_BOOTTIME`).
const ARM: u64 = 1;
/// Kind: the PID of its main process, which is also its process group.
const GROUP: u64 = 2;
/// Kind: no process of the run is left.
const DISARM: u64 = 3;
/// Kind: forget all runs; the full state follows.
const CLEAR: u64 = 4;

/// A run under guard, as the supervisor knows it.
#[derive(Debug, Clone, Copy, Default)]
struct GuardedRun {
    until: Option<BootInstant>,
    pid: Option<Pid>,
}

#[derive(Debug, Default)]
struct Records {
    runs: BTreeMap<RunId, GuardedRun>,
    /// A record could not be written: the full state is sent again.
    incomplete: bool,
    /// The pipe to the guard process; `None`: none runs.
    pipe: Option<File>,
}

/// A handle to the guard process. The full state is kept here too: if the guard exits, the next one is sent all of it.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    records: Arc<Mutex<Records>>,
}

impl Guard {
    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A guard process was started; it reads the other end of `pipe`, whose writes must not block.
    pub fn started(&self, pipe: File) {
        let mut records = self.records();
        records.pipe = Some(pipe);
        records.send_all();
    }

    /// When a run is killed.
    #[must_use]
    pub fn until(&self, run: RunId) -> Option<BootInstant> {
        self.records().runs.get(&run).and_then(|run| run.until)
    }

    /// The guard process has exited.
    pub fn exited(&self) {
        self.records().pipe = None;
    }

    /// Whether a guard process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.records().pipe.is_some()
    }

    /// A run may live until then.
    pub fn arm(&self, run: RunId, until: BootInstant) {
        let mut records = self.records();
        records.runs.entry(run).or_default().until = Some(until);
        records.send(ARM, run, until.0);
    }

    /// The process of a run that is guarded.
    pub fn group(&self, run: RunId, pid: Pid) {
        let mut records = self.records();
        if let Some(guarded) = records.runs.get_mut(&run) {
            guarded.pid = Some(pid);
            records.send(GROUP, run, u64::from(pid.unsigned_abs()));
        }
    }

    /// No process of a run is left.
    pub fn disarm(&self, run: RunId) {
        let mut records = self.records();
        if records.runs.remove(&run).is_some() {
            records.send(DISARM, run, 0);
        }
    }
}

impl Records {
    /// Sends the full state.
    fn send_all(&mut self) {
        self.incomplete = false;
        self.write(CLEAR, RunId(0), 0);
        for (run, guarded) in self.runs.clone() {
            if let Some(until) = guarded.until {
                self.write(ARM, run, until.0);
            }
            if let Some(pid) = guarded.pid {
                self.write(GROUP, run, u64::from(pid.unsigned_abs()));
            }
        }
    }

    fn send(&mut self, what: u64, run: RunId, value: u64) {
        if self.incomplete {
            self.send_all();
        } else {
            self.write(what, run, value);
        }
    }

    fn write(&mut self, what: u64, run: RunId, value: u64) {
        let Some(pipe) = &mut self.pipe else { return };
        let record = [what.to_ne_bytes(), run.0.to_ne_bytes(), value.to_ne_bytes()].concat();
        match pipe.write(&record) {
            Ok(_) => {}
            // The guard was stopped for long. The full state follows with the next keepalive; closing the pipe would
            // mean that the supervisor is gone.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !std::mem::replace(&mut self.incomplete, true) {
                    log::error!("the lock guard does not read its pipe");
                }
            }
            Err(error) => {
                log::error!("the lock guard has exited: {error}");
                self.pipe = None;
            }
        }
    }
}

/// The state of the guard process.
struct GuardState {
    /// The supervisor.
    supervisor: Pid,
    runs: GuardedRuns,
    /// The main process of each run, and its start time: another process with that PID does not belong to the run.
    processes: BTreeMap<RunId, (Pid, Option<u64>)>,
}

/// Guards the runs of `supervisor` until it has exited and nothing is left to guard. Records come from `pipe`.
pub fn run(supervisor: Pid, pipe: &OwnedFd) -> io::Result<()> {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2] {
        linux::sys::ignore_signal(signal);
    }
    let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let mut state = GuardState { supervisor, runs: GuardedRuns::default(), processes: BTreeMap::new() };
    let mut unread = Vec::new();
    loop {
        state.kill_due();
        if state.runs.is_finished() {
            return Ok(());
        }
        set(&timer, state.runs.deadline())?;
        let mut waited = [PollFd::new(&timer, PollFlags::IN), PollFd::new(pipe, PollFlags::IN)];
        let waited = if state.runs.is_orphaned() { &mut waited[..1] } else { &mut waited[..] };
        match poll(waited, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if waited.get(1).is_some_and(|pipe| pipe.revents() != PollFlags::empty()) {
            state.read(pipe, &mut unread)?;
        }
    }
}

fn set(timer: &OwnedFd, next: Option<BootInstant>) -> io::Result<()> {
    // Zero would disarm the timer.
    let at = next.map_or(0, |at| at.0.max(1));
    let spec = |nanos: u64| Timespec {
        tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
    };
    let once = Itimerspec { it_interval: spec(0), it_value: spec(at) };
    timerfd_settime(timer.as_fd(), TimerfdTimerFlags::ABSTIME, &once)?;
    Ok(())
}

impl GuardState {
    fn read(&mut self, pipe: &OwnedFd, unread: &mut Vec<u8>) -> io::Result<()> {
        let mut buffer = [0; RECORD * 64];
        match rustix::io::read(pipe, &mut buffer) {
            Ok(0) => {
                for run in self.runs.orphan() {
                    self.signal(run, Signal::TERM);
                    self.signal(run, Signal::CONT);
                }
            }
            Ok(length) => {
                unread.extend_from_slice(&buffer[..length]);
                let complete = unread.len() - unread.len() % RECORD;
                for record in unread.drain(..complete).collect::<Vec<_>>().chunks(RECORD) {
                    let number = |at: usize| record[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
                    self.take(number(0), RunId(number(8)), number(16));
                }
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn take(&mut self, kind: u64, run: RunId, value: u64) {
        match kind {
            ARM => self.runs.arm(run, BootInstant(value)),
            GROUP => {
                if let Ok(pid) = Pid::try_from(value) {
                    let started = procfs::stat(pid).ok().map(|stat| stat.start_ticks);
                    self.processes.insert(run, (pid, started));
                }
                self.runs.started(run);
            }
            DISARM => {
                self.runs.disarm(run);
                self.processes.remove(&run);
            }
            CLEAR => {
                self.runs.clear();
                self.processes.clear();
            }
            _ => {}
        }
    }

    /// Kills the runs whose time has come.
    fn kill_due(&mut self) {
        let now = boot_now();
        for (run, first) in self.runs.due(now) {
            let left = self.signal(run, Signal::KILL);
            if first && left {
                eprintln!(
                    "sexton: lock guard: sent SIGKILL to run {} of process {}: its lock lease is about to expire",
                    run.0, self.supervisor
                );
            }
            self.runs.killed(run, left, now);
        }
    }

    /// Sends a signal to every process of a run. Returns whether there was one.
    fn signal(&self, run: RunId, signal: Signal) -> bool {
        let Ok(all) = procfs::processes() else { return true };
        let mark = format!("{}.{}", self.supervisor, run.0);
        let mut found = false;
        let mut group = None;
        if let Some((pid, started)) = self.processes.get(&run).copied() {
            let leader = all.iter().find(|stat| stat.pid == pid);
            // The kernel does not reuse the number of a process group that has members.
            if leader.is_none_or(|leader| Some(leader.start_ticks) == started) {
                group = Some(pid);
                if all.iter().any(|stat| stat.pgrp == pid && !stat.is_zombie()) {
                    found = true;
                    // An error: it has exited meanwhile.
                    let _ = kill(-pid, signal.0);
                }
            }
        }
        // Processes that have left the group carry the mark.
        for stat in all.iter().filter(|stat| Some(stat.pgrp) != group && !stat.is_zombie()) {
            if procfs::variable(stat.pid, MARK).as_deref() == Some(&mark) {
                found = true;
                let _ = kill(stat.pid, signal.0);
            }
        }
        found
    }
}
