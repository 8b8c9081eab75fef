//! Resolves the dependencies of a file on other containers of the pod.

use std::path::PathBuf;
use std::time::Duration;

use engine::{CodeMap, Condition, Expression, StartDependency, TimeoutAction};

use super::super::options::parse_mode;
use super::super::pod::{self, Defaults};
use crate::compile::environment::expand;
use crate::compile::{Problems, below};
use crate::file::native::{File, Graveyard, Process, QuitWhen};
use crate::file::scalars;
use crate::file::scalars::OneOrMany;
use crate::yaml::tree::Step;
use spec::environment::Environment;
use spec::names::{check, check_peer};
use spec::pod::{ApiPlan, DEFAULT_MODE, PodPlan};

/// The prefix of a tombstone in `dependsOn`.
pub(super) const PREFIX: &str = "pod/";

/// The resolved settings of the pod.
pub(super) struct PodDependencies {
    pub(super) plan: PodPlan,
    pub(super) death_dependencies: Vec<Expression>,
    pub(super) rebirth: Duration,
    pub(super) codes: CodeMap,
    /// Start dependencies of all processes.
    start_dependencies: Vec<StartDependency>,
    defaults: Defaults,
}

impl From<scalars::Condition> for Condition {
    fn from(condition: scalars::Condition) -> Self {
        match condition {
            scalars::Condition::Started => Self::Started,
            scalars::Condition::Ready => Self::Ready,
            scalars::Condition::Succeeded => Self::Succeeded,
            scalars::Condition::Failed => Self::Failed,
            scalars::Condition::Exited => Self::Exited,
        }
    }
}

pub(super) fn resolve(
    file: &File,
    environment: &dyn Environment,
    problems: &mut Problems<'_>,
) -> PodDependencies {
    let raw = file.graveyard.clone().unwrap_or_default();
    let at = [Step::from("graveyard")];
    let timeout = raw.birth_timeout.map(|span| span.0);
    let defaults = Defaults {
        timeout: timeout.map_or(Some(pod::DEFAULT_BIRTH_TIMEOUT), pod::zero_as_none),
        at_timeout: TimeoutAction::Fail,
    };
    let of_file = |text: &str| pod::births(text, defaults);
    let mut awaits = parse_each(raw.birth_deps.as_ref(), &at, "birthDeps", of_file, problems);
    awaits.extend(parse_each(
        file.wait_for.as_ref(),
        &[],
        "waitFor",
        |text| pod::servers(text, defaults),
        problems,
    ));
    let quit = parse_each(file.quit.as_ref(), &[], "quit", pod::quits, problems);
    let mut codes = CodeMap::default();
    match file.exit_codes.as_deref().map(pod::codes) {
        Some(Ok(map)) => codes = map,
        Some(Err(message)) => problems.at(&[Step::from("exitCodes")], message),
        None => {}
    }
    let mut plan = plan(&raw, &at, environment, problems);
    (plan.quit, plan.quit_on_success_only) = (quit, file.quit_when == Some(QuitWhen::Success));
    PodDependencies {
        plan,
        death_dependencies: deaths(raw.death_deps.as_ref(), &at, problems),
        rebirth: raw.rebirth_timeout.map_or(pod::DEFAULT_REBIRTH_TIMEOUT, |span| span.0),
        codes,
        start_dependencies: awaits,
        defaults,
    }
}

fn plan(raw: &Graveyard, at: &[Step], environment: &dyn Environment, problems: &mut Problems<'_>) -> PodPlan {
    if let Some(Err(message)) = raw.name.as_deref().map(check) {
        problems.at(&below(at, "name"), message);
    }
    let mode = match raw.mode.as_ref().map(|word| (word, parse_mode(&word.0))) {
        None => DEFAULT_MODE,
        Some((_, Ok(mode))) => mode,
        Some((word, Err(message))) => {
            problems.at(&below(at, "mode"), format!("'{}': {message}", word.0));
            DEFAULT_MODE
        }
    };
    if raw.poll.is_some_and(|span| span.0.is_zero()) {
        problems.at(&below(at, "poll"), "expected more than 0");
    }
    // Variables of the downward API.
    let known = |name: &str| environment.get(name).map(|value| value.to_string_lossy().into_owned());
    let mut expanded = |name: &String, key| {
        expand(name, known).map_err(|message| problems.at(&below(at, key), message)).unwrap_or_default()
    };
    let api = raw.pod_name.as_ref().map(|name| ApiPlan {
        pod: expanded(name, "podName"),
        namespace: raw.namespace.as_ref().map(|name| expanded(name, "namespace")),
    });
    PodPlan {
        name: raw.name.clone(),
        directory: raw.directory.as_ref().map_or_else(|| PodPlan::default().directory, PathBuf::from),
        mode,
        poll: raw.poll.map(|span| span.0),
        api,
        quit: Vec::new(),
        quit_on_success_only: false,
    }
}

impl PodDependencies {
    /// Returns the start dependencies of a process on other containers.
    pub(super) fn start_dependencies_of(
        &self,
        raw: &Process,
        at: &[Step],
        problems: &mut Problems<'_>,
    ) -> Vec<StartDependency> {
        let Defaults { timeout, at_timeout } = self.defaults;
        let mut awaits = self.start_dependencies.clone();
        for (name, condition) in raw.depends_on.iter().flat_map(|needs| &needs.0) {
            let Some(peer) = name.strip_prefix(PREFIX) else { continue };
            if let Err(message) = check_peer(peer) {
                problems.at(&below(&below(at, "dependsOn"), name.as_str()), message);
            }
            let condition = condition.unwrap_or(scalars::Condition::Ready).into();
            awaits.push(StartDependency { expression: Expression::of(peer, condition), timeout, at_timeout });
        }
        let births = |text: &str| pod::births(text, self.defaults);
        awaits.extend(parse_each(raw.birth_deps.as_ref(), at, "birthDeps", births, problems));
        awaits
    }
}

pub(super) fn deaths(
    given: Option<&OneOrMany<String>>,
    at: &[Step],
    problems: &mut Problems<'_>,
) -> Vec<Expression> {
    parse_each(given, at, "deathDeps", pod::deaths, problems)
}

/// Returns the tombstone name of a process; a replica appends its number.
pub(super) fn tombstone(
    raw: &Process,
    replica: Option<u32>,
    at: &[Step],
    problems: &mut Problems<'_>,
) -> Option<String> {
    let name = raw.tombstone.as_ref()?;
    if let Err(message) = check(name) {
        problems.at(&below(at, "tombstone"), message);
    }
    Some(replica.map_or_else(|| name.clone(), |number| format!("{name}_{number}")))
}

fn parse_each<T>(
    given: Option<&OneOrMany<String>>,
    at: &[Step],
    key: &str,
    read: impl Fn(&str) -> Result<Vec<T>, String>,
    problems: &mut Problems<'_>,
) -> Vec<T> {
    let mut all = Vec::new();
    for text in given.iter().flat_map(|given| &given.0) {
        match read(text) {
            Ok(some) => all.extend(some),
            Err(message) => problems.at(&below(at, key), message),
        }
    }
    all
}
