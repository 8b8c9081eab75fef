//! As PID 1, in an empty read-only root, as another user than root.

use std::fs;
use std::path::Path;

use testkit::{private_directory, tree, wait_until};

use crate::harness::{SEXTON, Sexton, is_root};

/// Runs sexton as PID 1 of its own namespaces; `script` is a shell script that has to `exec` it.
fn as_pid_1(script: &str) -> Sexton {
    let arguments = ["-r", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script];
    Sexton::program(Path::new("/usr/bin/unshare"), arguments)
}

#[test]
fn as_pid_1_the_exit_code_is_that_of_the_program() {
    for (end, code) in [("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        let done =
            as_pid_1(&format!("exec {SEXTON} -p none run -- sh -c '[ $PPID = 1 ] || exit 99; {end}'")).done();
        assert_eq!(done.code, code, "{}", done.stderr);
    }
}

#[test]
fn as_pid_1_sigterm_is_forwarded() {
    let script = format!(
        "exec {SEXTON} -p none run -- sh -c 'trap \"exit 5\" TERM; echo ready > ready; while :; do sleep 0.01; done'"
    );
    let mut sexton = as_pid_1(&script).start();
    sexton.wait_for_file("ready");
    // The only child of unshare is PID 1 inside.
    let init = wait_until("PID 1", || {
        sexton.descendants().iter().find(|(_, name)| name.as_str() == "sexton").map(|(pid, _)| *pid)
    });
    crate::harness::send(init, libc::SIGTERM);
    assert_eq!(sexton.wait(), 5);
}

#[test]
fn as_pid_1_orphans_are_reaped_and_escaped_processes_stopped() {
    let child = testkit::child();
    let script = format!(
        "exec {SEXTON} -p none run -- sh -c '{0} daemon daemon; {0} orphans 200 let-go & while [ ! -e let-go ]; do sleep 0.01; done; exec sleep 1000'",
        child.display()
    );
    let mut sexton = as_pid_1(&script).start();
    sexton.wait_for_file("let-go");
    let init = wait_until("PID 1", || {
        sexton.descendants().iter().find(|(_, name)| name.as_str() == "sexton").map(|(pid, _)| *pid)
    });
    // sleep, the daemon, and the one that made the orphans.
    wait_until("no zombies", || {
        (tree::descendants(init).len() == 3 && tree::zombies(init) == 0).then_some(())
    });
    crate::harness::send(init, libc::SIGTERM);
    assert_eq!(sexton.wait(), 143);
}

#[test]
fn as_pid_1_signals_ignored_at_start_are_handled() {
    // A container runtime may start it with any signal ignored.
    let script = format!("trap '' INT QUIT HUP; exec {SEXTON} -p none supervise -- sleep 1000");
    let mut sexton = as_pid_1(&script).start();
    let inside =
        |name: &str| sexton.descendants().iter().find(|(_, have)| have.as_str() == name).map(|(pid, _)| *pid);
    wait_until("the process", || inside("sleep"));
    let init = inside("sexton").unwrap_or(0);
    crate::harness::send(init, libc::SIGINT);
    assert_eq!(sexton.wait(), 130);
}

#[test]
fn a_process_runs_in_an_empty_read_only_root_as_another_user() {
    let root = private_directory();
    for directory in ["proc", "bin"] {
        fs::create_dir(root.path().join(directory)).unwrap_or_default();
    }
    testkit::copy_executable(SEXTON.as_ref(), &root.path().join("bin/sexton"));
    testkit::copy_executable(&testkit::child(), &root.path().join("bin/child"));
    fs::set_permissions(root.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap_or_default();
    let path = root.path().display();
    let user = if is_root() { "setpriv --no-new-privs chroot --userspec=54321:54321" } else { "chroot" };
    let script = format!(
        "ip link set lo up; mount --bind {path} {path} && mount -t proc proc {path}/proc && mount -o remount,bind,ro {path} \
         && exec {user} {path} /bin/sexton -v -i 127.0.0.1 -p 6666 run -- /bin/child inspect"
    );
    let flags: &[&str] = if is_root() { &[] } else { &["-r"] };
    let arguments = flags.iter().copied().chain([
        "--pid",
        "--mount",
        "--net",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        &script,
    ]);
    let done = Sexton::program(Path::new("/usr/bin/unshare"), arguments).done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.contains("leads: true"), "{}", done.stdout);
    assert!(done.stderr.contains("listening"), "{}", done.stderr);
    assert!(!done.stderr.contains("level=warn"), "{}", done.stderr);
}

#[test]
fn the_binary_is_static() {
    // elf(5), 64 bits: no program header asks for an interpreter, which is what would load libraries.
    let raw = fs::read(SEXTON).unwrap_or_default();
    let half = |at: usize| usize::from(u16::from_le_bytes([raw[at], raw[at + 1]]));
    let (offset, size, count) = (half(0x20), half(0x36), half(0x38));
    let kinds: Vec<u8> = (0..count).map(|index| raw[offset + index * size]).collect();
    const PT_LOAD: u8 = 1;
    const PT_INTERP: u8 = 3;
    assert!(kinds.contains(&PT_LOAD) && !kinds.contains(&PT_INTERP), "{kinds:?}");
}
