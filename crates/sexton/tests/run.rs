//! `sexton run`: exit codes, time to live, lingering, how the process is started.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::harness::{SEXTON, Sexton, child, wrapping};

fn code(arguments: &[&str]) -> i32 {
    Sexton::without_server(arguments.iter().copied()).done().code
}

#[test]
fn the_exit_code_is_that_of_the_program() {
    for expected in [0, 1, 7, 64, 125, 126, 127, 143, 255] {
        assert_eq!(code(&["run", "--", "sh", "-c", &format!("exit {expected}")]), expected);
    }
}

#[test]
fn death_by_a_signal_is_128_plus_its_number() {
    for signal in [1, 2, 9, 11, 13, 15, 34, 40, 64] {
        let wrapped = child(["end-by", &signal.to_string()]);
        assert_eq!(Sexton::without_server(wrapping(&["run"], wrapped)).done().code, 128 + signal);
    }
}

#[test]
fn a_failed_start_is_126_or_127_with_one_line_of_explanation() {
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
        (
            file("no-interpreter", "#!/no/such/interpreter -x\n"),
            127,
            "its interpreter /no/such/interpreter does not exist",
        ),
        (format!("{}/x", plain.display()), 127, "a part of its path is not a directory"),
        (plain.to_string_lossy().into_owned(), 126, "the file is not executable (mode 0644)"),
        (directory.path().to_string_lossy().into_owned(), 126, "it is a directory"),
        (file("plain-interpreter", &format!("#!{}\n", plain.display())), 126, "is not executable"),
        (
            other_machine(directory.path()),
            126,
            "exec format error: neither a program for this machine nor a text file",
        ),
        (String::new(), 127, "its name is empty"),
    ] {
        for mode in ["run", "supervise"] {
            let done = Sexton::without_server([mode, "--", &program]).done();
            assert_eq!(done.code, code, "{mode} {program}: {}", done.stderr);
            assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
            assert!(done.stderr.contains(why) && done.stderr.contains(&program), "{}", done.stderr);
        }
    }
}

/// A program like `/bin/true`, of an architecture that no machine has.
fn other_machine(directory: &Path) -> String {
    let path = directory.join("other-machine");
    let mut program = fs::read("/bin/true").unwrap_or_else(|error| panic!("{error}"));
    // elf(5): e_machine.
    program[18..20].copy_from_slice(&[0xfe, 0xff]);
    testkit::executable(&path, "");
    fs::write(&path, program).unwrap_or_else(|error| panic!("{error}"));
    path.to_string_lossy().into_owned()
}

#[test]
fn a_script_without_interpreter_is_run_by_the_shell() {
    // As execvp(3) has it, and shells.
    let directory = testkit::private_directory();
    let path = directory.path().join("script");
    testkit::executable(&path, "exit 21\n");
    assert_eq!(code(&["run", "--", &path.to_string_lossy()]), 21);
}

#[test]
fn invalid_arguments_are_64_and_one_line() {
    for arguments in [
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
        let done = Sexton::new(&arguments).done();
        assert_eq!((done.code, done.stderr.lines().count()), (64, 1), "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.starts_with("sexton: "), "{}", done.stderr);
    }
    let done = Sexton::new(["run", "--bad\nline", "--", "x"]).done();
    assert_eq!((done.code, done.stderr.lines().count()), (64, 1), "{}", done.stderr);
    let done = Sexton::new(["run", "--grace-perio", "1", "--", "x"]).done();
    assert!(done.stderr.contains("--grace-period"), "a near miss is named: {}", done.stderr);
}

#[test]
fn options_after_the_command_belong_to_it() {
    let done = Sexton::without_server(["run", "echo", "--ttl", "-p", "--", "x"]).done();
    assert_eq!(done.stdout, "--ttl -p -- x\n");
    let done = Sexton::new(["run", "-p", "none", "--", "echo", "-v"]).done();
    assert_eq!(done.stdout, "-v\n", "and those of all commands may stand behind the command's name");
}

#[test]
fn output_and_input_pass_unchanged() {
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
fn the_process_leads_a_group_with_default_signals_and_no_inherited_descriptors() {
    // Not by way of a shell, which clears its own mask.
    let seen = |wrapped: Vec<OsString>| {
        let done = Sexton::with_server(wrapping(&["run"], wrapped)).with(with_strange_signals).done();
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
            // Descriptors of the test runner are not under test.
            libc::syscall(libc::SYS_close_range, 3, u32::MAX, 4 /* CLOSE_RANGE_CLOEXEC */);
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&raw mut set, libc::SIGUSR2);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            Ok(())
        });
    }
}

#[test]
fn a_descriptor_left_open_by_the_caller_reaches_the_process() {
    let script = format!("{SEXTON} -p none run -- sh -c 'echo through >&7' 7>out");
    let done = Sexton::program("/bin/sh".as_ref(), ["-c", &format!("{script}; cat out")]).done();
    assert_eq!((done.code, done.stdout.as_str()), (0, "through\n"), "{}", done.stderr);
}

#[test]
fn the_time_to_live_ends_a_process_gracefully() {
    let mut sexton = Sexton::with_server([
        "run",
        "--ttl",
        "2s",
        "--wait",
        "1m",
        "--",
        "sh",
        "-c",
        "trap 'echo leaves; exit 5' TERM; while :; do sleep 0.01; done",
    ])
    .start();
    let process = sexton.wait_for_phase("done");
    assert_eq!(process["lastExit"]["exitCode"], 5);
    assert_eq!(process["lastExit"]["reasonLabel"], "ttl");
    assert_eq!(sexton.json("/")["Status"], "killed");
    assert_eq!(sexton.text("stdout"), "leaves\n");
    assert_eq!(sexton.stop().code, 5);
}

#[test]
fn a_new_time_to_live_is_drawn_at_each_start() {
    let mut sexton =
        Sexton::with_server(["supervise", "--ttl", "1ms..200ms", "--wait", "0", "--", "sleep", "100"])
            .start();
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
fn the_server_stays_up_after_the_exit_and_shows_it() {
    let mut sexton = Sexton::with_server(["run", "--wait", "60", "--", "sh", "-c", "exit 3"]).start();
    sexton.wait_for_phase("done");
    let state = sexton.json("/");
    assert_eq!(
        (&state["Status"], &state["ExitCode"], &state["Wait"]),
        (&"stopped".into(), &3.into(), &60.into())
    );
    assert_ne!(state["EndTime"], "");
    assert_eq!(sexton.ended(), None);
    assert_eq!(sexton.stop().code, 3, "a signal ends the wait, with the program's code");

    let mut sexton = Sexton::with_server(["run", "--wait", "50ms", "--", "sh", "-c", "exit 4"]).start();
    assert_eq!(sexton.wait(), 4, "and so does time");
}

#[test]
fn help_and_version_exit_with_0() {
    for (arguments, part) in
        [(vec!["--help"], "supervise"), (vec!["run", "--help"], "--ttl"), (vec!["--version"], "sexton 0.")]
    {
        let done = Sexton::new(&arguments).done();
        assert_eq!(done.code, 0);
        assert!(done.stdout.contains(part), "{}", done.stdout);
    }
}
