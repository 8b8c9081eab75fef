//! The decisions of sexton, without clocks, files or system calls.
//!
//! [`Pod`] is a machine: facts go in as [`Event`]s, each with the time at which it happened, and what
//! is to be done comes out as [`Effect`]s, in order. The caller (the driver) carries the effects out and
//! returns what came of them as further events; an effect that fails is an event too. Between events the
//! driver sleeps until [`Pod::deadline`].
//!
//! ```text
//!            Event, now                    Effect
//! driver ───────────────► Pod::step ───────────────► driver
//!    ▲                        │
//!    └── sleeps until ── Pod::deadline
//! ```
//!
//! The promise of determinism: the same [`Plan`], the same seed and the same events at the same times
//! give the same effects. A journal of events is therefore a complete record of a run, and can be
//! replayed as a test.
//!
//! * [`plan`]: what the machine is asked to do; validated, complete, no defaults left to guess
//! * [`pod`]: all processes together: begin, stop, linger, end
//! * [`job`]: the life of one process; its module page draws the phases
//! * [`backoff`]: how long to pause before a restart, and when to give up
//! * [`roster`]: who is there, for processes that somebody else started
//! * [`snapshot`]: what others may see

pub mod backoff;
pub mod dice;
pub mod event;
pub mod exit;
pub mod job;
pub mod plan;
pub mod pod;
pub mod roster;
pub mod signal;
pub mod snapshot;
pub mod time;

pub use event::{Cause, Effect, Event, News, Reach, SpawnError, SpawnErrorKind, What};
pub use exit::Exit;
pub use plan::{JobPlan, Pause, Plan, Restart, RestartLimit, Span};
pub use pod::Pod;
pub use signal::Signal;
pub use snapshot::{JobPhase, JobSnapshot, PodPhase, Snapshot};
pub use time::Time;

use serde::{Deserialize, Serialize};

/// Which process of the plan: its place in [`Plan::jobs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub usize);

/// One attempt at running a process. Numbers rise and are never used twice in the life of a [`Pod`], so
/// that a late report about an earlier attempt can be told from one about the present attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);
