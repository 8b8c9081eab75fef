//! When another has died.

use std::fs;
use std::path::Path;

use testkit::{tree, wait_until};

use super::{BORN, DIED, Pod, nothing_runs, value};
use crate::harness::{Running, Sexton, child, send};

#[test]
fn a_death_ends_the_whole_group_and_says_why() {
    let pod = Pod::new();
    let both = "trap 'exit 7' TERM; sleep 1000 & echo there > there; wait; wait";
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sh", "-c", both]).start();
    sidecar.wait_for_file("there");
    assert_eq!(pod.container("main", &[], ["sh", "-c", "exit 3"]).done().code, 3);
    let done = sidecar.done();
    assert_eq!(done.code, 7, "{}", done.stderr);
    assert!(done.stderr.contains("(main exited with code 3)"), "{}", done.stderr);
    assert_eq!(value(&pod.stone("proxy"), "ExitCode"), Some("7"));
}

#[test]
fn whoever_is_deaf_is_killed_after_the_grace() {
    let pod = Pod::new();
    let options = ["--death-dep", "main", "--grace-period", "50ms"];
    let sidecar = pod.container("proxy", &options, child(["deaf", "there"])).start();
    sidecar.wait_for_file("there");
    pod.carve("main", DIED);
    assert_eq!(sidecar.done().code, 137);
}

#[test]
fn a_death_that_came_first_is_not_missed() {
    let pod = Pod::new();
    pod.carve("main", DIED);
    let done = pod.container("proxy", &["--death-dep", "main"], ["touch", "ran"]).start();
    let ran = done.path("ran");
    let done = done.done();
    assert_eq!(done.code, 0, "nothing was wrong: {}", done.stderr);
    assert!(!ran.exists());
    let stone = pod.stone("proxy");
    assert_eq!((value(&stone, "ExitCode"), value(&stone, "Born")), (Some("0"), None), "{stone}");
    assert!(stone.contains("never started (main exited"), "{stone}");
}

#[test]
fn a_death_while_a_birth_is_waited_for_counts() {
    let pod = Pod::new();
    let options = ["--death-dep", "main", "--birth-dep", "db"];
    let sidecar = pod.container("proxy", &options, ["touch", "ran"]).start();
    sidecar.wait_for_stderr("waiting for db to be ready");
    nothing_runs(&sidecar);
    pod.carve("main", DIED);
    let ran = sidecar.path("ran");
    assert_eq!(sidecar.done().code, 0);
    assert!(!ran.exists());
}

