//! Received signals as a stream: all are blocked and read from a signalfd(2).
//!
//! There are no signal handlers. Signals that the kernel raises for a fault (such as SIGSEGV) still terminate the
//! process even though they are blocked (signal(7)).
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ptr;

use engine::Signal;
use tokio::io::unix::AsyncFd;

use crate::readable::readable;
use spec::program::Pid;

/// All signals, blocked and readable. Must be created before any thread, because threads inherit the mask.
pub struct Signals {
    descriptor: OwnedFd,
    /// Signals that were ignored at start, as nohup(1) and shells without job control arrange for background
    /// jobs: neither sexton nor its processes should react to them.
    ignored: Vec<Signal>,
}

impl Signals {
    /// Blocks all signals and resets their actions, for sexton and its future children: an ignored signal stays
    /// ignored across exec. The mask is inherited too; the child clears it itself.
    pub fn take() -> io::Result<Self> {
        let init = std::process::id() == 1;
        let mut ignored = Vec::new();
        for signal in (1..=Signal::MAX).map(Signal) {
            if reset(signal)? && matches!(signal, Signal::HUP | Signal::INT | Signal::QUIT) && !init {
                ignored.push(signal);
            }
        }
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigfillset initialises the set it is given; the set outlives the calls that read it.
        let descriptor = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            if libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            libc::signalfd(-1, all.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd has just created it and nothing else owns it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self { descriptor, ignored })
    }

    /// Makes the signals readable on the current runtime.
    pub fn into_stream(self) -> io::Result<SignalStream> {
        Ok(SignalStream { descriptor: readable(self.descriptor)?, ignored: self.ignored })
    }
}

/// Resets a signal to its default action. Returns whether it was ignored.
///
/// Uses the system call directly: the C library rejects signals 32 and 33, which it uses itself, and its
/// posix_spawn(3) leaves them ignored in the processes that it starts.
fn reset(signal: Signal) -> io::Result<bool> {
    if matches!(signal.0, libc::SIGKILL | libc::SIGSTOP) {
        return Ok(false);
    }
    // The kernel's `struct sigaction` starts with the handler; zeros are the default action.
    let new = [0_usize; 8];
    let mut old = [0_usize; 8];
    let mask_size = 8_usize;
    // SAFETY: both arrays are larger than the kernel's structure, and live through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal.0, new.as_ptr(), old.as_mut_ptr(), mask_size) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // The Rust runtime ignores SIGPIPE, so its state says nothing about the parent.
    Ok(old[0] == libc::SIG_IGN && signal != Signal::PIPE)
}

/// The signals sent by other processes, in the order in which the kernel reports them.
pub struct SignalStream {
    descriptor: AsyncFd<OwnedFd>,
    ignored: Vec<Signal>,
}

impl SignalStream {
    /// Waits for signals and returns all pending ones, SIGCHLD included. The kernel may merge several signals of
    /// one kind.
    pub async fn next(&self) -> io::Result<Vec<Signal>> {
        loop {
            let mut ready = self.descriptor.readable().await?;
            match ready.try_io(|fd| read_all(fd.as_raw_fd())) {
                Ok(Ok(infos)) => {
                    let signals: Vec<_> = infos.iter().filter_map(|info| self.received(info)).collect();
                    if !signals.is_empty() {
                        return Ok(signals);
                    }
                }
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }

    /// The pending signals, without waiting.
    pub fn at_once(&self) -> io::Result<Option<Vec<Signal>>> {
        match read_all(self.descriptor.as_raw_fd()) {
            Ok(infos) => Ok(Some(infos.iter().filter_map(|info| self.received(info)).collect())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn received(&self, info: &libc::signalfd_siginfo) -> Option<Signal> {
        let signal = Signal(i32::try_from(info.ssi_signo).ok()?);
        // Not from sexton itself: SIGPIPE for a write to a closed pipe, which also returns an error, and
        // signals sent to the own process group.
        let own = info.ssi_pid == std::process::id();
        (!own && !self.ignored.contains(&signal)).then_some(signal)
    }
}

fn read_all(descriptor: i32) -> io::Result<Vec<libc::signalfd_siginfo>> {
    const BATCH: usize = 16;
    let mut infos = Vec::new();
    loop {
        let mut buffer = [const { MaybeUninit::<libc::signalfd_siginfo>::zeroed() }; BATCH];
        // SAFETY: the buffer is valid for writes of its size; signalfd writes whole records only.
        let read = unsafe { libc::read(descriptor, buffer.as_mut_ptr().cast(), size_of_val(&buffer)) };
        let Ok(read) = usize::try_from(read) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock if !infos.is_empty() => Ok(infos),
                io::ErrorKind::Interrupted => continue,
                _ => Err(error),
            };
        };
        // SAFETY: all of the buffer was initialised (to zeros), and any bytes make a valid record.
        infos.extend(
            buffer[..read / size_of::<libc::signalfd_siginfo>()]
                .iter()
                .map(|info| unsafe { info.assume_init() }),
        );
    }
}

/// Unblocks all signals; called in a child before exec.
pub fn unblock_all() -> io::Result<()> {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set; both calls are safe after a fork (signal-safety(7)).
    let result = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Blocks all signals in the calling thread.
pub fn block_all() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set, which outlives the call that reads it.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut());
    }
}

/// Unblocks a pending signal for a moment so that its default action happens.
pub fn take_effect(signal: Signal) {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set, which outlives the calls that read it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal.0);
        libc::sigprocmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
        libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
    }
}

/// kill(2): signals a process, or a process group if `pid` is negative. Signal 0 only checks existence.
pub fn kill(pid: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    if unsafe { libc::kill(pid, signal) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
