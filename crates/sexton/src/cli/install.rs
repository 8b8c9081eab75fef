//! `sexton install [--copy] DIR`: links under the names of the older tools.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{automaton, kapo, kontrol, kubexit, process_wrapper};

/// The executable names of the personalities.
const NAMES: [&str; 5] = [automaton::NAME, kapo::NAME, kontrol::NAME, kubexit::NAME, process_wrapper::NAME];

/// Why the links could not be created.
#[derive(Debug, Error)]
pub enum InstallError {
    #[error("cannot find the executable of sexton: {0}")]
    Own(#[source] io::Error),
    #[error("cannot create the directory {}: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("cannot copy the executable to {}: {source}", path.display())]
    Copy { path: PathBuf, source: io::Error },
    /// There is a file of that name already.
    #[error("{} already exists and is not a link to sexton: remove it first", .0.display())]
    Taken(PathBuf),
    #[error("cannot create the link {}: {source}", path.display())]
    Link { path: PathBuf, source: io::Error },
}

/// Copies the executable atomically.
fn copy(own: &Path, path: &Path) -> Result<(), InstallError> {
    let temporary = path.with_extension(format!("new.{}", std::process::id()));
    // fs::copy also copies the mode.
    let copied = fs::copy(own, &temporary).and_then(|_| fs::rename(&temporary, path));
    copied.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        InstallError::Copy { path: path.to_owned(), source }
    })
}

/// Creates the links, after copying the executable if requested, and returns their list. An existing file is an error
/// unless it is a link to sexton.
pub fn install(directory: &Path, with_copy: bool) -> Result<String, InstallError> {
    let own = std::env::current_exe().map_err(InstallError::Own)?;
    fs::create_dir_all(directory)
        .map_err(|source| InstallError::Directory { path: directory.to_owned(), source })?;
    let copied = directory.join("sexton");
    // Relative, because other containers mount the directory at another path.
    let target = if with_copy { PathBuf::from("sexton") } else { own.clone() };
    for path in NAMES.map(|name| directory.join(name)) {
        let leads_to = fs::canonicalize(&path).ok();
        let own_paths = [fs::canonicalize(&own).ok(), fs::canonicalize(&copied).ok()];
        let is_link = fs::symlink_metadata(&path).map(|it| it.file_type().is_symlink());
        match is_link {
            Err(_) => {}
            // An older link to sexton may lead to the previous executable.
            Ok(true) if leads_to.is_some() && own_paths.contains(&leads_to) => {
                fs::remove_file(&path).map_err(|source| InstallError::Link { path: path.clone(), source })?;
            }
            Ok(_) => return Err(InstallError::Taken(path)),
        }
    }
    let mut list = String::new();
    if with_copy {
        copy(&own, &copied)?;
        list += &format!("{}\n", copied.display());
    }
    for path in NAMES.map(|name| directory.join(name)) {
        symlink(&target, &path).map_err(|source| InstallError::Link { path: path.clone(), source })?;
        list += &format!("{} -> {}\n", path.display(), target.display());
    }
    Ok(list)
}
