//! The output of processes: read from pipes, formatted as records, buffered.
//!
//! * A process has exited when it is reaped, not at the end of its output, since a grandchild may hold the pipe open.
//!   Output from before the exit is read before the exit is reported; later output is read until no process of the
//!   run is left.
//! * A line longer than [`MAX_LINE`] is split; each part but the last is marked `partial=true`.
//! * Nothing is dropped: while the reader of sexton's output takes nothing, the pipes fill up and the processes wait in
//!   their writes, as they would without sexton. [`OnFull::Drop`] drops lines instead, and counts them.
//! * Output that an ended run has left in its pipe is read when there is room, before that of the next run.

use linux::pipe::pipe;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::{JobId, RunId};
use jiff::Timestamp;
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::logs::Stream;
use crate::logs::buffer::{LogRing, Recent};
use crate::logs::line_writer::Sink;
use crate::logs::lines::{Lines, MAX_LINE};
use crate::logs::record::{ConsoleStyle, FormattedTime, RecordFormatter, RecordSource};
use linux::spawn::Output;
use spec::logs::LogFormat;
use spec::logs::{LogPlan, OnFull, OutputPlan, StreamPlan};
use spec::program::Pid;

/// The size of one read.
const READ_SIZE: usize = 64 << 10;
/// The number of ended runs of a process whose output may wait in pipes. A process that is restarted again and again while
/// nothing is read would else use up all descriptors; the oldest output is dropped and counted.
const MAX_TAILS: usize = 64;
/// How often a pipe is looked at while there is no room.
const BLOCKED_CHECK: Duration = Duration::from_millis(250);
/// After this time a blocked process is reported.
const BLOCKED_WARNING: Duration = Duration::from_secs(5);

/// The output settings of all processes, and their running readers.
#[derive(Debug)]
pub struct Outputs {
    plans: BTreeMap<JobId, Plan>,
    stdout: Option<Sink>,
    stderr: Option<Sink>,
    recent: Arc<Recent>,
    readers: BTreeMap<RunId, Vec<(Arc<Reader>, AbortHandle)>>,
    /// Readers of ended runs whose output is not passed on yet, in the order of their ends.
    tails: Vec<(Arc<Reader>, AbortHandle)>,
    /// The width of the name column: the longest name, at most 24.
    width: usize,
    colours: bool,
}

/// The output settings of one process.
#[derive(Debug)]
struct Plan {
    streams: OutputPlan,
    name: Arc<str>,
    format: LogFormat,
    on_full: OnFull,
    labels: Arc<BTreeMap<String, String>>,
    kept: Arc<LogRing>,
    /// The colour of the name on a terminal.
    colour: Option<u8>,
    width: usize,
}

/// The pipes of a process that is about to be started.
#[derive(Debug)]
pub struct Pipes {
    /// Standard output for the process.
    pub stdout: Output,
    /// Standard error for the process.
    pub stderr: Output,
    /// The read ends.
    pub ends: ReadEnds,
}

/// The read ends of the pipes.
#[derive(Debug, Default)]
pub struct ReadEnds(Vec<(AsyncFd<OwnedFd>, Stream)>);

