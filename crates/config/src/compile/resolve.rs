//! Resolves the native format to a plan: applies defaults, looks up names, validates.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::{
    Condition, DurationRange, ExitRule, JobId, JobPlan, Need, Plan, PodSettings, Policy, PostStart,
    ProbeKind, ProbePlan, Restart, RestartDelay, RestartLimit, RestartRule, Signal, dependencies,
};

use crate::accounts;
use crate::compile::actions::ActionResolver;
use crate::compile::environment::{Grammar, check_name, expand, read_file};
use crate::compile::pod;
use crate::compile::pod::PodDependencies;
use crate::compile::{CliOverrides, ProbeSet, Problems, ProcessPlan, ResolvedProbe, UpPlan, below};
use crate::file::native;
use crate::file::native::{AtLimit, File, KillMode, Logs, Process, RestartPolicy};
use crate::file::scalars;
use crate::file::scalars::{Text, Unsupported};
use crate::yaml::tree::Step;
use spec::duration::parse_span;
use spec::environment::Environment;
use spec::lock::LockPlan;
use spec::logs::{LogFormat, LogPlan, OUTPUT_RESERVE};
use spec::notify::NotifyKind;
use spec::program::{Attributes, MAX_GROUPS, Program};
use spec::suggest::hint;

/// The default time for the complete shutdown, as of a Kubernetes pod.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// The default time limit of a postStart hook.
const DEFAULT_HOOK_DEADLINE: Duration = Duration::from_secs(60);
/// The default time window in which restarts are counted.
const DEFAULT_WINDOW: Duration = Duration::from_secs(600);
/// How long to wait for a process that is still alive after SIGKILL.
const ABANDON_AFTER: Duration = Duration::from_secs(10);
/// The grace period of all processes after Ctrl-C.
const FAST_GRACE: Duration = Duration::from_secs(2);
/// The maximum size of all expanded texts of a file, in bytes.
const MAX_EXPANDED_ALL: usize = 64 << 20;
/// The maximum number of replicas of a process.
const MAX_REPLICAS: u32 = 10_000;

/// A replica of a process of the file, with its path.
struct ExpandedProcess<'a> {
    /// The name in the file, without a replica number.
    base: &'a str,
    name: String,
    raw: &'a Process,
    at: Vec<Step>,
    replica: Option<u32>,
}

/// Resolves a file to a plan, as far as possible.
pub(super) fn resolve(
    file: &File,
    directory: Option<&Path>,
    overrides: &CliOverrides,
    environment: &dyn Environment,
    problems: &mut Problems<'_>,
) -> Option<UpPlan> {
    let resolver = Resolver { file, directory, overrides, environment, expanded: Cell::default() };
    reject_unsupported(&[], [("metrics", &file.metrics)], problems);
    let named = resolver.named(problems);
    if named.is_empty() && problems.found.is_empty() {
        problems.at(&[], "processes is missing or empty");
    }
    let places: BTreeMap<&str, Vec<usize>> =
        named.iter().enumerate().fold(BTreeMap::new(), |mut map, (place, it)| {
            map.entry(it.base).or_insert_with(Vec::new).push(place);
            map
        });
    let mut jobs = Vec::new();
    let mut processes = Vec::new();
    for it in &named {
        let (job, process) = resolver.process(it, problems);
        jobs.push(job);
        processes.push(process);
    }
    let pod = pod::resolve(file, environment, problems);
    let mut tombstones = BTreeSet::new();
    tombstones.extend(pod.plan.name.clone());
    for (it, process) in named.iter().zip(&processes) {
        if let Some(name) = process.tombstone.as_ref().filter(|name| !tombstones.insert((*name).clone())) {
            problems.at(&below(&it.at, "tombstone"), format!("duplicate tombstone '{name}'"));
        }
    }
    resolver.needs(&named, &places, &mut jobs, &pod, problems);
    if let Some(cycle) = dependencies::cycle(&jobs) {
        let names: Vec<_> = cycle.iter().chain(cycle.first()).map(|id| named[id.0].base).collect();
        let at = below(&named[cycle[0].0].at, "dependsOn");
        problems.at(&at, format!("dependency cycle: {}", names.join(" -> ")));
    }
    if !jobs.is_empty() && jobs.iter().all(|job| job.sidecar) {
        problems
            .at(&[Step::from("processes")], "all processes are sidecars: expected at least one main process");
    }
    let exit_from = overrides.exit_from.as_ref().or(file.exit_from.as_ref());
    let exit = match exit_from.map(|name| (name, places.get(name.as_str()))) {
        None => ExitRule::FirstToFail,
        Some((_, Some(places))) if places.len() == 1 => ExitRule::From(JobId(places[0])),
        Some((name, Some(_))) => {
            problems.at(
                &[Step::from("exitFrom")],
                format!("'{name}' has several replicas: expected a single process"),
            );
            ExitRule::FirstToFail
        }
        Some((name, None)) => {
            let hint = hint(name, places.keys().copied());
            problems.at(&[Step::from("exitFrom")], format!("unknown process '{name}'{hint}"));
            ExitRule::FirstToFail
        }
    };
    let grace = file.termination_grace_period_seconds.map_or(DEFAULT_GRACE, |span| span.0);
    let settings = PodSettings {
        stop_on: vec![Signal::TERM, Signal::QUIT, Signal::INT],
        fast_shutdown: Some((vec![Signal::INT], FAST_GRACE)),
        forward: false,
        linger: Duration::ZERO,
        deadline: Some(overrides.deadline.unwrap_or_else(|| grace - OUTPUT_RESERVE.min(grace / 2))),
        exit,
        codes: pod.codes,
        death_dependencies: pod.death_dependencies,
        rebirth: pod.rebirth,
        tombstone: pod.plan.name.is_some(),
    };
    let uses_pod = settings.tombstone
        || !settings.death_dependencies.is_empty()
        || pod.plan.api.is_some()
        || !pod.plan.quit.is_empty()
        || jobs.iter().any(|job| {
            job.tombstone || !job.start_dependencies.is_empty() || !job.death_dependencies.is_empty()
        });
    let has_death_dependencies =
        !settings.death_dependencies.is_empty() || jobs.iter().any(|job| !job.death_dependencies.is_empty());
    let warning = (has_death_dependencies && !settings.tombstone && jobs.iter().all(|job| !job.tombstone)).then(|| {
        " graveyard.name is missing: without an own tombstone, an earlier exit of a peer shuts sexton down again after a restart"
            .to_owned()
    });
    let readiness_file =
        overrides.readiness_file.clone().or_else(|| file.readiness_file.as_ref().map(PathBuf::from));
    Some(UpPlan {
        plan: Plan { jobs, pod: settings },
        processes,
        readiness_file,
        pod: uses_pod.then_some(pod.plan),
        readiness_file_sticky: overrides
            .readiness_file_sticky
            .or(file.readiness_file_sticky)
            .unwrap_or(false),
        warnings: warning.into_iter().collect(),
    })
}

