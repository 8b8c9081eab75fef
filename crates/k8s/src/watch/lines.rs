//! Splits a stream into lines.

/// Assembles lines from chunks of a stream.
#[derive(Debug)]
pub(super) struct Lines {
    most: usize,
    held: Vec<u8>,
    /// Start of the next line; bytes before it were returned.
    begin: usize,
    /// Up to here there is no line end.
    searched: usize,
}

/// A line is longer than allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Lines {
    /// Creates an assembler for lines of at most `most` bytes, without line ends.
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: Vec::new(), begin: 0, searched: 0 }
    }

    /// Adds a chunk. All complete lines should have been taken before, so that at most a line and a chunk are held.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.held.drain(..self.begin);
        self.searched -= self.begin;
        self.begin = 0;
        self.held.extend_from_slice(piece);
    }

    /// Returns the next complete line, without its line end.
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

    /// Returns all complete lines of a stream that arrives in these chunks.
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
    fn keeps_an_incomplete_line() {
        assert_eq!(read(9, [&b"ab\nc"[..], b"d\n\nef"]), Ok(vec![b"ab".to_vec(), b"cd".to_vec(), vec![]]));
    }

    #[test]
    fn limits_the_length_of_a_line() {
        assert_eq!(read(3, [&b"abc\n"[..], b"abc\n"]), Ok(vec![b"abc".to_vec(), b"abc".to_vec()]));
        assert_eq!(read(3, [&b"abcd\n"[..]]), Err(TooLong));
        assert_eq!(read(3, [&b"ab"[..], b"cd"]), Err(TooLong));
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_the_chunks(
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
