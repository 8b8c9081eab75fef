//! The examples of the documentation, run as a new user runs them.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::{TempDir, private_directory, wait_until};

use super::socat;
use crate::harness::{Running, SEXTON, Sexton};
use crate::up::free_port;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

/// Starts an example in its own directory, with sexton in the PATH.
fn run(name: &str, variables: &[(&str, &str)]) -> (Running, PathBuf, TempDir) {
    let directory = private_directory();
    let bin = directory.path().join("bin");
    fs::create_dir(&bin).unwrap_or_default();
    std::os::unix::fs::symlink(SEXTON, bin.join("sexton")).unwrap_or_else(|error| panic!("{error}"));
    let socket = directory.path().join("sock");
    let path = example(&format!("automaton/{name}")).to_string_lossy().into_owned();
    let socket_path = socket.to_string_lossy().into_owned();
    let mut sexton = Sexton::new(["-p", "none", "automaton", &path, "-s", &socket_path])
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    for (name, value) in variables {
        sexton = sexton.env(name, value);
    }
    (sexton.start(), socket, directory)
}

fn wait_for_state(socket: &Path, tag: &str) {
    wait_until(tag, || (socket.exists() && socat(socket, b"STATE\n").trim() == tag).then_some(()));
}

#[test]
fn bot_example_follows_requests_and_exits() {
    let (sexton, socket, _directory) = run("bot.yml", &[]);
    wait_for_state(&socket, "A");
    assert_eq!(socat(&socket, b"GOTO B {\"counter\": 123}\n"), "OK\n");
    wait_for_state(&socket, "B");
    assert_eq!(socat(&socket, b"WAIT B hello\n"), "OK\n");
    assert_eq!(sexton.text("foo"), "hello\n");
    assert_eq!(socat(&socket, b"DIE\n"), "OK\n");
    assert_eq!(sexton.done().code, 0);
}

#[test]
fn polling_example_processes_all_jobs() {
    let (sexton, socket, _directory) = run("polling.yml", &[("EVERY", "0.02")]);
    fs::create_dir(sexton.path("jobs")).unwrap_or_default();
    wait_for_state(&socket, "LOOK");
    for (name, content) in [("one", "hello"), ("two", "nothing of the sort"), ("three", "hello again")] {
        // The rename publishes each job atomically.
        fs::write(sexton.path(name), content)
            .and_then(|()| fs::rename(sexton.path(name), sexton.path("jobs").join(name)))
            .unwrap_or_default();
    }
    wait_until(&format!("all jobs processed: {}", sexton.stderr()), || {
        let exists = |directory: &str, name: &str| sexton.path(directory).join(name).exists();
        (exists("done", "one") && exists("failed", "two") && exists("done", "three")).then_some(())
    });
    assert_eq!(socat(&socket, b"DIE\n"), "OK\n");
    assert_eq!(sexton.done().code, 0);
}

#[test]
fn server_example_starts_and_drains_the_server() {
    let port = free_port().to_string();
    let client_server = example("client-server").to_string_lossy().into_owned();
    let (sexton, socket, _directory) = run("server.yml", &[("PORT", &port), ("HERE", &client_server)]);
    wait_for_state(&socket, "SERVING");
    let address = format!("127.0.0.1:{port}").parse().unwrap_or_else(|error| panic!("{error}"));
    let response =
        testkit::http::connect(address).and_then(|stream| testkit::http::request(stream, "GET", "/"));
    assert!(response.is_ok_and(|response| response.body == "1\n"));
    sexton.signal(libc::SIGTERM);
    let log = sexton.path("server.log");
    let pid = sexton.path("server.pid");
    let log_text =
        wait_until("drained", || (!pid.exists()).then(|| fs::read_to_string(&log).unwrap_or_default()));
    assert_eq!(log_text, "server: exiting after 1 requests\n");
    assert_eq!(sexton.done().code, 0);
}
