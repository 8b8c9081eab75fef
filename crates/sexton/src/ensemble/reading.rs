//! Reads the output of commands: the first bytes, or line by line; always to the end, so that no writer blocks.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use crate::logs::lines::Lines;

/// Bytes per read.
const CHUNK: usize = 16 << 10;

/// Reads the next chunk; `None` at the end.
async fn chunk<'a>(pipe: &AsyncFd<OwnedFd>, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    loop {
        let mut ready = pipe.readable().await.ok()?;
        match rustix::io::read(pipe.get_ref(), &mut *buffer) {
            Ok(0) => return None,
            Ok(length) => return Some(&buffer[..length]),
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// Reads to the end and returns at most the first `most` bytes.
pub(super) async fn up_to(pipe: &AsyncFd<OwnedFd>, most: usize) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0; CHUNK]);
    while let Some(chunk) = chunk(pipe, &mut buffer).await {
        let room = most - kept.len();
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    kept
}

/// Calls a function for each line.
pub(super) async fn lines(pipe: &AsyncFd<OwnedFd>, mut line: impl FnMut(&[u8])) {
    let (mut lines, mut buffer) = (Lines::default(), [0; CHUNK]);
    while let Some(chunk) = chunk(pipe, &mut buffer).await {
        lines.take(chunk, |text, _| line(text));
    }
    lines.rest(line);
}
