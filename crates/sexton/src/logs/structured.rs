//! Lines that are themselves logfmt or JSON: level, message and other fields are kept.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr2;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::severity::Severity;

/// A parsed line.
#[derive(Debug, Default, PartialEq)]
pub struct Structured<'a> {
    /// The severity, if it has one with a known name.
    pub severity: Option<Severity>,
    pub message: Option<Cow<'a, [u8]>>,
    /// The other fields, in their order.
    pub fields: Vec<(Cow<'a, str>, Cow<'a, [u8]>)>,
}

const LEVELS: [&str; 4] = ["level", "lvl", "severity", "loglevel"];
const RESERVED: [&str; 6] = ["level", "process", "pid", "stream", "partial", "msg"];
const MESSAGES: [&str; 3] = ["msg", "message", "@message"];
const TIMES: [&str; 5] = ["time", "ts", "timestamp", "@timestamp", "t"];

/// Parses a line. Returns None, at low cost, if it is neither logfmt nor JSON.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Structured<'_>> {
    match line.first()? {
        b'{' => json(line),
        first if first.is_ascii_alphabetic() || matches!(first, b'_' | b'@') => {
            let stop = memchr2(b'=', b' ', line)?;
            if line[stop] == b'=' { logfmt(line) } else { None }
        }
        _ => None,
    }
}

impl<'a> Structured<'a> {
    fn add(&mut self, key: Cow<'a, str>, value: Cow<'a, [u8]>) {
        if self.severity.is_none() && LEVELS.contains(&&*key) {
            self.severity = Severity::named(&value);
            if self.severity.is_some() {
                return;
            }
        }
        if self.message.is_none() && MESSAGES.contains(&&*key) {
            self.message = Some(value);
        } else if TIMES.contains(&&*key) {
            // The record's own time is the time of the read.
            self.fields.push((Cow::Borrowed("source_time"), value));
        } else if RESERVED.contains(&&*key) {
            // A line must not forge the fields that sexton adds.
            self.fields.push((Cow::Owned(format!("source_{key}")), value));
        } else {
            self.fields.push((key, value));
        }
    }

    /// Returns None without a level or a message: text that happens to look like a record.
    fn if_record(self) -> Option<Self> {
        (self.severity.is_some() || self.message.is_some()).then_some(self)
    }
}

fn logfmt(line: &[u8]) -> Option<Structured<'_>> {
    let mut found = Structured::default();
    let mut rest = line.trim_ascii();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b' ' | b'"'))?;
        if rest[end] != b'=' || end == 0 {
            return None;
        }
        let key = std::str::from_utf8(&rest[..end]).ok()?;
        if key.chars().any(char::is_control) {
            return None;
        }
        rest = &rest[end + 1..];
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            let (value, length) = unquote(quoted)?;
            found.add(Cow::Borrowed(key), value);
            rest = &quoted[length..];
            if !rest.is_empty() && rest[0] != b' ' {
                return None;
            }
        } else {
            let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
            if rest[..end].contains(&b'"') {
                return None;
            }
            found.add(Cow::Borrowed(key), Cow::Borrowed(&rest[..end]));
            rest = &rest[end..];
        }
        rest = rest.trim_ascii_start();
    }
    found.if_record()
}

/// Unquotes a value. Returns it with its length, including the closing quote.
fn unquote(text: &[u8]) -> Option<(Cow<'_, [u8]>, usize)> {
    let end = memchr2(b'"', b'\\', text)?;
    if text[end] == b'"' {
        return Some((Cow::Borrowed(&text[..end]), end + 1));
    }
    let mut value = text[..end].to_vec();
    let mut at = end;
    loop {
        match text.get(at)? {
            b'"' => return Some((Cow::Owned(value), at + 1)),
            b'\\' => {
                value.push(match text.get(at + 1)? {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    other => *other,
                });
                at += 2;
            }
            other => {
                value.push(*other);
                at += 1;
            }
        }
    }
}

/// The entries of an object in their order.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct This;
        impl<'de> Visitor<'de> for This {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Entries(all))
            }
        }
        deserializer.deserialize_map(This)
    }
}

fn json(line: &[u8]) -> Option<Structured<'static>> {
    let Entries(entries) = serde_json::from_slice(line).ok()?;
    let mut found = Structured::default();
    for (key, value) in entries {
        let value = match value {
            Value::String(text) => text.into_bytes(),
            other => other.to_string().into_bytes(),
        };
        // A logfmt key must not contain blanks or control characters.
        let invalid = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '=' | '"' | '\\');
        let mut key: String = key.chars().map(|c| if invalid(c) { '_' } else { c }).collect();
        if key.is_empty() {
            key.push('_');
        }
        found.add(Cow::Owned(key), Cow::Owned(value));
    }
    found.if_record()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<String> {
        let found = parse(line.as_bytes())?;
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let level = found.severity.map_or("-", Severity::label);
        let message = found.message.as_deref().map_or_else(|| "-".to_owned(), text);
        let fields: Vec<_> =
            found.fields.iter().map(|(key, value)| format!(" {key}:{}", text(value))).collect();
        Some(format!("{level} {message}{}", fields.concat()))
    }

    #[test]
    fn parses_logfmt_and_json() {
        assert_eq!(
            parsed("time=2026 level=warning msg=\"disk \\\"a\\\"\\nfull\" free=3").as_deref(),
            Some("warn disk \"a\"\nfull source_time:2026 free:3")
        );
        assert_eq!(
            parsed("{\"level\":50,\"msg\":\"no\",\"err\":{\"a\":1},\"n\":2,\"@timestamp\":\"x\"}").as_deref(),
            Some("error no err:{\"a\":1} n:2 source_time:x")
        );
        assert_eq!(parsed("severity=INFO message=hi").as_deref(), Some("info hi"));
        assert_eq!(
            parsed("level=loud msg=x").as_deref(),
            Some("- x source_level:loud"),
            "an unknown level is kept as a field"
        );
    }

    #[test]
    fn renames_reserved_keys() {
        assert_eq!(
            parsed("{\"level\":\"info\",\"msg\":\"x\",\"process\":\"db\",\"a\u{1b}b\":1,\"\":2}").as_deref(),
            None,
            "a raw control character is invalid JSON"
        );
        assert_eq!(
            parsed("{\"level\":\"info\",\"msg\":\"x\",\"process\":\"db\",\"a\\u001bb\":1,\"\":2}").as_deref(),
            Some("info x source_process:db a_b:1 _:2")
        );
        assert_eq!(parsed("level=info msg=x pid=1").as_deref(), Some("info x source_pid:1"));
    }

    #[test]
    fn rejects_lines_that_only_look_structured() {
        for line in [
            "",
            "{",
            "{}",
            "{\"a\":1}",
            "a=1 b=2",
            "x=1 and more",
            "level=info and more",
            "msg=\"open",
            "plain words",
            "PATH=/bin:/usr/bin",
            "[1,2]",
            "=x",
            "level=\"a\"b",
        ] {
            assert_eq!(parsed(line), None, "{line}");
        }
    }
}
