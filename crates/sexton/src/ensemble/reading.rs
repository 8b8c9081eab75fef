//! What a command writes into pipes: its beginning kept, or line by line; all of it read, so that nobody waits for us.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use crate::logs::lines::Lines;

/// How much is read at once.
const PIECE: usize = 16 << 10;

/// The next piece; None: there is no more.
async fn piece<'a>(pipe: &AsyncFd<OwnedFd>, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
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

/// Reads to the end, and keeps so many bytes of it.
pub(super) async fn up_to(pipe: &AsyncFd<OwnedFd>, most: usize) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0; PIECE]);
    while let Some(piece) = piece(pipe, &mut buffer).await {
        let room = most - kept.len();
        kept.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    kept
}

/// Hands on each line.
pub(super) async fn lines(pipe: &AsyncFd<OwnedFd>, mut line: impl FnMut(&[u8])) {
    let (mut lines, mut buffer) = (Lines::default(), [0; PIECE]);
    while let Some(piece) = piece(pipe, &mut buffer).await {
        lines.take(piece, |text, _| line(text));
    }
    lines.rest(line);
}
