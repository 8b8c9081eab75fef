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
//! * [`automaton`]: a state machine of scripts, beside all that
//! * [`plan`]: what the machine is asked to do; validated, complete, no defaults left to guess
//! * [`pod`]: all processes together: begin, stop, linger, end
//! * [`job`]: the life of one process; its module page draws the phases
//! * [`running`]: what is known of a process that is there: started, ready, probes, hooks
//! * [`probe`]: what the answers to probes amount to
//! * [`dependencies`]: who needs whom
//! * [`peer`]: processes of others, and what they are told of ours
//! * [`backoff`]: how long to pause before a restart, and when to give up
//! * [`process_watch`]: who is there, for processes that somebody else started
//! * [`snapshot`]: what others may see

pub mod automaton;
pub mod backoff;
pub mod dependencies;
pub mod event;
pub mod exit;
pub mod glob;
pub mod job;
pub mod lease;
pub mod peer;
pub mod plan;
pub mod pod;
pub mod probe;
pub mod process_watch;
pub mod rng;
pub mod running;
pub mod signal;
pub mod snapshot;
pub mod time;

pub use event::{
    Cause, Effect, Event, HookKind, JobEvent, JobEventKind, NotifyMessage, Outcome, Refusal, Request,
    SignalScope, SpawnError, SpawnErrorKind,
};
pub use exit::Exit;
pub use peer::{
    Death, DependencyTerm, Expression, LifecycleRecord, PeerExit, PeerStatus, StartDependency, TimeoutAction,
};
pub use plan::{
    CodeMap, Condition, DurationRange, ExitRule, JobPlan, Need, Plan, PodSettings, Policy, PostStart,
    ProbePlan, Probes, Restart, RestartDelay, RestartLimit, RestartRule, StartLimitAction,
};
pub use pod::Pod;
pub use probe::{ProbeKind, ProbeResult};
pub use signal::Signal;
pub use snapshot::{JobPhase, JobSnapshot, PodPhase, Snapshot};
pub use time::Time;

use serde::{Deserialize, Serialize};

/// Which process of the plan: its place in [`Plan::jobs`], and after a reload the place that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub usize);

/// One attempt at running a process. Numbers rise and are never used twice in the life of a [`Pod`], so
/// that a late report about an earlier attempt can be told from one about the present attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

/// One attempt at something that is done for a run: a probe or a hook. Never used twice either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptId(pub u64);

/// One request, named by whoever hands it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);
