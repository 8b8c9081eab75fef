//! The plan of a process's output.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// The form of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// key=value; a line that is itself logfmt or JSON keeps its level and message
    Logfmt,
    /// The same as JSON
    Json,
    /// As logfmt, and the level of any line is found in its words
    Auto,
    /// Time, name and line, with colours on a terminal
    Pretty,
    /// Untouched
    Raw,
    /// Thrown away
    None,
}

/// How the output of a process is passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlan {
    /// The form of the records.
    pub format: LogFormat,
    /// Added to each.
    pub labels: BTreeMap<String, String>,
}

/// What becomes of the output of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputPlan {
    /// Of its standard output.
    pub stdout: StreamPlan,
    /// Of its standard error.
    pub stderr: StreamPlan,
}

/// What becomes of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamPlan {
    /// It goes where ours goes, untouched.
    Inherit,
    /// It goes nowhere.
    Discard,
    /// It becomes log records.
    Records,
}

impl OutputPlan {
    /// Nothing is passed on.
    #[must_use]
    pub const fn discard() -> Self {
        Self { stdout: StreamPlan::Discard, stderr: StreamPlan::Discard }
    }
}
