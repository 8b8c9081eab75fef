//! The one way to start a process.
//!
//! Every process leads a group of its own, so that it and what it starts can be signalled together. Its
//! signal mask is empty and its signals do what they do by default. It inherits no descriptor of ours:
//! each is made close-on-exec. What our own caller left open for it passes through.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use engine::{SpawnError, SpawnErrorKind};

use super::{Pid, signals, terminal};
use crate::words::describe;

/// What to start, the same at each attempt.
#[derive(Debug, Clone)]
pub struct Program {
    /// What to execute; without a slash it is searched for in `PATH`.
    pub command: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables of our environment that are about us and not for it.
    pub without_variables: Vec<&'static str>,
}

/// Where an output goes.
#[derive(Debug)]
pub enum Output {
    /// Where ours goes.
    Inherit,
    /// Nowhere.
    Discard,
    /// Into this pipe.
    Pipe(OwnedFd),
}

impl From<Output> for Stdio {
    fn from(output: Output) -> Self {
        match output {
            Output::Inherit => Self::inherit(),
            Output::Discard => Self::null(),
            Output::Pipe(writer) => writer.into(),
        }
    }
}

/// Starts it, as execvp(3) does: a file that names no interpreter is the shell's. The process is there, and executes the program, when this returns. The caller has to enter
/// the number into its books before it reaps again.
pub fn spawn(program: &Program, stdout: Output, stderr: Output, foreground: bool) -> Result<Pid, SpawnError> {
    let mut command = Command::new(&program.command);
    command.args(&program.arguments).stdout(stdout).stderr(stderr).process_group(0);
    for variable in &program.without_variables {
        command.env_remove(variable);
    }
    let as_child = move || {
        if foreground {
            terminal::take_as_child();
        }
        signals::unblock_all()
    };
    // SAFETY: both functions only make system calls that are safe after a fork (signal-safety(7)).
    unsafe { command.pre_exec(as_child) };
    let child = command.spawn().map_err(|error| failure(&program.command, &error))?;
    // The handle may go: dropping it neither waits nor kills.
    Pid::try_from(child.id()).map_err(|_| SpawnError {
        kind: SpawnErrorKind::System,
        message: "the process has no number".to_owned(),
    })
}

fn failure(command: &OsStr, error: &io::Error) -> SpawnError {
    let kind = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => SpawnErrorKind::NotFound,
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => SpawnErrorKind::System,
        _ => SpawnErrorKind::NotExecutable,
    };
    let name = command.to_string_lossy();
    let has_slash = name.contains('/');
    let why = match kind {
        SpawnErrorKind::NotFound if has_slash && fs::metadata(Path::new(command)).is_ok() => {
            "the file is there, but the interpreter or loader that it names is not".to_owned()
        }
        SpawnErrorKind::NotFound if has_slash => "no such file".to_owned(),
        SpawnErrorKind::NotFound if name.is_empty() => "its name is empty".to_owned(),
        SpawnErrorKind::NotFound => "no such program in PATH".to_owned(),
        SpawnErrorKind::NotExecutable | SpawnErrorKind::System => describe(error),
    };
    SpawnError { kind, message: format!("cannot start '{name}': {why}") }
}
