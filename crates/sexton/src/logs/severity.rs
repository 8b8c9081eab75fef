//! The severity of a log line.

use std::fmt;

/// A severity, with the names that most loggers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Details for tracing a fault.
    Trace,
    /// Details for debugging.
    Debug,
    /// Normal operation.
    Info,
    /// A condition that needs attention.
    Warn,
    /// A failure.
    Error,
    /// A failure that stops the program.
    Fatal,
}

impl Severity {
    /// The stable label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// The severity with this name: names of syslog(3) and of most loggers, their first letters, and the numbers of
    /// pino and bunyan (10 to 60).
    #[must_use]
    pub fn named(word: &[u8]) -> Option<Self> {
        const NAMES: [(&[u8], Severity); 27] = [
            (b"trace", Severity::Trace),
            (b"trc", Severity::Trace),
            (b"debug", Severity::Debug),
            (b"dbg", Severity::Debug),
            (b"d", Severity::Debug),
            (b"info", Severity::Info),
            (b"inf", Severity::Info),
            (b"i", Severity::Info),
            (b"information", Severity::Info),
            (b"notice", Severity::Info),
            (b"warn", Severity::Warn),
            (b"warning", Severity::Warn),
            (b"wrn", Severity::Warn),
            (b"w", Severity::Warn),
            (b"error", Severity::Error),
            (b"err", Severity::Error),
            (b"e", Severity::Error),
            (b"severe", Severity::Error),
            (b"critical", Severity::Fatal),
            (b"crit", Severity::Fatal),
            (b"fatal", Severity::Fatal),
            (b"panic", Severity::Fatal),
            (b"alert", Severity::Fatal),
            (b"emerg", Severity::Fatal),
            (b"emergency", Severity::Fatal),
            (b"f", Severity::Fatal),
            (b"c", Severity::Fatal),
        ];
        if let Some((_, severity)) = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
            return Some(*severity);
        }
        match std::str::from_utf8(word).ok()?.parse::<u32>().ok()? {
            10 => Some(Self::Trace),
            20 => Some(Self::Debug),
            30 => Some(Self::Info),
            40 => Some(Self::Warn),
            50 => Some(Self::Error),
            60 => Some(Self::Fatal),
            _ => None,
        }
    }

    /// The severity in a log of MongoDB: a letter, with a digit for debug levels.
    #[must_use]
    pub fn of_mongodb(word: &[u8]) -> Option<Self> {
        match word {
            [letter @ (b'F' | b'E' | b'W' | b'I')] => Self::named(&[*letter]),
            [b'D', b'1'..=b'5'] | [b'D'] => Some(Self::Debug),
            _ => None,
        }
    }

    /// The severity in a log of PostgreSQL, whose normal operation is LOG.
    #[must_use]
    pub fn of_postgresql(word: &[u8]) -> Option<Self> {
        match word {
            b"LOG" => Some(Self::Info),
            [b'D', b'E', b'B', b'U', b'G', b'1'..=b'5'] => Some(Self::Debug),
            _ => Self::named(word),
        }
    }

    /// The severity of a line in any format: the first word near its start that names one and is in brackets, in
    /// capitals or followed by a colon. A word within a sentence ("no error occurred") does not count.
    #[must_use]
    pub fn of_text(line: &[u8]) -> Option<Self> {
        /// Words that are examined: a time, a host, a program and a number may precede the severity.
        const WORDS: usize = 7;
        let head = &line[..line.len().min(160)];
        let words =
            head.split(|byte| byte.is_ascii_whitespace() || *byte == b'|').filter(|word| !word.is_empty());
        for (index, word) in words.take(WORDS).enumerate() {
            let bare = trim_punctuation(word);
            if bare.len() < 3 {
                // `E0102 12:00:00` of glog.
                if let (0, [letter @ (b'I' | b'W' | b'E' | b'F')]) = (index, bare) {
                    return Self::named(&[*letter]);
                }
                continue;
            }
            if index == 0 && bare.len() == 5 && bare[1..].iter().all(u8::is_ascii_digit) {
                return Self::named(&bare[..1]);
            }
            let Some(severity) = Self::named(bare).filter(|_| bare.iter().all(u8::is_ascii_alphabetic))
            else {
                continue;
            };
            let mark = |byte: &u8| b"[](){}<>:,;-*=\"'".contains(byte);
            let mut around = word.iter().filter(|byte| !byte.is_ascii_alphanumeric());
            let marked = word.len() > bare.len() && around.all(mark);
            let capitals = bare.iter().all(u8::is_ascii_uppercase);
            let alone = word.len() == bare.len();
            if marked || (alone && (capitals || index == 0)) {
                return Some(severity);
            }
        }
        None
    }
}

fn trim_punctuation(word: &[u8]) -> &[u8] {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric();
    let from = word.iter().position(is_word).unwrap_or(word.len());
    let to = word.iter().rposition(is_word).map_or(from, |last| last + 1);
    &word[from..to]
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_the_formats_of_common_loggers() {
        for (line, expected) in [
            ("2026-11-24 10:00:00,123 - app - WARNING - disk is nearly full", Some(Severity::Warn)),
            ("2026-11-24T10:00:00Z ERROR db: gone", Some(Severity::Error)),
            ("[error] 12#12: *1 open() failed", Some(Severity::Error)),
            ("2026/11/24 10:00:00 [notice] 1#1: start worker processes", Some(Severity::Info)),
            ("E1124 10:00:00.123456       1 server.go:12] no", Some(Severity::Error)),
            ("error: it failed", Some(Severity::Error)),
            ("Fatal: no space", Some(Severity::Fatal)),
            ("2026-11-24 10:00:00.000 UTC [1] LOG:  database system is ready", None),
            ("GET /error 200", None),
            ("all fine, no error occurred", None),
            ("", None),
        ] {
            assert_eq!(Severity::of_text(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn parses_names_and_numbers() {
        assert_eq!(Severity::named(b"WARN"), Some(Severity::Warn));
        assert_eq!(Severity::named(b"50"), Some(Severity::Error));
        assert_eq!(Severity::named(b"loud"), None);
    }
}
