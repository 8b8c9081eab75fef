//! `sexton run`: exit codes, time to live, staying after the end, how the process is started.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::harness::{SEXTON, Sexton, child, wrapping};

fn code(words: &[&str]) -> i32 {
    Sexton::mute(words.iter().copied()).done().code
}

#[test]
fn the_code_is_the_programs_own() {
    for expected in [0, 1, 7, 64, 125, 126, 127, 143, 255] {
        assert_eq!(code(&["run", "--", "sh", "-c", &format!("exit {expected}")]), expected);
    }
}

#[test]
fn an_end_by_signal_is_128_and_its_number_real_time_signals_included() {
    for signal in [1, 2, 9, 11, 13, 15, 34, 40, 64] {
        let wrapped = child(["end-by", &signal.to_string()]);
        assert_eq!(Sexton::mute(wrapping(&["run"], wrapped)).done().code, 128 + signal);
    }
}

#[test]
fn what_cannot_be_started_is_126_or_127_and_one_line_says_why() {
    let directory = testkit::private_directory();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        testkit::executable(&path, content);
        path.to_string_lossy().into_owned()
    };
    let plain = directory.path().join("plain");
    fs::write(&plain, "text\n").unwrap_or_default();
    for (program, code, why) in [
        ("no-such-program".to_owned(), 127, "no such program in PATH"),
        (directory.path().join("none").to_string_lossy().into_owned(), 127, "no such file"),
        (file("no-interpreter", "#!/no/such/interpreter\n"), 127, "interpreter"),
        (plain.to_string_lossy().into_owned(), 126, "permission denied"),
        (directory.path().to_string_lossy().into_owned(), 126, "permission denied"),
        (String::new(), 127, "its name is empty"),
    ] {
        for mode in ["run", "supervise"] {
            let done = Sexton::mute([mode, "--", &program]).done();
            assert_eq!(done.code, code, "{mode} {program}: {}", done.stderr);
            assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
            assert!(done.stderr.contains(why) && done.stderr.contains(&program), "{}", done.stderr);
        }
    }
}

#[test]
fn a_script_that_names_no_interpreter_is_the_shells() {
    // As execvp(3) has it, and shells.
    let directory = testkit::private_directory();
    let path = directory.path().join("script");
    testkit::executable(&path, "exit 21\n");
    assert_eq!(code(&["run", "--", &path.to_string_lossy()]), 21);
}

#[test]
fn words_that_make_no_sense_are_64_and_one_line() {
    for words in [
        vec![],
        vec!["run"],
        vec!["supervise", "--"],
        vec!["watch"],
        vec!["walk", "--", "x"],
        vec!["run", "--no-such-option", "--", "x"],
        vec!["run", "--ttl", "soon", "--", "x"],
        vec!["run", "--ttl", "40s..10s", "--", "x"],
        vec!["run", "--wait", "-1", "--", "x"],
        vec!["-p", "65536", "run", "x"],
        vec!["-i", "not-an-address", "run", "x"],
        vec!["run", "--stop-signal", "NOPE", "--", "x"],
        vec!["supervise", "--max-restarts", "many", "--", "x"],
        vec!["supervise", "--wait", "1", "--backoff", "1..2", "--", "x"],
        vec!["watch", "-p", "x"],
    ] {
        let done = Sexton::new(&words).done();
        assert_eq!((done.code, done.stderr.lines().count()), (64, 1), "{words:?}: {}", done.stderr);
        assert!(done.stderr.starts_with("sexton: "), "{}", done.stderr);
    }
    let done = Sexton::new(["run", "--bad\nline", "--", "x"]).done();
    assert_eq!((done.code, done.stderr.lines().count()), (64, 1), "{}", done.stderr);
    let done = Sexton::new(["run", "--grace-perio", "1", "--", "x"]).done();
    assert!(done.stderr.contains("--grace-period"), "a near miss is named: {}", done.stderr);
}

#[test]
fn options_end_where_the_command_begins() {
    let done = Sexton::mute(["run", "echo", "--ttl", "-p", "--", "x"]).done();
    assert_eq!(done.stdout, "--ttl -p -- x\n");
    let done = Sexton::new(["run", "-p", "none", "--", "echo", "-v"]).done();
    assert_eq!(done.stdout, "-v\n", "and those of all commands may stand behind the command's name");
}

#[test]
fn output_and_input_pass_through_untouched_and_nothing_is_added() {
    let bytes = b"a\xffb\r\n\x00no end";
    let directory = testkit::private_directory();
    let input = directory.path().join("input");
    fs::write(&input, bytes).unwrap_or_default();
    let script = "cat; echo problem >&2";
    let output = Command::new(SEXTON)
        .args(["-p", "none", "run", "--", "sh", "-c", script])
        .stdin(fs::File::open(&input).map_or_else(|_| std::process::Stdio::null(), Into::into))
        .output();
    let output = output.map(|output| (output.stdout, output.stderr));
    assert_eq!(output.ok(), Some((bytes.to_vec(), b"problem\n".to_vec())));
}

