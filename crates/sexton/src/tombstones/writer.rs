//! Writes a tombstone: beside it, then over it, so that whoever looks sees the old or the new and nothing between.
//!
//! The file stays open and locked (flock(2)) as long as we live. The kernel closes it when we are killed, which
//! others are told (`IN_CLOSE_WRITE` of inotify(7)): a tombstone without `Died` on which nobody holds the lock is
//! that of somebody who could not say good-bye.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use engine::LifecycleRecord;
use jiff::Timestamp;
use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock};

use super::directory;
use super::tombstone::{LARGEST, Tombstone};
use linux::clock::of_day_by;

/// Everybody may read it, whatever our umask is.
const MODE: u32 = 0o644;
/// Tombstones are smaller, as a rule.
const USUAL: usize = 4096;
/// How often a tombstone is looked at that seems to be nobody's.
const LOOKS: usize = 8;

/// Writes one tombstone.
#[derive(Debug)]
pub struct TombstoneWriter {
    path: PathBuf,
    stone: Tombstone,
    /// What was carved last, open, and whether it is locked.
    held: Option<(File, bool)>,
    another_keeper: bool,
    /// Locks mean something to all who may look.
    lockable: bool,
    /// The mode of the directory, if it has to be made again.
    mode: u32,
}

impl TombstoneWriter {
    /// Looks at what a life before this one has left, and changes nothing yet.
    #[must_use]
    pub fn begin(directory: &Path, mode: u32, name: &str) -> (Self, Option<Tombstone>) {
        let path = directory.join(name);
        let found = look(&path);
        let (before, another_keeper) = match found {
            Ok((stone, abandoned)) => {
                let alive = stone.locked && stone.died.is_none() && !abandoned;
                (Some(stone), alive)
            }
            Err(_) => (None, false),
        };
        let this = Self {
            path,
            stone: Tombstone { incarnation: Some(new_life()), ..Tombstone::default() },
            held: None,
            another_keeper,
            // Where others write from another kernel, locks may be each kernel's own.
            lockable: directory::tells_nothing(directory).is_none(),
            mode,
        };
        (this, before)
    }

    /// Where the tombstone is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Somebody else who lives holds the tombstone of this name.
    #[must_use]
    pub const fn has_another_keeper(&self) -> bool {
        self.another_keeper
    }

    /// Carves what is so now.
    pub fn carve(
        &mut self,
        stone: &LifecycleRecord,
        mourns: BTreeSet<(String, String)>,
        moment: (engine::Time, Timestamp),
    ) -> io::Result<()> {
        let before = &self.stone;
        let born_again = before.died.is_some() && stone.died.is_none();
        // A time of day is fixed when it is first told, also when the system's clock is set later.
        let day = |at: Option<engine::Time>, known: Option<Timestamp>| {
            at.and_then(|at| known.filter(|_| !born_again).or_else(|| of_day_by(at, moment)))
        };
        let death = stone.died.as_ref();
        self.stone = Tombstone {
            born: day(stone.born, before.born),
            ready: day(stone.ready, before.ready),
            died: day(death.map(|death| death.at), before.died),
            exit_code: death.map(|death| death.code),
            signal: death.and_then(|death| death.signal).map(|signal| signal.to_string()),
            reason: death.map(|death| death.reason.clone()),
            incarnation: if born_again { Some(new_life()) } else { before.incarnation.clone() },
            locked: death.is_none() && self.lockable,
            mourns,
        };
        self.write()
    }

