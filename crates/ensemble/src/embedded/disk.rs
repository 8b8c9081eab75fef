//! The file of an embedded store: a [redb](https://docs.rs/redb) database, which is copy-on-write, and whose commits are
//! whole or not there.
//!
//! It is checked as a whole when it is opened, since redb's reads verify no checksums, and commits have two phases:
//! then a damaged newest commit is an error, where it would be quietly taken back otherwise.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError, TableDefinition,
};

use super::state::{State, ToDisk};
use crate::store::{Entry, Lease, LeaseId, Revision, StoreError};

const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
/// Times to live in milliseconds.
const LEASES: TableDefinition<'_, u64, u64> = TableDefinition::new("leases");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

const FORMAT: &str = "format";
const REVISION: &str = "revision";
const NEWEST_LEASE: &str = "newest-lease";
/// The format of what we write.
const CURRENT_FORMAT: u64 = 1;

/// What redb keeps in memory: the state is there as a whole already.
const CACHE: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// None: it has failed, and is to be opened again.
    database: Option<Database>,
}

impl Disk {
    /// Opens or makes the file, and reads it. True: it was made.
    pub(super) fn open(path: &Path) -> Result<(Self, State, bool), StoreError> {
        let mut disk = Self { path: path.to_owned(), database: None };
        let made = match path.metadata() {
            Ok(metadata) if metadata.len() == 0 => return Err(disk.damaged("it is empty")),
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.make()?,
            Err(error) => return Err(disk.refused(&error)),
        };
        let state = disk.reload(Duration::ZERO)?;
        Ok((disk, state, made))
    }

