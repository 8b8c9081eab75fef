//! Resolves a file to the states of an automaton and their scripts, and validates it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::automaton::{State, StateId, StateMachineSpec};
use engine::glob;

use super::options::parse_mode;
use crate::compile::{ConfigError, Source, text_of};
use crate::file::automaton as raw;
use crate::yaml::reader::{Keys, Problem, read};
use crate::yaml::tree;
use crate::yaml::tree::{Node, Step, Value};
use spec::suggest::hint;

/// How long a script may keep running after its state is left before it is stopped.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);
/// The kernel's limit for one argument, including its NUL byte (execve(2), `MAX_ARG_STRLEN`).
const MAX_SCRIPT: usize = 128 << 10;
/// Time from SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// The default path of the control socket.
pub const DEFAULT_SOCKET: &str = "/var/run/automaton.sock";
/// The default mode of the control socket: access for its owner only.
pub const DEFAULT_SOCKET_MODE: u32 = 0o600;

/// A validated automaton.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutomatonPlan {
    pub chart: StateMachineSpec,
    /// By state index.
    pub scripts: Vec<Option<String>>,
    /// The control socket, if set in the file.
    pub socket: Option<PathBuf>,
    /// The mode of the control socket, if set in the file.
    pub socket_mode: Option<u32>,
}

/// Reads the file of an automaton that another file refers to. It cannot refer to a further file, which rules out
/// cycles.
pub fn load_referred(path: &Path) -> Result<AutomatonPlan, ConfigError> {
    load_from(path, None, false)
}

/// Reads the file of an automaton, or a section of another file: a path separated by `/`, where list elements are
/// addressed by name.
pub fn load(path: &Path, section: Option<&str>) -> Result<AutomatonPlan, ConfigError> {
    load_from(path, section, true)
}

fn load_from(path: &Path, section: Option<&str>, may_refer: bool) -> Result<AutomatonPlan, ConfigError> {
    let source = Source::File(path.to_owned()).to_string();
    let error_of = |problem: String| ConfigError { source: source.clone(), problems: vec![problem] };
    let text = text_of(path).map_err(|error| error_of(format!(" {error}")))?;
    let documents = tree::parse(&text).map_err(|error| {
        error_of(format!("{}:{}: {}", error.place.line, error.place.column, error.message))
    })?;
    let Some(root) = documents.iter().find(|node| !node.is_null()) else {
        return Err(error_of("1:1: empty file: expected initial, terminal and states".to_owned()));
    };
    // A file of `up` is accepted too.
    let implicit = (root.get("states").is_none() && root.get("automaton").is_some()).then_some("automaton");
    let mut node = root;
    let mut at = Vec::new();
    for key in section.or(implicit).into_iter().flat_map(|path| path.split('/')) {
        at.push(Step::from(key));
        let named = || match &node.value {
            Value::List(items) => items.iter().find(|it| it.get("name").and_then(Node::text) == Some(key)),
            Value::Scalar { .. } | Value::Map(_) => None,
        };
        node = node
            .get(key)
            .or_else(named)
            .ok_or_else(|| error_of(format!("1:1: {} is missing", tree::dotted(&at))))?;
    }
    if let Value::Scalar { text: name, .. } = &node.value
        && !at.is_empty()
    {
        if !may_refer {
            let place = node.place;
            let message =
                "a reference to another file is not allowed here: expected initial, terminal and states";
            return Err(error_of(format!(
                "{}:{}: {}: {message}",
                place.line,
                place.column,
                tree::dotted(&at)
            )));
        }
        return load_referred(&path.parent().unwrap_or(Path::new("")).join(name));
    }
    resolve(node, &at).map_err(|problems| ConfigError {
        source: source.clone(),
        problems: problems.iter().map(ToString::to_string).collect(),
    })
}

/// Resolves an automaton of a tree; `at` is its path, for the problems.
pub fn resolve(node: &Node, at: &[Step]) -> Result<AutomatonPlan, Vec<Problem>> {
    let (file, found) = read::<raw::Automaton>(node, Keys::Exact);
    let mut all = Problems { node, at, found: Vec::new() };
    for Problem { place, path, message } in found {
        let path = if at.is_empty() { path } else { format!("{}.{path}", tree::dotted(at)) };
        all.found.push(Problem { place, path, message });
    }
    if !matches!(node.value, Value::Map(_)) {
        all.found.clear();
        all.at(&[], "expected initial, terminal and states");
    }
    let plan = Resolver { problems: &mut all, file: &file }.plan();
    if all.found.is_empty() {
        return Ok(plan);
    }
    all.found.sort();
    all.found.dedup();
    Err(all.found)
}

