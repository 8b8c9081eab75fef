//! What a master that wants to lead does, step by step. Pure: what has happened comes in, what is to be done goes out.
//!
//! ```text
//!              won               loaded             damper over            forgotten          ended well
//! campaigning ─────► leads: Load ───────► [ idle ] ─────────────► Forget ───────────► Start ──────────────► Save
//!      ▲                                     ▲                       │ failed           │ failed             │ saved
//!      │  Resign, when nothing of it is left │◄──────────────────────┴──────────────────┴────────────────────┘
//!      └────────────────────────────────── lost: Kill
//! ```
//!
//! * Before a run the store forgets what was seen: if we are gone before it has ended, another runs it anew.
//! * Both writes are refused unless we still lead.
//! * Nobody else may lead before nothing of our run is left.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::callbacks::{self, Callbacks, Run, Times};
use crate::state::State;

/// A time of leadership, or of wanting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(pub u64);

/// Names, and what each has told.
pub type List = Vec<(String, Arc<str>)>;

/// The list at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its digest.
    pub digest: Arc<str>,
    /// Who is in it.
    pub list: List,
    /// The same as JSON.
    pub pods: String,
}

/// What a run is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The number of the leader.
    pub fence: u64,
    /// The list.
    pub seen: Arc<Seen>,
    /// The list that the last run of ours saw that ended well.
    pub before: Arc<List>,
    /// What the last run printed.
    pub state: Value,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Read what is kept, once the list is known: [`Leader::loaded`].
    Load(Term),
    /// Write this before a run: [`Leader::forgotten`].
    Forget(Run, State),
    /// Start the callback: [`Leader::ended`] when nothing of it is left.
    Start(Run, Told),
    /// End what was started, at once: [`Leader::ended`] when nothing of it is left.
    Kill(Run),
    /// Write this after a run: [`Leader::saved`].
    Save(Run, State),
    /// Nothing of this term is left: want the next.
    Over(Term),
}

#[derive(Debug, Clone)]
struct Held {
    term: Term,
    fence: u64,
    lost: bool,
}

#[derive(Debug, Clone)]
enum Phase {
    Forgets,
    Runs,
    Saves,
}

#[derive(Debug, Clone)]
struct Under {
    run: Run,
    phase: Phase,
    seen: Arc<Seen>,
}

/// A master that wants to lead.
#[derive(Debug, Clone)]
pub struct Leader {
    callbacks: Callbacks,
    held: Option<Held>,
    /// What is kept, as we know it.
    state: State,
    under: Option<Under>,
    last: Arc<List>,
}

impl Leader {
    /// It does not lead yet.
    #[must_use]
    pub fn new(times: Times) -> Self {
        let state = State::default();
        Self { callbacks: Callbacks::new(times), held: None, state, under: None, last: Arc::default() }
    }

    /// When to call [`woke`](Self::woke).
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.callbacks.deadline().filter(|_| self.under.is_none())
    }

    /// What the last run printed, as far as we know.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The number by which we lead.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        self.held.as_ref().filter(|held| !held.lost).map(|held| held.fence)
    }

    /// The list has changed.
    pub fn changed(&mut self, now: Duration) {
        self.callbacks.changed(now);
    }

    /// We lead.
    pub fn won(&mut self, term: Term, fence: u64) -> Effect {
        self.held = Some(Held { term, fence, lost: false });
        Effect::Load(term)
    }

    /// The list is known, and this is kept.
    pub fn loaded(&mut self, term: Term, state: State, now: Duration) {
        if self.held.as_ref().is_some_and(|held| held.term == term && !held.lost) {
            self.callbacks.won(state.digest.as_deref().map(Into::into), now);
            self.state = state;
        }
    }

    /// We do not lead any more.
    pub fn lost(&mut self, term: Term) -> Option<Effect> {
        let held = self.held.as_mut().filter(|held| held.term == term)?;
        held.lost = true;
        // What it decided is overtaken: it ends what is under way.
        let _ = self.callbacks.lost();
        match &self.under {
            Some(Under { run, phase: Phase::Runs, .. }) => Some(Effect::Kill(*run)),
            _ => self.over(),
        }
    }

    /// Nothing of what was started is left: a term that was lost is over.
    fn over(&mut self) -> Option<Effect> {
        let held = self.held.take_if(|held| held.lost)?;
        // What is still being written is refused, or was written while we led.
        self.under = None;
        Some(Effect::Over(held.term))
    }

    /// Time has passed: the digest of the list is looked at, and the list itself if a run is to see it.
    pub fn woke(
        &mut self,
        now: Duration,
        digest: impl FnOnce() -> Arc<str>,
        seen: impl FnOnce(Arc<str>) -> Seen,
    ) -> Option<Effect> {
        let fence = self.fence()?;
        if self.under.is_some() {
            return None;
        }
        let callbacks::Effect::Start(run, digest) = self.callbacks.woke(now, digest)? else { return None };
        let seen = Arc::new(seen(digest));
        self.under = Some(Under { run, phase: Phase::Forgets, seen });
        Some(Effect::Forget(run, State { digest: None, fence, ..self.state.clone() }))
    }

    /// That was written, or not.
    pub fn forgotten(&mut self, run: Run, well: bool, now: Duration) -> Option<Effect> {
        let fence = self.fence()?;
        let under = self.under.as_mut().filter(|under| under.run == run)?;
        if !well {
            return self.failed(run, now);
        }
        under.phase = Phase::Runs;
        (self.state.digest, self.state.fence) = (None, fence);
        let told = Told {
            fence,
            seen: Arc::clone(&under.seen),
            before: Arc::clone(&self.last),
            state: self.state.state.clone(),
        };
        Some(Effect::Start(run, told))
    }

    /// Nothing of a run is left. Well: with what it has printed as the next state.
    pub fn ended(&mut self, run: Run, well: Option<Value>, now: Duration) -> Option<Effect> {
        let fence = self.fence();
        let under = self.under.as_mut().filter(|under| under.run == run)?;
        match (well, fence) {
            (Some(state), Some(fence)) => {
                under.phase = Phase::Saves;
                self.last = Arc::new(under.seen.list.clone());
                let digest = Some(under.seen.digest.to_string());
                Some(Effect::Save(run, State { state, digest, fence }))
            }
            (_, None) => {
                self.under = None;
                self.over()
            }
            (None, Some(_)) => self.failed(run, now),
        }
    }

    /// That was written, as this, or not.
    pub fn saved(&mut self, run: Run, written: Option<State>, now: Duration) -> Option<Effect> {
        if self.under.as_ref().is_none_or(|under| under.run != run) {
            return None;
        }
        match written {
            Some(state) => {
                self.state = state;
                self.under = None;
                self.callbacks.ended(run, true, now);
                None
            }
            None => self.failed(run, now),
        }
    }

    fn failed(&mut self, run: Run, now: Duration) -> Option<Effect> {
        self.under = None;
        self.callbacks.ended(run, false, now);
        None
    }
}