#[test]
fn the_process_leads_a_group_with_no_signal_blocked_or_ignored_and_none_of_our_descriptors() {
    // Not by way of a shell, which clears its own mask.
    let seen = |wrapped: Vec<OsString>| {
        let done = Sexton::answering(wrapping(&["run"], wrapped)).with(with_strange_signals).done();
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.stdout
    };
    let status = seen(["grep", "^Sig[BI]", "/proc/self/status"].map(OsString::from).into());
    assert_eq!(status, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    let inspected = seen(child(["inspect"]));
    assert!(inspected.starts_with("leads: true"), "{inspected}");
    assert!(inspected.ends_with("descriptors: [0, 1, 2]\n"), "{inspected}");
}

/// Has sexton begin with signals ignored and blocked, and with no descriptors but the first three.
fn with_strange_signals(command: &mut Command) {
    // SAFETY: the calls are safe after a fork.
    unsafe {
        command.pre_exec(|| {
            for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE, libc::SIGCHLD, libc::SIGUSR1] {
                libc::signal(signal, libc::SIG_IGN);
            }
            // Whatever the test runner has open is not the matter here.
            libc::syscall(libc::SYS_close_range, 3, u32::MAX, 4 /* CLOSE_RANGE_CLOEXEC */);
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&raw mut set, libc::SIGUSR2);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            Ok(())
        });
    }
}

#[test]
fn a_descriptor_that_our_caller_left_open_reaches_the_process() {
    let script = format!("{SEXTON} -p none run -- sh -c 'echo through >&7' 7>out");
    let done = Sexton::program("/bin/sh".as_ref(), ["-c", &format!("{script}; cat out")]).done();
    assert_eq!((done.code, done.stdout.as_str()), (0, "through\n"), "{}", done.stderr);
}

#[test]
fn a_life_ends_gracefully_when_its_time_is_over() {
    let mut sexton = Sexton::answering([
        "run",
        "--ttl",
        "2s",
        "--wait",
        "1m",
        "--",
        "sh",
        "-c",
        "trap 'echo goodbye; exit 5' TERM; while :; do sleep 0.01; done",
    ])
    .start();
    let process = sexton.wait_for_phase("done");
    assert_eq!(process["lastExit"]["exitCode"], 5);
    assert_eq!(process["lastExit"]["reasonLabel"], "ttl");
    assert_eq!(sexton.json("/")["Status"], "killed");
    assert_eq!(sexton.text("stdout"), "goodbye\n");
    assert_eq!(sexton.stop().code, 5);
}

#[test]
fn of_a_range_another_life_is_drawn_at_each_start() {
    let mut sexton =
        Sexton::answering(["supervise", "--ttl", "1ms..200ms", "--wait", "0", "--", "sleep", "100"]).start();
    let mut drawn = std::collections::BTreeSet::new();
    testkit::wait_until("several lives", || {
        let ttl = sexton.json("/")["TTL"].as_f64().unwrap_or_default();
        if ttl > 0.0 {
            assert!((0.001..=0.2).contains(&ttl), "{ttl}");
            drawn.insert(ttl.to_string());
        }
        (drawn.len() >= 4).then_some(())
    });
}

#[test]
fn we_stay_for_a_while_after_the_end_and_tell_how_it_was() {
    let mut sexton = Sexton::answering(["run", "--wait", "60", "--", "sh", "-c", "exit 3"]).start();
    sexton.wait_for_phase("done");
    let state = sexton.json("/");
    assert_eq!(
        (&state["Status"], &state["ExitCode"], &state["Wait"]),
        (&"stopped".into(), &3.into(), &60.into())
    );
    assert_ne!(state["EndTime"], "");
    assert_eq!(sexton.ended(), None);
    assert_eq!(sexton.stop().code, 3, "a signal ends the wait, with the program's code");

    let mut sexton = Sexton::answering(["run", "--wait", "50ms", "--", "sh", "-c", "exit 4"]).start();
    assert_eq!(sexton.wait(), 4, "and so does time");
}

#[test]
fn help_and_version_are_no_errors() {
    for (words, part) in
        [(vec!["--help"], "supervise"), (vec!["run", "--help"], "--ttl"), (vec!["--version"], "sexton 0.")]
    {
        let done = Sexton::new(&words).done();
        assert_eq!(done.code, 0);
        assert!(done.stdout.contains(part), "{}", done.stdout);
    }
}
