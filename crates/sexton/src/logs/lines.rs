//! Splits bytes into lines.

use memchr::memchr;

/// The maximum length of a line in bytes; longer lines are split.
pub const MAX_LINE: usize = 64 << 10;

/// Buffer of an incomplete line.
#[derive(Debug, Default)]
pub struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Adds bytes. Calls `line` with each complete line without its newline, and whether more of the line follows.
    pub fn take(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8], bool)) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (head, tail) = (&bytes[..end], &bytes[end + 1..]);
            if self.pending.is_empty() && head.len() <= MAX_LINE {
                line(head, false);
            } else {
                self.extend(head, &mut line);
                line(&std::mem::take(&mut self.pending), false);
            }
            bytes = tail;
        }
        self.extend(bytes, &mut line);
    }

    fn extend(&mut self, mut bytes: &[u8], line: &mut impl FnMut(&[u8], bool)) {
        while self.pending.len() + bytes.len() > MAX_LINE {
            let (head, tail) = bytes.split_at(MAX_LINE - self.pending.len());
            self.pending.extend_from_slice(head);
            line(&self.pending, true);
            self.pending.clear();
            bytes = tail;
        }
        self.pending.extend_from_slice(bytes);
    }

    /// Calls `line` with the remaining incomplete line, if any.
    pub fn rest(&mut self, line: impl FnOnce(&[u8])) {
        if !self.pending.is_empty() {
            line(&std::mem::take(&mut self.pending));
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
    fn assembles_lines_from_any_chunks() {
        assert_eq!(lines(&[b"one\ntw", b"o\n", b"\nlast"]), [(3, false), (3, false), (0, false), (4, false)]);
        assert_eq!(lines(&[b"", b"\n"]), [(0, false)]);
    }

    #[test]
    fn splits_a_long_line_without_loss() {
        let long = vec![b'x'; 2 * MAX_LINE + 5];
        let with_end = [long.as_slice(), b"\nnext\n"].concat();
        let expected = [(MAX_LINE, true), (MAX_LINE, true), (5, false), (4, false)];
        assert_eq!(lines(&[&with_end]), expected);
        let chunks: Vec<&[u8]> = with_end.chunks(4096).collect();
        assert_eq!(lines(&chunks), expected);
        assert_eq!(
            lines(&[&long[..MAX_LINE], b"\n"]),
            [(MAX_LINE, false)],
            "a line of the maximum length is not split"
        );
    }
}
