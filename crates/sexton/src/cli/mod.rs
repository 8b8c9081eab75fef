//! The command line: words in, an [`Invocation`] out. No side effects; `--help` is a text to print.

pub mod args;
pub mod automaton;
pub mod check;
pub mod ensemble;
pub mod graves;
pub mod install;
pub mod kapo;
pub mod kontrol;
pub mod kubexit;
pub mod locks;
pub mod process_wrapper;
pub mod render;
pub mod replay;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};
use log::LevelFilter;

use crate::client::{Errand, What};
use crate::config::Settings;
use crate::config::resolve::{
    DEFAULT_FILE, Personality, RawAutomaton, RawLock, RawMode, RawOptions, RawOwn, RawPod, RawStore,
    RawSupervise, RawUp, RawWatch, UsageError, default_control, resolve, sources, tls_files,
};
use crate::logs::own_log;
use crate::logs::own_log::LogSettings;
use args::{Command, Ctl, Debug, EnsembleAsk, LockCommand, Sexton, Shared};
use process_wrapper::Parsed;
use spec::duration;
use spec::environment::Environment;
use spec::pod::DEFAULT_DIRECTORY;
use spec::program::AS_SEXTON;
use spec::program::Pid;
use spec::text::base_name;

/// What to do.
#[derive(Debug)]
pub enum Invocation {
    /// Look after processes.
    Live(Box<Settings>),
    /// Print this, on standard output, and be done.
    Print(String),
    /// Make links under the names of the tools that we stand in for.
    Install {
        /// Where.
        directory: PathBuf,
        /// Copy the program there too.
        copy: bool,
    },
    /// Repeat a journal.
    Replay(PathBuf),
    /// Ask a running `up` for something.
    Ask(Errand),
    /// Say something to a running automaton.
    Say(automaton::Say),
    /// Check the file of an automaton.
    Chart {
        /// Which.
        file: PathBuf,
        /// As a drawing.
        dot: bool,
    },
    /// Guard the runs of another of us.
    Guard(Pid),
    /// Fill a template.
    Render(Box<render::Render>),
    /// Ask a pod of an ensemble.
    AskPod(ensemble::AskPod),
    /// List locks.
    Locks {
        /// Where.
        server: crate::locks::client::Server,
        /// For programs.
        json: bool,
    },
    /// List tombstones.
    Graves {
        /// Where they are.
        directory: PathBuf,
        /// For programs.
        json: bool,
    },
    /// Check a file.
    Check {
        /// Which.
        file: PathBuf,
        /// For programs.
        json: bool,
    },
}

