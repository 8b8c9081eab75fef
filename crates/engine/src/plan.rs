//! What the machine is asked to do: complete and validated, with nothing left to guess.
//!
//! The configuration (command line, environment, files) resolves into a [`Plan`]. How a process is
//! started (its arguments, environment, streams) is the driver's matter and not in here: the engine knows
//! a process by its place in [`Plan::jobs`] alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Signal;

/// All processes that live and die together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The processes, in no particular order.
    pub jobs: Vec<JobPlan>,
    /// The signals that ask us to end everything. Any other is handed on to the processes.
    pub stop_on: Vec<Signal>,
    /// How long to stay after the last process has ended by itself, so that its end can be read.
    pub linger: Duration,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPlan {
    /// What people call it.
    pub name: String,
    /// What happens when it has ended.
    pub restart: Restart,
    /// How long it may live; drawn anew at each start. None: as long as it likes.
    pub ttl: Option<Span>,
    /// The signal that asks it to end.
    pub stop_signal: Signal,
    /// From the stop signal to KILL.
    pub grace: Duration,
    /// From KILL until a process that even KILL does not end (one in uninterruptible sleep) is given up.
    pub abandon_after: Duration,
    /// It is the foreground process of a terminal, whose keys reach it and not us: an end by INT or QUIT
    /// that nobody sent through us is somebody's wish to end, not a fault to be mended by a restart.
    pub terminal: bool,
}

/// What happens when a process has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Restart {
    /// Nothing: it ran once.
    Never,
    /// It is started again.
    Always {
        /// How long to pause before.
        pause: Pause,
        /// When to give up; None: never.
        limit: Option<RestartLimit>,
    },
}

/// How long to pause before a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pause {
    /// Always as long.
    Fixed(Duration),
    /// Doubling from the first to the last of `span`, a fifth more or less by chance.
    Growing {
        /// The first pause and the longest.
        span: Span,
        /// A run that lasted so long was a good one: the next pause is the first again.
        reset_after: Duration,
    },
}

/// More than `restarts` within `window`: give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartLimit {
    /// How many restarts are allowed within the window.
    pub restarts: u32,
    /// How far to look back.
    pub window: Duration,
}

/// A duration between two others, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The shortest.
    pub from: Duration,
    /// The longest; not below `from`.
    pub to: Duration,
}

impl Span {
    /// The one duration, with nothing to choose.
    #[must_use]
    pub const fn exactly(duration: Duration) -> Self {
        Self { from: duration, to: duration }
    }

    /// The duration at `part` (0.0 to 1.0) of the way.
    #[must_use]
    pub fn at(self, part: f64) -> Duration {
        self.from + self.to.saturating_sub(self.from).mul_f64(part.clamp(0.0, 1.0))
    }
}
