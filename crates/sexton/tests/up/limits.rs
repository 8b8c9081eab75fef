//! Resource limits and usage.

use super::{ends, up};
use crate::harness::skipped;

#[test]
fn a_process_over_its_memory_limit_is_killed_with_the_reason() {
    let hog = "x = bytearray(200 << 20); import time; time.sleep(1000)";
    let done = ends(&format!(
        "processes:\n  hog: {{command: [python3, -c, '{hog}'], restartPolicy: Never, resources: {{limits: {{memory: 60Mi}}}}}}\n"
    ));
    assert_eq!(done.code, 137, "{}", done.stderr);
    assert!(
        done.stderr.contains("OOMKilled") && done.stderr.contains("the limit of 60 MiB"),
        "{}",
        done.stderr
    );
}

#[test]
fn the_memory_of_the_whole_tree_counts() {
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
fn resource_usage_is_shown_for_each_tree() {
    let mut up = up(
        "processes:\n  busy: {command: [sh, -c, 'sh -c \"while :; do :; done\" & wait']}\n  idle: {command: [sleep, 1000]}\n",
    );
    up.wait_ready("idle");
    let busy = up.wait_until("busy", "busy", |it| it["usage"]["cpuSeconds"].as_f64() > Some(0.1));
    assert_eq!(busy["usage"]["processes"], 2);
    assert!(up.process("idle")["usage"]["cpuSeconds"].as_f64() < Some(0.1));
}

/// A directory in a tree of control groups, removed when the test is over.
struct Cgroup(std::path::PathBuf);

impl Cgroup {
    fn new(name: &str) -> Option<Self> {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(std::path::PathBuf::from);
        let root = roots.into_iter().find(|root| root.join("cgroup.controllers").exists())?;
        let path = root.join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir(&path).ok()?;
        Some(Self(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn in_a_control_group_no_process_escapes_and_nothing_is_left() {
    let Some(cgroup) = Cgroup::new("sexton-test") else {
        return skipped("a writable cgroup v2 hierarchy (/sys/fs/cgroup), and root");
    };
    // It leaves its group and its session, and clears its environment: only the control group still knows it.
    let directory = super::place(
        "processes:\n  web: {command: [sh, -c, 'env -i $CHILD daemon $DIR/daemon; exec sleep 1000']}\n",
    );
    let file = directory.path().join("sexton.yaml");
    let script = format!(
        "echo $$ > {}/cgroup.procs && exec {} -p 0 -i 127.0.0.1 up --control none {}",
        cgroup.0.display(),
        crate::harness::SEXTON,
        file.display()
    );
    let sexton =
        crate::harness::Sexton::program("/bin/sh".as_ref(), ["-c", &script]).env("SEXTON_CGROUP", "on");
    let mut sexton = sexton.start();
    let daemon: i32 = testkit::wait_until("the daemon", || {
        std::fs::read_to_string(directory.path().join("daemon")).ok()?.trim().parse().ok()
    });
    let inside = std::fs::read_to_string(format!("/proc/{daemon}/cgroup")).unwrap_or_default();
    assert!(inside.lines().any(|line| line.starts_with("0::") && line.contains("-web.")), "{inside}");
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 0, "{}", sexton.stderr());
    assert!(!testkit::tree::is_alive(daemon));
    let left: Vec<_> = std::fs::read_dir(&cgroup.0)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
