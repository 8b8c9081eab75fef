//! Properties of the automaton in a simulated world of scripts and clients.
//!
//! Random acts change the world or the clock; each becomes an event, and after every event the invariants are checked. At
//! the end a shutdown is requested and must finish in bounded time.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::automaton::{Automaton, Effect, Event, Request, Response, State, StateId, StateMachineSpec};
use engine::{RequestId, RunId, Signal, Time};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Act {
    Pass(u64),
    Goto {
        tag: usize,
        wait: bool,
    },
    GotoNowhere,
    Set,
    State,
    Die,
    Stop {
        now: bool,
    },
    /// The script exits on its own.
    Exit(i32),
    /// All scripts fail at once for a while.
    Broken,
    /// A report about a script that is over.
    Stale,
}

struct Script {
    run: RunId,
    state: StateId,
    term_at: Option<Time>,
    killed: bool,
}

struct World {
    machine: Automaton,
    spec: StateMachineSpec,
    now: Time,
    /// Scripts ignore SIGTERM.
    ignores_term: bool,
    script: Option<Script>,
    runs: BTreeSet<RunId>,
    open: BTreeSet<RequestId>,
    requests: u64,
    current: Option<StateId>,
    terminal_runs: u32,
    entered_terminal: bool,
    ended: Option<i32>,
    effects: Vec<Effect>,
    /// When states were entered.
    entries: Vec<Time>,
}

type Checked = Result<(), String>;

