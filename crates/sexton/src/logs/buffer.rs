//! The last of what a process wrote, and those who follow it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::broadcast;

use super::Stream;
use super::lines::Lines;
use spec::program::Pid;

/// How much of a process is kept, in bytes.
const KEPT: usize = 32 << 10;
/// What a piece costs beside its bytes, about.
const OVERHEAD: usize = 96;
/// How far a follower may fall behind, in pieces of what was read at once.
const BEHIND: usize = 256;

/// A piece of output, as it was read.
#[derive(Debug, Clone)]
pub struct OutputChunk {
    /// When.
    pub time: Timestamp,
    /// Whose.
    pub process: Arc<str>,
    /// Of which of its processes.
    pub pid: Pid,
    /// Where.
    pub stream: Stream,
    /// What.
    pub bytes: Arc<[u8]>,
}

/// What is kept of all processes.
#[derive(Debug)]
pub struct Recent {
    followers: broadcast::Sender<OutputChunk>,
    kept: Mutex<BTreeMap<Arc<str>, Arc<LogRing>>>,
}

/// What is kept of one process. Nothing, while it has written nothing.
#[derive(Debug, Default)]
pub struct LogRing {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<OutputChunk>,
    bytes: usize,
}

/// A line that is kept.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it was read.
    pub time: Timestamp,
    /// Of which process.
    pub process: Arc<str>,
    /// Its number.
    pub pid: Pid,
    /// Where it was written.
    pub stream: Stream,
    /// Without its end.
    pub text: Vec<u8>,
}

impl Recent {
    /// Nobody follows.
    #[must_use]
    pub fn new() -> Self {
        Self { followers: broadcast::Sender::new(BEHIND), kept: Mutex::default() }
    }

    /// Where the output of a process is kept, for as long as it is planned.
    #[must_use]
    pub fn keep(&self, process: &Arc<str>) -> Arc<LogRing> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.entry(Arc::clone(process)).or_default())
    }

    /// A process is not planned any more.
    pub fn forget(&self, process: &str) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(process);
    }

    /// The last lines of some processes (of all, if none is named), in the order in which they were read.
    #[must_use]
    pub fn lines(&self, of: &[String], most: usize) -> Vec<Line> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let wanted = |name: &str| of.is_empty() || of.iter().any(|wanted| wanted == name);
        let chosen = kept.iter().filter(|(name, _)| wanted(name));
        let mut lines: Vec<_> = chosen.flat_map(|(_, kept)| kept.lines(most)).collect();
        lines.sort_by_key(|line| line.time);
        lines.drain(..lines.len().saturating_sub(most));
        lines
    }

    /// From now on.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<OutputChunk> {
        self.followers.subscribe()
    }

    /// Keeps a piece, and hands it to whoever follows.
    pub fn note(&self, kept: &LogRing, process: &Arc<str>, pid: Pid, stream: Stream, bytes: &[u8]) {
        let followed = self.followers.receiver_count() > 0;
        let tail = if followed { bytes } else { &bytes[bytes.len().saturating_sub(KEPT)..] };
        let piece = OutputChunk {
            time: Timestamp::now(),
            process: Arc::clone(process),
            pid,
            stream,
            bytes: tail.into(),
        };
        if followed {
            // Nobody there any more: nobody hears.
            let _ = self.followers.send(piece.clone());
        }
        let mut state = kept.lock();
        state.bytes += piece.bytes.len() + OVERHEAD;
        state.pieces.push_back(piece);
        while state.bytes > KEPT && state.pieces.len() > 1 {
            let gone = state.pieces.pop_front().map_or(0, |piece| piece.bytes.len() + OVERHEAD);
            state.bytes -= gone;
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

    /// The last lines, at most so many; the first may be the end of a longer one.
    #[must_use]
    pub fn lines(&self, most: usize) -> Vec<Line> {
        let pieces: Vec<_> = self.lock().pieces.iter().cloned().collect();
        let mut all = Assembler::default();
        let mut lines = Vec::new();
        for piece in &pieces {
            all.take(piece, |line| lines.push(line));
        }
        all.rest(|line| lines.push(line));
        lines.drain(..lines.len().saturating_sub(most));
        lines
    }
}

/// Pieces of many processes in, lines out.
#[derive(Debug, Default)]
pub struct Assembler {
    begun: BTreeMap<(Arc<str>, bool), (Line, Lines)>,
}

impl Assembler {
    /// Hands on the lines that end in a piece; and what another run of the same process has left without an end.
    pub fn take(&mut self, piece: &OutputChunk, mut line: impl FnMut(Line)) {
        let OutputChunk { time, process, pid, stream, .. } = piece.clone();
        let new = || {
            (Line { time, process: Arc::clone(&process), pid, stream, text: Vec::new() }, Lines::default())
        };
        let (head, lines) =
            self.begun.entry((Arc::clone(&process), stream == Stream::Stderr)).or_insert_with(new);
        if head.pid != pid {
            lines.rest(|text| line(Line { text: text.to_vec(), ..head.clone() }));
            (*head, *lines) = new();
        }
        head.time = time;
        lines.take(&piece.bytes, |text, _| line(Line { text: text.to_vec(), ..head.clone() }));
    }

    /// Hands on what has no end.
    pub fn rest(&mut self, mut line: impl FnMut(Line)) {
        for (head, lines) in self.begun.values_mut() {
            lines.rest(|text| line(Line { text: text.to_vec(), ..head.clone() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_no_more() {
        let (recent, kept) = (Recent::new(), LogRing::default());
        let name: Arc<str> = "web".into();
        for n in 0..2000 {
            recent.note(&kept, &name, 7, Stream::Stdout, format!("line {n}\nli").as_bytes());
            recent.note(&kept, &name, 7, Stream::Stderr, b"no end");
        }
        assert!(kept.lock().bytes <= KEPT);
        let lines = kept.lines(3);
        let texts: Vec<_> =
            lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect();
        assert!(texts.contains(&"liline 1999".to_owned()) && texts.contains(&"li".to_owned()), "{texts:?}");
        assert!(texts.iter().any(|text| text.ends_with("no end")), "what has no end is kept too");
        assert_eq!(kept.lines(0).len(), 0);
    }
}
