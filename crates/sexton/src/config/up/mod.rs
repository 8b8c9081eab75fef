//! A file that describes many processes becomes one validated plan.
//!
//! ```text
//! text ─► tree ─► raw::native ───────────────────────────────┐
//!              ─► raw::wrapper ──► from_wrapper ─────────────┤
//!              ─► raw::kubernetes ─► from_kubernetes ────────┴─► raw::native::File ─► resolve ─► UpPlan
//! ```
//!
//! All that is wrong is told at once, with its place. Nothing is started by a file that is not all right.

mod actions;
mod automata;
pub mod diff;
mod ensemble;
mod environment;
mod from_kubernetes;
mod from_wrapper;
mod pod;
mod resolve;
mod shared_lock;
#[cfg(test)]
mod tests;

use spec::logs::LogPlan;
use spec::notify::NotifyKind;
use spec::probe::{Action, Check};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::Plan;

use super::read::{Keys, Problem, read};
use super::tree::{self, Node, Step, Value};
use crate::locks::LockPlan;
use spec::environment::Environment;
use spec::logs::LogFormat;
use spec::pod::PodPlan;
use spec::program::Program;

/// All processes, and what each is made of, by place.
#[derive(Debug, Clone, PartialEq)]
pub struct UpPlan {
    /// Order, probes, restarts: what the engine decides by.
    pub plan: Plan,
    /// What each is made of.
    pub processes: Vec<ProcessPlan>,
    /// A file that is there while all are healthy.
    pub readiness_file: Option<PathBuf>,
    /// It stays when health is lost.
    pub readiness_file_sticky: bool,
    /// The other containers of the pod.
    pub pod: Option<PodPlan>,
    /// What was not understood as the writer may have meant it.
    pub warnings: Vec<String>,
}

/// What a process is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessPlan {
    /// What people call it.
    pub name: String,
    /// What to start.
    pub program: Program,
    /// Its words as they stand in the file, to be shown: the values of variables may be secrets.
    pub words: Vec<String>,
    /// How its output is passed on.
    pub logs: LogPlan,
    /// How it is probed: startup, liveness, readiness; all checks of one have to pass.
    pub probes: [Vec<Check>; 3],
    /// What is done when it is there.
    pub post_start: Option<Action>,
    /// What is done before the stop signal.
    pub pre_stop: Option<Action>,
    /// The most memory it may use, in bytes.
    pub memory_limit: Option<u64>,
    /// How many processors it may use.
    pub cpu_limit: Option<f64>,
    /// How it says that it has started.
    pub notify: Option<NotifyKind>,
    /// It runs only while we hold this.
    pub lock: Option<LockPlan>,
    /// The name of its tombstone.
    pub tombstone: Option<String>,
    /// It is an automaton, and says its state.
    pub automaton: bool,
}

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// From a file, which is read again on a reload.
    File(PathBuf),
    /// From `$CONFIG`.
    Variable(OsString),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(_) => f.write_str("$CONFIG"),
        }
    }
}

/// What is said beside the file: on the command line and in the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CliOverrides {
    /// The form of records where the file does not say.
    pub log_format: Option<LogFormat>,
    /// Standard output is a terminal.
    pub terminal: bool,
    /// Of process-wrapper's list, those that are left out.
    pub skip: Vec<String>,
    /// Replaces the file's.
    pub readiness_file: Option<PathBuf>,
    /// Replaces the file's.
    pub readiness_file_sticky: Option<bool>,
    /// Replaces the file's: how long everything may take to end, exactly.
    pub deadline: Option<Duration>,
    /// Replaces the file's.
    pub exit_from: Option<String>,
    /// The control socket of whoever looks after the processes.
    pub control: Option<PathBuf>,
    /// Where locks are asked for, where the file does not say.
    pub lock_url: Option<String>,
    /// A lock server that runs beside the processes: the words of its command line.
    pub lock_server: Option<Vec<String>>,
}

/// All that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it comes from.
    pub source: String,
    /// What is wrong.
    pub problems: Vec<String>,
}

