//! Sees what others carve: told by inotify(7), and by looking again where nobody tells.
//!
//! What counts is what stands in a file when it is read. An event says only that it is time to read: all files
//! of a directory are read when it begins to be watched, so that what came before is not missed.

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
use super::writer::look;
use linux::readable::readable;
use spec::text::describe;

/// How often we look where changes are not told.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How many events are taken before others have their turn.
const AT_ONCE: usize = 512;

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
    look_at: Option<Instant>,
}

/// A directory and what is looked at in it.
#[derive(Debug, Default)]
struct Directory {
    /// By name.
    files: BTreeMap<OsString, File>,
    /// The number of its watch, and which directory that is.
    watched: Option<(i32, (u64, u64))>,
    /// Changes are not told, or not all of them: why, as the log has it.
    trouble: Option<String>,
}

#[derive(Debug)]
struct File {
    peer: String,
    found: Option<Found>,
    /// What is wrong with it, as told last.
    trouble: Option<String>,
}

/// What has changed.
#[derive(Debug, Default)]
pub struct Changed {
    /// What was found, of each peer of which that is news.
    pub found: Vec<(String, Found)>,
    /// Something was taken away, which may have been ours.
    pub taken: bool,
}

impl Watch {
    /// Nothing is watched yet.
    #[must_use]
    pub const fn new(mode: u32, poll: Option<Duration>) -> Self {
        Self { mode, poll, inotify: None, directories: BTreeMap::new(), look_at: None }
    }

    /// Watches these files, each of a peer, and no others; their directories are there. Returns what is found of
    /// those that are new.
    pub fn look_for(&mut self, wanted: BTreeSet<(PathBuf, String)>) -> Vec<(String, Found)> {
        let mut directories: BTreeMap<PathBuf, Directory> = BTreeMap::new();
        for (path, peer) in wanted {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let old = self.directories.get_mut(parent);
            let (watched, trouble, file) = old
                .map_or((None, None, None), |old| (old.watched, old.trouble.clone(), old.files.remove(name)));
            let file = file.filter(|file| file.peer == peer);
            let directory = directories.entry(parent.to_owned()).or_default();
            (directory.watched, directory.trouble) = (watched, trouble);
            directory
                .files
                .insert(name.to_owned(), file.unwrap_or(File { peer, found: None, trouble: None }));
        }
        let old = std::mem::replace(&mut self.directories, directories);
        for gone in old.values().filter_map(|directory| directory.watched) {
            self.unwatch(gone.0);
        }
        self.watch_directories();
        self.plan_look(true);
        let mut found = Vec::new();
        for (path, directory) in &mut self.directories {
            found.extend(directory.look(path, |_, file| file.found.is_none()));
        }
        found
    }

    /// Nobody looks for anything there any more, under no name.
    fn unwatch(&mut self, number: i32) {
        let used = self.directories.values().any(|it| it.watched.is_some_and(|(own, _)| own == number));
        if let (false, Some(inotify)) = (used, &self.inotify) {
            // It may have gone by itself.
            let _ = inotify::remove_watch(inotify, number);
        }
    }

    /// Watches the directories that are not watched, making those that are not there. Returns which are now.
    fn watch_directories(&mut self) -> Vec<PathBuf> {
        if self.inotify.is_none() && !self.directories.is_empty() {
            let made = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
            match made.map_err(io::Error::from).and_then(readable) {
                Ok(inotify) => self.inotify = Some(inotify),
                Err(error) => {
                    let why = format!("inotify: {}", describe(&error));
                    for (path, directory) in &mut self.directories {
                        directory.is_not_told(path, why.clone());
                    }
                }
            }
        }
        let Some(inotify) = &self.inotify else { return Vec::new() };
        let mut anew = Vec::new();
        for (path, directory) in self.directories.iter_mut().filter(|(_, it)| it.watched.is_none()) {
            match watch_one(inotify, path, self.mode) {
                Ok(watched) => {
                    directory.watched = Some(watched);
                    anew.push(path.clone());
                    match directory::tells_nothing(path) {
                        Some(kind) => {
                            directory.is_not_told(path, format!("changes on {kind} are not always told"));
                        }
                        None if directory.trouble.take().is_some() => {
                            log::info!(directory:% = path.display(); "watched again");
                        }
                        None => {}
                    }
                }
                Err(error) => directory.is_not_told(path, describe(&error)),
            }
        }
        anew
    }

    /// When to look at everything next; `done`: that was just done.
    fn plan_look(&mut self, done: bool) {
        let untold = self.directories.values().any(|directory| directory.trouble.is_some());
        match self.poll.or(untold.then_some(LOOK_AGAIN)) {
            None => self.look_at = None,
            Some(every) if done || self.look_at.is_none() => self.look_at = Some(Instant::now() + every),
            Some(_) => {}
        }
    }

