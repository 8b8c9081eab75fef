//! The decisions of sexton, without clocks, files or system calls.
//!
//! [`Pod`] is a state machine: [`Event`]s go in, each with its time, and [`Effect`]s come out, in order. The caller
//! (the driver) carries out the effects and reports their results as further events; a failed effect is an event too.
//! Between events the driver sleeps until [`Pod::deadline`].
//!
//! ```text
//!            Event, now                    Effect
//! driver ───────────────► Pod::step ───────────────► driver
//!    ▲                        │
//!    └── sleeps until ── Pod::deadline
//! ```
//!
//! It is deterministic: the same [`Plan`], the same seed and the same events at the same times give the same effects. A
//! journal of events is therefore a complete record of a run, and can be replayed as a test.
//!
//! * [`plan`], [`condition`]: the input settings; validated and complete
//! * [`event`], [`effect`], [`job_event`], [`cause`]: input, output, and their texts
//! * [`pod`]: all jobs together: start order, shutdown, reload, linger
//! * [`job`]: the lifecycle of one process; its page draws the phases
//! * [`probe`]: schedule and thresholds of probes
//! * [`dependencies`]: the dependency graph of the jobs
//! * [`peer`]: other containers of the pod and their tombstones
//! * [`backoff`]: back-off delays and restart limits
//! * [`snapshot`]: the state for status queries
//! * [`process_watch`]: processes that were started by others
//! * [`automaton`]: a state machine of scripts, independent of the rest

#![forbid(unsafe_code)]

pub mod automaton;
pub mod backoff;
pub mod cause;
pub mod condition;
pub mod dependencies;
pub mod effect;
pub mod event;
pub mod exit;
pub mod glob;
pub mod ids;
pub mod job;
pub mod job_event;
pub mod lease;
pub mod peer;
pub mod plan;
pub mod pod;
pub mod probe;
pub mod process_watch;
pub mod rng;
pub mod signal;
pub mod snapshot;
pub mod time;

pub use cause::{Cause, SpawnError, SpawnErrorKind, TerminalReason};
pub use condition::Condition;
pub use effect::{Effect, Outcome, Refusal, SignalScope};
pub use event::{Event, NotifyMessage, Request};
pub use exit::Exit;
pub use ids::{AttemptId, JobId, RequestId, RunId};
pub use job_event::{JobEvent, JobEventKind};
pub use peer::{
    Death, DependencyTerm, Expression, LifecycleRecord, PeerExit, PeerStatus, StartDependency, TimeoutAction,
};
pub use plan::{
    CodeMap, DurationRange, ExitRule, HookKind, JobPlan, KillMode, Need, Plan, PodSettings, Policy,
    PostStart, ProbePlan, Probes, Restart, RestartDelay, RestartLimit, RestartRule, StartLimitAction,
};
pub use pod::Pod;
pub use probe::{ProbeKind, ProbeResult};
pub use signal::Signal;
pub use snapshot::{JobPhase, JobSnapshot, PodPhase, Snapshot};
pub use time::Time;
