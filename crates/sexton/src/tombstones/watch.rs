//! Watches the tombstones of peers with inotify(7), and by polling where changes are not reported.
//!
//! An event only triggers a read; the contents count. All files of a directory are read when its watch starts, so that
//! earlier changes are not missed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::directory;
use super::tombstone::Tombstone;
use super::writer::read_tombstone;
use linux::readable::readable;
use spec::text::describe;

/// The poll interval where changes are not reported.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The number of events that are read before other tasks run.
const MAX_BATCH: usize = 512;

/// The tombstone of a peer, as found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// None: there is no readable tombstone.
    pub stone: Option<Tombstone>,
    /// Its writer was killed.
    pub abandoned: bool,
}

/// Watches the tombstones of peers.
#[derive(Debug)]
pub struct Watch {
    mode: u32,
    /// Poll interval, in addition to events.
    poll: Option<Duration>,
    inotify: Option<AsyncFd<OwnedFd>>,
    directories: BTreeMap<PathBuf, Directory>,
    poll_at: Option<Instant>,
}

/// A directory and its watched files.
#[derive(Debug, Default)]
struct Directory {
    /// Files by name.
    files: BTreeMap<OsString, File>,
    /// The watch descriptor, and the device and inode of the directory.
    watched: Option<(i32, (u64, u64))>,
    /// Why changes are not reported reliably, as logged.
    problem: Option<String>,
}

#[derive(Debug)]
struct File {
    peer: String,
    found: Option<Found>,
    /// Why it cannot be read, as logged last.
    problem: Option<String>,
}

/// The result of a wait for changes.
#[derive(Debug, Default)]
pub struct Changed {
    /// Changed tombstones by peer.
    pub found: Vec<(String, Found)>,
    /// A file was removed, which may be one of sexton's own tombstones.
    pub removed: bool,
}

impl Watch {
    /// Watches nothing yet.
    #[must_use]
    pub const fn new(mode: u32, poll: Option<Duration>) -> Self {
        Self { mode, poll, inotify: None, directories: BTreeMap::new(), poll_at: None }
    }

    /// Sets the watched files, each of a peer; their directories must exist. Returns the state of those that are new.
    pub fn watch_files(&mut self, wanted: BTreeSet<(PathBuf, String)>) -> Vec<(String, Found)> {
        let mut directories: BTreeMap<PathBuf, Directory> = BTreeMap::new();
        for (path, peer) in wanted {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let old = self.directories.get_mut(parent);
            let (watched, problem, file) = old
                .map_or((None, None, None), |old| (old.watched, old.problem.clone(), old.files.remove(name)));
            let file = file.filter(|file| file.peer == peer);
            let directory = directories.entry(parent.to_owned()).or_default();
            (directory.watched, directory.problem) = (watched, problem);
            directory
                .files
                .insert(name.to_owned(), file.unwrap_or(File { peer, found: None, problem: None }));
        }
        let old = std::mem::replace(&mut self.directories, directories);
        for gone in old.values().filter_map(|directory| directory.watched) {
            self.unwatch(gone.0);
        }
        self.watch_directories();
        self.schedule_poll(true);
        let mut found = Vec::new();
        for (path, directory) in &mut self.directories {
            found.extend(directory.read(path, |_, file| file.found.is_none()));
        }
        found
    }

    /// Removes a watch, unless a directory still uses it under another name.
    fn unwatch(&mut self, number: i32) {
        let used = self.directories.values().any(|it| it.watched.is_some_and(|(own, _)| own == number));
        if let (false, Some(inotify)) = (used, &self.inotify) {
            // Err: the watch has already been removed.
            let _ = inotify::remove_watch(inotify, number);
        }
    }

    /// Adds missing watches, creating missing directories. Returns the directories that are watched again.
    fn watch_directories(&mut self) -> Vec<PathBuf> {
        if self.inotify.is_none() && !self.directories.is_empty() {
            let made = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
            match made.map_err(io::Error::from).and_then(readable) {
                Ok(inotify) => self.inotify = Some(inotify),
                Err(error) => {
                    let why = format!("inotify: {}", describe(&error));
                    for (path, directory) in &mut self.directories {
                        directory.poll_because(path, why.clone());
                    }
                }
            }
        }
        let Some(inotify) = &self.inotify else { return Vec::new() };
        let mut rewatched = Vec::new();
        for (path, directory) in self.directories.iter_mut().filter(|(_, it)| it.watched.is_none()) {
            match add_watch(inotify, path, self.mode) {
                Ok(watched) => {
                    directory.watched = Some(watched);
                    rewatched.push(path.clone());
                    match directory::unreliable_filesystem(path) {
                        Some(kind) => {
                            directory.poll_because(path, format!("{kind} does not report all changes"));
                        }
                        None if directory.problem.take().is_some() => {
                            log::info!(directory:% = path.display(); "watching the graveyard again");
                        }
                        None => {}
                    }
                }
                Err(error) => directory.poll_because(path, describe(&error)),
            }
        }
        rewatched
    }

    /// Schedules the next poll; `done`: a poll was just done.
    fn schedule_poll(&mut self, done: bool) {
        let unreliable = self.directories.values().any(|directory| directory.problem.is_some());
        match self.poll.or(unreliable.then_some(POLL_INTERVAL)) {
            None => self.poll_at = None,
            Some(every) if done || self.poll_at.is_none() => self.poll_at = Some(Instant::now() + every),
            Some(_) => {}
        }
    }