/// The problems found so far.
struct Problems<'a> {
    node: &'a Node,
    at: &'a [Step],
    found: Vec<Problem>,
}

impl Problems<'_> {
    fn at(&mut self, path: &[Step], message: impl Into<String>) {
        let full: Vec<_> = self.at.iter().chain(path).cloned().collect();
        let place = self.node.place_of(path);
        self.found.push(Problem { place, path: tree::dotted(&full), message: message.into() });
    }
}

struct Resolver<'a, 'b> {
    problems: &'a mut Problems<'b>,
    file: &'a raw::Automaton,
}

fn step_to(index: usize, key: &str) -> Vec<Step> {
    vec![Step::from("states"), Step::from(index), Step::from(key)]
}

impl Resolver<'_, '_> {
    fn plan(mut self) -> AutomatonPlan {
        let raw_states = self.file.states.clone().unwrap_or_default();
        let tags: Vec<String> =
            raw_states.iter().map(|state| state.tag.clone().unwrap_or_default().0).collect();
        if tags.is_empty()
            && self
                .problems
                .node
                .get("states")
                .is_none_or(|node| matches!(&node.value, Value::List(list) if list.is_empty()))
        {
            self.problems.at(&[], "states is missing or empty: expected a list of states with a tag each");
        }
        let mut seen = BTreeSet::new();
        for (index, tag) in tags.iter().enumerate() {
            let at = step_to(index, "tag");
            if tag.is_empty() {
                self.problems.at(&at[..2], "tag is missing");
            } else if tag.chars().any(|c| c.is_whitespace() || c.is_control()) {
                self.problems.at(&at, format!("invalid tag '{tag}': it contains white space"));
            } else if !seen.insert(tag) {
                self.problems.at(&at, format!("duplicate tag '{tag}'"));
            }
        }
        let initial = self.state("initial", self.file.initial.as_ref().map(|word| &*word.0), &tags);
        let terminal = self.state("terminal", self.file.terminal.as_ref().map(|word| &*word.0), &tags);
        if let (Some(first), Some(last)) = (initial, terminal)
            && first == last
        {
            self.problems.at(&[Step::from("initial")], "same as the terminal state");
        }
        let states = raw_states
            .iter()
            .enumerate()
            .map(|(index, raw)| self.one(index, raw, &tags, terminal == Some(StateId(index))))
            .collect();
        let mode = self.file.socket_mode.as_ref().map(|word| (word, parse_mode(&word.0)));
        if let Some((word, Err(message))) = &mode {
            self.problems.at(&[Step::from("socketMode")], format!("'{}': {message}", word.0));
        }
        AutomatonPlan {
            chart: StateMachineSpec {
                initial: initial.unwrap_or(StateId(0)),
                terminal: terminal.unwrap_or(StateId(0)),
                states,
                exit_timeout: EXIT_TIMEOUT,
                grace: GRACE,
            },
            scripts: raw_states.iter().map(|raw| raw.shell.clone().map(|word| word.0)).collect(),
            socket: self.file.socket.as_ref().map(PathBuf::from),
            socket_mode: mode.and_then(|(_, mode)| mode.ok()),
        }
    }

    fn state(&mut self, key: &str, given: Option<&str>, tags: &[String]) -> Option<StateId> {
        let Some(tag) = given else {
            if self.problems.node.get(key).is_none() {
                self.problems.at(&[], format!("{key} is missing: expected the tag of a state"));
            }
            return None;
        };
        let found = tags.iter().position(|known| known == tag);
        if found.is_none() {
            let hint = hint(tag, tags.iter().map(String::as_str));
            self.problems.at(&[Step::from(key)], format!("unknown state '{tag}'{hint}"));
        }
        found.map(StateId)
    }

