//! The output of a process as log records: one for each line, with the time at which we read it.
//!
//! * The end of a process is what the reaper says, never the end of its output: a grandchild may hold the
//!   pipe open. What was written before the end is read before the end is told; what comes later, until
//!   nothing of the run is left.
//! * A line longer than [`LONGEST`] is split, each part but the last marked `partial=true`.
//! * Reading never waits for whoever reads us: see [`crate::sink`].

use std::io::{self, IsTerminal, Read as _};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use engine::RunId;
use jiff::Timestamp;
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

use crate::clock::rfc3339_millis;
use crate::config::{OutputPlan, StreamPlan};
use crate::logfmt;
use crate::process::Pid;
use crate::process::spawn::Output;
use crate::readable::readable;
use crate::sink::Sink;

/// The longest line that is kept in one piece, in bytes.
pub const LONGEST: usize = 64 << 10;

/// How much is read at once.
const PIECE: usize = 16 << 10;

/// What becomes of the output of a process, and the readers that are at it.
#[derive(Debug)]
pub struct Outputs {
    plan: OutputPlan,
    name: String,
    stdout: Option<Sink>,
    stderr: Option<Sink>,
    /// A person reads the records.
    text: (bool, bool),
    readers: Vec<(RunId, Arc<Mutex<Reader>>, AbortHandle)>,
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
#[derive(Debug)]
pub struct ReadEnds(Vec<ReadEnd>);

#[derive(Debug)]
struct ReadEnd {
    pipe: io::PipeReader,
    readiness: AsyncFd<OwnedFd>,
    stream: Stream,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    const fn label(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl Outputs {
    /// Prepares what the plan asks for.
    pub fn new(plan: OutputPlan, name: String) -> io::Result<Self> {
        let records = |plan| plan == StreamPlan::Records;
        let no_sink = || io::Error::other("no thread, or no descriptor, for standard error");
        let stdout = records(plan.stdout).then(Sink::stdout).transpose()?;
        let stderr = records(plan.stderr).then(|| Sink::stderr().ok_or_else(no_sink)).transpose()?;
        Ok(Self {
            plan,
            name,
            stdout,
            stderr,
            text: (io::stdout().is_terminal(), io::stderr().is_terminal()),
            readers: Vec::new(),
        })
    }

    /// Lines that were dropped because nobody read them, or that could not be written.
    #[must_use]
    pub fn sinks(&self) -> Vec<(&'static str, Sink)> {
        let stdout = self.stdout.clone().map(|sink| ("stdout", sink));
        let stderr = self.stderr.clone().map(|sink| ("stderr", sink));
        stdout.into_iter().chain(stderr).collect()
    }

    /// Pipes for a process that is about to be started. All that may fail, fails here.
    pub fn pipes(&self) -> io::Result<Pipes> {
        let mut ends = Vec::new();
        let mut output = |plan, stream| {
            Ok::<_, io::Error>(match plan {
                StreamPlan::Inherit => Output::Inherit,
                StreamPlan::Discard => Output::Discard,
                StreamPlan::Records => {
                    let (pipe, writer) = io::pipe()?;
                    rustix::io::ioctl_fionbio(&pipe, true)?;
                    let readiness = readable(OwnedFd::from(pipe.try_clone()?))?;
                    ends.push(ReadEnd { pipe, readiness, stream });
                    Output::Pipe(writer.into())
                }
            })
        };
        let stdout = output(self.plan.stdout, Stream::Stdout)?;
        let stderr = output(self.plan.stderr, Stream::Stderr)?;
        Ok(Pipes { stdout, stderr, ends: ReadEnds(ends) })
    }

    /// Reads what the process writes, from now on.
    pub fn follow(&mut self, run: RunId, pid: Pid, ends: ReadEnds) {
        for ReadEnd { pipe, readiness, stream } in ends.0 {
            let (sink, text) = match stream {
                Stream::Stdout => (&self.stdout, self.text.0),
                Stream::Stderr => (&self.stderr, self.text.1),
            };
            let Some(sink) = sink.clone() else { continue };
            let form = Form { name: self.name.clone(), pid, stream, text };
            let reader =
                Arc::new(Mutex::new(Reader { pipe, form, lines: Lines::default(), sink, ended: false }));
            let task = tokio::spawn(read_until_end(readiness, Arc::clone(&reader)));
            self.readers.push((run, reader, task.abort_handle()));
        }
    }

    /// Reads what the process of this run wrote before its end.
    pub fn drain(&self, run: RunId) {
        for (_, reader, _) in self.readers.iter().filter(|(of, _, _)| *of == run) {
            reader.lock().unwrap_or_else(PoisonError::into_inner).read_what_is_there();
        }
    }

    /// Reads what is still there and stops reading: nothing of the run is left.
    pub fn close(&mut self, run: RunId) {
        self.drain(run);
        self.readers.retain(|(of, reader, task)| {
            if *of == run {
                reader.lock().unwrap_or_else(PoisonError::into_inner).end();
                task.abort();
            }
            *of != run
        });
    }

    /// Writes out everything, within reason.
    pub async fn finish(mut self) {
        let runs: Vec<_> = self.readers.iter().map(|(run, _, _)| *run).collect();
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

async fn read_until_end(descriptor: AsyncFd<OwnedFd>, reader: Arc<Mutex<Reader>>) {
    loop {
        let Ok(mut ready) = descriptor.readable().await else { return };
        let more = reader.lock().unwrap_or_else(PoisonError::into_inner).read_some();
        match more {
            More::Perhaps => {}
            More::NotNow => ready.clear_ready(),
            More::Never => return,
        }
        // Others want their turn, signals and exits among them.
        tokio::task::yield_now().await;
    }
}

#[derive(Debug)]
struct Reader {
    pipe: io::PipeReader,
    form: Form,
    lines: Lines,
    sink: Sink,
    ended: bool,
}

enum More {
    Perhaps,
    NotNow,
    Never,
}

impl Reader {
    fn read_some(&mut self) -> More {
        let mut buffer = [0; PIECE];
        if self.ended {
            return More::Never;
        }
        match self.pipe.read(&mut buffer) {
            Ok(0) => {
                self.end();
                More::Never
            }
            Ok(read) => {
                let Self { form, lines, sink, .. } = self;
                let time = Timestamp::now();
                lines.take(&buffer[..read], |line, partial| sink.push(&form.record(time, line, partial)));
                More::Perhaps
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => More::NotNow,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => More::Perhaps,
            Err(_) => {
                self.end();
                More::Never
            }
        }
    }

    /// No more than the pipe holds: who writes for ever, as a grandchild may, does not hold up the end.
    fn read_what_is_there(&mut self) {
        let capacity = rustix::pipe::fcntl_getpipe_size(&self.pipe).unwrap_or(1 << 20);
        for _ in 0..capacity.div_ceil(PIECE) {
            if !matches!(self.read_some(), More::Perhaps) {
                return;
            }
        }
    }

    fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            let Self { form, lines, sink, .. } = self;
            lines.rest(|line| sink.push(&form.record(Timestamp::now(), line, false)));
        }
    }
}

/// Bytes in, lines out.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn take(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8], bool)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = (&bytes[..end], &bytes[end + 1..]);
            if self.begun.is_empty() && head.len() <= LONGEST {
                line(head, false);
            } else {
                self.extend(head, &mut line);
                line(&std::mem::take(&mut self.begun), false);
            }
            bytes = tail;
        }
        self.extend(bytes, &mut line);
    }

