//! Birth and death dependencies between containers: one file per section of the guide's page.

mod api;
mod births;
mod carving;
mod containers;
mod deaths;
mod examples;
mod kubexit;
mod mesh;
mod old_deaths;
mod up;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use testkit::{TempDir, private_directory, wait_until};

use crate::harness::{Running, SEXTON, Sexton};

/// A directory that the containers of a simulated pod share.
pub(crate) struct Pod {
    directory: TempDir,
}

impl Pod {
    pub(crate) fn new() -> Self {
        Self { directory: private_directory() }
    }

    pub(crate) fn graveyard(&self) -> PathBuf {
        self.directory.path().join("graveyard")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `sexton -v run --name NAME --graveyard … OPTIONS -- COMMAND`.
    pub(crate) fn container<W: Into<OsString>>(
        &self,
        name: &str,
        options: &[&str],
        command: impl IntoIterator<Item = W>,
    ) -> Sexton {
        self.wrapped("run", name, options, command)
    }

    pub(crate) fn wrapped<W: Into<OsString>>(
        &self,
        mode: &str,
        name: &str,
        options: &[&str],
        command: impl IntoIterator<Item = W>,
    ) -> Sexton {
        let graveyard = self.graveyard();
        let mut arguments: Vec<OsString> =
            ["-v", "-p", "none", mode, "--name", name, "--graveyard"].map(OsString::from).into();
        arguments.push(graveyard.into_os_string());
        arguments.extend(options.iter().map(OsString::from));
        arguments.push("--".into());
        arguments.extend(command.into_iter().map(Into::into));
        Sexton::new(arguments)
    }

    /// The content of a tombstone; empty if it does not exist.
    pub(crate) fn tombstone(&self, name: &str) -> String {
        fs::read_to_string(self.graveyard().join(name)).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn wait_for_tombstone(&self, name: &str, part: &str) -> String {
        wait_until(&format!("{part:?} on {name}: {:?}", self.tombstone(name)), || {
            Some(self.tombstone(name)).filter(|text| text.contains(part))
        })
    }

    /// Writes a tombstone in place, as kubexit does.
    pub(crate) fn write_tombstone(&self, name: &str, text: &str) {
        write_tombstone(&self.graveyard().join(name), text);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.graveyard()).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

pub(crate) fn write_tombstone(path: &Path, text: &str) {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).and_then(|()| fs::write(path, text)).unwrap_or_else(|e| panic!("{e}"));
}

/// The value of a key of a tombstone.
pub(crate) fn value<'a>(tombstone: &'a str, key: &str) -> Option<&'a str> {
    tombstone.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

/// Asserts that sexton has no descendants.
#[track_caller]
pub(crate) fn assert_no_descendants(sexton: &Running) {
    assert!(sexton.descendants().is_empty(), "{:?}; {}", sexton.descendants(), sexton.stderr());
}

/// Creates a symbolic link to sexton under another name and returns its path.
pub(crate) fn link_to_sexton(name: &str, directory: &Path) -> PathBuf {
    let path = directory.join(name);
    if !path.exists() {
        std::os::unix::fs::symlink(SEXTON, &path).unwrap_or_else(|error| panic!("{error}"));
    }
    path
}

const BORN: &str = "Born: 2026-11-21T06:41:22.120834821Z\n";
const DIED: &str = "Born: 2026-11-21T06:41:22.120834821Z\nDied: 2026-11-21T06:42:22.5Z\nExitCode: 0\n";
