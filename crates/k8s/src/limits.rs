//! Limits of time and size, and back-off.

use std::time::Duration;

/// Limits of a [`Client`](crate::Client) and its watches. The defaults are for clusters; tests use shorter ones.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Time limit for a connection, including TLS.
    pub connect: Duration,
    /// Time limit from a request to the head of its response.
    pub head: Duration,
    /// Time limit from the head of a response to its end, except for watches.
    pub body: Duration,
    /// Requested duration of a watch; up to a quarter is added, so that many clients do not reconnect at once.
    pub watch: Duration,
    /// Time after the requested duration after which a silent watch is abandoned.
    pub silence: Duration,
    /// Maximum size of a response, in bytes.
    pub max_response: usize,
    /// Maximum size of an event of a watch, in bytes.
    pub max_line: usize,
    pub pace: Pace,
}

/// Back-off of a watch.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Minimum pause after a failure.
    pub first: Duration,
    /// Maximum pause after failures.
    pub longest: Duration,
    /// Time after which an open watch counts as working, even without an event.
    pub stood: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            head: Duration::from_secs(30),
            body: Duration::from_secs(60),
            watch: Duration::from_secs(240),
            silence: Duration::from_secs(30),
            max_response: 16 << 20,
            max_line: 4 << 20,
            pace: Pace::default(),
        }
    }
}

impl Default for Pace {
    /// Returns the values of client-go.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(800),
            longest: Duration::from_secs(30),
            stood: Duration::from_secs(1),
        }
    }
}
