//! What processes write: captured, made into records, kept for a while.
//!
//! ```text
//! pipe ─► output ─► lines ─► record ─► sink ─► standard output
//!            └────► recent ─► `sexton logs`, the termination report
//! ```
//!
//! * [`lines`]: bytes in, lines out; long ones are split
//! * [`severity`]: how bad a line is, by its words
//! * [`structured`]: lines that are themselves logfmt or JSON
//! * [`record`]: a line as a record
//! * [`rotating`]: a log file that does not grow for ever
//! * [`buffer`]: the last of what was written, and those who follow

pub mod buffer;
pub mod capture;
pub mod line_writer;
pub mod lines;
pub mod logfmt;
pub mod own_log;
pub mod record;
pub mod rotating;
pub mod severity;
pub mod structured;

/// Where a process wrote something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl Stream {
    /// The stable word.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}
