//! All unsafe code of the project: each function is a safe wrapper that states why it is sound.
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
