//! A state machine of scripts: the script of a state runs when the state is entered.
//!
//! ```text
//!            GOTO, WAIT (allowed from here)      the script exits
//! Resting ────────────────────────────► (enter) ◄──────────────────── Leaving: SIGTERM after a second, then SIGKILL
//!    ▲                                     │                             ▲
//!    │ the script exits                    ▼                             │ GOTO, WAIT, DIE, shutdown
//!    └────────────────────────────────  Running ────────────────────────┘
//! ```
//!
//! * It starts in a hidden state, from which it enters the initial state.
//! * A transition begins when it is first in the queue and allowed from the current state: then the client gets its
//!   `OK`. The new state is entered when the script of the current state has exited. The next transition in the queue
//!   is checked against the new state.
//! * The script of a state that is left has a second to exit on its own, so that it can request the next state as its
//!   last action; then SIGTERM, then SIGKILL. `force` gives it unlimited time, except in a shutdown.
//! * A failure that leads to another state does so at once, the next ones in a row after a growing delay, so that there
//!   is no busy loop. Requests do not wait for that delay.
//! * The terminal state can be reached from every state and is never left. On the way to it no other transition begins;
//!   its script runs once, last, and to its end.
//! * Normal run: Started, Running, Resting, GOTO, Running …, DIE, the terminal script, End. Failing script: Running,
//!   ScriptExited with a code, `on_failure` or Resting.

mod messages;
mod spec;

pub use messages::{Effect, Event, Request, Response, Transition};
pub use spec::{State, StateId, StateMachineSpec};

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::{RequestId, RunId, Signal, Time};

/// The delay from the second consecutive failure on to the next state: the first and the maximum.
const FAILURE_DELAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// The number of transitions in the history.
const HISTORY: usize = 128;
/// The size of an input in the history, in bytes.
const HISTORY_INPUT: usize = 256;
/// The exit code for a timeout, as in timeout(1), for a script that exits with 0 after it timed out.
const TIMED_OUT: i32 = 124;

/// A requested transition.
#[derive(Debug, Clone)]
struct PendingTransition {
    to: StateId,
    input: Vec<u8>,
    /// The request that is answered when its script exits.
    waiter: Option<RequestId>,
}

/// A running script.
#[derive(Debug, Clone)]
struct Script {
    run: RunId,
    timeout_at: Option<Time>,
    waiter: Option<RequestId>,
    timed_out: bool,
    stop: StopProgress,
}

/// The progress of stopping a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopProgress {
    No,
    /// SIGTERM is sent at this time.
    Term(Time),
    /// SIGTERM was sent; SIGKILL is sent at this time.
    Kill(Time),
    /// SIGKILL was sent.
    Killed,
}

/// The state machine.
#[derive(Debug, Clone)]
pub struct Automaton {
    spec: StateMachineSpec,
    current: Option<StateId>,
    script: Option<Script>,
    /// The transition that has begun and waits for the script to exit.
    begun: Option<PendingTransition>,
    queue: VecDeque<(RequestId, String, Vec<u8>, bool)>,
    /// The transition after a failure, and when it begins.
    retry: Option<(Time, StateId)>,
    /// Consecutive failed scripts.
    failures: u32,
    variables: BTreeMap<String, Vec<u8>>,
    history: VecDeque<Transition>,
    /// On the way to the terminal state, or in it. A latch.
    ending: bool,
    ended: bool,
    entered: u64,
    next_run: u64,
}

impl Automaton {
    /// Returns an automaton that waits for [`Event::Started`]. Runs are numbered from `first_run` on.
    #[must_use]
    pub fn new(spec: StateMachineSpec, first_run: u64) -> Self {
        Self {
            spec,
            current: None,
            script: None,
            begun: None,
            queue: VecDeque::new(),
            retry: None,
            failures: 0,
            variables: BTreeMap::new(),
            history: VecDeque::new(),
            ending: false,
            ended: false,
            entered: 0,
            next_run: first_run,
        }
    }

