//! Under systemd: passed sockets, and notifications.

use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;

use testkit::{http, wait_until};

use crate::harness::{SEXTON, Sexton};

#[test]
fn a_tcp_socket_is_passed_by_the_service_manager() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.unwrap_or_else(|error| panic!("{error}"));
    let program = Path::new("/usr/bin/systemd-socket-activate");
    let arguments = [
        "-l",
        &address.to_string(),
        SEXTON,
        "-s",
        "-p",
        "1",
        "run",
        "--",
        "sh",
        "-c",
        "env > variables; exec sleep 1000",
    ];
    let sexton = Sexton::program(program, arguments).start();
    let answer = wait_until("an answer", || {
        http::connect(address).and_then(|stream| http::request(stream, "GET", "/startup?wait")).ok()
    });
    assert_eq!(answer.code, 200);
    let variables = sexton.wait_for_file("variables");
    assert!(!variables.contains("LISTEN_"), "they were for sexton: {variables}");
}

#[test]
fn a_unix_socket_is_passed_by_the_service_manager() {
    let directory = testkit::private_directory();
    let path = directory.path().join("socket");
    let program = Path::new("/usr/bin/systemd-socket-activate");
    let listen = path.to_string_lossy();
    let arguments = ["-l", &listen, SEXTON, "--socket-activation", "run", "--", "sleep", "1000"];
    let _sexton = Sexton::program(program, arguments).start();
    let answer = wait_until("an answer", || {
        UnixStream::connect(&path).and_then(|stream| http::request(stream, "GET", "/startup?wait")).ok()
    });
    assert_eq!(answer.code, 200);
}

#[test]
fn without_a_socket_there_is_a_clear_error() {
    let done = Sexton::new(["-s", "run", "--", "sh", "-c", "echo > started"]).done();
    assert_eq!(done.code, 69);
    assert_eq!(done.stderr, "sexton: cannot take a socket from the service manager: LISTEN_PID is not set\n");
    let script = format!("LISTEN_PID=$$ LISTEN_FDS=1 exec {SEXTON} -s run true 3</dev/null");
    let done = Sexton::program("/bin/sh".as_ref(), ["-c", &script]).done();
    assert_eq!(done.code, 69);
    assert!(done.stderr.contains("descriptor 3"), "{}", done.stderr);
    let script = format!("LISTEN_PID=$$ LISTEN_FDS=2 exec {SEXTON} -s run true");
    let done = Sexton::program("/bin/sh".as_ref(), ["-c", &script]).done();
    assert!(done.stderr.contains("LISTEN_FDS is 2, expected 1"), "{}", done.stderr);
}

#[test]
fn ready_watchdog_and_stopping_are_sent() {
    let directory = testkit::private_directory();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap_or_else(|error| panic!("{error}"));
    socket.set_read_timeout(Some(testkit::LIMIT)).unwrap_or_default();
    let next = || {
        let mut buffer = [0; 1024];
        let read = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}"));
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    };
    let script = "env > variables; exec sleep 1000";
    let sexton = Sexton::with_server(["run", "--name", "db", "--", "sh", "-c", script])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "1000000")
        .start();
    assert_eq!(next(), "READY=1\nSTATUS=db: started");
    assert_eq!(next(), "WATCHDOG=1");
    assert_eq!(next(), "WATCHDOG=1");
    let variables = sexton.wait_for_file("variables");
    assert!(!variables.contains("NOTIFY_SOCKET") && !variables.contains("WATCHDOG"), "{variables}");
    sexton.signal(libc::SIGTERM);
    let stopping = wait_until("STOPPING", || Some(next()).filter(|text| text != "WATCHDOG=1"));
    assert_eq!(stopping, "STOPPING=1\nSTATUS=db: stop requested (received SIGTERM)");
}