fn check(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

impl World {
    fn new(spec: StateMachineSpec, ignores_term: bool) -> Self {
        Self {
            machine: Automaton::new(spec.clone(), 1),
            spec,
            now: Time::ZERO,
            ignores_term,
            script: None,
            runs: BTreeSet::new(),
            open: BTreeSet::new(),
            requests: 0,
            current: None,
            terminal_runs: 0,
            entered_terminal: false,
            ended: None,
            effects: Vec::new(),
            entries: Vec::new(),
        }
    }

    fn event(&mut self, event: Event) -> Checked {
        let mut out = Vec::new();
        self.machine.step(self.now, event, &mut out);
        for effect in &out {
            self.perform(effect)?;
        }
        self.effects.extend(out);
        check(self.machine.is_running() == self.script.is_some(), || "wrong state of the script".to_owned())?;
        check(self.machine.current() == self.current, || "wrong current state".to_owned())?;
        let idle = self.machine.is_ending() && self.script.is_none();
        check(!idle || self.ended.is_some(), || "shutting down without a script, but not ended".to_owned())?;
        let stopping = self.script.as_ref().is_some_and(|script| script.term_at.is_some() && !script.killed);
        check(!stopping || self.machine.deadline().is_some(), || {
            "SIGTERM without a deadline for SIGKILL".to_owned()
        })?;
        // No busy loop of failing scripts.
        let at_once = self.entries.iter().rev().take_while(|at| **at == self.now).count();
        check(at_once as u64 <= 8 + self.requests, || format!("{at_once} transitions at one moment"))
    }

    fn perform(&mut self, effect: &Effect) -> Checked {
        check(self.ended.is_none() || matches!(effect, Effect::Respond(_, Response::No)), || {
            format!("{effect:?} after the end")
        })?;
        match effect {
            Effect::Run { run, state, .. } => {
                check(self.script.is_none(), || "two scripts at a time".to_owned())?;
                check(self.runs.insert(*run), || format!("{run:?} used twice"))?;
                check(self.current == Some(*state), || "script of another state".to_owned())?;
                self.terminal_runs += u32::from(*state == self.spec.terminal);
                self.script = Some(Script { run: *run, state: *state, term_at: None, killed: false });
            }
            Effect::Signal(run, signal) => {
                let now = self.now;
                let script = self.script.as_mut().filter(|script| script.run == *run);
                let script = script.ok_or_else(|| format!("{signal} to {run:?}, which is gone"))?;
                match *signal {
                    Signal::TERM => {
                        check(script.term_at.is_none(), || "second SIGTERM".to_owned())?;
                        script.term_at = Some(now);
                    }
                    Signal::KILL => {
                        check(script.term_at.is_some(), || "SIGKILL without SIGTERM".to_owned())?;
                        script.killed = true;
                    }
                    _ => {}
                }
            }
            Effect::Respond(request, _) => {
                check(self.open.remove(request), || format!("{request:?} answered twice, or unknown"))?;
            }
            Effect::Entered(transition) => {
                check(self.script.is_none(), || "state entered while a script runs".to_owned())?;
                check(!self.entered_terminal, || "the terminal state was left".to_owned())?;
                check(transition.from == self.current, || "transition from another state".to_owned())?;
                let failed = self.current.and_then(|from| self.spec.states[from.0].on_failure);
                let allowed = self.allows(transition.to) || failed == Some(transition.to);
                check(allowed, || format!("{transition:?} is not allowed"))?;
                self.current = Some(transition.to);
                self.entries.push(self.now);
                self.entered_terminal = transition.to == self.spec.terminal;
            }
            Effect::ScriptExited { .. } => {
                check(self.script.is_none(), || "exit of a running script".to_owned())?;
            }
            Effect::End(code) => {
                let scripts = u32::from(self.spec.states[self.spec.terminal.0].has_script);
                check(self.entered_terminal && self.terminal_runs == scripts, || {
                    format!("ended after {} terminal scripts", self.terminal_runs)
                })?;
                check(self.script.is_none() && self.open.is_empty(), || {
                    format!("ended with {:?} open", self.open)
                })?;
                self.ended = Some(*code);
            }
        }
        Ok(())
    }

    /// Independent implementation of `StateMachineSpec::allows`: the test patterns have a star at the end or none.
    fn allows(&self, to: StateId) -> bool {
        let tag = &self.spec.states[to.0].tag;
        let Some(from) = self.current else { return to == self.spec.initial || to == self.spec.terminal };
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(begin) => tag.starts_with(begin),
            None => tag == pattern,
        };
        from != self.spec.terminal
            && (to == self.spec.terminal || self.spec.states[from.0].next.iter().any(fits))
    }

    fn request(&mut self, action: Request) -> Checked {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.open.insert(request);
        let at_once = !matches!(action, Request::Goto { .. });
        self.event(Event::Requested(request, action))?;
        check(!at_once || !self.open.contains(&request), || "no immediate response".to_owned())
    }

    fn exit_script(&mut self, code: i32) -> Checked {
        let Some(script) = self.script.take() else { return Ok(()) };
        self.event(Event::ScriptExited(script.run, code))
    }

    /// Lets scripts exit after a signal.
    fn deliver_signals(&mut self) -> Checked {
        let exits = |script: &Script| script.killed || (script.term_at.is_some() && !self.ignores_term);
        match self.script.as_ref().filter(|script| exits(script)) {
            Some(script) if script.killed => self.exit_script(137),
            Some(_) => self.exit_script(143),
            None => Ok(()),
        }
    }

    fn pass(&mut self, time: Duration) -> Checked {
        let until = self.now + time;
        while let Some(at) = self.machine.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let before = self.machine.deadline();
            self.event(Event::TimerFired)?;
            check(self.machine.deadline() != before, || "a deadline that does not move".to_owned())?;
            self.deliver_signals()?;
        }
        self.now = until;
        Ok(())
    }

    fn act(&mut self, act: &Act) -> Checked {
        match act {
            Act::Pass(ms) => self.pass(Duration::from_millis(*ms))?,
            Act::Goto { tag, wait } => {
                let tag = self.spec.states[tag % self.spec.states.len()].tag.clone();
                self.request(Request::Goto { tag, input: b"x".to_vec(), wait: *wait })?;
            }
            Act::GotoNowhere => {
                self.request(Request::Goto { tag: "nowhere".to_owned(), input: Vec::new(), wait: true })?;
            }
            Act::Set => self.request(Request::Set { key: "K".to_owned(), value: b"v".to_vec() })?,
            Act::State => self.request(Request::State)?,
            Act::Die => self.request(Request::Die)?,
            Act::Stop { now } => {
                self.event(Event::StopRequested { now: *now })?;
            }
            Act::Exit(code) => self.exit_script(*code)?,
            Act::Broken => {
                for _ in 0..100 {
                    self.exit_script(1)?;
                    self.deliver_signals()?;
                }
            }
            Act::Stale => {
                let before = format!("{:?}", self.machine);
                self.event(Event::ScriptExited(RunId(0), 1))?;
                check(before == format!("{:?}", self.machine), || {
                    "a stale report has changed the state".to_owned()
                })?;
            }
        }
        self.deliver_signals()
    }

    /// A shutdown finishes in bounded time, if the terminal script exits or the request is repeated.
    fn end(&mut self) -> Checked {
        let start = self.now;
        self.act(&Act::Stop { now: false })?;
        let limit = self.spec.exit_timeout + self.spec.grace + self.spec.grace;
        self.pass(limit)?;
        check(self.entered_terminal, || "terminal state not entered in time".to_owned())?;
        // The terminal script is stopped only by a second request.
        if let Some(script) = &self.script {
            check(script.state == self.spec.terminal, || "another script".to_owned())?;
            self.act(&Act::Stop { now: true })?;
            self.pass(self.spec.grace)?;
        }
        check(self.ended.is_some(), || format!("not ended after {:?}", self.now.since(start)))?;
        check(self.open.is_empty(), || format!("unanswered: {:?}", self.open))?;
        // Requests are answered after the end too.
        self.act(&Act::Goto { tag: 0, wait: true })
    }

    fn run(&mut self, acts: &[Act]) -> Checked {
        self.event(Event::Started)?;
        for act in acts {
            self.act(act)?;
        }
        self.end()
    }
}

