//! A state machine of scripts: one script for each state, run when it is entered.
//!
//! ```text
//!            GOTO, WAIT (allowed from here)      the script has ended
//! Resting ────────────────────────────► (enter) ◄──────────────────── Leaving: TERM a second later, then KILL
//!    ▲                                     │                             ▲
//!    │ the script has ended                ▼                             │ GOTO, WAIT, DIE, a stop
//!    └────────────────────────────────  Running ────────────────────────┘
//! ```
//!
//! * It begins in a hidden state from which the initial one is entered.
//! * A transition has begun when it is its turn and it is allowed from where we are: that is its `OK`. It is carried out
//!   when the script of the present state has ended. The next in the queue is looked at from the new state.
//! * The script of a state that is left has a second to end by itself, so that it can ask for the next state as its
//!   last act; then TERM, then KILL. `force` gives it as long as it likes, unless we are to end.
//! * A failure that leads on does so at once, the next in a row after a pause that grows, so that nothing turns in a
//!   circle as fast as it can. A request does not wait for that.
//! * The terminal state can be reached from every state and is left by none. On the way to it nothing else is begun;
//!   its script runs once, last, to its end.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::glob;
use crate::{RequestId, RunId, Signal, Time};

/// From a failure to where it leads, from the second in a row on: at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How many transitions are remembered.
const REMEMBERED: usize = 128;
/// How much of an input is remembered, in bytes.
const REMEMBERED_INPUT: usize = 256;

/// The states and how they follow each other; complete and validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateMachineSpec {
    /// The first.
    pub initial: StateId,
    /// The last.
    pub terminal: StateId,
    /// All.
    pub states: Vec<State>,
    /// How long a script may take to end by itself when its state is left.
    pub exit_timeout: Duration,
    /// From TERM to KILL.
    pub grace: Duration,
}

/// Which state: its place in [`StateMachineSpec::states`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateId(pub usize);

/// One state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// What people call it.
    pub tag: String,
    /// It has a script.
    pub has_script: bool,
    /// Its script is not cut by a transition.
    pub force: bool,
    /// Patterns of what may follow; none: only the terminal state.
    pub next: Vec<String>,
    /// Its script is ended, and has failed, if it takes longer.
    pub timeout: Option<Duration>,
    /// Where to go when its script fails.
    pub on_failure: Option<StateId>,
}

impl StateMachineSpec {
    /// The state of this name.
    #[must_use]
    pub fn find(&self, tag: &str) -> Option<StateId> {
        self.states.iter().position(|state| state.tag == tag).map(StateId)
    }

    /// May `to` follow `from`? None: from before the first.
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

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Everything is prepared. The first event.
    Started,
    /// Time has passed.
    TimerFired,
    /// Somebody wants something; exactly one [`Effect::Respond`] will come.
    Requested(RequestId, Request),
    /// The script of this run has ended, with this code as a shell has it; or could not be started.
    ScriptExited(RunId, i32),
    /// We are told to end. `now`: without further patience, if we are ending already.
    StopRequested {
        /// Whoever asks again does not want to wait.
        now: bool,
    },
}

/// What somebody may want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To know the state.
    State,
    /// Another state.
    Goto {
        /// Which.
        tag: String,
        /// For its script.
        input: Vec<u8>,
        /// The answer comes when its script has ended.
        wait: bool,
    },
    /// A variable for all scripts from now on.
    Set {
        /// Its name.
        key: String,
        /// Its value.
        value: Vec<u8>,
    },
    /// That we end.
    Die,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// It is so, or has begun.
    Ok,
    /// It is not allowed, or came to nothing.
    No,
    /// The script has failed with this code.
    Failed(i32),
    /// The state.
    Tag(String),
}

/// Something to be done, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Run the script of a state; answer with [`Event::Ended`].
    Run {
        /// The name of this run.
        run: RunId,
        /// Of which state.
        state: StateId,
        /// For the script.
        input: Vec<u8>,
    },
    /// Send a signal to the group of a run.
    Signal(RunId, Signal),
    /// Answer a request.
    Respond(RequestId, Response),
    /// A state was entered.
    Entered(Transition),
    /// The script of the present state has ended.
    ScriptExited {
        /// Which state.
        state: StateId,
        /// With this code.
        code: i32,
        /// It took longer than it may.
        timed_out: bool,
    },
    /// All is done: end with this code. The last effect.
    End(i32),
}