    /// Carves the same again, if it was carved and is not there.
    pub fn restore(&mut self) -> io::Result<()> {
        if self.held.is_none() || self.path.exists() { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> io::Result<()> {
        let written = self.write_beside().or_else(|error| match error.kind() {
            // The directory was taken away: it is made again.
            io::ErrorKind::NotFound => {
                directory::make(self.path.parent().unwrap_or(Path::new("/")), self.mode)?;
                self.write_beside()
            }
            _ => Err(error),
        });
        match written {
            Ok(file) => {
                // The old one is closed when the new one is there: somebody always holds the tombstone.
                self.held = Some((file, self.stone.locked)).filter(|_| self.stone.died.is_none());
                Ok(())
            }
            // There is still the room that the old one takes.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                self.write_over().map_err(|_| error)
            }
            Err(error) => Err(error),
        }
    }

    fn write_beside(&mut self) -> io::Result<File> {
        let (beside, file) = self.open_beside()?;
        let written = self.write_into(&beside, file);
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }

    /// A file beside it that was not there. Of our number somebody who was killed may have left one; what belongs
    /// to somebody else and cannot be removed is passed by.
    fn open_beside(&self) -> io::Result<(PathBuf, File)> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let open = |end: String| {
            let path = self.path.with_file_name(format!(".{name}.{end}"));
            let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path);
            file.map(|file| (path, file))
        };
        let usual = std::process::id().to_string();
        open(usual.clone()).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let _ = fs::remove_file(self.path.with_file_name(format!(".{name}.{usual}")));
                open(usual).or_else(|_| open(new_life()))
            }
            _ => Err(error),
        })
    }

    fn write_into(&mut self, beside: &Path, mut file: File) -> io::Result<File> {
        if file.metadata()?.permissions().mode() & 0o777 != MODE {
            file.set_permissions(fs::Permissions::from_mode(MODE))?;
        }
        // Some network file systems know no locks: then nobody is told to rely on one.
        self.stone.locked =
            self.stone.locked && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        let text = self.stone.text();
        // ext4 writes out what has no room on the disk yet when it replaces another file (auto_da_alloc), which
        // takes ten times as long as all the rest; others may not know how.
        let _ = fallocate(&file, FallocateFlags::empty(), 0, text.len() as u64);
        file.write_all(text.as_bytes())?;
        fs::rename(beside, &self.path)?;
        Ok(file)
    }

    /// Into the file that is there, if it is still the one that we hold.
    fn write_over(&mut self) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let (file, locked) = self.held.as_mut().ok_or_else(gone)?;
        let (there, held) = (fs::symlink_metadata(&self.path)?, file.metadata()?);
        if (there.dev(), there.ino()) != (held.dev(), held.ino()) {
            return Err(gone());
        }
        self.stone.locked = self.stone.locked && *locked;
        let text = self.stone.text();
        file.rewind()?;
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)?;
        if self.stone.died.is_some() {
            self.held = None;
        }
        Ok(())
    }
}

/// A name that no other life has.
fn new_life() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    // The standard library seeds its hash tables from the system's source of chance.
    let word = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", word(), word())
}

/// Reads a tombstone. True: its keeper is gone without a word.
pub fn look(path: &Path) -> io::Result<(Tombstone, bool)> {
    let mut seen = None;
    for _ in 0..LOOKS {
        let (file, stone, unheld) = look_once(path)?;
        if !unheld {
            return Ok((stone, false));
        }
        // Its keeper may have put another in its place between our reading and our asking for the lock.
        if seen.as_ref() == Some(&(file, stone.clone())) {
            return Ok((stone, true));
        }
        seen = Some((file, stone));
    }
    // It changes faster than we look: somebody is there.
    Ok((seen.map(|(_, stone)| stone).unwrap_or_default(), false))
}

/// Which file it is, what stands in it, and whether it is nobody's although it should be somebody's.
fn look_once(path: &Path) -> io::Result<(u64, Tombstone, bool)> {
    let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidData, message);
    // A FIFO would hold us up; a link may lead anywhere.
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(invalid("it is no regular file".to_owned()));
    }
    let mut text = Vec::with_capacity(USUAL);
    (&file).take(LARGEST as u64 + 1).read_to_end(&mut text)?;
    if text.len() > LARGEST {
        return Err(invalid("it is larger than 64 KiB".to_owned()));
    }
    let text = String::from_utf8(text).map_err(|_| invalid("it is not UTF-8".to_owned()))?;
    let stone = Tombstone::parse(&text).map_err(|error| invalid(error.to_string()))?;
    let expects_keeper = stone.locked && stone.died.is_none();
    let unheld = expects_keeper && flock(&file, FlockOperation::NonBlockingLockShared).is_ok();
    Ok((metadata.ino(), stone, unheld))
}
