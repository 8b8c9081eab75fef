//! Parsers of single values.

use std::str::FromStr as _;

use engine::{DurationRange, KillMode, Signal};
use spec::duration::parse_span;
use spec::logs::LogFormat;
use spec::program::Pid;

/// File mode, in octal.
pub(crate) fn parse_mode(text: &str) -> Result<u32, &'static str> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or("expected a mode in octal such as 1777")
}

pub(super) fn parse_switch(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "yes" | "on" => Ok(true),
        "0" | "f" | "false" | "no" | "off" => Ok(false),
        _ => Err("expected true or false"),
    }
}

/// `$LOG_FORMAT`; `free` and `plain` are process-wrapper's names of raw.
pub(super) fn parse_log_format(word: &str) -> Result<LogFormat, String> {
    match word.to_ascii_lowercase().as_str() {
        "logfmt" => Ok(LogFormat::Logfmt),
        "json" => Ok(LogFormat::Json),
        "auto" => Ok(LogFormat::Auto),
        "pretty" | "text" => Ok(LogFormat::Pretty),
        "raw" | "free" | "plain" => Ok(LogFormat::Raw),
        _ => Err(format!("LOG_FORMAT '{word}': expected logfmt, json, auto, pretty or raw")),
    }
}

pub(super) fn parse_kill_mode(text: &str) -> Result<KillMode, &'static str> {
    match text {
        "main" => Ok(KillMode::Main),
        "group" => Ok(KillMode::Group),
        _ => Err("expected main or group"),
    }
}

pub(super) fn parse_backoff(text: &str) -> Result<DurationRange, String> {
    let span = parse_span(text).map_err(|error| error.to_string())?;
    if span.from.is_zero() && !span.to.is_zero() {
        return Err("a delay of 0 cannot grow: start with at least 1ms, or use --wait 0".to_owned());
    }
    Ok(span)
}

pub(super) fn parse_count(text: &str) -> Result<u32, &'static str> {
    const MAX: u32 = 100_000;
    text.parse().ok().filter(|count| *count <= MAX).ok_or("expected a whole number from 0 to 100000")
}

pub(crate) fn parse_stop_signal(text: &str) -> Result<Signal, String> {
    let signal = Signal::from_str(text).map_err(|error| error.to_string())?;
    match signal {
        Signal::CHLD | Signal::URG | Signal::CONT => {
            Err("this signal does not terminate a process".to_owned())
        }
        _ => Ok(signal),
    }
}

pub(super) fn parse_pid(text: &str) -> Result<Option<Pid>, &'static str> {
    match text.parse::<Pid>() {
        // kapo's value for "no process".
        Ok(0) => Ok(None),
        Ok(pid) if pid > 0 => Ok(Some(pid)),
        _ => Err("expected a process ID"),
    }
}
