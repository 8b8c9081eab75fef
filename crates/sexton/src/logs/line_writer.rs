//! A line writer that never blocks its caller on a slow reader.
//!
//! Lines go into a bounded buffer, and a thread writes them: standard output is shared with other processes and must not
//! be made non-blocking. When the buffer is full, lines are dropped and counted, and a line in the output reports the
//! number. On errors of the descriptor (full disk, closed pipe) the lines are lost, and sexton continues.

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

/// The capacity of the buffer in bytes.
const CAPACITY: usize = 1 << 20;

/// Descriptors of sexton start here, above those that users number by hand.
const MIN_DESCRIPTOR: i32 = 10;

/// How long a writer waits for room. A reader that takes less than half of the capacity in this time counts as slow and
/// is not waited for.
const ROOM_TIMEOUT: Duration = Duration::from_millis(200);

/// Time limit of the flush at shutdown.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// A line writer. Its thread ends after the last handle is dropped and all is written.
#[derive(Debug, Clone)]
pub struct Sink(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Signals the thread that there is work.
    filled: Condvar,
    /// Signals waiting writers that there is room.
    emptied: Notify,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines dropped since the last report.
    unreported: u64,
    /// A wait for room has timed out: nothing waits until the reader has taken something.
    slow: bool,
    /// Notified when all is written.
    flushing: Vec<oneshot::Sender<()>>,
    closed: bool,
}

impl Sink {
    /// Starts the thread that writes to `descriptor`. `drop_notice` formats the report of a number of dropped lines.
    pub fn start(descriptor: OwnedFd, drop_notice: fn(u64) -> Vec<u8>) -> io::Result<Self> {
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
            .spawn(move || writer.write_until_closed(file, drop_notice))?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// The shared writer of standard error. The log of sexton and the records of processes must use the same one, or
    /// they would interrupt each other's lines. Started on first use.
    pub fn stderr() -> Option<Self> {
        static STDERR: OnceLock<Option<Sink>> = OnceLock::new();
        let start = || {
            let descriptor = fcntl_dupfd_cloexec(io::stderr(), MIN_DESCRIPTOR).ok()?;
            Self::start(descriptor, drop_record).ok()
        };
        STDERR.get_or_init(start).clone()
    }

    /// A writer of standard output.
    pub fn stdout() -> io::Result<Self> {
        Self::start(fcntl_dupfd_cloexec(io::stdout(), MIN_DESCRIPTOR)?, drop_record)
    }

    /// Queues one line, including its newline, or drops it.
    pub fn push(&self, line: &[u8]) {
        self.push_lines(line, 1);
    }

    /// Queues lines, including their newlines, or drops them.
    pub fn push_lines(&self, text: &[u8], lines: u64) {
        self.push_counted(text, || lines);
    }

    /// Like `push_lines`, but the lines are counted only if they are dropped.
    pub fn push_counted(&self, text: &[u8], lines: impl FnOnce() -> u64) {
        let shared = &self.0.0;
        let mut state = shared.lock();
        if !state.waiting.is_empty() && state.waiting.len() + text.len() > CAPACITY {
            let lines = lines();
            state.unreported += lines;
            shared.lost.fetch_add(lines, Ordering::Relaxed);
            return;
        }
        state.waiting.extend_from_slice(text);
        shared.filled.notify_one();
    }

    /// Waits for room while the reader keeps reading: a fast writer is slowed down to its reader. Does not wait (again)
    /// for a reader that does not read at all.
    pub async fn room(&self) {
        let shared = &self.0.0;
        let full = |state: &mut State| state.waiting.len() > CAPACITY / 2 && !state.slow;
        loop {
            let emptied = shared.emptied.notified();
            if !full(&mut shared.lock()) {
                return;
            }
            if timeout(ROOM_TIMEOUT, emptied).await.is_err() {
                shared.lock().slow = true;
                return;
            }
        }
    }

    /// The number of lines that were dropped or could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.0.lost.load(Ordering::Relaxed)
    }

    /// Waits until all is written, with a time limit.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.0.0.lock().flushing.push(done);
        self.0.0.filled.notify_one();
        if timeout(FLUSH_TIMEOUT, flushed).await.is_err() {
            let lines = memchr::memchr_iter(b'\n', &self.0.0.lock().waiting).count();
            log::warn!(lines = lines; "the reader of the output is too slow: the last lines are lost");
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

    fn write_until_closed(&self, mut file: File, drop_notice: fn(u64) -> Vec<u8>) {
        // The thread may be started late and must not receive signals.
        signals::block_all();
        let mut batch = Vec::new();
        loop {
            {
                let idle = |state: &mut State| {
                    let empty = state.waiting.is_empty() && state.unreported == 0;
                    empty && state.flushing.is_empty() && !state.closed
                };
                let guard = self.filled.wait_while(self.lock(), idle);
                let mut state = guard.unwrap_or_else(PoisonError::into_inner);
                if state.waiting.is_empty() && state.unreported == 0 {
                    // Err: the flush has timed out.
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
                if state.unreported > 0 {
                    batch.extend_from_slice(&drop_notice(std::mem::take(&mut state.unreported)));
                }
            };
            self.emptied.notify_waiters();
            if write_all(&mut file, &batch).is_err() {
                let lines = memchr::memchr_iter(b'\n', &batch).count() as u64;
                self.lost.fetch_add(lines, Ordering::Relaxed);
            }
            batch.clear();
            if batch.capacity() > CAPACITY / 8 && self.lock().waiting.is_empty() {
                // Release the memory that a burst needed.
                batch = Vec::new();
            }
        }
    }
}

fn drop_record(lines: u64) -> Vec<u8> {
    let mut record = Vec::new();
    logfmt::append(&mut record, "time", rfc3339_millis(Timestamp::now()).as_bytes());
    logfmt::append(&mut record, "level", b"warn");
    logfmt::append(&mut record, "msg", b"lines were dropped: the reader of this output is too slow");
    logfmt::append(&mut record, "lines", lines.to_string().as_bytes());
    record.push(b'\n');
    record
}

/// Writes all bytes, also if another process has made the descriptor non-blocking.
fn write_all(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
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

    fn drop_notice(lines: u64) -> Vec<u8> {
        format!("dropped {lines}\n").into_bytes()
    }

    #[tokio::test]
    async fn drops_and_reports_lines_when_the_reader_does_not_read() -> io::Result<()> {
        let (mut reader, writer) = io::pipe()?;
        let sink = Sink::start(writer.into(), drop_notice)?;
        let line = [b'x'; 1024];
        for _ in 0..4096 {
            sink.push(&line);
        }
        assert!(sink.lost() > 0, "four times the capacity cannot fit");
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
            "all lines that were not dropped arrive"
        );
        let reported: u64 =
            text.split("dropped ").skip(1).filter_map(|s| s.split('\n').next()?.parse::<u64>().ok()).sum();
        assert_eq!(reported, lost, "all dropped lines are reported");
        Ok(())
    }

    #[tokio::test]
    async fn counts_lines_lost_on_a_full_disk() -> io::Result<()> {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
        let sink = Sink::start(full.into(), drop_notice)?;
        sink.push(b"one\n");
        sink.push(b"two\n");
        sink.flush().await;
        assert_eq!(sink.lost(), 2);
        Ok(())
    }

    #[tokio::test]
    async fn loses_nothing_on_a_non_blocking_pipe() -> io::Result<()> {
        let (mut reader, writer) = io::pipe()?;
        rustix::io::ioctl_fionbio(&writer, true)?;
        let sink = Sink::start(writer.into(), drop_notice)?;
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
