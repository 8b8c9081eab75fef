//! The section `ensemble` of a file: it becomes a process that is ourselves, beside the others; and processes that run
//! while it leads (`when: leader`) hold leases of its leadership.

use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;
use std::time::Duration;

use super::super::raw::ensemble::{Ensemble, EnsembleRole};
use super::super::raw::native::{File, Lock, Process, RestartPolicy};
use super::super::raw::words::{HumanDuration, OneOrMany, TextList, Variables};
use super::super::tree::Step;
use super::{Beside, Problems, below};
use crate::cli::{self, Invocation};
use crate::config::Mode;
use crate::ensemble::leadership;
use crate::ensemble::plan::{DEFAULT_PORT, Draft, bracketed};
use crate::ensemble::tenants::longest;
use crate::locks::TTLS;
use spec::environment::Environment;
use spec::program::{AS_SEXTON, ourselves};

/// The section, and the process that it becomes.
const NAME: &str = "ensemble";
/// What the lease of a leadership is called.
const LEADER: &str = "leader";
/// The payload that tells how the processes are.
const STATUS: &str = "status";

/// Adds the process, and the leases of those that run by its leadership.
pub(super) fn insert(
    file: &mut File,
    beside: &Beside,
    environment: &dyn Environment,
    problems: &mut Problems<'_>,
) {
    let at = [Step::from(NAME)];
    let section = file.ensemble.take();
    let lease = section.as_ref().and_then(|section| {
        let words = words(section, file, beside, &at, problems)?;
        let draft = match draft(&words, environment) {
            Ok(draft) => draft,
            Err(why) => {
                problems.at(&at, why);
                return None;
            }
        };
        if file.processes.0.iter().any(|(name, _)| name == NAME) {
            problems.at(&at, "there is a process 'ensemble' already");
            return None;
        }
        file.processes.0.push((NAME.to_owned(), process(&words, &at)));
        Some(lease(section, &draft))
    });
    for (name, process) in &mut file.processes.0 {
        if process.when.is_none() {
            continue;
        }
        let path = [Step::from("processes"), Step::from(name.as_str()), Step::from("when")];
        match &lease {
            _ if process.lock.is_some() => {
                problems.at(&path, "it has a lock too: a process runs by one of them");
            }
            Some(Ok(lease)) => process.lock = Some(lease.clone()),
            Some(Err(why)) => problems.at(&path, why.clone()),
            None if section.is_some() => {}
            None => problems.at(&path, "there is no section 'ensemble' whose leader it could be"),
        }
    }
}

/// The lease that a process holds while we lead; or why it cannot.
fn lease(section: &Ensemble, draft: &Draft) -> Result<Lock, String> {
    let Some(master) = &draft.master else {
        return Err("this pod is a member of its ensemble, and never leads".to_owned());
    };
    if draft.access.tls.own.is_some() {
        return Err("the leadership is asked for at the ensemble's port, which speaks TLS alone".to_owned());
    }
    let leadership = leadership::ttl(master.fail_over, master.store.may_lapse_early());
    let ttl = Duration::from_millis(u64::try_from(longest(leadership).as_millis()).unwrap_or(u64::MAX));
    if ttl < TTLS.0 {
        return Err(format!("ensemble.failOver is too short: {:?} leave no time to stop", master.fail_over));
    }
    let port = port(section);
    if port == "0" {
        return Err("ensemble.port has to be a number that is known beforehand".to_owned());
    }
    let address = interface(section);
    let host = match address.trim_matches(['[', ']']) {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        address => bracketed(address),
    };
    Ok(Lock {
        name: Some(word()),
        ttl_duration: Some(HumanDuration(ttl)),
        url: Some(format!("http://{host}:{port}")),
    })
}

fn port(section: &Ensemble) -> String {
    section.port.as_ref().map_or_else(|| DEFAULT_PORT.to_string(), |port| port.0.clone())
}

fn interface(section: &Ensemble) -> String {
    section.interface.clone().unwrap_or_else(|| "0.0.0.0".to_owned())
}

/// What our processes and our ensemble know, and those of another of us on this machine do not: also when one of them was
/// left behind.
fn word() -> String {
    static WORD: OnceLock<String> = OnceLock::new();
    let word =
        WORD.get_or_init(|| format!("{LEADER}-{:016x}", RandomState::new().hash_one(std::process::id())));
    word.clone()
}

