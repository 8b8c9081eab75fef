//! Formats lines as records.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::Stream;
use super::severity::Severity;
use super::structured::{self, Structured, Value};
use crate::logs::logfmt;
use linux::clock::rfc3339_millis;
use spec::logs::LogFormat;
use spec::program::Pid;

/// Where lines come from: what is the same in each of their records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSource {
    /// The format of the records in sexton's output.
    pub format: LogFormat,
    /// Process name.
    pub process: Arc<str>,
    pub pid: Pid,
    pub stream: Stream,
    pub labels: Arc<BTreeMap<String, String>>,
}

/// The record format of one stream of a process.
#[derive(Debug)]
pub struct RecordFormatter {
    format: LogFormat,
    /// The fields that are the same in each record (process, pid, stream), encoded.
    source: Vec<u8>,
    labels: Vec<u8>,
    /// Format `pretty`: the text before the line, coloured if requested.
    prefix: Vec<u8>,
    colours: bool,
}

/// Console settings of format `pretty`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsoleStyle {
    /// The width of the name column.
    pub width: usize,
    /// The colour of the name, of the six that terminals have; None: no colours.
    pub colour: Option<u8>,
}

/// A formatted time, shared by several lines.
#[derive(Debug, Clone)]
pub struct FormattedTime(String);

impl FormattedTime {
    /// The given time.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self(rfc3339_millis(time))
    }

    /// The time of day, with milliseconds.
    fn time_of_day(&self) -> &str {
        self.0.get(11..23).unwrap_or(&self.0)
    }
}

impl RecordFormatter {
    /// Records of this source in this format.
    #[must_use]
    pub fn new(format: LogFormat, from: &RecordSource, console: ConsoleStyle) -> Self {
        let RecordSource { process: name, pid, stream, labels, .. } = from;
        let (mut source, mut encoded) = (Vec::new(), Vec::new());
        let pid = pid.to_string();
        if format == LogFormat::Json {
            append_json(&mut source, "process", name.as_bytes());
            source.extend_from_slice(format!(",\"pid\":{pid}").as_bytes());
            append_json(&mut source, "stream", stream.label().as_bytes());
            for (key, value) in &**labels {
                append_json(&mut encoded, key, value.as_bytes());
            }
        } else {
            logfmt::append(&mut source, "process", name.as_bytes());
            logfmt::append(&mut source, "pid", pid.as_bytes());
            logfmt::append(&mut source, "stream", stream.label().as_bytes());
            for (key, value) in &**labels {
                logfmt::append(&mut encoded, key, value.as_bytes());
            }
        }
        let width = console.width;
        let prefix = match console.colour {
            Some(colour) => format!("\x1b[3{}m{name:width$}\x1b[0m ", 1 + colour % 6),
            None if width > 0 => format!("{name:width$} "),
            None => format!("{name}[{pid}] "),
        };
        Self {
            format,
            source,
            labels: encoded,
            prefix: prefix.into_bytes(),
            colours: console.colour.is_some(),
        }
    }

    /// Appends a line as a record with a newline.
    pub fn append(&self, out: &mut Vec<u8>, stamp: &FormattedTime, line: &[u8], partial: bool) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.format {
            LogFormat::Logfmt | LogFormat::Auto => self.logfmt(out, stamp, line, partial),
            LogFormat::Json => self.json(out, stamp, line, partial),
            LogFormat::Pretty => self.pretty(out, stamp, line),
            LogFormat::Raw => {
                out.extend_from_slice(line);
                out.push(b'\n');
            }
            LogFormat::None => {}
        }
    }

    fn parse<'a>(&self, line: &'a [u8], partial: bool) -> Structured<'a> {
        if let Some(found) = (!partial).then(|| structured::parse(line)).flatten() {
            return found;
        }
        let severity = if self.format == LogFormat::Auto { Severity::of_text(line) } else { None };
        Structured::plain(severity, line)
    }

    fn logfmt(&self, out: &mut Vec<u8>, stamp: &FormattedTime, line: &[u8], partial: bool) {
        let found = self.parse(line, partial);
        out.extend_from_slice(b"time=");
        out.extend_from_slice(stamp.0.as_bytes());
        out.extend_from_slice(b" level=");
        out.extend_from_slice(found.severity.unwrap_or(Severity::Info).label().as_bytes());
        out.push(b' ');
        out.extend_from_slice(&self.source);
        if partial {
            out.extend_from_slice(b" partial=true");
        }
        logfmt::append(out, "msg", found.message.as_ref().map_or(b"", Value::bytes));
        for (key, value) in &found.fields {
            logfmt::append(out, key, value.bytes());
        }
        if !self.labels.is_empty() {
            out.push(b' ');
            out.extend_from_slice(&self.labels);
        }
        out.push(b'\n');
    }

    fn json(&self, out: &mut Vec<u8>, stamp: &FormattedTime, line: &[u8], partial: bool) {
        let found = self.parse(line, partial);
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(stamp.0.as_bytes());
        out.extend_from_slice(b"\",\"level\":\"");
        out.extend_from_slice(found.severity.unwrap_or(Severity::Info).label().as_bytes());
        out.push(b'"');
        out.extend_from_slice(&self.source);
        if partial {
            out.extend_from_slice(b",\"partial\":true");
        }
        append_json_value(out, "msg", found.message.as_ref().unwrap_or(&Value::Text(Cow::Borrowed(b""))));
        for (key, value) in &found.fields {
            append_json_value(out, key, value);
        }
        out.extend_from_slice(&self.labels);
        out.extend_from_slice(b"}\n");
    }

    fn pretty(&self, out: &mut Vec<u8>, stamp: &FormattedTime, line: &[u8]) {
        out.extend_from_slice(stamp.time_of_day().as_bytes());
        out.push(b' ');
        out.extend_from_slice(&self.prefix);
        let severity =
            self.colours.then(|| Severity::of_text(line).or_else(|| structured::parse(line)?.severity));
        let colour: &[u8] = match severity.flatten() {
            Some(Severity::Error | Severity::Fatal) => b"\x1b[31m",
            Some(Severity::Warn) => b"\x1b[33m",
            _ => b"",
        };
        out.extend_from_slice(colour);
        out.extend_from_slice(line);
        if !colour.is_empty() {
            out.extend_from_slice(b"\x1b[0m");
        }
        out.push(b'\n');
    }
}