    /// Makes the file beside its place and puts it there when it is whole: who is killed meanwhile leaves no half of one,
    /// and of two who make it at once the second finds that of the first. False: so it was.
    fn make(&self) -> Result<bool, StoreError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".new-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let beside = PathBuf::from(name);
        // Of somebody who had our number before us, and was killed.
        let _ = std::fs::remove_file(&beside);
        let made = self.make_at(&beside).and_then(|()| match std::fs::hard_link(&beside, &self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(self.refused(&error)),
        });
        let _ = std::fs::remove_file(&beside);
        if let Some(directory) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let synced = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(|error| self.refused(&error))?;
        }
        made
    }

    fn make_at(&self, beside: &Path) -> Result<(), StoreError> {
        let database = Database::builder().create(beside).map_err(|error| self.not_opened(error))?;
        let mut disk = Self { path: self.path.clone(), database: Some(database) };
        // A store that was lost and made anew gives no id that somebody may still have of the old one, and its numbers
        // are above those of the old one, as long as the clock was not set back beyond that.
        let base = RandomState::new().hash_one(beside) & 0x7fff_ffff_0000_0000;
        #[expect(clippy::disallowed_methods, reason = "where numbers begin; nothing waits for it")]
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        // Below 2^53, which is as far as JSON's numbers are exact everywhere, until the year 2248.
        let revision = u64::try_from(since.as_millis()).unwrap_or(0) << 10;
        disk.write(&[], Revision(revision), base)
    }

    /// Opens it, anew after a failure.
    pub(super) fn reload(&mut self, now: Duration) -> Result<State, StoreError> {
        // It has to be closed before it can be opened.
        self.database = None;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
        self.database = Some(builder.open(&self.path).map_err(|error| self.not_opened(error))?);
        self.load(now)
    }

    fn load(&self, now: Duration) -> Result<State, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let Some(database) = &self.database else { return Err(redb::Error::DatabaseClosed) };
            let transaction = database.begin_read()?;
            let numbers = transaction.open_table(NUMBERS)?;
            let number = |name| numbers.get(name).map(|found| found.map_or(0, |found| found.value()));
            let (format, revision, newest_lease) =
                (number(FORMAT)?, number(REVISION)?, number(NEWEST_LEASE)?);
            let mut leases = Vec::new();
            for found in transaction.open_table(LEASES)?.iter()? {
                let (id, ttl) = found?;
                leases.push(Lease { id: LeaseId(id.value()), ttl: Duration::from_millis(ttl.value()) });
            }
            let mut entries = Vec::new();
            for found in transaction.open_table(ENTRIES)?.iter()? {
                let (key, bytes) = found?;
                entries.push(decode(key.value(), bytes.value()));
            }
            Ok((format, revision, newest_lease, leases, entries))
        };
        let (format, revision, newest_lease, leases, entries) =
            read().map_err(|error| self.damaged(&error.to_string()))?;
        if format != CURRENT_FORMAT {
            let why = format!("its format is {format}, expected {CURRENT_FORMAT}: it is another version's");
            return Err(self.damaged(&why));
        }
        let entries: Option<Vec<_>> = entries.into_iter().collect();
        let entries = entries.ok_or_else(|| self.damaged("an entry is too short"))?;
        Ok(State::loaded(Revision(revision), newest_lease, entries, leases, now))
    }

    /// Writes it all, or nothing.
    pub(super) fn write(
        &mut self,
        to_disk: &[ToDisk],
        revision: Revision,
        newest_lease: u64,
    ) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            let Some(database) = &self.database else { return Err(redb::Error::DatabaseClosed) };
            let mut transaction = database.begin_write()?;
            transaction.set_two_phase_commit(true);
            {
                let mut entries = transaction.open_table(ENTRIES)?;
                let mut leases = transaction.open_table(LEASES)?;
                let mut numbers = transaction.open_table(NUMBERS)?;
                for change in to_disk {
                    match change {
                        ToDisk::Entry(entry) => {
                            entries.insert(entry.key.as_str(), encode(entry).as_slice())?;
                        }
                        ToDisk::NoEntry(key) => drop(entries.remove(key.as_str())?),
                        ToDisk::Lease(lease) => {
                            // Not shorter than it was granted.
                            let ttl = lease.ttl.as_micros().div_ceil(1000);
                            let ttl = u64::try_from(ttl).unwrap_or(u64::MAX);
                            leases.insert(lease.id.0, ttl)?;
                        }
                        ToDisk::NoLease(id) => drop(leases.remove(id.0)?),
                    }
                }
                numbers.insert(FORMAT, CURRENT_FORMAT)?;
                numbers.insert(REVISION, revision.0)?;
                numbers.insert(NEWEST_LEASE, newest_lease)?;
            }
            Ok(transaction.commit()?)
        };
        write().map_err(|error| self.not_written(&error))
    }

    fn named(&self) -> String {
        self.path.display().to_string()
    }

    fn refused(&self, error: &io::Error) -> StoreError {
        StoreError::Refused(format!("cannot open the store {}: {error}", self.named()))
    }

    fn damaged(&self, why: &str) -> StoreError {
        let named = self.named();
        StoreError::Corrupt(format!(
            "the store {named} is damaged or something else, and left as it is: {why}"
        ))
    }

    fn not_opened(&self, error: DatabaseError) -> StoreError {
        match error {
            DatabaseError::DatabaseAlreadyOpen => {
                StoreError::Unavailable(format!("another process has the store {}", self.named()))
            }
            DatabaseError::Storage(StorageError::Io(error)) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => self.damaged(&error.to_string()),
                io::ErrorKind::StorageFull => StoreError::Full(format!("{}: {error}", self.named())),
                _ => self.refused(&error),
            },
            error => self.damaged(&error.to_string()),
        }
    }

    /// A commit that has failed may still be there when the file is opened again.
    fn not_written(&self, error: &redb::Error) -> StoreError {
        match error {
            redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
                StoreError::Full(format!("{}: {error}", self.named()))
            }
            error => StoreError::Unknown(format!("{}: {error}", self.named())),
        }
    }
}

/// created, changed, lease (8 bytes each, big end first; lease 0: none), value.
fn encode(entry: &Entry) -> Vec<u8> {
    let lease = entry.lease.map_or(0, |lease| lease.0);
    let mut bytes = Vec::with_capacity(24 + entry.value.len());
    for number in [entry.created.0, entry.changed.0, lease] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(&entry.value);
    bytes
}

fn decode(key: &str, bytes: &[u8]) -> Option<Entry> {
    let (numbers, value) = bytes.split_at_checked(24)?;
    let number = |at: usize| Some(u64::from_be_bytes(numbers.get(at..at + 8)?.try_into().ok()?));
    Some(Entry {
        key: key.to_owned(),
        value: value.to_vec(),
        created: Revision(number(0)?),
        changed: Revision(number(8)?),
        lease: Some(number(16)?).filter(|lease| *lease != 0).map(LeaseId),
    })
}
