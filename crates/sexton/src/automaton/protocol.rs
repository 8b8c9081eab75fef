//! The line that a client sends.
//!
//! ```text
//! STATE                      the tag of the present state
//! GOTO TAG [payload…]        OK when the transition has begun, else KO
//! WAIT TAG [payload…]        OK when its script has ended with 0; KO and the code if with another; else KO
//! SET KEY value…             OK
//! DIE                        OK, then the terminal state
//! HISTORY                    the last transitions, a line each
//! WATCH                      a line for each transition from now on
//! ```

use engine::automaton::Request;

/// The longest value of a variable: what the kernel takes for one (execve(2), `MAX_ARG_STRLEN`), its name included.
pub const LONGEST_VALUE: usize = 128 << 10;
/// The longest line that is read, in bytes: that, and the words before it.
pub const LONGEST_LINE: usize = LONGEST_VALUE + 4096;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Of the machine.
    Machine(Request),
    /// The last transitions.
    History,
    /// The transitions from now on.
    Watch,
}

/// Why a line is no wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    /// Its first word is none that we know, or something behind it is missing or too much.
    #[error("no command: expected STATE, GOTO TAG, WAIT TAG, SET KEY, DIE, HISTORY or WATCH")]
    NoCommand,
    /// A variable cannot have this name.
    #[error("no name of a variable: expected letters, digits and _, not INPUT and not SOCKET")]
    NoName,
    /// A variable cannot hold this.
    #[error("a variable holds no NUL")]
    Nul,
    /// A variable cannot hold so much.
    #[error("longer than a variable can be (128 KiB with its name)")]
    TooLong,
}

/// Reads a line without its end. What stands behind the first words is taken as it is.
pub fn parse(line: &[u8]) -> Result<Wish, Nonsense> {
    let (command, rest) = word(line);
    let alone = |wish| if rest.is_none_or(<[u8]>::is_empty) { Ok(wish) } else { Err(Nonsense::NoCommand) };
    match command {
        b"STATE" => alone(Wish::Machine(Request::State)),
        b"DIE" => alone(Wish::Machine(Request::Die)),
        b"HISTORY" => alone(Wish::History),
        b"WATCH" => alone(Wish::Watch),
        b"GOTO" | b"WAIT" => {
            let (tag, input) = word(rest.unwrap_or_default());
            let tag = std::str::from_utf8(tag).ok().filter(|tag| !tag.is_empty());
            let tag = tag.ok_or(Nonsense::NoCommand)?.to_owned();
            let input = value("INPUT", input.unwrap_or_default())?;
            Ok(Wish::Machine(Request::Goto { tag, input, wait: command == b"WAIT" }))
        }
        b"SET" => {
            let (key, given) = word(rest.unwrap_or_default());
            let key = std::str::from_utf8(key).ok().filter(|key| is_name(key)).ok_or(Nonsense::NoName)?;
            let value = value(key, given.unwrap_or_default())?;
            Ok(Wish::Machine(Request::Set { key: key.to_owned(), value }))
        }
        _ => Err(Nonsense::NoCommand),
    }
}

/// The first word, and what follows the blank behind it.
fn word(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match line.iter().position(|byte| *byte == b' ') {
        Some(blank) => (&line[..blank], Some(&line[blank + 1..])),
        None => (line, None),
    }
}

fn is_name(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(plain)
        && !matches!(key, "INPUT" | "SOCKET")
}

fn value(key: &str, given: &[u8]) -> Result<Vec<u8>, Nonsense> {
    if given.contains(&0) {
        return Err(Nonsense::Nul);
    }
    // The equals sign, and the NUL behind it.
    if key.len() + given.len() + 2 > LONGEST_VALUE {
        return Err(Nonsense::TooLong);
    }
    Ok(given.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn goto(tag: &str, input: &[u8], wait: bool) -> Result<Wish, Nonsense> {
        Ok(Wish::Machine(Request::Goto { tag: tag.to_owned(), input: input.to_vec(), wait }))
    }

    #[test]
    fn lines_are_read_and_payloads_are_verbatim() {
        assert_eq!(parse(b"STATE"), Ok(Wish::Machine(Request::State)));
        assert_eq!(parse(b"GOTO B {\"counter\":  123} "), goto("B", b"{\"counter\":  123} ", false));
        assert_eq!(parse(b"WAIT B"), goto("B", b"", true));
        assert_eq!(parse(b"WAIT B \xff'\"$(x)"), goto("B", b"\xff'\"$(x)", true));
        let set = Wish::Machine(Request::Set { key: "K_1".to_owned(), value: b"a b".to_vec() });
        assert_eq!(parse(b"SET K_1 a b"), Ok(set));
        assert_eq!(parse(b"DIE "), Ok(Wish::Machine(Request::Die)));
    }

    #[test]
    fn what_is_no_wish_is_refused() {
        for line in [
            &b""[..],
            b"state",
            b"GOTO",
            b"GOTO ",
            b"STATE now",
            b"DIE A",
            b"\x16\x03\x01",
            b"GET / HTTP/1.1",
        ] {
            assert_eq!(parse(line), Err(Nonsense::NoCommand), "{line:?}");
        }
        for line in [&b"SET"[..], b"SET 1A x", b"SET A=B x", b"SET INPUT x", b"SET SOCKET x"] {
            assert_eq!(parse(line), Err(Nonsense::NoName), "{line:?}");
        }
        assert_eq!(parse(b"GOTO B a\0b"), Err(Nonsense::Nul));
        let long = [&b"GOTO B "[..], &vec![b'x'; LONGEST_VALUE - 7]].concat();
        assert!(parse(&long).is_ok());
        assert_eq!(parse(&[&long[..], b"x"].concat()), Err(Nonsense::TooLong));
    }

    proptest! {
        #[test]
        fn no_line_is_too_much(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line);
        }
    }
}
