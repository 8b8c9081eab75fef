//! A log file that is rotated when it is full; the oldest backup is removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The size at which the file is rotated, in bytes.
pub const MAX_SIZE: u64 = 64 << 10;
/// The number of backups; FILE.1 is the newest.
pub const BACKUPS: u32 = 3;

/// A rotated log file.
#[derive(Debug)]
pub struct Rotating {
    path: PathBuf,
    file: File,
    /// Only regular files are rotated, not `/dev/null` and the like.
    is_regular: bool,
    size: u64,
    /// The last write or rotation failed.
    failing: bool,
}

impl Rotating {
    /// Opens the file for appending.
    pub fn open(path: &Path) -> io::Result<Self> {
        // The open of a FIFO without a reader must not block.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().append(true).create(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        let (is_regular, size) = (metadata.is_file(), metadata.len());
        Ok(Self { path: path.to_owned(), file, is_regular, size, failing: false })
    }

    /// Writes a line, including its newline. Of consecutive errors only the first is returned.
    pub fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        let rotated = if self.is_regular && self.size > 0 && self.size + length > MAX_SIZE {
            self.rotate()
        } else {
            Ok(())
        };
        if rotated.is_err() {
            // Keep writing to the full file; try again after as much output.
            self.size = 0;
        }
        let written = self.file.write_all(line).and(rotated);
        match written {
            Ok(()) => {
                self.size += length;
                self.failing = false;
                Ok(())
            }
            Err(_) if self.failing => Ok(()),
            Err(error) => {
                self.failing = true;
                Err(error)
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..=BACKUPS).rev() {
            let from = if number == 1 { self.path.clone() } else { self.backup(number - 1) };
            match fs::rename(from, self.backup(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        *self = Self::open(&self.path)?;
        Ok(())
    }

    fn backup(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn rotates_a_full_file_and_keeps_three_backups() -> io::Result<()> {
        let directory = testkit::private_directory();
        let path = directory.path().join("log");
        let mut log = Rotating::open(&path)?;
        let line = [vec![b'x'; 1023], b"\n".to_vec()].concat();
        for _ in 0..64 * 5 + 1 {
            log.write(&line)?;
        }
        let mut names: Vec<_> = fs::read_dir(directory.path())?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()?;
        names.sort();
        assert_eq!(names, ["log", "log.1", "log.2", "log.3"]);
        assert_eq!(
            (fs::metadata(&path)?.len(), fs::metadata(directory.path().join("log.3"))?.len()),
            (1024, MAX_SIZE)
        );
        // Reopening appends.
        drop(log);
        Rotating::open(&path)?.write(b"more\n")?;
        assert_eq!(fs::metadata(&path)?.len(), 1029);
        Ok(())
    }

    #[test]
    fn does_not_rotate_a_fifo() -> io::Result<()> {
        let directory = testkit::private_directory();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)?;
        assert!(Rotating::open(&fifo).is_err(), "it has no reader");
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let mut reader = OpenOptions::new().read(true).custom_flags(flags).open(&fifo)?;
        let mut log = Rotating::open(&fifo)?;
        for _ in 0..3 {
            log.write(&vec![b'x'; 40_000])?;
            reader.read_exact(&mut vec![0; 40_000])?;
        }
        assert!(!directory.path().join("fifo.1").exists());
        Ok(())
    }

    #[test]
    fn keeps_writing_when_rotation_fails() -> io::Result<()> {
        let directory = testkit::private_directory();
        let path = directory.path().join("log");
        let mut log = Rotating::open(&path)?;
        // Renaming to a directory that is not empty fails.
        fs::create_dir_all(directory.path().join("log.3/in"))?;
        fs::write(directory.path().join("log.2"), "")?;
        let line = [vec![b'x'; 1023], b"\n".to_vec()].concat();
        let failed = (0..200).filter(|_| log.write(&line).is_err()).count();
        assert!((1..=4).contains(&failed), "{failed}");
        assert_eq!(fs::metadata(&path)?.len(), 200 * 1024, "no line is lost");
        Ok(())
    }

    #[test]
    fn reports_a_full_disk_once() -> io::Result<()> {
        let mut log = Rotating::open(Path::new("/dev/full"))?;
        assert!(log.write(b"x\n").is_err());
        assert!(log.write(b"y\n").is_ok());
        Ok(())
    }
}
