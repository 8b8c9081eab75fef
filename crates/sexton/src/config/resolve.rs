//! Raw words → [`Settings`].
//!
//! For each option the first of these counts: the command line, `SEXTON_…`, `KAPO_…`, the default. (The
//! `kapo` personality knows `KAPO_…` only.)

mod ensemble;
mod in_pod;
mod locks;

use std::fmt::Display;
use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use engine::{
    DurationRange, ExitRule, JobPlan, Plan, PodSettings, Probes, Restart, RestartDelay, RestartLimit, Signal,
};
use thiserror::Error;

pub use ensemble::{RawEnsemble, RawIdentity, tls_files};
use in_pod::InPod;
pub use in_pod::RawPod;
pub use locks::{RawLock, RawStore};

use super::up::{Beside, Source};
use super::{Automaton, ControlPath, Mode, Own, Settings, Up, Words};
use crate::ensemble::identity::Sources;
use spec::duration::{parse as parse_duration, parse_span};
use spec::environment::Environment;
use spec::listen::{Answers, Listen};
use spec::logs::LogFormat;
use spec::logs::{OutputPlan, StreamPlan};
use spec::program::Pid;
use spec::program::Program;
use spec::text::base_name;
use spec::watch::{Watch, Whom};

/// The file that `up` reads, unless somebody says otherwise.
pub const DEFAULT_FILE: &str = "sexton.yaml";
/// The port of the status socket.
pub const DEFAULT_PORT: u16 = 6666;
/// From the stop signal to KILL: what Kubernetes gives a pod.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// The first pause before a restart, and the pause between looks at the process list.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// The longest pause before a restart.
pub const DEFAULT_LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A run of this length was a good one.
pub const DEFAULT_BACKOFF_RESET: Duration = Duration::from_secs(60);
/// How far back restarts are counted.
pub const DEFAULT_RESTART_WINDOW: Duration = Duration::from_secs(600);
/// How long to wait for a process that even KILL does not end.
const ABANDON_AFTER: Duration = Duration::from_secs(10);

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personality {
    /// Ourselves.
    Sexton,
    /// An older tool that keeps a port open.
    Kapo,
    /// An older tool that runs many processes.
    ProcessWrapper,
    /// An older tool that tells births and deaths.
    Kubexit,
    /// An older tool that runs scripts by a state machine.
    Automaton,
    /// An older tool that keeps an ensemble.
    Kontrol,
}

impl Personality {
    const fn variable_prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Sexton => &["SEXTON_", "KAPO_"],
            Self::Kapo => &["KAPO_"],
            // Its variables have no prefix; its command line has read them.
            Self::ProcessWrapper | Self::Automaton | Self::Kontrol => &[],
            Self::Kubexit => &["KUBEXIT_"],
        }
    }
}

/// The variables of kubexit, without its prefix.
const KUBEXIT_VARIABLES: [&str; 8] = [
    "NAME",
    "GRAVEYARD",
    "DEATH_DEPS",
    "GRACE_PERIOD",
    "BIRTH_DEPS",
    "BIRTH_TIMEOUT",
    "POD_NAME",
    "NAMESPACE",
];

/// The options that every mode has, as they were written.
#[derive(Debug, Clone, Default)]
pub struct RawOptions {
    /// `--port`
    pub port: Option<String>,
    /// `--interface`
    pub interface: Option<String>,
    /// `--sidebind`
    pub sidebind: Option<String>,
    /// `--socket-activation`
    pub socket_activation: Option<String>,
    /// `--stdout`
    pub stdout: Option<String>,
    /// `--stderr`
    pub stderr: Option<String>,
    /// `--stdlog`
    pub stdlog: Option<String>,
    /// `--status-format`
    pub status_format: Option<String>,
    /// `--debug-journal`
    pub debug_journal: Option<String>,
}

impl RawOptions {
    /// What was written behind the command counts before what was written in front of it.
    #[must_use]
    pub fn or(self, front: Self) -> Self {
        Self {
            port: self.port.or(front.port),
            interface: self.interface.or(front.interface),
            sidebind: self.sidebind.or(front.sidebind),
            socket_activation: self.socket_activation.or(front.socket_activation),
            stdout: self.stdout.or(front.stdout),
            stderr: self.stderr.or(front.stderr),
            stdlog: self.stdlog.or(front.stdlog),
            status_format: self.status_format.or(front.status_format),
            debug_journal: self.debug_journal.or(front.debug_journal),
        }
    }
}

