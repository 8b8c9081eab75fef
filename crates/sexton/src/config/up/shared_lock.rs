//! process-wrapper's `-shared-lock`: a lock server beside the processes, as a process that is ourselves.

use std::time::Duration;

use super::super::raw::native::{File, Handler, Lifecycle, Process, Sleep};
use super::super::raw::words::{Condition, DependsOn, HumanDuration, TextList};
use super::CliOverrides;
use spec::program::{AS_SEXTON, ourselves};

/// What it is called.
const NAME: &str = "shared-lock";
/// How long it stays when all who have locks have ended.
const STAYS: Duration = Duration::from_millis(300);

/// Adds it, if it is wanted.
pub(super) fn insert(beside: &CliOverrides, file: &mut File) {
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
        command: Some(TextList(words.collect())),
        notify: Some("systemd".to_owned()),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(Handler {
                sleep: Some(Sleep { seconds: Some(HumanDuration(STAYS)) }),
                ..Handler::default()
            }),
            ..Lifecycle::default()
        }),
        ..Process::default()
    };
    // Those who have locks are ended before it, and it stays a moment longer, so that they are given back.
    for (_, other) in file.processes.0.iter_mut().filter(|(_, other)| other.lock.is_some()) {
        let needs = other.depends_on.get_or_insert_with(|| DependsOn(Vec::new()));
        needs.0.push((NAME.to_owned(), Some(Condition::Started)));
    }
    file.processes.0.insert(0, (NAME.to_owned(), process));
}
