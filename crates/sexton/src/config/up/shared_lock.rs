//! process-wrapper's `-shared-lock`: a lock server beside the processes, as a process that is ourselves.

use super::super::raw::native::{File, Process};
use super::super::raw::words::Words;
use super::Beside;
use crate::cli::AS_SEXTON;
use crate::process::ourselves;

/// What it is called.
const NAME: &str = "shared-lock";

/// Adds it, if it is wanted.
pub(super) fn insert(beside: &Beside, file: &mut File) {
    let Some(more) = &beside.lock_server else { return };
    let own = [
        ourselves().to_string_lossy().into_owned(),
        AS_SEXTON.to_owned(),
        "lock".to_owned(),
        "serve".to_owned(),
    ];
    // What looks like a variable is none.
    let words = own.iter().chain(more).map(|word| word.replace('$', "$$"));
    let process = Process {
        command: Some(Words(words.collect())),
        notify: Some("systemd".to_owned()),
        ..Process::default()
    };
    // Whoever wants a lock of it at once finds it starting.
    file.processes.0.insert(0, (NAME.to_owned(), process));
}
