//! `sexton install DIR`: links under the names of the tools that we stand in for.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{kapo, kubexit, process_wrapper};

/// The names that we answer to, besides our own.
const NAMES: [&str; 3] = [kapo::NAME, kubexit::NAME, process_wrapper::NAME];

/// Why links could not be made.
#[derive(Debug, Error)]
pub enum InstallError {
    /// We do not know where we are.
    #[error("cannot find our own executable: {0}")]
    Own(#[source] io::Error),
    /// The directory cannot be made.
    #[error("cannot make the directory {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is something of that name already.
    #[error("{} is there already and does not lead to us: remove it first", .0.display())]
    Taken(PathBuf),
    /// The link cannot be made.
    #[error("cannot make the link {}: {source}", path.display())]
    Link {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes the links and tells which. What is there already is left alone, and an error unless it leads here.
pub fn install(directory: &Path) -> Result<String, InstallError> {
    let own = std::env::current_exe().map_err(InstallError::Own)?;
    fs::create_dir_all(directory)
        .map_err(|source| InstallError::Directory { path: directory.to_owned(), source })?;
    let mut told = String::new();
    for name in NAMES {
        let path = directory.join(name);
        match symlink(&own, &path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::canonicalize(&path).ok() != fs::canonicalize(&own).ok() {
                    return Err(InstallError::Taken(path));
                }
            }
            Err(source) => return Err(InstallError::Link { path, source }),
        }
        told += &format!("{} -> {}\n", path.display(), own.display());
    }
    Ok(told)
}