fn reject_unsupported<'a>(
    path: &[Step],
    keys: impl IntoIterator<Item = (&'a str, &'a Option<Unsupported>)>,
    problems: &mut Problems<'_>,
) {
    for (key, given) in keys {
        if given.is_some() {
            problems.at(&below(path, key), "not supported");
        }
    }
}

struct Resolver<'a> {
    file: &'a File,
    directory: Option<&'a Path>,
    overrides: &'a CliOverrides,
    environment: &'a dyn Environment,
    /// The size of all expanded texts so far.
    expanded: Cell<usize>,
}

impl<'a> Resolver<'a> {
    /// Expands a text, within the limits of one text and of the file; reports a text that exceeds them.
    fn expand(
        &self,
        text: &str,
        variables: &[(String, String)],
        path: &[Step],
        problems: &mut Problems<'_>,
    ) -> String {
        let before = self.expanded.get();
        let expanded = if before == usize::MAX {
            // Reported.
            return String::new();
        } else if before > MAX_EXPANDED_ALL {
            self.expanded.set(usize::MAX);
            Err("the expanded texts of the file are longer than 64 MiB".to_owned())
        } else {
            expand(text, |name| lookup(variables, name))
        };
        match expanded {
            Ok(expanded) => {
                self.expanded.set(before + expanded.len());
                expanded
            }
            Err(message) => {
                problems.at(path, message);
                String::new()
            }
        }
    }

    fn named(&self, problems: &mut Problems<'_>) -> Vec<ExpandedProcess<'a>> {
        let mut all: Vec<ExpandedProcess<'a>> = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, (name, raw)) in self.file.processes.0.iter().enumerate() {
            let at = if !raw.more.at.is_empty() {
                raw.more.at.clone()
            } else if raw.name.as_deref() == Some(name)
                && problems.root.get("processes").is_some_and(|it| it.get(name).is_none())
            {
                vec![Step::from("processes"), Step::from(index)]
            } else {
                vec![Step::from("processes"), Step::from(name.as_str())]
            };
            if let Some(own) = &raw.name
                && own != name
            {
                problems.at(&below(&at, "name"), format!("name differs from the key '{name}'"));
            }
            if let Err(message) = check_process_name(name) {
                problems.at(&at, message);
            }
            let replicas = raw.replicas.unwrap_or(1);
            if replicas > MAX_REPLICAS {
                problems.at(
                    &below(&at, "replicas"),
                    format!("expected at most {MAX_REPLICAS}, found {replicas}"),
                );
                continue;
            }
            for replica in 0..replicas {
                let replica = raw.replicas.map(|_| replica);
                let name = replica.map_or_else(|| name.clone(), |number| format!("{name}_{number}"));
                if !name.is_empty() && !seen.insert(name.clone()) {
                    problems.at(&at, format!("duplicate process '{name}'"));
                }
                all.push(ExpandedProcess {
                    base: &self.file.processes.0[index].0,
                    name,
                    raw,
                    at: at.clone(),
                    replica,
                });
            }
        }
        all
    }

