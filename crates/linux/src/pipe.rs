//! Pipes whose read end is watched by the event loop.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

use crate::readable::readable;

/// Creates a pipe whose read end does not block and is watched by the event loop.
pub fn pipe() -> io::Result<(AsyncFd<OwnedFd>, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((readable(OwnedFd::from(reader))?, writer.into()))
}
