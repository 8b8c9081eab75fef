//! The event journal: every event of the engine as a line of JSON, written before the engine sees it, so
//! that a fault from the field can be replayed (`sexton debug replay`) and become a test.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use engine::pod::Seed;
use engine::{Event, Time};
use serde::{Deserialize, Serialize};

/// The form of the lines.
pub const VERSION: u32 = 3;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Head {
    /// [`VERSION`].
    pub version: u32,
    /// What the machine was made of.
    pub seed: Seed,
}

/// Every other line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Time,
    /// What.
    pub event: Event,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Begins one; a file that is there is overwritten.
    pub fn begin(path: &Path, seed: &Seed) -> io::Result<Self> {
        let mut journal = Self { file: File::create(path)?, path: path.to_owned() };
        journal.write(&Head { version: VERSION, seed: seed.clone() })?;
        Ok(journal)
    }

    /// Appends an event. On an error, as of a full disk, the journal is of no more use.
    pub fn note(&mut self, at: Time, event: &Event) -> io::Result<()> {
        self.write(&Line { at, event: event.clone() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        // One write a line: what was written is whole even if we are killed behind it.
        self.file.write_all(&text)
    }
}
