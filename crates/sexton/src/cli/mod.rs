//! The command line: arguments in, an [`Invocation`] out, without side effects; `--help` is a text to print.
//!
//! * [`args`]: the commands of `sexton`
//! * [`kapo`], [`kubexit`], [`kontrol`], [`automaton`], [`process_wrapper`]: the older tools
//! * the other modules: one for each command that prints something and exits

pub mod args;
pub mod automaton;
pub mod check;
pub mod ctl;
pub mod ensemble;
mod errors;
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

use clap::{CommandFactory as _, FromArgMatches as _};
use log::LevelFilter;

use crate::client::{ClientCommand, ClientRequest};
use crate::logs::own_log::{self, LogSettings};
use args::{AutomatonCommand, ClientOptions, Command, DebugCommand, LockCommand, RequestOptions, Sexton};
use config::Settings;
use config::options::{
    AutomatonOptions, CommonOptions, DEFAULT_FILE, LogOptions, ModeOptions, Personality, ResolvedEnsemble,
    UsageError, default_control, resolve, sources, tls_files,
};
use ensemble::EnsembleCommand;
use errors::printed;
use process_wrapper::Parsed;
use spec::duration;
use spec::environment::Environment;
use spec::pod::DEFAULT_DIRECTORY;
use spec::program::{AS_SEXTON, Pid};
use spec::text::base_name;

/// A parsed and resolved command line.
#[derive(Debug)]
pub enum Invocation {
    /// Run until stopped.
    Live(Box<Settings>),
    /// Print this on standard output and exit.
    Print(String),
    /// Create links under the names of the older tools.
    Install {
        directory: PathBuf,
        /// Also copy the executable there.
        copy: bool,
    },
    /// Replay a journal.
    Replay(PathBuf),
    /// Send a request to a running `up`.
    Ask(ClientCommand),
    /// Send a request to a running automaton.
    Ctl(ctl::CtlRequest),
    /// Check the file of an automaton.
    CheckAutomaton {
        file: PathBuf,
        /// Print the graph.
        dot: bool,
    },
    /// Guard the runs of another sexton process.
    Guard(Pid),
    /// Render a template.
    Render(Box<render::Render>),
    /// Send a request to a pod of an ensemble.
    AskPod(ensemble::PodCommand),
    /// List locks.
    Locks { server: spec::lock::HttpAddress, json: bool },
    /// List tombstones.
    Graves { directory: PathBuf, json: bool },
    /// Check a configuration file.
    Check { file: PathBuf, json: bool },
}

/// Parses a command line. The name of the executable selects the personality.
pub fn parse(
    mut arguments: Vec<OsString>,
    environment: &dyn Environment,
    terminal: bool,
) -> Result<(Invocation, LogSettings), UsageError> {
    if arguments.get(1).is_some_and(|word| word == AS_SEXTON) {
        arguments.splice(..2, ["sexton".into()]);
    }
    let called = arguments.first().map(|word| base_name(word)).unwrap_or_default();
    if called == kapo::NAME {
        let (common, mode) = match kapo::parse(arguments) {
            Ok(parsed) => parsed,
            Err(error) => return Ok(quiet(printed(&error, kapo::NAME)?)),
        };
        let settings = resolve(Personality::Kapo, &common, mode, environment, terminal)?;
        let log = own_log::settings(LevelFilter::Warn, 0, None, environment)?;
        return Ok((Invocation::Live(Box::new(settings)), log));
    }
    if called == kubexit::NAME {
        let Some((common, mode)) = kubexit::parse(arguments)? else {
            return Ok(quiet(Invocation::Print(kubexit::help())));
        };
        let settings = resolve(Personality::Kubexit, &common, mode, environment, terminal)?;
        let log = own_log::settings(LevelFilter::Info, 0, None, environment)?;
        return Ok((Invocation::Live(Box::new(settings)), log));
    }
    if called == kontrol::NAME {
        let (common, mode, verbose) = kontrol::parse(environment)?;
        let settings = resolve(Personality::Kontrol, &common, mode, environment, false)?;
        let log = own_log::settings(LevelFilter::Info, u8::from(verbose) * 2, None, environment)?;
        return Ok((Invocation::Live(Box::new(settings)), log));
    }
    if called == automaton::NAME {
        let (common, mode, log) = match automaton::parse(arguments) {
            Ok(parsed) => parsed,
            Err(error) => return Ok(quiet(printed(&error, automaton::NAME)?)),
        };
        let settings = resolve(Personality::Automaton, &common, mode, environment, false)?;
        let to = own_log::settings(LevelFilter::Info, 0, None, environment)?.into_file(Some(log));
        return Ok((Invocation::Live(Box::new(settings)), to));
    }
    if called == process_wrapper::NAME {
        return match process_wrapper::parse(&arguments, environment)? {
            Parsed::Print(text) => Ok(quiet(Invocation::Print(text))),
            Parsed::Wait(command) => Ok(quiet(Invocation::Ask(command))),
            Parsed::Live(live, debug) => {
                let (common, mode) = *live;
                let settings = resolve(Personality::ProcessWrapper, &common, mode, environment, false)?;
                let log = own_log::settings(LevelFilter::Info, u8::from(debug) * 2, None, environment)?;
                Ok((Invocation::Live(Box::new(settings)), log))
            }
        };
    }
    match Sexton::command().try_get_matches_from(arguments).and_then(|m| Sexton::from_arg_matches(&m)) {
        Ok(parsed) => sexton(parsed, environment, terminal),
        Err(error) => Ok(quiet(printed(&error, "sexton")?)),
    }
}

