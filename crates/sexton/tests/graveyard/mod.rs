//! Births and deaths across containers: one file for each section of the guide's page.

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
        let mut words: Vec<OsString> =
            ["-v", "-p", "none", mode, "--name", name, "--graveyard"].map(OsString::from).into();
        words.push(graveyard.into_os_string());
        words.extend(options.iter().map(OsString::from));
        words.push("--".into());
        words.extend(command.into_iter().map(Into::into));
        Sexton::new(words)
    }

    /// What stands on a tombstone; empty while there is none.
    pub(crate) fn stone(&self, name: &str) -> String {
        fs::read_to_string(self.graveyard().join(name)).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn wait_for_stone(&self, name: &str, part: &str) -> String {
        wait_until(&format!("{part:?} on {name}: {:?}", self.stone(name)), || {
            Some(self.stone(name)).filter(|text| text.contains(part))
        })
    }

    /// Carves as kubexit does: in place, and by hand.
    pub(crate) fn carve(&self, name: &str, text: &str) {
        carve(&self.graveyard().join(name), text);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.graveyard()).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

pub(crate) fn carve(path: &Path, text: &str) {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).and_then(|()| fs::write(path, text)).unwrap_or_else(|e| panic!("{e}"));
}

/// The value of a key of a tombstone.
pub(crate) fn value<'a>(stone: &'a str, key: &str) -> Option<&'a str> {
    stone.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

/// Nothing is running in it (yet).
#[track_caller]
pub(crate) fn nothing_runs(sexton: &Running) {
    assert!(sexton.descendants().is_empty(), "{:?}; {}", sexton.descendants(), sexton.stderr());
}

/// sexton by another name.
pub(crate) fn called(name: &str, directory: &Path) -> PathBuf {
    let path = directory.join(name);
    if !path.exists() {
        std::os::unix::fs::symlink(SEXTON, &path).unwrap_or_else(|error| panic!("{error}"));
    }
    path
}

const BORN: &str = "Born: 2026-11-21T06:41:22.120834821Z\n";
const DIED: &str = "Born: 2026-11-21T06:41:22.120834821Z\nDied: 2026-11-21T06:42:22.5Z\nExitCode: 0\n";
