//! Tools for tests.
//!
//! * [`wait_until`]: waits for a condition; [`skipped`]: a test that cannot run here
//! * [`private_directory`]: a directory for each test
//! * [`child`]: the program `testkit-child`, an ill-behaved process
//! * [`http`]: a client that shows complete responses
//! * [`net`]: networks that can be partitioned
//! * [`servers`]: real servers: etcd, databases, brokers
//! * [`tree`]: the descendants of a process
#![forbid(unsafe_code)]

pub mod http;
pub mod net;
pub mod servers;
pub mod tree;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub use tempfile::TempDir;

/// The limit of all waits: longer than anything takes that works, however busy the machine is.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Ends a test that cannot run here, because this is missing (and this is how to get it): `return skipped("…")`. That
/// is a failure, unless the person who runs the tests allows it.
#[track_caller]
pub fn skipped(missing: &str) {
    let allowed = env::var_os("SEXTON_ALLOW_SKIP").is_some_and(|value| value == "1");
    assert!(allowed, "this test needs {missing}; SEXTON_ALLOW_SKIP=1 skips it");
    eprintln!("SKIPPED: it needs {missing}");
}

/// Polls a condition until it returns a value; panics after [`LIMIT`].
#[track_caller]
pub fn wait_until<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(start.elapsed() < LIMIT, "timed out after {LIMIT:?} waiting for: {what}");
        pause();
    }
}

/// Waits for this long: for conditions that must not come true meanwhile, or that must still hold afterwards.
pub fn pass(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        pause();
    }
}

fn is_current(program: &Path) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/testkit-child.rs");
    changed(program).is_some_and(|built| Some(built) >= changed(&source))
}

/// The interval of polls.
#[expect(
    clippy::disallowed_methods,
    reason = "the file system and sockets of other processes can only be polled"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}

/// Creates a directory for one test; it is removed when the value is dropped.
#[must_use]
pub fn private_directory() -> TempDir {
    match tempfile::Builder::new().prefix("sexton-test-").tempdir() {
        Ok(directory) => directory,
        Err(error) => panic!("cannot create a private directory: {error}"),
    }
}

/// Creates an executable file. Another process writes it: a file that is open for writing, for example in a child that
/// another test forks at that moment, cannot be executed (execve(2), ETXTBSY).
pub fn executable(path: &Path, content: &str) {
    create(
        path,
        Command::new("sh")
            .args(["-c", "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"])
            .arg(path)
            .arg(content),
    );
}

/// Copies an executable file; see [`executable`].
pub fn copy_executable(from: &Path, to: &Path) {
    create(to, Command::new("cp").arg(from).arg(to));
}

#[expect(clippy::disallowed_methods, reason = "tests start programs in the ordinary way")]
fn create(path: &Path, by: &mut Command) {
    let status = by.status();
    assert!(status.is_ok_and(|status| status.success()), "cannot create {}", path.display());
}

/// The path of `testkit-child`, next to the program under test. Builds it if necessary.
#[must_use]
pub fn child() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let test = env::current_exe().unwrap_or_default();
        let path = test.ancestors().nth(2).map(|target| target.join("testkit-child")).unwrap_or_default();
        if !is_current(&path) {
            let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            #[expect(clippy::disallowed_methods, reason = "tests start programs in the ordinary way")]
            let built = Command::new(cargo).args(["build", "--quiet", "-p", "testkit"]).status();
            assert!(built.is_ok_and(|status| status.success()) && path.exists(), "no {}", path.display());
        }
        path
    })
    .clone()
}
