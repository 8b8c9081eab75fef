//! How a process ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Signal;

/// The end of a process: its own code, or the signal that ended it. The two are kept apart; only
/// [`Exit::shell_code`] mixes them, as a shell does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exit {
    /// It ended by itself with this code (0–255).
    Code(i32),
    /// A signal ended it.
    Signal(Signal),
}

impl Exit {
    /// What a shell shows as `$?`: the code, or 128 + the signal's number.
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
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}