    /// Handles an event and appends the resulting effects. Any event is valid at any time.
    pub fn step(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) {
        if self.ended {
            if let Event::Requested(request, _) = event {
                out.push(Effect::Respond(request, Response::No));
            }
            return;
        }
        match event {
            Event::Started => {
                if self.current.is_none() && self.begun.is_none() {
                    self.begin(
                        PendingTransition { to: self.spec.initial, input: Vec::new(), waiter: None },
                        now,
                    );
                }
            }
            Event::TimerFired => self.timer_fired(now, out),
            Event::Requested(request, action) => self.requested(request, action, now, out),
            Event::ScriptExited(run, code) => self.script_exited(run, code, now, out),
            Event::StopRequested { now: at_once } => self.stop_requested(at_once, now, out),
        }
        self.advance(now, out);
    }

    /// When to send [`Event::TimerFired`].
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let Some(script) = &self.script else { return self.retry.map(|(at, _)| at) };
        let stop = match script.stop {
            StopProgress::Term(at) | StopProgress::Kill(at) => Some(at),
            StopProgress::No | StopProgress::Killed => None,
        };
        script.timeout_at.into_iter().chain(stop).min()
    }

    /// The definition of the states.
    #[must_use]
    pub const fn spec(&self) -> &StateMachineSpec {
        &self.spec
    }

    /// The current state; None: before the initial state.
    #[must_use]
    pub const fn current(&self) -> Option<StateId> {
        self.current
    }

    /// The name of the current state; empty before the initial state.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.current.map_or("", |state| &self.spec.states[state.0].tag)
    }

    /// Whether a script is running.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.script.is_some()
    }

    /// Whether it is on the way to the terminal state, or in it.
    #[must_use]
    pub const fn is_ending(&self) -> bool {
        self.ending
    }

    /// The variables that were set.
    #[must_use]
    pub const fn variables(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.variables
    }

    /// The last transitions, oldest first.
    pub fn history(&self) -> impl Iterator<Item = &Transition> {
        self.history.iter()
    }

    // === events ===

    fn requested(&mut self, request: RequestId, action: Request, now: Time, out: &mut Vec<Effect>) {
        let response = match action {
            Request::State => Response::Tag(self.tag().to_owned()),
            Request::Set { key, value } => {
                self.variables.insert(key, value);
                Response::Ok
            }
            Request::Die => {
                self.stop_requested(false, now, out);
                Response::Ok
            }
            Request::Goto { tag, .. } if self.spec.find(&tag).is_none() => Response::No,
            Request::Goto { tag, input, wait } => {
                self.queue.push_back((request, tag, input, wait));
                return;
            }
        };
        out.push(Effect::Respond(request, response));
    }

    fn stop_requested(&mut self, at_once: bool, now: Time, out: &mut Vec<Effect>) {
        if !self.ending {
            // A transition that has begun and has not been entered is cancelled.
            if let Some(waiter) = self.begun.take().and_then(|pending| pending.waiter) {
                out.push(Effect::Respond(waiter, Response::No));
            }
            self.begin(PendingTransition { to: self.spec.terminal, input: Vec::new(), waiter: None }, now);
        } else if at_once && let Some(script) = &mut self.script {
            // A repeated request does not wait for the timeout.
            match script.stop {
                StopProgress::No | StopProgress::Term(_) => self.send_term(now, out),
                StopProgress::Kill(_) => self.send_kill(out),
                StopProgress::Killed => {}
            }
        }
    }

    /// Begins a transition: the current script has to exit.
    fn begin(&mut self, pending: PendingTransition, now: Time) {
        let forced = self.current.is_some_and(|state| self.spec.states[state.0].force);
        self.ending |= pending.to == self.spec.terminal;
        self.retry = None;
        if let Some(script) = &mut self.script
            && script.stop == StopProgress::No
        {
            script.stop = match (forced, self.ending) {
                (false, _) => StopProgress::Term(now + self.spec.exit_timeout),
                (true, false) => StopProgress::No,
                // A shutdown is not delayed without limit.
                (true, true) => StopProgress::Term(now + self.spec.exit_timeout + self.spec.grace),
            };
        }
        self.begun = Some(pending);
    }

    fn script_exited(&mut self, run: RunId, code: i32, now: Time, out: &mut Vec<Effect>) {
        let Some(script) = self.script.take_if(|script| script.run == run) else { return };
        let Some(state) = self.current else { return };
        if let Some(last) = self.history.back_mut() {
            last.code = Some(code);
        }
        let failed = code != 0 || script.timed_out;
        self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
        out.push(Effect::ScriptExited { state, code, timed_out: script.timed_out });
        if let Some(waiter) = script.waiter {
            let code = if script.timed_out && code == 0 { TIMED_OUT } else { code };
            out.push(Effect::Respond(waiter, if failed { Response::Failed(code) } else { Response::Ok }));
        }
        if let (true, Some(to), true, false) =
            (failed, self.spec.states[state.0].on_failure, self.begun.is_none(), self.ending)
        {
            let delay = match self.failures {
                0 | 1 => Duration::ZERO,
                failures => FAILURE_DELAY.0.saturating_mul(1 << (failures - 2).min(16)).min(FAILURE_DELAY.1),
            };
            self.retry = Some((now + delay, to));
        }
    }

    fn timer_fired(&mut self, now: Time, out: &mut Vec<Effect>) {
        let Some(script) = &mut self.script else { return };
        if script.timeout_at.is_some_and(|at| at <= now) {
            script.timeout_at = None;
            script.timed_out = true;
            if matches!(script.stop, StopProgress::No | StopProgress::Term(_)) {
                return self.send_term(now, out);
            }
        }
        match script.stop {
            StopProgress::Term(at) if at <= now => self.send_term(now, out),
            StopProgress::Kill(at) if at <= now => self.send_kill(out),
            _ => {}
        }
    }

    fn send_term(&mut self, now: Time, out: &mut Vec<Effect>) {
        if let Some(script) = &mut self.script {
            script.stop = StopProgress::Kill(now + self.spec.grace);
            out.push(Effect::Signal(script.run, Signal::TERM));
            // A suspended process cannot handle signals until it is resumed.
            out.push(Effect::Signal(script.run, Signal::CONT));
        }
    }

    fn send_kill(&mut self, out: &mut Vec<Effect>) {
        if let Some(script) = &mut self.script {
            script.stop = StopProgress::Killed;
            out.push(Effect::Signal(script.run, Signal::KILL));
        }
    }

    // === transitions ===

    /// Begins and enters all transitions that are possible.
    fn advance(&mut self, now: Time, out: &mut Vec<Effect>) {
        loop {
            if self.begun.is_none() || self.ending {
                while let Some((request, tag, input, wait)) = self.queue.pop_front() {
                    let to = self.spec.find(&tag).filter(|to| self.spec.allows(self.current, *to));
                    match to {
                        Some(to) if !self.ending => {
                            let waiter = wait.then_some(request);
                            if !wait {
                                out.push(Effect::Respond(request, Response::Ok));
                            }
                            self.begin(PendingTransition { to, input, waiter }, now);
                            // No transition follows the one to the terminal state.
                            if !self.ending {
                                break;
                            }
                        }
                        _ => out.push(Effect::Respond(request, Response::No)),
                    }
                }
            }
            if self.script.is_some() {
                return;
            }
            if let (None, Some((at, to))) = (&self.begun, self.retry)
                && at <= now
            {
                self.begin(PendingTransition { to, input: Vec::new(), waiter: None }, now);
            }
            let Some(pending) = self.begun.take() else {
                if self.ending {
                    let code = self.history.back().and_then(|last| last.code).unwrap_or(0);
                    self.ended = true;
                    out.push(Effect::End(code));
                }
                return;
            };
            self.enter(pending, now, out);
        }
    }

    fn enter(&mut self, pending: PendingTransition, now: Time, out: &mut Vec<Effect>) {
        let PendingTransition { to, input, waiter } = pending;
        self.entered += 1;
        let remembered = input[..input.len().min(HISTORY_INPUT)].to_vec();
        let transition = Transition {
            number: self.entered,
            at: now,
            from: self.current,
            to,
            input: remembered,
            code: None,
        };
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(transition.clone());
        self.current = Some(to);
        out.push(Effect::Entered(transition));
        let state = &self.spec.states[to.0];
        if state.has_script {
            let run = RunId(self.next_run);
            self.next_run += 1;
            let timeout_at = state.timeout.map(|timeout| now + timeout);
            self.script = Some(Script { run, timeout_at, waiter, timed_out: false, stop: StopProgress::No });
            out.push(Effect::Run { run, state: to, input });
        } else if let Some(waiter) = waiter {
            out.push(Effect::Respond(waiter, Response::Ok));
        }
    }
}