    fn extend(&mut self, mut bytes: &[u8], line: &mut impl FnMut(&[u8], bool)) {
        while self.begun.len() + bytes.len() > LONGEST {
            let (head, tail) = bytes.split_at(LONGEST - self.begun.len());
            self.begun.extend_from_slice(head);
            line(&self.begun, true);
            self.begun.clear();
            bytes = tail;
        }
        self.begun.extend_from_slice(bytes);
    }

    /// The last line, if it has no end.
    fn rest(&mut self, line: impl FnOnce(&[u8])) {
        if !self.begun.is_empty() {
            line(&std::mem::take(&mut self.begun));
        }
    }
}

#[derive(Debug)]
struct Form {
    name: String,
    pid: Pid,
    stream: Stream,
    text: bool,
}

impl Form {
    fn record(&self, time: Timestamp, line: &[u8], partial: bool) -> Vec<u8> {
        let time = rfc3339_millis(time);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.text {
            let mut record = format!("{time} {}[{}] ", self.name, self.pid).into_bytes();
            record.extend_from_slice(line);
            record.push(b'\n');
            return record;
        }
        let mut record = Vec::with_capacity(line.len() + 128);
        logfmt::append(&mut record, "time", time.as_bytes());
        logfmt::append(&mut record, "process", self.name.as_bytes());
        logfmt::append(&mut record, "pid", self.pid.to_string().as_bytes());
        logfmt::append(&mut record, "stream", self.stream.label().as_bytes());
        if partial {
            logfmt::append(&mut record, "partial", b"true");
        }
        logfmt::append(&mut record, "msg", line);
        record.push(b'\n');
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<(usize, bool)> {
        let mut out = Vec::new();
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.take(chunk, |line, partial| out.push((line.len(), partial)));
        }
        lines.rest(|line| out.push((line.len(), false)));
        out
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        assert_eq!(lines(&[b"one\ntw", b"o\n", b"\nlast"]), [(3, false), (3, false), (0, false), (4, false)]);
        assert_eq!(lines(&[b"", b"\n"]), [(0, false)]);
    }

    #[test]
    fn a_long_line_is_split_and_marked_and_nothing_of_it_is_lost() {
        let long = vec![b'x'; 2 * LONGEST + 5];
        let with_end = [long.as_slice(), b"\nnext\n"].concat();
        let expected = [(LONGEST, true), (LONGEST, true), (5, false), (4, false)];
        assert_eq!(lines(&[&with_end]), expected);
        let chunks: Vec<&[u8]> = with_end.chunks(4096).collect();
        assert_eq!(lines(&chunks), expected);
        assert_eq!(lines(&[&long[..LONGEST], b"\n"]), [(LONGEST, false)], "exactly as long is not too long");
    }
}
