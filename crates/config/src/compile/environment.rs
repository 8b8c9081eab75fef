//! Environment variables: variable files, and expansion of `$(NAME)`.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The maximum size of a variable file, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// The grammar of a variable file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    /// Of native files. One `NAME=value` a line; blank lines and lines that start with `#` are skipped, and `export ` before a
    /// name. White space around names and unquoted values is removed; a `#` in a value belongs to it. A value in single
    /// quotes is taken as it is; in double quotes `\n`, `\r`, `\t`, `\"`, `\\`, `\$` and `` \` `` are replaced, and a
    /// backslash at the end of a line joins it with the next. Both kinds may have several lines.
    ///
    /// Files that Docker, Compose and systemd read in the same way mean the same here.
    Native,
    /// Of process-wrapper: as above, but a value ends with its line, and one pair of quotes around it is removed.
    ProcessWrapper,
}

/// Reads a variable file. Messages never contain text of the file, which may be secret.
pub(super) fn read_file(path: &Path, grammar: Grammar) -> Result<Vec<(String, String)>, String> {
    let describe =
        |error: std::io::Error| format!("cannot read {}: {}", path.display(), spec::text::describe(&error));
    // A named pipe must not block, nor a device be read without end.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(describe)?;
    if !file.metadata().map_err(describe)?.is_file() {
        return Err(format!("{} is not a regular file", path.display()));
    }
    let mut text = String::new();
    file.take(MAX_SIZE + 1).read_to_string(&mut text).map_err(describe)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(format!("{} exceeds the size limit of a variable file: 1 MiB", path.display()));
    }
    parse(&text, grammar).map_err(|(line, message)| format!("{}:{line}: {message}", path.display()))
}

/// Parses a variable file. An error has the number of its line.
pub(crate) fn parse(text: &str, grammar: Grammar) -> Result<Vec<(String, String)>, (usize, &'static str)> {
    let mut all = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut number = 1;
    while !rest.is_empty() {
        let (line, following) = rest.split_once('\n').unwrap_or((rest, ""));
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            (rest, number) = (following, number + 1);
            continue;
        }
        let Some(equals) = line.find('=') else { return Err((number, "expected NAME=value")) };
        let name = line[..equals].trim();
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        if !is_name(name) {
            return Err((number, "expected a name without white space before the ="));
        }
        let value = rest[equals + 1..].trim_start_matches([' ', '\t']);
        let quote = value.chars().next().filter(|c| grammar == Grammar::Native && matches!(c, '"' | '\''));
        let value = if let Some(quote) = quote {
            let (value, length) = unquote(&value[1..], quote).ok_or((number, "the quote is not closed"))?;
            let (quoted, after) = value_and_rest(rest, equals, length);
            number += quoted.matches('\n').count();
            let (tail, following) = after.split_once('\n').unwrap_or((after, ""));
            if !tail.trim().is_empty() && !tail.trim_start().starts_with('#') {
                return Err((number, "expected the end of the line after the closing quote"));
            }
            (rest, number) = (following, number + 1);
            value
        } else {
            (rest, number) = (following, number + 1);
            let value = line[equals + 1..].trim();
            let pair = |quote: &char| value.strip_prefix(*quote).and_then(|rest| rest.strip_suffix(*quote));
            let unquoted = ['"', '\''].iter().find_map(pair).filter(|_| grammar == Grammar::ProcessWrapper);
            unquoted.unwrap_or(value).to_owned()
        };
        if value.contains('\0') {
            return Err((number - 1, "a value cannot contain a NUL byte"));
        }
        all.push((name.to_owned(), value));
    }
    Ok(all)
}

/// Splits at the end of a quoted value: the text up to its closing quote, and what follows.
fn value_and_rest(text: &str, equals: usize, length: usize) -> (&str, &str) {
    let from_equals = &text[equals + 1..];
    let blanks = from_equals.len() - from_equals.trim_start_matches([' ', '\t']).len();
    text.split_at(equals + 1 + blanks + 1 + length)
}

