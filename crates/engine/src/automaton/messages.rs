//! Input and output of an automaton.

use super::spec::StateId;
use crate::{RequestId, RunId, Signal, Time};

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The driver is ready. The first event.
    Started,
    /// The [deadline](super::Automaton::deadline) has passed. Harmless at any other time.
    TimerFired,
    /// A client request; exactly one [`Effect::Respond`] follows.
    Requested(RequestId, Request),
    /// The script of this run exited with this code (in the form of a shell), or could not be started.
    ScriptExited(RunId, i32),
    /// A shutdown was requested.
    StopRequested {
        /// If the automaton is shutting down already, the script is stopped without waiting any longer.
        now: bool,
    },
}

/// A request of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Query the current state.
    State,
    /// Enter another state.
    Goto {
        tag: String,
        /// Passed to its script.
        input: Vec<u8>,
        /// Respond only when its script has exited.
        wait: bool,
    },
    /// Set a variable for all scripts from now on.
    Set { key: String, value: Vec<u8> },
    /// Shut down.
    Die,
}

/// The response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// Done, or the transition has begun.
    Ok,
    /// Not allowed, or cancelled.
    No,
    /// The script failed with this code.
    Failed(i32),
    /// The current state.
    Tag(String),
}

/// Something to be done, in the given order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Run the script of a state; report [`Event::ScriptExited`].
    Run {
        run: RunId,
        state: StateId,
        /// Passed to the script.
        input: Vec<u8>,
    },
    /// Send a signal to the process group of a run.
    Signal(RunId, Signal),
    Respond(RequestId, Response),
    /// A state was entered.
    Entered(Transition),
    /// The script of the current state exited.
    ScriptExited {
        state: StateId,
        code: i32,
        timed_out: bool,
    },
    /// Exit with this code. The last effect.
    End(i32),
}

/// A transition that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Counts from 1.
    pub number: u64,
    pub at: Time,
    /// None: before the initial state.
    pub from: Option<StateId>,
    pub to: StateId,
    /// The beginning of the input of its script.
    pub input: Vec<u8>,
    /// The exit code of its script, if it has exited.
    pub code: Option<i32>,
}