/// The options of `run` and `supervise`, as they were written.
#[derive(Debug, Clone, Default)]
pub struct RawOwn {
    /// `--name`
    pub name: Option<String>,
    /// `--ttl`
    pub ttl: Option<String>,
    /// `--wait`
    pub wait: Option<String>,
    /// `--grace-period`
    pub grace_period: Option<String>,
    /// `--stop-signal`
    pub stop_signal: Option<String>,
    /// What there is beside it in its pod.
    pub pod: RawPod,
    /// It runs only while we hold this.
    pub lock: Option<RawLock>,
    /// What to execute and its arguments.
    pub words: Words,
}

/// The options of `supervise` alone, as they were written.
#[derive(Debug, Clone, Default)]
pub struct RawSupervise {
    /// `--backoff`
    pub backoff: Option<String>,
    /// `--backoff-reset`
    pub backoff_reset: Option<String>,
    /// `--max-restarts`
    pub max_restarts: Option<String>,
    /// `--restart-window`
    pub restart_window: Option<String>,
}

/// The options of `watch`, as they were written.
#[derive(Debug, Clone, Default)]
pub struct RawWatch {
    /// The name to look for.
    pub name: Option<String>,
    /// `--pid`
    pub pid: Option<String>,
    /// `--wait`
    pub wait: Option<String>,
}

/// The command, as it was written.
#[derive(Debug, Clone)]
pub enum RawMode {
    /// `run`
    Run(RawOwn),
    /// `supervise`
    Supervise(RawOwn, RawSupervise),
    /// `watch`
    Watch(RawWatch),
    /// `up`
    Up(RawUp),
    /// `automaton`
    Automaton(RawAutomaton),
    /// `lock serve`
    LockServer(RawStore),
    /// `ensemble`
    Ensemble(Box<RawEnsemble>),
}

/// The options of `automaton`, as they were written.
#[derive(Debug, Clone, Default)]
pub struct RawAutomaton {
    /// The file.
    pub file: String,
    /// The way to its section, if it has others.
    pub section: Option<String>,
    /// `--socket`
    pub socket: Option<String>,
    /// `--socket-mode`
    pub socket_mode: Option<String>,
    /// `--debug`
    pub debug: bool,
}

/// The options of `up`, as they were written.
#[derive(Debug, Clone, Default)]
pub struct RawUp {
    /// The file.
    pub file: Option<String>,
    /// `--control`
    pub control: Option<String>,
    /// `--readiness-file`
    pub readiness_file: Option<String>,
    /// `--readiness-file-sticky`
    pub readiness_file_sticky: Option<String>,
    /// `--exit-from`
    pub exit_from: Option<String>,
    /// `--shutdown-deadline`
    pub shutdown_deadline: Option<String>,
    /// process-wrapper's `-skip-commands`
    pub skip: Vec<String>,
    /// process-wrapper's `-shared-lock-url`
    pub lock_url: Option<String>,
    /// process-wrapper's `-shared-lock`: the words behind `lock serve`.
    pub lock_server: Option<Vec<String>>,
}

/// Where the control socket is, unless somebody says otherwise.
#[must_use]
pub fn default_control(environment: &dyn Environment) -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/run/sexton.sock");
    }
    // Where nobody else can put something in our way: a directory of our own.
    let own = environment.get("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = own.or_else(|| environment.get("HOME").map(PathBuf::from));
    own.unwrap_or_else(|| PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw())))
        .join("sexton.sock")
}

/// What is wrong with what the user wrote: where it stands, what stands there, what was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// A value and where it was given.
struct Given {
    origin: String,
    text: String,
    /// It stands on the command line.
    typed: bool,
}

impl Given {
    fn parse<T, E: Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, UsageError> {
        parse(&self.text).map_err(|error| UsageError(format!("{} '{}': {error}", self.origin, self.text)))
    }
}

struct Resolver<'a> {
    personality: Personality,
    environment: &'a dyn Environment,
    /// A terminal is our standard input and we are its foreground job.
    terminal: bool,
}