    fn needs(
        &self,
        named: &[ExpandedProcess<'_>],
        places: &BTreeMap<&str, Vec<usize>>,
        jobs: &mut [JobPlan],
        pod: &PodDependencies,
        problems: &mut Problems<'_>,
    ) {
        for (place, it) in named.iter().enumerate() {
            let at = below(&it.at, "dependsOn");
            jobs[place].start_dependencies = pod.start_dependencies_of(it.raw, &it.at, problems);
            jobs[place].death_dependencies = pod::deaths(it.raw.death_deps.as_ref(), &it.at, problems);
            for (name, condition) in it.raw.depends_on.iter().flat_map(|needs| &needs.0) {
                if name.starts_with(pod::PREFIX) {
                    continue;
                }
                let Some(others) = places.get(name.as_str()) else {
                    let hint = hint(name, places.keys().copied());
                    problems.at(&below(&at, name.as_str()), format!("unknown process '{name}'{hint}"));
                    continue;
                };
                let condition = condition.unwrap_or(scalars::Condition::Ready).into();
                for other in others {
                    let ends = jobs[*other].restart.may_end();
                    if matches!(condition, Condition::Succeeded | Condition::Failed | Condition::Exited)
                        && !ends
                    {
                        let word = condition.label();
                        let message = format!("'{name}' never reaches {word}: its restartPolicy is Always");
                        problems.at(&below(&at, name.as_str()), message);
                    }
                    jobs[place].needs.push(Need { job: JobId(*other), condition });
                }
            }
        }
        let sidecars: Vec<usize> = (0..jobs.len())
            .filter(|place| jobs[*place].sidecar && !named[*place].raw.more.ignores_sidecars)
            .collect();
        // A dependency of a sidecar must not wait for the sidecar.
        let mut needed_by = BTreeMap::new();
        for sidecar in &sidecars {
            let mut needed = BTreeSet::new();
            let mut open = vec![*sidecar];
            while let Some(place) = open.pop() {
                open.extend(
                    jobs[place].needs.iter().map(|need| need.job.0).filter(|need| needed.insert(*need)),
                );
            }
            needed_by.insert(*sidecar, needed);
        }
        for place in 0..jobs.len() {
            if jobs[place].sidecar || named[place].raw.more.ignores_sidecars {
                continue;
            }
            for (sidecar, needed) in &needed_by {
                let has = jobs[place].needs.iter().any(|need| need.job.0 == *sidecar);
                if !has && !needed.contains(&place) {
                    jobs[place].needs.push(Need { job: JobId(*sidecar), condition: Condition::Started });
                }
            }
        }
    }

    fn process(&self, it: &ExpandedProcess<'_>, problems: &mut Problems<'_>) -> (JobPlan, ProcessPlan) {
        let (raw, at) = (it.raw, it.at.as_slice());
        reject_unsupported(at, [("metrics", &raw.metrics)], problems);
        let variables = self.variables(it, problems);
        let program = self.program(it, &variables, problems);
        let default_grace = self.file.termination_grace_period_seconds.map_or(DEFAULT_GRACE, |span| span.0);
        let grace = raw.termination_grace_period_seconds.map_or(default_grace, |span| span.0);
        let lifecycle = raw.lifecycle.clone().unwrap_or_default();
        let too_long = RefCell::new(None);
        let with_command = |arguments: Vec<String>| {
            let mut program = program.clone();
            let expanded = |text: &String| {
                let expanded = expand(text, |name| lookup(&variables, name));
                OsString::from(
                    expanded.map_err(|message| too_long.replace(Some(message))).unwrap_or_default(),
                )
            };
            let mut arguments = arguments.iter().map(expanded);
            program.command = arguments.next().unwrap_or_default();
            program.arguments = arguments.collect();
            program
        };
        let variable = |name: &str| {
            lookup(&variables, name)
                .or_else(|| self.environment.get(name).map(|value| value.to_string_lossy().into_owned()))
        };
        let actions =
            ActionResolver { ports: ports(raw, at, problems), program: &with_command, variable: &variable };
        let mut probes = ProbeSet::default();
        for (kind, key, probe) in [
            (ProbeKind::Startup, "startupProbe", &raw.startup_probe),
            (ProbeKind::Liveness, "livenessProbe", &raw.liveness_probe),
            (ProbeKind::Readiness, "readinessProbe", &raw.readiness_probe),
        ] {
            let Some(probe) = probe else { continue };
            let key = if raw.more.readiness_restarts { "readiness" } else { key };
            let path = below(at, key);
            let checks = actions.checks(probe, &path, problems).into();
            let timing = probe_timing(kind, probe, &path, raw.more.readiness_restarts, problems);
            probes.insert(kind, ResolvedProbe { checks, timing });
        }
        let path = below(at, "lifecycle");
        let hook_path =
            if raw.more.post_start_when_ready { below(at, "postStart") } else { below(&path, "postStart") };
        let post_start = lifecycle.post_start.as_ref();
        let post_start_plan = post_start.map(|handler| PostStart {
            deadline: raw
                .more
                .post_start_deadline
                .or(handler.deadline.map(|span| span.0))
                .unwrap_or(DEFAULT_HOOK_DEADLINE),
            when_ready: raw.more.post_start_when_ready,
        });
        let post_start = post_start.and_then(|handler| actions.action(handler, &hook_path, problems));
        let pre_stop = lifecycle.pre_stop.as_ref();
        let pre_stop =
            pre_stop.and_then(|handler| actions.action(handler, &below(&path, "preStop"), problems));
        if let Some(message) = too_long.take() {
            problems.at(at, format!("a command of a probe or hook: {message}"));
        }
        let stop_signal = match lifecycle.stop_signal.as_deref().map(super::super::options::parse_stop_signal)
        {
            None => Signal::TERM,
            Some(Ok(signal)) => signal,
            Some(Err(message)) => {
                problems.at(&below(&path, "stopSignal"), message);
                Signal::TERM
            }
        };
        let ttl = raw.ttl.as_deref().and_then(|text| match parse_span(text) {
            Ok(span) => Some(span).filter(|span| !span.to.is_zero()),
            Err(error) => {
                problems.at(&below(at, "ttl"), format!("'{text}': {error}"));
                None
            }
        });
        let notify = raw.notify.as_deref().and_then(|word| notify(word, at, problems));
        if raw.watchdog.is_some() && notify != Some(NotifyKind::Systemd) {
            problems.at(&below(at, "watchdog"), "watchdog requires 'notify: systemd'");
        }
        let sidecar = raw.sidecar.unwrap_or(false);
        let tombstone = pod::tombstone(raw, it.replica, at, problems);
        let lock = raw.lock.as_ref().and_then(|lock| self.lock(lock, it, problems));
        let job = JobPlan {
            name: it.name.clone(),
            needs: Vec::new(),
            start_dependencies: Vec::new(),
            needs_lease: lock.is_some(),
            death_dependencies: Vec::new(),
            tombstone: tombstone.is_some(),
            sidecar,
            restart: self.restart(raw, at, problems),
            ttl,
            stop_signal,
            kill_mode: match raw.kill_mode.unwrap_or_default() {
                KillMode::Main => engine::KillMode::Main,
                KillMode::Group => engine::KillMode::Group,
            },
            grace,
            abandon_after: ABANDON_AFTER,
            terminal: false,
            must_start: false,
            probes: probes.timings(),
            notifies: notify.is_some(),
            start_deadline: raw.start_deadline.map(|span| span.0),
            watchdog: raw.watchdog.map(|span| span.0),
            post_start: post_start_plan,
            pre_stop: pre_stop.is_some(),
        };
        let limits = raw.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        let process = ProcessPlan {
            name: it.name.clone(),
            program,
            arguments: raw
                .command
                .iter()
                .chain(&raw.args)
                .flat_map(|arguments| arguments.0.clone())
                .collect(),
            logs: self.logs(raw.logs.as_ref(), at, problems),
            probes,
            post_start,
            pre_stop,
            memory_limit: limits.and_then(|limits| limits.memory).map(|bytes| bytes.0),
            cpu_limit: limits.and_then(|limits| limits.cpu.as_ref()).and_then(|word| cpu(word, at, problems)),
            notify,
            lock,
            tombstone,
            automaton: raw.automaton.is_some() || raw.more.at.first() == Some(&Step::from("automaton")),
        };
        (job, process)
    }

    fn lock(
        &self,
        raw: &native::Lock,
        it: &ExpandedProcess<'_>,
        problems: &mut Problems<'_>,
    ) -> Option<LockPlan> {
        let name = raw.name.as_deref().unwrap_or(it.base);
        let ttl = raw.ttl_duration.map_or(spec::lock::DEFAULT_TTL, |span| span.0);
        let url =
            raw.url.as_deref().or(self.overrides.lock_url.as_deref()).unwrap_or(spec::lock::DEFAULT_URL);
        let path = if it.raw.more.readiness_restarts || it.raw.more.ignores_sidecars {
            below(&below(&it.at, "readiness"), "lock")
        } else {
            below(&it.at, "lock")
        };
        LockPlan::new(name, ttl, url).map_err(|why| problems.at(&path, why)).ok()
    }

    /// Returns the variables of a process in addition to the inherited ones; the last of a name applies.
    fn variables(&self, it: &ExpandedProcess<'_>, problems: &mut Problems<'_>) -> Vec<(String, String)> {
        let (raw, at) = (it.raw, it.at.as_slice());
        let mut all = Vec::new();
        for (index, file) in self.file.env_file.iter().flat_map(|files| &files.0).enumerate() {
            let path = [Step::from("envFile"), Step::from(index)];
            self.take_file(file, Grammar::Native, "", &path, &mut all, problems);
        }
        own_variables(self.file.env.as_ref(), &[], &mut all, problems);
        let mut files = Vec::new();
        for (index, from) in raw.env_from.iter().flatten().enumerate() {
            let path = below(&below(at, "envFrom"), index);
            match &from.file {
                Some(file) if from.optional == Some(true) && !self.near(file).exists() => {}
                Some(file) => {
                    let prefix = from.prefix.as_deref().unwrap_or_default();
                    self.take_file(file, Grammar::Native, prefix, &path, &mut files, problems);
                }
                None => problems.at(&path, "file is missing: which file of variables?"),
            }
        }
        let (key, grammar) = if raw.more.files_first {
            ("envsFile", Grammar::ProcessWrapper)
        } else {
            ("envFile", Grammar::Native)
        };
        for file in raw.env_file.iter().flat_map(|files| &files.0) {
            self.take_file(file, grammar, "", &below(at, key), &mut files, problems);
        }
        let mut own = Vec::new();
        own_variables(raw.env.as_ref(), at, &mut own, problems);
        if raw.more.files_first {
            all.extend(own);
            all.extend(files);
        } else {
            all.extend(files);
            all.extend(own);
        }
        if let Some(replica) = it.replica {
            all.push(("SEXTON_REPLICA".to_owned(), replica.to_string()));
        }
        // Each may refer to those before it.
        let mut expanded: Vec<(String, String)> = Vec::new();
        for (name, value) in all {
            let path = below(&below(at, "env"), name.as_str());
            let value = self.expand(&value, &expanded, &path, problems);
            expanded.push((name, value));
        }
        expanded
    }

    fn take_file(
        &self,
        file: &str,
        grammar: Grammar,
        prefix: &str,
        path: &[Step],
        all: &mut Vec<(String, String)>,
        problems: &mut Problems<'_>,
    ) {
        match read_file(&self.near(file), grammar) {
            Ok(pairs) => {
                all.extend(pairs.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)));
            }
            Err(message) => problems.at(path, message),
        }
    }

    /// Resolves a file name relative to the configuration file.
    fn near(&self, file: &str) -> PathBuf {
        self.directory.map_or_else(|| PathBuf::from(file), |directory| directory.join(file))
    }

    fn program(
        &self,
        it: &ExpandedProcess<'_>,
        variables: &[(String, String)],
        problems: &mut Problems<'_>,
    ) -> Program {
        let (raw, at) = (it.raw, it.at.as_slice());
        let arguments: Vec<_> =
            raw.command.iter().chain(&raw.args).flat_map(|arguments| &arguments.0).collect();
        if raw.command.as_ref().is_none_or(|command| command.0.is_empty()) {
            problems.at(at, "command is missing");
        }
        let path = below(at, "command");
        let mut arguments =
            arguments.iter().map(|text| OsString::from(self.expand(text, variables, &path, &mut *problems)));
        let command = arguments.next().unwrap_or_default();
        let arguments: Vec<_> = arguments.collect();
        let mut variables: Vec<(OsString, OsString)> =
            variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        // As container runtimes do it; process-wrapper did not.
        let user = raw.security_context.as_ref().and_then(|security| security.run_as_user.as_ref());
        if let Some(Ok(user)) = user.filter(|_| !raw.more.keep_groups).map(|user| accounts::user(&user.0))
            && variables.iter().all(|(name, _)| name != "HOME")
        {
            variables.push(("HOME".into(), user.home.into()));
        }
        Program {
            command,
            arguments,
            without_variables: spec::notify::SERVICE_MANAGER_VARIABLES.to_vec(),
            variables,
            directory: raw.working_dir.as_ref().map(PathBuf::from),
            attributes: attributes(raw, at, problems),
        }
    }

    fn restart(&self, raw: &Process, at: &[Step], problems: &mut Problems<'_>) -> Restart {
        let policy = raw.restart_policy.or(self.file.restart_policy).unwrap_or(RestartPolicy::Always);
        let mut rules = Vec::new();
        for (index, rule) in raw.restart_policy_rules.iter().flatten().enumerate() {
            let path = below(&below(at, "restartPolicyRules"), index);
            let Some(codes) = rule.exit_codes.as_ref().filter(|codes| !codes.values.is_empty()) else {
                problems.at(&path, "exitCodes is missing");
                continue;
            };
            if rule.action.is_none() || codes.operator.is_none() {
                problems.at(
                    &path,
                    "expected {action: Restart, exitCodes: {operator: In or NotIn, values: [...]}}",
                );
                continue;
            }
            let negated = codes.operator == Some(native::ExitCodesOperator::NotIn);
            rules.push(RestartRule { codes: codes.values.clone(), negated });
        }
        let (own, shared) =
            (raw.backoff.clone().unwrap_or_default(), self.file.backoff.clone().unwrap_or_default());
        let path = below(at, "backoff");
        let initial = own.initial.or(shared.initial).map_or(Duration::from_secs(1), |span| span.0);
        let longest = own.max.or(shared.max).map_or(Duration::from_secs(60), |span| span.0);
        if own.initial.is_some() && own.max.is_some() && initial > longest {
            problems.at(&path, "initial is longer than max");
        }
        let delay = if longest.is_zero() || initial.is_zero() {
            RestartDelay::Fixed(Duration::ZERO)
        } else {
            RestartDelay::Exponential {
                range: DurationRange { from: initial.min(longest), to: longest.max(initial) },
                reset_after: own.reset.or(shared.reset).map_or(Duration::from_secs(60), |span| span.0),
                first_at_once: own.first_at_once.or(shared.first_at_once).unwrap_or(true),
            }
        };
        let limit = raw.restart_limit.as_ref().or(self.file.restart_limit.as_ref());
        if limit.is_some_and(|limit| limit.restarts.is_none()) {
            problems.at(&below(at, "restartLimit"), "restarts is missing");
        }
        let limit_action = match limit.and_then(|limit| limit.then).unwrap_or(AtLimit::Exit) {
            AtLimit::Exit => engine::StartLimitAction::Exit,
            AtLimit::Hold => engine::StartLimitAction::Hold,
            AtLimit::Ignore => engine::StartLimitAction::Ignore,
        };
        let limit = limit.and_then(|limit| {
            let window = limit.within.map_or(DEFAULT_WINDOW, |span| span.0);
            limit.restarts.map(|restarts| RestartLimit { restarts, window })
        });
        let policy = match policy {
            RestartPolicy::Always => Policy::Always,
            RestartPolicy::OnFailure => Policy::OnFailure,
            RestartPolicy::Never => Policy::Never,
        };
        Restart { policy, rules, delay, limit, limit_action }
    }

    fn logs(&self, own: Option<&Logs>, at: &[Step], problems: &mut Problems<'_>) -> LogPlan {
        let shared = self.file.logs.as_ref();
        let format = own.and_then(|logs| logs.format).or_else(|| shared.and_then(|logs| logs.format));
        let on_full = own.and_then(|logs| logs.on_full).or_else(|| shared.and_then(|logs| logs.on_full));
        let by_terminal = if self.overrides.terminal { LogFormat::Pretty } else { LogFormat::Logfmt };
        let format = format.or(self.overrides.log_format).unwrap_or(by_terminal);
        let mut labels = BTreeMap::new();
        for logs in shared.into_iter().chain(own) {
            for (name, value) in logs.labels.iter().flatten() {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
                if name.is_empty() || !name.chars().all(plain) {
                    let message =
                        format!("invalid label name '{name}': expected letters, digits and _ - . /");
                    problems.at(&below(&below(at, "logs"), "labels"), message);
                }
                labels.insert(name.clone(), value.0.clone());
            }
        }
        LogPlan { format, on_full: on_full.or(self.overrides.on_full).unwrap_or_default(), labels }
    }
}