    fn one(&mut self, index: usize, raw: &raw::State, tags: &[String], terminal: bool) -> State {
        let next = raw.next.clone().unwrap_or_default().0;
        for pattern in &next {
            if !tags.iter().any(|tag| glob::matches(pattern, tag)) {
                let hint = hint(pattern, tags.iter().map(String::as_str));
                self.problems.at(&step_to(index, "next"), format!("'{pattern}' matches no state{hint}"));
            }
        }
        if terminal && !next.is_empty() {
            self.problems.at(&step_to(index, "next"), "the terminal state cannot have a next state");
        }
        if raw.timeout.is_some_and(|span| span.0.is_zero()) {
            self.problems.at(&step_to(index, "timeout"), "expected more than 0");
        }
        if raw.shell.as_ref().is_some_and(|shell| shell.0.contains('\0')) {
            self.problems.at(&step_to(index, "shell"), "a script cannot contain a NUL byte");
        }
        if raw.shell.as_ref().is_some_and(|shell| shell.0.len() >= MAX_SCRIPT) {
            let message = "script too long: the limit is 128 KiB; move it into a file";
            self.problems.at(&step_to(index, "shell"), message);
        }
        let on_failure = raw.on_failure.as_ref().and_then(|word| {
            let found = tags.iter().position(|tag| *tag == word.0);
            if found.is_none() {
                let hint = hint(&word.0, tags.iter().map(String::as_str));
                let message = format!("unknown state '{}'{hint}", word.0);
                self.problems.at(&step_to(index, "on-failure"), message);
            }
            found.map(StateId)
        });
        if terminal && on_failure.is_some() {
            self.problems.at(&step_to(index, "on-failure"), "the terminal state cannot have a next state");
        }
        State {
            tag: raw.tag.clone().unwrap_or_default().0,
            has_script: raw.shell.is_some(),
            force: raw.force.unwrap_or(false),
            next,
            timeout: raw.timeout.map(|span| span.0),
            on_failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<AutomatonPlan, Vec<String>> {
        let documents = tree::parse(text).map_err(|error| vec![error.message])?;
        let texts = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect();
        resolve(&documents[0], &[]).map_err(texts)
    }

    const EXAMPLE: &str = "initial: A\nterminal: C\nstates:\n- tag: A\n  shell: echo starting\n  next: [B]\n- tag: B\n  shell: |\n    sleep 5\n    echo $INPUT > foo\n  next: [A, B]\n- tag: C\n  shell: echo terminating\n";

    #[test]
    fn reads_the_example_of_the_original_tool() -> Result<(), Vec<String>> {
        let plan = plan(EXAMPLE)?;
        assert_eq!((plan.chart.initial, plan.chart.terminal), (StateId(0), StateId(2)));
        assert_eq!(plan.scripts[1].as_deref(), Some("sleep 5\necho $INPUT > foo\n"));
        let allows = |from, to| plan.chart.allows(from, StateId(to));
        assert!(allows(None, 0) && !allows(None, 1) && allows(None, 2));
        assert!(allows(Some(StateId(1)), 1) && !allows(Some(StateId(0)), 0) && allows(Some(StateId(0)), 2));
        assert!(!allows(Some(StateId(2)), 0) && !allows(Some(StateId(2)), 2));
        Ok(())
    }

    #[test]
    fn reports_all_problems_with_positions() {
        let text = "initial: X\nterminl: C\nstates:\n- tag: A\n  shel: echo\n  next: [B, Q*]\n- tag: A\n  force: maybe\n- shell: x\n  timeout: 0\n  on-failure: AA\n";
        assert_eq!(
            plan(text).err().unwrap_or_default(),
            [
                "1:1: terminal is missing: expected the tag of a state",
                "1:1: initial: unknown state 'X', did you mean 'A'?",
                "2:1: terminl: unknown key, did you mean 'terminal'?",
                "5:3: states[0].shel: unknown key, did you mean 'shell'?",
                "6:3: states[0].next: 'B' matches no state, did you mean 'A'?",
                "6:3: states[0].next: 'Q*' matches no state",
                "7:3: states[1].tag: duplicate tag 'A'",
                "8:3: states[1].force: expected true or false, found 'maybe'",
                "9:3: states[2]: tag is missing",
                "10:3: states[2].timeout: expected more than 0",
                "11:3: states[2].on-failure: unknown state 'AA', did you mean 'A'?",
            ]
        );
    }

    #[test]
    fn rejects_invalid_automata() {
        for (text, part) in [
            ("just words", "expected initial, terminal and states"),
            ("[a]", "expected initial, terminal and states"),
            ("initial: A\nterminal: B\nstates: []", "states is missing or empty"),
            ("initial: A\nterminal: B", "states is missing or empty"),
            ("initial: A\nterminal: A\nstates: [{tag: A}]", "same as the terminal state"),
            ("initial: A\nterminal: B\nstates: [{tag: A}, {tag: B, next: A}]", "cannot have a next state"),
            ("initial: A\nterminal: B\nstates: [{tag: A b}, {tag: B}, {tag: A}]", "it contains white space"),
            (
                "initial: A\nterminal: B\nsocketMode: 999\nstates: [{tag: A}, {tag: B}]",
                "expected a mode in octal",
            ),
        ] {
            let problems = plan(text).err().unwrap_or_default();
            assert!(problems.iter().any(|problem| problem.contains(part)), "{text}: {problems:?}");
        }
    }
}