/// From one state to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Counts from 1.
    pub number: u64,
    /// When.
    pub at: Time,
    /// None: from before the first.
    pub from: Option<StateId>,
    /// Where to.
    pub to: StateId,
    /// The beginning of what was given to its script.
    pub input: Vec<u8>,
    /// How the script ended, if it has.
    pub code: Option<i32>,
}

/// A transition that was asked for.
#[derive(Debug, Clone)]
struct Wanted {
    to: StateId,
    input: Vec<u8>,
    /// Who waits for the end of its script.
    waiter: Option<RequestId>,
}

/// A script that runs.
#[derive(Debug, Clone)]
struct Script {
    run: RunId,
    timeout_at: Option<Time>,
    waiter: Option<RequestId>,
    timed_out: bool,
    cut: Cut,
}

/// How far it is with ending a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Nobody wants it to end.
    Not,
    /// It gets TERM then.
    Term(Time),
    /// It had TERM, and gets KILL then.
    Kill(Time),
    /// It had KILL.
    Killed,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Automaton {
    spec: StateMachineSpec,
    current: Option<StateId>,
    script: Option<Script>,
    /// What has begun and waits for the end of the script.
    begun: Option<Wanted>,
    queue: VecDeque<(RequestId, String, Vec<u8>, bool)>,
    /// Where a failure leads, and when.
    retry: Option<(Time, StateId)>,
    /// Scripts in a row that have failed.
    failures: u32,
    variables: BTreeMap<String, Vec<u8>>,
    history: VecDeque<Transition>,
    /// On the way to the terminal state, or in it: a latch.
    ending: bool,
    ended: bool,
    entered: u64,
    next_run: u64,
}

impl Automaton {
    /// A machine that waits for [`Event::Started`]. Runs get numbers from `first_run` on.
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

