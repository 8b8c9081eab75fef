//! Processes that the commands of probes and hooks leave behind.

use testkit::tree;

use super::up;

/// The descendants of sexton with this name.
fn count(up: &super::Up, name: &str) -> usize {
    up.sexton.descendants().values().filter(|found| found.contains(name)).count()
}

#[test]
fn processes_left_by_probes_and_hooks_end_with_their_attempt() {
    let leave = |file: &str| format!("$CHILD deaf $DIR/{file} >/dev/null 2>&1 </dev/null");
    let text = format!(
        "processes:\n  \
         passing:\n    command: [sleep, inf]\n    livenessProbe: {{exec: {{command: [sh, -c, 'setsid {} & while [ ! -e $DIR/passed ]; do sleep 0.01; done']}}, periodSeconds: 1}}\n  \
         hanging:\n    command: [sleep, inf]\n    livenessProbe: {{exec: {{command: [sh, -c, 'setsid {} & sleep inf']}}, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 1000}}\n  \
         nested:\n    command: [sleep, inf]\n    readinessProbe: {{exec: {{command: [sh, -c, 'setsid sh -c \"setsid {} & sleep inf\" & while [ ! -e $DIR/nested ]; do sleep 0.01; done']}}, periodSeconds: 1}}\n  \
         hook:\n    command: [sleep, inf]\n    lifecycle: {{postStart: {{exec: {{command: [sh, -c, 'setsid {} & while [ ! -e $DIR/hooked ]; do sleep 0.01; done']}}}}}}\n",
        leave("passed"),
        leave("hung"),
        leave("nested"),
        leave("hooked")
    );
    let mut up = up(&text);
    for (name, file) in [("passing", "passed"), ("nested", "nested"), ("hook", "hooked")] {
        up.wait_ready(name);
        testkit::wait_until(file, || up.path(file).exists().then_some(()));
    }
    testkit::wait_until("hung", || up.path("hung").exists().then_some(()));
    // Each probe leaves one more: they do not add up.
    let pids = |up: &super::Up| -> Vec<i32> {
        let files = ["passed", "hung", "nested", "hooked"];
        files.iter().filter_map(|file| up.text(file).trim().parse().ok()).collect()
    };
    let first = pids(&up);
    testkit::wait_until("the first ones are gone", || {
        (!first.iter().any(|pid| tree::is_alive(*pid))).then_some(())
    });
    testkit::wait_until("few are left", || (count(&up, "testkit-child") <= 4).then_some(()));
    let last = pids(&up);
    up.sexton.signal(libc::SIGTERM);
    assert_eq!(up.sexton.wait(), 0, "{}", up.sexton.stderr());
    for pid in last {
        assert!(!tree::is_alive(pid), "{pid} has survived");
    }
}