    /// Waits for changes and reads the changed files. Cancel-safe.
    pub async fn changes(&mut self) -> Changed {
        loop {
            let events_ready = async {
                match &self.inotify {
                    Some(inotify) => inotify.readable().await.ok(),
                    None => std::future::pending().await,
                }
            };
            let time = async {
                match self.poll_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let mut events = Events::default();
            let due = tokio::select! {
                ready = events_ready => {
                    if let (Some(mut ready), Some(inotify)) = (ready, &self.inotify) {
                        events = read_events(inotify, &self.directories);
                        if events.drained {
                            ready.clear_ready();
                        }
                    }
                    false
                }
                () = time => true,
            };
            let changed = self.collect(&events, due);
            if !changed.found.is_empty() || changed.removed {
                return changed;
            }
            // Other tasks run even during a flood of unrelated events.
            tokio::task::yield_now().await;
        }
    }

    fn collect(&mut self, events: &Events, due: bool) -> Changed {
        let mut lost = Vec::new();
        for (path, directory) in &mut self.directories {
            let Some((number, identity)) = directory.watched else { continue };
            // The path may now be another directory, while another process still has the old one open.
            let other =
                events.removed && fs::metadata(path).map(|it| (it.dev(), it.ino())).ok() != Some(identity);
            if other || events.lost.contains(&number) {
                directory.watched = None;
                lost.push(number);
            }
        }
        for number in &lost {
            self.unwatch(*number);
        }
        let unwatched = self.directories.values().any(|directory| directory.watched.is_none());
        let rewatched =
            if !lost.is_empty() || (due && unwatched) { self.watch_directories() } else { Vec::new() };
        self.schedule_poll(due);
        let mut found = Vec::new();
        for (path, directory) in &mut self.directories {
            let complete = due || events.all || rewatched.contains(path);
            let changed_files =
                |name: &OsStr| events.changed_files.contains(&(path.clone(), name.to_owned()));
            found.extend(directory.read(path, |name, _| complete || changed_files(name)));
        }
        Changed { found, removed: events.removed || !lost.is_empty() }
    }
}

fn add_watch(inotify: &AsyncFd<OwnedFd>, path: &Path, mode: u32) -> io::Result<(i32, (u64, u64))> {
    // CREATE and MODIFY wake this process while a tombstone is still being written, so that it is awake in time.
    let flags = WatchFlags::CREATE
        | WatchFlags::MODIFY
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVED_FROM
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    directory::create(path, mode)?;
    let number = inotify::add_watch(inotify, path, flags)?;
    let identity = fs::metadata(path)?;
    Ok((number, (identity.dev(), identity.ino())))
}

/// The events of one read.
#[derive(Debug, Default)]
struct Events {
    changed_files: BTreeSet<(PathBuf, OsString)>,
    /// Watches of directories that were removed or moved.
    lost: BTreeSet<i32>,
    /// A file was removed.
    removed: bool,
    /// The kernel's event queue has overflowed.
    all: bool,
    /// No more events are pending.
    drained: bool,
}

fn read_events(inotify: &AsyncFd<OwnedFd>, directories: &BTreeMap<PathBuf, Directory>) -> Events {
    let mut events = Events::default();
    let mut room = [MaybeUninit::uninit(); 8 << 10];
    let mut reader = inotify::Reader::new(inotify, &mut room);
    for count in 0.. {
        // Events that were read together must be handled together.
        if count >= MAX_BATCH && reader.is_buffer_empty() {
            return events;
        }
        let Ok(event) = reader.next() else { break };
        let flags = event.events();
        events.all |= flags.contains(ReadFlags::QUEUE_OVERFLOW);
        if flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED) {
            events.lost.insert(event.wd());
            continue;
        }
        // Names that start with a dot are temporary files, which are renamed when complete.
        let Some(name) = event.file_name().filter(|name| !name.to_bytes().starts_with(b".")) else {
            continue;
        };
        let name = OsStr::from_bytes(name.to_bytes());
        events.removed |= flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM);
        // Several paths may name one directory.
        let here = |it: &Directory| it.watched.is_some_and(|(number, _)| number == event.wd());
        for (path, _) in directories.iter().filter(|(_, it)| here(it) && it.files.contains_key(name)) {
            events.changed_files.insert((path.clone(), name.to_owned()));
        }
    }
    events.drained = true;
    events
}

impl Directory {
    fn poll_because(&mut self, path: &Path, why: String) {
        if self.problem.as_ref() != Some(&why) {
            log::warn!(directory:% = path.display(); "polling the graveyard every {POLL_INTERVAL:?}: {why}");
            self.problem = Some(why);
        }
    }

    fn read(&mut self, path: &Path, wanted: impl Fn(&OsStr, &File) -> bool) -> Vec<(String, Found)> {
        let chosen = self.files.iter_mut().filter(|(name, file)| wanted(name, file));
        chosen.filter_map(|(name, file)| file.read(&path.join(name))).collect()
    }
}

impl File {
    /// Reads the file. Returns the new state if it changed.
    fn read(&mut self, path: &Path) -> Option<(String, Found)> {
        let (found, problem) = match read_tombstone(path) {
            Ok((stone, abandoned)) => (Some(Found { stone: Some(stone), abandoned }), None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Some(Found::default()), None),
            // It may be half written: the last known state stays.
            Err(error) => (None, Some(describe(&error))),
        };
        if let Some(why) = problem.as_ref().filter(|_| self.problem != problem) {
            log::warn!(file:% = path.display(); "cannot read the tombstone, waiting for a valid one: {why}");
        }
        self.problem = problem;
        let first = self.found.is_none();
        let found = found.or_else(|| first.then(Found::default))?;
        if self.found.as_ref() == Some(&found) {
            return None;
        }
        // A removed tombstone says nothing about its process: the last known state stays.
        if found.stone.is_none() && !first {
            return None;
        }
        self.found = Some(found.clone());
        Some((self.peer.clone(), found))
    }
}
