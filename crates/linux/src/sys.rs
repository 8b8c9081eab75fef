//! Unsafe calls that belong to no other module, as safe functions.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

/// Takes ownership of a descriptor that the program inherited, once.
///
/// Call it before the program opens descriptors of its own, or with a number that the parent process reserved: only then
/// is nothing else the owner.
///
/// # Errors
///
/// The number is not open, or was taken before.
pub fn inherited_descriptor(number: RawFd) -> io::Result<OwnedFd> {
    static TAKEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: fcntl(2) with F_GETFD only reads the flags of a number, and fails if that is not open.
    if taken.contains(&number) || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    taken.push(number);
    // SAFETY: it is open, it was not opened by this program, and this function gives it away at most once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Ignores a signal from now on (`SIG_IGN`, signal(7)). A process that is executed later inherits that.
pub fn ignore_signal(signal: i32) {
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// The size of a page of memory in bytes; sysconf(3).
#[must_use]
pub fn page_size() -> u64 {
    // SAFETY: it has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).ok().filter(|size| *size > 0).unwrap_or(4096)
}

/// The unit of CPU times in `/proc`, as a number per second; sysconf(3).
#[must_use]
pub fn clock_ticks_per_second() -> u64 {
    // SAFETY: it has no preconditions.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).ok().filter(|ticks| *ticks > 0).unwrap_or(100)
}
