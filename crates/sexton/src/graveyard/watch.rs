//! Sees what others carve: told by inotify(7), and by looking again where nobody tells.
//!
//! What counts is what stands in a file when it is read. An event says only that it is time to read: all files
//! are read when the watch begins, so that what came before is not missed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::carver::look;
use super::directory;
use super::tombstone::Tombstone;
use crate::readable::readable;
use crate::words::describe;

/// How often we look where changes are not told.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What was found of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Its tombstone; None: there is none that could be read.
    pub stone: Option<Tombstone>,
    /// Its keeper is gone without a word.
    pub abandoned: bool,
}

/// Looks at the tombstones of peers.
#[derive(Debug)]
pub struct Watch {
    mode: u32,
    /// How often everything is looked at, whatever is told.
    poll: Option<Duration>,
    inotify: Option<AsyncFd<OwnedFd>>,
    directories: BTreeMap<PathBuf, Directory>,
    /// By path, so that an event finds its file.
    files: BTreeMap<PathBuf, File>,
    look_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Directory {
    watched: Option<i32>,
    /// It cannot be made, or cannot be watched, as told last.
    trouble: Option<String>,
    /// We look at it now and then.
    polled: bool,
}

#[derive(Debug)]
struct File {
    peer: String,
    found: Option<Found>,
    /// What is wrong with it, as told last.
    trouble: Option<String>,
}

impl Watch {
    /// Nothing is watched yet.
    #[must_use]
    pub const fn new(mode: u32, poll: Option<Duration>) -> Self {
        Self {
            mode,
            poll,
            inotify: None,
            directories: BTreeMap::new(),
            files: BTreeMap::new(),
            look_at: None,
        }
    }

    /// Watches these files, each of a peer, and no others. Returns what is found of those that are new.
    pub fn look_for(
        &mut self,
        wanted: BTreeSet<(PathBuf, String)>,
    ) -> Result<Vec<(String, Found)>, (PathBuf, io::Error)> {
        let mut files = BTreeMap::new();
        for (path, peer) in wanted {
            let file = self.files.remove(&path).filter(|file| file.peer == peer);
            files.insert(path, file.unwrap_or(File { peer, found: None, trouble: None }));
        }
        self.files = files;
        let directories: BTreeSet<_> = self.files.keys().filter_map(|path| path.parent()).collect();
        let directories: BTreeSet<PathBuf> = directories.into_iter().map(Path::to_owned).collect();
        for gone in
            self.directories.keys().filter(|it| !directories.contains(*it)).cloned().collect::<Vec<_>>()
        {
            if let (Some(Directory { watched: Some(number), .. }), Some(inotify)) =
                (self.directories.remove(&gone), &self.inotify)
            {
                // It may have gone by itself.
                let _ = inotify::remove_watch(inotify, number);
            }
        }
        for path in directories {
            if !self.directories.contains_key(&path) {
                directory::make(&path, self.mode).map_err(|error| (path.clone(), error))?;
                self.directories.insert(path, Directory::default());
            }
        }
        self.watch_directories();
        Ok(self.look(|file| file.found.is_none()))
    }

    /// Watches the directories that are not watched, making those that are not there.
    fn watch_directories(&mut self) {
        if self.directories.is_empty() {
            return;
        }
        if self.inotify.is_none() {
            let made = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
            match made.map_err(io::Error::from).and_then(readable) {
                Ok(inotify) => self.inotify = Some(inotify),
                Err(error) => {
                    let error = describe(&error);
                    for (path, directory) in &mut self.directories {
                        directory.cannot_be_watched(path, format!("inotify: {error}"));
                    }
                }
            }
        }
        for (path, directory) in &mut self.directories {
            let Some(inotify) = self.inotify.as_ref().filter(|_| directory.watched.is_none()) else {
                continue;
            };
            // The first two also wake us while a tombstone is being written: when it is there we are awake.
            let flags = WatchFlags::CREATE
                | WatchFlags::MODIFY
                | WatchFlags::MOVED_TO
                | WatchFlags::MOVED_FROM
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::DELETE
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR;
            let made = directory::make(path, self.mode);
            let added = made.and_then(|()| inotify::add_watch(inotify, path, flags).map_err(io::Error::from));
            match added {
                Ok(number) => {
                    directory.watched = Some(number);
                    let kind = directory::tells_nothing(path);
                    if let Some(kind) = kind {
                        directory.cannot_be_watched(path, format!("changes on {kind} are not always told"));
                    } else {
                        if directory.trouble.take().is_some() {
                            log::info!(directory:% = path.display(); "watched again");
                        }
                        directory.polled = false;
                    }
                }
                Err(error) => directory.cannot_be_watched(path, describe(&error)),
            }
        }
        let polled = self.directories.values().any(|directory| directory.polled);
        let every = self.poll.or(polled.then_some(LOOK_AGAIN));
        self.look_at = every.map(|every| Instant::now() + every);
    }