fn lookup(variables: &[(String, String)], name: &str) -> Option<String> {
    variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

fn own_variables(
    given: Option<&scalars::Variables>,
    at: &[Step],
    all: &mut Vec<(String, String)>,
    problems: &mut Problems<'_>,
) {
    for (name, value) in given.iter().flat_map(|env| &env.0) {
        if let Err(message) = check_name(name) {
            problems.at(&below(&below(at, "env"), name.as_str()), message);
        }
        match value {
            Some(value) if !value.contains('\0') => all.push((name.clone(), value.clone())),
            Some(_) => {
                problems.at(&below(&below(at, "env"), name.as_str()), "a value cannot contain a NUL byte");
            }
            None => problems.at(&below(at, "env"), format!("{name} has valueFrom, which needs a cluster")),
        }
    }
}

fn check_process_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("name is missing".to_owned());
    }
    let bad =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '?' | '&' | '=' | '#' | '%' | ',');
    if name.len() > 128 || name.contains(bad) || name == "." || name == ".." {
        return Err(format!(
            "invalid process name '{name}': expected up to 128 characters without white space and / ? & = # % ,"
        ));
    }
    Ok(())
}

fn ports(raw: &Process, at: &[Step], problems: &mut Problems<'_>) -> Vec<(String, u16)> {
    let mut all = Vec::new();
    for (index, port) in raw.ports.iter().flatten().enumerate() {
        match (&port.name, port.container_port) {
            (_, None | Some(0)) => {
                problems
                    .at(&below(&below(at, "ports"), index), "containerPort is missing: expected 1 to 65535");
            }
            (Some(name), Some(number)) => all.push((name.clone(), number)),
            (None, Some(_)) => {}
        }
    }
    all
}

