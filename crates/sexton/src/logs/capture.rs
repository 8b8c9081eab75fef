//! The output of processes: read from pipes, made into records, kept for a while.
//!
//! * The end of a process is what the reaper says, never the end of its output: a grandchild may hold the
//!   pipe open. What was written before the end is read before the end is told; what comes later, until
//!   nothing of the run is left.
//! * A line longer than [`LONGEST`] is split, each part but the last marked `partial=true`.
//! * Reading never waits long for whoever reads us: see [`crate::logs::line_writer`].

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
use crate::logs::lines::{LONGEST, Lines};
use crate::logs::record::{ConsoleStyle, FormattedTime, RecordFormatter};
use linux::spawn::Output;
use spec::logs::LogFormat;
use spec::logs::LogPlan;
use spec::logs::{OutputPlan, StreamPlan};
use spec::program::Pid;

/// How much is read at once.
const PIECE: usize = 64 << 10;

/// What becomes of the output of processes, and the readers that are at it.
#[derive(Debug)]
pub struct Outputs {
    plans: BTreeMap<JobId, Plan>,
    stdout: Option<Sink>,
    stderr: Option<Sink>,
    recent: Arc<Recent>,
    readers: BTreeMap<RunId, Vec<(Arc<Reader>, AbortHandle)>>,
    /// The widest name, for people who read many.
    width: usize,
    colours: bool,
}

/// What becomes of the output of one process.
#[derive(Debug)]
struct Plan {
    streams: OutputPlan,
    name: Arc<str>,
    logs: LogPlan,
    kept: Arc<LogRing>,
    /// Its colour, for people who read many.
    colour: Option<u8>,
    width: usize,
}

/// The ends of the pipes of a process that is about to be started.
#[derive(Debug)]
pub struct Pipes {
    /// For the process.
    pub stdout: Output,
    /// For the process.
    pub stderr: Output,
    /// For us.
    pub ends: ReadEnds,
}

/// Our ends of the pipes.
#[derive(Debug, Default)]
pub struct ReadEnds(Vec<(AsyncFd<OwnedFd>, Stream)>);

impl Outputs {
    /// Nobody's output yet.
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

    /// The output of a process is to be treated so from now on. `alone`: there is but one, whose output goes where
    /// it says; the records of many go to our standard output, whatever stream they come from.
    pub fn plan(
        &mut self,
        job: JobId,
        name: &str,
        streams: OutputPlan,
        logs: LogPlan,
        alone: bool,
    ) -> io::Result<()> {
        let records = |plan| plan == StreamPlan::Records;
        let no_sink = || io::Error::other("no thread, or no descriptor, for standard error");
        if self.stdout.is_none() && (records(streams.stdout) || (!alone && records(streams.stderr))) {
            self.stdout = Some(Sink::stdout()?);
        }
        if self.stderr.is_none() && alone && records(streams.stderr) {
            self.stderr = Some(Sink::stderr().ok_or_else(no_sink)?);
        }
        if !alone {
            self.width = self.width.max(name.chars().count()).min(24);
        }
        let name: Arc<str> = name.into();
        let kept = self.recent.keep(&name);
        let colour = u8::try_from(job.0 % 6).ok().filter(|_| self.colours && !alone);
        let width = if alone { 0 } else { self.width };
        self.plans.insert(job, Plan { streams, name, logs, kept, colour, width });
        Ok(())
    }

    /// A process is not planned any more.
    pub fn forget(&mut self, job: JobId) {
        if let Some(gone) = self.plans.remove(&job)
            && self.plans.values().all(|plan| plan.name != gone.name)
        {
            self.recent.forget(&gone.name);
        }
    }

    /// The names are aligned to the widest.
    pub fn align(&mut self) {
        let width = self.width;
        for plan in self.plans.values_mut().filter(|plan| plan.width > 0) {
            plan.width = width;
        }
    }

    /// What a process has written last.
    #[must_use]
    pub fn kept(&self, job: JobId) -> Option<Arc<LogRing>> {
        self.plans.get(&job).map(|plan| Arc::clone(&plan.kept))
    }

    /// Lines that were dropped because nobody read them, or that could not be written.
    #[must_use]
    pub fn sinks(&self) -> Vec<(&'static str, Sink)> {
        let stdout = self.stdout.clone().map(|sink| ("stdout", sink));
        let stderr = self.stderr.clone().map(|sink| ("stderr", sink));
        stdout.into_iter().chain(stderr).collect()
    }

    /// Pipes for a process that is about to be started. All that may fail, fails here.
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

