//! Death dependencies: the command is stopped when another container exits.

use std::fs;
use std::path::Path;

use testkit::{tree, wait_until};

use super::{BORN, DIED, Pod, assert_no_descendants, value};
use crate::harness::{Running, Sexton, child, send};

#[test]
fn death_stops_the_process_group_and_is_logged_as_the_reason() {
    let pod = Pod::new();
    let command = "trap 'exit 7' TERM; sleep 1000 & echo there > there; wait; wait";
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sh", "-c", command]).start();
    sidecar.wait_for_file("there");
    assert_eq!(pod.container("main", &[], ["sh", "-c", "exit 3"]).done().code, 3);
    let done = sidecar.done();
    assert_eq!(done.code, 7, "{}", done.stderr);
    assert!(done.stderr.contains("(main exited with code 3)"), "{}", done.stderr);
    assert_eq!(value(&pod.tombstone("proxy"), "ExitCode"), Some("7"));
}

#[test]
fn process_that_ignores_sigterm_is_killed_after_the_grace_period() {
    let pod = Pod::new();
    let options = ["--death-dep", "main", "--grace-period", "50ms"];
    let sidecar = pod.container("proxy", &options, child(["deaf", "there"])).start();
    sidecar.wait_for_file("there");
    pod.write_tombstone("main", DIED);
    assert_eq!(sidecar.done().code, 137);
}

#[test]
fn death_before_the_start_prevents_the_start() {
    let pod = Pod::new();
    pod.write_tombstone("main", DIED);
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["touch", "ran"]).start();
    let ran = sidecar.path("ran");
    let done = sidecar.done();
    assert_eq!(done.code, 0, "this is not an error: {}", done.stderr);
    assert!(!ran.exists());
    let tombstone = pod.tombstone("proxy");
    assert_eq!((value(&tombstone, "ExitCode"), value(&tombstone, "Born")), (Some("0"), None), "{tombstone}");
    assert!(tombstone.contains("never started (main exited"), "{tombstone}");
}

#[test]
fn death_during_the_wait_for_a_birth_prevents_the_start() {
    let pod = Pod::new();
    let options = ["--death-dep", "main", "--birth-dep", "db"];
    let sidecar = pod.container("proxy", &options, ["touch", "ran"]).start();
    sidecar.wait_for_stderr("waiting for db to be ready");
    assert_no_descendants(&sidecar);
    pod.write_tombstone("main", DIED);
    let ran = sidecar.path("ran");
    assert_eq!(sidecar.done().code, 0);
    assert!(!ran.exists());
}