    /// Takes a fact and appends what is to be done about it. Total: any event is legal at any time.
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
                    self.begin(Wanted { to: self.spec.initial, input: Vec::new(), waiter: None }, now);
                }
            }
            Event::TimerFired => self.woke(now, out),
            Event::Requested(request, what) => self.asked(request, what, now, out),
            Event::ScriptExited(run, code) => self.script_ended(run, code, now, out),
            Event::StopRequested { now: at_once } => self.told(at_once, now, out),
        }
        self.advance(now, out);
    }

    /// When to send [`Event::TimerFired`] at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let Some(script) = &self.script else { return self.retry.map(|(at, _)| at) };
        let cut = match script.cut {
            Cut::Term(at) | Cut::Kill(at) => Some(at),
            Cut::Not | Cut::Killed => None,
        };
        script.timeout_at.into_iter().chain(cut).min()
    }

    /// The states.
    #[must_use]
    pub const fn spec(&self) -> &StateMachineSpec {
        &self.spec
    }

    /// The present state; None: before the first.
    #[must_use]
    pub const fn current(&self) -> Option<StateId> {
        self.current
    }

    /// The tag of the present state; empty before the first.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.current.map_or("", |state| &self.spec.states[state.0].tag)
    }

    /// Its script runs.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.script.is_some()
    }

    /// It is on its way to the terminal state, or in it.
    #[must_use]
    pub const fn is_ending(&self) -> bool {
        self.ending
    }

    /// What was set.
    #[must_use]
    pub const fn variables(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.variables
    }

    /// The last transitions, the oldest first.
    pub fn history(&self) -> impl Iterator<Item = &Transition> {
        self.history.iter()
    }

    // === what happens ===

    fn asked(&mut self, request: RequestId, what: Request, now: Time, out: &mut Vec<Effect>) {
        let answer = match what {
            Request::State => Response::Tag(self.tag().to_owned()),
            Request::Set { key, value } => {
                self.variables.insert(key, value);
                Response::Ok
            }
            Request::Die => {
                self.told(false, now, out);
                Response::Ok
            }
            Request::Goto { tag, .. } if self.spec.find(&tag).is_none() => Response::No,
            Request::Goto { tag, input, wait } => {
                self.queue.push_back((request, tag, input, wait));
                return;
            }
        };
        out.push(Effect::Respond(request, answer));
    }

    fn told(&mut self, at_once: bool, now: Time, out: &mut Vec<Effect>) {
        if !self.ending {
            // What has begun and not been entered gives way; whoever waits for it waits in vain.
            if let Some(waiter) = self.begun.take().and_then(|wanted| wanted.waiter) {
                out.push(Effect::Respond(waiter, Response::No));
            }
            self.begin(Wanted { to: self.spec.terminal, input: Vec::new(), waiter: None }, now);
        } else if at_once && let Some(script) = &mut self.script {
            // It has had its time, or the one who asks has none.
            match script.cut {
                Cut::Not | Cut::Term(_) => self.term(now, out),
                Cut::Kill(_) => self.kill(out),
                Cut::Killed => {}
            }
        }
    }

    /// A transition has begun: the present script is to end.
    fn begin(&mut self, wanted: Wanted, now: Time) {
        let forced = self.current.is_some_and(|state| self.spec.states[state.0].force);
        self.ending |= wanted.to == self.spec.terminal;
        self.retry = None;
        if let Some(script) = &mut self.script
            && script.cut == Cut::Not
        {
            script.cut = match (forced, self.ending) {
                (false, _) => Cut::Term(now + self.spec.exit_timeout),
                (true, false) => Cut::Not,
                // Nobody keeps us from ending for ever.
                (true, true) => Cut::Term(now + self.spec.exit_timeout + self.spec.grace),
            };
        }
        self.begun = Some(wanted);
    }

    fn script_ended(&mut self, run: RunId, code: i32, now: Time, out: &mut Vec<Effect>) {
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
            let pause = match self.failures {
                0 | 1 => Duration::ZERO,
                many => PAUSE.0.saturating_mul(1 << (many - 2).min(16)).min(PAUSE.1),
            };
            self.retry = Some((now + pause, to));
        }
    }

    fn woke(&mut self, now: Time, out: &mut Vec<Effect>) {
        let Some(script) = &mut self.script else { return };
        if script.timeout_at.is_some_and(|at| at <= now) {
            script.timeout_at = None;
            script.timed_out = true;
            if matches!(script.cut, Cut::Not | Cut::Term(_)) {
                return self.term(now, out);
            }
        }
        match script.cut {
            Cut::Term(at) if at <= now => self.term(now, out),
            Cut::Kill(at) if at <= now => self.kill(out),
            _ => {}
        }
    }

    fn term(&mut self, now: Time, out: &mut Vec<Effect>) {
        if let Some(script) = &mut self.script {
            script.cut = Cut::Kill(now + self.spec.grace);
            out.push(Effect::Signal(script.run, Signal::TERM));
            // What is suspended hears nothing until it goes on.
            out.push(Effect::Signal(script.run, Signal::CONT));
        }
    }

    fn kill(&mut self, out: &mut Vec<Effect>) {
        if let Some(script) = &mut self.script {
            script.cut = Cut::Killed;
            out.push(Effect::Signal(script.run, Signal::KILL));
        }
    }

    // === conclusions ===

    /// Begins and enters whatever can be.
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
                            self.begin(Wanted { to, input, waiter }, now);
                            // Behind the last one nothing follows.
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
                self.begin(Wanted { to, input: Vec::new(), waiter: None }, now);
            }
            let Some(wanted) = self.begun.take() else {
                if self.ending {
                    let code = self.history.back().and_then(|last| last.code).unwrap_or(0);
                    self.ended = true;
                    out.push(Effect::End(code));
                }
                return;
            };
            self.enter(wanted, now, out);
        }
    }

    fn enter(&mut self, wanted: Wanted, now: Time, out: &mut Vec<Effect>) {
        let Wanted { to, input, waiter } = wanted;
        self.entered += 1;
        let kept = input[..input.len().min(REMEMBERED_INPUT)].to_vec();
        let transition =
            Transition { number: self.entered, at: now, from: self.current, to, input: kept, code: None };
        if self.history.len() == REMEMBERED {
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
            self.script = Some(Script { run, timeout_at, waiter, timed_out: false, cut: Cut::Not });
            out.push(Effect::Run { run, state: to, input });
        } else if let Some(waiter) = waiter {
            out.push(Effect::Respond(waiter, Response::Ok));
        }
    }
}

/// What timeout(1) ends with; a script that took too long and then ended with 0 has failed all the same.
const TIMED_OUT: i32 = 124;
