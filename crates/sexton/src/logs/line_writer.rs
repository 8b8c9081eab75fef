//! A descriptor that we write to without ever waiting for whoever reads it.
//!
//! What is to be written goes into a buffer of limited size and is written by a thread of its own, since
//! standard output is shared with others and must not be made non-blocking. When the buffer is full, lines
//! are dropped and counted; a line in the output tells how many. Errors of the descriptor (a full disk, a
//! reader that has gone) drop what was to be written and never stop us.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::fcntl_dupfd_cloexec;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use crate::logs::logfmt;
use linux::clock::rfc3339_millis;
use linux::signals;

/// How much may wait to be written.
const CAPACITY: usize = 1 << 20;

/// Our own descriptors begin here, above those that people number by hand.
const FIRST_OF_OURS: i32 = 10;

/// How long a writer waits for room. Whoever takes less than half of the capacity in that time is no reader that
/// a process should wait for.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long the last lines may take when we end.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Where lines go. The thread ends with the last of its handles, when all is written.
#[derive(Debug, Clone)]
pub struct Sink(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is something to do for the thread.
    filled: Condvar,
    /// There is room again for what was waiting to be pushed.
    emptied: Notify,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines dropped since the last line that told of it.
    untold: u64,
    /// Somebody has waited for room in vain: until there is some, nobody else does.
    slow: bool,
    /// Who wants to be told when all is written.
    flushing: Vec<oneshot::Sender<()>>,
    closed: bool,
}

impl Sink {
    /// Begins the thread that writes to `descriptor`. `tell` makes the line that tells how many were dropped.
    pub fn begin(descriptor: OwnedFd, tell: fn(u64) -> Vec<u8>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Notify::new(),
            lost: AtomicU64::new(0),
        });
        let writer = Arc::clone(&shared);
        let file = File::from(descriptor);
        std::thread::Builder::new()
            .name("sink".to_owned())
            .stack_size(128 << 10)
            .spawn(move || writer.write_until_closed(file, tell))?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// The one sink of our standard error, which our own log and the records of processes share: two would
    /// cut each other's lines. Begun when first asked for.
    pub fn stderr() -> Option<Self> {
        static STDERR: OnceLock<Option<Sink>> = OnceLock::new();
        let begin = || {
            let descriptor = fcntl_dupfd_cloexec(io::stderr(), FIRST_OF_OURS).ok()?;
            Self::begin(descriptor, told_of_drops).ok()
        };
        STDERR.get_or_init(begin).clone()
    }

    /// A sink of our standard output.
    pub fn stdout() -> io::Result<Self> {
        Self::begin(fcntl_dupfd_cloexec(io::stdout(), FIRST_OF_OURS)?, told_of_drops)
    }

    /// Takes one line, with its end, or drops it.
    pub fn push(&self, line: &[u8]) {
        self.push_lines(line, 1);
    }

    /// Takes so many lines, with their ends, or drops them.
    pub fn push_lines(&self, text: &[u8], lines: u64) {
        self.push_counted(text, || lines);
    }

    /// The same of lines that are counted only if they are dropped.
    pub fn push_counted(&self, text: &[u8], lines: impl FnOnce() -> u64) {
        let shared = &self.0.0;
        let mut state = shared.lock();
        if !state.waiting.is_empty() && state.waiting.len() + text.len() > CAPACITY {
            let lines = lines();
            state.untold += lines;
            shared.lost.fetch_add(lines, Ordering::Relaxed);
            return;
        }
        state.waiting.extend_from_slice(text);
        shared.filled.notify_one();
    }

    /// Waits until there is room, as long as whoever reads us keeps reading: a writer that is faster than its
    /// reader is slowed down to it. One who does not read at all is waited for once, and not for long.
    pub async fn room(&self) {
        let shared = &self.0.0;
        let full = |state: &mut State| state.waiting.len() > CAPACITY / 2 && !state.slow;
        loop {
            let emptied = shared.emptied.notified();
            if !full(&mut shared.lock()) {
                return;
            }
            if timeout(PATIENCE, emptied).await.is_err() {
                shared.lock().slow = true;
                return;
            }
        }
    }

    /// Lines that were dropped, or could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.0.lost.load(Ordering::Relaxed)
    }

    /// Waits until all is written, but not for ever.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.0.0.lock().flushing.push(done);
        self.0.0.filled.notify_one();
        if timeout(LAST_LINES, flushed).await.is_err() {
            let lines = memchr::memchr_iter(b'\n', &self.0.0.lock().waiting).count();
            log::warn!(lines = lines; "the reader of our output took too long: its last lines are lost");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.filled.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_until_closed(&self, mut file: File, tell: fn(u64) -> Vec<u8>) {
        // A thread that is begun late must not be the one that takes a signal.
        signals::block_all();
        let mut batch = Vec::new();
        loop {
            {
                let idle = |state: &mut State| {
                    let empty = state.waiting.is_empty() && state.untold == 0;
                    empty && state.flushing.is_empty() && !state.closed
                };
                let guard = self.filled.wait_while(self.lock(), idle);
                let mut state = guard.unwrap_or_else(PoisonError::into_inner);
                if state.waiting.is_empty() && state.untold == 0 {
                    // Whoever waited for it may have given up.
                    for done in state.flushing.drain(..) {
                        let _ = done.send(());
                    }
                    if state.closed {
                        return;
                    }
                    continue;
                }
                std::mem::swap(&mut batch, &mut state.waiting);
                state.slow = false;
                if state.untold > 0 {
                    batch.extend_from_slice(&tell(std::mem::take(&mut state.untold)));
                }
            };
            self.emptied.notify_waiters();
            if write_whole(&mut file, &batch).is_err() {
                let lines = memchr::memchr_iter(b'\n', &batch).count() as u64;
                self.lost.fetch_add(lines, Ordering::Relaxed);
            }
            batch.clear();
            if batch.capacity() > CAPACITY / 8 && self.lock().waiting.is_empty() {
                // Nothing to do any more: what a burst needed is given back.
                batch = Vec::new();
            }
        }
    }
}