impl Outputs {
    /// No process has output settings yet.
    #[must_use]
    pub fn new(recent: Arc<Recent>) -> Self {
        let colours =
            io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|word| word.is_empty());
        Self {
            plans: BTreeMap::new(),
            stdout: None,
            stderr: None,
            recent,
            readers: BTreeMap::new(),
            tails: Vec::new(),
            width: 0,
            colours,
        }
    }

    /// Sets the output settings of a process. `single`: it is the only process, and its records stay on its stream;
    /// otherwise records of both streams go to standard output.
    pub fn plan(
        &mut self,
        job: JobId,
        name: &str,
        streams: OutputPlan,
        logs: LogPlan,
        single: bool,
    ) -> io::Result<()> {
        let records = |plan| plan == StreamPlan::Records;
        let no_sink = || io::Error::other("cannot create a thread or a descriptor for standard error");
        if self.stdout.is_none() && (records(streams.stdout) || (!single && records(streams.stderr))) {
            self.stdout = Some(Sink::stdout()?);
        }
        if self.stderr.is_none() && single && records(streams.stderr) {
            self.stderr = Some(Sink::stderr().ok_or_else(no_sink)?);
        }
        if !single {
            self.width = self.width.max(name.chars().count()).min(24);
        }
        let name: Arc<str> = name.into();
        let kept = self.recent.keep(&name);
        let colour = u8::try_from(job.0 % 6).ok().filter(|_| self.colours && !single);
        let width = if single { 0 } else { self.width };
        let LogPlan { format, on_full, labels } = logs;
        let labels = Arc::new(labels);
        self.plans.insert(job, Plan { streams, name, format, on_full, labels, kept, colour, width });
        Ok(())
    }

    /// Removes a process that is no longer configured.
    pub fn forget(&mut self, job: JobId) {
        if let Some(gone) = self.plans.remove(&job)
            && self.plans.values().all(|plan| plan.name != gone.name)
        {
            self.recent.forget(&gone.name);
        }
    }

    /// Aligns the names to the longest one.
    pub fn align(&mut self) {
        let width = self.width;
        for plan in self.plans.values_mut().filter(|plan| plan.width > 0) {
            plan.width = width;
        }
    }

    /// The buffer of recent output of a process.
    #[must_use]
    pub fn kept(&self, job: JobId) -> Option<Arc<LogRing>> {
        self.plans.get(&job).map(|plan| Arc::clone(&plan.kept))
    }

    /// The writers of standard output and standard error, with their counts of lost lines.
    #[must_use]
    pub fn sinks(&self) -> Vec<(&'static str, Sink)> {
        let stdout = self.stdout.clone().map(|sink| ("stdout", sink));
        let stderr = self.stderr.clone().map(|sink| ("stderr", sink));
        stdout.into_iter().chain(stderr).collect()
    }

    /// Creates the pipes of a process that is about to be started, so that failures come before its start.
    pub fn pipes(&self, job: JobId) -> io::Result<Pipes> {
        let mut ends = Vec::new();
        let mut output = |plan, stream| {
            Ok::<_, io::Error>(match plan {
                StreamPlan::Inherit => Output::Inherit,
                StreamPlan::Discard => Output::Discard,
                StreamPlan::Records => {
                    let (reader, writer) = pipe()?;
                    ends.push((reader, stream));
                    Output::Pipe(writer)
                }
            })
        };
        let plan = self.plans.get(&job).map_or(OutputPlan::discard(), |plan| plan.streams);
        let stdout = output(plan.stdout, Stream::Stdout)?;
        let stderr = output(plan.stderr, Stream::Stderr)?;
        Ok(Pipes { stdout, stderr, ends: ReadEnds(ends) })
    }

    /// Starts reading the output of a process.
    pub fn follow(&mut self, job: JobId, run: RunId, pid: Pid, ends: ReadEnds) {
        self.tails.retain(|(tail, _)| !tail.has_ended());
        let Some(plan) = self.plans.get(&job) else { return };
        let mut readers = Vec::new();
        for (pipe, stream) in ends.0 {
            let sink = match stream {
                Stream::Stdout => &self.stdout,
                Stream::Stderr => self.stderr.as_ref().map_or(&self.stdout, |_| &self.stderr),
            };
            let Some(sink) = sink.clone() else { continue };
            let console = ConsoleStyle { width: plan.width, colour: plan.colour };
            let source = RecordSource {
                format: plan.format,
                process: Arc::clone(&plan.name),
                pid,
                stream,
                labels: Arc::clone(&plan.labels),
            };
            let formatter = RecordFormatter::new(plan.format, &source, console);
            let earlier = self.tails.iter().rev().map(|(tail, _)| tail);
            let previous =
                earlier.clone().find(|tail| tail.job == job && tail.source.stream == stream).cloned();
            let reader = Arc::new(Reader {
                pipe,
                job,
                source: Arc::new(source),
                raw: plan.format == LogFormat::Raw,
                on_full: plan.on_full,
                formatter,
                sink,
                kept: Arc::clone(&plan.kept),
                recent: Arc::clone(&self.recent),
                over: Semaphore::new(0),
                state: Mutex::new(ReaderState { previous, ..ReaderState::default() }),
            });
            let task = tokio::spawn(Arc::clone(&reader).read_until_end());
            readers.push((reader, task.abort_handle()));
        }
        self.readers.insert(run, readers);
    }

    /// Reads the output that the process of this run wrote before it exited, as far as there is room.
    pub fn drain(&self, run: RunId) {
        for (reader, _) in self.readers.get(&run).into_iter().flatten() {
            reader.read_available();
        }
    }

    /// Reads the remaining output and stops reading; called when no process of the run is left. Without room, the output
    /// stays in the pipe until there is some.
    pub fn close(&mut self, run: RunId) {
        for (reader, task) in self.readers.remove(&run).into_iter().flatten() {
            reader.close();
            if reader.has_ended() {
                task.abort();
            } else {
                self.tails.push((reader, task));
            }
        }
        self.tails.retain(|(tail, _)| !tail.has_ended());
        let Some(job) = self.tails.last().map(|(tail, _)| tail.job) else { return };
        let of_job = |(tail, _): &&(Arc<Reader>, AbortHandle)| tail.job == job;
        let excess = self.tails.iter().filter(of_job).count().saturating_sub(MAX_TAILS);
        for (tail, task) in self.tails.iter().filter(of_job).take(excess) {
            tail.sink.add_lost(tail.discard());
            task.abort();
        }
    }

    /// Closes all runs, and passes on their output until everything is written, the reader of sexton's output has taken
    /// nothing for the time of `patience.stalled`, or `patience.until` has passed.
    pub async fn finish(&mut self, patience: Patience) {
        let runs: Vec<_> = self.readers.keys().copied().collect();
        for run in runs {
            self.close(run);
        }
        let all_written = async {
            for (tail, _) in &self.tails {
                tail.wait_until_over().await;
            }
            for (_, sink) in self.sinks() {
                sink.flushed().await;
            }
        };
        let mut all_written = std::pin::pin!(all_written);
        loop {
            let before = self.written();
            let stalled = Instant::now() + patience.stalled;
            let limit = patience.until.map_or(stalled, |until| until.min(stalled));
            let over = patience.until.is_some_and(|until| until <= Instant::now());
            if over || timeout_at(limit, &mut all_written).await.is_ok() || self.written() == before {
                return;
            }
        }
    }

    /// Discards everything that is not written, and returns the number of lines.
    pub fn discard(&mut self) -> u64 {
        let tails: u64 = self.tails.drain(..).map(|(tail, _)| tail.discard()).sum();
        tails + self.sinks().iter().map(|(_, sink)| sink.unwritten_lines()).sum::<u64>()
    }

    fn written(&self) -> u64 {
        self.sinks().iter().map(|(_, sink)| sink.written()).sum()
    }
}

