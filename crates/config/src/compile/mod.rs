//! Compiles a file that describes several processes to a validated plan.
//!
//! ```text
//! text ─► tree ─► file::native ───────────────────────────────┐
//!              ─► raw::wrapper ──► from_wrapper ─────────────┤
//!              ─► raw::kubernetes ─► from_kubernetes ────────┴─► file::native::File ─► resolve ─► UpPlan
//! ```
//!
//! All problems are reported at once, with their positions. An invalid file starts nothing.

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

use spec::logs::{LogPlan, OnFull};
use spec::notify::NotifyKind;
use spec::probe::{Action, Check};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::{Plan, ProbeKind, ProbePlan, Probes};

use crate::yaml::reader::{Keys, MAX_UNKNOWN, Problem, read};
use crate::yaml::tree;
use crate::yaml::tree::{Node, Step, Value};
use spec::environment::Environment;
use spec::lock::LockPlan;
use spec::logs::LogFormat;
use spec::pod::PodPlan;
use spec::program::Program;

/// The plan of all processes, in the same order in `plan.jobs` and `processes`.
#[derive(Debug, Clone, PartialEq)]
pub struct UpPlan {
    /// The engine's part: order, probes, restarts.
    pub plan: Plan,
    pub processes: Vec<ProcessPlan>,
    /// A file that exists while all processes are healthy.
    pub readiness_file: Option<PathBuf>,
    /// Keep the file when a process becomes unhealthy.
    pub readiness_file_sticky: bool,
    /// Coordination with the other containers of the pod.
    pub pod: Option<PodPlan>,
    /// Warnings about ignored or risky settings.
    pub warnings: Vec<String>,
}

/// The resolved settings of a process.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessPlan {
    pub name: String,
    pub program: Program,
    /// Command and arguments before expansion, for display: values of variables may be secrets.
    pub arguments: Vec<String>,
    pub logs: LogPlan,
    pub probes: ProbeSet,
    pub post_start: Option<Action>,
    pub pre_stop: Option<Action>,
    /// In bytes.
    pub memory_limit: Option<u64>,
    /// In CPUs.
    pub cpu_limit: Option<f64>,
    pub notify: Option<NotifyKind>,
    /// The lock under which it runs.
    pub lock: Option<LockPlan>,
    pub tombstone: Option<String>,
    /// Whether it is an automaton, which reports its state.
    pub automaton: bool,
}

/// A resolved probe: its checks, all of which must succeed, and its timing.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedProbe {
    pub checks: Arc<[Check]>,
    pub timing: ProbePlan,
}

/// The probes of a process, at most one of each kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProbeSet([Option<ResolvedProbe>; 3]);

impl ProbeSet {
    /// Returns the probe of a kind.
    #[must_use]
    pub const fn get(&self, kind: ProbeKind) -> Option<&ResolvedProbe> {
        self.0[kind as usize].as_ref()
    }

    fn insert(&mut self, kind: ProbeKind, probe: ResolvedProbe) {
        self.0[kind as usize] = Some(probe);
    }

    /// Returns the engine's part of the probes: their timing.
    #[must_use]
    pub fn timings(&self) -> Probes {
        let timing = |kind| self.get(kind).map(|probe| probe.timing.clone());
        Probes {
            startup: timing(ProbeKind::Startup),
            liveness: timing(ProbeKind::Liveness),
            readiness: timing(ProbeKind::Readiness),
        }
    }
}

/// The source of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, which is read again on reload.
    File(PathBuf),
    /// The value of `$CONFIG`.
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

/// Settings of the command line and the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CliOverrides {
    /// The log format if the file sets none.
    pub log_format: Option<LogFormat>,
    /// What happens to output that is not read, if the file does not say.
    pub on_full: Option<OnFull>,
    /// Whether standard output is a terminal.
    pub terminal: bool,
    /// Names of process-wrapper's list to skip.
    pub skip: Vec<String>,
    /// Overrides the file.
    pub readiness_file: Option<PathBuf>,
    /// Overrides the file.
    pub readiness_file_sticky: Option<bool>,
    /// Overrides the file: the exact time for the complete shutdown.
    pub deadline: Option<Duration>,
    /// Overrides the file.
    pub exit_from: Option<String>,
    /// The control socket of the supervisor.
    pub control: Option<PathBuf>,
    /// The URL of the lock server if the file sets none.
    pub lock_url: Option<String>,
    /// The arguments of a lock server that runs with the processes.
    pub lock_server: Option<Vec<String>>,
}