    /// Waits for changes, and reads what has changed. To be called again and again; nothing is lost if it is
    /// dropped.
    pub async fn changes(&mut self) -> Changed {
        loop {
            let told = async {
                match &self.inotify {
                    Some(inotify) => inotify.readable().await.ok(),
                    None => std::future::pending().await,
                }
            };
            let time = async {
                match self.look_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let mut events = Events::default();
            let timely = tokio::select! {
                ready = told => {
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
            let changed = self.conclude(&events, timely);
            if !changed.found.is_empty() || changed.taken {
                return changed;
            }
            // A flood of events that are none of ours holds nobody up.
            tokio::task::yield_now().await;
        }
    }

    fn conclude(&mut self, events: &Events, timely: bool) -> Changed {
        let mut lost = Vec::new();
        for (path, directory) in &mut self.directories {
            let Some((number, which)) = directory.watched else { continue };
            // What is at that path now may be another, while somebody still holds the old one.
            let other = events.taken && fs::metadata(path).map(|it| (it.dev(), it.ino())).ok() != Some(which);
            if other || events.lost.contains(&number) {
                directory.watched = None;
                lost.push(number);
            }
        }
        for number in &lost {
            self.unwatch(*number);
        }
        let unwatched = self.directories.values().any(|directory| directory.watched.is_none());
        let anew =
            if !lost.is_empty() || (timely && unwatched) { self.watch_directories() } else { Vec::new() };
        self.plan_look(timely);
        let mut found = Vec::new();
        for (path, directory) in &mut self.directories {
            let whole = timely || events.all || anew.contains(path);
            let touched = |name: &OsStr| events.touched.contains(&(path.clone(), name.to_owned()));
            found.extend(directory.look(path, |name, _| whole || touched(name)));
        }
        Changed { found, taken: events.taken || !lost.is_empty() }
    }
}

fn watch_one(inotify: &AsyncFd<OwnedFd>, path: &Path, mode: u32) -> io::Result<(i32, (u64, u64))> {
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
    directory::make(path, mode)?;
    let number = inotify::add_watch(inotify, path, flags)?;
    let which = fs::metadata(path)?;
    Ok((number, (which.dev(), which.ino())))
}

/// What is told.
#[derive(Debug, Default)]
struct Events {
    touched: BTreeSet<(PathBuf, OsString)>,
    /// Watches of directories that are gone, or were moved away.
    lost: BTreeSet<i32>,
    /// Something was taken away.
    taken: bool,
    /// More has happened than the kernel remembers.
    all: bool,
    /// There is no more to be read.
    drained: bool,
}

fn read_events(inotify: &AsyncFd<OwnedFd>, directories: &BTreeMap<PathBuf, Directory>) -> Events {
    let mut events = Events::default();
    let mut room = [MaybeUninit::uninit(); 8 << 10];
    let mut reader = inotify::Reader::new(inotify, &mut room);
    for count in 0.. {
        // What was read together has to be taken together.
        if count >= AT_ONCE && reader.is_buffer_empty() {
            return events;
        }
        let Ok(event) = reader.next() else { break };
        let flags = event.events();
        events.all |= flags.contains(ReadFlags::QUEUE_OVERFLOW);
        if flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED) {
            events.lost.insert(event.wd());
            continue;
        }
        // What begins with a dot is being written, and is moved when it is done.
        let Some(name) = event.file_name().filter(|name| !name.to_bytes().starts_with(b".")) else {
            continue;
        };
        let name = OsStr::from_bytes(name.to_bytes());
        events.taken |= flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM);
        // One directory may have several names.
        let here = |it: &Directory| it.watched.is_some_and(|(number, _)| number == event.wd());
        for (path, _) in directories.iter().filter(|(_, it)| here(it) && it.files.contains_key(name)) {
            events.touched.insert((path.clone(), name.to_owned()));
        }
    }
    events.drained = true;
    events
}

impl Directory {
    fn is_not_told(&mut self, path: &Path, why: String) {
        if self.trouble.as_ref() != Some(&why) {
            log::warn!(directory:% = path.display(); "the graveyard is looked at every {LOOK_AGAIN:?}: {why}");
            self.trouble = Some(why);
        }
    }

    fn look(&mut self, path: &Path, which: impl Fn(&OsStr, &File) -> bool) -> Vec<(String, Found)> {
        let chosen = self.files.iter_mut().filter(|(name, file)| which(name, file));
        chosen.filter_map(|(name, file)| file.look(&path.join(name))).collect()
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