/// How long to wait for the reader of sexton's output at shutdown.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long a reader that takes nothing is waited for.
    pub stalled: Duration,
    /// The end of the wait, even if the reader makes progress.
    pub until: Option<Instant>,
}

#[derive(Debug)]
struct Reader {
    pipe: AsyncFd<OwnedFd>,
    job: JobId,
    source: Arc<RecordSource>,
    /// Complete lines are passed through unchanged.
    raw: bool,
    on_full: OnFull,
    formatter: RecordFormatter,
    sink: Sink,
    kept: Arc<LogRing>,
    recent: Arc<Recent>,
    /// Closed when the last line has been passed on.
    over: Semaphore,
    state: Mutex<ReaderState>,
}

#[derive(Debug, Default)]
struct ReaderState {
    lines: Lines,
    /// The last byte that was read is not the end of a line.
    in_line: bool,
    /// The time of the last read, which is that of an incomplete line at the end.
    read_at: Timestamp,
    ended: bool,
    /// The reader of an earlier run of the process, whose output comes first.
    previous: Option<Arc<Reader>>,
    /// The bytes left to read, once all processes of the run have ended. What others write to the pipe later is not waited
    /// for.
    remaining: Option<usize>,
}

enum ReadStatus {
    Data,
    Empty,
    Closed,
}