/// Reads the command line. The name by which we were called decides whose it is.
pub fn parse(
    mut words: Vec<OsString>,
    environment: &dyn Environment,
    terminal: bool,
) -> Result<(Invocation, LogSettings), UsageError> {
    if words.get(1).is_some_and(|word| word == AS_SEXTON) {
        words.splice(..2, ["sexton".into()]);
    }
    let called = words.first().map(|word| base_name(word)).unwrap_or_default();
    if called == kapo::NAME {
        let (options, mode) = match kapo::parse(words) {
            Ok(raw) => raw,
            Err(error) => return printed(&error, kapo::NAME).map(|it| (it, LogSettings::default())),
        };
        let settings = resolve(Personality::Kapo, &options, mode, environment, terminal)?;
        let log = own_log::settings(LevelFilter::Warn, 0, None, environment)?;
        return Ok((Invocation::Live(Box::new(settings)), log));
    }
    if called == kubexit::NAME {
        let Some((options, mode)) = kubexit::parse(words)? else {
            return Ok((Invocation::Print(kubexit::help()), LogSettings::default()));
        };
        let settings = resolve(Personality::Kubexit, &options, mode, environment, terminal)?;
        let log = own_log::settings(LevelFilter::Info, 0, None, environment)?;
        return Ok((Invocation::Live(Box::new(settings)), log));
    }
    if called == kontrol::NAME {
        let (options, mode, verbose) = kontrol::parse(environment)?;
        let settings = resolve(Personality::Kontrol, &options, mode, environment, false)?;
        let log = own_log::settings(LevelFilter::Info, u8::from(verbose) * 2, None, environment)?;
        return Ok((Invocation::Live(Box::new(settings)), log));
    }
    if called == automaton::NAME {
        let (options, mode, log) = match automaton::parse(words) {
            Ok(raw) => raw,
            Err(error) => return printed(&error, automaton::NAME).map(|it| (it, LogSettings::default())),
        };
        let settings = resolve(Personality::Automaton, &options, mode, environment, false)?;
        let to = own_log::settings(LevelFilter::Info, 0, None, environment)?.into_file(Some(log));
        return Ok((Invocation::Live(Box::new(settings)), to));
    }
    if called == process_wrapper::NAME {
        return match process_wrapper::parse(&words, environment)? {
            Parsed::Print(text) => Ok((Invocation::Print(text), LogSettings::default())),
            Parsed::Wait(errand) => Ok((Invocation::Ask(errand), LogSettings::default())),
            Parsed::Live(live, debug) => {
                let (options, mode) = *live;
                let settings = resolve(Personality::ProcessWrapper, &options, mode, environment, false)?;
                let log = own_log::settings(LevelFilter::Info, u8::from(debug) * 2, None, environment)?;
                Ok((Invocation::Live(Box::new(settings)), log))
            }
        };
    }
    let parsed =
        match Sexton::command().try_get_matches_from(words).and_then(|m| Sexton::from_arg_matches(&m)) {
            Ok(parsed) => parsed,
            Err(error) => return printed(&error, "sexton").map(|it| (it, LogSettings::default())),
        };
    let front = parsed.shared.raw(parsed.port);
    let verbose = parsed.shared.verbose;
    let log_format = parsed.shared.log_format;
    let at = |client: args::Client, what: What| {
        let json = client.output == "json";
        Ok((
            Invocation::Ask(Errand { socket: control_of(client.control, environment), what, json }),
            LogSettings::default(),
        ))
    };
    let wish = |verb: &'static str, wish: args::WishOptions| {
        let patience = patience(wish.timeout.as_deref())?;
        at(wish.client, What::Wish { verb, names: wish.names, patience })
    };
    let mut quiet = LevelFilter::Warn;
    let mut log_file = None;
    let (behind, mode) = match parsed.command {
        Command::Up { file, more, shared, port } => {
            quiet = LevelFilter::Info;
            (shared.split(port), RawMode::Up(more.raw(file)))
        }
        Command::Check { file, json } => {
            let file = file.unwrap_or_else(|| DEFAULT_FILE.to_owned()).into();
            return Ok((Invocation::Check { file, json }, LogSettings::default()));
        }
        Command::Schema => return Ok((Invocation::Print(check::schema()), LogSettings::default())),
        Command::Status { names, watch, client } => return at(client, What::Status { names, watch }),
        Command::Logs { names, follow, tail, output, control } => {
            let what = What::Logs { names, follow, tail, format: output };
            let socket = control_of(control, environment);
            return Ok((Invocation::Ask(Errand { socket, what, json: false }), LogSettings::default()));
        }
        Command::Events { names, follow, client } => return at(client, What::Events { names, follow }),
        Command::Why { name, client } => return at(client, What::Why(name)),
        Command::Start { wish: options } => return wish("start", options),
        Command::Stop { wish: options } => return wish("stop", options),
        Command::Restart { wish: options } => return wish("restart", options),
        Command::Signal { signal, names, client } => {
            signal.parse::<engine::Signal>().map_err(|error| UsageError(error.to_string()))?;
            return at(client, What::Signal { signal, names });
        }
        Command::Reload { client } => return at(client, What::Reload),
        Command::End { client } => return at(client, What::End),
        Command::Wait { timeout, readiness_file, client } => {
            let patience = patience(timeout.as_deref())?;
            return at(client, What::Wait { patience, file: readiness_file });
        }
        Command::Names { client } => return at(client, What::Names),
        Command::Run { wait, own, pod, shared, port, words } => {
            (shared.split(port), RawMode::Run(own.raw(pod, wait, words)))
        }
        Command::Supervise { wait, more, own, pod, shared, port, words } => {
            (shared.split(port), RawMode::Supervise(own.raw(pod, wait, words), more.raw()))
        }
        Command::Watch { shared, port, pid, wait, name } => {
            (shared.split(port), RawMode::Watch(RawWatch { name, pid, wait }))
        }
        Command::Automaton { ctl: Some(Ctl::Ctl { socket, words }), .. } => {
            let socket = socket.or_else(|| environment.get("SEXTON_AUTOMATON_SOCKET").map(PathBuf::from));
            let say = automaton::Say { socket: automaton::socket(socket), words };
            return Ok((Invocation::Say(say), LogSettings::default()));
        }
        Command::Automaton { file, check, dot, .. } if check || dot => {
            let file = file.unwrap_or_default().into();
            return Ok((Invocation::Chart { file, dot }, LogSettings::default()));
        }
        Command::Automaton {
            file,
            socket,
            socket_mode,
            log,
            debug,
            section,
            interface,
            verbose,
            log_format,
            port,
            ..
        } => {
            quiet = LevelFilter::Info;
            log_file = log;
            let options = RawOptions { port, interface, ..RawOptions::default() };
            let file = file.unwrap_or_default();
            let raw = RawAutomaton { file, section, socket, socket_mode, debug };
            ((options, verbose, log_format), RawMode::Automaton(raw))
        }
        Command::Lock { command: LockCommand::Guard { pid } } => {
            return Ok((Invocation::Guard(pid), LogSettings::default()));
        }
        Command::Lock { command: LockCommand::List { url, output } } => {
            let url =
                url.or_else(|| Some(environment.get("SEXTON_LOCK_URL")?.to_string_lossy().into_owned()));
            let server = url.as_deref().unwrap_or(crate::locks::DEFAULT_URL).parse().map_err(UsageError)?;
            let json = output == "json";
            return Ok((Invocation::Locks { server, json }, LogSettings::default()));
        }
        Command::Lock { command: LockCommand::Serve { store, shared, port } } => {
            quiet = LevelFilter::Info;
            (shared.split(port), RawMode::LockServer(store.raw()))
        }
        Command::Ensemble {
            ask: Some(EnsembleAsk::Render { identity, pod, tls_ca, output, template }),
            ..
        } => {
            let pod = pod.map(|pod| {
                let at = pod.parse().map_err(|why| UsageError(format!("--pod '{pod}': {why}")))?;
                Ok((at, tls_files(None, None, tls_ca)?))
            });
            let (sources, namespace) = sources(identity.raw(), environment)?;
            let render = render::Render { template, output, sources, namespace, pod: pod.transpose()? };
            return Ok((Invocation::Render(Box::new(render)), LogSettings::default()));
        }
        Command::Ensemble { ask: Some(ask), .. } => {
            return Ok((Invocation::AskPod(ensemble::asked(ask)?), LogSettings::default()));
        }
        Command::Ensemble { more, interface, verbose, log_format, port, ask: None } => {
            quiet = LevelFilter::Info;
            let options = RawOptions { port, interface, ..RawOptions::default() };
            ((options, verbose, log_format), RawMode::Ensemble(Box::new(more.raw())))
        }
        Command::Lock { command: LockCommand::Hold { lock_ttl, url, own, shared, port, lock, words } } => {
            let port = port.or_else(|| Some("none".to_owned()));
            let lock = Some(RawLock { name: lock, ttl: lock_ttl, url });
            let own = own.raw(args::PodOptions::default(), None, words);
            (shared.split(port), RawMode::Run(RawOwn { lock, ..own }))
        }
        Command::Graves { directory, output } => {
            let directory = directory.unwrap_or_else(|| DEFAULT_DIRECTORY.into());
            let json = output == "json";
            return Ok((Invocation::Graves { directory, json }, LogSettings::default()));
        }
        Command::Install { copy, directory } => {
            return Ok((Invocation::Install { directory, copy }, LogSettings::default()));
        }
        Command::Debug { command: Debug::Replay { file } } => {
            return Ok((Invocation::Replay(file), LogSettings::default()));
        }
    };
    let (behind, behind_verbose, behind_format) = behind;
    let log = own_log::settings(quiet, verbose + behind_verbose, behind_format.or(log_format), environment)?;
    let log = log.into_file(log_file);
    let settings = resolve(Personality::Sexton, &behind.or(front), mode, environment, terminal)?;
    Ok((Invocation::Live(Box::new(settings)), log))
}

