//! Names and errors as people read them.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// The last part of a path, as a name for people.
#[must_use]
pub fn base_name(path: &OsStr) -> String {
    Path::new(path).file_name().unwrap_or(path).to_string_lossy().into_owned()
}

/// The system's words, without the number that the standard library appends; our own as they are.
#[must_use]
pub fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    if error.raw_os_error().is_none() && error.get_ref().is_some() {
        return text;
    }
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// A URL without the name and the password that it may hold.
#[must_use]
pub fn without_login(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://(hidden)@{host}/{path}"),
        None => url.to_owned(),
    }
}

/// The same on one line and without control characters, whatever a name in it may hold.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}
