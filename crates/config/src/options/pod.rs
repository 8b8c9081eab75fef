//! The options about the other containers of a pod, for `run`, `supervise` and `kubexit`.

use std::time::Duration;

use clap::Args;
use engine::{CodeMap, Condition, Expression, StartDependency, TimeoutAction};

use super::values::parse_mode;
use super::{Personality, Resolver, UsageError};
use crate::pod;
use spec::names::check as check_tombstone_name;
use spec::pod::{ApiPlan, DEFAULT_DIRECTORY, DEFAULT_MODE, PodPlan};

/// Options about the other containers of the pod.
///
/// A dependency is NAME or NAME:CONDITION (started, ready, exited, succeeded, failed), where NAME is a tombstone in the
/// graveyard or the path of one elsewhere; `a|b` is either, `a+b` both; @TIMEOUT and ? (continue after the timeout) may
/// follow.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of run and supervise, for containers of one pod")]
pub struct PodOptions {
    /// Directory shared by the containers; sexton writes a tombstone there, named after the process (--name)
    /// [default: /graveyard, if a dependency is given]
    #[arg(long, value_name = "DIR")]
    pub graveyard: Option<String>,
    /// Mode of that directory if sexton creates it, in octal [default: 1777]
    #[arg(long, value_name = "OCTAL")]
    pub graveyard_mode: Option<String>,
    /// Also poll the graveyard at this interval, for file systems without change notification
    /// [default: 1s on network file systems, else never]
    #[arg(long, value_name = "DURATION")]
    pub graveyard_poll: Option<String>,
    /// Exit when any of these has exited: main or main:failed,a+b [env: SEXTON_DEATH_DEPS]
    #[arg(long = "death-dep", visible_alias = "death-deps", value_name = "DEPS")]
    pub death_deps: Vec<String>,
    /// Start when all of these are ready: proxy or proxy,db:started@1m? [env: SEXTON_BIRTH_DEPS]
    #[arg(long = "birth-dep", visible_alias = "birth-deps", value_name = "DEPS")]
    pub birth_deps: Vec<String>,
    /// Time to wait for each of them before exiting with code 1; 0: no limit [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub birth_timeout: Option<String>,
    /// How long to wait for a stopped container to restart before its earlier exit counts again [default: 10m]
    #[arg(long, value_name = "DURATION")]
    pub rebirth_timeout: Option<String>,
    /// Map exit codes to others; caused is any exit that was requested: 143=0,caused=0
    #[arg(long, value_name = "MAP")]
    pub exit_codes: Option<String>,
    /// Query the Kubernetes API for the containers of this pod: birth dependencies may name any of them
    #[arg(long, value_name = "POD")]
    pub pod_name: Option<String>,
    /// Namespace of the pod [default: that of the service account]
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Start when these servers are ready (GET returns 200 to 399): URLs, or istio, envoy, linkerd, cloud-sql-proxy
    #[arg(long, value_name = "SERVERS")]
    pub wait_for: Vec<String>,
    /// Shut down these servers (POST) after the process has exited: URLs, or istio, envoy, linkerd, cloud-sql-proxy;
    /// a trailing ! makes a failure an error
    #[arg(long, value_name = "SERVERS")]
    pub quit: Vec<String>,
    /// Shut them down always, or only on exit code 0 [default: always]
    #[arg(long, value_name = "always|success")]
    pub quit_when: Option<String>,
}

/// The options about the pod, resolved.
pub(super) struct ResolvedPod {
    pub(super) plan: Option<PodPlan>,
    pub(super) awaits: Vec<StartDependency>,
    pub(super) dies_with: Vec<Expression>,
    pub(super) rebirth: Duration,
    pub(super) codes: CodeMap,
}

