//! Invoked under the name `automaton`.

use std::fs;

use testkit::{private_directory, wait_until};

use super::{SIMPLE, socat};
use crate::harness::{SEXTON, Sexton};

#[test]
fn accepts_the_original_command_line_and_logs_to_a_file() {
    let directory = private_directory();
    let program = directory.path().join("automaton");
    std::os::unix::fs::symlink(SEXTON, &program).unwrap_or_else(|error| panic!("{error}"));
    let text =
        SIMPLE.replace("$DIR", &directory.path().to_string_lossy()).replace("'echo A", "'echo loud; echo A");
    fs::write(directory.path().join("bot.yml"), text).unwrap_or_default();
    let file = directory.path().join("bot.yml").to_string_lossy().into_owned();
    let socket = directory.path().join("sock");
    let run = |options: &[&str]| {
        let path = socket.to_string_lossy().into_owned();
        Sexton::program(&program, [&[file.as_str(), "-s", path.as_str()][..], options].concat()).start()
    };
    let first = run(&["-d"]);
    wait_until("the response", || (socket.exists() && socat(&socket, b"STATE\n") == "A\n").then_some(()));
    assert_eq!(socat(&socket, b"DIE\n"), "OK\n");
    let log = first.path("automaton.log");
    let text = wait_until("the log file", || {
        fs::read_to_string(&log).ok().filter(|text| text.contains("entered C"))
    });
    assert!(text.contains("msg=loud state=A"), "{text}");
    let done = first.done();
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    let other = run(&["-l", "other.log"]);
    wait_until("the log file", || Some(other.text("other.log")).filter(|text| text.contains("entered A")));
    assert!(!other.path("automaton.log").exists());
    other.signal(libc::SIGTERM);
    assert_eq!(other.done().code, 0);
    let done = Sexton::program(&program, [""; 0]).done();
    assert!(done.code == 64 && done.stderr.contains("automaton --help"), "{done:?}");
}