/// The complete command line, for manuals and completions.
#[must_use]
pub fn command() -> clap::Command {
    Sexton::command()
}

/// An invocation that logs warnings only.
fn quiet(invocation: Invocation) -> (Invocation, LogSettings) {
    (invocation, LogSettings::default())
}

fn sexton(
    Sexton { common: before, command }: Sexton,
    environment: &dyn Environment,
    terminal: bool,
) -> Result<(Invocation, LogSettings), UsageError> {
    let live = |level, common: CommonOptions, mode| {
        let common = common.or(before);
        let LogOptions { verbose, log_format } = common.log.clone();
        let log = own_log::settings(level, verbose, log_format, environment)?;
        let settings = resolve(Personality::Sexton, &common, mode, environment, terminal)?;
        Ok((Invocation::Live(Box::new(settings)), log))
    };
    let done = |invocation| Ok(quiet(invocation));
    let client = |options: ClientOptions, request: ClientRequest| {
        let socket = control_socket(options.control.control, environment);
        done(Invocation::Ask(ClientCommand { socket, request, json: options.output.is_json() }))
    };
    let change = |verb: &'static str, options: RequestOptions| {
        let limit = time_limit(options.timeout.as_deref())?;
        client(options.client, ClientRequest::Change { verb, names: options.names, limit })
    };
    match command {
        Command::Run { run, common } => live(LevelFilter::Warn, common, ModeOptions::Run(Box::new(run))),
        Command::Supervise { supervise, common } => {
            live(LevelFilter::Warn, common, ModeOptions::Supervise(Box::new(supervise)))
        }
        Command::Watch { watch, common } => live(LevelFilter::Warn, common, ModeOptions::Watch(watch)),
        Command::Up { up, common } => live(LevelFilter::Info, common, ModeOptions::Up(up)),
        Command::Lock { command: LockCommand::Serve { store, common } } => {
            live(LevelFilter::Info, common, ModeOptions::LockServer(store))
        }
        Command::Lock { command: LockCommand::Hold { hold, mut common } } => {
            common.listen.port.get_or_insert_with(|| "none".to_owned());
            live(LevelFilter::Warn, common, ModeOptions::Hold(Box::new(hold)))
        }
        Command::Automaton { mut automaton, command: None } if !automaton.check && !automaton.dot => {
            let common = CommonOptions {
                listen: std::mem::take(&mut automaton.listen),
                log: std::mem::take(&mut automaton.logging),
                ..CommonOptions::default()
            };
            let file = automaton.log.take();
            let (invocation, log) = live(LevelFilter::Info, common, ModeOptions::Automaton(automaton))?;
            Ok((invocation, log.into_file(file)))
        }
        Command::Ensemble { mut ensemble, command: None } => {
            let common = CommonOptions {
                listen: std::mem::take(&mut ensemble.listen),
                log: std::mem::take(&mut ensemble.logging),
                ..CommonOptions::default()
            };
            live(LevelFilter::Info, common, ModeOptions::Ensemble(ensemble))
        }
        Command::Ensemble { command: Some(EnsembleCommand::RunPlan), .. } => {
            let log = own_log::settings(LevelFilter::Info, 0, Some("logfmt".to_owned()), environment)?;
            Ok((Invocation::Live(Box::new(ResolvedEnsemble::from_environment(environment)?)), log))
        }
        Command::Check { file, json } => {
            done(Invocation::Check { file: file.unwrap_or_else(|| DEFAULT_FILE.to_owned()).into(), json })
        }
        Command::Schema => done(Invocation::Print(check::schema())),
        Command::Status { names, watch, client: options } => {
            client(options, ClientRequest::Status { names, watch })
        }
        Command::Logs { names, follow, tail, output, control } => done(Invocation::Ask(ClientCommand {
            socket: control_socket(control.control, environment),
            request: ClientRequest::Logs { names, follow, tail, format: output },
            json: false,
        })),
        Command::Events { names, follow, client: options } => {
            client(options, ClientRequest::Events { names, follow })
        }
        Command::Why { name, client: options } => client(options, ClientRequest::Why(name)),
        Command::Start(options) => change("start", options),
        Command::Stop(options) => change("stop", options),
        Command::Restart(options) => change("restart", options),
        Command::Signal { group, signal, names, client: options } => {
            signal.parse::<engine::Signal>().map_err(|error| UsageError(error.to_string()))?;
            client(options, ClientRequest::Signal { group, signal, names })
        }
        Command::Reload(options) => client(options, ClientRequest::Reload),
        Command::End(options) => client(options, ClientRequest::End),
        Command::Wait { timeout, readiness_file, client: options } => {
            let limit = time_limit(timeout.as_deref())?;
            client(options, ClientRequest::Wait { limit, file: readiness_file })
        }
        Command::Names(options) => client(options, ClientRequest::Names),
        Command::Automaton { command: Some(AutomatonCommand::Ctl { socket, arguments }), .. } => {
            let socket = socket.or_else(|| environment.get("SEXTON_AUTOMATON_SOCKET").map(PathBuf::from));
            done(Invocation::Ctl(ctl::CtlRequest::new(socket, arguments)))
        }
        Command::Automaton { automaton: AutomatonOptions { file, dot, .. }, command: None } => {
            done(Invocation::CheckAutomaton { file: file.unwrap_or_default().into(), dot })
        }
        Command::Lock { command: LockCommand::Guard { pid } } => done(Invocation::Guard(pid)),
        Command::Lock { command: LockCommand::List { url, output } } => {
            let url =
                url.or_else(|| Some(environment.get("SEXTON_LOCK_URL")?.to_string_lossy().into_owned()));
            let server = url.as_deref().unwrap_or(spec::lock::DEFAULT_URL).parse().map_err(UsageError)?;
            done(Invocation::Locks { server, json: output.is_json() })
        }
        Command::Ensemble {
            command: Some(EnsembleCommand::Render { identity, pod, tls_ca, output, template }),
            ..
        } => {
            let pod = pod.map(|pod| {
                let at = pod.parse().map_err(|why| UsageError(format!("--pod '{pod}': {why}")))?;
                Ok((at, tls_files(None, None, tls_ca)?))
            });
            let (sources, namespace) = sources(identity, environment)?;
            let render = render::Render { template, output, sources, namespace, pod: pod.transpose()? };
            done(Invocation::Render(Box::new(render)))
        }
        Command::Ensemble { command: Some(EnsembleCommand::Pod(command)), .. } => {
            done(Invocation::AskPod(ensemble::PodCommand::new(command)?))
        }
        Command::Graves { directory, output } => done(Invocation::Graves {
            directory: directory.unwrap_or_else(|| DEFAULT_DIRECTORY.into()),
            json: output.is_json(),
        }),
        Command::Install { copy, directory } => done(Invocation::Install { directory, copy }),
        Command::Debug { command: DebugCommand::Replay { file } } => done(Invocation::Replay(file)),
    }
}

fn control_socket(given: Option<PathBuf>, environment: &dyn Environment) -> PathBuf {
    let set = given.or_else(|| environment.get("SEXTON_CONTROL").map(PathBuf::from));
    set.unwrap_or_else(|| default_control(environment))
}

fn time_limit(given: Option<&str>) -> Result<Option<Duration>, UsageError> {
    let parse = |text: &str| {
        duration::parse(text).map_err(|error| UsageError(format!("--timeout '{text}': {error}")))
    };
    given.map(parse).transpose()
}