impl Resolver<'_> {
    /// Resolves the options about the pod, for a process of this name.
    pub(super) fn resolve_pod_options(&self, raw: PodOptions, name: &str) -> Result<ResolvedPod, UsageError> {
        let list = |arguments: Vec<String>| (!arguments.is_empty()).then(|| arguments.join(","));
        let graveyard = self.given(raw.graveyard, "--graveyard", "GRAVEYARD")?;
        if let Some(given) = graveyard.as_ref().filter(|given| given.text.is_empty()) {
            return Err(UsageError(format!("{} '': expected a directory", given.origin)));
        }
        let mode = self.given(raw.graveyard_mode, "--graveyard-mode", "GRAVEYARD_MODE")?;
        let mode = mode.map(|given| given.parse(parse_mode)).transpose()?;
        let poll = self.duration(raw.graveyard_poll, "--graveyard-poll", "GRAVEYARD_POLL")?;
        if poll.is_some_and(|poll| poll.is_zero()) {
            return Err(UsageError("--graveyard-poll 0: expected an interval longer than 0".to_owned()));
        }
        let births = self.given(list(raw.birth_deps), "--birth-dep", "BIRTH_DEPS")?;
        let timeout = self.duration(raw.birth_timeout, "--birth-timeout", "BIRTH_TIMEOUT")?;
        let deaths = self.given(list(raw.death_deps), "--death-dep", "DEATH_DEPS")?;
        let rebirth = self.duration(raw.rebirth_timeout, "--rebirth-timeout", "REBIRTH_TIMEOUT")?;
        let codes = self.given(raw.exit_codes, "--exit-codes", "EXIT_CODES")?;
        let pod_name = self.given(raw.pod_name, "--pod-name", "POD_NAME")?;
        let namespace = self.given(raw.namespace, "--namespace", "NAMESPACE")?;
        let wait_for = self.given(list(raw.wait_for), "--wait-for", "WAIT_FOR")?;
        let quit = self.given(list(raw.quit), "--quit", "QUIT")?;
        let quit_when = self.given(raw.quit_when, "--quit-when", "QUIT_WHEN")?;

        let defaults = pod::Defaults {
            timeout: timeout.map_or(Some(pod::DEFAULT_BIRTH_TIMEOUT), pod::zero_as_none),
            at_timeout: TimeoutAction::Fail,
        };
        let plainly = self.personality == Personality::Kubexit;
        let awaits_of = |text: &str| match plainly {
            false => pod::births(text, defaults),
            true => Ok(pod::plain_names(text, Condition::Ready)?
                .into_iter()
                .map(|expression| StartDependency {
                    expression,
                    timeout: defaults.timeout,
                    at_timeout: defaults.at_timeout,
                })
                .collect()),
        };
        let carves = plainly || graveyard.is_some() || births.is_some() || deaths.is_some();
        let mut awaits = births.map(|given| given.parse(awaits_of)).transpose()?.unwrap_or_default();
        let wait_for = wait_for.map(|given| given.parse(|text| pod::servers(text, defaults))).transpose()?;
        awaits.extend(wait_for.unwrap_or_default());
        let dies_of = |text: &str| {
            if plainly { pod::plain_names(text, Condition::Exited) } else { pod::deaths(text) }
        };
        let dies_with = deaths.map(|given| given.parse(dies_of)).transpose()?.unwrap_or_default();
        let quit = quit.map(|given| given.parse(pod::quits)).transpose()?.unwrap_or_default();
        let quit_when = quit_when.map(|given| given.parse(parse_quit_when)).transpose()?;
        if carves {
            let option = if plainly { "KUBEXIT_NAME" } else { "--name" };
            check_tombstone_name(name).map_err(|why| UsageError(format!("{option} {why}")))?;
        }
        let api = match (pod_name, namespace) {
            // kubexit queries the API only if it has both.
            (Some(_), None) if plainly => None,
            (Some(pod), namespace) => {
                Some(ApiPlan { pod: pod.text, namespace: namespace.map(|given| given.text) })
            }
            (None, _) => None,
        };
        let speaks = carves || api.is_some() || !awaits.is_empty() || !quit.is_empty();
        let plan = speaks.then(|| PodPlan {
            name: carves.then(|| name.to_owned()),
            directory: graveyard.map_or_else(|| DEFAULT_DIRECTORY.into(), |given| given.text.into()),
            mode: mode.unwrap_or(DEFAULT_MODE),
            poll,
            api,
            quit,
            quit_on_success_only: quit_when.unwrap_or(false),
        });
        Ok(ResolvedPod {
            plan,
            awaits,
            dies_with,
            rebirth: rebirth.unwrap_or(pod::DEFAULT_REBIRTH_TIMEOUT),
            codes: codes.map(|given| given.parse(pod::codes)).transpose()?.unwrap_or_default(),
        })
    }
}

/// True: only on exit code 0.
fn parse_quit_when(text: &str) -> Result<bool, &'static str> {
    match text {
        "always" => Ok(false),
        "success" => Ok(true),
        _ => Err("expected always or success"),
    }
}
