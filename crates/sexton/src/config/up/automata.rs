//! Sections `automaton` of a file: each becomes a process that is ourselves, running that section.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use super::super::automaton::{self, AutomatonPlan};
use super::super::raw::native::{File, Process, RestartPolicy};
use super::super::raw::words::{Variables, Words};
use super::super::read::Problem;
use super::super::tree::{Node, Step, Value, dotted};

/// The name of the section of the whole, and of the process that it becomes.
const SECTION: &str = "automaton";
/// Tells a section that has changed from one that has not, when a file is read again.
const DIGEST: &str = "SEXTON_AUTOMATON_DIGEST";

/// Makes processes of the sections.
pub(super) fn insert(root: &Node, path: Option<&Path>, file: &mut File, problems: &mut Vec<Problem>) {
    for (name, process) in &mut file.processes.0 {
        let list = matches!(root.get("processes").map(|it| &it.value), Some(Value::List(_)));
        let key = if list { index_of(root, name).map(Step::from) } else { Some(Step::from(name.as_str())) };
        let Some(key) = key.filter(|_| process.automaton.is_some()) else { continue };
        let at = [Step::from("processes"), key, Step::from(SECTION)];
        if process.command.is_some() {
            problems.push(problem(root, &at, "it has a command too: what is to be run?"));
        }
        become_automaton(root, &at, path, process, problems);
    }
    if file.automaton.is_some() {
        let at = [Step::from(SECTION)];
        if file.processes.0.iter().any(|(name, _)| name == SECTION) {
            problems.push(problem(root, &at, "there is a process 'automaton' already"));
        }
        let mut process = Process::default();
        process.more.at = at.to_vec();
        become_automaton(root, &at, path, &mut process, problems);
        file.processes.0.push((SECTION.to_owned(), process));
    }
}

fn index_of(root: &Node, name: &str) -> Option<usize> {
    let Some(Value::List(items)) = root.get("processes").map(|it| &it.value) else { return None };
    items.iter().position(|item| item.get("name").and_then(Node::text) == Some(name))
}

fn problem(root: &Node, at: &[Step], message: impl Into<String>) -> Problem {
    Problem { place: root.place_of(at), path: dotted(at), message: message.into() }
}

fn become_automaton(
    root: &Node,
    at: &[Step],
    path: Option<&Path>,
    process: &mut Process,
    problems: &mut Vec<Problem>,
) {
    let plan = match check(root, at, path) {
        Ok(plan) => plan,
        Err(found) => {
            problems.extend(found);
            None
        }
    };
    let way: Vec<String> = at
        .iter()
        .map(|step| match step {
            Step::Key(key) => key.clone(),
            Step::Index(index) => index.to_string(),
        })
        .collect();
    let own = std::env::current_exe().unwrap_or_default();
    let file = path.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    let words = [
        own.to_string_lossy().into_owned(),
        SECTION.to_owned(),
        file.unwrap_or_default().to_string_lossy().into_owned(),
        "--section".to_owned(),
        way.join("/"),
        "--port".to_owned(),
        "none".to_owned(),
        "--log-format".to_owned(),
        "logfmt".to_owned(),
    ];
    // What looks like a variable is none.
    process.command = Some(Words(words.map(|word| word.replace('$', "$$")).to_vec()));
    process.restart_policy = process.restart_policy.or(Some(RestartPolicy::OnFailure));
    process.notify = process.notify.take().or_else(|| Some("systemd".to_owned()));
    let mut hasher = DefaultHasher::new();
    format!("{plan:?}").hash(&mut hasher);
    let digest = (DIGEST.to_owned(), Some(format!("{:016x}", hasher.finish())));
    process.env.get_or_insert_with(|| Variables(Vec::new())).0.push(digest);
}

fn check(root: &Node, at: &[Step], path: Option<&Path>) -> Result<Option<AutomatonPlan>, Vec<Problem>> {
    let mut node = root;
    for step in at {
        let next = match (step, &node.value) {
            (Step::Key(key), _) => node.get(key),
            (Step::Index(index), Value::List(items)) => items.get(*index),
            (Step::Index(_), _) => None,
        };
        let Some(next) = next else { return Ok(None) };
        node = next;
    }
    match node.text().filter(|_| !node.is_null()) {
        None => automaton::resolve(node, at).map(Some),
        Some(name) => {
            let directory = path.and_then(Path::parent).unwrap_or(Path::new(""));
            let told = |problem: String| vec![self::problem(root, at, problem)];
            automaton::load(&directory.join(name), None).map(Some).map_err(|error| told(error.to_string()))
        }
    }
}
