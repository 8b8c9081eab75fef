//! What is said of the others of a pod, for `run`, `supervise` and `kubexit`.

use std::time::Duration;

use engine::{CodeMap, Condition, Expression, StartDependency, TimeoutAction};

use super::{Personality, Resolver, UsageError, parse_mode};
use crate::config::pod;
use spec::names::check as check_tombstone_name;
use spec::pod::{ApiPlan, DEFAULT_DIRECTORY, DEFAULT_MODE, PodPlan};

/// What is said of the others of a pod, as it was written.
#[derive(Debug, Clone, Default)]
pub struct RawPod {
    /// `--graveyard`
    pub graveyard: Option<String>,
    /// `--graveyard-mode`
    pub graveyard_mode: Option<String>,
    /// `--graveyard-poll`
    pub graveyard_poll: Option<String>,
    /// `--birth-dep`
    pub birth_deps: Option<String>,
    /// `--birth-timeout`
    pub birth_timeout: Option<String>,
    /// `--death-dep`
    pub death_deps: Option<String>,
    /// `--rebirth-timeout`
    pub rebirth_timeout: Option<String>,
    /// `--exit-codes`
    pub exit_codes: Option<String>,
    /// `--pod-name`
    pub pod_name: Option<String>,
    /// `--namespace`
    pub namespace: Option<String>,
    /// `--wait-for`
    pub wait_for: Option<String>,
    /// `--quit`
    pub quit: Option<String>,
    /// `--quit-when`
    pub quit_when: Option<String>,
}

/// What is said of the others of a pod, resolved.
pub(super) struct InPod {
    pub(super) plan: Option<PodPlan>,
    pub(super) awaits: Vec<StartDependency>,
    pub(super) dies_with: Vec<Expression>,
    pub(super) rebirth: Duration,
    pub(super) codes: CodeMap,
}

impl Resolver<'_> {
    /// What is said of the others of the pod of a process that is called so.
    pub(super) fn in_pod(&self, raw: RawPod, name: &str) -> Result<InPod, UsageError> {
        let graveyard = self.given(raw.graveyard, "--graveyard", "GRAVEYARD")?;
        if let Some(given) = graveyard.as_ref().filter(|given| given.text.is_empty()) {
            return Err(UsageError(format!("{} '': expected a directory", given.origin)));
        }
        let mode = self.given(raw.graveyard_mode, "--graveyard-mode", "GRAVEYARD_MODE")?;
        let mode = mode.map(|given| given.parse(parse_mode)).transpose()?;
        let poll = self.duration(raw.graveyard_poll, "--graveyard-poll", "GRAVEYARD_POLL")?;
        if poll.is_some_and(|poll| poll.is_zero()) {
            return Err(UsageError("--graveyard-poll 0: expected a pause longer than nothing".to_owned()));
        }
        let births = self.given(raw.birth_deps, "--birth-dep", "BIRTH_DEPS")?;
        let timeout = self.duration(raw.birth_timeout, "--birth-timeout", "BIRTH_TIMEOUT")?;
        let deaths = self.given(raw.death_deps, "--death-dep", "DEATH_DEPS")?;
        let rebirth = self.duration(raw.rebirth_timeout, "--rebirth-timeout", "REBIRTH_TIMEOUT")?;
        let codes = self.given(raw.exit_codes, "--exit-codes", "EXIT_CODES")?;
        let pod_name = self.given(raw.pod_name, "--pod-name", "POD_NAME")?;
        let namespace = self.given(raw.namespace, "--namespace", "NAMESPACE")?;
        let wait_for = self.given(raw.wait_for, "--wait-for", "WAIT_FOR")?;
        let quit = self.given(raw.quit, "--quit", "QUIT")?;
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
            // kubexit asks if it has both.
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
        Ok(InPod {
            plan,
            awaits,
            dies_with,
            rebirth: rebirth.unwrap_or(pod::DEFAULT_REBIRTH_TIMEOUT),
            codes: codes.map(|given| given.parse(pod::codes)).transpose()?.unwrap_or_default(),
        })
    }
}

/// True: only when we have not failed.
fn parse_quit_when(text: &str) -> Result<bool, &'static str> {
    match text {
        "always" => Ok(false),
        "success" => Ok(true),
        _ => Err("expected always or success"),
    }
}
