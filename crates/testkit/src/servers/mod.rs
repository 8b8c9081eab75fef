//! Real servers for a test: each in a directory of its own, on ports that the system chooses, and ended with it.
//!
//! They run as another user than root, since some refuse to run as root; if the tests run as another user, so do the
//! servers so too. They belong to Debian's packages, which `./test` installs; a test that misses one fails.

pub mod certificates;
pub mod etcd;
pub mod mariadb;
pub mod postgres;
pub mod rabbitmq;
pub mod redis;

use std::ffi::OsStr;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// The user of the servers if the tests run as root.
const NOBODY: &str = "nobody";

/// Free ports below the range that the system assigns (`ip_local_port_range`), so that no other program is assigned them
/// in the meantime.
#[must_use]
pub fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 97).unwrap_or(0) * 200;
    let one = || {
        crate::wait_until("a free port", || {
            let port = 11_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
            TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
        })
    };
    (0..count).map(|_| one()).collect()
}

/// Whether a server accepts connections there.
#[must_use]
pub fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn are_we_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command line, run as `nobody` if the tests run as root.
fn unprivileged(program: impl AsRef<OsStr>) -> Command {
    if !are_we_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", "nogroup", "--clear-groups", "--"]).arg(program);
    command
}

/// Makes the user of [`unprivileged`] the owner of a directory.
fn give(directory: &Path) {
    if are_we_root() {
        run(Command::new("chown").arg("-R").arg(format!("{NOBODY}:nogroup")).arg(directory));
    }
}

/// A directory with `data` as a fresh installation has it, and with a certificate.
fn installed(
    template: &Path,
    certificate: Option<&certificates::Certificate>,
) -> (crate::TempDir, Option<certificates::Certificate>) {
    let directory = crate::private_directory();
    run(Command::new("cp").arg("-a").arg(template).arg(directory.path().join("data")));
    run(Command::new("chmod").arg("755").arg(directory.path()));
    let certificate = certificate.map(|it| own(it, directory.path()));
    give(directory.path());
    (directory, certificate)
}

/// Copies a certificate and its key to where a server has its own: only its owner may read the key.
fn own(from: &certificates::Certificate, place: &Path) -> certificates::Certificate {
    let (certificate, key) = (place.join("server.pem"), place.join("server.key"));
    run(Command::new("cp").arg(&from.certificate).arg(&certificate));
    run(Command::new("cp").arg(&from.key).arg(&key));
    run(Command::new("chmod").arg("600").arg(&key));
    certificates::Certificate { certificate, key }
}

/// Runs a command to its end; panics with what it has said when that is a bad one.
#[expect(clippy::disallowed_methods, reason = "tests start programs as anybody does")]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A process of a server. It is killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts it, in a group of its own, with its output in a file.
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log);
        let log = log.unwrap_or_else(|error| panic!("no log: {error}"));
        let again = log.try_clone().unwrap_or_else(|error| panic!("no log: {error}"));
        command.stdin(Stdio::null()).stdout(log).stderr(again).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child }
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Has it ended?
    #[expect(clippy::disallowed_methods, reason = "it is a child of this test alone")]
    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to it and to what it has started.
    pub fn signal(&self, signal: i32) {
        if let (Some(group), Some(signal)) =
            (rustix::process::Pid::from_raw(self.pid()), rustix::process::Signal::from_named_raw(signal))
        {
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }

    /// Kills it and waits for its end.
    #[expect(clippy::disallowed_methods, reason = "it is a child of this test alone")]
    pub fn kill(&mut self) {
        if !self.has_ended() {
            self.signal(libc::SIGKILL);
            // It existed, and is gone now.
            let _ = self.child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What was written to a log, to be shown when something fails.
fn said(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Waits until a server is there, or fails with what it has said.
#[track_caller]
fn wait_for(what: &str, process: &mut Process, log: &Path, mut ready: impl FnMut() -> bool) {
    crate::wait_until(what, || {
        assert!(!process.has_ended(), "{what} has ended: {}", said(log));
        ready().then_some(())
    });
}
