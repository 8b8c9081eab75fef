//! Parses the command line, runs the command, and turns its result into an exit code.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use config::compile::ConfigError;
use linux::terminal::Terminal;
use sexton::app::{self, StartupError};
use sexton::cli::{self, Invocation};
use sexton::sysexits::{CANTCREAT, CONFIG, DATAERR, NOINPUT, OSERR, UNAVAILABLE, USAGE};
use sexton::{automaton, client};
use spec::environment::Real;
use spec::text::{describe, one_line};

fn main() -> ExitCode {
    sexton::probes::abort_on_panic();
    let arguments: Vec<_> = std::env::args_os().collect();
    let is_foreground = Terminal::on_stdin().is_some_and(|terminal| terminal.is_foreground());
    let (invocation, log) = match cli::parse(arguments, &Real, is_foreground) {
        Ok(parsed) => parsed,
        Err(error) => return fail(&error, USAGE),
    };
    if let Err(error) = sexton::logs::own_log::init(&log) {
        return fail(&format!("cannot write the log: {}", describe(&error)), CANTCREAT);
    }
    match invocation {
        Invocation::Live(settings) => match app::run(*settings) {
            // The system passes on the low 8 bits of an exit code.
            Ok(code) => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
            Err(StartupError::Config(error)) => fail_config(&error),
            Err(error) => fail(&error, error.exit_code()),
        },
        Invocation::Print(text) => print(&text),
        Invocation::Install { directory, copy } => {
            print_or(cli::install::install(&directory, copy), |_| CANTCREAT)
        }
        Invocation::Ask(command) => finish(client::run(command), client::ClientError::exit_code),
        Invocation::Ctl(request) => finish(cli::ctl::run(&request), cli::ctl::CtlError::exit_code),
        Invocation::CheckAutomaton { file, dot } => match config::automaton::load(&file, None) {
            Ok(plan) if dot => print(&automaton::graph::dot(&plan)),
            Ok(plan) => print(&format!("{}: valid ({} states)\n", file.display(), plan.chart.states.len())),
            Err(error) => fail_config(&error),
        },
        Invocation::Guard(pid) => {
            finish(cli::locks::stand_guard(pid).map_err(|error| describe(&error)), |_| OSERR)
        }
        Invocation::Render(asked) => finish(cli::render::render(&asked), cli::render::RenderError::exit_code),
        Invocation::AskPod(asked) => finish(cli::ensemble::run(asked), |_| UNAVAILABLE),
        Invocation::Locks { server, json } => print_or(cli::locks::list(&server, json), |_| UNAVAILABLE),
        Invocation::Graves { directory, json } => {
            print_or(cli::graves::graves(&directory, json), |_| NOINPUT)
        }
        Invocation::Check { file, json } => match cli::check::check(&file, json, &Real) {
            Ok(text) => print(&text),
            Err(error) => fail_config(&error),
        },
        Invocation::Replay(file) => {
            finish(cli::replay::replay(&file, &mut std::io::stdout().lock()), |_| DATAERR)
        }
    }
}

/// Succeeds, or fails with the code of the error.
fn finish<E: Display>(result: Result<(), E>, code: impl Fn(&E) -> u8) -> ExitCode {
    print_or(result.map(|()| String::new()), code)
}

/// Prints the result, or fails with the code of the error.
fn print_or<E: Display>(result: Result<String, E>, code: impl Fn(&E) -> u8) -> ExitCode {
    match result {
        Ok(text) => print(&text),
        Err(error) => fail(&error, code(&error)),
    }
}

/// A reader that closes the pipe early (`| head`) is no error.
fn print(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Prints an error on one line.
fn fail(error: &dyn Display, code: u8) -> ExitCode {
    // If it cannot be written, there is still the exit code.
    let _ = writeln!(std::io::stderr(), "sexton: {}", one_line(&error.to_string()));
    ExitCode::from(code)
}

/// Prints each problem of a file on a line of its own.
fn fail_config(error: &ConfigError) -> ExitCode {
    for problem in error.lines() {
        fail(&problem, CONFIG);
    }
    ExitCode::from(CONFIG)
}