fn control_of(given: Option<String>, environment: &dyn Environment) -> PathBuf {
    let said = given.map(PathBuf::from).or_else(|| environment.get("SEXTON_CONTROL").map(PathBuf::from));
    said.unwrap_or_else(|| default_control(environment))
}

fn patience(given: Option<&str>) -> Result<Option<Duration>, UsageError> {
    let parse = |text: &str| {
        duration::parse(text).map_err(|error| UsageError(format!("--timeout '{text}': {error}")))
    };
    given.map(parse).transpose()
}

impl args::StoreOptions {
    fn raw(self) -> RawStore {
        RawStore {
            store: self.store,
            etcd: self.etcd,
            etcd_ca: self.etcd_ca,
            etcd_cert: self.etcd_cert,
            etcd_key: self.etcd_key,
            etcd_user: self.etcd_user,
            etcd_password_file: self.etcd_password_file,
        }
    }
}

impl args::UpOptions {
    fn raw(self, file: Option<String>) -> RawUp {
        RawUp {
            file,
            control: self.control,
            readiness_file: self.readiness_file,
            readiness_file_sticky: self.readiness_file_sticky,
            exit_from: self.exit_from,
            shutdown_deadline: self.shutdown_deadline,
            skip: Vec::new(),
            lock_url: None,
            lock_server: None,
        }
    }
}

