//! The section `ensemble` of a file: it becomes a process that runs sexton itself, with the resolved plan; and processes
//! that run while this pod leads (`when: leader`) get leases of its leadership.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use super::super::options::{EnsembleOptions, ResolvedEnsemble};
use crate::Listen;
use crate::compile::{CliOverrides, Problems, below};
use crate::file::native::{File, Lock, Process, RestartPolicy};
use crate::file::scalars::{HumanDuration, TextList, Variables};
use crate::yaml::tree::Step;
use spec::environment::Environment;
use spec::lock::TTLS;
use spec::program::{AS_SEXTON, PLAN_VARIABLE, own_executable};

/// The section, and the process that it becomes.
const NAME: &str = "ensemble";
/// The prefix of the key of leadership leases.
const LEADER: &str = "leader";
/// The value of `payload` that reports the state of the processes.
const STATUS: &str = "status";
/// The longest plan: `MAX_ARG_STRLEN` of execve(2) holds for a variable with its name.
const LONGEST_PLAN: usize = (128 << 10) - 64;

/// Adds the process, and the leases of the processes that depend on its leadership.
pub(super) fn insert(
    file: &mut File,
    overrides: &CliOverrides,
    environment: &dyn Environment,
    problems: &mut Problems<'_>,
) {
    let at = [Step::from(NAME)];
    let section = file.ensemble.take();
    let is_there = section.is_some();
    let lease = section.and_then(|section| {
        let resolved = resolve(section, file, overrides, environment, &at, problems)?;
        if file.processes.0.iter().any(|(name, _)| name == NAME) {
            problems.at(&at, "there is a process 'ensemble' already");
            return None;
        }
        let process = match process(&resolved, &at) {
            Ok(process) => process,
            Err(why) => {
                problems.at(&at, why);
                return None;
            }
        };
        file.processes.0.push((NAME.to_owned(), process));
        Some(lease(&resolved))
    });
    for (name, process) in &mut file.processes.0 {
        if process.when.is_none() {
            continue;
        }
        let path = [Step::from("processes"), Step::from(name.as_str()), Step::from("when")];
        match &lease {
            _ if process.lock.is_some() => {
                problems.at(&path, "'when' and 'lock' are mutually exclusive");
            }
            Some(Ok(lease)) => process.lock = Some(lease.clone()),
            Some(Err(why)) => problems.at(&path, why.clone()),
            None if is_there => {}
            None => problems.at(&path, "'leader' requires an 'ensemble' section"),
        }
    }
}

/// Resolves the section. None: it is invalid, and that is reported.
fn resolve(
    mut section: EnsembleOptions,
    file: &File,
    overrides: &CliOverrides,
    environment: &dyn Environment,
    at: &[Step],
    problems: &mut Problems<'_>,
) -> Option<ResolvedEnsemble> {
    if section.role.is_none() {
        problems.at(at, "role is missing: expected member, master or both");
        return None;
    }
    if section.payload.as_deref() == Some(STATUS) {
        let Some(control) = &overrides.control else {
            let why = "the state of the processes is read from the control socket, which is disabled";
            problems.at(&below(at, "payload"), why);
            return None;
        };
        let control = std::path::absolute(control).unwrap_or_else(|_| control.clone());
        section.payload_of = Some(control.to_string_lossy().into_owned());
        section.payload = None;
    }
    section.leads = file.processes.0.iter().any(|(_, process)| process.when.is_some()).then(leader_key);
    ResolvedEnsemble::new(section, environment).map_err(|why| problems.at(at, why.to_string())).ok()
}

/// The lease that a process holds while this pod leads; or why that is impossible.
fn lease(resolved: &ResolvedEnsemble) -> Result<Lock, String> {
    let ResolvedEnsemble { listen, plan } = resolved;
    let Some(master) = &plan.master else {
        return Err("'leader' requires the role master or both: a member never leads".to_owned());
    };
    if plan.access.tls.own.is_some() {
        return Err("'leader' does not support TLS on the port of the ensemble".to_owned());
    }
    let leadership = spec::ensemble::leader_lease_ttl(master.fail_over, master.store.may_lapse_early());
    let ttl = Duration::from_millis(
        u64::try_from(spec::ensemble::derived_lease_ttl(leadership).as_millis()).unwrap_or(u64::MAX),
    );
    if ttl < TTLS.0 {
        return Err(format!(
            "ensemble.failOver is too short: {:?} leave no time to stop the process",
            master.fail_over
        ));
    }
    let Listen::At { address, .. } = listen else {
        return Err("'leader' requires a port of the ensemble".to_owned());
    };
    if address.port() == 0 {
        return Err("'leader' requires a fixed port of the ensemble, not 0".to_owned());
    }
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let url = format!("http://{}", SocketAddr::new(ip, address.port()));
    Ok(Lock { name: Some(leader_key()), ttl_duration: Some(HumanDuration(ttl)), url: Some(url) })
}

/// A key that only the processes of this `up` and its ensemble know, not another `up` on the same machine or one that was
/// left behind.
fn leader_key() -> String {
    static KEY: OnceLock<String> = OnceLock::new();
    let key = KEY.get_or_init(|| format!("{LEADER}-{:016x}", spec::random::random_u64()));
    key.clone()
}

fn process(resolved: &ResolvedEnsemble, at: &[Step]) -> Result<Process, String> {
    // `$` would start a reference to a variable.
    let escaped = |text: &str| text.replace('$', "$$");
    let plan = serde_json::to_string(resolved).map_err(|error| error.to_string())?;
    if plan.len() > LONGEST_PLAN {
        return Err(format!("the section is too large: {} bytes, at most {LONGEST_PLAN}", plan.len()));
    }
    let executable = own_executable();
    let command = [&executable.to_string_lossy(), AS_SEXTON, NAME, "run-plan"];
    let mut process = Process {
        command: Some(TextList(command.map(escaped).to_vec())),
        env: Some(Variables(vec![(PLAN_VARIABLE.to_owned(), Some(escaped(&plan)))])),
        restart_policy: Some(RestartPolicy::Always),
        // It starts before the processes that depend on it, stops after them, and does not delay the exit of `up`.
        sidecar: Some(true),
        ..Process::default()
    };
    process.more.at = at.to_vec();
    // If `up` is killed, the pod must not stay leader.
    process.more.parent_death_signal = Some(libc::SIGTERM);
    Ok(process)
}