    /// Reads what the process writes, from now on.
    pub fn follow(&mut self, job: JobId, run: RunId, pid: Pid, ends: ReadEnds) {
        let Some(plan) = self.plans.get(&job) else { return };
        let mut readers = Vec::new();
        for (pipe, stream) in ends.0 {
            let own = match stream {
                Stream::Stdout => &self.stdout,
                Stream::Stderr => self.stderr.as_ref().map_or(&self.stdout, |_| &self.stderr),
            };
            let Some(sink) = own.clone() else { continue };
            let person = ConsoleStyle { width: plan.width, colour: plan.colour };
            let form =
                RecordFormatter::new(plan.logs.format, &plan.name, pid, stream, &plan.logs.labels, person);
            let reader = Arc::new(Reader {
                pipe,
                stream,
                pid,
                name: Arc::clone(&plan.name),
                raw: plan.logs.format == LogFormat::Raw,
                form,
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

    /// Reads what the process of this run wrote before its end.
    pub fn drain(&self, run: RunId) {
        for (reader, _) in self.readers.get(&run).into_iter().flatten() {
            reader.read_what_is_there();
        }
    }

    /// Reads what is still there and stops reading: nothing of the run is left.
    pub fn close(&mut self, run: RunId) {
        self.drain(run);
        for (reader, task) in self.readers.remove(&run).into_iter().flatten() {
            reader.end();
            task.abort();
        }
    }

    /// Writes out everything, within reason.
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
    /// Passed on as it comes, up to the end of a line.
    raw: bool,
    form: RecordFormatter,
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

enum More {
    Perhaps,
    NotNow,
    Never,
}

/// What is used while something is read and made into records, and by no two at a time.
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
                More::Perhaps => {}
                More::NotNow => ready.clear_ready(),
                More::Never => return,
            }
            // Others want their turn, signals and exits among them.
            tokio::task::yield_now().await;
        }
    }

    fn read_some(&self) -> More {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            return More::Never;
        }
        SCRATCH.with_borrow_mut(|Scratch { read, records }| {
            read.resize(PIECE, 0);
            match rustix::io::read(self.pipe.get_ref(), read.as_mut_slice()) {
                Ok(0) => {
                    self.end_of(&mut state, records);
                    More::Never
                }
                Ok(length) => {
                    self.pass_on(&mut state, &read[..length], records);
                    More::Perhaps
                }
                Err(rustix::io::Errno::AGAIN) => More::NotNow,
                Err(rustix::io::Errno::INTR) => More::Perhaps,
                Err(_) => {
                    self.end_of(&mut state, records);
                    More::Never
                }
            }
        })
    }

    fn pass_on(&self, state: &mut ReaderState, bytes: &[u8], records: &mut Vec<u8>) {
        self.recent.note(&self.kept, &self.name, self.pid, self.stream, bytes);
        records.clear();
        let mut lines = 0;
        if self.raw
            && let Some(last) = memchr::memrchr(b'\n', bytes)
        {
            // Whole lines go out as they are; what is behind the last waits for its end.
            state.lines.rest(|begun| records.extend_from_slice(begun));
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
                self.form.append(records, &stamp, line, partial);
                lines += 1;
            });
        }
        if !records.is_empty() {
            // Counted only where they are lost: that takes its time.
            let lines =
                || if lines == u64::MAX { memchr::memchr_iter(b'\n', records).count() as u64 } else { lines };
            self.sink.push_counted(records, lines);
        }
        if records.capacity() > 4 * PIECE {
            *records = Vec::new();
        }
    }

    /// No more than the pipe holds: who writes for ever, as a grandchild may, does not hold up the end.
    fn read_what_is_there(&self) {
        let capacity = rustix::pipe::fcntl_getpipe_size(self.pipe.get_ref()).unwrap_or(1 << 20);
        // A pipe gives no more at once than it holds, and may give less.
        for _ in 0..capacity.div_ceil(PIECE) + 16 {
            if !matches!(self.read_some(), More::Perhaps) {
                return;
            }
        }
    }

    fn end(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        SCRATCH.with_borrow_mut(|scratch| self.end_of(&mut state, &mut scratch.records));
    }

    fn end_of(&self, state: &mut ReaderState, records: &mut Vec<u8>) {
        if std::mem::replace(&mut state.ended, true) {
            return;
        }
        records.clear();
        state.lines.rest(|line| {
            if self.raw {
                // Others write behind it: a line of theirs begins on a line of its own.
                records.extend_from_slice(line);
                records.push(b'\n');
            } else {
                self.form.append(records, &FormattedTime::now(), line, false);
            }
        });
        if !records.is_empty() {
            self.sink.push_lines(records, 1);
        }
    }
}

const _: () = assert!(LONGEST == PIECE, "what is read at once is one line at the longest");
