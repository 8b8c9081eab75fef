//! `sexton graves DIR`: the tombstones of a graveyard.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;

use crate::client::table::{aligned, span};
use crate::tombstones::tombstone::Tombstone;
use crate::tombstones::writer::read_tombstone;
use linux::clock::rfc3339;
use spec::text::{describe, one_line};

/// The directory cannot be read.
#[derive(Debug, Error)]
#[error("cannot read the graveyard {}: {}", path.display(), describe(source))]
pub struct GravesError {
    path: PathBuf,
    source: io::Error,
}

/// A tombstone, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Grave {
    name: String,
    /// announced, born, ready, dead, gone or unreadable.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    born: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    died: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<String>,
    /// The time of the last change of the state.
    #[serde(skip)]
    since: Option<Timestamp>,
}

/// Lists the tombstones in a directory.
pub fn graves(directory: &Path, json: bool) -> Result<String, GravesError> {
    let wrong = |source| GravesError { path: directory.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(wrong)? {
        let name = entry.map_err(wrong)?.file_name();
        // Names with a leading dot are temporary files of writers.
        if !name.as_encoded_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    names.sort();
    let graves: Vec<Grave> = names
        .iter()
        .filter(|name| !directory.join(name).is_dir())
        .map(|name| grave(name.to_string_lossy().into_owned(), read_tombstone(&directory.join(name))))
        .collect();
    if json {
        let text = serde_json::to_string_pretty(&graves).unwrap_or_default();
        return Ok(format!("{text}\n"));
    }
    let now = Timestamp::now();
    let mut rows = vec![["NAME", "STATE", "AGE", "EXIT", "REASON"].map(str::to_owned)];
    for grave in graves {
        let or_none = |word: Option<String>| word.unwrap_or_else(|| "-".to_owned());
        rows.push([
            one_line(&grave.name),
            grave.state.to_owned(),
            or_none(grave.since.map(|at| span(now.duration_since(at).as_secs().max(0)))),
            or_none(grave.exit_code.map(|code| code.to_string())),
            one_line(&or_none(grave.reason)),
        ]);
    }
    Ok(aligned(&rows, |_| None))
}

fn grave(name: String, found: io::Result<(Tombstone, bool)>) -> Grave {
    let (stone, abandoned, trouble) = match found {
        Ok((stone, abandoned)) => (stone, abandoned, None),
        Err(error) => (Tombstone::default(), false, Some(describe(&error))),
    };
    let (state, since) = match &stone {
        _ if trouble.is_some() => ("unreadable", None),
        Tombstone { died: Some(died), .. } => ("dead", Some(*died)),
        _ if abandoned => ("gone", None),
        Tombstone { ready: Some(ready), .. } => ("ready", Some(*ready)),
        Tombstone { born: Some(born), .. } => ("born", Some(*born)),
        _ => ("announced", None),
    };
    let gone = || "the writer was killed and could not record its exit".to_owned();
    Grave {
        name,
        state,
        born: stone.born.map(rfc3339),
        ready: stone.ready.map(rfc3339),
        died: stone.died.map(rfc3339),
        exit_code: stone.exit_code,
        signal: stone.signal,
        reason: trouble.or(stone.reason).or_else(|| (state == "gone").then(gone)),
        incarnation: stone.incarnation,
        since,
    }
}