fn probe_timing(
    kind: ProbeKind,
    probe: &native::Probe,
    path: &[Step],
    restarts: bool,
    problems: &mut Problems<'_>,
) -> ProbePlan {
    let span = |given: Option<scalars::HumanDuration>, default: u64| {
        given.map_or(Duration::from_secs(default), |span| span.0)
    };
    let positive = |given: Option<u32>, default: u32, key: &str, problems: &mut Problems<'_>| match given {
        Some(0) => {
            problems.at(&below(path, key), "expected 1 or more, found 0");
            default
        }
        given => given.unwrap_or(default),
    };
    let success_threshold = positive(probe.success_threshold, 1, "successThreshold", problems);
    if kind != ProbeKind::Readiness && success_threshold != 1 {
        problems.at(&below(path, "successThreshold"), format!("must be 1 for a {kind} probe"));
    }
    if kind == ProbeKind::Readiness && probe.termination_grace_period_seconds.is_some() {
        let message = "not supported for a readiness probe: it does not stop the process";
        problems.at(&below(path, "terminationGracePeriodSeconds"), message);
    }
    for (key, given) in [("periodSeconds", probe.period_seconds), ("timeoutSeconds", probe.timeout_seconds)] {
        if given.is_some_and(|span| span.0.is_zero()) {
            problems.at(&below(path, key), "expected more than 0");
        }
    }
    ProbePlan {
        initial_delay: span(probe.initial_delay_seconds, 0),
        period: span(probe.period_seconds, 10),
        timeout: span(probe.timeout_seconds, 1),
        success_threshold,
        failure_threshold: positive(probe.failure_threshold, 3, "failureThreshold", problems),
        grace: probe.termination_grace_period_seconds.map(|span| span.0),
        restarts: kind != ProbeKind::Readiness || restarts,
    }
}

