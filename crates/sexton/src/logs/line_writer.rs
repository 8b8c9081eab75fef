//! A line writer that never blocks its caller on a slow reader.
//!
//! Lines go into a bounded buffer, and a thread writes them: standard output is shared with other processes and must not
//! be made non-blocking. When the buffer is full, a writer either waits for room, asynchronously ([`Sink::room`]), or
//! drops its lines ([`Sink::append_or_drop`]); these are counted, and a line in the output reports the number. On errors of
//! the descriptor (full disk, closed pipe) the lines are lost and counted, and sexton continues.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

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

/// How long a writer that may drop lines waits for room. A reader that takes less than half of the capacity in this
/// time counts as slow and is not waited for.
const ROOM_TIMEOUT: Duration = Duration::from_millis(200);

/// Time limit of the flush of sexton's own log at shutdown.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The size of a write. write(2) to a pipe returns when everything is in the pipe: small pieces make the progress of a
/// slow reader visible, and leave little in doubt when it is no longer waited for.
const WRITE: usize = 64 << 10;
/// The size of a write for a slow reader.
const SLOW_WRITE: usize = 4 << 10;
/// A write that takes longer than this shows that the reader is slow.
const SLOW_AFTER: Duration = Duration::from_millis(20);

/// Whether threads may be started.
static THREADS_ALLOWED: AtomicBool = AtomicBool::new(false);

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
    /// Bytes written since the start.
    written: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// The batch that the thread is writing.
    in_flight: Arc<Vec<u8>>,
    /// The value of `written` when all of the batch is written.
    in_flight_end: u64,
    /// Lines dropped since the last report.
    unreported: u64,
    /// A wait for room has timed out: a writer that may drop lines does not wait until the reader has taken something.
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
            written: AtomicU64::new(0),
        });
        let writer = Arc::clone(&shared);
        let file = File::from(descriptor);
        std::thread::Builder::new()
            .name("sink".to_owned())
            .stack_size(128 << 10)
            .spawn(move || writer.write_until_closed(file, drop_notice))?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Allows threads, now that signals are blocked. A thread from before that would take signals, SIGCHLD among them,
    /// which are then lost to the event loop.
    pub fn allow_threads() {
        THREADS_ALLOWED.store(true, Ordering::Relaxed);
    }

    /// The shared writer of standard error. The log of sexton and the records of processes must use the same one, or
    /// they would interrupt each other's lines. Started on first use; None: not before threads are allowed.
    pub fn stderr() -> Option<Self> {
        static STDERR: OnceLock<Option<Sink>> = OnceLock::new();
        if !THREADS_ALLOWED.load(Ordering::Relaxed) {
            return None;
        }
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

    /// Queues text that must not be dropped. The buffer exceeds its capacity by this text if it has no room: callers
    /// ask [`Sink::has_room`] first.
    pub fn append(&self, text: &[u8]) {
        self.0.0.lock().waiting.extend_from_slice(text);
        self.0.0.filled.notify_one();
    }

    /// Queues lines, including their newlines, or drops them if there is no room. They are counted only if they are
    /// dropped.
    pub fn append_or_drop(&self, text: &[u8], lines: impl FnOnce() -> u64) {
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

    /// Whether text may be queued.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.0.0.lock().has_room()
    }

    /// Waits for room.
    pub async fn room(&self) {
        loop {
            let emptied = self.0.0.emptied.notified();
            if self.has_room() {
                return;
            }
            emptied.await;
        }
    }

    /// Waits for room while the reader keeps reading: a fast writer is slowed down to its reader. Does not wait (again)
    /// for a reader that does not read at all.
    pub async fn room_of_reading_reader(&self) {
        let shared = &self.0.0;
        loop {
            let emptied = shared.emptied.notified();
            {
                let state = shared.lock();
                if state.has_room() || state.slow {
                    return;
                }
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

    /// Counts lines as lost.
    pub fn add_lost(&self, lines: u64) {
        self.0.0.lost.fetch_add(lines, Ordering::Relaxed);
    }

    /// The number of bytes written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.0.0.written.load(Ordering::Relaxed)
    }

    /// The number of lines that are queued and not written.
    #[must_use]
    pub fn unwritten_lines(&self) -> u64 {
        let state = self.0.0.lock();
        let left = usize::try_from(state.in_flight_end.saturating_sub(self.written())).unwrap_or(usize::MAX);
        let in_flight = &state.in_flight[state.in_flight.len().saturating_sub(left)..];
        (memchr::memchr_iter(b'\n', in_flight).count() + memchr::memchr_iter(b'\n', &state.waiting).count())
            as u64
    }

    /// Waits until all is written.
    pub async fn flushed(&self) {
        let (done, flushed) = oneshot::channel();
        self.0.0.lock().flushing.push(done);
        self.0.0.filled.notify_one();
        // Err: the thread has ended, after all was written.
        let _ = flushed.await;
    }

    /// Waits until all is written, for a short time.
    pub async fn flush(&self) {
        // Err: the reader of the log is too slow, and there is no other place to report it.
        let _ = timeout(FLUSH_TIMEOUT, self.flushed()).await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.filled.notify_one();
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.waiting.len() <= CAPACITY / 2
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_until_closed(&self, mut file: File, drop_notice: fn(u64) -> Vec<u8>) {
        // The thread may be started late and must not receive signals.
        signals::block_all();
        let mut piece = WRITE;
        loop {
            let batch = {
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
                let mut batch = std::mem::take(&mut state.in_flight);
                let buffer = Arc::make_mut(&mut batch);
                std::mem::swap(buffer, &mut state.waiting);
                state.slow = false;
                if state.unreported > 0 {
                    buffer.extend_from_slice(&drop_notice(std::mem::take(&mut state.unreported)));
                }
                state.in_flight_end = self.written.load(Ordering::Relaxed) + buffer.len() as u64;
                state.in_flight = Arc::clone(&batch);
                batch
            };
            self.emptied.notify_waiters();
            let unwritten = self.write(&mut file, &batch, &mut piece);
            let lines = memchr::memchr_iter(b'\n', unwritten).count() as u64;
            self.lost.fetch_add(lines, Ordering::Relaxed);
            self.written.fetch_add(unwritten.len() as u64, Ordering::Relaxed);
            drop(batch);
            self.reuse(&mut self.lock());
        }
    }

    /// Keeps the buffer of a written batch, unless a burst has made it large.
    fn reuse(&self, state: &mut State) {
        match Arc::get_mut(&mut state.in_flight) {
            Some(buffer) if buffer.capacity() <= CAPACITY / 8 || !state.waiting.is_empty() => buffer.clear(),
            _ => state.in_flight = Arc::default(),
        }
    }

    /// Writes the bytes, and returns those that could not be written. Waits also if another process has made the
    /// descriptor non-blocking.
    fn write<'a>(&self, file: &mut File, mut bytes: &'a [u8], piece: &mut usize) -> &'a [u8] {
        while !bytes.is_empty() {
            let begun = Instant::now();
            match file.write(&bytes[..bytes.len().min(*piece)]) {
                Ok(0) => return bytes,
                Ok(written) => {
                    bytes = &bytes[written..];
                    self.written.fetch_add(written as u64, Ordering::Relaxed);
                    *piece = if begun.elapsed() > SLOW_AFTER { SLOW_WRITE } else { WRITE };
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if poll(&mut [PollFd::new(file, PollFlags::OUT)], None).is_err() {
                        return bytes;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return bytes,
            }
        }
        bytes
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
            sink.append_or_drop(&line, || 1);
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

    #[test]
    fn no_thread_is_started_before_it_is_allowed() {
        assert!(Sink::stderr().is_none());
    }

    #[tokio::test]
    async fn counts_lines_lost_on_a_full_disk() -> io::Result<()> {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
        let sink = Sink::start(full.into(), drop_notice)?;
        sink.append(b"one\n");
        sink.append(b"two\n");
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
            sink.append(&[b'x'; 1024]);
        }
        sink.flush().await;
        drop(sink);
        let text = reading.join().map_err(|_| io::Error::other("the reader panicked"))??;
        assert_eq!(text.len(), 500 * 1024);
        Ok(())
    }
}
