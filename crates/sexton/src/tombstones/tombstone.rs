//! What stands in a tombstone: YAML of a few keys, written as the tool kubexit does and read with tolerance.
//!
//! ```text
//! Born: 2026-11-21T06:41:22.120834821Z     when the process was there first
//! Died: 2026-11-21T06:42:22.123456789Z     when it was over for good
//! ExitCode: 0                              128+n for signal n
//! Ready: 2026-11-21T06:41:23.000000000Z    since when it is ready; not there while it is not
//! Signal: TERM                             what ended it
//! Reason: "it ended with exit code 0"
//! Incarnation: 3f0c…                       which life this is
//! Lock: flock                              whoever wrote it holds a lock on it while he lives
//! Mourns: {"main": "91ab…"}                the lives that were over when this one ended
//! ```
//!
//! kubexit knows the first three. A key is left out while it has no value.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::Timestamp;
use thiserror::Error;

use crate::config::tree::{self, Node, Value};
use linux::clock::rfc3339;

/// The largest tombstone that is read, in bytes.
pub const LARGEST: usize = 64 << 10;
/// Our word for a lock by flock(2).
const FLOCK: &str = "flock";

/// What a tombstone says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tombstone {
    /// When the process was there first.
    pub born: Option<Timestamp>,
    /// Since when it is ready.
    pub ready: Option<Timestamp>,
    /// When it was over for good.
    pub died: Option<Timestamp>,
    /// With this exit code.
    pub exit_code: Option<i32>,
    /// By this signal.
    pub signal: Option<String>,
    /// In words.
    pub reason: Option<String>,
    /// Which life this is.
    pub incarnation: Option<String>,
    /// Its writer holds a lock on it while he lives.
    pub locked: bool,
    /// The lives that were over when this one ended: name and identity.
    pub mourns: BTreeSet<(String, String)>,
}

/// Why a text is no tombstone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {message}")]
pub struct TombstoneError {
    line: usize,
    column: usize,
    message: String,
}

impl TombstoneError {
    fn at(node: &Node, message: impl Into<String>) -> Self {
        Self { line: node.place.line, column: node.place.column, message: message.into() }
    }
}

impl Tombstone {
    /// Reads a tombstone. What it does not know it passes over.
    pub fn parse(text: &str) -> Result<Self, TombstoneError> {
        let wrong = |line, column, message: String| TombstoneError { line, column, message };
        let documents =
            tree::parse(text).map_err(|error| wrong(error.place.line, error.place.column, error.message))?;
        let Some(root) = documents.iter().find(|node| !node.is_null()) else {
            return Err(wrong(1, 1, "it is empty".to_owned()));
        };
        if !matches!(root.value, Value::Map(_)) {
            return Err(TombstoneError::at(root, "expected keys such as Born and Died"));
        }
        let code = |node: &Node, text: &str| {
            text.parse::<i32>().map_err(|_| {
                TombstoneError::at(node, format!("ExitCode: expected a whole number, found '{text}'"))
            })
        };
        let exit_code = scalar(root, "ExitCode")?.map(|(node, text)| code(node, text)).transpose()?;
        let word = |key| Ok::<_, TombstoneError>(scalar(root, key)?.map(|(_, text)| text.to_owned()));
        let mut mourns = BTreeSet::new();
        if let Some(Value::Map(pairs)) = root.get("Mourns").map(|node| &node.value) {
            for (key, node) in pairs {
                if let Value::Scalar { text, .. } = &node.value {
                    mourns.insert((key.text.clone(), text.clone()));
                }
            }
        }
        Ok(Self {
            born: time(root, "Born")?,
            ready: time(root, "Ready")?,
            died: time(root, "Died")?,
            exit_code,
            signal: word("Signal")?,
            reason: word("Reason")?,
            incarnation: word("Incarnation")?,
            locked: word("Lock")?.as_deref() == Some(FLOCK),
            mourns,
        })
    }

    /// Which life it tells of. None: of one that has neither begun nor ended and has no name.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        self.incarnation.clone().or_else(|| self.born.or(self.died).map(rfc3339))
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = writeln!(text, "{key}: {value}");
            }
        };
        line("Born", self.born.map(rfc3339));
        line("Died", self.died.map(rfc3339));
        line("ExitCode", self.exit_code.map(|code| code.to_string()));
        line("Ready", self.ready.map(rfc3339));
        line("Signal", self.signal.clone());
        line("Reason", self.reason.as_deref().map(quoted));
        line("Incarnation", self.incarnation.clone());
        line("Lock", self.locked.then(|| FLOCK.to_owned()));
        let pairs = self.mourns.iter().map(|(name, life)| format!("{}: {}", quoted(name), quoted(life)));
        let pairs = pairs.collect::<Vec<_>>();
        line("Mourns", (!pairs.is_empty()).then(|| format!("{{{}}}", pairs.join(", "))));
        text
    }
}

