//! The event journal: all events of the engine as lines of JSON, each written before the engine handles it, so that a
//! failure can be replayed (`sexton debug replay`) and turned into a test.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use engine::pod::Seed;
use engine::{Event, Time};
use serde::{Deserialize, Serialize};

/// The version of the format.
pub const VERSION: u32 = 3;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Head {
    /// [`VERSION`].
    pub version: u32,
    /// The initial state of the engine.
    pub seed: Seed,
}

/// Every other line: an event.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    pub at: Time,
    pub event: Event,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Creates a journal; overwrites an existing file.
    pub fn begin(path: &Path, seed: &Seed) -> io::Result<Self> {
        let mut journal = Self { file: File::create(path)?, path: path.to_owned() };
        journal.write(&Head { version: VERSION, seed: seed.clone() })?;
        Ok(journal)
    }

    /// Appends an event. After an error (such as a full disk) the journal must not be used any more.
    pub fn note(&mut self, at: Time, event: &Event) -> io::Result<()> {
        self.write(&Line { at, event: event.clone() })
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        // A single write: the line is complete even if the supervisor is killed right after it.
        self.file.write_all(&text)
    }
}
