//! How much a process may use, and how much it uses.

use super::{ends, up};

#[test]
fn a_process_that_uses_too_much_memory_is_killed_and_that_is_its_reason() {
    let hog = "x = bytearray(200 << 20); import time; time.sleep(1000)";
    let done = ends(&format!(
        "processes:\n  hog: {{command: [python3, -c, '{hog}'], restartPolicy: Never, resources: {{limits: {{memory: 60Mi}}}}}}\n"
    ));
    assert_eq!(done.code, 137, "{}", done.stderr);
    assert!(
        done.stderr.contains("OOMKilled") && done.stderr.contains("its limit is 60 MiB"),
        "{}",
        done.stderr
    );
}

#[test]
fn the_whole_tree_counts() {
    let hog = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = bytearray(200 << 20); import time; time.sleep(1000)'])";
    let mut up = up(&format!(
        "processes:\n  hog:\n    command: [python3, -c, \"{hog}\"]\n    resources: {{limits: {{memory: 60Mi}}}}\n  small: {{command: [sleep, 1000], resources: {{limits: {{memory: 60Mi}}}}}}\n"
    ));
    let hog = up.wait_until("hog", "restarted", |it| it["starts"].as_u64() >= Some(2));
    assert_eq!(
        (hog["lastExit"]["outOfMemory"].as_bool(), hog["lastExit"]["reasonLabel"].as_str()),
        (Some(true), Some("OOMKilled"))
    );
    assert_eq!(up.process("small")["starts"], 1);
}

#[test]
fn what_they_use_is_told_for_each_tree() {
    let mut up = up(
        "processes:\n  busy: {command: [sh, -c, 'sh -c \"while :; do :; done\" & wait']}\n  idle: {command: [sleep, 1000]}\n",
    );
    up.wait_ready("idle");
    let busy = up.wait_until("busy", "busy", |it| it["usage"]["cpuSeconds"].as_f64() > Some(0.1));
    assert_eq!(busy["usage"]["processes"], 2);
    assert!(up.process("idle")["usage"]["cpuSeconds"].as_f64() < Some(0.1));
}