/// The problems of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub source: String,
    pub problems: Vec<String>,
}

impl ConfigError {
    /// Returns one line per problem.
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
    overrides: &CliOverrides,
    environment: &dyn Environment,
) -> Result<UpPlan, ConfigError> {
    let error_of = |problem: String| ConfigError { source: source.to_string(), problems: vec![problem] };
    let (text, path) = match source {
        Source::File(path) => {
            (text_of(path).map_err(|error| error_of(format!(" {error}")))?, Some(path.as_path()))
        }
        Source::Variable(text) => {
            let text = text.to_str().ok_or_else(|| error_of(" not UTF-8".to_owned()))?;
            (text.to_owned(), None)
        }
    };
    from_text(&text, path, overrides, environment).map_err(|problems| ConfigError {
        source: source.to_string(),
        problems: problems.iter().map(ToString::to_string).collect(),
    })
}

pub(super) fn text_of(path: &Path) -> Result<String, String> {
    let describe = |error: std::io::Error| format!("cannot read the file: {}", spec::text::describe(&error));
    let mut raw = Vec::new();
    let file = File::open(path).map_err(describe)?;
    file.take(tree::LARGEST as u64 + 1).read_to_end(&mut raw).map_err(describe)?;
    String::from_utf8(raw).map_err(|error| format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
}

/// Compiles a text; relative file names are resolved against the directory of `path`.
pub fn from_text(
    text: &str,
    path: Option<&Path>,
    overrides: &CliOverrides,
    environment: &dyn Environment,
) -> Result<UpPlan, Vec<Problem>> {
    let documents = tree::parse(text)
        .map_err(|error| vec![Problem { place: error.place, path: String::new(), message: error.message }])?;
    let documents: Vec<_> = documents.into_iter().filter(|node| !node.is_null()).collect();
    let root = match documents.as_slice() {
        [] => return Err(vec![problem_at_root("empty file: expected a map with 'processes'")]),
        [root] => root,
        several => from_kubernetes::document_with_pod(several)?,
    };
    let (mut file, problems, warnings) = match &root.value {
        Value::List(_) => {
            let (file, problems) = from_wrapper::file(root, overrides);
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
    shared_lock::insert(overrides, &mut file);
    let mut problems = Problems { root, found: problems };
    ensemble::insert(&mut file, overrides, environment, &mut problems);
    let directory = path.and_then(Path::parent).filter(|path| !path.as_os_str().is_empty());
    let plan = resolve::resolve(&file, directory, overrides, environment, &mut problems);
    match plan {
        Some(mut plan) if problems.found.is_empty() => {
            plan.warnings.extend(warnings);
            Ok(plan)
        }
        _ => {
            problems.found.sort();
            problems.found.dedup();
            if problems.found.len() >= MAX_PROBLEMS {
                let message = "there may be more problems, which are not shown".to_owned();
                let place = problems.found.last().map_or(root.place, |last| last.place);
                problems.found.push(Problem { place, path: String::new(), message });
            }
            Err(problems.found)
        }
    }
}

fn problem_at_root(message: &str) -> Problem {
    let place = tree::Position { line: 1, column: 1 };
    Problem { place, path: String::new(), message: message.to_owned() }
}

/// More problems of one file are not reported. Each of very many replicas may have the same one.
const MAX_PROBLEMS: usize = MAX_UNKNOWN;

/// The problems found so far.
struct Problems<'a> {
    root: &'a Node,
    found: Vec<Problem>,
}

impl Problems<'_> {
    fn at(&mut self, path: &[Step], message: impl Into<String>) {
        if self.found.len() > MAX_PROBLEMS {
            return;
        }
        let place = self.root.place_of(path);
        let path = tree::dotted(path);
        // A value below it that could not be read has already been reported.
        let inner = |problem: &Problem| {
            let rest = problem.path.strip_prefix(&path);
            rest.is_some_and(|rest| !path.is_empty() && rest.starts_with(['.', '[']))
        };
        if !self.found.iter().any(inner) {
            self.found.push(Problem { place, path, message: message.into() });
        }
    }
}

/// Appends a step to a path.
fn below(path: &[Step], step: impl Into<Step>) -> Vec<Step> {
    let mut path = path.to_vec();
    path.push(step.into());
    path
}