fn told_of_drops(lines: u64) -> Vec<u8> {
    let mut record = Vec::new();
    logfmt::append(&mut record, "time", rfc3339_millis(Timestamp::now()).as_bytes());
    logfmt::append(&mut record, "level", b"warn");
    logfmt::append(&mut record, "msg", b"lines were dropped: the reader of this output is too slow");
    logfmt::append(&mut record, "lines", lines.to_string().as_bytes());
    record.push(b'\n');
    record
}

/// Also where somebody who shares the descriptor has made it non-blocking.
fn write_whole(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(file, PollFlags::OUT)], None)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn tell(lines: u64) -> Vec<u8> {
        format!("dropped {lines}\n").into_bytes()
    }

    #[tokio::test]
    async fn a_reader_that_does_not_read_costs_lines_and_not_time() -> io::Result<()> {
        let (mut reader, writer) = io::pipe()?;
        let sink = Sink::begin(writer.into(), tell)?;
        let line = [b'x'; 1024];
        for _ in 0..4096 {
            sink.push(&line);
        }
        assert!(sink.lost() > 0, "four times the capacity cannot have fitted");
        let lost = sink.lost();
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        sink.flush().await;
        drop(sink);
        let text = reading.join().map_err(|_| io::Error::other("the reader panicked"))??;
        let xs = text.bytes().filter(|byte| *byte == b'x').count();
        assert_eq!(
            xs,
            (4096 - usize::try_from(lost).unwrap_or(0)) * 1024,
            "all that was not dropped arrives"
        );
        let told: u64 =
            text.split("dropped ").skip(1).filter_map(|s| s.split('\n').next()?.parse::<u64>().ok()).sum();
        assert_eq!(told, lost, "and what was dropped is told");
        Ok(())
    }

    #[tokio::test]
    async fn a_full_disk_stops_nothing() -> io::Result<()> {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
        let sink = Sink::begin(full.into(), tell)?;
        sink.push(b"one\n");
        sink.push(b"two\n");
        sink.flush().await;
        assert_eq!(sink.lost(), 2);
        Ok(())
    }

    #[tokio::test]
    async fn a_pipe_that_somebody_has_made_non_blocking_loses_nothing() -> io::Result<()> {
        let (mut reader, writer) = io::pipe()?;
        rustix::io::ioctl_fionbio(&writer, true)?;
        let sink = Sink::begin(writer.into(), tell)?;
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        for _ in 0..500 {
            sink.push(&[b'x'; 1024]);
        }
        sink.flush().await;
        drop(sink);
        let text = reading.join().map_err(|_| io::Error::other("the reader panicked"))??;
        assert_eq!(text.len(), 500 * 1024);
        Ok(())
    }
}
