//! References to processes that are not children.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};

use engine::{Exit, Signal};
use rustix::process::{Pid as RustixPid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;

use crate::readable::readable;
use spec::program::Pid;

/// A pidfd. It refers to the same process even after its ID has been reused.
pub struct PidFd(AsyncFd<OwnedFd>);

impl PidFd {
    /// Fails with `NotFound` if there is no such process.
    pub fn open(pid: Pid) -> io::Result<Self> {
        let pid = RustixPid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
        let descriptor = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            // Linux before 5.10 lacks the flag; it is not needed, since epoll does the waiting.
            Err(rustix::io::Errno::INVAL) => pidfd_open(pid, PidfdFlags::empty())?,
            opened => opened?,
        };
        Ok(Self(readable(descriptor)?))
    }

    /// Waits until the process has exited.
    pub async fn ended(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }

    /// Waits until its parent has reaped it; from then on Linux 6.15 and later report the exit status.
    pub async fn reaped(&self) -> Option<Exit> {
        loop {
            let mut ready = self.0.readable().await.ok()?;
            if ready.ready().is_read_closed() {
                return self.exit();
            }
            ready.clear_ready();
        }
    }

    fn exit(&self) -> Option<Exit> {
        let mut info = MaybeUninit::<PidfdInfo>::zeroed();
        // SAFETY: zeros are a valid request; the kernel writes at most the size encoded in the ioctl
        // number, which is the size of the structure.
        let info = unsafe {
            (*info.as_mut_ptr()).mask = PIDFD_INFO_EXIT;
            if libc::ioctl(self.0.as_raw_fd(), PIDFD_GET_INFO, info.as_mut_ptr()) != 0 {
                return None;
            }
            info.assume_init()
        };
        if info.mask & PIDFD_INFO_EXIT == 0 {
            return None;
        }
        let status = info.exit_code;
        if libc::WIFSIGNALED(status) {
            Some(Exit::Signal(Signal(libc::WTERMSIG(status))))
        } else {
            Some(Exit::Code(libc::WEXITSTATUS(status)))
        }
    }
}

/// `struct pidfd_info` of linux/pidfd.h, in its first version (64 bytes).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    numbers: [u32; 11],
    exit_code: i32,
}

/// Mask bit of the exit status, in requests and responses.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// `_IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)` of linux/pidfd.h.
const PIDFD_GET_INFO: libc::Ioctl = {
    const READ_WRITE: u32 = 3;
    const MAGIC: u32 = 0xff;
    const NUMBER: u32 = 11;
    ((READ_WRITE << 30) | (64 << 16) | (MAGIC << 8) | NUMBER) as libc::Ioctl
};
const _: () = assert!(size_of::<PidfdInfo>() == 64);