fn notify(word: &str, at: &[Step], problems: &mut Problems<'_>) -> Option<NotifyKind> {
    match word.strip_prefix("fd:").map(str::parse::<i32>) {
        None if word == "systemd" => Some(NotifyKind::Systemd),
        Some(Ok(descriptor)) if (3..1024).contains(&descriptor) => Some(NotifyKind::Descriptor(descriptor)),
        _ => {
            let message = format!("expected systemd, or fd:N with N from 3 to 1023, found '{word}'");
            problems.at(&below(at, "notify"), message);
            None
        }
    }
}

fn cpu(word: &Text, at: &[Step], problems: &mut Problems<'_>) -> Option<f64> {
    let number = match word.0.strip_suffix('m') {
        Some(milli) => milli.parse::<f64>().map(|milli| milli / 1000.0),
        None => word.0.parse::<f64>(),
    };
    let processors = number.ok().filter(|number| number.is_finite() && *number > 0.0);
    if processors.is_none() {
        let path = below(&below(&below(at, "resources"), "limits"), "cpu");
        problems.at(&path, format!("expected processors such as 0.5 or 500m, found '{}'", word.0));
    }
    processors
}

fn attributes(raw: &Process, at: &[Step], problems: &mut Problems<'_>) -> Attributes {
    let security = raw.security_context.clone().unwrap_or_default();
    let path = below(at, "securityContext");
    let user = security.run_as_user.and_then(|word| match accounts::user(&word.0) {
        Ok(user) => Some(user),
        Err(message) => {
            problems.at(&below(&path, "runAsUser"), message);
            None
        }
    });
    let mut group_of = |word: &Text, key: &str| match accounts::group(&word.0) {
        Ok(gid) => Some(gid),
        Err(message) => {
            problems.at(&below(&path, key), message);
            None
        }
    };
    let group = security.run_as_group.and_then(|word| group_of(&word, "runAsGroup"));
    let groups: Option<Vec<u32>> = security
        .supplemental_groups
        .map(|arguments| arguments.iter().filter_map(|word| group_of(word, "supplementalGroups")).collect());
    let root = user.as_ref().map_or_else(|| rustix::process::geteuid().is_root(), |user| user.uid == 0);
    if security.run_as_non_root == Some(true) && root {
        problems.at(
            &below(&path, "runAsNonRoot"),
            "the process would run as root: set runAsUser to another user",
        );
    }
    let identity = user.is_some() || group.is_some();
    if groups.as_ref().is_some_and(|groups| groups.len() > MAX_GROUPS) {
        problems.at(&below(&path, "supplementalGroups"), format!("too many: at most {MAX_GROUPS}"));
    }
    let groups = if raw.more.keep_groups { None } else { groups.or_else(|| identity.then(Vec::new)) };
    let umask = raw.umask.as_ref().and_then(|word| {
        let mask = u32::from_str_radix(&word.0, 8).ok().filter(|mask| *mask <= 0o777);
        if mask.is_none() {
            problems.at(
                &below(at, "umask"),
                format!("expected an octal mask such as \"022\", found '{}'", word.0),
            );
        }
        mask
    });
    let mut rlimits = Vec::new();
    for (name, word) in raw.rlimits.iter().flatten() {
        match rlimit(name, &word.0) {
            Ok(limit) => rlimits.push(limit),
            Err(message) => problems.at(&below(&below(at, "rlimits"), name.as_str()), message),
        }
    }
    let mut within = |key: &str, given: Option<i32>, from: i32, to: i32| {
        if let Some(number) = given.filter(|number| !(from..=to).contains(number)) {
            problems.at(&below(at, key), format!("expected {from} to {to}, found {number}"));
        }
        given
    };
    Attributes {
        group: group.or_else(|| user.as_ref().and_then(|user| user.gid)),
        user: user.map(|user| user.uid),
        groups,
        chroot: raw.chroot.as_ref().map(PathBuf::from),
        umask,
        rlimits,
        nice: within("nice", raw.nice, -20, 19),
        oom_score_adj: within("oomScoreAdj", raw.oom_score_adj, -1000, 1000),
        setsid: raw.setsid.unwrap_or(false),
        parent_death_signal: raw.more.parent_death_signal,
        no_new_privileges: security.allow_privilege_escalation == Some(false),
    }
}

