//! Bytes in, lines out.

use memchr::memchr;

/// The longest line that is kept in one piece, in bytes.
pub const LONGEST: usize = 64 << 10;

/// A line that has begun and not ended.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Hands on each line without its end, and whether more of it follows.
    pub fn take(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8], bool)) {
        while let Some(end) = memchr(b'\n', bytes) {
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
    pub fn rest(&mut self, line: impl FnOnce(&[u8])) {
        if !self.begun.is_empty() {
            line(&std::mem::take(&mut self.begun));
        }
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
