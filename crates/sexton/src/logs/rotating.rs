//! A log file that does not grow for ever: when it is full it is put aside, and the oldest of those goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// How large it becomes, in bytes.
pub const FULL: u64 = 64 << 10;
/// How many of before are kept: FILE.1 is the newest of them.
pub const KEPT: u32 = 3;

/// The file that is written to.
#[derive(Debug)]
pub struct Rotating {
    path: PathBuf,
    file: File,
    /// Only what is a file can be put aside: `/dev/null` stays what it is.
    is_regular: bool,
    size: u64,
    /// What was written last could not be.
    in_trouble: bool,
}

impl Rotating {
    /// Goes on at the end of what is there.
    pub fn open(path: &Path) -> io::Result<Self> {
        // A FIFO that nobody reads must not hold us up.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().append(true).create(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        let (is_regular, size) = (metadata.is_file(), metadata.len());
        Ok(Self { path: path.to_owned(), file, is_regular, size, in_trouble: false })
    }

    /// Writes a line, with its end. An error is returned once, when it comes up.
    pub fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        let turned =
            if self.is_regular && self.size > 0 && self.size + length > FULL { self.turn() } else { Ok(()) };
        if turned.is_err() {
            // It goes on where it is, and tries again when as much has come again.
            self.size = 0;
        }
        let written = self.file.write_all(line).and(turned);
        match written {
            Ok(()) => {
                self.size += length;
                self.in_trouble = false;
                Ok(())
            }
            Err(_) if self.in_trouble => Ok(()),
            Err(error) => {
                self.in_trouble = true;
                Err(error)
            }
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        for number in (1..=KEPT).rev() {
            let from = if number == 1 { self.path.clone() } else { self.aside(number - 1) };
            match fs::rename(from, self.aside(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        *self = Self::open(&self.path)?;
        Ok(())
    }

    fn aside(&self, number: u32) -> PathBuf {
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
    fn it_is_put_aside_when_it_is_full_and_three_are_kept() -> io::Result<()> {
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
            (1024, FULL)
        );
        // It goes on where it was.
        drop(log);
        Rotating::open(&path)?.write(b"more\n")?;
        assert_eq!(fs::metadata(&path)?.len(), 1029);
        Ok(())
    }

    #[test]
    fn what_is_no_file_is_not_put_aside() -> io::Result<()> {
        let directory = testkit::private_directory();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)?;
        assert!(Rotating::open(&fifo).is_err(), "nobody reads it");
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
    fn what_cannot_be_put_aside_goes_on_where_it_is() -> io::Result<()> {
        let directory = testkit::private_directory();
        let path = directory.path().join("log");
        let mut log = Rotating::open(&path)?;
        // The second cannot be put where a directory is.
        fs::create_dir_all(directory.path().join("log.3/in"))?;
        fs::write(directory.path().join("log.2"), "")?;
        let line = [vec![b'x'; 1023], b"\n".to_vec()].concat();
        let failed = (0..200).filter(|_| log.write(&line).is_err()).count();
        assert!((1..=4).contains(&failed), "{failed}");
        assert_eq!(fs::metadata(&path)?.len(), 200 * 1024, "no line is lost");
        Ok(())
    }

    #[test]
    fn a_full_disk_is_told_once() -> io::Result<()> {
        let mut log = Rotating::open(Path::new("/dev/full"))?;
        assert!(log.write(b"x\n").is_err());
        assert!(log.write(b"y\n").is_ok());
        Ok(())
    }
}
