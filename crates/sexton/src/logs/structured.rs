//! Lines that are themselves logfmt or JSON: level, message and other fields are kept.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr2;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::severity::Severity;

/// A parsed line.
#[derive(Debug, Default, PartialEq)]
pub struct Structured<'a> {
    /// The severity, if it has one with a known name.
    pub severity: Option<Severity>,
    pub message: Option<Value<'a>>,
    /// The other fields, in their order.
    pub fields: Vec<(Cow<'a, str>, Value<'a>)>,
    /// The place of the message's key in `MESSAGES`.
    rank: usize,
}

/// A value of a parsed line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    Text(Cow<'a, [u8]>),
    /// A number, boolean, null, array or object, as JSON.
    Json(&'a str),
}

impl Value<'_> {
    /// The text, or the JSON text.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text,
            Self::Json(json) => json.as_bytes(),
        }
    }
}

/// The usual keys of a severity, among them those of Elastic Common Schema, OpenTelemetry, Python and Monolog.
const LEVELS: [&str; 8] =
    ["level", "lvl", "severity", "loglevel", "log.level", "severity_text", "levelname", "level_name"];
/// The key of a severity in the log of MongoDB: one letter, and a digit for debug levels.
const MONGODB_LEVEL: &str = "s";
/// The key of a severity in the log of PostgreSQL.
const POSTGRESQL_LEVEL: &str = "error_severity";
const RESERVED: [&str; 6] = ["level", "process", "pid", "stream", "partial", "msg"];
/// The usual keys of a message; the first one that is there counts. The later ones have other meanings too: they count only
/// as text.
const MESSAGES: [&str; 7] = ["msg", "message", "@message", "short_message", "event", "body", "text"];
/// The number of `MESSAGES` that count whatever their type.
const SURE_MESSAGES: usize = 3;
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
    /// A line that is only a message.
    #[must_use]
    pub fn plain(severity: Option<Severity>, line: &'a [u8]) -> Self {
        Self { severity, message: Some(Value::Text(line.into())), ..Self::default() }
    }

    fn add(&mut self, key: Cow<'a, str>, value: Value<'a>) {
        if self.severity.is_none() {
            self.severity = match &*key {
                key if LEVELS.contains(&key) => Severity::named(value.bytes()),
                MONGODB_LEVEL => Severity::of_mongodb(value.bytes()),
                POSTGRESQL_LEVEL => Severity::of_postgresql(value.bytes()),
                _ => None,
            };
            if self.severity.is_some() {
                return;
            }
        }
        let rank = MESSAGES.iter().position(|known| *known == key);
        let rank = rank.filter(|rank| *rank < SURE_MESSAGES || matches!(value, Value::Text(_)));
        if let Some(rank) = rank.filter(|rank| self.message.is_none() || *rank < self.rank) {
            let before = std::mem::replace(&mut self.rank, rank);
            if let Some(earlier) = self.message.replace(value) {
                self.add_field(Cow::Borrowed(MESSAGES[before]), earlier);
            }
        } else {
            self.add_field(key, value);
        }
    }

    fn add_field(&mut self, key: Cow<'a, str>, value: Value<'a>) {
        if TIMES.contains(&&*key) {
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
            found.add(Cow::Borrowed(key), Value::Text(value));
            rest = &quoted[length..];
            if !rest.is_empty() && rest[0] != b' ' {
                return None;
            }
        } else {
            let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
            if rest[..end].contains(&b'"') {
                return None;
            }
            found.add(Cow::Borrowed(key), Value::Text(Cow::Borrowed(&rest[..end])));
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
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A key of an object: borrowed, unless it has escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct This;
        impl<'de> Visitor<'de> for This {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut all = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    all.push((key, value));
                }
                Ok(Entries(all))
            }
        }
        deserializer.deserialize_map(This)
    }
}

fn json(line: &[u8]) -> Option<Structured<'_>> {
    let Entries(entries) = serde_json::from_slice(line).ok()?;
    let mut found = Structured::default();
    for (key, raw) in entries {
        let value = match raw.get().strip_prefix('"') {
            Some(_) => {
                let Key(text) = serde_json::from_str(raw.get()).ok()?;
                Value::Text(match text {
                    Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                    Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                })
            }
            None => Value::Json(raw.get()),
        };
        if key == "log"
            && let Value::Json(nested) = value
            && let Some(severity) = nested_level(nested).filter(|_| found.severity.is_none())
        {
            found.severity = Some(severity);
        }
        found.add(logfmt_key(key), value);
    }
    found.if_record()
}

/// The severity in `"log":{"level":…}`, the nested form of Elastic Common Schema.
fn nested_level(log: &str) -> Option<Severity> {
    let Entries(entries) = serde_json::from_str(log).ok()?;
    let (_, level) = entries.into_iter().find(|(key, _)| key == "level")?;
    let Key(level) = serde_json::from_str(level.get()).ok()?;
    Severity::named(level.as_bytes())
}

/// A logfmt key must not contain blanks or control characters.
fn logfmt_key(key: Cow<'_, str>) -> Cow<'_, str> {
    let invalid = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '=' | '"' | '\\');
    if key.is_empty() {
        Cow::Borrowed("_")
    } else if key.contains(invalid) {
        Cow::Owned(key.chars().map(|c| if invalid(c) { '_' } else { c }).collect())
    } else {
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<String> {
        let found = parse(line.as_bytes())?;
        let text = |value: &Value<'_>| String::from_utf8_lossy(value.bytes()).into_owned();
        let level = found.severity.map_or("-", Severity::label);
        let message = found.message.as_ref().map_or_else(|| "-".to_owned(), text);
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
    fn recognises_the_usual_keys_of_severity_and_message() {
        for (line, expected) in [
            (r#"{"log.level":"error","message":"x"}"#, "error x"),
            (
                r#"{"log":{"level":"warn","logger":"a"},"message":"x"}"#,
                "warn x log:{\"level\":\"warn\",\"logger\":\"a\"}",
            ),
            (r#"{"severity_text":"ERROR","body":"x"}"#, "error x"),
            (r#"{"error_severity":"LOG","message":"x"}"#, "info x"),
            (r#"{"levelname":"WARNING","message":"x"}"#, "warn x"),
            (r#"{"level_name":"CRITICAL","message":"x","level":500}"#, "fatal x source_level:500"),
            (
                r#"{"t":{"$date":"2026"},"s":"E","c":"NETWORK","msg":"x"}"#,
                "error x source_time:{\"$date\":\"2026\"} c:NETWORK",
            ),
            (r#"{"s":"D2","msg":"x"}"#, "debug x"),
            (r#"{"s":"3","msg":"x"}"#, "- x s:3"),
            (r#"{"event":"started","level":"info"}"#, "info started"),
            (r#"{"event":"started","msg":"x","level":"info"}"#, "info x event:started"),
            (r#"{"event":{"id":1},"level":"info","msg":"x"}"#, "info x event:{\"id\":1}"),
            ("level=info event=started", "info started"),
        ] {
            assert_eq!(parsed(line).as_deref(), Some(expected), "{line}");
        }
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