/// A word in quotes that YAML reads as it is; JSON's are a part of YAML's.
fn quoted(word: &str) -> String {
    serde_json::Value::from(word).to_string()
}

/// A word that is there and not null.
fn scalar<'a>(root: &'a Node, key: &str) -> Result<Option<(&'a Node, &'a str)>, TombstoneError> {
    match root.get(key) {
        None => Ok(None),
        Some(node) if node.is_null() => Ok(None),
        Some(node) => match &node.value {
            Value::Scalar { text, .. } => Ok(Some((node, text))),
            Value::List(_) | Value::Map(_) => {
                Err(TombstoneError::at(node, format!("{key}: expected one value")))
            }
        },
    }
}

/// A time as RFC 3339 has it, with any zone. The year 1 is how Go says that there is none.
fn time(root: &Node, key: &str) -> Result<Option<Timestamp>, TombstoneError> {
    let Some((node, text)) = scalar(root, key)? else { return Ok(None) };
    if text.starts_with("0001-01-01T00:00:00") {
        return Ok(None);
    }
    let wrong = |_| {
        let message = format!("{key}: expected a time such as 2026-11-21T06:41:22Z, found '{text}'");
        TombstoneError::at(node, message)
    };
    text.parse().map(Some).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_kubexit_writes_is_read() {
        let text = "Born: 2026-11-21T06:41:22.120834821Z\nDied: 2026-11-21T07:42:22.5+01:00\nExitCode: 137\n";
        let stone = Tombstone::parse(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(stone.born.map(rfc3339).as_deref(), Some("2026-11-21T06:41:22.120834821Z"));
        assert_eq!(stone.died.map(rfc3339).as_deref(), Some("2026-11-21T06:42:22.500000000Z"));
        assert_eq!((stone.exit_code, stone.incarnation.as_deref()), (Some(137), None));
        assert_eq!(stone.identity().as_deref(), Some("2026-11-21T06:41:22.120834821Z"));
        for text in ["Died: null\nExitCode: ~\nBorn:\n", "Born: 0001-01-01T00:00:00Z\n", "{}", "Other: [1]\n"]
        {
            assert_eq!(Tombstone::parse(text), Ok(Tombstone::default()), "{text}");
        }
    }

    #[test]
    fn ours_holds_first_what_kubexit_knows_and_leaves_out_what_is_not() {
        let born = "2026-11-21T06:41:22.5Z".parse().ok();
        let stone = Tombstone { born, incarnation: Some("x1".to_owned()), ..Tombstone::default() };
        assert_eq!(stone.text(), "Born: 2026-11-21T06:41:22.500000000Z\nIncarnation: x1\n");
    }

    #[test]
    fn what_is_no_tombstone_says_where() {
        for (text, expected) in [
            ("", "line 1, column 1: it is empty"),
            ("Born: 2026-11-21T06:41:22.12083", "line 1, column 7: Born: expected a time"),
            ("ExitCode: one\n", "line 1, column 11: ExitCode: expected a whole number, found 'one'"),
            ("- Born\n", "line 1, column 1: expected keys"),
            ("Born: [1]\n", "line 1, column 7: Born: expected one value"),
            ("Born: {", "line"),
        ] {
            let error = Tombstone::parse(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_we_write_we_read(
            times in prop::array::uniform3(prop::option::of(0i64..4_000_000_000)),
            exit_code in prop::option::of(any::<i32>()),
            reason in prop::option::of(any::<String>()),
            mourns in prop::collection::btree_set((any::<String>(), any::<String>()), 0..3),
            locked in any::<bool>(),
        ) {
            let time = |second: Option<i64>| second.and_then(|s| Timestamp::from_second(s).ok());
            // One life of each name.
            let mourns: std::collections::BTreeMap<_, _> = mourns.into_iter().collect();
            let mourns: BTreeSet<_> = mourns.into_iter().collect();
            let stone = Tombstone {
                born: time(times[0]),
                ready: time(times[1]),
                died: time(times[2]),
                exit_code,
                signal: Some("TERM".to_owned()),
                reason,
                incarnation: Some("a1".to_owned()),
                locked,
                mourns,
            };
            prop_assert_eq!(Tombstone::parse(&stone.text()), Ok(stone));
        }

        #[test]
        fn no_text_is_too_much(text in any::<String>()) {
            let _ = Tombstone::parse(&text);
        }
    }
}
