//! Words to an invocation, an invocation to an exit code.

use std::io::Write as _;
use std::process::ExitCode;

use linux::terminal::Terminal;
use sexton::cli::{self, Invocation};
use sexton::config::up::ConfigError;
use sexton::life::LifeError;
use sexton::{automaton, client, config, life};
use spec::environment::Real;
use spec::text;

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;
/// `EX_DATAERR` of sysexits.h: a journal that is none.
const DATA: u8 = 65;
/// `EX_NOINPUT` of sysexits.h: a directory that cannot be read.
const NO_INPUT: u8 = 66;
/// `EX_UNAVAILABLE` of sysexits.h: a lock server that does not answer.
const UNAVAILABLE: u8 = 69;
/// `EX_OSERR` of sysexits.h.
const SYSTEM: u8 = 71;
/// `EX_CONFIG` of sysexits.h: a configuration that is not all right.
const CONFIG: u8 = 78;
/// `EX_CANTCREAT` of sysexits.h: a link that cannot be made.
const CANNOT_CREATE: u8 = 73;

fn main() -> ExitCode {
    sexton::probes::abort_on_panic();
    let arguments: Vec<_> = std::env::args_os().collect();
    let terminal = Terminal::on_stdin().is_some_and(|terminal| terminal.is_foreground());
    let (invocation, log) = match cli::parse(arguments, &Real, terminal) {
        Ok(parsed) => parsed,
        Err(error) => return refused(&error, USAGE),
    };
    if let Err(error) = sexton::logs::own_log::init(&log) {
        return refused(&format!("cannot write the log: {}", text::describe(&error)), CANNOT_CREATE);
    }
    match invocation {
        Invocation::Live(settings) => match life::live(*settings) {
            // Codes are 0 to 255, as the system has them.
            Ok(code) => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
            Err(LifeError::Config(error)) => refused_file(&error),
            Err(error) => refused(&error, error.exit_code()),
        },
        Invocation::Print(text) => printed(&text),
        Invocation::Install { directory, copy } => match cli::install::install(&directory, copy) {
            Ok(told) => printed(&told),
            Err(error) => refused(&error, CANNOT_CREATE),
        },
        Invocation::Ask(command) => match client::run(command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refused(&error, error.exit_code()),
        },
        Invocation::Ctl(request) => match cli::ctl::run(&request) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refused(&error, error.exit_code()),
        },
        Invocation::CheckAutomaton { file, dot } => match config::automaton::load(&file, None) {
            Ok(plan) if dot => printed(&automaton::graph::dot(&plan)),
            Ok(plan) => printed(&format!("{}: valid ({} states)\n", file.display(), plan.chart.states.len())),
            Err(error) => refused_file(&error),
        },
        Invocation::Guard(pid) => match cli::locks::stand_guard(pid) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refused(&text::describe(&error), SYSTEM),
        },
        Invocation::Render(asked) => match cli::render::render(&asked) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refused(&error, error.exit_code()),
        },
        Invocation::AskPod(asked) => match cli::ensemble::run(asked) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refused(&error, UNAVAILABLE),
        },
        Invocation::Locks { server, json } => match cli::locks::list(&server, json) {
            Ok(told) => printed(&told),
            Err(error) => refused(&error, UNAVAILABLE),
        },
        Invocation::Graves { directory, json } => match cli::graves::graves(&directory, json) {
            Ok(told) => printed(&told),
            Err(error) => refused(&error, NO_INPUT),
        },
        Invocation::Check { file, json } => match cli::check::check(&file, json, &Real) {
            Ok(told) => printed(&told),
            Err(error) => refused_file(&error),
        },
        Invocation::Replay(file) => match cli::replay::replay(&file, &mut std::io::stdout().lock()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refused(&error, DATA),
        },
    }
}

/// Says on one line what is wrong.
fn refused(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    // If nobody can read it, the code still tells.
    let _ = writeln!(std::io::stderr(), "sexton: {}", text::one_line(&error.to_string()));
    ExitCode::from(code)
}

/// Says all that is wrong with a file: a line for each thing.
fn refused_file(error: &ConfigError) -> ExitCode {
    let mut told = ExitCode::SUCCESS;
    for problem in error.lines() {
        told = refused(&problem, CONFIG);
    }
    told
}

/// Whoever does not want to read on (`| head`) makes no error of it.
fn printed(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