/// Makes the settings of what was written. `terminal` tells whether the process will have a terminal.
pub fn resolve(
    personality: Personality,
    options: &RawOptions,
    mode: RawMode,
    environment: &dyn Environment,
    terminal: bool,
) -> Result<Settings, UsageError> {
    let resolver = Resolver { personality, environment, terminal };
    let answers = resolver.answers(options.status_format.clone())?;
    let journal = resolver.given(options.debug_journal.clone(), "--debug-journal", "DEBUG_JOURNAL")?;
    let port = match mode {
        RawMode::LockServer(_) => crate::locks::DEFAULT_PORT,
        RawMode::Ensemble(_) => crate::ensemble::plan::DEFAULT_PORT,
        _ => DEFAULT_PORT,
    };
    let listen = resolver.listen(options, port)?;
    let mode = match mode {
        RawMode::Run(own) => Mode::Own(Box::new(resolver.run(options, own)?)),
        RawMode::Supervise(own, more) => Mode::Own(Box::new(resolver.supervise(options, own, more)?)),
        RawMode::Watch(watch) => Mode::Watch(resolver.watch(watch)?),
        RawMode::Up(up) => Mode::Up(Box::new(resolver.up(up)?)),
        RawMode::Automaton(raw) => Mode::Automaton(resolver.automaton(raw)?),
        RawMode::LockServer(raw) => Mode::LockServer(resolver.lock_server(raw)?),
        RawMode::Ensemble(raw) => Mode::Ensemble(Box::new(resolver.ensemble(*raw)?)),
    };
    let answers = Answers {
        many: matches!(mode, Mode::Up(_)),
        liveness_is_readiness: personality == Personality::ProcessWrapper,
        ..answers
    };
    Ok(Settings { listen, answers, mode, journal: journal.map(|given| PathBuf::from(given.text)) })
}

/// Who tells who this pod is, and whose ensemble it is of.
pub fn sources(
    raw: RawIdentity,
    environment: &dyn Environment,
) -> Result<(Sources, Option<String>), UsageError> {
    Resolver { personality: Personality::Sexton, environment, terminal: false }.sources(raw)
}

