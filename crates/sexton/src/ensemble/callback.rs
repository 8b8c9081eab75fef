//! One run of the callback: its input and its output.

use linux::pipe::pipe;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ensemble::leader::CallbackInput;
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::reading;
use super::state::LONGEST;
use linux::spawn::{Output, Start};
use spec::program::Program;

/// Maximum size of a variable, in bytes; the kernel allows 128 KiB (`MAX_ARG_STRLEN` of execve(2)) with name and NUL.
const MAX_VARIABLE: usize = 96 << 10;

/// Prefix of the directories of runs.
const DIRECTORY_PREFIX: &str = "sexton-callback-";

/// A directory with the files of one run. Removed with this value, or by [`sweep`] after a SIGKILL: a directory in use
/// is locked.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    _lock: OwnedFd,
}

impl Drop for Files {
    fn drop(&mut self) {
        // The next start sweeps what is left.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Locks a directory, if it is not locked.
fn lock(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
    Ok(directory)
}

/// Removes the directories left by killed processes.
pub fn sweep() {
    // Ignore what cannot be read or removed: it belongs to another user.
    let Ok(all) = fs::read_dir(std::env::temp_dir()) else { return };
    for path in all.flatten().map(|entry| entry.path()) {
        let is_one = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(DIRECTORY_PREFIX.as_bytes()));
        if is_one && let Ok(_lock) = lock(&path) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Creates the program of a run and the files that its variables name.
pub fn program(command: &[String], input: &CallbackInput) -> io::Result<(Program, Files)> {
    let files = create_directory()?;
    let state = if input.state.is_null() { String::new() } else { input.state.to_string() };
    let changes = changes(&input.before, &input.seen.list).to_string();
    let mut variables: Vec<(OsString, OsString)> = Vec::new();
    for (name, text) in [("PODS", &input.seen.pods), ("STATE", &state), ("CHANGES", &changes)] {
        let path = files.path.join(name.to_lowercase());
        fs::write(&path, text)?;
        variables.push((format!("{name}_FILE").into(), path.into()));
        if text.len() <= MAX_VARIABLE {
            variables.push((name.into(), text.into()));
        }
    }
    for name in ["HASH", "MD5"] {
        variables.push((name.into(), input.seen.digest.to_string().into()));
    }
    variables.push(("FENCE".into(), input.fence.to_string().into()));
    let mut command = command.iter().map(OsString::from);
    let program = Program {
        command: command.next().unwrap_or_default(),
        arguments: command.collect(),
        without_variables: spec::notify::SERVICE_MANAGER_VARIABLES.to_vec(),
        variables,
        ..Program::default()
    };
    Ok((program, files))
}

/// Creates a locked directory with mode 0700.
fn create_directory() -> io::Result<Files> {
    use std::os::unix::fs::DirBuilderExt as _;
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{DIRECTORY_PREFIX}{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => match lock(&path) {
                Ok(lock) if path.exists() => return Ok(Files { path, _lock: lock }),
                // Another process swept it before it was locked.
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock) => {
                }
                Err(error) => {
                    let _ = fs::remove_dir(&path);
                    return Err(error);
                }
            },
            // Left by an earlier process with the same ID.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// The pending output of a run.
#[derive(Debug)]
pub struct PendingOutput {
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<()>,
}

/// Creates the pipes of a run and starts reading them.
pub fn start() -> io::Result<(Start, PendingOutput)> {
    let (stdout, to_stdout) = pipe()?;
    let (stderr, to_stderr) = pipe()?;
    let start = Start::with(Output::Pipe(to_stdout), Output::Pipe(to_stderr));
    // One byte more than the limit, to detect that it is exceeded.
    let stdout = tokio::spawn(async move { reading::up_to(&stdout, LONGEST + 1).await });
    let stderr = tokio::spawn(async move {
        reading::lines(&stderr, |line| log::info!("callback: {}", String::from_utf8_lossy(line))).await;
    });
    Ok((start, PendingOutput { stdout, stderr }))
}

impl PendingOutput {
    /// Returns the standard output, once no process of the run is left.
    pub async fn finish(self) -> Vec<u8> {
        let _ = self.stderr.await;
        self.stdout.await.unwrap_or_default()
    }
}

/// Returns the state after a successful run: its JSON output, or the previous state with an error if there is none.
#[must_use]
pub fn next_state(before: &Value, printed: &[u8]) -> (Value, Option<String>) {
    let text = printed.trim_ascii();
    if text.is_empty() {
        (before.clone(), None)
    } else if printed.len() > LONGEST {
        (before.clone(), Some(format!("its output is longer than {LONGEST} bytes")))
    } else {
        match serde_json::from_slice::<Value>(text) {
            // Numbers may get longer when they are formatted again.
            Ok(state) if state.to_string().len() > LONGEST => {
                (before.clone(), Some(format!("its output is longer than {LONGEST} bytes when formatted")))
            }
            Ok(state) => (state, None),
            Err(error) => (before.clone(), Some(format!("its output is not JSON: {error}"))),
        }
    }
}

/// Returns the names of members that were added, removed and changed between two lists.
#[must_use]
pub fn changes(before: &[(String, Arc<str>)], now: &[(String, Arc<str>)]) -> Value {
    let names = |all: &[(String, Arc<str>)], other: &[(String, Arc<str>)]| -> Vec<String> {
        let known: std::collections::BTreeSet<_> = other.iter().map(|(id, _)| id).collect();
        all.iter().filter(|(id, _)| !known.contains(id)).map(|(id, _)| id.clone()).collect()
    };
    let old: std::collections::BTreeMap<_, _> = before.iter().map(|(id, text)| (id, text)).collect();
    let changed: Vec<_> = now
        .iter()
        .filter(|(id, text)| old.get(id).is_some_and(|old| *old != text))
        .map(|(id, _)| id.clone())
        .collect();
    json!({"added": names(now, before), "removed": names(before, now), "changed": changed})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_output_becomes_the_state() {
        let new = |printed: &[u8]| {
            let (state, fault) = next_state(&json!({"a": 1}), printed);
            (state, fault.is_some())
        };
        assert_eq!(new(b" {\"b\": 2}\n"), (json!({"b": 2}), false));
        assert_eq!(new(b"\n"), (json!({"a": 1}), false));
        assert_eq!(new(b"well done"), (json!({"a": 1}), true));
        assert_eq!(new(&vec![b'1'; LONGEST + 1]), (json!({"a": 1}), true));
        let grows = format!("[{}1e15]", "1e15,".repeat(200_000));
        assert!(grows.len() <= LONGEST);
        assert_eq!(new(grows.as_bytes()), (json!({"a": 1}), true));
    }

    #[test]
    fn sweeps_directories_that_are_not_locked() {
        let used = create_directory().unwrap_or_else(|error| panic!("{error}"));
        let left = std::env::temp_dir().join(format!("{DIRECTORY_PREFIX}left-{}", std::process::id()));
        fs::create_dir(&left)
            .and_then(|()| fs::write(left.join("pods"), "[]"))
            .unwrap_or_else(|error| panic!("{error}"));
        sweep();
        assert!(used.path.exists() && !left.exists());
        let path = used.path.clone();
        drop(used);
        assert!(!path.exists());
    }

    #[test]
    fn changes_are_listed_by_name() {
        let list = |all: &[(&str, &str)]| -> Vec<(String, Arc<str>)> {
            all.iter().map(|(id, text)| ((*id).to_owned(), (*text).into())).collect()
        };
        let (before, now) =
            (list(&[("a", "1"), ("b", "1"), ("c", "1")]), list(&[("b", "1"), ("c", "2"), ("d", "1")]));
        assert_eq!(changes(&before, &now), json!({"added": ["d"], "removed": ["a"], "changed": ["c"]}));
    }
}
