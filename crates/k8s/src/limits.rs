//! How long we wait, how often we ask, how much we read.

use std::time::Duration;

/// The limits of a [`Client`](crate::Client) and its watches. The defaults are for clusters; tests have less
/// patience.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Until there is a connection, TLS included.
    pub connect: Duration,
    /// From a request until the head of its answer.
    pub head: Duration,
    /// From the head of an answer to its end, for all but a watch.
    pub body: Duration,
    /// How long a watch is asked for: this, or up to a quarter more so that a fleet does not come back together.
    pub watch: Duration,
    /// A watch that is silent for so much longer than it was asked for is given up.
    pub silence: Duration,
    /// The most bytes of an answer.
    pub most_answer: usize,
    /// The most bytes of an event of a watch.
    pub most_line: usize,
    /// The pauses of a watch.
    pub pace: Pace,
}

/// The pauses of a watch.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The shortest pause after a failure.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
    /// A watch that has stood for so long was a good one, even if nothing happened in it.
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
            most_answer: 16 << 20,
            most_line: 4 << 20,
            pace: Pace::default(),
        }
    }
}

impl Default for Pace {
    /// As client-go has it.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(800),
            longest: Duration::from_secs(30),
            stood: Duration::from_secs(1),
        }
    }
}