impl ConfigError {
    /// A line for each thing.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.problems.iter().map(|problem| format!("{}:{problem}", self.source))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// Reads, checks and resolves a configuration.
pub fn load(
    source: &Source,
    beside: &CliOverrides,
    environment: &dyn Environment,
) -> Result<UpPlan, ConfigError> {
    let wrong = |problem: String| ConfigError { source: source.to_string(), problems: vec![problem] };
    let (text, path) = match source {
        Source::File(path) => {
            (text_of(path).map_err(|error| wrong(format!(" {error}")))?, Some(path.as_path()))
        }
        Source::Variable(text) => {
            let text = text.to_str().ok_or_else(|| wrong(" it is not UTF-8".to_owned()))?;
            (text.to_owned(), None)
        }
    };
    from_text(&text, path, beside, environment).map_err(|problems| ConfigError {
        source: source.to_string(),
        problems: problems.iter().map(ToString::to_string).collect(),
    })
}

pub(super) fn text_of(path: &Path) -> Result<String, String> {
    let describe = |error: std::io::Error| format!("cannot read it: {}", spec::text::describe(&error));
    let mut raw = Vec::new();
    let file = File::open(path).map_err(describe)?;
    file.take(tree::LARGEST as u64 + 1).read_to_end(&mut raw).map_err(describe)?;
    String::from_utf8(raw)
        .map_err(|error| format!("it is not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
}

/// The same of a text; relative names of files are looked for beside `path`.
pub fn from_text(
    text: &str,
    path: Option<&Path>,
    beside: &CliOverrides,
    environment: &dyn Environment,
) -> Result<UpPlan, Vec<Problem>> {
    let documents = tree::parse(text)
        .map_err(|error| vec![Problem { place: error.place, path: String::new(), message: error.message }])?;
    let documents: Vec<_> = documents.into_iter().filter(|node| !node.is_null()).collect();
    let root = match documents.as_slice() {
        [] => return Err(vec![problem_at_root("it is empty: expected a map with 'processes'")]),
        [root] => root,
        several => from_kubernetes::the_one_with_a_pod(several)?,
    };
    let (mut file, problems, warnings) = match &root.value {
        Value::List(_) => {
            let (file, problems) = from_wrapper::file(root, beside);
            (file, problems, Vec::new())
        }
        Value::Map(_) if root.get("apiVersion").is_some() || root.get("kind").is_some() => {
            from_kubernetes::file(root)
        }
        Value::Map(_) => {
            let (mut file, mut problems) = read(root, Keys::Exact);
            automata::insert(root, path, &mut file, &mut problems);
            (file, problems, Vec::new())
        }
        Value::Scalar { .. } => {
            return Err(vec![problem_at_root(
                "expected a map with 'processes', a list, or a Kubernetes manifest",
            )]);
        }
    };
    shared_lock::insert(beside, &mut file);
    let mut problems = Problems { root, found: problems };
    ensemble::insert(&mut file, beside, environment, &mut problems);
    let directory = path.and_then(Path::parent).filter(|path| !path.as_os_str().is_empty());
    let plan = resolve::resolve(&file, directory, beside, environment, &mut problems);
    match plan {
        Some(mut plan) if problems.found.is_empty() => {
            plan.warnings.extend(warnings);
            Ok(plan)
        }
        _ => {
            problems.found.sort();
            problems.found.dedup();
            Err(problems.found)
        }
    }
}

fn problem_at_root(message: &str) -> Problem {
    let place = tree::Position { line: 1, column: 1 };
    Problem { place, path: String::new(), message: message.to_owned() }
}

/// What has been found wrong so far.
struct Problems<'a> {
    root: &'a Node,
    found: Vec<Problem>,
}

impl Problems<'_> {
    fn at(&mut self, path: &[Step], message: impl Into<String>) {
        let place = self.root.place_of(path);
        let path = tree::dotted(path);
        // What could not be read below it is missing here, and was told.
        let inner = |problem: &Problem| {
            let rest = problem.path.strip_prefix(&path);
            rest.is_some_and(|rest| !path.is_empty() && rest.starts_with(['.', '[']))
        };
        if !self.found.iter().any(inner) {
            self.found.push(Problem { place, path, message: message.into() });
        }
    }
}

/// A path, one step longer.
fn below(path: &[Step], step: impl Into<Step>) -> Vec<Step> {
    let mut path = path.to_vec();
    path.push(step.into());
    path
}
