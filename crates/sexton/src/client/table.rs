//! Text output of client commands.

use std::fmt::Write as _;
use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::Value;

/// The longest part of a process's own status text that is shown, in characters.
const LONGEST_TEXT: usize = 24;

/// The table of `sexton status`: a line for each process. `before` is the response of a second ago.
#[must_use]
pub fn status(response: &Value, before: Option<&Value>, colours: bool) -> String {
    let mut rows = vec![
        ["NAME", "STATE", "READY", "PID", "RESTARTS", "AGE", "CPU", "MEMORY", "LAST EXIT"].map(str::to_owned),
    ];
    for process in response["processes"].as_array().into_iter().flatten() {
        rows.push(row(process, before.and_then(|before| super::find(before, process["name"].as_str()?))));
    }
    let mut text = aligned(&rows, |row| match row[2].as_str() {
        "yes" | "done" => colours.then_some("32"),
        _ => colours.then_some("31"),
    });
    match response["reason"].as_str() {
        Some(reason) => {
            let _ = writeln!(text, "\nnot ready: {reason}");
        }
        None => text.push_str("\nall processes are ready\n"),
    }
    if let Some(ending) = response["ending"].as_object() {
        let names = |value: &Value| {
            let list: Vec<_> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            list.join(", ")
        };
        let _ = writeln!(text, "shutting down; waiting for: {}", names(&ending["waitingFor"]));
        if let Some(by) = ending.get("by").and_then(Value::as_str) {
            let _ = writeln!(text, "deadline: {by}");
        }
    }
    text
}

fn row(process: &Value, before: Option<&Value>) -> [String; 9] {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let starts = process["starts"].as_u64().unwrap_or(0);
    let last = &process["lastExit"];
    let last = match (last["signal"].as_str(), last["exitCode"].as_i64(), last["outOfMemory"] == true) {
        (_, _, true) => "OOMKilled".to_owned(),
        (Some(signal), _, _) => format!("signal {signal}{}", ago(&last["at"])),
        (None, Some(code), _) => format!("code {code}{}", ago(&last["at"])),
        (None, None, _) => "-".to_owned(),
    };
    let usage = &process["usage"];
    let cpu = match (usage["cpuSeconds"].as_f64(), before.and_then(|it| it["usage"]["cpuSeconds"].as_f64())) {
        (Some(now), Some(then)) => format!("{:.0}%", (now - then).max(0.0) * 100.0),
        (Some(now), None) => format!("{now:.2}s"),
        (None, _) => "-".to_owned(),
    };
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let memory = usage["memoryBytes"]
        .as_u64()
        .map_or_else(|| "-".to_owned(), |bytes| format!("{:.1}Mi", bytes as f64 / 1_048_576.0));
    let state = match process["phase"].as_str() {
        Some("running") if process["suspendedBy"].is_string() => "suspended".to_owned(),
        Some(phase) => match process["said"].as_str() {
            Some(said) if phase == "running" => {
                format!("running: {}", said.chars().take(LONGEST_TEXT).collect::<String>())
            }
            _ => phase.to_owned(),
        },
        None => text(&process["status"]),
    };
    [
        text(&process["name"]),
        state,
        if process["ready"] == true {
            "yes"
        } else if process["healthy"] == true {
            "done"
        } else {
            "no"
        }
        .to_owned(),
        process["pid"].as_i64().map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
        starts.saturating_sub(1).to_string(),
        if process["pid"].is_null() {
            "-".to_owned()
        } else {
            age(&process["startedAt"]).unwrap_or_else(|| "-".to_owned())
        },
        cpu,
        memory,
        last,
    ]
}

/// Aligns rows under a header, in columns; `paint` returns the colour of a row.
pub(crate) fn aligned<const N: usize>(
    rows: &[[String; N]],
    paint: impl Fn(&[String; N]) -> Option<&'static str>,
) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        match paint(row).filter(|_| index > 0) {
            Some(paint) => {
                let _ = writeln!(text, "\x1b[{paint}m{}\x1b[0m", line.trim_end());
            }
            None => {
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
    }
    text
}

