//! The tombstone file: YAML with a few keys, written as by kubexit and read leniently.
//!
//! ```text
//! Born: 2026-11-21T06:41:22.120834821Z     first start of the process
//! Died: 2026-11-21T06:42:22.123456789Z     final exit
//! ExitCode: 0                              128+n for signal n
//! Ready: 2026-11-21T06:41:23.000000000Z    since when it has been ready; absent while it is not
//! Signal: TERM                             the signal that killed it
//! Reason: "it ended with exit code 0"
//! Incarnation: 3f0c…                       identifies this incarnation
//! Lock: flock                              the writer holds a lock on the file while it is alive
//! Mourns: {"main": "91ab…"}                incarnations of peers that had exited when this one exited
//! ```
//!
//! kubexit knows the first three keys. A key without a value is left out.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::Timestamp;
use thiserror::Error;

use config::yaml::tree;
use config::yaml::tree::{Node, Value};
use linux::clock::rfc3339;

/// The maximum size of a tombstone in bytes.
pub const MAX_SIZE: usize = 64 << 10;
/// The value of `Lock` for flock(2).
const FLOCK: &str = "flock";

/// The contents of a tombstone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tombstone {
    /// Time of the first start.
    pub born: Option<Timestamp>,
    /// Since when it has been ready.
    pub ready: Option<Timestamp>,
    /// Time of the final exit.
    pub died: Option<Timestamp>,
    pub exit_code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<String>,
    /// The reason for the exit, for people.
    pub reason: Option<String>,
    /// Identifies the incarnation.
    pub incarnation: Option<String>,
    /// The writer holds a lock on the file while it is alive.
    pub locked: bool,
    /// Incarnations of peers that had exited when this one exited: name and identity.
    pub mourns: BTreeSet<(String, String)>,
}

/// A syntax error in a tombstone, with its position.
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
    /// Parses a tombstone. Unknown keys are ignored.
    pub fn parse(text: &str) -> Result<Self, TombstoneError> {
        let invalid = |line, column, message: String| TombstoneError { line, column, message };
        let documents = tree::parse(text)
            .map_err(|error| invalid(error.place.line, error.place.column, error.message))?;
        let Some(root) = documents.iter().find(|node| !node.is_null()) else {
            return Err(invalid(1, 1, "it is empty".to_owned()));
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
        let string = |key| Ok::<_, TombstoneError>(scalar(root, key)?.map(|(_, text)| text.to_owned()));
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
            signal: string("Signal")?,
            reason: string("Reason")?,
            incarnation: string("Incarnation")?,
            locked: string("Lock")?.as_deref() == Some(FLOCK),
            mourns,
        })
    }

    /// Identifies the incarnation: by its ID, or by its birth or death. None if it has none of these.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        self.incarnation.clone().or_else(|| self.born.or(self.died).map(rfc3339))
    }

    /// The contents of the file.
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

/// A quoted string; JSON strings are valid YAML.
fn quoted(string: &str) -> String {
    serde_json::Value::from(string).to_string()
}

/// The scalar value of a key; None if it is missing or null.
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

/// An RFC 3339 time in any zone. The year 1 is Go's zero time, which means no value.
fn time(root: &Node, key: &str) -> Result<Option<Timestamp>, TombstoneError> {
    let Some((node, text)) = scalar(root, key)? else { return Ok(None) };
    if text.starts_with("0001-01-01T00:00:00") {
        return Ok(None);
    }
    let invalid = |_| {
        let message = format!("{key}: expected a time such as 2026-11-21T06:41:22Z, found '{text}'");
        TombstoneError::at(node, message)
    };
    text.parse().map(Some).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_tombstones_of_kubexit() {
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
    fn writes_kubexit_keys_first_and_omits_empty_ones() {
        let born = "2026-11-21T06:41:22.5Z".parse().ok();
        let stone = Tombstone { born, incarnation: Some("x1".to_owned()), ..Tombstone::default() };
        assert_eq!(stone.text(), "Born: 2026-11-21T06:41:22.500000000Z\nIncarnation: x1\n");
    }

    #[test]
    fn reports_the_position_of_errors() {
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
        fn round_trips(
            times in prop::array::uniform3(prop::option::of(0i64..4_000_000_000)),
            exit_code in prop::option::of(any::<i32>()),
            reason in prop::option::of(any::<String>()),
            mourns in prop::collection::btree_set((any::<String>(), any::<String>()), 0..3),
            locked in any::<bool>(),
        ) {
            let time = |second: Option<i64>| second.and_then(|s| Timestamp::from_second(s).ok());
            // A single incarnation of each name.
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
        fn accepts_any_text_without_panic(text in any::<String>()) {
            let _ = Tombstone::parse(&text);
        }
    }
}
