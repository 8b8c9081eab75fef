//! Sections `automaton` of a file: each becomes a process that runs sexton itself with that section.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use super::super::automaton::{self, AutomatonPlan, DEFAULT_SOCKET};
use crate::file::native::{File, Process, RestartPolicy};
use crate::file::scalars::{TextList, Variables};
use crate::yaml::reader::Problem;
use crate::yaml::tree::{Node, Step, Value, dotted};
use spec::program::{AS_SEXTON, own_executable};

/// The name of the top-level section and of its process.
const SECTION: &str = "automaton";
/// A variable with a digest of the section, so that a reload detects changes.
const DIGEST: &str = "SEXTON_AUTOMATON_DIGEST";

/// Converts the sections to processes.
pub(super) fn insert(root: &Node, path: Option<&Path>, file: &mut File, problems: &mut Vec<Problem>) {
    let mut sections = Sections { root, path, sockets: BTreeSet::new(), problems };
    for (name, process) in &mut file.processes.0 {
        let list = matches!(root.get("processes").map(|it| &it.value), Some(Value::List(_)));
        let key = if list { index_of(root, name).map(Step::from) } else { Some(Step::from(name.as_str())) };
        let Some(key) = key.filter(|_| process.automaton.is_some()) else { continue };
        let at = [Step::from("processes"), key, Step::from(SECTION)];
        if process.command.is_some() {
            sections.problem(&at, "cannot be combined with command");
        }
        sections.insert(&at, &format!("processes/{name}/{SECTION}"), process);
    }
    if file.automaton.is_some() {
        let at = [Step::from(SECTION)];
        if file.processes.0.iter().any(|(name, _)| name == SECTION) {
            sections.problem(&at, "duplicate process 'automaton'");
        }
        let mut process = Process::default();
        process.more.at = at.to_vec();
        sections.insert(&at, SECTION, &mut process);
        file.processes.0.push((SECTION.to_owned(), process));
    }
}

struct Sections<'a> {
    root: &'a Node,
    path: Option<&'a Path>,
    /// The control sockets so far.
    sockets: BTreeSet<PathBuf>,
    problems: &'a mut Vec<Problem>,
}

impl Sections<'_> {
    fn problem(&mut self, at: &[Step], message: impl Into<String>) {
        self.problems.push(problem(self.root, at, message));
    }

    /// Converts the section at a path; `way` is the value of `--section`.
    fn insert(&mut self, at: &[Step], way: &str, process: &mut Process) {
        // Avoids a further problem about a missing command.
        process.command = Some(TextList(vec![SECTION.to_owned()]));
        let Some(path) = self.path else {
            self.problem(
                at,
                "an automaton requires a configuration file: its process reads the section from there",
            );
            return;
        };
        let plan = match check(self.root, at, path) {
            Ok(plan) => plan,
            Err(found) => return self.problems.extend(found),
        };
        let socket = plan.socket.clone().unwrap_or_else(|| DEFAULT_SOCKET.into());
        if process.replicas.is_some_and(|replicas| replicas > 1) {
            self.problem(at, "replicas are not supported: it has one control socket");
        }
        if !self.sockets.insert(socket.clone()) {
            let message = format!("control socket {} is used by another automaton", socket.display());
            self.problem(at, message);
        }
        let arguments = [
            own_executable().to_string_lossy().into_owned(),
            AS_SEXTON.to_owned(),
            SECTION.to_owned(),
            std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned(),
            "--section".to_owned(),
            way.to_owned(),
            // Overrides the environment, which would apply to all automata.
            "--socket".to_owned(),
            socket.to_string_lossy().into_owned(),
            "--port".to_owned(),
            "none".to_owned(),
            "--log-format".to_owned(),
            "logfmt".to_owned(),
            // Logs the output of the scripts like that of other processes.
            "--debug".to_owned(),
        ];
        // Prevents the expansion of variables.
        process.command = Some(TextList(arguments.map(|word| word.replace('$', "$$")).to_vec()));
        process.restart_policy = process.restart_policy.or(Some(RestartPolicy::OnFailure));
        process.notify = process.notify.take().or_else(|| Some("systemd".to_owned()));
        let mut hasher = DefaultHasher::new();
        format!("{plan:?}").hash(&mut hasher);
        let digest = (DIGEST.to_owned(), Some(format!("{:016x}", hasher.finish())));
        process.env.get_or_insert_with(|| Variables(Vec::new())).0.push(digest);
    }
}

fn index_of(root: &Node, name: &str) -> Option<usize> {
    let Some(Value::List(items)) = root.get("processes").map(|it| &it.value) else { return None };
    items.iter().position(|item| item.get("name").and_then(Node::text) == Some(name))
}

fn problem(root: &Node, at: &[Step], message: impl Into<String>) -> Problem {
    Problem { place: root.place_of(at), path: dotted(at), message: message.into() }
}

fn check(root: &Node, at: &[Step], path: &Path) -> Result<AutomatonPlan, Vec<Problem>> {
    let unreachable = || vec![problem(root, at, "expected initial, terminal and states")];
    let mut node = root;
    for step in at {
        let next = match (step, &node.value) {
            (Step::Key(key), _) => node.get(key),
            (Step::Index(index), Value::List(items)) => items.get(*index),
            (Step::Index(_), _) => None,
        };
        node = next.ok_or_else(unreachable)?;
    }
    match node.text().filter(|_| !node.is_null()) {
        None => automaton::resolve(node, at),
        Some(name) => {
            let directory = path.parent().unwrap_or(Path::new(""));
            let error = |problem: String| vec![crate::compile::automata::problem(root, at, problem)];
            automaton::load_referred(&directory.join(name)).map_err(|failure| error(failure.to_string()))
        }
    }
}
