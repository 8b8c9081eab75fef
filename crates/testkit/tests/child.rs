//! The child does what it says. (That there is a test here also makes `cargo test` build it.)

#![expect(clippy::disallowed_methods, reason = "tests start programs as anybody does")]

use std::process::Command;

#[test]
fn a_burst_has_no_last_line_end() {
    let output = Command::new(env!("CARGO_BIN_EXE_testkit-child")).args(["burst", "3"]).output();
    let output = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    assert_eq!(output.ok().as_deref(), Some("line 1\nline 2\nline 3"));
}

#[test]
fn what_it_cannot_do_it_says() {
    let status = Command::new(env!("CARGO_BIN_EXE_testkit-child")).arg("sing").status();
    assert_eq!(status.ok().and_then(|status| status.code()), Some(64));
}
