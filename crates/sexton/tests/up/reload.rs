//! Reload.

use super::{With, up, up_with};

const BEFORE: &str = "processes:\n  stays: {command: [sleep, 1000]}\n  changes: {command: [sleep, 1000]}\n  goes: {command: [sleep, 1000]}\n";
const AFTER: &str = "processes:\n  new: {command: [sleep, 1000], dependsOn: [changes]}\n  stays: {command: [sleep, 1000]}\n  changes: {command: [sleep, 1001]}\n";

#[test]
fn a_reload_restarts_only_changed_processes() {
    let mut up = up(BEFORE);
    up.wait_ready("goes");
    let (stays, changes, goes) = (up.pid("stays"), up.pid("changes"), up.pid("goes"));
    up.rewrite(AFTER);
    assert_eq!(up.asked(&["reload"]), "new: added\nchanges: restarted\ngoes: stopped\n1 unchanged\n");
    up.wait_ready("new");
    assert_eq!(up.pid("stays"), stays);
    assert_ne!(up.pid("changes"), changes);
    testkit::wait_until("it has gone", || (!testkit::tree::is_alive(goes)).then_some(()));
    assert_eq!(up.asked(&["names"]), "new\nstays\nchanges\n");
    for _ in 0..3 {
        assert_eq!(up.asked(&["reload"]), "3 unchanged\n", "the same again changes nothing");
    }
    assert_eq!(up.pid("stays"), stays);
}

#[test]
fn sighup_reloads_and_an_invalid_file_changes_nothing() {
    let mut up = up(BEFORE);
    up.wait_ready("goes");
    up.rewrite("processes: {stays: {comand: x}}");
    let refused = up.ask(&["reload"]);
    assert!(refused.code == 1 && refused.stderr.contains("did you mean 'command'"), "{}", refused.stderr);
    up.sexton.signal(libc::SIGHUP);
    up.sexton.wait_for_stderr("cannot reload the configuration, nothing has changed");
    assert_eq!(up.asked(&["names"]), "stays\nchanges\ngoes\n");
    up.rewrite(AFTER);
    up.sexton.signal(libc::SIGHUP);
    up.wait_ready("new");
}

#[test]
fn a_stop_during_a_reload_stops_everything_and_a_reload_during_a_stop_is_rejected() {
    let deaf = "processes:\n  deaf: {command: [$CHILD, deaf, $DIR/ready], readinessProbe: {file: {path: $DIR/ready}, periodSeconds: 20ms}}\n";
    let mut up = up_with(deaf, &With { arguments: &["--shutdown-deadline", "1s"], ..With::default() });
    up.wait_ready("deaf");
    up.rewrite("terminationGracePeriodSeconds: 600\nprocesses: {deaf: {command: [sleep, 1000]}, other: {command: [sleep, 1000]}}");
    up.asked(&["reload"]);
    up.wait_for_phase("other", "running");
    up.sexton.signal(libc::SIGTERM);
    up.sexton.wait_for_stderr("stop requested");
    let refused = up.ask(&["reload"]);
    assert!(refused.code == 1 && refused.stderr.contains("shutting down"), "{}", refused.stderr);
    up.sexton.wait();
}
