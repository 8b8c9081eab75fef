//! One run of the callback: what it is told, and what it prints.

use linux::pipe::pipe;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ensemble::leader::Told;
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::reading;
use super::state::LONGEST;
use linux::spawn::{Output, Start};
use spec::program::Program;

/// The longest variable: the kernel takes 128 KiB for one (`MAX_ARG_STRLEN` of execve(2)), name and NUL included.
const LONGEST_VARIABLE: usize = 96 << 10;

/// How the directories of runs begin.
const DIRECTORIES: &str = "sexton-callback-";

/// A directory with the files of one run. It goes with it, or with [`sweep`] if we were killed: whoever uses one holds a
/// lock on it.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    _lock: OwnedFd,
}

impl Drop for Files {
    fn drop(&mut self) {
        // What is left behind is swept by the next.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Locks a directory, if nobody else has.
fn lock(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
    Ok(directory)
}

/// Removes what was left by those of us who were killed.
pub fn sweep() {
    // What cannot be read or removed is somebody else's.
    let Ok(all) = fs::read_dir(std::env::temp_dir()) else { return };
    for path in all.flatten().map(|entry| entry.path()) {
        let is_one =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(DIRECTORIES.as_bytes()));
        if is_one && let Ok(_lock) = lock(&path) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// What is to be started, with the files that it is told of.
pub fn program(words: &[String], told: &Told) -> io::Result<(Program, Files)> {
    let files = made()?;
    let state = if told.state.is_null() { String::new() } else { told.state.to_string() };
    let changes = changes(&told.before, &told.seen.list).to_string();
    let mut variables: Vec<(OsString, OsString)> = Vec::new();
    for (name, text) in [("PODS", &told.seen.pods), ("STATE", &state), ("CHANGES", &changes)] {
        let path = files.path.join(name.to_lowercase());
        fs::write(&path, text)?;
        variables.push((format!("{name}_FILE").into(), path.into()));
        if text.len() <= LONGEST_VARIABLE {
            variables.push((name.into(), text.into()));
        }
    }
    for name in ["HASH", "MD5"] {
        variables.push((name.into(), told.seen.digest.to_string().into()));
    }
    variables.push(("FENCE".into(), told.fence.to_string().into()));
    let mut words = words.iter().map(OsString::from);
    let program = Program {
        command: words.next().unwrap_or_default(),
        arguments: words.collect(),
        without_variables: spec::notify::SERVICE_MANAGER_VARIABLES.to_vec(),
        variables,
        ..Program::default()
    };
    Ok((program, files))
}

/// A directory that only we can look into.
fn made() -> io::Result<Files> {
    use std::os::unix::fs::DirBuilderExt as _;
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{DIRECTORIES}{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => match lock(&path) {
                Ok(lock) if path.exists() => return Ok(Files { path, _lock: lock }),
                // It was swept before it was locked.
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock) => {
                }
                Err(error) => {
                    let _ = fs::remove_dir(&path);
                    return Err(error);
                }
            },
            // Of somebody who had our number before us.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// What comes out of it.
#[derive(Debug)]
pub struct Printed {
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<()>,
}

/// How it is started, and where what it prints comes from.
pub fn start() -> io::Result<(Start, Printed)> {
    let (stdout, to_stdout) = pipe()?;
    let (stderr, to_stderr) = pipe()?;
    let start = Start::with(Output::Pipe(to_stdout), Output::Pipe(to_stderr));
    // One byte more than is taken tells that there was more.
    let stdout = tokio::spawn(async move { reading::up_to(&stdout, LONGEST + 1).await });
    let stderr = tokio::spawn(async move {
        reading::lines(&stderr, |line| log::info!("callback: {}", String::from_utf8_lossy(line))).await;
    });
    Ok((start, Printed { stdout, stderr }))
}

impl Printed {
    /// What it has printed; called when nothing of it is there any more.
    pub async fn finish(self) -> Vec<u8> {
        let _ = self.stderr.await;
        self.stdout.await.unwrap_or_default()
    }
}

/// The next state, when it has ended well: JSON becomes it; nothing, or something else, leaves the one from before.
#[must_use]
pub fn kept(before: &Value, printed: &[u8]) -> (Value, Option<String>) {
    let text = printed.trim_ascii();
    if text.is_empty() {
        (before.clone(), None)
    } else if printed.len() > LONGEST {
        (before.clone(), Some(format!("it has printed more than {LONGEST} bytes")))
    } else {
        match serde_json::from_slice::<Value>(text) {
            // Numbers may be longer when they are written again.
            Ok(state) if state.to_string().len() > LONGEST => {
                (before.clone(), Some(format!("written again it has more than {LONGEST} bytes")))
            }
            Ok(state) => (state, None),
            Err(error) => (before.clone(), Some(format!("it has printed no JSON: {error}"))),
        }
    }
}

/// Who has come, gone and changed between two lists: by their names.
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
    fn what_is_printed_becomes_the_state_if_it_is_json() {
        let new = |printed: &[u8]| {
            let (state, fault) = kept(&json!({"a": 1}), printed);
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
    fn what_the_killed_have_left_is_swept_and_what_is_used_is_not() {
        let used = made().unwrap_or_else(|error| panic!("{error}"));
        let left = std::env::temp_dir().join(format!("{DIRECTORIES}left-{}", std::process::id()));
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
    fn changes_are_told_by_name() {
        let list = |all: &[(&str, &str)]| -> Vec<(String, Arc<str>)> {
            all.iter().map(|(id, text)| ((*id).to_owned(), (*text).into())).collect()
        };
        let (before, now) =
            (list(&[("a", "1"), ("b", "1"), ("c", "1")]), list(&[("b", "1"), ("c", "2"), ("d", "1")]));
        assert_eq!(changes(&before, &now), json!({"added": ["d"], "removed": ["a"], "changed": ["c"]}));
    }
}
