//! `sexton up` with real processes: one file for each section of the guide.

mod attributes;
mod configuration;
mod control;
mod faults;
mod hooks;
mod leftovers;
mod limits;
mod logs;
mod order;
mod probes;
mod process_wrapper;
mod quickstart;
mod reload;
mod restarts;
mod soak;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use testkit::{TempDir, private_directory, wait_until};

use crate::harness::{Done, Running, SEXTON, Sexton};

/// A running `sexton up`, with a directory that its file and its processes share.
pub(crate) struct Up {
    pub(crate) sexton: Running,
    directory: TempDir,
}

/// Additional arguments and variables.
#[derive(Default)]
pub(crate) struct With<'a> {
    pub(crate) arguments: &'a [&'a str],
    pub(crate) variables: &'a [(&'a str, &'a str)],
}

/// Creates a directory with a configuration file, in which `$DIR` is that directory.
pub(crate) fn place(text: &str) -> TempDir {
    let directory = private_directory();
    write(directory.path(), text);
    directory
}

fn write(directory: &Path, text: &str) {
    let path = directory.to_string_lossy();
    let child = testkit::child();
    let text = text.replace("$DIR", &path).replace("$CHILD", &child.to_string_lossy());
    fs::write(directory.join("sexton.yaml"), text).unwrap_or_else(|error| panic!("{error}"));
}

/// Starts `sexton up`.
pub(crate) fn up(text: &str) -> Up {
    up_with(text, &With::default())
}

pub(crate) fn up_with(text: &str, with: &With<'_>) -> Up {
    up_in(place(text), with)
}

pub(crate) fn up_in(directory: TempDir, with: &With<'_>) -> Up {
    start(directory, with, |sexton| sexton)
}

fn start(directory: TempDir, with: &With<'_>, prepare: impl FnOnce(Sexton) -> Sexton) -> Up {
    let file = directory.path().join("sexton.yaml").to_string_lossy().into_owned();
    let control = directory.path().join("control").to_string_lossy().into_owned();
    let mut arguments = vec!["-p", "0", "-i", "127.0.0.1", "up", &file, "--control", &control];
    arguments.extend(with.arguments);
    let mut sexton = Sexton::new(arguments);
    for (name, value) in with.variables {
        sexton = sexton.env(name, value);
    }
    Up { sexton: prepare(sexton).start(), directory }
}

/// Starts `sexton up` with this standard output.
pub(crate) fn up_with_stdout(text: &str, stdout: impl Into<Stdio>) -> Up {
    start(place(text), &With::default(), |sexton| sexton.stdout(stdout))
}

/// Runs it until it exits.
pub(crate) fn ends(text: &str) -> Done {
    let Up { sexton, directory } = up(text);
    let done = sexton.done();
    drop(directory);
    done
}

impl Up {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The contents of a file in the directory; empty if there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read(self.path(name)).map(|raw| String::from_utf8_lossy(&raw).into_owned()).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, content: &str) {
        wait_until(
            &format!("{content:?} in {name}: {:?}; {}", self.text(name), self.sexton.stderr()),
            || self.text(name).contains(content).then_some(()),
        );
    }

    /// Rewrites the file.
    pub(crate) fn rewrite(&self, text: &str) {
        write(self.directory.path(), text);
    }

    /// Runs a client command.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Done {
        let output = Command::new(SEXTON)
            .args(arguments)
            .env("SEXTON_CONTROL", self.path("control"))
            .output()
            .unwrap_or_else(|error| panic!("{error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Done {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Starts a client command, with its output in a pipe.
    pub(crate) fn client(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(SEXTON);
        command.args(arguments).env("SEXTON_CONTROL", self.path("control")).stdout(Stdio::piped());
        command.spawn().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs a client command that has to succeed, and returns its output.
    #[track_caller]
    pub(crate) fn asked(&self, arguments: &[&str]) -> String {
        let done = self.ask(arguments);
        assert_eq!(done.code, 0, "{arguments:?}: {}{}; {}", done.stdout, done.stderr, self.sexton.stderr());
        done.stdout
    }

    /// A process as `/v1/processes` shows it.
    #[track_caller]
    pub(crate) fn process(&mut self, name: &str) -> Value {
        let all = self.sexton.json("/v1/processes");
        let found = all["processes"].as_array().into_iter().flatten().find(|it| it["name"] == name);
        found.cloned().unwrap_or_default()
    }

    /// Waits until a process is as it should be.
    #[track_caller]
    pub(crate) fn wait_until(
        &mut self,
        name: &str,
        what: &str,
        mut good: impl FnMut(&Value) -> bool,
    ) -> Value {
        let mut last = Value::Null;
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(what, || {
                last = self.process(name);
                good(&last).then(|| last.clone())
            })
        }));
        waited.unwrap_or_else(|_| panic!("{name} is never {what}: {last}; {}", self.sexton.stderr()))
    }

    #[track_caller]
    pub(crate) fn wait_for_phase(&mut self, name: &str, phase: &str) -> Value {
        self.wait_until(name, phase, |process| process["phase"] == phase)
    }

    #[track_caller]
    pub(crate) fn wait_ready(&mut self, name: &str) -> Value {
        self.wait_until(name, "ready", |process| process["ready"] == true)
    }

    pub(crate) fn pid(&mut self, name: &str) -> i32 {
        let process = self.wait_until(name, "there", |process| process["pid"].is_i64());
        process["pid"].as_i64().and_then(|pid| pid.try_into().ok()).unwrap_or(0)
    }
}

/// A free port.
pub(crate) fn free_port() -> u16 {
    testkit::servers::free_ports(1)[0]
}