#[test]
fn what_is_no_tombstone_is_told_once_and_waited_on() {
    let pod = Pod::new();
    pod.carve("main", "");
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    sidecar.wait_for_stderr("it is empty");
    for text in ["Died: 2026-11-21T06:4", "Died: [", "just words", "\u{0}\u{1}"] {
        let warned = |sexton: &Running| sexton.stderr().matches("cannot read the tombstone").count();
        let before = warned(&sidecar);
        pod.carve("main", text);
        // Written in place: emptied first, so that there may be two changes to see.
        wait_until("a warning", || {
            (warned(&sidecar) > before || text.starts_with("Died: 2026")).then_some(())
        });
    }
    fs::remove_file(pod.graveyard().join("main")).unwrap_or_default();
    pod.carve("main", BORN);
    pod.wait_for_stone("proxy", "Ready:");
    pod.carve("main", DIED);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn something_that_is_no_file_and_something_huge_hold_nobody_up() {
    let pod = Pod::new();
    pod.carve("there", "");
    let fifo = pod.graveyard().join("main");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o666.into(), 0)
        .unwrap_or_else(|error| panic!("{error}"));
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    sidecar.wait_for_stderr("not a regular file");
    fs::remove_file(&fifo).unwrap_or_default();
    pod.carve("main", &"#".repeat(70_000));
    sidecar.wait_for_stderr("larger than 64 KiB");
    fs::remove_file(&fifo).unwrap_or_default();
    std::os::unix::fs::symlink("/etc/passwd", &fifo).unwrap_or_default();
    sidecar.wait_for_stderr("symbolic link");
    fs::remove_file(&fifo).unwrap_or_default();
    pod.carve("main", DIED);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn conditions_and_expressions_of_deaths() {
    let failed = "Died: 2026-11-21T06:42:22Z\nExitCode: 1\n";
    let ended = |deps: &str, stones: &[(&str, &str)]| {
        let pod = Pod::new();
        let sidecar = pod.container("proxy", &["--death-dep", deps], ["sleep", "1000"]).start();
        pod.wait_for_stone("proxy", "Ready:");
        let (last, first) = stones.split_last().unwrap_or_else(|| unreachable!());
        for (name, text) in first {
            pod.carve(name, text);
            // Seen, and not heeded.
            pod.carve("c", "Died: {");
        }
        assert!(sidecar.stderr().lines().all(|line| !line.contains("sent SIGTERM")), "{deps}");
        pod.carve(last.0, last.1);
        assert_eq!(sidecar.done().code, 143, "{deps}");
    };
    ended("a:failed", &[("a", BORN), ("a", failed)]);
    ended("a:failed,b", &[("a", DIED), ("b", DIED)]);
    ended("a:succeeded+b:failed", &[("a", DIED), ("b", DIED), ("b", failed)]);
    ended("a:failed|b:succeeded", &[("a", DIED), ("b", failed), ("b", DIED)]);
}

#[test]
fn a_wrapper_that_is_killed_is_known_to_be_gone() {
    let pod = Pod::new();
    let options = ["--death-dep", "main"];
    let sidecar = pod.container("proxy", &options, ["sleep", "1000"]).start();
    let main = pod.container("main", &[], ["sleep", "1000"]).start();
    pod.wait_for_stone("main", "Ready:");
    pod.wait_for_stone("proxy", "Ready:");
    drop(main);
    assert!(!pod.stone("main").contains("Died"), "{}", pod.stone("main"));
    let done = sidecar.done();
    assert_eq!(done.code, 143);
    assert!(done.stderr.contains("(main exited, exit code unknown)"), "{}", done.stderr);
    // Also if that was before.
    let late = pod.container("late", &options, ["sleep", "1000"]).done();
    assert_eq!(late.code, 0, "{}", late.stderr);
}

#[test]
fn a_wrapper_that_is_stopped_is_not_gone() {
    let pod = Pod::new();
    let main = pod.container("main", &[], ["sleep", "1000"]).start();
    pod.wait_for_stone("main", "Ready:");
    main.signal(libc::SIGSTOP);
    wait_until("stopped", || (tree::state(main.pid()) == Some('T')).then_some(()));
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_stone("proxy", "Ready:");
    pod.carve("main.other", "");
    assert!(!sidecar.stderr().contains("sent SIGTERM"), "{}", sidecar.stderr());
    main.signal(libc::SIGCONT);
    main.stop();
    assert_eq!(sidecar.done().code, 143);
}

/// Killed between any two of the system calls by which it carves.
#[test]
fn killed_at_any_instant_it_leaves_what_others_understand() {
    for instant in 0..40 {
        let pod = Pod::new();
        let main = pod.container("main", &[], ["true"]).start();
        let pid = main.pid();
        let path = pod.graveyard().join("main");
        // At some point of its short life.
        wait_until("some way", || (instant < 20 || path.exists()).then_some(()));
        for _ in 0..(instant % 20) * 500 {
            std::hint::spin_loop();
        }
        send(pid, libc::SIGKILL);
        drop(main);
        let found = pod.stone("main");
        assert!(found.is_empty() || found.contains("Incarnation: "), "{found:?}");
        let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
        if found.contains("Born") {
            assert_eq!(sidecar.done().code, 0, "{found}");
        } else {
            pod.wait_for_stone("proxy", "Incarnation:");
        }
    }
}

#[test]
fn a_directory_that_is_removed_and_made_again_is_watched_again() {
    let pod = Pod::new();
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_stone("proxy", "Ready:");
    for _ in 0..3 {
        // It may find our tombstone there again before it has taken the directory away.
        let _ = fs::remove_dir_all(pod.graveyard());
        pod.wait_for_stone("proxy", "Ready:");
    }
    let aside = pod.path("aside");
    fs::rename(pod.graveyard(), &aside).unwrap_or_else(|error| panic!("{error}"));
    pod.wait_for_stone("proxy", "Ready:");
    // What is carved in the old place is not meant for us.
    super::carve(&aside.join("main"), DIED);
    super::carve(&pod.graveyard().join("main"), BORN);
    assert!(!sidecar.stderr().contains("sent SIGTERM"), "{}", sidecar.stderr());
    pod.carve("main", DIED);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn several_graveyards_are_watched() {
    let pod = Pod::new();
    let elsewhere = pod.path("elsewhere/main");
    let dep = elsewhere.to_string_lossy().into_owned();
    let sidecar = pod.container("proxy", &["--death-dep", &dep], ["sleep", "1000"]).start();
    pod.wait_for_stone("proxy", "Ready:");
    pod.carve("main", DIED);
    assert!(Path::new(&dep).parent().is_some_and(Path::is_dir), "it is made too");
    super::carve(&elsewhere, DIED);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn where_changes_are_not_told_the_graveyard_is_looked_at() {
    let pod = Pod::new();
    // In a user namespace of its own nobody may make an instance of inotify.
    let script = format!(
        "echo 0 > /proc/sys/user/max_inotify_instances; exec {} -v -p none run --name proxy --graveyard {} --death-dep main -- sleep 1000",
        crate::harness::SEXTON,
        pod.graveyard().display()
    );
    let sidecar =
        Sexton::program("/usr/bin/unshare".as_ref(), ["-U", "-r", "--kill-child", "-f", "sh", "-c", &script])
            .start();
    sidecar.wait_for_stderr("polling the graveyard every 1s: inotify: too many open files");
    pod.wait_for_stone("proxy", "Ready:");
    pod.carve("main", DIED);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn thousands_of_others_are_nothing_to_it() {
    let pod = Pod::new();
    for number in 0..3000 {
        pod.carve(&format!("other-{number}"), DIED);
    }
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_stone("proxy", "Ready:");
    // More changes than the kernel remembers (16,384): it says so, and everything is read.
    sidecar.signal(libc::SIGSTOP);
    wait_until("stopped", || (tree::state(sidecar.pid()) == Some('T')).then_some(()));
    for number in 0..6000 {
        pod.carve(&format!("other-{}", number % 3000), BORN);
    }
    pod.carve("main", DIED);
    sidecar.signal(libc::SIGCONT);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn one_directory_under_two_names_is_watched_under_both() {
    let pod = Pod::new();
    pod.carve("x", BORN);
    let other = pod.path("other");
    std::os::unix::fs::symlink(pod.graveyard(), &other).unwrap_or_else(|error| panic!("{error}"));
    let deps = format!("x,{}/y", other.display());
    let sidecar = pod.container("proxy", &["--death-dep", &deps], ["sleep", "1000"]).start();
    pod.wait_for_stone("proxy", "Ready:");
    pod.carve("y", DIED);
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn a_directory_that_somebody_still_holds_is_watched_at_its_new_place() {
    let pod = Pod::new();
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_stone("proxy", "Ready:");
    let held = fs::File::open(pod.graveyard()).unwrap_or_else(|error| panic!("{error}"));
    // So that it is taken away at once, and not found with our tombstone in it again.
    sidecar.signal(libc::SIGSTOP);
    wait_until("stopped", || (tree::state(sidecar.pid()) == Some('T')).then_some(()));
    fs::remove_dir_all(pod.graveyard()).unwrap_or_else(|error| panic!("{error}"));
    sidecar.signal(libc::SIGCONT);
    pod.wait_for_stone("proxy", "Ready:");
    pod.carve("main", DIED);
    assert_eq!(sidecar.done().code, 143);
    drop(held);
}

#[test]
fn a_second_directory_that_comes_back_is_read_at_once() {
    let pod = Pod::new();
    let elsewhere = pod.path("elsewhere");
    let dep = elsewhere.join("main").to_string_lossy().into_owned();
    let sidecar = pod.container("proxy", &["--death-dep", &format!("{dep},here")], ["sleep", "1000"]).start();
    pod.wait_for_stone("proxy", "Ready:");
    // A file in its place: it cannot be made again.
    fs::rename(&elsewhere, pod.path("aside")).and_then(|()| fs::write(&elsewhere, "")).unwrap_or_default();
    sidecar.wait_for_stderr("polling the graveyard every 1s");
    super::carve(&pod.path("ready/main"), DIED);
    fs::remove_file(&elsewhere).and_then(|()| fs::rename(pod.path("ready"), &elsewhere)).unwrap_or_default();
    for _ in 0..5 {
        pod.carve("here", BORN);
    }
    assert_eq!(sidecar.done().code, 143);
}

#[test]
fn a_flood_of_changes_holds_up_no_end() {
    let pod = Pod::new();
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    pod.wait_for_stone("proxy", "Ready:");
    let place = pod.graveyard();
    let script = format!("cd {} && while :; do : > x; : > y; done", place.display());
    let flood = Sexton::mute(["run", "--", "sh", "-c", &script]).start();
    wait_until("the flood", || place.join("y").exists().then_some(()));
    let begun = std::time::Instant::now();
    assert_eq!(sidecar.stop().code, 143);
    assert!(begun.elapsed() < testkit::LIMIT / 3, "{:?}", begun.elapsed());
    drop(flood);
}

#[test]
fn a_tombstone_that_would_become_huge_is_refused() {
    let pod = Pod::new();
    let many =
        |name: &str, of: &str, count: usize| format!("{name}: &{name} [{}]\n", vec![of; count].join(", "));
    let bomb = format!("a: &a {}\n{}{}", "x".repeat(40_000), many("b", "*a", 400), many("c", "*b", 480));
    pod.carve("main", &bomb);
    let sidecar = pod.container("proxy", &["--death-dep", "main"], ["sleep", "1000"]).start();
    sidecar.wait_for_stderr("too much text including copies by aliases");
    pod.carve("main", DIED);
    assert_eq!(sidecar.done().code, 143);
}
