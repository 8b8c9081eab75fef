//! `sexton install [--copy] DIR`: links under the names of the tools that we stand in for.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{automaton, kapo, kontrol, kubexit, process_wrapper};

/// The names that we answer to, besides our own.
const NAMES: [&str; 5] = [automaton::NAME, kapo::NAME, kontrol::NAME, kubexit::NAME, process_wrapper::NAME];

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
    /// The program cannot be copied.
    #[error("cannot copy this program to {}: {source}", path.display())]
    Copy {
        /// Where.
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

/// Copies this program, so that it is there whole or not at all.
fn copy(own: &Path, path: &Path) -> Result<(), InstallError> {
    let beside = path.with_extension(format!("new.{}", std::process::id()));
    // The mode goes with it.
    let copied = fs::copy(own, &beside).and_then(|_| fs::rename(&beside, path));
    copied.map_err(|source| {
        let _ = fs::remove_file(&beside);
        InstallError::Copy { path: path.to_owned(), source }
    })
}

/// Makes the links, after copying the program if that is wanted, and tells which. What is there already is left
/// alone, and an error unless it leads here.
pub fn install(directory: &Path, with_copy: bool) -> Result<String, InstallError> {
    let own = std::env::current_exe().map_err(InstallError::Own)?;
    fs::create_dir_all(directory)
        .map_err(|source| InstallError::Directory { path: directory.to_owned(), source })?;
    let copied = directory.join("sexton");
    // Relative, since others see the directory at another place.
    let target = if with_copy { PathBuf::from("sexton") } else { own.clone() };
    for path in NAMES.map(|name| directory.join(name)) {
        let leads_to = fs::canonicalize(&path).ok();
        let ours = [fs::canonicalize(&own).ok(), fs::canonicalize(&copied).ok()];
        let is_link = fs::symlink_metadata(&path).map(|it| it.file_type().is_symlink());
        match is_link {
            Err(_) => {}
            // A link of ours from before may lead to the program as it was then.
            Ok(true) if leads_to.is_some() && ours.contains(&leads_to) => {
                fs::remove_file(&path).map_err(|source| InstallError::Link { path: path.clone(), source })?;
            }
            Ok(_) => return Err(InstallError::Taken(path)),
        }
    }
    let mut told = String::new();
    if with_copy {
        copy(&own, &copied)?;
        told += &format!("{}\n", copied.display());
    }
    for path in NAMES.map(|name| directory.join(name)) {
        symlink(&target, &path).map_err(|source| InstallError::Link { path: path.clone(), source })?;
        told += &format!("{} -> {}\n", path.display(), target.display());
    }
    Ok(told)
}