    /// Waits for changes, and reads what has changed. True: something was taken away, which may have been ours.
    /// To be called again and again; nothing is lost if it is dropped.
    pub async fn changes(&mut self) -> (Vec<(String, Found)>, bool) {
        loop {
            let told = async {
                match &self.inotify {
                    Some(inotify) => inotify.readable().await.map(|mut ready| ready.clear_ready()),
                    None => std::future::pending().await,
                }
            };
            let time = async {
                match self.look_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let timely = tokio::select! {
                _ = told => false,
                () = time => true,
            };
            let (touched, taken) = self.read_events();
            let lost = self.directories.values().any(|directory| directory.watched.is_none());
            if timely || lost {
                self.watch_directories();
            }
            let found = match touched {
                Touched::All => self.look(|_| true),
                _ if timely => self.look(|_| true),
                Touched::These(paths) => {
                    let mut found = Vec::new();
                    for path in paths {
                        found.extend(self.files.get_mut(&path).and_then(|file| file.look(&path)));
                    }
                    found
                }
            };
            if !found.is_empty() || taken || lost {
                return (found, taken || lost);
            }
        }
    }

    fn look(&mut self, which: impl Fn(&File) -> bool) -> Vec<(String, Found)> {
        let chosen = self.files.iter_mut().filter(|(_, file)| which(file));
        chosen.filter_map(|(path, file)| file.look(path)).collect()
    }

    /// Reads all that is told: which files it is about, and whether something was taken away.
    fn read_events(&mut self) -> (Touched, bool) {
        let Some(inotify) = &self.inotify else { return (Touched::All, false) };
        let mut paths = BTreeSet::new();
        let mut all = false;
        let mut taken = false;
        let mut room = [MaybeUninit::uninit(); 8 << 10];
        let mut reader = inotify::Reader::new(inotify, &mut room);
        while let Ok(event) = reader.next() {
            let flags = event.events();
            let found = self.directories.iter_mut().find(|(_, it)| it.watched == Some(event.wd()));
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                all = true;
            }
            let Some((directory, state)) = found else { continue };
            if flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED) {
                // What is at that path now is another, or nothing: it is made and watched anew.
                if flags.contains(ReadFlags::MOVE_SELF) {
                    let _ = inotify::remove_watch(inotify, event.wd());
                }
                state.watched = None;
                all = true;
            } else if let Some(name) = event.file_name().filter(|name| !name.to_bytes().starts_with(b".")) {
                // What begins with a dot is being written, and is moved when it is done.
                taken |= flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM);
                paths.insert(directory.join(OsStr::from_bytes(name.to_bytes())));
            }
        }
        (if all { Touched::All } else { Touched::These(paths) }, taken)
    }
}

enum Touched {
    All,
    These(BTreeSet<PathBuf>),
}

impl Directory {
    fn cannot_be_watched(&mut self, path: &Path, why: String) {
        self.polled = true;
        if self.trouble.as_ref() != Some(&why) {
            log::warn!(directory:% = path.display(); "the graveyard is looked at every {LOOK_AGAIN:?}: {why}");
            self.trouble = Some(why);
        }
    }
}

impl File {
    /// What is found now, if it is not what was found before.
    fn look(&mut self, path: &Path) -> Option<(String, Found)> {
        let (found, trouble) = match look(path) {
            Ok((stone, abandoned)) => (Some(Found { stone: Some(stone), abandoned }), None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Some(Found::default()), None),
            // Half of it may be there: what was known before stands.
            Err(error) => (None, Some(describe(&error))),
        };
        if let Some(why) = trouble.as_ref().filter(|_| self.trouble != trouble) {
            log::warn!(file:% = path.display(); "no tombstone that could be read, we wait for one: {why}");
        }
        self.trouble = trouble;
        let first = self.found.is_none();
        let found = found.or_else(|| first.then(Found::default))?;
        if self.found.as_ref() == Some(&found) {
            return None;
        }
        // A tombstone that vanishes says nothing of its process: what was known before stands.
        if found.stone.is_none() && !first {
            return None;
        }
        self.found = Some(found.clone());
        Some((self.peer.clone(), found))
    }
}
