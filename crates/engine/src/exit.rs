//! The exit status of a process.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Signal;

/// The exit status of a process: its exit code, or the signal that terminated it. Only [`Exit::shell_code`] merges the
/// two, as a shell does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exit {
    /// It exited with this code (0–255).
    Code(i32),
    /// A signal terminated it.
    Signal(Signal),
}

impl Exit {
    /// The value of `$?` in a shell: the code, or 128 + the signal number.
    #[must_use]
    pub const fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal.0,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "code {code}"),
            Self::Signal(signal) => write!(f, "signal {}", signal.long_name()),
        }
    }
}
