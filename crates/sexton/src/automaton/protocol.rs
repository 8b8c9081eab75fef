//! The commands of a client.
//!
//! ```text
//! STATE                      the tag of the current state
//! GOTO TAG [payload…]        OK when the transition has started, else KO
//! WAIT TAG [payload…]        OK when its script has exited with 0; KO and the code if with another; else KO
//! SET KEY value…             OK
//! DIE                        OK, then the terminal state
//! HISTORY                    the last transitions, one per line
//! WATCH                      a line for each new transition
//! ```

use engine::automaton::Request;

/// The maximum length of a variable with its name: the kernel's limit (execve(2), `MAX_ARG_STRLEN`).
pub const MAX_VALUE: usize = 128 << 10;
/// The maximum length of a command in bytes: a value, and the words before it.
pub const MAX_LINE: usize = MAX_VALUE + 4096;

/// A command of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A request to the state machine.
    Machine(Request),
    /// List the last transitions.
    History,
    /// Follow new transitions.
    Watch,
}

/// The reason why a line is not a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The command is unknown, or has missing or extra arguments.
    #[error("invalid command: expected STATE, GOTO TAG, WAIT TAG, SET KEY, DIE, HISTORY or WATCH")]
    UnknownCommand,
    /// Not a valid name of a variable.
    #[error("invalid variable name: expected letters, digits and _, not INPUT and not SOCKET")]
    InvalidName,
    /// The value contains a NUL byte.
    #[error("a value must not contain NUL")]
    Nul,
    /// The value exceeds the kernel's limit.
    #[error("too long: a variable holds at most 128 KiB with its name")]
    TooLong,
}

/// Parses a line without its newline. The payload is taken verbatim.
pub fn parse(line: &[u8]) -> Result<Command, ParseError> {
    let (name, rest) = word(line);
    let without_arguments = |command| {
        if rest.is_none_or(<[u8]>::is_empty) { Ok(command) } else { Err(ParseError::UnknownCommand) }
    };
    match name {
        b"STATE" => without_arguments(Command::Machine(Request::State)),
        b"DIE" => without_arguments(Command::Machine(Request::Die)),
        b"HISTORY" => without_arguments(Command::History),
        b"WATCH" => without_arguments(Command::Watch),
        b"GOTO" | b"WAIT" => {
            let (tag, input) = word(rest.unwrap_or_default());
            let tag = std::str::from_utf8(tag).ok().filter(|tag| !tag.is_empty());
            let tag = tag.ok_or(ParseError::UnknownCommand)?.to_owned();
            let input = value("INPUT", input.unwrap_or_default())?;
            Ok(Command::Machine(Request::Goto { tag, input, wait: name == b"WAIT" }))
        }
        b"SET" => {
            let (key, text) = word(rest.unwrap_or_default());
            let key =
                std::str::from_utf8(key).ok().filter(|key| is_name(key)).ok_or(ParseError::InvalidName)?;
            let value = value(key, text.unwrap_or_default())?;
            Ok(Command::Machine(Request::Set { key: key.to_owned(), value }))
        }
        _ => Err(ParseError::UnknownCommand),
    }
}

/// The first word, and the text after the blank that follows it.
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

fn value(key: &str, text: &[u8]) -> Result<Vec<u8>, ParseError> {
    if text.contains(&0) {
        return Err(ParseError::Nul);
    }
    // With the equals sign and the final NUL.
    if key.len() + text.len() + 2 > MAX_VALUE {
        return Err(ParseError::TooLong);
    }
    Ok(text.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn goto(tag: &str, input: &[u8], wait: bool) -> Result<Command, ParseError> {
        Ok(Command::Machine(Request::Goto { tag: tag.to_owned(), input: input.to_vec(), wait }))
    }

    #[test]
    fn parses_commands_and_keeps_payloads_verbatim() {
        assert_eq!(parse(b"STATE"), Ok(Command::Machine(Request::State)));
        assert_eq!(parse(b"GOTO B {\"counter\":  123} "), goto("B", b"{\"counter\":  123} ", false));
        assert_eq!(parse(b"WAIT B"), goto("B", b"", true));
        assert_eq!(parse(b"WAIT B \xff'\"$(x)"), goto("B", b"\xff'\"$(x)", true));
        let set = Command::Machine(Request::Set { key: "K_1".to_owned(), value: b"a b".to_vec() });
        assert_eq!(parse(b"SET K_1 a b"), Ok(set));
        assert_eq!(parse(b"DIE "), Ok(Command::Machine(Request::Die)));
    }

    #[test]
    fn rejects_invalid_commands() {
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
            assert_eq!(parse(line), Err(ParseError::UnknownCommand), "{line:?}");
        }
        for line in [&b"SET"[..], b"SET 1A x", b"SET A=B x", b"SET INPUT x", b"SET SOCKET x"] {
            assert_eq!(parse(line), Err(ParseError::InvalidName), "{line:?}");
        }
        assert_eq!(parse(b"GOTO B a\0b"), Err(ParseError::Nul));
        let long = [&b"GOTO B "[..], &vec![b'x'; MAX_VALUE - 7]].concat();
        assert!(parse(&long).is_ok());
        assert_eq!(parse(&[&long[..], b"x"].concat()), Err(ParseError::TooLong));
    }

    proptest! {
        #[test]
        fn accepts_any_line_without_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line);
        }
    }
}