fn seconds_since(at: &Value) -> Option<i64> {
    let at: Timestamp = at.as_str()?.parse().ok()?;
    Some(Timestamp::now().duration_since(at).as_secs().max(0))
}

/// The time since then, in the two largest units, as kubectl has it.
fn age(at: &Value) -> Option<String> {
    seconds_since(at).map(span)
}

/// Seconds in the two largest units.
pub(crate) fn span(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

fn ago(at: &Value) -> String {
    age(at).map(|age| format!(" ({age} ago)")).unwrap_or_default()
}

/// The current state, and the events that led to it, the newest first.
#[must_use]
pub fn why(response: &Value) -> String {
    let since = response["since"].as_str().map(|since| format!(" (since {since})")).unwrap_or_default();
    let mut text = format!(
        "{}: {}{since}\n",
        response["name"].as_str().unwrap_or_default(),
        response["state"].as_str().unwrap_or_default()
    );
    if response["outputBlocked"] == true {
        text.push_str("  blocked in its writes now: the reader of sexton's output takes nothing\n");
    }
    if let Some(seconds) = response["outputBlockedSeconds"].as_f64().filter(|seconds| *seconds >= 0.1) {
        let _ = writeln!(
            text,
            "  blocked in its writes for {seconds:.1} s in all, since its output was not read"
        );
    }
    for change in response["chain"].as_array().into_iter().flatten().rev() {
        let at = change["at"].as_str().and_then(|at| at.get(11..23)).unwrap_or_default();
        let run = change["run"].as_u64().map(|run| format!("run {run}: ")).unwrap_or_default();
        let _ = writeln!(text, "  {at}  {run}{}", change["message"].as_str().unwrap_or_default());
    }
    text
}

/// The changes made by a reload.
#[must_use]
pub fn reloaded(response: &Value) -> String {
    let mut text = String::new();
    for (key, what) in [("added", "added"), ("changed", "restarted"), ("removed", "stopped")] {
        for name in response[key].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let _ = writeln!(text, "{name}: {what}");
        }
    }
    let _ = writeln!(text, "{} unchanged", response["kept"].as_u64().unwrap_or(0));
    text
}

/// A writer that turns events, one JSON object a line, into text lines.
#[derive(Debug)]
pub struct Events<W> {
    out: W,
    partial: Vec<u8>,
}

impl<W: Write> Events<W> {
    /// Writes the text to `out`.
    pub const fn new(out: W) -> Self {
        Self { out, partial: Vec::new() }
    }
}

impl<W: Write> Write for Events<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let Ok(change) = serde_json::from_slice::<Value>(&line) else { continue };
            let at = change["at"].as_str().and_then(|at| at.get(11..23)).unwrap_or_default();
            let name = change["process"].as_str().unwrap_or_default();
            writeln!(self.out, "{at}  {name:16}  {}", change["message"].as_str().unwrap_or_default())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn aligns_the_table_and_shows_why_it_is_not_ready() {
        let response = json!({"reason": "db: waits", "processes": [
            {"name": "web", "phase": "running", "ready": true, "pid": 7, "starts": 3, "lastExit": {"exitCode": 1}},
            {"name": "database", "phase": "waiting", "ready": false, "starts": 0, "lastExit": null},
        ]});
        let text = status(&response, None, false);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("NAME      STATE    READY  PID  RESTARTS"), "{text}");
        assert!(lines[1].starts_with("web       running  yes    7    2"), "{text}");
        assert!(lines[1].ends_with("code 1"), "{text}");
        assert!(text.ends_with("not ready: db: waits\n"), "{text}");
    }

    #[test]
    fn reads_events_that_are_split_anywhere() -> io::Result<()> {
        let mut out = Vec::new();
        let mut events = Events::new(&mut out);
        let line =
            "{\"at\":\"2026-11-24T10:00:00.123456789Z\",\"process\":\"web\",\"message\":\"started\"}\n";
        let (a, b) = line.split_at(20);
        events.write_all(a.as_bytes())?;
        events.write_all(b.as_bytes())?;
        assert_eq!(String::from_utf8_lossy(&out), "10:00:00.123  web               started\n");
        Ok(())
    }
}
