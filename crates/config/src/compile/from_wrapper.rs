//! Converts the list of process-wrapper to the native format.

use std::time::Duration;

use crate::compile::{CliOverrides, Problems, below};
use crate::file::native::{
    Exec, File, ForeignSemantics, Handler, HttpGet, Lifecycle, Limits, Logs, Probe, Process, ProcessMap,
    Resources, RestartPolicy, SecurityContext, TcpSocket,
};
use crate::file::process_wrapper::{Command, Credential, Entry, Format, Policy, Readiness, SysProcAttr};
use crate::file::scalars::{Bytes, HumanDuration, Map, OneOrMany, Port, Text, TextList, Variables};
use crate::yaml::reader::{Keys, Problem, read};
use crate::yaml::tree::{Node, Step};
use spec::logs::LogFormat;
use spec::suggest::hint;

/// Converts a list, and returns its problems.
pub(super) fn file(root: &Node, overrides: &CliOverrides) -> (File, Vec<Problem>) {
    let (entries, found): (Vec<Entry>, _) = read(root, Keys::AnyCase);
    let mut problems = Problems { root, found };
    let names: Vec<String> = entries.iter().filter_map(|entry| entry.name.clone()).collect();
    let mut processes = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let at = vec![Step::Index(index)];
        let name = entry.name.clone().unwrap_or_default();
        if !overrides.skip.contains(&name) {
            processes.push((name, process(entry, &at, &mut problems)));
        }
    }
    for name in &overrides.skip {
        if !names.contains(name) {
            let hint = hint(name, names.iter().map(String::as_str));
            problems.at(&[], format!("-skip-commands names '{name}', which is not in the list{hint}"));
        }
    }
    (File { processes: ProcessMap(processes), ..File::default() }, problems.found)
}

fn process(entry: Entry, at: &[Step], problems: &mut Problems<'_>) -> Process {
    let reject_unsupported = |given: bool, key: &str, problems: &mut Problems<'_>| {
        if given {
            problems.at(&below(at, key), "not supported");
        }
    };
    reject_unsupported(entry.prom_target.is_some(), "promTarget", problems);
    if entry.entrypoint.as_deref().unwrap_or_default().is_empty() {
        problems.at(at, "entrypoint is missing");
    }
    let attributes = entry.sys_proc_attr.unwrap_or_default();
    let reject_attribute = |given: bool, key: &str, why: &str, problems: &mut Problems<'_>| {
        if given {
            problems.at(&below(&below(at, "sysProcAttr"), key), why);
        }
    };
    for (given, key) in [
        (attributes.ptrace.is_some(), "ptrace"),
        (attributes.setctty.is_some(), "setctty"),
        (attributes.noctty.is_some(), "noctty"),
        (attributes.ctty.is_some(), "ctty"),
        (attributes.cloneflags.is_some(), "cloneflags"),
        (attributes.unshareflags.is_some(), "unshareflags"),
        (attributes.uidmappings.is_some(), "uidmappings"),
        (attributes.gidmappings.is_some(), "gidmappings"),
        (attributes.gidmappingsenablesetgroups.is_some(), "gidmappingsenablesetgroups"),
        (attributes.ambientcaps.is_some(), "ambientcaps"),
        (attributes.usecgroupfd.is_some(), "usecgroupfd"),
        (attributes.cgroupfd.is_some(), "cgroupfd"),
    ] {
        reject_attribute(
            given,
            key,
            "not supported: namespaces, terminals and capabilities are the container runtime's",
            problems,
        );
    }
    reject_attribute(
        attributes.foreground == Some(true),
        "foreground",
        "not supported: several processes cannot share a terminal",
        problems,
    );
    let other_group = attributes.pgid.is_some_and(|pgid| pgid != 0);
    reject_attribute(
        other_group,
        "pgid",
        "not supported: each process leads its own process group",
        problems,
    );
    // Independent of setpgid, each process leads its own process group.
    let _ = attributes.setpgid;
    let lock = entry.readiness.as_ref().and_then(|readiness| readiness.lock.clone());
    let (probe, start_deadline) = match entry.readiness.filter(|readiness| !readiness.is_lock_only()) {
        Some(readiness) => {
            (Some(probe(&readiness, &below(at, "readiness"), problems)), readiness.startup_deadline)
        }
        None => (None, None),
    };
    let hook = entry.post_start;
    let deadline = hook.as_ref().map(|hook| hook.deadline.map_or(Duration::from_secs(30), |span| span.0));
    let lifecycle = hook.map(|hook| {
        let envs = hook.envs;
        let exec = hook.command.map(|command| exec(command, envs));
        let post_start = Some(Handler { exec, sql: hook.sql, ..Handler::default() });
        Lifecycle { post_start, ..Lifecycle::default() }
    });
    let limits = entry
        .memory_limit_mb
        .filter(|mb| *mb > 0)
        .map(|mb| Limits { memory: Some(Bytes(mb << 20)), ..Limits::default() });
    Process {
        name: entry.name,
        command: Some(TextList(entry.entrypoint.into_iter().collect())),
        args: entry.args.map(arguments),
        env: entry.envs.map(variables),
        env_file: entry.envs_file.filter(|file| !file.is_empty()).map(|file| OneOrMany(vec![file])),
        working_dir: entry.dir.filter(|dir| !dir.is_empty()),
        replicas: entry.replicas.filter(|replicas| *replicas > 0),
        restart_policy: entry.restart_policy.map(|policy| match policy {
            Policy::Always => RestartPolicy::Always,
            Policy::Never => RestartPolicy::Never,
        }),
        readiness_probe: probe,
        lock,
        start_deadline,
        lifecycle,
        resources: limits.map(|limits| Resources { limits: Some(limits), ..Resources::default() }),
        security_context: attributes.credential.as_ref().map(identity),
        chroot: attributes.chroot.clone(),
        setsid: attributes.setsid,
        logs: entry.log_format.map(|format| Logs { format: Some(log_format(format)), ..Logs::default() }),
        more: ForeignSemantics {
            at: at.to_vec(),
            readiness_restarts: true,
            post_start_when_ready: true,
            post_start_deadline: deadline,
            files_first: true,
            parent_death_signal: attributes.pdeathsig.filter(|signal| *signal > 0),
            keep_groups: keep_groups(&attributes),
            ignores_sidecars: true,
        },
        ..Process::default()
    }
}

