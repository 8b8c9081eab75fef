//! State machine of a master that campaigns and leads. Pure: events come in, effects go out.
//!
//! ```text
//!              won               loaded            damper elapsed       digest cleared         succeeded
//! campaigning ─────► leads: Load ───────► [ idle ] ───────────► ClearDigest ────────► Start ──────────────► Save
//!      ▲                                     ▲                       │ failed           │ failed             │ saved
//!      │  TermEnded, once the run is gone    │◄──────────────────────┴──────────────────┴────────────────────┘
//!      └────────────────────────────────── lost: Kill
//! ```
//!
//! * The stored digest is cleared before a run: if this master dies during it, the next leader runs the callback again.
//! * The store refuses both writes unless this master still leads.
//! * The leadership is kept until no process of the run is left.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::callbacks::{self, Callbacks, Run, Times};
use crate::state::State;

/// Number of a period of campaigning and leading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(pub u64);

/// Names of members, each with its JSON.
pub type List = Vec<(String, Arc<str>)>;

/// A snapshot of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSnapshot {
    pub digest: Arc<str>,
    pub list: List,
    /// The list as JSON.
    pub pods: String,
}

/// The input of a callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackInput {
    /// The fencing token of the leadership.
    pub fence: u64,
    pub seen: Arc<ListSnapshot>,
    /// The list that the last successful run of this master saw.
    pub before: Arc<List>,
    /// What the last run printed.
    pub state: Value,
}

/// What the caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Read the stored state once the list is complete, then call [`Leader::loaded`].
    Load(Term),
    /// Write this state, which has no digest, before a run, then call [`Leader::digest_cleared`].
    ClearDigest(Run, State),
    /// Start the callback; call [`Leader::ended`] when no process of it is left.
    Start(Run, CallbackInput),
    /// Kill the run at once; call [`Leader::ended`] when no process of it is left.
    Kill(Run),
    /// Write this state after a run, then call [`Leader::saved`].
    Save(Run, State),
    /// The term is complete: resign and campaign again.
    TermEnded(Term),
}

#[derive(Debug, Clone)]
struct Leadership {
    term: Term,
    fence: u64,
    lost: bool,
}

#[derive(Debug, Clone)]
enum Phase {
    ClearingDigest,
    Running,
    Saving,
}

#[derive(Debug, Clone)]
struct InFlight {
    run: Run,
    phase: Phase,
    seen: Arc<ListSnapshot>,
}

/// A master that campaigns and leads.
#[derive(Debug, Clone)]
pub struct Leader {
    callbacks: Callbacks,
    held: Option<Leadership>,
    /// The stored state, as far as this master knows.
    state: State,
    in_flight: Option<InFlight>,
    last: Arc<List>,
}

impl Leader {
    /// Creates a master that does not lead.
    #[must_use]
    pub fn new(times: Times) -> Self {
        let state = State::default();
        Self { callbacks: Callbacks::new(times), held: None, state, in_flight: None, last: Arc::default() }
    }

    /// Returns when to call [`tick`](Self::tick).
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.callbacks.deadline().filter(|_| self.in_flight.is_none())
    }

    /// Returns the stored state, as far as this master knows.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Returns the fencing token of the current leadership.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        self.held.as_ref().filter(|held| !held.lost).map(|held| held.fence)
    }

    /// Notes a change of the list.
    pub fn changed(&mut self, now: Duration) {
        self.callbacks.changed(now);
    }

    /// Handles the start of a leadership.
    pub fn won(&mut self, term: Term, fence: u64) -> Effect {
        self.held = Some(Leadership { term, fence, lost: false });
        Effect::Load(term)
    }

    /// Handles the stored state; the list is complete.
    pub fn loaded(&mut self, term: Term, state: State, now: Duration) {
        if self.held.as_ref().is_some_and(|held| held.term == term && !held.lost) {
            self.callbacks.won(state.digest.as_deref().map(Into::into), now);
            self.state = state;
        }
    }

    /// Handles the loss of the leadership.
    pub fn lost(&mut self, term: Term) -> Option<Effect> {
        let held = self.held.as_mut().filter(|held| held.term == term)?;
        held.lost = true;
        // The run in flight decides what to do, not this effect.
        let _ = self.callbacks.lost();
        match &self.in_flight {
            Some(InFlight { run, phase: Phase::Running, .. }) => Some(Effect::Kill(*run)),
            _ => self.end_lost_term(),
        }
    }

    /// Ends a lost term; no process of a run is left.
    fn end_lost_term(&mut self) -> Option<Effect> {
        let held = self.held.take_if(|held| held.lost)?;
        // A write in progress is refused by the store, or was done during the leadership.
        self.in_flight = None;
        Some(Effect::TermEnded(held.term))
    }

    /// Handles the deadline: compares the digest, and takes a snapshot of the list if a run is due.
    pub fn tick(
        &mut self,
        now: Duration,
        digest: impl FnOnce() -> Arc<str>,
        seen: impl FnOnce(Arc<str>) -> ListSnapshot,
    ) -> Option<Effect> {
        let fence = self.fence()?;
        if self.in_flight.is_some() {
            return None;
        }
        let callbacks::Effect::Start(run, digest) = self.callbacks.tick(now, digest)? else { return None };
        let seen = Arc::new(seen(digest));
        self.in_flight = Some(InFlight { run, phase: Phase::ClearingDigest, seen });
        Some(Effect::ClearDigest(run, State { digest: None, fence, ..self.state.clone() }))
    }

    /// Handles the result of [`Effect::ClearDigest`].
    pub fn digest_cleared(&mut self, run: Run, success: bool, now: Duration) -> Option<Effect> {
        let fence = self.fence()?;
        let in_flight = self.in_flight.as_mut().filter(|in_flight| in_flight.run == run)?;
        if !success {
            return self.failed(run, now);
        }
        in_flight.phase = Phase::Running;
        (self.state.digest, self.state.fence) = (None, fence);
        let input = CallbackInput {
            fence,
            seen: Arc::clone(&in_flight.seen),
            before: Arc::clone(&self.last),
            state: self.state.state.clone(),
        };
        Some(Effect::Start(run, input))
    }

    /// Handles the end of a run, of which no process is left; with the next state if it succeeded.
    pub fn ended(&mut self, run: Run, next_state: Option<Value>, now: Duration) -> Option<Effect> {
        let fence = self.fence();
        let in_flight = self.in_flight.as_mut().filter(|in_flight| in_flight.run == run)?;
        match (next_state, fence) {
            (Some(state), Some(fence)) => {
                in_flight.phase = Phase::Saving;
                self.last = Arc::new(in_flight.seen.list.clone());
                let digest = Some(in_flight.seen.digest.to_string());
                Some(Effect::Save(run, State { state, digest, fence }))
            }
            (_, None) => {
                self.in_flight = None;
                self.end_lost_term()
            }
            (None, Some(_)) => self.failed(run, now),
        }
    }

    /// Handles the result of [`Effect::Save`]: the state as written, or `None` if it failed.
    pub fn saved(&mut self, run: Run, written: Option<State>, now: Duration) -> Option<Effect> {
        if self.in_flight.as_ref().is_none_or(|in_flight| in_flight.run != run) {
            return None;
        }
        match written {
            Some(state) => {
                self.state = state;
                self.in_flight = None;
                self.callbacks.ended(run, true, now);
                None
            }
            None => self.failed(run, now),
        }
    }

    fn failed(&mut self, run: Run, now: Duration) -> Option<Effect> {
        self.in_flight = None;
        self.callbacks.ended(run, false, now);
        None
    }
}