#[test]
fn invalid_tombstone_is_reported_and_the_watch_continues() {
    let pod = Pod::new();
    pod.write_tombstone("main", "");
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    sidecar.wait_for_stderr("it is empty");
    for text in ["Died: 2026-11-21T06:4", "Died: [", "just arguments", "\u{0}\u{1}"] {
        let warned = |sexton: &Running| sexton.stderr().matches("cannot read the tombstone").count();
        let before = warned(&sidecar);
        pod.write_tombstone("main", text);
        // Writing in place truncates the file first, so there may be two change events.
        wait_until("a warning", || {
            (warned(&sidecar) > before || text.starts_with("Died: 2026")).then_some(())
        });
    }
    fs::remove_file(pod.graveyard().join("main")).unwrap_or_default();
    pod.write_tombstone("main", BORN);
    pod.wait_for_tombstone("proxy", "Ready:");
    pod.write_tombstone("main", DIED);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn fifos_symbolic_links_and_oversized_files_do_not_block() {
    let pod = Pod::new();
    pod.write_tombstone("there", "");
    let fifo = pod.graveyard().join("main");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o666.into(), 0)
        .unwrap_or_else(|error| panic!("{error}"));
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    sidecar.wait_for_stderr("not a regular file");
    fs::remove_file(&fifo).unwrap_or_default();
    pod.write_tombstone("main", &"#".repeat(70_000));
    sidecar.wait_for_stderr("larger than 64 KiB");
    fs::remove_file(&fifo).unwrap_or_default();
    std::os::unix::fs::symlink("/etc/passwd", &fifo).unwrap_or_default();
    sidecar.wait_for_stderr("symbolic link");
    fs::remove_file(&fifo).unwrap_or_default();
    pod.write_tombstone("main", DIED);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn conditions_and_expressions_of_deaths() {
    let failed = "Died: 2026-11-21T06:42:22Z\nExitCode: 1\n";
    let stops_after = |deps: &str, tombstones: &[(&str, &str)]| {
        let pod = Pod::new();
        let sidecar = pod.container("proxy", &["--death-dep", deps], ["sleep", "1000"]).start();
        pod.wait_for_tombstone("proxy", "Ready:");
        let (last, first) = tombstones.split_last().unwrap_or_else(|| unreachable!());
        for (name, text) in first {
            pod.write_tombstone(name, text);
            // An unrelated change that makes it read the graveyard.
            pod.write_tombstone("c", "Died: {");
        }
        assert!(sidecar.stderr().lines().all(|line| !line.contains("sent SIGTERM")), "{deps}");
        pod.write_tombstone(last.0, last.1);
        assert_eq!(sidecar.done().code, 143, "{deps}");
    };
    stops_after("a:failed", &[("a", BORN), ("a", failed)]);
    stops_after("a:failed,b", &[("a", DIED), ("b", DIED)]);
    stops_after("a:succeeded+b:failed", &[("a", DIED), ("b", DIED), ("b", failed)]);
    stops_after("a:failed|b:succeeded", &[("a", DIED), ("b", failed), ("b", DIED)]);
}

#[test]
fn killed_wrapper_is_detected_as_gone() {
    let pod = Pod::new();
    let options = ["--death-dep", "main"];
    let sidecar = pod.container("proxy", &options, ["sleep", "1000"]).start();
    let main = pod.container("main", &[], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("main", "Ready:");
    pod.wait_for_tombstone("proxy", "Ready:");
    drop(main);
    assert!(!pod.tombstone("main").contains("Died"), "{}", pod.tombstone("main"));
    let done = sidecar.done();
    assert_eq!(done.code, 143);
    assert!(done.stderr.contains("(main exited, exit code unknown)"), "{}", done.stderr);
    // It is also detected by a container that starts later.
    let late = pod.container("late", &options, ["sleep", "1000"]).done();
    assert_eq!(late.code, 0, "{}", late.stderr);
}

#[test]
fn suspended_wrapper_is_not_gone() {
    let pod = Pod::new();
    let main = pod.container("main", &[], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("main", "Ready:");
    main.signal(libc::SIGSTOP);
    wait_until("the process to be suspended", || (tree::state(main.pid()) == Some('T')).then_some(()));
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("proxy", "Ready:");
    pod.write_tombstone("main.other", "");
    assert!(!sidecar.stderr().contains("sent SIGTERM"), "{}", sidecar.stderr());
    main.signal(libc::SIGCONT);
    main.stop();
    assert_eq!(sidecar.done().code, 143);
}

/// The wrapper is killed between any two system calls that write its tombstone.
#[test]
fn wrapper_killed_at_any_instant_leaves_a_valid_tombstone() {
    for instant in 0..40 {
        let pod = Pod::new();
        let main = pod.container("main", &[], ["true"]).start();
        let pid = main.pid();
        let path = pod.graveyard().join("main");
        // Kill it at a varying point of its run.
        wait_until("the tombstone", || (instant < 20 || path.exists()).then_some(()));
        for _ in 0..(instant % 20) * 500 {
            std::hint::spin_loop();
        }
        send(pid, libc::SIGKILL);
        drop(main);
        let found = pod.tombstone("main");
        assert!(found.is_empty() || found.contains("Incarnation: "), "{found:?}");
        let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
        if found.contains("Born") {
            assert_eq!(sidecar.done().code, 0, "{found}");
        } else {
            pod.wait_for_tombstone("proxy", "Incarnation:");
        }
    }
}

#[test]
fn recreated_graveyard_is_watched_again() {
    let pod = Pod::new();
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("proxy", "Ready:");
    for _ in 0..3 {
        // Removal fails if the tombstone is written again before the directory is removed.
        let _ = fs::remove_dir_all(pod.graveyard());
        pod.wait_for_tombstone("proxy", "Ready:");
    }
    let aside = pod.path("aside");
    fs::rename(pod.graveyard(), &aside).unwrap_or_else(|error| panic!("{error}"));
    pod.wait_for_tombstone("proxy", "Ready:");
    // Tombstones in the moved directory are ignored.
    super::write_tombstone(&aside.join("main"), DIED);
    super::write_tombstone(&pod.graveyard().join("main"), BORN);
    assert!(!sidecar.stderr().contains("sent SIGTERM"), "{}", sidecar.stderr());
    pod.write_tombstone("main", DIED);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn several_graveyards_are_watched() {
    let pod = Pod::new();
    let elsewhere = pod.path("elsewhere/main");
    let dep = elsewhere.to_string_lossy().into_owned();
    let sidecar = pod.container("proxy", &["--death-dep", &dep], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("proxy", "Ready:");
    pod.write_tombstone("main", DIED);
    assert!(Path::new(&dep).parent().is_some_and(Path::is_dir), "the second directory must be created");
    super::write_tombstone(&elsewhere, DIED);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn graveyard_is_polled_when_inotify_is_unavailable() {
    let pod = Pod::new();
    // In its own user namespace the limit of inotify instances is 0.
    let script = format!(
        "echo 0 > /proc/sys/user/max_inotify_instances; exec {} -v -p none run --name proxy --graveyard {} --death-dep main -- sleep 1000",
        crate::harness::SEXTON,
        pod.graveyard().display()
    );
    let sidecar =
        Sexton::program("/usr/bin/unshare".as_ref(), ["-U", "-r", "--kill-child", "-f", "sh", "-c", &script])
            .start();
    sidecar.wait_for_stderr("polling the graveyard every 1s: inotify: too many open files");
    pod.wait_for_tombstone("proxy", "Ready:");
    pod.write_tombstone("main", DIED);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn thousands_of_unrelated_tombstones_and_a_queue_overflow_are_handled() {
    let pod = Pod::new();
    for number in 0..3000 {
        pod.write_tombstone(&format!("other-{number}"), DIED);
    }
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("proxy", "Ready:");
    // More events than the kernel queues (16,384): the queue overflows and the whole directory is read.
    sidecar.signal(libc::SIGSTOP);
    wait_until("the process to be suspended", || (tree::state(sidecar.pid()) == Some('T')).then_some(()));
    for number in 0..6000 {
        pod.write_tombstone(&format!("other-{}", number % 3000), BORN);
    }
    pod.write_tombstone("main", DIED);
    sidecar.signal(libc::SIGCONT);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn one_directory_under_two_names_is_watched_under_both() {
    let pod = Pod::new();
    pod.write_tombstone("x", BORN);
    let other = pod.path("other");
    std::os::unix::fs::symlink(pod.graveyard(), &other).unwrap_or_else(|error| panic!("{error}"));
    let deps = format!("x,{}/y", other.display());
    let sidecar = pod.container("proxy", &["--death-dep", &deps], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("proxy", "Ready:");
    pod.write_tombstone("y", DIED);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn recreated_graveyard_is_watched_while_the_old_one_is_held_open() {
    let pod = Pod::new();
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("proxy", "Ready:");
    let held = fs::File::open(pod.graveyard()).unwrap_or_else(|error| panic!("{error}"));
    // Suspended, so that it cannot write its tombstone again during the removal.
    sidecar.signal(libc::SIGSTOP);
    wait_until("the process to be suspended", || (tree::state(sidecar.pid()) == Some('T')).then_some(()));
    fs::remove_dir_all(pod.graveyard()).unwrap_or_else(|error| panic!("{error}"));
    sidecar.signal(libc::SIGCONT);
    pod.wait_for_tombstone("proxy", "Ready:");
    pod.write_tombstone("main", DIED);
    assert_eq!(sidecar.done().code, 143);
    drop(held);
}

#[test]
fn second_graveyard_that_reappears_is_read() {
    let pod = Pod::new();
    let elsewhere = pod.path("elsewhere");
    let dep = elsewhere.join("main").to_string_lossy().into_owned();
    let sidecar = pod.container("proxy", &["--death-dep", &format!("{dep},here")], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("proxy", "Ready:");
    // A file at its path prevents the directory from being created again.
    fs::rename(&elsewhere, pod.path("aside")).and_then(|()| fs::write(&elsewhere, "")).unwrap_or_default();
    sidecar.wait_for_stderr("polling the graveyard every 1s");
    super::write_tombstone(&pod.path("ready/main"), DIED);
    fs::remove_file(&elsewhere).and_then(|()| fs::rename(pod.path("ready"), &elsewhere)).unwrap_or_default();
    for _ in 0..5 {
        pod.write_tombstone("here", BORN);
    }
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn flood_of_changes_does_not_delay_shutdown() {
    let pod = Pod::new();
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("proxy", "Ready:");
    let graveyard = pod.graveyard();
    let script = format!("cd {} && while :; do : > x; : > y; done", graveyard.display());
    let flood = Sexton::without_server(["run", "--", "sh", "-c", &script]).start();
    wait_until("the flood", || graveyard.join("y").exists().then_some(()));
    let start = std::time::Instant::now();
    assert_eq!(sidecar.stop().code, 143);
    assert!(start.elapsed() < testkit::LIMIT / 3, "{:?}", start.elapsed());
    drop(flood);
}

#[test]
fn tombstone_with_excessive_alias_expansion_is_rejected() {
    let pod = Pod::new();
    let list = |name: &str, item: &str, count: usize| {
        format!("{name}: &{name} [{}]\n", vec![item; count].join(", "))
    };
    let bomb = format!("a: &a {}\n{}{}", "x".repeat(40_000), list("b", "*a", 400), list("c", "*b", 480));
    pod.write_tombstone("main", &bomb);
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    sidecar.wait_for_stderr("too much text including copies by aliases");
    pod.write_tombstone("main", DIED);
    assert_eq!(sidecar.done().code, 143);
}
