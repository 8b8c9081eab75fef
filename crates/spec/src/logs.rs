//! The plan of a process's output.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// The end of the time for a shutdown that is reserved for the reader of the output: half of the time, if it is shorter
/// than twice this.
pub const OUTPUT_RESERVE: Duration = Duration::from_secs(5);

/// The format of log records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// key=value; a line that is itself logfmt or JSON keeps its level and message
    Logfmt,
    /// The same as JSON
    Json,
    /// As logfmt, with the level detected from the text of each line
    Auto,
    /// Time, name and line, with colours on a terminal
    Pretty,
    /// Unchanged
    Raw,
    /// Discarded
    None,
}

/// What happens to output that is written faster than it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFull {
    /// The process waits in its writes, as with a plain pipe; nothing is lost
    #[default]
    Block,
    /// Lines are dropped, and their number is reported
    Drop,
}

impl OnFull {
    /// The value with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "block" => Some(Self::Block),
            "drop" => Some(Self::Drop),
            _ => None,
        }
    }
}

/// How the output of a process is passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlan {
    pub format: LogFormat,
    pub on_full: OnFull,
    /// Added to each record.
    pub labels: BTreeMap<String, String>,
}

/// The destinations of a process's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputPlan {
    pub stdout: StreamPlan,
    pub stderr: StreamPlan,
}

/// The destination of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamPlan {
    /// Inherited from the supervisor, unchanged.
    Inherit,
    /// Discarded.
    Discard,
    /// Captured and written as log records.
    Records,
}

impl OutputPlan {
    /// Discards both streams.
    #[must_use]
    pub const fn discard() -> Self {
        Self { stdout: StreamPlan::Discard, stderr: StreamPlan::Discard }
    }
}
