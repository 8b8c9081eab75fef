//! `sexton check FILE`: the plan of a file. `sexton schema`: the JSON Schema of sexton.yaml.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use engine::{ExitRule, JobPlan, Policy, ProbeKind, ProbePlan, RestartDelay, StartLimitAction};
use serde_json::json;

use config::compile::{CliOverrides, ConfigError, ProcessPlan, Source, UpPlan, load};
use config::file::native;
use config::options::default_control;
use spec::environment::Environment;
use spec::probe::Check;

/// The JSON Schema of sexton.yaml.
#[must_use]
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(native::File);
    schema.insert("title".to_owned(), "sexton.yaml".into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// Checks a file and describes its plan.
pub fn check(file: &Path, json: bool, environment: &dyn Environment) -> Result<String, ConfigError> {
    let overrides = CliOverrides {
        terminal: std::io::stdout().is_terminal(),
        control: Some(default_control(environment)),
        ..CliOverrides::default()
    };
    let plan = load(&Source::File(file.to_owned()), &overrides, environment)?;
    if json {
        return Ok(format!("{}\n", json!({ "plan": plan.plan, "warnings": plan.warnings })));
    }
    Ok(text(&plan, &file.display().to_string(), environment))
}

fn text(plan: &UpPlan, file: &str, environment: &dyn Environment) -> String {
    let mut text = String::new();
    for warning in &plan.warnings {
        let _ = writeln!(text, "warning: {file}:{warning}");
    }
    let names: Vec<&str> = plan.plan.jobs.iter().map(|job| job.name.as_str()).collect();
    for (job, process) in plan.plan.jobs.iter().zip(&plan.processes) {
        let _ = writeln!(text, "{}{}", job.name, if job.sidecar { " (sidecar)" } else { "" });
        let mut line = |key: &str, value: String| {
            let _ = writeln!(text, "  {key:14} {value}");
        };
        line("command", command(process));
        if !found(process, environment) {
            line("warning", "not found in PATH on this machine".to_owned());
        }
        let program = &process.program;
        let directory = program.directory.as_ref().filter(|_| program.attributes.chroot.is_none());
        if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
            line(
                "warning",
                format!("working directory {} does not exist on this machine", directory.display()),
            );
        }
        let needs: Vec<_> = job
            .needs
            .iter()
            .map(|need| format!("{} {}", names[need.job.0], need.condition.label()))
            .collect();
        if !needs.is_empty() {
            line("starts after", needs.join(", "));
        }
        line("restart", restart(job));
        for kind in ProbeKind::ALL {
            if let Some(probe) = process.probes.get(kind) {
                line(kind.label(), probed(&probe.timing, &probe.checks));
            }
        }
        if let Some(hook) = &job.post_start {
            let when = if hook.when_ready { "when ready" } else { "after the start" };
            line("postStart", format!("{when}, time limit {:?}", hook.deadline));
        }
        let before = if job.pre_stop { "preStop, then " } else { "" };
        line("stop", format!("{before}SIG{}, SIGKILL after {:?}", job.stop_signal, job.grace));
        if let Some(bytes) = process.memory_limit {
            line("memory", format!("at most {:.1} MiB", megabytes(bytes)));
        }
    }
    let frame = &plan.plan.pod;
    if let Some(deadline) = frame.deadline {
        let _ = writeln!(text, "shutdown deadline: {deadline:?}");
    }
    let code = match frame.exit {
        ExitRule::From(id) => format!("that of {}", names[id.0]),
        ExitRule::FirstToFail | ExitRule::FirstInPlan => {
            "that of the first process that fails and is not restarted, else 0".to_owned()
        }
    };
    let _ = writeln!(text, "exit code: {code}");
    text
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

fn command(process: &ProcessPlan) -> String {
    shell_words::join(&process.arguments)
}

fn found(process: &ProcessPlan, environment: &dyn Environment) -> bool {
    let program = &process.program;
    if program.attributes.chroot.is_some() {
        return true;
    }
    let command = Path::new(&program.command);
    if program.command.to_string_lossy().contains('/') {
        let directory = program.directory.clone().unwrap_or_default();
        return directory.join(command).exists();
    }
    let own = program.variables.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    let path = own.or_else(|| environment.get("PATH")).unwrap_or_default();
    std::env::split_paths(&path).any(|directory: PathBuf| directory.join(command).exists())
}

fn restart(job: &JobPlan) -> String {
    let restart = &job.restart;
    let policy = match restart.policy {
        Policy::Never if restart.rules.is_empty() => return "never".to_owned(),
        Policy::Never => "on some exit codes",
        Policy::OnFailure => "on failure",
        Policy::Always => "always",
    };
    let pause = match &restart.delay {
        RestartDelay::Fixed(pause) => format!("after {pause:?}"),
        RestartDelay::Exponential { range, reset_after, first_at_once } => {
            let first = if *first_at_once { "immediately, then " } else { "" };
            format!("{first}after {:?} to {:?}, reset after a run of {reset_after:?}", range.from, range.to)
        }
    };
    let limit = restart.limit.map(|limit| {
        let then = match restart.limit_action {
            StartLimitAction::End => "stop it",
            StartLimitAction::Exit => "shut down",
            StartLimitAction::Hold => "hold it",
            StartLimitAction::Ignore => "ignore it",
        };
        format!("; after more than {} restarts within {:?}: {then}", limit.restarts, limit.window)
    });
    format!("{policy}, {pause}{}", limit.unwrap_or_default())
}

fn probed(probe: &ProbePlan, checks: &[Check]) -> String {
    let how: Vec<String> = checks
        .iter()
        .map(|check| match check {
            Check::Http(http) => {
                let scheme = if http.tls { "https" } else { "http" };
                format!("GET {scheme}://{}:{}{}", http.host, http.port, http.path)
            }
            Check::Tcp { host, port } => format!("connect {host}:{port}"),
            Check::Grpc { host, port, service } => format!("gRPC health {host}:{port} {service}"),
            Check::Exec(program) => format!("exec {}", program.command.to_string_lossy()),
            Check::File(path) => format!("file {}", path.display()),
            Check::Env { name, .. } => format!("variable {name}"),
            Check::FloatingPid { period, threshold } => {
                format!("at most {threshold} restarts within {period:?}")
            }
            Check::HeartBeat(period) => format!("heartbeat every {period:?}"),
            Check::Sql(sql) => {
                format!("{} queries on {} at {}", sql.queries.len(), sql.server.name(), sql.login.place)
            }
            Check::Amqp { login, keep } => {
                let kept = if *keep { "persistent " } else { "" };
                format!("{kept}AMQP connection to {}", login.place)
            }
            Check::Redis(login) => format!("PING redis at {}", login.place),
        })
        .collect();
    let delay = if probe.initial_delay.is_zero() {
        String::new()
    } else {
        format!("after {:?}, ", probe.initial_delay)
    };
    format!(
        "{}; {delay}every {:?}, timeout {:?}, {} failures",
        how.join(" and "),
        probe.period,
        probe.timeout,
        probe.failure_threshold
    )
}
