//! Pieces of a stream in, whole lines out.

/// Puts lines together again, however the stream was cut.
#[derive(Debug)]
pub(super) struct Lines {
    most: usize,
    held: Vec<u8>,
    /// Where the next line begins. What stands before was given out.
    begin: usize,
    /// Up to here there is no end of a line.
    searched: usize,
}

/// A line is longer than allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Lines {
    /// Of lines that have at most so many bytes, without their ends.
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: Vec::new(), begin: 0, searched: 0 }
    }

    /// The next piece. All whole lines should have been taken before, so that no more is held than a line and a
    /// piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.held.drain(..self.begin);
        self.searched -= self.begin;
        self.begin = 0;
        self.held.extend_from_slice(piece);
    }

    /// The next whole line, without its end.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, TooLong> {
        let found = self.held[self.searched..].iter().position(|byte| *byte == b'\n');
        let end = found.map(|at| self.searched + at);
        self.searched = end.unwrap_or(self.held.len());
        if self.searched - self.begin > self.most {
            return Err(TooLong);
        }
        let Some(end) = end else { return Ok(None) };
        let line = &self.held[self.begin..end];
        self.begin = end + 1;
        self.searched = self.begin;
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All whole lines of a stream that arrives in these pieces.
    fn read<'a>(most: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut lines = Lines::new(most);
        let mut read = Vec::new();
        for piece in pieces {
            lines.push(piece);
            while let Some(line) = lines.next()? {
                read.push(line.to_vec());
            }
        }
        Ok(read)
    }

    #[test]
    fn half_a_line_is_no_line() {
        assert_eq!(read(9, [&b"ab\nc"[..], b"d\n\nef"]), Ok(vec![b"ab".to_vec(), b"cd".to_vec(), vec![]]));
    }

    #[test]
    fn a_line_may_have_the_most_and_no_more() {
        assert_eq!(read(3, [&b"abc\n"[..], b"abc\n"]), Ok(vec![b"abc".to_vec(), b"abc".to_vec()]));
        assert_eq!(read(3, [&b"abcd\n"[..]]), Err(TooLong));
        assert_eq!(read(3, [&b"ab"[..], b"cd"]), Err(TooLong));
    }

    proptest! {
        #[test]
        fn how_a_stream_is_cut_changes_nothing(
            stream in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..20),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]);
            let mut expected: Vec<_> = stream.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            expected.pop();
            prop_assert_eq!(read(200, pieces), Ok(expected));
        }
    }
}