/// Buffers reused by all readers of a thread.
struct Scratch {
    read: Vec<u8>,
    records: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { read: Vec::new(), records: Vec::new() }) };
}

impl Reader {
    async fn read_until_end(self: Arc<Self>) {
        let previous = self.lock().previous.clone();
        if let Some(previous) = previous {
            previous.wait_until_over().await;
            self.lock().previous = None;
        }
        loop {
            self.wait_for_room().await;
            if self.end_if_all_is_read() {
                return;
            }
            let Ok(mut ready) = self.pipe.readable().await else { return };
            if !self.may_read() {
                // Another reader has filled the room.
                continue;
            }
            match self.read_some() {
                ReadStatus::Data => {}
                ReadStatus::Empty => ready.clear_ready(),
                ReadStatus::Closed => return,
            }
            // Let other tasks run, among them those that handle signals and exits.
            tokio::task::yield_now().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, ReaderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self) -> bool {
        self.lock().ended
    }

    async fn wait_until_over(&self) {
        // Err: the semaphore is closed, which is what is waited for; it has no permits.
        let _ = self.over.acquire().await;
    }

    fn may_read(&self) -> bool {
        self.on_full == OnFull::Drop || self.sink.has_room()
    }

    /// Waits for room. Meanwhile the process fills its pipe, and is then blocked in its write.
    async fn wait_for_room(&self) {
        if self.on_full == OnFull::Drop {
            return self.sink.room_of_reading_reader().await;
        }
        if self.sink.has_room() {
            return;
        }
        let mut blockage = self.kept.blockage();
        loop {
            let before = self.unread();
            let room = timeout(BLOCKED_CHECK, self.sink.room()).await;
            // A write returns when all is in the pipe. The pages of a pipe may be half full.
            blockage.check(before >= self.capacity() / 2 && before == self.unread());
            if room.is_ok() {
                return;
            }
            if blockage.is_due(BLOCKED_WARNING) {
                let RecordSource { process, pid, stream, .. } = &*self.source;
                log::warn!(process = &**process, pid = pid, stream = stream.label();
                    "the process is blocked in its writes: the reader of sexton's output takes nothing");
            }
        }
    }

    /// The number of bytes in the pipe.
    fn unread(&self) -> usize {
        let unread = rustix::io::ioctl_fionread(self.pipe.get_ref());
        unread.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    fn capacity(&self) -> usize {
        rustix::pipe::fcntl_getpipe_size(self.pipe.get_ref()).unwrap_or(1 << 20)
    }

    fn read_some(&self) -> ReadStatus {
        let mut state = self.lock();
        if state.ended {
            return ReadStatus::Closed;
        }
        let size = state.remaining.map_or(READ_SIZE, |remaining| remaining.min(READ_SIZE));
        SCRATCH.with_borrow_mut(|Scratch { read, records }| {
            read.resize(READ_SIZE, 0);
            match rustix::io::read(self.pipe.get_ref(), &mut read[..size]) {
                Ok(length) if length > 0 => {
                    self.process(&mut state, &read[..length], records);
                    if let Some(remaining) = &mut state.remaining {
                        *remaining -= length;
                        if *remaining == 0 {
                            self.finish_line(&mut state, records);
                            return ReadStatus::Closed;
                        }
                    }
                    ReadStatus::Data
                }
                Err(rustix::io::Errno::AGAIN) if state.remaining.is_none() => ReadStatus::Empty,
                Err(rustix::io::Errno::INTR) => ReadStatus::Data,
                Ok(_) | Err(_) => {
                    self.finish_line(&mut state, records);
                    ReadStatus::Closed
                }
            }
        })
    }

    fn process(&self, state: &mut ReaderState, bytes: &[u8], records: &mut Vec<u8>) {
        let now = Timestamp::now();
        state.read_at = now;
        self.recent.note(&self.kept, &self.source, now, bytes, state.in_line);
        state.in_line = bytes.last() != Some(&b'\n');
        records.clear();
        let mut lines = 0;
        if self.raw
            && let Some(last) = memchr::memrchr(b'\n', bytes)
        {
            // Complete lines are passed through; the rest waits for its newline.
            state.lines.rest(|incomplete| records.extend_from_slice(incomplete));
            records.extend_from_slice(&bytes[..=last]);
            lines = u64::MAX;
            state.lines.take(&bytes[last + 1..], |part, _| records.extend_from_slice(part));
        } else if self.raw {
            state.lines.take(bytes, |part, _| {
                records.extend_from_slice(part);
                lines += 1;
            });
        } else {
            let stamp = FormattedTime::at(now);
            state.lines.take(bytes, |line, partial| {
                self.formatter.append(records, &stamp, line, partial);
                lines += 1;
            });
        }
        if !records.is_empty() {
            // Counted only if the records are dropped: counting takes time.
            let lines =
                || if lines == u64::MAX { memchr::memchr_iter(b'\n', records).count() as u64 } else { lines };
            match self.on_full {
                OnFull::Block => self.sink.append(records),
                OnFull::Drop => self.sink.append_or_drop(records, lines),
            }
        }
        if records.capacity() > 4 * READ_SIZE {
            *records = Vec::new();
        }
    }

    /// Reads at most the capacity of the pipe, so that a process which keeps writing cannot delay the exit, and no more
    /// than there is room for.
    fn read_available(&self) {
        if self.lock().previous.as_ref().is_some_and(|previous| !previous.has_ended()) {
            return;
        }
        // A read may return less than READ_SIZE.
        for _ in 0..self.capacity().div_ceil(READ_SIZE) + 16 {
            if !self.may_read() || !matches!(self.read_some(), ReadStatus::Data) {
                return;
            }
        }
    }

    /// Ends when everything is read that is in the pipe now; at once, if there is room for it.
    fn close(&self) {
        self.lock().remaining = Some(self.unread());
        if !self.end_if_all_is_read() {
            self.read_available();
        }
    }

    /// Ends, unless there is something to read or an earlier run comes first.
    fn end_if_all_is_read(&self) -> bool {
        let mut state = self.lock();
        let is_first = state.previous.as_ref().is_none_or(|previous| previous.has_ended());
        if state.remaining == Some(0) && is_first {
            SCRATCH.with_borrow_mut(|scratch| self.finish_line(&mut state, &mut scratch.records));
        }
        state.ended
    }

    /// Ends at once, and returns the number of lines that were not read.
    fn discard(&self) -> u64 {
        let mut state = self.lock();
        let mut lines = 0;
        let mut left = state.remaining.unwrap_or_else(|| self.unread());
        let mut buffer = [0; 4096];
        while left > 0 && !state.ended {
            let size = left.min(buffer.len());
            let Ok(length @ 1..) = rustix::io::read(self.pipe.get_ref(), &mut buffer[..size]) else { break };
            lines += memchr::memchr_iter(b'\n', &buffer[..length]).count() as u64;
            left -= length;
        }
        state.lines.rest(|_| lines += 1);
        state.ended = true;
        self.over.close();
        lines
    }

    fn finish_line(&self, state: &mut ReaderState, records: &mut Vec<u8>) {
        if std::mem::replace(&mut state.ended, true) {
            return;
        }
        records.clear();
        state.lines.rest(|line| {
            if self.raw {
                // The next record must start on a line of its own.
                records.extend_from_slice(line);
                records.push(b'\n');
            } else {
                self.formatter.append(records, &FormattedTime::at(state.read_at), line, false);
            }
        });
        if !records.is_empty() {
            self.sink.append(records);
        }
        self.over.close();
    }
}

const _: () = assert!(MAX_LINE == READ_SIZE, "one read must not exceed one line of the maximum length");