/// Appends `,"key":value`, with the type and the nesting of the value.
fn append_json_value(out: &mut Vec<u8>, key: &str, value: &Value<'_>) {
    match value {
        Value::Text(text) => append_json(out, key, text),
        Value::Json(json) => {
            append_json_key(out, key);
            out.extend_from_slice(json.as_bytes());
        }
    }
}

fn append_json_key(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.replace(['"', '\\'], "_").as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends `,"key":"value"`. Invalid UTF-8 cannot be represented in JSON and becomes U+FFFD.
fn append_json(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    append_json_key(out, key);
    let text = String::from_utf8_lossy(value);
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, &text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(format: LogFormat, line: &[u8], partial: bool) -> String {
        let labels = BTreeMap::from([("app".to_owned(), "a b".to_owned())]);
        let source = RecordSource {
            format,
            process: "web".into(),
            pid: 7,
            stream: Stream::Stderr,
            labels: Arc::new(labels),
        };
        let form = RecordFormatter::new(format, &source, ConsoleStyle::default());
        let mut out = Vec::new();
        let time = "2026-11-24T10:00:00.5Z".parse().unwrap_or(Timestamp::UNIX_EPOCH);
        form.append(&mut out, &FormattedTime::at(time), line, partial);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn formats_plain_lines() {
        assert_eq!(
            record(LogFormat::Logfmt, b"ERROR: x\r", true),
            "time=2026-11-24T10:00:00.500Z level=info process=web pid=7 stream=stderr partial=true msg=\"ERROR: x\" app=\"a b\"\n"
        );
        assert_eq!(
            record(LogFormat::Auto, b"ERROR: x", false),
            "time=2026-11-24T10:00:00.500Z level=error process=web pid=7 stream=stderr msg=\"ERROR: x\" app=\"a b\"\n"
        );
        assert_eq!(
            record(LogFormat::Json, b"say \"x\"\xff", false),
            "{\"time\":\"2026-11-24T10:00:00.500Z\",\"level\":\"info\",\"process\":\"web\",\"pid\":7,\"stream\":\"stderr\",\"msg\":\"say \\\"x\\\"\u{fffd}\",\"app\":\"a b\"}\n"
        );
        assert_eq!(record(LogFormat::Pretty, b"hi", false), "10:00:00.500 web[7] hi\n");
        assert_eq!(record(LogFormat::Raw, b"hi", false), "hi\n");
    }

    #[test]
    fn keeps_level_and_message_of_structured_lines() {
        assert_eq!(
            record(LogFormat::Logfmt, b"level=warn msg=\"two words\" n=1", false),
            "time=2026-11-24T10:00:00.500Z level=warn process=web pid=7 stream=stderr msg=\"two words\" n=1 app=\"a b\"\n"
        );
        let line = br#"{"level":"error","msg":"no","n":1,"big":12345678901234567890123,"ok":true,"no":null,"o":{"a":[1,"x"]},"s":"1"}"#;
        let expected = r#""msg":"no","n":1,"big":12345678901234567890123,"ok":true,"no":null,"o":{"a":[1,"x"]},"s":"1","app":"#;
        let json = record(LogFormat::Json, line, false);
        assert!(json.contains(r#""level":"error""#) && json.contains(expected), "{json}");
        let logfmt = record(LogFormat::Logfmt, line, false);
        assert!(
            logfmt.contains(
                r#"msg=no n=1 big=12345678901234567890123 ok=true no=null o="{\"a\":[1,\"x\"]}" s=1"#
            ),
            "{logfmt}"
        );
    }
}
