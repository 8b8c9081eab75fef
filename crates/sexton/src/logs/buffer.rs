//! A buffer of the recent output of processes, and its followers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::Stream;
use super::lines::Lines;
use super::record::RecordSource;

/// The capacity per process in bytes.
const CAPACITY: usize = 32 << 10;
/// Approximate overhead per chunk in bytes.
const OVERHEAD: usize = 96;
/// The number of chunks that a follower may lag behind.
const FOLLOWER_CAPACITY: usize = 256;

/// A chunk of output, as read from the pipe.
#[derive(Debug, Clone)]
pub struct OutputChunk {
    /// Time of the read.
    pub time: Timestamp,
    pub source: Arc<RecordSource>,
    /// The first line began in an earlier chunk.
    pub continued: bool,
    pub bytes: Arc<[u8]>,
}

/// The recent output of all processes.
#[derive(Debug)]
pub struct Recent {
    followers: broadcast::Sender<OutputChunk>,
    kept: Mutex<BTreeMap<Arc<str>, Arc<LogRing>>>,
}

/// The recent output of one process.
#[derive(Debug, Default)]
pub struct LogRing {
    state: Mutex<State>,
    /// How long the process was blocked in its writes, in nanoseconds.
    blocked: AtomicU64,
    /// The number of its streams that are blocked now.
    blocked_streams: AtomicUsize,
}

/// A wait for room, in which a process may be blocked in its writes.
#[derive(Debug)]
pub struct Blockage<'a> {
    kept: &'a LogRing,
    /// Since when it is known to be blocked.
    since: Option<Instant>,
    checked: Instant,
    reported: bool,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<OutputChunk>,
    bytes: usize,
}

/// A line of recent output.
#[derive(Debug, Clone)]
pub struct Line {
    /// Time of the read that completed it.
    pub time: Timestamp,
    pub source: Arc<RecordSource>,
    /// The line without its newline.
    pub text: Vec<u8>,
    /// More of the line follows.
    pub partial: bool,
}

impl Recent {
    /// An empty buffer without followers.
    #[must_use]
    pub fn new() -> Self {
        Self { followers: broadcast::Sender::new(FOLLOWER_CAPACITY), kept: Mutex::default() }
    }

    /// The buffer of a process; created if there is none.
    #[must_use]
    pub fn keep(&self, process: &Arc<str>) -> Arc<LogRing> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.entry(Arc::clone(process)).or_default())
    }

    /// Removes the buffer of a process, after its removal from the configuration.
    pub fn forget(&self, process: &str) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(process);
    }

    /// The last lines of the named processes (of all, if none is named), in the order of reading.
    #[must_use]
    pub fn lines(&self, names: &[String], most: usize) -> Vec<Line> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
        let chosen = kept.iter().filter(|(name, _)| wanted(name));
        let mut lines: Vec<_> = chosen.flat_map(|(_, kept)| kept.lines(most)).collect();
        lines.sort_by_key(|line| line.time);
        lines.drain(..lines.len().saturating_sub(most));
        lines
    }

    /// How long each process was blocked in its writes, and whether it is now.
    #[must_use]
    pub fn blocked(&self) -> BTreeMap<Arc<str>, (Duration, bool)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|(name, kept)| (Arc::clone(name), kept.blocked())).collect()
    }

    /// Subscribes to new output.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<OutputChunk> {
        self.followers.subscribe()
    }

    /// Adds a chunk and sends it to the followers. `continued`: its first line began in an earlier chunk.
    pub fn note(
        &self,
        kept: &LogRing,
        source: &Arc<RecordSource>,
        time: Timestamp,
        bytes: &[u8],
        continued: bool,
    ) {
        let chunk = |bytes: &[u8], continued| OutputChunk {
            time,
            source: Arc::clone(source),
            continued,
            bytes: bytes.into(),
        };
        let chunk = if self.followers.receiver_count() > 0 {
            let chunk = chunk(bytes, continued);
            // Err: the last follower has gone in between.
            let _ = self.followers.send(chunk.clone());
            chunk
        } else if let Some(over @ 1..) = bytes.len().checked_sub(CAPACITY) {
            // From the start of a line, if one starts there.
            match memchr::memchr(b'\n', &bytes[over - 1..bytes.len() - 1]) {
                Some(end) => chunk(&bytes[over + end..], false),
                None => chunk(&bytes[over..], true),
            }
        } else {
            chunk(bytes, continued)
        };
        let mut state = kept.lock();
        state.bytes += chunk.bytes.len() + OVERHEAD;
        state.chunks.push_back(chunk);
        while state.bytes > CAPACITY && state.chunks.len() > 1 {
            let freed = state.chunks.pop_front().map_or(0, |chunk| chunk.bytes.len() + OVERHEAD);
            state.bytes -= freed;
        }
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self::new()
    }
}

impl LogRing {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a wait for room.
    #[must_use]
    pub fn blockage(&self) -> Blockage<'_> {
        Blockage { kept: self, since: None, checked: Instant::now(), reported: false }
    }

    /// How long the process was blocked in its writes, all in all, and whether it is now.
    #[must_use]
    pub fn blocked(&self) -> (Duration, bool) {
        let total = Duration::from_nanos(self.blocked.load(Ordering::Relaxed));
        (total, self.blocked_streams.load(Ordering::Relaxed) > 0)
    }

    /// The last lines, at most `most`. A line whose start has left the buffer is left out, unless its stream has no
    /// other.
    #[must_use]
    pub fn lines(&self, most: usize) -> Vec<Line> {
        let chunks: Vec<_> = self.lock().chunks.iter().cloned().collect();
        let assembled = |mut all: Assembler| {
            let mut lines = Vec::new();
            for chunk in &chunks {
                all.take(chunk, |line| lines.push(line));
            }
            all.rest(|line| lines.push(line));
            lines
        };
        let mut lines = assembled(Assembler { whole_lines: true, ..Assembler::default() });
        for stream in [Stream::Stdout, Stream::Stderr] {
            let of_stream = |line: &Line| line.source.stream == stream;
            if !lines.iter().any(of_stream) && chunks.iter().any(|chunk| chunk.source.stream == stream) {
                lines.extend(assembled(Assembler::default()).into_iter().filter(of_stream));
                lines.sort_by_key(|line| line.time);
            }
        }
        lines.drain(..lines.len().saturating_sub(most));
        lines
    }
}

