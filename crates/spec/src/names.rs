//! Names of peers: in the graveyard, in another, or an address.

use std::path::{Path, PathBuf};

/// The longest name of a tombstone, in bytes: what a file system takes, with room for ours beside it.
const LONGEST: usize = 200;

/// What the name of a peer stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerName<'a> {
    /// A tombstone in the graveyard.
    Here(&'a str),
    /// A tombstone in another.
    Elsewhere(&'a Path),
    /// An HTTP server.
    Url,
}

impl<'a> PeerName<'a> {
    /// Of a name that was checked.
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

    /// Where its tombstone is.
    #[must_use]
    pub fn path(&self, graveyard: &Path) -> PathBuf {
        match self {
            Self::Here(name) => graveyard.join(name),
            Self::Elsewhere(path) => path.to_path_buf(),
            Self::Url => PathBuf::new(),
        }
    }
}

/// Is it an address?
#[must_use]
pub fn is_url(name: &str) -> bool {
    name.starts_with("http://") || name.starts_with("https://")
}

/// Whether a tombstone may have this name.
pub fn check(name: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("'{name}' is no name of a tombstone: {why}"));
    match name {
        "" => wrong("it is empty"),
        "." | ".." => wrong("it is a directory"),
        _ if name.starts_with('.') => wrong("it begins with a dot"),
        _ if name.len() > LONGEST => wrong("it is longer than 200 bytes"),
        _ if name.contains('/') => wrong("it holds a /"),
        _ if name.chars().any(char::is_control) => wrong("it holds a control character"),
        _ => Ok(()),
    }
}

/// Whether a peer may have this name: a tombstone's, or the whole path of one.
pub fn check_peer(name: &str) -> Result<(), String> {
    let Some((directory, file)) = name.rsplit_once('/') else { return check(name) };
    if !directory.starts_with('/') {
        return Err(format!("'{name}': expected the name of a tombstone, or its whole path from / on"));
    }
    check(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
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
