//! The output of processes: captured, formatted as records, buffered.
//!
//! ```text
//! pipe ─► output ─► lines ─► record ─► sink ─► standard output
//!            └────► recent ─► `sexton logs`, the termination report
//! ```
//!
//! * [`lines`]: splits bytes into lines, and long lines into parts
//! * [`severity`]: the severity of a line, from its text
//! * [`structured`]: lines that are themselves logfmt or JSON
//! * [`record`]: formats a line as a record
//! * [`rotating`]: a rotated log file
//! * [`buffer`]: a buffer of recent output, and its followers

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

/// An output stream of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The stable label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}
