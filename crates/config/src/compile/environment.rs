//! Environment variables: variable files, and expansion of `$(NAME)`.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The maximum size of a variable file, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// Reads a file of `NAME=value` lines. Blank lines, comments (`#`), `export ` before a name and one pair of quotes
/// around a value are removed.
pub(super) fn read_file(path: &Path) -> Result<Vec<(String, String)>, String> {
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
    parse(&text).map_err(|(line, message)| format!("{}:{line}: {message}", path.display()))
}

fn parse(text: &str) -> Result<Vec<(String, String)>, (usize, String)> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let Some((name, value)) = line.split_once('=') else {
            return Err((index + 1, format!("expected NAME=value, found '{line}'")));
        };
        let name = name.trim_end();
        check_name(name).map_err(|message| (index + 1, message))?;
        let value = value.trim();
        let unquoted = ['"', '\'']
            .iter()
            .find_map(|quote| value.strip_prefix(*quote).and_then(|rest| rest.strip_suffix(*quote)));
        all.push((name.to_owned(), unquoted.unwrap_or(value).to_owned()));
    }
    Ok(all)
}

/// Checks the name of a variable.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(['=', '\0']) || name.chars().any(char::is_whitespace) {
        return Err(format!("invalid variable name '{name}'"));
    }
    Ok(())
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

    #[test]
    fn parses_a_variable_file() {
        let text = "# comment\n\nA=1\nexport B = \"two words\"\nC='x'\nD=\"\nE=a=b\n  F=  spaced \n";
        let pairs = parse(text).unwrap_or_else(|error| panic!("{error:?}"));
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(pairs, ["A=1", "B=two words", "C=x", "D=\"", "E=a=b", "F=spaced"]);
        assert!(parse("A=1\nnonsense\n").is_err_and(|(line, _)| line == 2));
        assert!(parse("=x").is_err());
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
