//! What sexton's tests need.
//!
//! * [`wait_until`]: for a condition, never for a time
//! * [`private_directory`]: each test has its own
//! * [`child`]: the program `testkit-child`, which behaves as badly as it is told
//! * [`http`]: a client that shows everything
//! * [`net`]: networks that can be cut
//! * [`servers`]: real ones: etcd, databases, brokers
//! * [`tree`]: who descends from whom
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

/// Longer than anything that works takes, however busy the machine is.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Looks again and again until there is something to see; panics when the limit has come.
#[track_caller]
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < LIMIT, "waited {LIMIT:?} in vain: {what}");
        pause();
    }
}

fn is_current(program: &Path) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/testkit-child.rs");
    changed(program).is_some_and(|built| Some(built) >= changed(&source))
}

/// Between two looks.
#[expect(clippy::disallowed_methods, reason = "a look at the file system or a socket cannot be waited for")]
fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}

/// A directory for one test, removed with it.
#[must_use]
pub fn private_directory() -> TempDir {
    match tempfile::Builder::new().prefix("sexton-test-").tempdir() {
        Ok(directory) => directory,
        Err(error) => panic!("cannot make a private directory: {error}"),
    }
}

/// Makes a file that will be executed. Not by a write of our own: a test that forks at that moment would
/// hold the file open for writing, and whatever is open for writing cannot be executed (execve(2), ETXTBSY).
pub fn executable(path: &Path, content: &str) {
    made(
        path,
        Command::new("sh")
            .args(["-c", "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"])
            .arg(path)
            .arg(content),
    );
}

/// Copies a file that will be executed; see [`executable`].
pub fn copy_executable(from: &Path, to: &Path) {
    made(to, Command::new("cp").arg(from).arg(to));
}

#[expect(clippy::disallowed_methods, reason = "tests start programs as anybody does")]
fn made(path: &Path, by: &mut Command) {
    let status = by.status();
    assert!(status.is_ok_and(|status| status.success()), "cannot make {}", path.display());
}

/// Where `testkit-child` is: beside the program under test. Built if only another part of the workspace was.
#[must_use]
pub fn child() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let test = env::current_exe().unwrap_or_default();
        let path = test.ancestors().nth(2).map(|target| target.join("testkit-child")).unwrap_or_default();
        if !is_current(&path) {
            let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            #[expect(clippy::disallowed_methods, reason = "tests start programs as anybody does")]
            let built = Command::new(cargo).args(["build", "--quiet", "-p", "testkit"]).status();
            assert!(built.is_ok_and(|status| status.success()) && path.exists(), "no {}", path.display());
        }
        path
    })
    .clone()
}