impl Resolver<'_> {
    fn given(&self, flag: Option<String>, option: &str, variable: &str) -> Result<Option<Given>, UsageError> {
        if let Some(text) = flag {
            return Ok(Some(Given { origin: option.to_owned(), text, typed: true }));
        }
        for prefix in self.personality.variable_prefixes() {
            // It had these and no others.
            if self.personality == Personality::Kubexit && !KUBEXIT_VARIABLES.contains(&variable) {
                continue;
            }
            let origin = format!("{prefix}{variable}");
            if let Some(value) = self.environment.get(&origin) {
                let text = value.into_string();
                let text = text.map_err(|value| UsageError(format!("{origin} {value:?}: not UTF-8")))?;
                return Ok(Some(Given { origin, text, typed: false }));
            }
        }
        Ok(None)
    }

    fn switch(&self, flag: Option<String>, option: &str, variable: &str) -> Result<Option<bool>, UsageError> {
        self.given(flag, option, variable)?.map(|given| given.parse(parse_switch)).transpose()
    }

    fn duration(
        &self,
        flag: Option<String>,
        option: &str,
        variable: &str,
    ) -> Result<Option<Duration>, UsageError> {
        self.given(flag, option, variable)?.map(|given| given.parse(parse_duration)).transpose()
    }

    fn answers(&self, format: Option<String>) -> Result<Answers, UsageError> {
        let kapo = self.personality == Personality::Kapo;
        let given = self.given(format, "--status-format", "STATUS_FORMAT")?;
        let list = given.map(|given| {
            given.parse(|text| match text {
                "list" => Ok(true),
                "object" => Ok(false),
                _ => Err("expected object or list"),
            })
        });
        Ok(Answers {
            list: list.transpose()?.unwrap_or(kapo),
            any_path: kapo,
            many: false,
            liveness_is_readiness: false,
        })
    }

    fn listen(&self, raw: &RawOptions, default: u16) -> Result<Listen, UsageError> {
        let activated =
            self.switch(raw.socket_activation.clone(), "--socket-activation", "SOCKET_ACTIVATION")?;
        let side = self.switch(raw.sidebind.clone(), "--sidebind", "SIDEBIND")?.unwrap_or(false);
        let interface = self.given(raw.interface.clone(), "--interface", "INTERFACE")?;
        let interface = interface.map(|given| given.parse(parse_interface)).transpose()?;
        let port = self.given(raw.port.clone(), "--port", "PORT")?;
        let port = port.map(|given| given.parse(parse_port)).transpose()?.unwrap_or(Some(default));
        if activated == Some(true) {
            return Ok(Listen::Activated);
        }
        let Some(port) = port else { return Ok(Listen::Nowhere) };
        let address = SocketAddr::new(interface.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port);
        Ok(Listen::At { address, side })
    }

    fn output(&self, raw: &RawOptions) -> Result<OutputPlan, UsageError> {
        let stdout = self.switch(raw.stdout.clone(), "--stdout", "STDOUT")?;
        let stderr = self.switch(raw.stderr.clone(), "--stderr", "STDERR")?;
        let records = self.switch(raw.stdlog.clone(), "--stdlog", "STDLOG")?.unwrap_or(false);
        // We pass everything on unless asked otherwise; kapo passed nothing on unless asked to. Whoever
        // asks for records of neither stream by name means both.
        let default = match self.personality {
            Personality::Sexton
            | Personality::ProcessWrapper
            | Personality::Kubexit
            | Personality::Automaton
            | Personality::Kontrol => true,
            Personality::Kapo => records && stdout.is_none() && stderr.is_none(),
        };
        let stream = |wanted: Option<bool>| match (wanted.unwrap_or(default), records) {
            (false, _) => StreamPlan::Discard,
            (true, true) => StreamPlan::Records,
            (true, false) => StreamPlan::Inherit,
        };
        Ok(OutputPlan { stdout: stream(stdout), stderr: stream(stderr) })
    }

    fn run(&self, options: &RawOptions, raw: RawOwn) -> Result<Own, UsageError> {
        let linger = self.duration(raw.wait.clone(), "--wait", "WAIT")?.unwrap_or_default();
        self.own("run", options, raw, Restart::never(), vec![Signal::TERM], linger, linger)
    }

    fn supervise(&self, options: &RawOptions, raw: RawOwn, more: RawSupervise) -> Result<Own, UsageError> {
        let mut wait = self.given(raw.wait.clone(), "--wait", "WAIT")?;
        let mut backoff = self.given(more.backoff, "--backoff", "BACKOFF")?;
        if let (Some(fixed), Some(growing)) = (&wait, &backoff) {
            // What was typed counts before what a variable says.
            match (fixed.typed, growing.typed) {
                (true, false) => backoff = None,
                (false, true) => wait = None,
                _ => {
                    let (fixed, growing) = (&fixed.origin, &growing.origin);
                    let words = "the one fixes the pause and the other makes it grow: give one of the two";
                    return Err(UsageError(format!("{fixed} and {growing}: {words}")));
                }
            }
        }
        let wait = wait.map(|given| given.parse(parse_duration)).transpose()?;
        let reset_after = self.duration(more.backoff_reset, "--backoff-reset", "BACKOFF_RESET")?;
        let pause = match (wait, self.personality) {
            (Some(wait), _) => RestartDelay::Fixed(wait),
            (None, Personality::Kapo) => RestartDelay::Fixed(DEFAULT_WAIT),
            (None, _) => {
                let default = DurationRange { from: DEFAULT_WAIT, to: DEFAULT_LONGEST_PAUSE };
                let span = backoff.map(|given| given.parse(parse_backoff)).transpose()?.unwrap_or(default);
                RestartDelay::Exponential {
                    range: span,
                    reset_after: reset_after.unwrap_or(DEFAULT_BACKOFF_RESET),
                    first_at_once: false,
                }
            }
        };
        let window = self.duration(more.restart_window, "--restart-window", "RESTART_WINDOW")?;
        let restarts = self.given(more.max_restarts, "--max-restarts", "MAX_RESTARTS")?;
        let restarts = restarts.map(|given| given.parse(parse_count)).transpose()?;
        if restarts.is_none() && window.is_some() {
            let words = "--restart-window counts for --max-restarts, which is not given";
            return Err(UsageError(words.to_owned()));
        }
        let limit = restarts
            .map(|restarts| RestartLimit { restarts, window: window.unwrap_or(DEFAULT_RESTART_WINDOW) });
        let wait = match &pause {
            RestartDelay::Fixed(wait) => *wait,
            RestartDelay::Exponential { range: span, .. } => span.from,
        };
        let restart = Restart::always(pause, limit);
        let stop_on = vec![Signal::TERM, Signal::INT, Signal::QUIT];
        self.own("supervise", options, raw, restart, stop_on, Duration::ZERO, wait)
    }

    #[expect(clippy::too_many_arguments, reason = "what the two modes of a process of our own differ in")]
    fn own(
        &self,
        word: &'static str,
        options: &RawOptions,
        raw: RawOwn,
        restart: Restart,
        stop_on: Vec<Signal>,
        linger: Duration,
        wait: Duration,
    ) -> Result<Own, UsageError> {
        let mut words = raw.words.into_iter();
        let Some(command) = words.next() else {
            return Err(UsageError(format!(
                "nothing to {word}: expected a command, as in '{word} -- ./worker.py'"
            )));
        };
        let output = self.output(options)?;
        let ttl = self.given(raw.ttl, "--ttl", "TTL")?.map(|given| given.parse(parse_span)).transpose()?;
        let ttl = ttl.filter(|span| !span.to.is_zero());
        let grace =
            self.duration(raw.grace_period, "--grace-period", "GRACE_PERIOD")?.unwrap_or(DEFAULT_GRACE);
        let stop_signal = self.given(raw.stop_signal, "--stop-signal", "STOP_SIGNAL")?;
        let stop_signal =
            stop_signal.map(|given| given.parse(parse_stop_signal)).transpose()?.unwrap_or(Signal::TERM);
        let name = self.given(raw.name, "--name", "NAME")?;
        if self.personality == Personality::Kubexit && name.is_none() {
            let words = "KUBEXIT_NAME is not set: expected the name of the tombstone";
            return Err(UsageError(words.to_owned()));
        }
        let name = name.map_or_else(|| base_name(&command), |given| given.text);
        let InPod { plan: pod, awaits, dies_with, rebirth, codes } = self.in_pod(raw.pod, &name)?;
        let lock = raw.lock.map(|lock| self.lock(lock)).transpose()?;
        let job = JobPlan {
            name: name.clone(),
            start_dependencies: awaits,
            needs_lease: lock.is_some(),
            death_dependencies: Vec::new(),
            tombstone: false,
            restart,
            ttl,
            stop_signal,
            grace,
            abandon_after: ABANDON_AFTER,
            terminal: self.terminal,
            must_start: true,
            needs: Vec::new(),
            sidecar: false,
            probes: Probes::default(),
            notifies: false,
            start_deadline: None,
            watchdog: None,
            post_start: None,
            pre_stop: false,
        };
        let frame = PodSettings {
            stop_on,
            fast_shutdown: None,
            forward: true,
            linger,
            deadline: None,
            exit: ExitRule::FirstInPlan,
            codes,
            death_dependencies: dies_with,
            rebirth,
            tombstone: pod.as_ref().is_some_and(|pod| pod.name.is_some()),
        };
        let plan = Plan { jobs: vec![job], pod: frame };
        let program = Program {
            command,
            arguments: words.collect(),
            without_variables: spec::notify::SERVICE_MANAGER_VARIABLES.to_vec(),
            ..Program::default()
        };
        Ok(Own { word, name, program, output, plan, ttl, wait, pod, lock })
    }

    fn up(&self, raw: RawUp) -> Result<Up, UsageError> {
        let file = self.given(raw.file, "FILE", "CONFIG")?;
        let inline =
            self.environment.get("CONFIG").filter(|_| self.personality == Personality::ProcessWrapper);
        let source = match (file, inline) {
            (Some(file), _) => Source::File(PathBuf::from(file.text)),
            (None, Some(text)) => Source::Variable(text),
            // A lock server and nothing else.
            (None, None) if raw.lock_server.is_some() => Source::Variable("[]".into()),
            (None, None) => Source::File(PathBuf::from(DEFAULT_FILE)),
        };
        let switch = |given: Option<Given>| given.map(|given| given.parse(parse_switch)).transpose();
        let log_format = self.environment.get("LOG_FORMAT").map(|word| word.to_string_lossy().into_owned());
        let log_format = log_format.map(|word| parse_log_format(&word)).transpose();
        let control = self.given(raw.control, "--control", "CONTROL")?;
        let control = match control {
            Some(given) if given.text == "none" => None,
            Some(given) => Some(ControlPath { path: PathBuf::from(given.text), asked_for: true }),
            None if self.personality == Personality::ProcessWrapper => None,
            None => Some(ControlPath { path: default_control(self.environment), asked_for: false }),
        };
        let beside = Beside {
            log_format: log_format.map_err(UsageError)?,
            terminal: std::io::stdout().is_terminal(),
            skip: raw.skip,
            readiness_file: self
                .given(raw.readiness_file, "--readiness-file", "READINESS_FILE")?
                .map(|given| PathBuf::from(given.text)),
            readiness_file_sticky: switch(self.given(
                raw.readiness_file_sticky,
                "--readiness-file-sticky",
                "READINESS_FILE_STICKY",
            )?)?,
            deadline: self.duration(raw.shutdown_deadline, "--shutdown-deadline", "SHUTDOWN_DEADLINE")?,
            exit_from: self.given(raw.exit_from, "--exit-from", "EXIT_FROM")?.map(|given| given.text),
            lock_url: self.given(raw.lock_url, "-shared-lock-url", "LOCK_URL")?.map(|given| given.text),
            lock_server: raw.lock_server,
            control: control.as_ref().map(|control| control.path.clone()),
        };
        Ok(Up { source, beside, control })
    }

    fn automaton(&self, raw: RawAutomaton) -> Result<Automaton, UsageError> {
        let socket = self.given(raw.socket, "--socket", "AUTOMATON_SOCKET")?;
        let mode = self.given(raw.socket_mode, "--socket-mode", "AUTOMATON_SOCKET_MODE")?;
        Ok(Automaton {
            file: raw.file.into(),
            section: raw.section,
            socket: socket.map(|given| given.text.into()),
            socket_mode: mode.map(|given| given.parse(parse_mode)).transpose()?,
            debug: raw.debug,
        })
    }

    fn watch(&self, raw: RawWatch) -> Result<Watch, UsageError> {
        let every = self.duration(raw.wait, "--wait", "WAIT")?.unwrap_or(DEFAULT_WAIT);
        if every.is_zero() {
            return Err(UsageError(
                "--wait 0: the pause between looks must be longer than nothing".to_owned(),
            ));
        }
        let pid = self.given(raw.pid, "--pid", "WATCHPID")?;
        let pid = pid.map(|given| given.parse(parse_pid)).transpose()?.flatten();
        let whom = match (raw.name, pid) {
            (None, Some(pid)) => Whom::Numbered(pid),
            (Some(name), None) if !name.is_empty() => Whom::Named(name),
            (Some(_), Some(_)) => return Err(UsageError("give a name or --pid, not both".to_owned())),
            (Some(_) | None, None) => {
                return Err(UsageError(
                    "nothing to watch: expected a name, as in 'watch puppet', or --pid".to_owned(),
                ));
            }
        };
        Ok(Watch { whom, every })
    }
}

