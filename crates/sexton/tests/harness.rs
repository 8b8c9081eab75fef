//! Starts sexton, sends requests, and cleans up.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{io, ptr};

use serde_json::Value;
use testkit::http::{self, Answer};
use testkit::{TempDir, private_directory, tree, wait_until};

/// The program under test.
pub(crate) const SEXTON: &str = env!("CARGO_BIN_EXE_sexton");

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// The exit code; negative: the signal that ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A sexton that is about to be started.
pub(crate) struct Sexton {
    command: Command,
    directory: TempDir,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
}

impl Sexton {
    /// With these arguments.
    pub(crate) fn new<W: AsRef<OsStr>>(arguments: impl IntoIterator<Item = W>) -> Self {
        Self::program(Path::new(SEXTON), arguments)
    }

    /// With a server on a free port; the arguments begin with the command.
    pub(crate) fn with_server<W: Into<OsString>>(arguments: impl IntoIterator<Item = W>) -> Self {
        let options = ["-v", "-p", "0", "-i", "127.0.0.1"].map(OsString::from);
        Self::new(options.into_iter().chain(arguments.into_iter().map(Into::into)))
    }

    /// Without a server; the arguments begin with the command.
    pub(crate) fn without_server<W: Into<OsString>>(arguments: impl IntoIterator<Item = W>) -> Self {
        let options = ["-p", "none"].map(OsString::from);
        Self::new(options.into_iter().chain(arguments.into_iter().map(Into::into)))
    }

    /// Another program: sexton by another name, or something that starts it.
    pub(crate) fn program<W: AsRef<OsStr>>(program: &Path, arguments: impl IntoIterator<Item = W>) -> Self {
        Self::program_in(private_directory(), program, arguments)
    }

    /// Sexton by this name, without arguments.
    pub(crate) fn called(name: &str) -> Self {
        let directory = private_directory();
        let link = directory.path().join(name);
        std::os::unix::fs::symlink(SEXTON, &link).unwrap_or_else(|error| panic!("{error}"));
        Self::program_in(directory, &link, [""; 0])
    }

    fn program_in<W: AsRef<OsStr>>(
        directory: TempDir,
        program: &Path,
        arguments: impl IntoIterator<Item = W>,
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").stdin(Stdio::null());
        command.process_group(0);
        // SAFETY: the function only makes system calls that are safe after a fork.
        unsafe { command.pre_exec(ordinary_signals) };
        command.current_dir(directory.path());
        Self { command, directory, stdout: None, stderr: None }
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    pub(crate) fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stderr = Some(stderr.into());
        self
    }

    /// Changes the command.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Command)) -> Self {
        change(&mut self.command);
        self
    }

    pub(crate) fn start(mut self) -> Running {
        let file =
            |name| File::create(self.directory.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let stdout = self.stdout.take().unwrap_or_else(|| file("stdout").into());
        let stderr = self.stderr.take().unwrap_or_else(|| file("stderr").into());
        let child = self.command.stdout(stdout).stderr(stderr).spawn();
        // Its ends of pipes belong to the child alone now.
        self.command = Command::new("false");
        let child = child.unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        Running { child, directory: self.directory, address: None, code: None }
    }

    /// Runs it until it exits.
    pub(crate) fn done(self) -> Done {
        self.start().done()
    }
}

