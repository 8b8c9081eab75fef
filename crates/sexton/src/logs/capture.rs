//! The output of processes: read from pipes, formatted as records, buffered.
//!
//! * A process has exited when it is reaped, not at the end of its output, since a grandchild may hold the pipe open.
//!   Output from before the exit is read before the exit is reported; later output is read until no process of the
//!   run is left.
//! * A line longer than [`MAX_LINE`] is split; each part but the last is marked `partial=true`.
//! * A slow reader of sexton's output delays reading only for a limited time: see [`crate::logs::line_writer`].

use linux::pipe::pipe;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use engine::{JobId, RunId};
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

use crate::logs::Stream;
use crate::logs::buffer::{LogRing, Recent};
use crate::logs::line_writer::Sink;
use crate::logs::lines::{Lines, MAX_LINE};
use crate::logs::record::{ConsoleStyle, FormattedTime, RecordFormatter};
use linux::spawn::Output;
use spec::logs::LogFormat;
use spec::logs::LogPlan;
use spec::logs::{OutputPlan, StreamPlan};
use spec::program::Pid;

/// The size of one read.
const READ_SIZE: usize = 64 << 10;

/// The output settings of all processes, and their running readers.
#[derive(Debug)]
pub struct Outputs {
    plans: BTreeMap<JobId, Plan>,
    stdout: Option<Sink>,
    stderr: Option<Sink>,
    recent: Arc<Recent>,
    readers: BTreeMap<RunId, Vec<(Arc<Reader>, AbortHandle)>>,
    /// The width of the name column: the longest name, at most 24.
    width: usize,
    colours: bool,
}

/// The output settings of one process.
#[derive(Debug)]
struct Plan {
    streams: OutputPlan,
    name: Arc<str>,
    logs: LogPlan,
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
        self.plans.insert(job, Plan { streams, name, logs, kept, colour, width });
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
        let Some(plan) = self.plans.get(&job) else { return };
        let mut readers = Vec::new();
        for (pipe, stream) in ends.0 {
            let sink = match stream {
                Stream::Stdout => &self.stdout,
                Stream::Stderr => self.stderr.as_ref().map_or(&self.stdout, |_| &self.stderr),
            };
            let Some(sink) = sink.clone() else { continue };
            let console = ConsoleStyle { width: plan.width, colour: plan.colour };
            let formatter =
                RecordFormatter::new(plan.logs.format, &plan.name, pid, stream, &plan.logs.labels, console);
            let reader = Arc::new(Reader {
                pipe,
                stream,
                pid,
                name: Arc::clone(&plan.name),
                raw: plan.logs.format == LogFormat::Raw,
                formatter,
                sink,
                kept: Arc::clone(&plan.kept),
                recent: Arc::clone(&self.recent),
                state: Mutex::default(),
            });
            let task = tokio::spawn(Arc::clone(&reader).read_until_end());
            readers.push((reader, task.abort_handle()));
        }
        self.readers.insert(run, readers);
    }

    /// Reads the output that the process of this run wrote before it exited.
    pub fn drain(&self, run: RunId) {
        for (reader, _) in self.readers.get(&run).into_iter().flatten() {
            reader.read_available();
        }
    }

    /// Reads the remaining output and stops reading; called when no process of the run is left.
    pub fn close(&mut self, run: RunId) {
        self.drain(run);
        for (reader, task) in self.readers.remove(&run).into_iter().flatten() {
            reader.end();
            task.abort();
        }
    }

    /// Closes all runs and writes all records, with a time limit.
    pub async fn finish(mut self) {
        let runs: Vec<_> = self.readers.keys().copied().collect();
        for run in runs {
            self.close(run);
        }
        let finish = async |sink: &Option<Sink>| {
            if let Some(sink) = sink {
                sink.flush().await;
            }
        };
        tokio::join!(finish(&self.stdout), finish(&self.stderr));
    }
}

#[derive(Debug)]
struct Reader {
    pipe: AsyncFd<OwnedFd>,
    stream: Stream,
    pid: Pid,
    name: Arc<str>,
    /// Complete lines are passed through unchanged.
    raw: bool,
    formatter: RecordFormatter,
    sink: Sink,
    kept: Arc<LogRing>,
    recent: Arc<Recent>,
    state: Mutex<ReaderState>,
}

#[derive(Debug, Default)]
struct ReaderState {
    lines: Lines,
    ended: bool,
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
        loop {
            self.sink.room().await;
            let Ok(mut ready) = self.pipe.readable().await else { return };
            match self.read_some() {
                ReadStatus::Data => {}
                ReadStatus::Empty => ready.clear_ready(),
                ReadStatus::Closed => return,
            }
            // Let other tasks run, among them those that handle signals and exits.
            tokio::task::yield_now().await;
        }
    }

    fn read_some(&self) -> ReadStatus {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            return ReadStatus::Closed;
        }
        SCRATCH.with_borrow_mut(|Scratch { read, records }| {
            read.resize(READ_SIZE, 0);
            match rustix::io::read(self.pipe.get_ref(), read.as_mut_slice()) {
                Ok(0) => {
                    self.finish_line(&mut state, records);
                    ReadStatus::Closed
                }
                Ok(length) => {
                    self.process(&mut state, &read[..length], records);
                    ReadStatus::Data
                }
                Err(rustix::io::Errno::AGAIN) => ReadStatus::Empty,
                Err(rustix::io::Errno::INTR) => ReadStatus::Data,
                Err(_) => {
                    self.finish_line(&mut state, records);
                    ReadStatus::Closed
                }
            }
        })
    }

    fn process(&self, state: &mut ReaderState, bytes: &[u8], records: &mut Vec<u8>) {
        self.recent.note(&self.kept, &self.name, self.pid, self.stream, bytes);
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
            let stamp = FormattedTime::now();
            state.lines.take(bytes, |line, partial| {
                self.formatter.append(records, &stamp, line, partial);
                lines += 1;
            });
        }
        if !records.is_empty() {
            // Counted only if the records are dropped: counting takes time.
            let lines =
                || if lines == u64::MAX { memchr::memchr_iter(b'\n', records).count() as u64 } else { lines };
            self.sink.push_counted(records, lines);
        }
        if records.capacity() > 4 * READ_SIZE {
            *records = Vec::new();
        }
    }

    /// Reads at most the capacity of the pipe, so that a process which keeps writing cannot delay the exit.
    fn read_available(&self) {
        let capacity = rustix::pipe::fcntl_getpipe_size(self.pipe.get_ref()).unwrap_or(1 << 20);
        // A read may return less than READ_SIZE.
        for _ in 0..capacity.div_ceil(READ_SIZE) + 16 {
            if !matches!(self.read_some(), ReadStatus::Data) {
                return;
            }
        }
    }

    fn end(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        SCRATCH.with_borrow_mut(|scratch| self.finish_line(&mut state, &mut scratch.records));
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
                self.formatter.append(records, &FormattedTime::now(), line, false);
            }
        });
        if !records.is_empty() {
            self.sink.push_lines(records, 1);
        }
    }
}

const _: () = assert!(MAX_LINE == READ_SIZE, "one read must not exceed one line of the maximum length");