// === single values ===

/// The mode of a directory, in octal.
pub(super) fn parse_mode(text: &str) -> Result<u32, &'static str> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or("expected a mode in octal such as 1777")
}

fn parse_switch(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "yes" | "on" => Ok(true),
        "0" | "f" | "false" | "no" | "off" => Ok(false),
        _ => Err("expected true or false"),
    }
}

/// `$LOG_FORMAT`; `free` and `plain` are process-wrapper's words for raw.
fn parse_log_format(word: &str) -> Result<LogFormat, String> {
    match word.to_ascii_lowercase().as_str() {
        "logfmt" => Ok(LogFormat::Logfmt),
        "json" => Ok(LogFormat::Json),
        "auto" => Ok(LogFormat::Auto),
        "pretty" | "text" => Ok(LogFormat::Pretty),
        "raw" | "free" | "plain" => Ok(LogFormat::Raw),
        _ => Err(format!("LOG_FORMAT '{word}': expected logfmt, json, auto, pretty or raw")),
    }
}

fn parse_port(text: &str) -> Result<Option<u16>, &'static str> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "expected a port from 1 to 65535, 0 for any that is free, or none")
}

fn parse_interface(text: &str) -> Result<IpAddr, &'static str> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare == "localhost" {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    IpAddr::from_str(bare).map_err(|_| "expected an IP address such as 127.0.0.1 or ::1, or localhost")
}

