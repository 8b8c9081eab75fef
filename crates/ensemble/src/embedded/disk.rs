//! The file of an embedded store: a [redb](https://docs.rs/redb) database, which is copy-on-write with atomic commits.
//!
//! The complete file is checked when it is opened, since redb's reads verify no checksums. Commits have two phases: so a
//! damaged newest commit is an error, where redb would silently roll it back otherwise.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError, TableDefinition,
};

use super::state::{DiskWrite, State};
use crate::store::{Entry, Lease, LeaseId, Revision, StoreError};

const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
/// TTLs in milliseconds.
const LEASES: TableDefinition<'_, u64, u64> = TableDefinition::new("leases");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

const FORMAT: &str = "format";
const REVISION: &str = "revision";
const NEWEST_LEASE: &str = "newest-lease";
/// Format version that this program writes.
const CURRENT_FORMAT: u64 = 1;

/// Cache of redb, in bytes; small, since the complete content is in memory already.
const CACHE: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// `None`: it has failed and has to be reopened.
    database: Option<Database>,
}

impl Disk {
    /// Opens or creates the file and reads it. Returns whether it was created.
    pub(super) fn open(path: &Path) -> Result<(Self, State, bool), StoreError> {
        let mut disk = Self { path: path.to_owned(), database: None };
        let created = match path.metadata() {
            Ok(metadata) if metadata.len() == 0 => return Err(disk.damaged("it is empty")),
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create()?,
            Err(error) => return Err(disk.refused(&error)),
        };
        let state = disk.reload(Duration::ZERO)?;
        Ok((disk, state, created))
    }

    /// Creates the file under a temporary name and links it when it is complete: a process that is killed meanwhile
    /// leaves no partial file, and of two concurrent processes the second uses the file of the first and gets `false`.
    fn create(&self) -> Result<bool, StoreError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".new-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let temporary = PathBuf::from(name);
        // Left by a killed process that had the same process ID.
        let _ = std::fs::remove_file(&temporary);
        let created =
            self.create_at(&temporary).and_then(|()| match std::fs::hard_link(&temporary, &self.path) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(self.refused(&error)),
            });
        let _ = std::fs::remove_file(&temporary);
        if let Some(directory) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let synced = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(|error| self.refused(&error))?;
        }
        created
    }

    fn create_at(&self, temporary: &Path) -> Result<(), StoreError> {
        let database = Database::builder().create(temporary).map_err(|error| self.not_opened(error))?;
        let mut disk = Self { path: self.path.clone(), database: Some(database) };
        // A store that is created again after a loss must not reuse lease IDs that clients may still have, and its
        // revisions are above the old ones, unless the clock was set back further than that.
        let base = RandomState::new().hash_one(temporary) & 0x7fff_ffff_0000_0000;
        #[expect(clippy::disallowed_methods, reason = "the first revision; nothing waits for it")]
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        // Below 2^53, the limit of exact numbers in JSON, until the year 2248.
        let revision = u64::try_from(since.as_millis()).unwrap_or(0) << 10;
        disk.write(&[], Revision(revision), base)
    }

    /// Opens or, after a failure, reopens the file.
    pub(super) fn reload(&mut self, now: Duration) -> Result<State, StoreError> {
        // It has to be closed before it can be reopened.
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
            let why = format!("format {format}, expected {CURRENT_FORMAT}: written by another version");
            return Err(self.damaged(&why));
        }
        let entries: Option<Vec<_>> = entries.into_iter().collect();
        let entries = entries.ok_or_else(|| self.damaged("an entry is too short"))?;
        Ok(State::loaded(Revision(revision), newest_lease, entries, leases, now))
    }

    /// Writes all changes in one commit.
    pub(super) fn write(
        &mut self,
        to_disk: &[DiskWrite],
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
                        DiskWrite::Entry(entry) => {
                            entries.insert(entry.key.as_str(), encode(entry).as_slice())?;
                        }
                        DiskWrite::DeleteEntry(key) => drop(entries.remove(key.as_str())?),
                        DiskWrite::Lease(lease) => {
                            // Rounded up, to be not shorter than granted.
                            let ttl = lease.ttl.as_micros().div_ceil(1000);
                            let ttl = u64::try_from(ttl).unwrap_or(u64::MAX);
                            leases.insert(lease.id.0, ttl)?;
                        }
                        DiskWrite::DeleteLease(id) => drop(leases.remove(id.0)?),
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
        StoreError::Corrupt(format!("the file {named} is damaged or not a store, and is not modified: {why}"))
    }

    fn not_opened(&self, error: DatabaseError) -> StoreError {
        match error {
            DatabaseError::DatabaseAlreadyOpen => {
                StoreError::Unavailable(format!("the store {} is in use by another process", self.named()))
            }
            DatabaseError::Storage(StorageError::Io(error)) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => self.damaged(&error.to_string()),
                io::ErrorKind::StorageFull => StoreError::Full(format!("{}: {error}", self.named())),
                _ => self.refused(&error),
            },
            error => self.damaged(&error.to_string()),
        }
    }

    /// A failed commit may still be present when the file is reopened.
    fn not_written(&self, error: &redb::Error) -> StoreError {
        match error {
            redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
                StoreError::Full(format!("{}: {error}", self.named()))
            }
            error => StoreError::Unknown(format!("{}: {error}", self.named())),
        }
    }
}

/// Format: created, changed, lease (8 bytes each, big-endian; lease 0: none), value.
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
