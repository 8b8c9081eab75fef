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

/// The text with control characters, line separators and changes of the writing direction escaped, so that it is a single
/// line and cannot pretend to be something else on a terminal.
#[must_use]
pub fn one_line(text: &str) -> String {
    let escaped = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if escaped(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}
