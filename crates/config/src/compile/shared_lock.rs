//! process-wrapper's `-shared-lock`: a lock server, added as a process that runs sexton itself.

use std::time::Duration;

use crate::compile::CliOverrides;
use crate::file::native::{File, Handler, Lifecycle, Process, Sleep};
use crate::file::scalars::{Condition, DependsOn, HumanDuration, TextList};
use spec::program::{AS_SEXTON, own_executable};

/// The process name.
const NAME: &str = "shared-lock";
/// How long it keeps running after all lock holders have exited.
const LINGER: Duration = Duration::from_millis(300);

/// Adds the lock server, if enabled.
pub(super) fn insert(overrides: &CliOverrides, file: &mut File) {
    let Some(more) = &overrides.lock_server else { return };
    let own = [
        own_executable().to_string_lossy().into_owned(),
        AS_SEXTON.to_owned(),
        "lock".to_owned(),
        "serve".to_owned(),
    ];
    // Prevents the expansion of variables.
    let arguments = own.iter().chain(more).map(|word| word.replace('$', "$$"));
    let process = Process {
        command: Some(TextList(arguments.collect())),
        notify: Some("systemd".to_owned()),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(Handler {
                sleep: Some(Sleep { seconds: Some(HumanDuration(LINGER)) }),
                ..Handler::default()
            }),
            ..Lifecycle::default()
        }),
        ..Process::default()
    };
    // Lock holders are stopped before it, and it lingers so that their locks are released.
    for (_, other) in file.processes.0.iter_mut().filter(|(_, other)| other.lock.is_some()) {
        let needs = other.depends_on.get_or_insert_with(|| DependsOn(Vec::new()));
        needs.0.push((NAME.to_owned(), Some(Condition::Started)));
    }
    file.processes.0.insert(0, (NAME.to_owned(), process));
}
