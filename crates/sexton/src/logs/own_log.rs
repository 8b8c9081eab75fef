//! The log of sexton, on standard error: warnings and errors, unless a higher level is requested.
//!
//! The format is logfmt for programs and plain text for terminals.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use log::kv::{self, Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::logs::line_writer::Sink;
use crate::logs::logfmt;
use crate::logs::rotating::Rotating;
use config::options::UsageError;
use linux::clock::rfc3339_millis;
use spec::environment::Environment;
use spec::text::one_line;

/// Level, format and destination of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    level: LevelFilter,
    format: Option<Format>,
    file: Option<PathBuf>,
}

impl LogSettings {
    /// Writes to this file instead of standard error.
    #[must_use]
    pub fn into_file(self, file: Option<PathBuf>) -> Self {
        Self { file, ..self }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: LevelFilter::Warn, format: None, file: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Logfmt,
    Text,
}

/// Combines `-v` (count), `--log-format`, `SEXTON_LOG` and `SEXTON_LOG_FORMAT`; `quiet` is the default level.
pub fn settings(
    quiet: LevelFilter,
    verbose: u8,
    format: Option<String>,
    environment: &dyn Environment,
) -> Result<LogSettings, UsageError> {
    let text = |name| environment.get(name).map(|text| text.to_string_lossy().into_owned());
    let level = match (verbose, text("SEXTON_LOG")) {
        (0, None) => quiet,
        (0, Some(value)) => value.parse().map_err(|_| {
            UsageError(format!("SEXTON_LOG '{value}': expected off, error, warn, info, debug or trace"))
        })?,
        (1, _) => LevelFilter::Info,
        (_, _) => LevelFilter::Debug,
    };
    let given = format.map(|value| ("--log-format", value));
    let given = given.or_else(|| text("SEXTON_LOG_FORMAT").map(|value| ("SEXTON_LOG_FORMAT", value)));
    let format = match given {
        None => None,
        Some((origin, value)) => match value.as_str() {
            "auto" => None,
            "logfmt" => Some(Format::Logfmt),
            "text" => Some(Format::Text),
            _ => return Err(UsageError(format!("{origin} '{value}': expected auto, logfmt or text"))),
        },
    };
    Ok(LogSettings { level, format, file: None })
}

/// Installs the logger for standard error or the file. Fails if the file cannot be opened.
pub fn init(settings: &LogSettings) -> io::Result<()> {
    let to_terminal = settings.file.is_none() && io::stderr().is_terminal();
    let auto = if to_terminal { Format::Text } else { Format::Logfmt };
    let file = settings.file.as_deref().map(Rotating::open).transpose()?.map(Mutex::new);
    let logger = Box::leak(Box::new(Logger { format: settings.format.unwrap_or(auto), file }));
    if log::set_logger(logger).is_ok() {
        log::set_max_level(settings.level);
    }
    Ok(())
}

/// Whether anything was logged.
static USED: AtomicBool = AtomicBool::new(false);

/// Waits until the log is written, with a time limit.
pub async fn flush() {
    if USED.load(Ordering::Relaxed)
        && let Some(sink) = Sink::stderr()
    {
        sink.flush().await;
    }
}

struct Logger {
    format: Format,
    file: Option<Mutex<Rotating>>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        USED.store(true, Ordering::Relaxed);
        let mut line = match self.format {
            Format::Logfmt => logfmt_line(record),
            Format::Text => text_line(record),
        };
        line.push(b'\n');
        if let Some(file) = &self.file {
            let written = file.lock().unwrap_or_else(PoisonError::into_inner).write(&line);
            if let (Err(error), Some(sink)) = (written, Sink::stderr()) {
                sink.append_or_drop(format!("sexton: cannot write the log: {error}\n").as_bytes(), || 1);
            }
            return;
        }
        // The log never delays the supervision of processes, even if it is not read.
        match Sink::stderr() {
            Some(sink) => sink.append_or_drop(&line, || 1),
            None => write_if_ready(&line),
        }
    }

    fn flush(&self) {}
}

/// Fallback without a sink: before threads are allowed, or for lack of a thread or a descriptor, which may be just what
/// the message reports.
fn write_if_ready(line: &[u8]) {
    let stderr = io::stderr();
    let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&no_wait)).is_ok_and(|ready| ready > 0) {
        let _ = stderr.lock().write_all(line);
    }
}

fn logfmt_line(record: &Record<'_>) -> Vec<u8> {
    let mut line = Vec::with_capacity(160);
    logfmt::append(&mut line, "time", rfc3339_millis(Timestamp::now()).as_bytes());
    let level = record.level().as_str().to_ascii_lowercase();
    logfmt::append(&mut line, "level", level.as_bytes());
    logfmt::append(&mut line, "msg", record.args().to_string().as_bytes());
    let _ = record.key_values().visit(&mut Fields(&mut line));
    line
}

fn text_line(record: &Record<'_>) -> Vec<u8> {
    let level = match record.level() {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info | Level::Debug | Level::Trace => "",
    };
    let mut line = format!("sexton: {level}{}", one_line(&record.args().to_string())).into_bytes();
    let mut fields = Vec::new();
    let _ = record.key_values().visit(&mut Fields(&mut fields));
    if !fields.is_empty() {
        line.extend_from_slice(b" (");
        line.extend_from_slice(&fields);
        line.push(b')');
    }
    line
}

struct Fields<'a>(&'a mut Vec<u8>);

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        logfmt::append(self.0, key.as_str(), value.to_string().as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_determine_level_and_format() {
        use std::collections::BTreeMap;
        let none = BTreeMap::new();
        assert_eq!(settings(LevelFilter::Warn, 0, None, &none), Ok(LogSettings::default()));
        assert_eq!(settings(LevelFilter::Warn, 1, None, &none).map(|s| s.level), Ok(LevelFilter::Info));
        assert_eq!(settings(LevelFilter::Warn, 9, None, &none).map(|s| s.level), Ok(LevelFilter::Debug));
        let variables = BTreeMap::from([("SEXTON_LOG", "off"), ("SEXTON_LOG_FORMAT", "text")]);
        let expected = LogSettings { level: LevelFilter::Off, format: Some(Format::Text), file: None };
        assert_eq!(settings(LevelFilter::Warn, 0, None, &variables), Ok(expected));
        assert!(
            settings(LevelFilter::Warn, 0, Some("xml".to_owned()), &none)
                .is_err_and(|e| e.0.starts_with("--log-format 'xml'"))
        );
        assert!(settings(LevelFilter::Warn, 0, None, &BTreeMap::from([("SEXTON_LOG", "loud")])).is_err());
    }
}
