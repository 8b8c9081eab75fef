//! Writes a tombstone to a temporary file and renames it, so that readers see either the old or the new version.
//!
//! The file stays open and locked (flock(2)) while sexton is alive. If sexton is killed, the kernel closes the file and
//! reports that to watchers (`IN_CLOSE_WRITE` of inotify(7)): a tombstone without `Died` and without a lock belongs to a
//! process that was killed before it could record its exit.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use engine::LifecycleRecord;
use jiff::Timestamp;
use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock};

use super::directory;
use super::tombstone::{MAX_SIZE, Tombstone};
use linux::clock::of_day_by;
use linux::random::random_seed;

/// Mode of the file, independent of the umask: readable by all.
const MODE: u32 = 0o644;
/// Initial buffer size; tombstones are usually smaller.
const USUAL_SIZE: usize = 4096;
/// How often a tombstone that seems abandoned is read again.
const MAX_READS: usize = 8;

/// Writer of one tombstone.
#[derive(Debug)]
pub struct TombstoneWriter {
    path: PathBuf,
    stone: Tombstone,
    /// The file written last, open, and whether it is locked.
    held: Option<(File, bool)>,
    other_writer: bool,
    /// Whether locks are visible to all processes that may read the directory.
    lockable: bool,
    /// Mode of the directory, in case it must be created again.
    mode: u32,
}

impl TombstoneWriter {
    /// Reads the tombstone of the previous incarnation. Does not change anything yet.
    #[must_use]
    pub fn begin(directory: &Path, mode: u32, name: &str) -> (Self, Option<Tombstone>) {
        let path = directory.join(name);
        let found = read_tombstone(&path);
        let (before, other_writer) = match found {
            Ok((stone, abandoned)) => {
                let alive = stone.locked && stone.died.is_none() && !abandoned;
                (Some(stone), alive)
            }
            Err(_) => (None, false),
        };
        let this = Self {
            path,
            stone: Tombstone { incarnation: Some(new_incarnation()), ..Tombstone::default() },
            held: None,
            other_writer,
            // On a file system shared by several kernels, locks may be local to each.
            lockable: directory::unreliable_filesystem(directory).is_none(),
            mode,
        };
        (this, before)
    }

    /// The path of the tombstone.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another running process holds the tombstone of this name.
    #[must_use]
    pub const fn has_other_writer(&self) -> bool {
        self.other_writer
    }

    /// Writes the current state.
    pub fn update(
        &mut self,
        stone: &LifecycleRecord,
        mourns: BTreeSet<(String, String)>,
        moment: (engine::Time, Timestamp),
    ) -> io::Result<()> {
        let before = &self.stone;
        let restarted = before.died.is_some() && stone.died.is_none();
        // A time of day is fixed when it is first written, even if the system's clock is set later.
        let time_of_day = |at: Option<engine::Time>, known: Option<Timestamp>| {
            at.and_then(|at| known.filter(|_| !restarted).or_else(|| of_day_by(at, moment)))
        };
        let death = stone.died.as_ref();
        self.stone = Tombstone {
            born: time_of_day(stone.born, before.born),
            ready: time_of_day(stone.ready, before.ready),
            died: time_of_day(death.map(|death| death.at), before.died),
            exit_code: death.map(|death| death.code),
            signal: death.and_then(|death| death.signal).map(|signal| signal.to_string()),
            reason: death.map(|death| death.reason.clone()),
            incarnation: if restarted { Some(new_incarnation()) } else { before.incarnation.clone() },
            locked: death.is_none() && self.lockable,
            mourns,
        };
        self.write()
    }

    /// Writes the tombstone again if it was removed.
    pub fn restore(&mut self) -> io::Result<()> {
        if self.held.is_none() || self.path.exists() { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> io::Result<()> {
        let written = self.write_temporary().or_else(|error| match error.kind() {
            // The directory was removed: create it again.
            io::ErrorKind::NotFound => {
                directory::create(self.path.parent().unwrap_or(Path::new("/")), self.mode)?;
                self.write_temporary()
            }
            _ => Err(error),
        });
        match written {
            Ok(file) => {
                // The old file is closed only now, so that the tombstone is locked at all times.
                self.held = Some((file, self.stone.locked)).filter(|_| self.stone.died.is_none());
                Ok(())
            }
            // No space left: the old file's space can be reused.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                self.overwrite().map_err(|_| error)
            }
            Err(error) => Err(error),
        }
    }

    fn write_temporary(&mut self) -> io::Result<File> {
        let (temporary, file) = self.open_temporary()?;
        let written = self.write_into(&temporary, file);
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Creates a temporary file. A killed process with the same PID may have left one; one that belongs to another user
    /// and cannot be removed is avoided by a random name.
    fn open_temporary(&self) -> io::Result<(PathBuf, File)> {
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
                open(usual).or_else(|_| open(new_incarnation()))
            }
            _ => Err(error),
        })
    }

    fn write_into(&mut self, temporary: &Path, mut file: File) -> io::Result<File> {
        if file.metadata()?.permissions().mode() & 0o777 != MODE {
            file.set_permissions(fs::Permissions::from_mode(MODE))?;
        }
        // Without locks, as on some network file systems, `Lock` is left out.
        self.stone.locked =
            self.stone.locked && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        let text = self.stone.text();
        // With delayed allocation, a rename over an existing file makes ext4 flush the new file (auto_da_alloc), which
        // takes ten times as long as the rest. Other file systems may not support fallocate.
        let _ = fallocate(&file, FallocateFlags::empty(), 0, text.len() as u64);
        file.write_all(text.as_bytes())?;
        fs::rename(temporary, &self.path)?;
        Ok(file)
    }

    /// Overwrites the existing file, if it is still the one that is open.
    fn overwrite(&mut self) -> io::Result<()> {
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

/// A unique ID of an incarnation.
fn new_incarnation() -> String {
    format!("{:016x}{:016x}", random_seed(), random_seed())
}

/// Reads a tombstone. The second value is true if it is abandoned: its writer was killed.
pub fn read_tombstone(path: &Path) -> io::Result<(Tombstone, bool)> {
    let mut seen = None;
    for _ in 0..MAX_READS {
        let (file, stone, unlocked) = read_once(path)?;
        if !unlocked {
            return Ok((stone, false));
        }
        // The writer may have replaced it between the read and the lock check: read again.
        if seen.as_ref() == Some(&(file, stone.clone())) {
            return Ok((stone, true));
        }
        seen = Some((file, stone));
    }
    // It changes faster than it can be read, so its writer is alive.
    Ok((seen.map(|(_, stone)| stone).unwrap_or_default(), false))
}

/// Reads a tombstone once: inode, contents, and whether the lock that it announces is missing.
fn read_once(path: &Path) -> io::Result<(u64, Tombstone, bool)> {
    let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidData, message);
    // Opening a FIFO must not block; a symbolic link may lead anywhere.
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(invalid("not a regular file".to_owned()));
    }
    let mut text = Vec::with_capacity(USUAL_SIZE);
    (&file).take(MAX_SIZE as u64 + 1).read_to_end(&mut text)?;
    if text.len() > MAX_SIZE {
        return Err(invalid("larger than 64 KiB".to_owned()));
    }
    let text = String::from_utf8(text).map_err(|_| invalid("not UTF-8".to_owned()))?;
    let stone = Tombstone::parse(&text).map_err(|error| invalid(error.to_string()))?;
    let expects_lock = stone.locked && stone.died.is_none();
    let unlocked = expects_lock && flock(&file, FlockOperation::NonBlockingLockShared).is_ok();
    Ok((metadata.ino(), stone, unlocked))
}
