//! Invoked under the name `kapo`: its command line, variables and responses.

use std::fs;
use std::path::PathBuf;

use testkit::{TempDir, private_directory};

use crate::harness::{SEXTON, Sexton};

fn kapo() -> (TempDir, PathBuf) {
    let directory = private_directory();
    let path = directory.path().join("kapo");
    std::os::unix::fs::symlink(SEXTON, &path).unwrap_or_else(|error| panic!("{error}"));
    (directory, path)
}

#[test]
fn every_path_returns_a_list() {
    let (_directory, kapo) = kapo();
    let arguments = ["--interface", "127.0.0.1", "--port", "0", "run", "-t", "90", "--", "sleep", "1000"];
    let mut sexton = Sexton::program(&kapo, arguments).env("SEXTON_LOG", "info").start();
    assert_eq!(sexton.get("/startup?wait").code, 200, "what is new is answered too");
    for path in ["/", "/status", "/any/path?at=all"] {
        let answer = sexton.get(path);
        assert_eq!((answer.code, answer.header("content-type")), (200, Some("application/json")));
        let list: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        assert_eq!((&list[0]["Command"], &list[0]["Status"]), (&"sleep".into(), &"running".into()), "{path}");
        assert_eq!(
            (&list[0]["TTL"], &list[0]["EndTime"]),
            (&90_000_000_000_u64.into(), &"0001-01-01T00:00:00Z".into())
        );
    }
}

#[test]
fn variables_of_kapo_are_read_and_those_of_sexton_are_not() {
    let (_directory, kapo) = kapo();
    let mut sexton = Sexton::program(&kapo, ["s", "false"])
        .env("SEXTON_LOG", "info")
        .env("KAPO_PORT", "0")
        .env("KAPO_INTERFACE", "127.0.0.1")
        .env("SEXTON_PORT", "none")
        .env("KAPO_WAIT", "77")
        .env("KAPO_TTL", "1")
        .start();
    assert_eq!(sexton.get("/startup?wait").code, 200);
    let list = sexton.json("/");
    assert_eq!((&list[0]["Mode"], &list[0]["Wait"]), (&"supervise".into(), &77_000_000_000_u64.into()));
    assert_eq!(list[0]["TTL"], 0, "a lifetime was for run alone");
}

#[test]
fn output_is_forwarded_only_on_request() {
    let (_directory, kapo) = kapo();
    let done = |arguments: &[&str]| {
        let port = ["--interface", "127.0.0.1", "--port", "0"];
        let arguments =
            port.iter().chain(arguments).chain(&["run", "--", "sh", "-c", "echo out; echo err >&2; exit 4"]);
        let done = Sexton::program(&kapo, arguments).done();
        assert_eq!(done.code, 4);
        (done.stdout, done.stderr)
    };
    assert_eq!(done(&[]), (String::new(), String::new()));
    assert_eq!(done(&["-S"]), ("out\n".to_owned(), String::new()));
    assert_eq!(done(&["-stderr"]), (String::new(), "err\n".to_owned()), "one dash is enough");
    let (stdout, stderr) = done(&["-SEL"]);
    assert!(stdout.contains("msg=out") && stderr.contains("msg=err"), "{stdout} {stderr}");
}

#[test]
fn errors_are_64_69_126_and_127() {
    let (_directory, kapo) = kapo();
    let code = |arguments: &[&str]| Sexton::program(&kapo, arguments).done().code;
    assert_eq!(code(&["run"]), 64);
    assert_eq!(code(&["--port", "x", "run", "true"]), 64);
    assert_eq!(code(&["-p", "0", "run", "/no/such/program"]), 127);
    assert_eq!(code(&["-p", "0", "run", "/etc/passwd"]), 126);
    assert_eq!(code(&["-i", "192.0.2.1", "run", "true"]), 69);
}

#[test]
fn install_makes_the_link() {
    let directory = private_directory();
    let into = directory.path().join("bin");
    let install = || Sexton::new(["install".as_ref(), into.as_os_str()]).done();
    let done = install();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.contains("kapo -> "), "{}", done.stdout);
    assert_eq!(fs::canonicalize(into.join("kapo")).ok(), fs::canonicalize(SEXTON).ok());
    assert_eq!(install().code, 0, "again is no error");
    fs::remove_file(into.join("kapo")).unwrap_or_default();
    fs::write(into.join("kapo"), "foreign").unwrap_or_default();
    let done = install();
    assert_eq!(done.code, 73);
    assert!(done.stderr.contains("already exists"), "{}", done.stderr);
    // From links to the program to links to its copy.
    let both = directory.path().join("both");
    assert_eq!(Sexton::new(["install".as_ref(), both.as_os_str()]).done().code, 0);
    let done = Sexton::new(["install".as_ref(), "--copy".as_ref(), both.as_os_str()]).done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    // For containers that see the directory elsewhere: a copy, and links to that.
    let shared = directory.path().join("shared");
    for _ in 0..2 {
        let done = Sexton::new(["install".as_ref(), "--copy".as_ref(), shared.as_os_str()]).done();
        assert_eq!(done.code, 0, "{}", done.stderr);
    }
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&shared, &elsewhere).unwrap_or_default();
    assert_eq!(fs::read_link(elsewhere.join("kubexit")).ok().as_deref(), Some("sexton".as_ref()));
    let version = Sexton::program(&elsewhere.join("kapo"), ["--version"]).done();
    assert!(version.stdout.starts_with("kapo "), "{version:?}");
    assert_eq!(fs::read_to_string(into.join("kapo")).ok().as_deref(), Some("foreign"));
}