fn rlimit(name: &str, word: &str) -> Result<(i32, u64, u64), String> {
    const NAMES: [(&str, libc::__rlimit_resource_t); 12] = [
        ("as", libc::RLIMIT_AS),
        ("core", libc::RLIMIT_CORE),
        ("cpu", libc::RLIMIT_CPU),
        ("data", libc::RLIMIT_DATA),
        ("fsize", libc::RLIMIT_FSIZE),
        ("memlock", libc::RLIMIT_MEMLOCK),
        ("msgqueue", libc::RLIMIT_MSGQUEUE),
        ("nofile", libc::RLIMIT_NOFILE),
        ("nproc", libc::RLIMIT_NPROC),
        ("rtprio", libc::RLIMIT_RTPRIO),
        ("sigpending", libc::RLIMIT_SIGPENDING),
        ("stack", libc::RLIMIT_STACK),
    ];
    let Some((_, resource)) = NAMES.iter().find(|(known, _)| *known == name) else {
        let names = NAMES.iter().map(|(name, _)| *name);
        return Err(format!(
            "unknown limit{} (known: {})",
            hint(name, names.clone()),
            names.collect::<Vec<_>>().join(", ")
        ));
    };
    let number = |word: &str| match word {
        "unlimited" | "infinity" => Some(libc::RLIM_INFINITY),
        _ => word.parse::<u64>().ok(),
    };
    let wrong = || format!("expected a number, unlimited, or soft:hard, found '{word}'");
    let (soft, hard) = word.split_once(':').unwrap_or((word, word));
    let (soft, hard) = (number(soft).ok_or_else(wrong)?, number(hard).ok_or_else(wrong)?);
    if soft > hard {
        return Err(format!("the soft limit {soft} exceeds the hard limit {hard}"));
    }
    Ok((i32::try_from(*resource).map_err(|_| wrong())?, soft, hard))
}