impl Blockage<'_> {
    /// Adds the time since the last check if the process was blocked.
    pub fn check(&mut self, blocked: bool) {
        let now = Instant::now();
        let before = std::mem::replace(&mut self.checked, now);
        if blocked {
            let nanos = u64::try_from((now - before).as_nanos()).unwrap_or(u64::MAX);
            self.kept.blocked.fetch_add(nanos, Ordering::Relaxed);
        }
        match (self.since, blocked) {
            (None, true) => {
                self.kept.blocked_streams.fetch_add(1, Ordering::Relaxed);
                self.since = Some(before);
            }
            (Some(_), false) => self.end(),
            (None, false) | (Some(_), true) => {}
        }
    }

    /// Whether the process has been blocked for this time and that was not reported yet.
    pub fn is_due(&mut self, after: Duration) -> bool {
        let due = self.since.is_some_and(|since| since.elapsed() >= after);
        due && !std::mem::replace(&mut self.reported, true)
    }

    fn end(&mut self) {
        if self.since.take().is_some() {
            self.kept.blocked_streams.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Blockage<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Assembles the lines of several processes from chunks.
#[derive(Debug, Default)]
pub struct Assembler {
    /// Leaves out a first line that is continued from an unknown chunk.
    whole_lines: bool,
    pending: BTreeMap<(Arc<str>, bool), (Line, Lines)>,
}

impl Assembler {
    /// Calls `line` with each line that the chunk completes; before that, with an incomplete line of an earlier run of
    /// the process.
    pub fn take(&mut self, chunk: &OutputChunk, mut line: impl FnMut(Line)) {
        let OutputChunk { time, source, .. } = chunk;
        let head = || Line { time: *time, source: Arc::clone(source), text: Vec::new(), partial: false };
        let key = (Arc::clone(&source.process), source.stream == Stream::Stderr);
        let mut bytes = &*chunk.bytes;
        if self.whole_lines && chunk.continued && !self.pending.contains_key(&key) {
            let Some(end) = memchr::memchr(b'\n', bytes) else { return };
            bytes = &bytes[end + 1..];
        }
        let (earlier, lines) = self.pending.entry(key).or_insert_with(|| (head(), Lines::default()));
        if earlier.source.pid != source.pid {
            lines.rest(|text| line(Line { text: text.to_vec(), ..earlier.clone() }));
        }
        *earlier = head();
        lines.take(bytes, |text, partial| line(Line { text: text.to_vec(), partial, ..head() }));
    }

    /// Calls `line` with each remaining incomplete line.
    pub fn rest(&mut self, mut line: impl FnMut(Line)) {
        for (head, lines) in self.pending.values_mut() {
            lines.rest(|text| line(Line { text: text.to_vec(), ..head.clone() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use spec::logs::LogFormat;

    use super::*;

    #[test]
    fn keeps_the_last_lines_within_its_capacity() {
        let (recent, kept) = (Recent::new(), LogRing::default());
        let source = |stream| {
            let labels = Arc::default();
            Arc::new(RecordSource { format: LogFormat::Raw, process: "web".into(), pid: 7, stream, labels })
        };
        let (stdout, stderr) = (source(Stream::Stdout), source(Stream::Stderr));
        for n in 0..2000 {
            recent.note(&kept, &stdout, Timestamp::now(), format!("line {n}\nli").as_bytes(), n > 0);
            recent.note(&kept, &stderr, Timestamp::now(), b"no end", n > 0);
        }
        assert!(kept.lock().bytes <= CAPACITY);
        let lines = kept.lines(3);
        let texts: Vec<_> =
            lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect();
        assert!(texts.contains(&"liline 1999".to_owned()) && texts.contains(&"li".to_owned()), "{texts:?}");
        assert!(texts.iter().any(|text| text.ends_with("no end")), "an incomplete line is kept too");
        assert_eq!(kept.lines(0).len(), 0);
    }

    #[test]
    fn leaves_out_a_line_whose_start_has_left_the_buffer() {
        let (recent, kept) = (Recent::new(), LogRing::default());
        let labels = Arc::default();
        let source = RecordSource {
            format: LogFormat::Raw,
            process: "web".into(),
            pid: 7,
            stream: Stream::Stdout,
            labels,
        };
        let source = Arc::new(source);
        let texts =
            |kept: &LogRing| -> Vec<usize> { kept.lines(9).iter().map(|line| line.text.len()).collect() };
        let long = [[b'x'; CAPACITY].as_slice(), b"\nshort\n"].concat();
        recent.note(&kept, &source, Timestamp::now(), &long, false);
        assert_eq!(texts(&kept), [5], "cut within a read");
        recent.note(&kept, &source, Timestamp::now(), &[b'x'; CAPACITY], false);
        recent.note(&kept, &source, Timestamp::now(), b"xx\nthree\n", true);
        assert_eq!(texts(&kept), [5], "cut between two reads");
        recent.note(&kept, &source, Timestamp::now(), &[b'x'; CAPACITY + 1], false);
        assert_eq!(texts(&kept), [CAPACITY], "it is the only one");
    }
}
