//! A buffer of the recent output of processes, and its followers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::broadcast;

use super::Stream;
use super::lines::Lines;
use spec::program::Pid;

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
    /// Process name.
    pub process: Arc<str>,
    pub pid: Pid,
    pub stream: Stream,
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
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<OutputChunk>,
    bytes: usize,
}

/// A line of recent output.
#[derive(Debug, Clone)]
pub struct Line {
    /// Time of the read.
    pub time: Timestamp,
    /// Process name.
    pub process: Arc<str>,
    pub pid: Pid,
    pub stream: Stream,
    /// The line without its newline.
    pub text: Vec<u8>,
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

    /// Subscribes to new output.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<OutputChunk> {
        self.followers.subscribe()
    }

    /// Adds a chunk and sends it to the followers.
    pub fn note(&self, kept: &LogRing, process: &Arc<str>, pid: Pid, stream: Stream, bytes: &[u8]) {
        let followed = self.followers.receiver_count() > 0;
        let tail = if followed { bytes } else { &bytes[bytes.len().saturating_sub(CAPACITY)..] };
        let chunk = OutputChunk {
            time: Timestamp::now(),
            process: Arc::clone(process),
            pid,
            stream,
            bytes: tail.into(),
        };
        if followed {
            // Err: the last follower has gone in between.
            let _ = self.followers.send(chunk.clone());
        }
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

    /// The last lines, at most `most`; the first one may lack its start.
    #[must_use]
    pub fn lines(&self, most: usize) -> Vec<Line> {
        let chunks: Vec<_> = self.lock().chunks.iter().cloned().collect();
        let mut all = Assembler::default();
        let mut lines = Vec::new();
        for chunk in &chunks {
            all.take(chunk, |line| lines.push(line));
        }
        all.rest(|line| lines.push(line));
        lines.drain(..lines.len().saturating_sub(most));
        lines
    }
}

/// Assembles the lines of several processes from chunks.
#[derive(Debug, Default)]
pub struct Assembler {
    pending: BTreeMap<(Arc<str>, bool), (Line, Lines)>,
}

impl Assembler {
    /// Calls `line` with each line that the chunk completes; before that, with an incomplete line of an earlier run of
    /// the process.
    pub fn take(&mut self, chunk: &OutputChunk, mut line: impl FnMut(Line)) {
        let OutputChunk { time, process, pid, stream, .. } = chunk.clone();
        let new = || {
            (Line { time, process: Arc::clone(&process), pid, stream, text: Vec::new() }, Lines::default())
        };
        let (head, lines) =
            self.pending.entry((Arc::clone(&process), stream == Stream::Stderr)).or_insert_with(new);
        if head.pid != pid {
            lines.rest(|text| line(Line { text: text.to_vec(), ..head.clone() }));
            (*head, *lines) = new();
        }
        head.time = time;
        lines.take(&chunk.bytes, |text, _| line(Line { text: text.to_vec(), ..head.clone() }));
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
    use super::*;

    #[test]
    fn keeps_the_last_lines_within_its_capacity() {
        let (recent, kept) = (Recent::new(), LogRing::default());
        let name: Arc<str> = "web".into();
        for n in 0..2000 {
            recent.note(&kept, &name, 7, Stream::Stdout, format!("line {n}\nli").as_bytes());
            recent.note(&kept, &name, 7, Stream::Stderr, b"no end");
        }
        assert!(kept.lock().bytes <= CAPACITY);
        let lines = kept.lines(3);
        let texts: Vec<_> =
            lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect();
        assert!(texts.contains(&"liline 1999".to_owned()) && texts.contains(&"li".to_owned()), "{texts:?}");
        assert!(texts.iter().any(|text| text.ends_with("no end")), "an incomplete line is kept too");
        assert_eq!(kept.lines(0).len(), 0);
    }
}