impl Shared {
    fn raw(&self, port: Option<String>) -> RawOptions {
        let this = self.clone();
        RawOptions {
            port,
            interface: this.interface,
            sidebind: this.sidebind,
            socket_activation: this.socket_activation,
            stdout: this.stdout,
            stderr: this.stderr,
            stdlog: this.stdlog,
            status_format: this.status_format,
            debug_journal: this.debug_journal,
        }
    }

    fn split(self, port: Option<String>) -> (RawOptions, u8, Option<String>) {
        (self.raw(port), self.verbose, self.log_format)
    }
}

/// Help and version are no errors; everything else becomes one line.
fn printed(error: &clap::Error, program: &str) -> Result<Invocation, UsageError> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Invocation::Print(error.to_string())),
        _ => Err(UsageError(format!("{} (see '{program} --help')", one_line(error)))),
    }
}

fn one_line(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let suggestion = context(ContextKind::SuggestedArg).or_else(|| context(ContextKind::SuggestedSubcommand));
    let hint = suggestion.map(|text| format!(", did you mean '{text}'?")).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => {
            format!("unknown option '{}'{hint}", context(ContextKind::InvalidArg).unwrap_or_default())
        }
        ErrorKind::InvalidSubcommand => {
            format!("unknown command '{}'{hint}", context(ContextKind::InvalidSubcommand).unwrap_or_default())
        }
        ErrorKind::MissingRequiredArgument => {
            format!("missing {}", context(ContextKind::InvalidArg).unwrap_or_default())
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "no command given".to_owned()
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    }
}

/// The whole command line, for manuals and completions.
#[must_use]
pub fn command() -> clap::Command {
    Sexton::command()
}

impl args::OwnOptions {
    fn raw(self, pod: args::PodOptions, wait: Option<String>, words: Vec<OsString>) -> RawOwn {
        RawOwn {
            pod: pod.raw(),
            lock: None,
            name: self.name,
            ttl: self.ttl,
            wait,
            grace_period: self.grace_period,
            stop_signal: self.stop_signal,
            words,
        }
    }
}

impl args::PodOptions {
    fn raw(self) -> RawPod {
        let list = |words: Vec<String>| (!words.is_empty()).then(|| words.join(","));
        RawPod {
            graveyard: self.graveyard,
            graveyard_mode: self.graveyard_mode,
            graveyard_poll: self.graveyard_poll,
            birth_deps: list(self.birth_deps),
            birth_timeout: self.birth_timeout,
            death_deps: list(self.death_deps),
            rebirth_timeout: self.rebirth_timeout,
            exit_codes: self.exit_codes,
            pod_name: self.pod_name,
            namespace: self.namespace,
            wait_for: list(self.wait_for),
            quit: list(self.quit),
            quit_when: self.quit_when,
        }
    }
}

impl args::SuperviseOptions {
    fn raw(self) -> RawSupervise {
        RawSupervise {
            backoff: self.backoff,
            backoff_reset: self.backoff_reset,
            max_restarts: self.max_restarts,
            restart_window: self.restart_window,
        }
    }
}