fn keep_groups(attributes: &SysProcAttr) -> bool {
    attributes.credential.as_ref().is_some_and(|credential| credential.nosetgroups == Some(true))
}

fn identity(credential: &Credential) -> SecurityContext {
    let word = |number: u32| Text(number.to_string());
    SecurityContext {
        // Go's zero values: a credential without a number is root.
        run_as_user: Some(word(credential.uid.unwrap_or(0))),
        run_as_group: Some(word(credential.gid.unwrap_or(0))),
        supplemental_groups: Some(credential.groups.iter().flatten().copied().map(word).collect()),
        ..SecurityContext::default()
    }
}

const fn log_format(format: Format) -> LogFormat {
    match format {
        Format::Free | Format::Plain => LogFormat::Raw,
        Format::Auto => LogFormat::Auto,
        Format::Logfmt => LogFormat::Logfmt,
    }
}

fn arguments(arguments: Vec<Text>) -> TextList {
    TextList(arguments.into_iter().map(|word| word.0).collect())
}

fn variables(map: Map<Option<Text>>) -> Variables {
    Variables(map.into_iter().map(|(name, value)| (name, Some(value.unwrap_or_default().0))).collect())
}

fn exec(command: Command, more: Option<Map<Option<Text>>>) -> Exec {
    let mut all: Vec<String> = command.entrypoint.into_iter().collect();
    all.extend(command.args.into_iter().flatten().map(|word| word.0));
    let mut env = command.envs.map(variables).unwrap_or_default();
    env.0.extend(more.map(variables).unwrap_or_default().0);
    Exec { command: Some(TextList(all)), env: Some(env) }
}

fn probe(readiness: &Readiness, at: &[Step], problems: &mut Problems<'_>) -> Probe {
    let five = Some(HumanDuration(Duration::from_secs(5)));
    let tcp = readiness.tcp.as_ref().and_then(|tcp| {
        let socket = tcp.socket.clone().unwrap_or_default();
        let parts = socket
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host.to_owned(), port.parse::<u16>().ok()?)));
        match parts {
            Some((host, port)) if port > 0 => {
                let host = host.trim_matches(['[', ']']).to_owned();
                Some(TcpSocket {
                    port: Some(Port::Number(port)),
                    host: Some(host).filter(|host| !host.is_empty()),
                })
            }
            _ => {
                problems
                    .at(&below(&below(at, "tcp"), "socket"), format!("expected host:port, found '{socket}'"));
                None
            }
        }
    });
    let http = readiness
        .http
        .as_ref()
        .map(|http| HttpGet { url: Some(http.url.clone().unwrap_or_default()), ..HttpGet::default() });
    Probe {
        initial_delay_seconds: readiness.delay.or(five),
        period_seconds: readiness.period.or(five),
        timeout_seconds: five,
        failure_threshold: readiness.failure_threshold,
        http_get: http,
        tcp_socket: tcp,
        exec: readiness.exec.clone().and_then(|it| it.command).map(|command| exec(command, None)),
        file: readiness.file.clone(),
        env: readiness.env.clone(),
        floating_pid: readiness.floating_pid.clone(),
        heart_beat: readiness.heart_beat.clone(),
        sql: readiness.sql.clone(),
        amqp: readiness.amqp.clone(),
        ..Probe::default()
    }
}
