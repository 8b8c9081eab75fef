//! Text helpers for names and errors in messages.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// The last component of a path.
#[must_use]
pub fn base_name(path: &OsStr) -> String {
    Path::new(path).file_name().unwrap_or(path).to_string_lossy().into_owned()
}

/// The text of a system error without the error number that the standard library appends; other errors unchanged.
#[must_use]
pub fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    if error.raw_os_error().is_none() && error.get_ref().is_some() {
        return text;
    }
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// A URL with user name and password hidden.
#[must_use]
pub fn hide_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://(hidden)@{host}/{path}"),
        None => url.to_owned(),
    }
}

/// The text with control characters escaped, so that it is a single line.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}