/// Unquotes a value after its opening quote. Returns it, and its length up to and including the closing quote.
fn unquote(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some((value, at + 1)),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                escaped @ ('"' | '\\' | '$' | '`') => value.push(escaped),
                '\n' => {}
                other => value.extend(['\\', other]),
            },
            // A file with the line ends of another system.
            '\r' if matches!(chars.peek(), Some((_, '\n'))) => {}
            _ => value.push(c),
        }
    }
    None
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !name.chars().any(char::is_whitespace)
}

/// Checks the name of a variable.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if is_name(name) { Ok(()) } else { Err(format!("invalid variable name '{name}'")) }
}

/// The maximum length of an expanded text in bytes: that of one argument or variable in Linux (`MAX_ARG_STRLEN`,
/// execve(2)).
const MAX_EXPANDED: usize = (128 << 10) - 1;

/// Replaces `$(NAME)` by values. An unknown name is left unchanged; `$$` becomes `$`, as in Kubernetes ("expansion" in
/// the API's description of `command`, `args` and `env`).
///
/// # Errors
///
/// The result is longer than any process may have it. Values that refer to others may double with each reference.
pub(super) fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match value(name) {
                Some(value) if out.len() + value.len() > MAX_EXPANDED => {
                    return Err(format!(
                        "with $({name}) it is longer than 128 KiB, the limit of Linux (execve(2))"
                    ));
                }
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use crate::compile::environment::*;

    fn parsed(text: &str, grammar: Grammar) -> Result<Vec<String>, (usize, &'static str)> {
        let pairs = parse(text, grammar)?;
        Ok(pairs.iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    #[test]
    fn parses_a_variable_file() {
        let text = "\u{feff}# comment\n\nA=1\nexport B = \"two words\"\nC='x'\r\nE=a=b#c # d\n  F=  spaced \nG=\nH=x\"y\"\n";
        for grammar in [Grammar::Native, Grammar::ProcessWrapper] {
            let expected = ["A=1", "B=two words", "C=x", "E=a=b#c # d", "F=spaced", "G=", "H=x\"y\""];
            assert_eq!(parsed(text, grammar).as_deref(), Ok(&expected.map(str::to_owned)[..]), "{grammar:?}");
            assert_eq!(parsed("A=1\nsecret\n", grammar), Err((2, "expected NAME=value")));
            assert!(parsed("=x", grammar).is_err() && parsed("a b=x", grammar).is_err());
        }
    }

    #[test]
    fn quoted_values_may_have_several_lines() {
        let native = |text: &str| parsed(text, Grammar::Native);
        assert_eq!(
            native("KEY=\"AAAA\nbbbb=\"  # key\nX=1\n").as_deref(),
            Ok(&["KEY=AAAA\nbbbb=".to_owned(), "X=1".to_owned()][..])
        );
        assert_eq!(native("A='x\\n$y\n\"'\n").as_deref(), Ok(&["A=x\\n$y\n\"".to_owned()][..]));
        assert_eq!(
            native("A=\"a\\n\\\"b\\\\ \\$c \\d \\\ne\"").as_deref(),
            Ok(&["A=a\n\"b\\ $c \\d e".to_owned()][..])
        );
        assert_eq!(
            native("A=\"a\r\nb\"\r\nB=1").as_deref(),
            Ok(&["A=a\nb".to_owned(), "B=1".to_owned()][..])
        );
        assert_eq!(native("X=1\nA=\"secret\nB=2\n"), Err((2, "the quote is not closed")));
        let after = "expected the end of the line after the closing quote";
        assert_eq!(native("X=1\nA=\"a\nb\" c\n"), Err((3, after)));
        assert_eq!(native("A=a\0b"), Err((1, "a value cannot contain a NUL byte")));
        assert_eq!(parsed("A=\"x\n", Grammar::ProcessWrapper).as_deref(), Ok(&["A=\"x".to_owned()][..]));
    }

    #[test]
    fn expands_references() {
        let known = |name: &str| (name == "PORT").then(|| "80".to_owned());
        let expanded = |text| expand(text, known).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(expanded("--port=$(PORT)"), "--port=80");
        assert_eq!(expanded("$$(PORT) $(NONE) $PORT $"), "$(PORT) $(NONE) $PORT $");
        assert_eq!(expanded("$(PORT"), "$(PORT");
    }
}
