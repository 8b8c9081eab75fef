//! Configuration files, `--check`, `--dot` and the log file.

use std::fs;

use super::{SIMPLE, bot_with};
use crate::harness::{Done, Sexton};

fn check(text: &str) -> Done {
    let directory = testkit::private_directory();
    let file = directory.path().join("bot.yml");
    fs::write(&file, text).unwrap_or_default();
    Sexton::new(["automaton", &file.to_string_lossy(), "--check"]).done()
}

#[test]
fn check_validates_a_file_without_running_it() {
    let done = check(SIMPLE);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.ends_with("bot.yml: valid (4 states)\n"), "{}", done.stdout);
}

#[test]
fn invalid_files_are_reported_with_position_and_nothing_starts() {
    for (text, part) in [
        ("", "empty file"),
        ("\t- no", "1:"),
        ("initial: [A]\nterminal: B\nstates: [{tag: A}, {tag: B}]\n", "1:1: initial: "),
        ("initial: A\nterminal: B\nstates: [{tag: A}, {tag: B}]\ncolour: red\n", "4:1: colour: unknown key"),
        ("initial: D\nterminal: B\nstates: [{tag: A}, {tag: B}]\n", "1:1: initial: unknown state 'D'"),
        ("initial: A\nterminal: B\nstates: [{tag: A}, {tag: B}, {tag: A}]\n", "duplicate tag 'A'"),
        ("initial: A\nterminal: B\nstates: [{tag: A, next: X}, {tag: B}]\n", "'X' matches no state"),
        ("initial: A\nterminal: B\nstates: [{tag: A, shell: [x]}, {tag: B}]\n", "states[0].shell: "),
    ] {
        let done = check(text);
        assert_eq!(done.code, 78, "{text}");
        assert!(done.stderr.contains(part), "{text}: {}", done.stderr);
    }
    // A script that exceeds the kernel's argument limit is rejected before anything starts.
    let script = "x".repeat(128 << 10);
    let done =
        check(&format!("initial: A\nterminal: B\nstates: [{{tag: A, shell: {script}}}, {{tag: B}}]\n"));
    assert!(done.code == 78 && done.stderr.contains("states[0].shell: script too long"), "{}", done.stderr);
    let directory = testkit::private_directory();
    let file = directory.path().join("bot.yml");
    fs::write(&file, "initial: A").unwrap_or_default();
    let socket = directory.path().join("sock");
    let (name, path) = (file.to_string_lossy(), socket.to_string_lossy());
    assert_eq!(Sexton::new(["-p", "none", "automaton", &name, "-s", &path]).done().code, 78);
    assert!(!socket.exists());
    let done = Sexton::new(["automaton", "/none", "--check"]).done();
    assert!(done.code == 78 && done.stderr.contains("no such file"), "{}", done.stderr);
}

#[test]
fn dot_prints_the_state_graph() {
    let directory = testkit::private_directory();
    let file = directory.path().join("bot.yml");
    fs::write(&file, SIMPLE.replace("tag: S1,", "tag: S1, on-failure: B,")).unwrap_or_default();
    let done = Sexton::new(["automaton", &file.to_string_lossy(), "--dot"]).done();
    for part in [
        "digraph automaton {",
        "start -> \"A\";",
        "\"A\" -> \"B\";",
        "\"A\" -> \"S1\";",
        "\"S1\" -> \"C\";",
        "\"C\" [shape=doublecircle];",
        "\"S1\" -> \"B\" [style=dashed",
    ] {
        assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
    }
    assert!(!done.stdout.contains("\"C\" ->"), "{}", done.stdout);
}

#[test]
fn log_file_is_rotated_when_full() {
    let directory = testkit::private_directory();
    let log = directory.path().join("log");
    let text = "{initial: A, terminal: C, states: [{tag: A, shell: 'i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo done > $DIR/ran'}, {tag: C}]}";
    let mut bot = bot_with(text, &["-d", "-l", &log.to_string_lossy()]);
    bot.wait_for("ran", "done");
    bot.socat("DIE");
    assert_eq!(bot.sexton.wait(), 0);
    let size = |suffix: &str| fs::metadata(format!("{}{suffix}", log.display())).map_or(0, |it| it.len());
    assert!(size("") > 0 && size(".1") > 60_000 && size(".1") <= 64 << 10, "{} {}", size(""), size(".1"));
    assert_eq!(size(".4"), 0);
    assert!(fs::read_to_string(&log).unwrap_or_default().contains("entered C from A"));
}

#[test]
fn unwritable_log_is_reported_and_does_not_block() {
    let mut bot = bot_with(SIMPLE, &["-l", "/dev/full"]);
    bot.wait_for("ran", "A\n");
    assert_eq!(bot.socat("WAIT B"), "OK\n");
    bot.socat("DIE");
    assert_eq!(bot.sexton.wait(), 0);
    let warnings = bot.sexton.stderr().matches("cannot write the log").count();
    assert_eq!(warnings, 1, "{}", bot.sexton.stderr());
    let file = bot.path("bot.yml").to_string_lossy().into_owned();
    let done = Sexton::new(["-p", "none", "automaton", &file, "-l", "/none/log"]).done();
    assert!(done.code == 73 && done.stderr.contains("cannot write the log"), "{}", done.stderr);
}
