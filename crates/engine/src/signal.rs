//! Signals by number and name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A signal by its Linux number (signal(7)), real-time signals included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signal(pub i32);

/// Numbers of x86, ARM and most others; see signal(7), "Signal numbering for standard signals".
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

impl Signal {
    /// Hang-up of the terminal.
    pub const HUP: Self = Self(1);
    /// Interrupt from the keyboard.
    pub const INT: Self = Self(2);
    /// Quit from the keyboard.
    pub const QUIT: Self = Self(3);
    /// Cannot be caught or ignored.
    pub const KILL: Self = Self(9);
    /// A write to a pipe without a reader.
    pub const PIPE: Self = Self(13);
    /// Request to terminate.
    pub const TERM: Self = Self(15);
    /// A child exited or was stopped or resumed.
    pub const CHLD: Self = Self(17);
    /// Resume after a stop.
    pub const CONT: Self = Self(18);
    /// Stop, from the keyboard.
    pub const TSTP: Self = Self(20);
    /// A read from the terminal by a background job.
    pub const TTIN: Self = Self(21);
    /// A write to the terminal by a background job.
    pub const TTOU: Self = Self(22);
    /// Urgent data on a socket.
    pub const URG: Self = Self(23);
    /// The highest real-time signal of Linux.
    pub const MAX: i32 = 64;
    /// The first real-time signal for programs (32 and 33 belong to the C library).
    const RTMIN: i32 = 34;
}

impl Signal {
    /// Whether it requests termination by convention: SIGHUP, SIGINT, SIGQUIT, SIGTERM.
    #[must_use]
    pub const fn ends_a_program(self) -> bool {
        matches!(self, Self::HUP | Self::INT | Self::QUIT | Self::TERM)
    }

    /// Whether it is a job-control signal that a program may catch; by default it suspends the program.
    #[must_use]
    pub const fn suspends(self) -> bool {
        matches!(self, Self::TSTP | Self::TTIN | Self::TTOU)
    }

    /// The name with its prefix, for people: `SIGTERM`, `SIGRTMIN+3`. The plain `Display` is the stable word `TERM`.
    pub fn long_name(self) -> impl fmt::Display {
        struct LongName(Signal);

        impl fmt::Display for LongName {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text = self.0.to_string();
                let prefix = if text.starts_with(|c: char| c.is_ascii_alphabetic()) { "SIG" } else { "" };
                write!(f, "{prefix}{text}")
            }
        }

        LongName(self)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = usize::try_from(self.0 - 1).unwrap_or(usize::MAX);
        match NAMES.get(index) {
            Some(name) => f.write_str(name),
            None if self.0 >= Self::RTMIN && self.0 <= Self::MAX => {
                write!(f, "RTMIN+{}", self.0 - Self::RTMIN)
            }
            None => write!(f, "{}", self.0),
        }
    }
}

/// The text is not the name or number of a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSignal(String);

impl fmt::Display for UnknownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not a signal: expected a name such as TERM, SIGTERM or RTMIN+3, or a number 1-64",
            self.0
        )
    }
}

impl std::error::Error for UnknownSignal {}

impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        let unknown = || UnknownSignal(text.to_owned());
        if let Ok(number) = text.parse::<i32>() {
            return if (1..=Self::MAX).contains(&number) { Ok(Self(number)) } else { Err(unknown()) };
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(rest) = name.strip_prefix("RTMIN") {
            let offset = if rest.is_empty() { "0" } else { rest.strip_prefix('+').ok_or_else(unknown)? };
            let number = Self::RTMIN.saturating_add(offset.parse::<u8>().map_err(|_| unknown())?.into());
            return if number <= Self::MAX { Ok(Self(number)) } else { Err(unknown()) };
        }
        let index = NAMES.iter().position(|known| *known == name).ok_or_else(unknown)?;
        i32::try_from(index + 1).map(Self).map_err(|_| unknown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_a_name_that_parses_back() {
        for number in (1..=31).chain(34..=64) {
            let signal = Signal(number);
            assert_eq!(signal.to_string().parse(), Ok(signal));
            assert_eq!(format!("sig{signal}").parse(), Ok(signal));
            assert_eq!(signal.long_name().to_string().parse(), Ok(signal));
            assert_eq!(number.to_string().parse(), Ok(signal));
        }
    }

    #[test]
    fn rejects_texts_that_are_not_signals() {
        for text in ["", "0", "65", "-1", "TERMINATE", "RTMIN+31", "RTMIN-1", "SIG", "RTMINx"] {
            assert!(text.parse::<Signal>().is_err(), "{text:?}");
        }
    }
}
