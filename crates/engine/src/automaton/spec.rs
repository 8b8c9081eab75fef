//! The definition of a state machine.

use std::time::Duration;

use crate::glob;

/// The states and their transitions; complete and validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateMachineSpec {
    pub initial: StateId,
    pub terminal: StateId,
    pub states: Vec<State>,
    /// How long a script may take to exit on its own when its state is left, until SIGTERM.
    pub exit_timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
}

/// A state: its index in [`StateMachineSpec::states`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateId(pub usize);

/// The definition of a state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The name.
    pub tag: String,
    pub has_script: bool,
    /// A transition waits for the script without a time limit.
    pub force: bool,
    /// Patterns of the states that may follow; empty: only the terminal state.
    pub next: Vec<String>,
    /// Time limit of the script, after which it is stopped and has failed.
    pub timeout: Option<Duration>,
    /// The state to enter when the script fails.
    pub on_failure: Option<StateId>,
}

impl StateMachineSpec {
    /// Returns the state of this name.
    #[must_use]
    pub fn find(&self, tag: &str) -> Option<StateId> {
        self.states.iter().position(|state| state.tag == tag).map(StateId)
    }

    /// Whether the transition is allowed. `from` is None before the initial state.
    #[must_use]
    pub fn allows(&self, from: Option<StateId>, to: StateId) -> bool {
        match from {
            _ if to == self.terminal => from != Some(self.terminal),
            None => to == self.initial,
            Some(from) if from == self.terminal => false,
            Some(from) => {
                self.states[from.0].next.iter().any(|next| glob::matches(next, &self.states[to.0].tag))
            }
        }
    }
}