fn ordinary_signals() -> io::Result<()> {
    // SAFETY: a zeroed sigset_t is an empty set; the calls are safe after a fork.
    unsafe {
        for signal in 1..32 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let none: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
    Ok(())
}

/// A running sexton. When dropped, it is killed with all its descendants.
pub(crate) struct Running {
    child: Child,
    directory: TempDir,
    address: Option<SocketAddr>,
    code: Option<i32>,
}

impl Running {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
    }

    /// A path in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The contents of a file in its directory; empty if there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read(self.path(name)).map(|raw| String::from_utf8_lossy(&raw).into_owned()).unwrap_or_default()
    }

    pub(crate) fn stderr(&self) -> String {
        self.text("stderr")
    }

    /// Waits for a file in its directory, and returns its contents.
    #[track_caller]
    pub(crate) fn wait_for_file(&self, name: &str) -> String {
        wait_until(name, || Some(self.text(name)).filter(|text| !text.is_empty()))
    }

    #[track_caller]
    pub(crate) fn wait_for_stderr(&self, part: &str) {
        wait_until(&format!("{part:?} in {:?}", self.stderr()), || {
            self.stderr().contains(part).then_some(())
        });
    }

    pub(crate) fn signal(&self, signal: i32) {
        send(self.pid(), signal);
    }

    /// Its address, from its log.
    #[track_caller]
    pub(crate) fn address(&mut self) -> SocketAddr {
        if self.address.is_none() {
            self.address = Some(self.addresses(1)[0]);
        }
        self.address.unwrap_or_else(|| unreachable!())
    }

    /// Its first addresses, from its log.
    #[track_caller]
    pub(crate) fn addresses(&self, count: usize) -> Vec<SocketAddr> {
        wait_until("the address", || {
            let stderr = self.stderr();
            let fields = stderr.split_whitespace().filter_map(|word| word.strip_prefix("address="));
            let found: Vec<_> = fields.filter_map(|word| word.trim_matches('"').parse().ok()).collect();
            (found.len() >= count).then_some(found)
        })
    }

    #[track_caller]
    pub(crate) fn request(&mut self, method: &str, target: &str) -> Answer {
        let address = self.address();
        let answer = http::connect(address).and_then(|stream| http::request(stream, method, target));
        answer.unwrap_or_else(|error| panic!("{method} {target}: {error}; {}", self.stderr()))
    }

    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.request("GET", target)
    }

    #[track_caller]
    pub(crate) fn json(&mut self, target: &str) -> Value {
        let answer = self.get(target);
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{target}: {error}: {answer:?}"))
    }

    /// The first process of `/v1/process`.
    #[track_caller]
    pub(crate) fn process(&mut self) -> Value {
        self.json("/v1/process")["processes"][0].clone()
    }

    /// Waits until `/v1/process` shows the process in this phase.
    #[track_caller]
    pub(crate) fn wait_for_phase(&mut self, phase: &str) -> Value {
        wait_until(&format!("phase {phase}"), || {
            Some(self.process()).filter(|process| process["phase"] == phase)
        })
    }

    /// Waits for the wrapped process, and returns its PID.
    #[track_caller]
    pub(crate) fn wrapped(&mut self) -> i32 {
        wait_until("the wrapped process", || self.process()["pid"].as_i64()).try_into().unwrap_or(0)
    }

    pub(crate) fn descendants(&self) -> BTreeMap<i32, String> {
        tree::descendants(self.pid())
    }

    /// Returns its exit code if it has exited; a signal as a negative number.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        if self.code.is_none() {
            let status = self.child.try_wait().unwrap_or_else(|error| panic!("wait: {error}"))?;
            self.code = status.code().or_else(|| status.signal().map(|signal| -signal));
        }
        self.code
    }

    #[track_caller]
    pub(crate) fn wait(&mut self) -> i32 {
        wait_until("the end of sexton", || self.ended())
    }

    #[track_caller]
    pub(crate) fn done(mut self) -> Done {
        let code = self.wait();
        Done { code, stdout: self.text("stdout"), stderr: self.text("stderr") }
    }

    /// Stops it, and waits.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Done {
        self.signal(libc::SIGTERM);
        let code = self.wait();
        Done { code, stdout: self.text("stdout"), stderr: self.text("stderr") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // Suspended first: processes that it starts meanwhile would be missed.
            send(self.pid(), libc::SIGSTOP);
            for _ in 0..100 {
                let alive: Vec<_> =
                    self.descendants().into_keys().filter(|pid| tree::is_alive(*pid)).collect();
                if alive.is_empty() {
                    break;
                }
                for pid in alive {
                    send(pid, libc::SIGKILL);
                }
            }
            send(self.pid(), libc::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// Sends a signal to a process that this test has started.
pub(crate) fn send(pid: i32, signal: i32) {
    assert!(pid > 1, "{pid}");
    // SAFETY: no memory is involved.
    unsafe { libc::kill(pid, signal) };
}

/// The command line of `testkit-child`.
pub(crate) fn child<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Vec<OsString> {
    std::iter::once(testkit::child().into_os_string())
        .chain(arguments.into_iter().map(OsString::from))
        .collect()
}

/// A command of sexton and, after `--`, the command that it wraps.
pub(crate) fn wrapping(front: &[&str], wrapped: Vec<OsString>) -> Vec<OsString> {
    front.iter().map(OsString::from).chain([OsString::from("--")]).chain(wrapped).collect()
}

pub(crate) use testkit::skipped;

/// The Python with the packages that `./test` installs.
pub(crate) fn python_of_tools() -> Option<PathBuf> {
    let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/test-tools/venv/bin/python");
    python.exists().then_some(python)
}

pub(crate) fn is_root() -> bool {
    // SAFETY: no memory is involved.
    unsafe { libc::geteuid() == 0 }
}