fn parse_backoff(text: &str) -> Result<DurationRange, String> {
    let span = parse_span(text).map_err(|error| error.to_string())?;
    if span.from.is_zero() && !span.to.is_zero() {
        return Err("a pause of nothing does not grow: begin with at least 1ms, or use --wait 0".to_owned());
    }
    Ok(span)
}

fn parse_count(text: &str) -> Result<u32, &'static str> {
    const MOST: u32 = 100_000;
    text.parse().ok().filter(|count| *count <= MOST).ok_or("expected a whole number from 0 to 100000")
}

pub(super) fn parse_stop_signal(text: &str) -> Result<Signal, String> {
    let signal = Signal::from_str(text).map_err(|error| error.to_string())?;
    match signal {
        Signal::CHLD | Signal::URG | Signal::CONT => Err("it ends no process".to_owned()),
        _ => Ok(signal),
    }
}

fn parse_pid(text: &str) -> Result<Option<Pid>, &'static str> {
    match text.parse::<Pid>() {
        // The old tool's way to say "none".
        Ok(0) => Ok(None),
        Ok(pid) if pid > 0 => Ok(Some(pid)),
        _ => Err("expected the number of a process"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Variables = BTreeMap<&'static str, &'static str>;

    fn words(command: &str) -> RawOwn {
        RawOwn { words: command.split(' ').map(Into::into).collect(), ..RawOwn::default() }
    }

    fn run(
        personality: Personality,
        options: &RawOptions,
        own: RawOwn,
        variables: &Variables,
    ) -> Result<Settings, String> {
        resolve(personality, options, RawMode::Run(own), variables, false).map_err(|error| error.0)
    }

    fn own(settings: Result<Settings, String>) -> Own {
        match settings.map(|settings| settings.mode) {
            Ok(Mode::Own(own)) => *own,
            other => panic!("{other:?}"),
        }
    }

    fn supervise(raw: RawOwn, more: RawSupervise, personality: Personality) -> Result<Restart, String> {
        let mode = RawMode::Supervise(raw, more);
        let settings = resolve(personality, &RawOptions::default(), mode, &Variables::new(), false);
        settings.map(|settings| own(Ok(settings)).plan.jobs[0].restart.clone()).map_err(|error| error.0)
    }

    #[test]
    fn the_command_line_counts_before_our_variables_and_those_before_kapos() {
        let variables =
            Variables::from([("SEXTON_PORT", "2"), ("KAPO_PORT", "3"), ("KAPO_INTERFACE", "::1")]);
        let port = |personality, flag: Option<&str>| {
            let options = RawOptions { port: flag.map(str::to_owned), ..RawOptions::default() };
            match run(personality, &options, words("true"), &variables).map(|settings| settings.listen) {
                Ok(Listen::At { address, .. }) => address.to_string(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(port(Personality::Sexton, Some("1")), "[::1]:1");
        assert_eq!(port(Personality::Sexton, None), "[::1]:2");
        assert_eq!(port(Personality::Kapo, None), "[::1]:3");
    }

    #[test]
    fn an_error_names_where_what_and_what_was_expected() {
        let error = |name, value| {
            run(Personality::Sexton, &RawOptions::default(), words("true"), &Variables::from([(name, value)]))
                .err()
        };
        assert_eq!(
            error("KAPO_PORT", "http").as_deref(),
            Some("KAPO_PORT 'http': expected a port from 1 to 65535, 0 for any that is free, or none")
        );
        assert_eq!(
            error("SEXTON_TTL", "40s..10s").as_deref(),
            Some("SEXTON_TTL '40s..10s': a range goes from the shorter to the longer, as in 10s..40s")
        );
        for (name, value) in [
            ("KAPO_INTERFACE", "eth0"),
            ("KAPO_SIDEBIND", "maybe"),
            ("KAPO_PORT", "65536"),
            ("SEXTON_STOP_SIGNAL", "NOPE"),
            ("SEXTON_STOP_SIGNAL", "CHLD"),
            ("SEXTON_GRACE_PERIOD", "-1"),
            ("SEXTON_STATUS_FORMAT", "xml"),
        ] {
            assert!(error(name, value).is_some_and(|error| error.starts_with(name)), "{name}={value}");
        }
        assert_eq!(error("KAPO_PORT", ""), None, "empty is not set");
    }

    #[test]
    fn output_is_passed_on_by_us_and_discarded_by_kapo() {
        let plan = |personality, variables: &[(&'static str, &'static str)]| {
            let variables = variables.iter().copied().collect();
            let output = own(run(personality, &RawOptions::default(), words("true"), &variables)).output;
            (output.stdout, output.stderr)
        };
        use StreamPlan::{Discard, Inherit, Records};
        assert_eq!(plan(Personality::Sexton, &[]), (Inherit, Inherit));
        assert_eq!(plan(Personality::Sexton, &[("KAPO_STDLOG", "1")]), (Records, Records));
        assert_eq!(plan(Personality::Sexton, &[("SEXTON_STDOUT", "false")]), (Discard, Inherit));
        assert_eq!(plan(Personality::Kapo, &[]), (Discard, Discard));
        assert_eq!(plan(Personality::Kapo, &[("KAPO_STDERR", "true")]), (Discard, Inherit));
        assert_eq!(plan(Personality::Kapo, &[("KAPO_STDLOG", "true")]), (Records, Records));
        assert_eq!(
            plan(Personality::Kapo, &[("KAPO_STDLOG", "t"), ("KAPO_STDOUT", "t")]),
            (Records, Discard)
        );
    }

    #[test]
    fn the_pause_grows_unless_it_is_fixed() {
        let seconds = Duration::from_secs;
        let growing = RestartDelay::Exponential {
            range: DurationRange { from: seconds(5), to: seconds(300) },
            reset_after: seconds(60),
            first_at_once: false,
        };
        let none = RawSupervise::default();
        assert_eq!(
            supervise(words("x"), none.clone(), Personality::Sexton),
            Ok(Restart::always(growing, None))
        );
        let fixed = |n| Ok(Restart::always(RestartDelay::Fixed(seconds(n)), None));
        assert_eq!(supervise(words("x"), none.clone(), Personality::Kapo), fixed(5));
        let wait = RawOwn { wait: Some("30".to_owned()), ..words("x") };
        assert_eq!(supervise(wait.clone(), none, Personality::Sexton), fixed(30));
        let backoff = RawSupervise { backoff: Some("1s..2s".to_owned()), ..RawSupervise::default() };
        assert!(
            supervise(wait, backoff.clone(), Personality::Sexton)
                .is_err_and(|error| error.contains("--backoff"))
        );
        assert!(supervise(words("x"), backoff.clone(), Personality::Sexton).is_ok());
        let variables = Variables::from([("KAPO_WAIT", "3")]);
        let mode = RawMode::Supervise(words("x"), backoff);
        let settings = resolve(Personality::Sexton, &RawOptions::default(), mode, &variables, false);
        let span = DurationRange { from: seconds(1), to: seconds(2) };
        let pause = RestartDelay::Exponential { range: span, reset_after: seconds(60), first_at_once: false };
        let restart = own(settings.map_err(|error| error.0)).plan.jobs[0].restart.clone();
        assert_eq!(restart, Restart::always(pause, None), "what was typed counts before a variable");
        let from_nothing = RawSupervise { backoff: Some("0..2s".to_owned()), ..RawSupervise::default() };
        assert!(supervise(words("x"), from_nothing, Personality::Sexton).is_err());
        let window = RawSupervise { restart_window: Some("1m".to_owned()), ..RawSupervise::default() };
        assert!(supervise(words("x"), window, Personality::Sexton).is_err());
    }

    #[test]
    fn whom_to_watch_is_one_of_two() {
        let watch = |name: Option<&str>, pid: Option<&str>, wait: Option<&str>| {
            let text = |word: Option<&str>| word.map(str::to_owned);
            let raw = RawWatch { name: text(name), pid: text(pid), wait: text(wait) };
            resolve(Personality::Kapo, &RawOptions::default(), RawMode::Watch(raw), &Variables::new(), false)
                .is_ok()
        };
        assert!(watch(Some("puppet"), None, None));
        assert!(watch(None, Some("17"), Some("500ms")));
        assert!(watch(Some("puppet"), Some("0"), None), "0 is none");
        for (name, pid, wait) in [
            (None, None, None),
            (Some(""), None, None),
            (Some("x"), Some("17"), None),
            (None, Some("-3"), None),
            (None, Some("x"), None),
            (Some("x"), None, Some("0")),
        ] {
            assert!(!watch(name, pid, wait), "{name:?} {pid:?} {wait:?}");
        }
    }

    #[test]
    fn a_ttl_of_nothing_is_none() {
        let ttl = |text: &str| {
            let raw = RawOwn { ttl: Some(text.to_owned()), ..words("x") };
            own(run(Personality::Sexton, &RawOptions::default(), raw, &Variables::new())).plan.jobs[0].ttl
        };
        assert_eq!(ttl("0"), None);
        assert_eq!(ttl("0..0"), None);
        let seconds = Duration::from_secs;
        assert_eq!(ttl("10s..40s"), Some(DurationRange { from: seconds(10), to: seconds(40) }));
    }
}
