//! How bad a line is.

use std::fmt;

/// How bad something is, in the words of most loggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Of no interest unless one looks for a fault.
    Trace,
    /// Of little interest.
    Debug,
    /// As usual.
    Info,
    /// Something to look after.
    Warn,
    /// Something has failed.
    Error,
    /// It cannot go on.
    Fatal,
}

impl Severity {
    /// The stable word.
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

    /// The severity that a word names: those of syslog(3), of most loggers, their first letters, and the
    /// numbers of pino and bunyan (10 to 60).
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

    /// The severity of a line in any form: the first word near its beginning that names one, in brackets or with
    /// a colon or in capitals. A word in the midst of a sentence ("no error occurred") does not count.
    #[must_use]
    pub fn of_words(line: &[u8]) -> Option<Self> {
        /// What stands in front of the severity: a time, a host, a program, a number.
        const WORDS: usize = 7;
        let head = &line[..line.len().min(160)];
        let words =
            head.split(|byte| byte.is_ascii_whitespace() || *byte == b'|').filter(|word| !word.is_empty());
        for (index, word) in words.take(WORDS).enumerate() {
            let bare = trimmed(word);
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

fn trimmed(word: &[u8]) -> &[u8] {
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
    fn words_of_many_loggers() {
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
            ("all is well, no error occurred", None),
            ("", None),
        ] {
            assert_eq!(Severity::of_words(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(Severity::named(b"WARN"), Some(Severity::Warn));
        assert_eq!(Severity::named(b"50"), Some(Severity::Error));
        assert_eq!(Severity::named(b"loud"), None);
    }
}