fn process(words: &[String], at: &[Step]) -> Process {
    let mut process = Process {
        // What looks like a variable is none.
        command: Some(TextList(words.iter().map(|word| word.replace('$', "$$")).collect())),
        restart_policy: Some(RestartPolicy::Always),
        // It is there before those that run by it, ends after them, and does not keep us from ending.
        sidecar: Some(true),
        ..Process::default()
    };
    process.more.at = at.to_vec();
    // Whoever is left behind must not lead on for nobody.
    process.more.parent_death_signal = Some(libc::SIGTERM);
    // Ours may be told of a socket that is none of its own.
    let own = ("SEXTON_SOCKET_ACTIVATION".to_owned(), Some("false".to_owned()));
    process.env = Some(Variables(vec![own]));
    process
}

/// What the command line makes of it.
fn draft(words: &[String], environment: &dyn Environment) -> Result<Draft, String> {
    let parsed = cli::parse(words.iter().map(OsString::from).collect(), environment, false);
    match parsed.map_err(|error| error.to_string())? {
        (Invocation::Live(settings), _) => match settings.mode {
            Mode::Ensemble(draft) => Ok(*draft),
            _ => Err("it is no ensemble".to_owned()),
        },
        _ => Err("it is no ensemble".to_owned()),
    }
}

/// The command line of ourselves. None: something is wrong, and told.
fn words(
    section: &Ensemble,
    file: &File,
    beside: &Beside,
    at: &[Step],
    problems: &mut Problems<'_>,
) -> Option<Vec<String>> {
    let Some(role) = section.role else {
        problems.at(at, "role is missing: expected member, master or both");
        return None;
    };
    let role = match role {
        EnsembleRole::Member => "member",
        EnsembleRole::Master => "master",
        EnsembleRole::Both => "both",
    };
    let mut words = vec![
        ourselves().to_string_lossy().into_owned(),
        AS_SEXTON.to_owned(),
        NAME.to_owned(),
        "--log-format".to_owned(),
        "logfmt".to_owned(),
    ];
    let mut option = |name: &str, value: Option<String>| {
        // In one word, so that a value may begin with a dash.
        words.extend(value.map(|value| format!("--{name}={value}")));
    };
    let span = |span: Option<HumanDuration>| span.map(|span| format!("{}ms", span.0.as_millis()));
    let list = |list: &Option<OneOrMany<String>>| list.as_ref().map(|list| list.0.join(","));
    let json = |map: &Option<_>| map.as_ref().and_then(|map| serde_json::to_string(map).ok());
    option("role", Some(role.to_owned()));
    option("app", section.app.clone());
    option("namespace", section.namespace.clone());
    option("id", section.id.clone());
    option("ip", section.ip.clone());
    option("label-role", section.label_role.clone());
    option("labels", json(&section.labels));
    option("annotations", json(&section.annotations));
    option("pod-info", section.pod_info.clone());
    option("masters", list(&section.masters));
    option("report-app", section.report_app.clone());
    option("member-ttl", span(section.member_ttl));
    option("fail-over", span(section.fail_over));
    option("damper", span(section.damper));
    option("callback", section.callback.clone());
    option("shell-callback", section.shell_callback.clone());
    option("callback-deadline", span(section.callback_deadline));
    option("store", section.store.clone());
    option("etcd", list(&section.etcd));
    option("etcd-ca", section.etcd_ca.clone());
    option("etcd-cert", section.etcd_cert.clone());
    option("etcd-key", section.etcd_key.clone());
    option("etcd-user", section.etcd_user.clone());
    option("etcd-password-file", section.etcd_password_file.clone());
    option("token-file", section.token_file.clone());
    option("invoke-user", section.invoke_user.clone());
    option("tls-cert", section.tls_cert.clone());
    option("tls-key", section.tls_key.clone());
    option("tls-ca", section.tls_ca.clone());
    option("statsd", section.statsd.clone());
    // Whatever the environment says: that is meant for ourselves.
    option("interface", Some(interface(section)));
    option("port", Some(port(section)));
    option("host", section.host.clone());
    option("node", section.node.clone());
    option("cloud", section.cloud.clone());
    let any = file.processes.0.iter().any(|(_, process)| process.when.is_some());
    option("leads", any.then(word));
    match (section.payload.as_deref(), &beside.control) {
        (Some(STATUS), Some(control)) => {
            let control = std::path::absolute(control).unwrap_or_else(|_| control.clone());
            option("payload-of", Some(control.to_string_lossy().into_owned()));
        }
        (Some(STATUS), None) => {
            problems.at(
                &below(at, "payload"),
                "how the processes are is asked at the control socket, and there is none",
            );
            return None;
        }
        (file, _) => option("payload", file.map(str::to_owned)),
    }
    let switches = [
        ("--from-kubernetes", section.from_kubernetes),
        ("--authenticated-keepalives", section.authenticated_keepalives),
        ("--allow-unauthenticated-invoke", section.allow_unauthenticated_invoke),
    ];
    words.extend(switches.iter().filter(|(_, on)| *on == Some(true)).map(|(name, _)| (*name).to_owned()));
    Some(words)
}
