//! Names of peers: tombstones in this or another graveyard, or URLs.

use std::path::{Path, PathBuf};

/// The maximum length of a tombstone's name in bytes: the file system's limit, less a suffix for temporary files.
const MAX_NAME: usize = 200;

/// A parsed name of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerName<'a> {
    /// A tombstone in the configured graveyard.
    Here(&'a str),
    /// The path of a tombstone in another graveyard.
    Elsewhere(&'a Path),
    /// An HTTP server.
    Url,
}

impl<'a> PeerName<'a> {
    /// Parses a valid name.
    #[must_use]
    pub fn of(name: &'a str) -> Self {
        if is_url(name) {
            Self::Url
        } else if name.contains('/') {
            Self::Elsewhere(Path::new(name))
        } else {
            Self::Here(name)
        }
    }

    /// The path of its tombstone.
    #[must_use]
    pub fn path(&self, graveyard: &Path) -> PathBuf {
        match self {
            Self::Here(name) => graveyard.join(name),
            Self::Elsewhere(path) => path.to_path_buf(),
            Self::Url => PathBuf::new(),
        }
    }
}

/// Whether the name is a URL.
#[must_use]
pub fn is_url(name: &str) -> bool {
    name.starts_with("http://") || name.starts_with("https://")
}

/// Checks the name of a tombstone.
pub fn check(name: &str) -> Result<(), String> {
    let invalid = |why: &str| Err(format!("'{name}' is not a valid tombstone name: {why}"));
    match name {
        "" => invalid("it is empty"),
        "." | ".." => invalid("it is a directory"),
        _ if name.starts_with('.') => invalid("it starts with a dot"),
        _ if name.len() > MAX_NAME => invalid("it is longer than 200 bytes"),
        _ if name.contains('/') => invalid("it contains a /"),
        _ if name.chars().any(char::is_control) => invalid("it contains a control character"),
        _ => Ok(()),
    }
}

/// Checks the name of a peer: a tombstone's name, or an absolute path of one.
pub fn check_peer(name: &str) -> Result<(), String> {
    let Some((directory, file)) = name.rsplit_once('/') else { return check(name) };
    if !directory.starts_with('/') {
        return Err(format!("'{name}': expected a tombstone name or an absolute path"));
    }
    check(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_names_that_leave_the_directory() {
        for name in ["", ".", "..", ".a", "a/b", "/a", "a\0b", "a\nb", &"x".repeat(201)] {
            assert!(check(name).is_err(), "{name:?}");
        }
        assert!(check("app-1.main").is_ok());
        assert!(check_peer("/other/graveyard/app").is_ok());
        for name in ["../app", "other/app", "/other/", "/other/.."] {
            assert!(check_peer(name).is_err(), "{name:?}");
        }
        assert_eq!(PeerName::of("app").path(Path::new("/g")), Path::new("/g/app"));
        assert_eq!(PeerName::of("/h/app").path(Path::new("/g")), Path::new("/h/app"));
    }
}