fn spec() -> impl Strategy<Value = StateMachineSpec> {
    let next = prop::collection::vec(
        prop_oneof![
            2 => (0usize..5).prop_map(|tag| format!("S{tag}")),
            1 => Just("*".to_owned()),
            1 => Just("S*".to_owned())
        ],
        0..3,
    );
    let state = (
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.3),
        next,
        prop::option::weighted(0.3, (1u64..3000).prop_map(Duration::from_millis)),
        prop::option::weighted(0.3, 0usize..5),
    );
    (prop::collection::vec(state, 1..5), any::<prop::sample::Index>(), 0u64..2000, 1u64..3000).prop_map(
        |(states, initial, exit_timeout, grace)| {
            let count = states.len();
            let mut states: Vec<State> = states
                .into_iter()
                .enumerate()
                .map(|(index, (has_script, force, next, timeout, failure))| State {
                    tag: format!("S{index}"),
                    has_script,
                    force,
                    next,
                    timeout,
                    on_failure: failure.filter(|to| *to < count).map(StateId),
                })
                .collect();
            let initial = StateId(initial.index(count));
            states.push(State { tag: "END".to_owned(), has_script: count % 2 == 0, ..State::default() });
            StateMachineSpec {
                initial,
                terminal: StateId(count),
                states,
                exit_timeout: Duration::from_millis(exit_timeout),
                grace: Duration::from_millis(grace),
            }
        },
    )
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0u64..3000).prop_map(Act::Pass),
        10 => (0usize..6, any::<bool>()).prop_map(|(tag, wait)| Act::Goto { tag, wait }),
        1 => Just(Act::GotoNowhere),
        1 => Just(Act::Set),
        1 => Just(Act::State),
        1 => Just(Act::Die),
        1 => any::<bool>().prop_map(|now| Act::Stop { now }),
        10 => (0i32..3).prop_map(Act::Exit),
        1 => Just(Act::Broken),
        1 => Just(Act::Stale),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn runs_one_script_at_a_time_answers_every_request_and_ends_with_the_terminal_script(
        spec in spec(),
        ignores_term in any::<bool>(),
        acts in prop::collection::vec(act(), 0..60),
    ) {
        let mut world = World::new(spec, ignores_term);
        if let Err(broken) = world.run(&acts) {
            return Err(TestCaseError::fail(format!("{broken}\n{:#?}", world.effects)));
        }
    }
}
