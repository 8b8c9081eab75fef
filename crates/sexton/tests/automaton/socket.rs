//! Well-behaved and misbehaving clients of the socket.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};

use testkit::wait_until;

use super::{SIMPLE, bot, bot_with, socat, spawn_bot};

#[test]
fn invalid_commands_are_answered_with_ko() {
    let bot = bot(SIMPLE);
    bot.wait_for("ran", "A\n");
    for line in
        ["", "state", "STATE now", "GOTO", "GOTO ", "FLY", "GET / HTTP/1.1", "SET", "SET 1 x", "SET INPUT x"]
    {
        assert_eq!(bot.socat(line), "KO\n", "{line:?}");
    }
    for request in [&b"\x16\x03\x01\x02\x00\xff\xfe"[..], b"GOTO B a\0b\n", b"\n", b""] {
        assert_eq!(socat(&bot.socket(), request), "KO\n", "{request:?}");
    }
    assert_eq!(bot.socat("STATE"), "A\n");
}

#[test]
fn payloads_are_limited() {
    let bot = bot(
        "{initial: A, terminal: C, states: [{tag: A, next: A, shell: 'printf %s \"$INPUT\" | wc -c > $DIR/size'}, {tag: C}]}",
    );
    let send = |size: usize| bot.socat(&format!("WAIT A {}", "x".repeat(size)));
    bot.wait_for("size", "0\n");
    assert_eq!(send(100_000), "OK\n");
    assert_eq!(bot.text("size").trim(), "100000");
    assert_eq!(send(128 << 10), "KO\n", "longer than one variable may be");
    assert_eq!(send(1 << 20), "KO\n");
    assert_eq!(send(3 << 20), "KO\n", "longer than a line may be");
    for number in 0..8 {
        assert_eq!(bot.socat(&format!("SET K{number} {}", "x".repeat(120_000))), "OK\n");
    }
    assert_eq!(
        bot.socat(&format!("SET K9 {}", "x".repeat(120_000))),
        "KO\n",
        "more than all variables together may hold"
    );
    assert_eq!(send(3), "OK\n", "scripts still start");
}

#[test]
fn request_line_ends_at_a_newline_or_at_end_of_input() {
    let bot = bot(SIMPLE);
    bot.wait_for("ran", "A\n");
    assert_eq!(socat(&bot.socket(), b"STATE"), "A\n", "half-closed");
    // A newline is enough; a half-close is not needed.
    let mut stream = UnixStream::connect(bot.socket()).unwrap_or_else(|error| panic!("{error}"));
    stream.write_all(b"STATE\n").unwrap_or_default();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap_or_default();
    assert_eq!(response, "A\n");
    // Only the first of ten lines is executed.
    assert_eq!(socat(&bot.socket(), "GOTO B\n".repeat(10).as_bytes()), "OK\n");
    wait_until("B to run once", || (bot.text("ran") == "A\nB \n").then_some(()));
    // Byte by byte.
    let mut stream = UnixStream::connect(bot.socket()).unwrap_or_else(|error| panic!("{error}"));
    for byte in b"STATE\n" {
        stream.write_all(&[*byte]).unwrap_or_default();
    }
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap_or_default();
    assert_eq!(response, "B\n");
}

#[test]
fn silent_non_reading_or_disconnected_clients_do_not_block_others() {
    let bot = bot(
        "{initial: A, terminal: C, states: [{tag: A, next: B}, {tag: B, next: A, shell: 'until [ -e $DIR/go ]; do sleep 0.01; done'}, {tag: C}]}",
    );
    let connect = || UnixStream::connect(bot.socket()).unwrap_or_else(|error| panic!("{error}"));
    let silent: Vec<_> = (0..1000).map(|_| connect()).collect();
    let mut disconnected = connect();
    disconnected.write_all(b"WAIT B\n").unwrap_or_default();
    bot.wait_for_state("B");
    drop(disconnected);
    // A watching client that never reads, and one that has shut down both directions.
    let mut non_reading = connect();
    non_reading.write_all(b"WATCH\n").unwrap_or_default();
    let mut shut = connect();
    shut.write_all(b"WATCH\n").unwrap_or_default();
    shut.shutdown(Shutdown::Both).unwrap_or_default();
    fs::write(bot.path("go"), "").unwrap_or_default();
    for _ in 0..100 {
        assert_eq!(bot.ctl(&["WAIT", "A"]).stdout, "OK\n");
        assert_eq!(bot.ctl(&["WAIT", "B"]).stdout, "OK\n");
    }
    drop((silent, non_reading));
}

#[test]
fn a_thousand_concurrent_clients_each_get_a_response() {
    let bot = bot(SIMPLE);
    bot.wait_for("ran", "A\n");
    let streams: Vec<_> = (0..1000)
        .map(|_| {
            let mut stream = UnixStream::connect(bot.socket()).unwrap_or_else(|error| panic!("{error}"));
            stream.write_all(b"STATE\n").unwrap_or_default();
            stream
        })
        .collect();
    for mut stream in streams {
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap_or_default();
        assert_eq!(response, "A\n");
    }
}

#[test]
fn waiting_clients_get_a_response_at_shutdown() {
    for _ in 0..5 {
        let mut bot = bot(
            "{initial: A, terminal: C, states: [{tag: A}, {tag: C, shell: 'until [ -e $DIR/go ]; do sleep 0.01; done; exit 4'}]}",
        );
        let streams: Vec<_> = (0..50)
            .map(|_| {
                let mut stream = UnixStream::connect(bot.socket()).unwrap_or_else(|error| panic!("{error}"));
                stream.write_all(b"WAIT C\n").unwrap_or_else(|error| panic!("{error}"));
                stream
            })
            .collect();
        // Clients are served in order, so all of the above have been accepted.
        bot.wait_for_state("C");
        fs::write(bot.path("go"), "").unwrap_or_default();
        for mut stream in streams {
            let mut response = String::new();
            stream.read_to_string(&mut response).unwrap_or_else(|error| panic!("{error}"));
            assert!(response == "KO 4\n" || response == "KO\n", "{response:?}");
        }
        assert_eq!(bot.sexton.wait(), 4);
    }
}

#[test]
fn waiting_clients_leave_room_for_others() {
    let mut bot = super::spawn_bot_with_launcher(
        &["/usr/bin/prlimit", "--nofile=100"],
        "{initial: A, terminal: C, states: [{tag: A, force: true, next: A, shell: 'until [ -e $DIR/go ]; do sleep 0.01; done'}, {tag: C}]}",
        &[],
    );
    bot.wait_for_state("A");
    let waiting: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = UnixStream::connect(bot.socket()).unwrap_or_else(|error| panic!("{error}"));
            stream.write_all(b"WAIT A\n").unwrap_or_default();
            stream
        })
        .collect();
    // A limit of 100 open files leaves 36 client slots, three quarters of which may be held by waiting clients.
    bot.sexton.wait_for_stderr("too many clients");
    assert_eq!(bot.socat("STATE"), "A\n");
    drop(waiting);
    // They have disconnected: their slots are free again.
    wait_until("a free slot", || {
        let mut stream = UnixStream::connect(bot.socket()).ok()?;
        stream.write_all(b"WATCH\n").ok()?;
        stream.set_read_timeout(Some(std::time::Duration::from_millis(50))).ok()?;
        let read = stream.read(&mut [0; 4]);
        read.is_err().then_some(())
    });
    fs::write(bot.path("go"), "").unwrap_or_default();
    bot.socat("DIE");
    assert_eq!(bot.sexton.wait(), 0);
}

#[test]
fn history_and_watch_report_transitions() {
    let mut bot = bot(SIMPLE);
    bot.wait_for("ran", "A\n");
    let mut watch = UnixStream::connect(bot.socket()).unwrap_or_else(|error| panic!("{error}"));
    watch.write_all(b"WATCH\n").unwrap_or_default();
    watch.shutdown(Shutdown::Write).unwrap_or_default();
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    // The watch is active once the first line arrives: transitions before that may be missed.
    while !String::from_utf8_lossy(&received).contains("to=B") {
        assert_eq!(bot.socat("WAIT B say \"hi\""), "OK\n");
        watch.set_nonblocking(true).unwrap_or_default();
        if let Ok(length) = watch.read(&mut buffer) {
            received.extend_from_slice(&buffer[..length]);
        }
    }
    let line = String::from_utf8_lossy(&received).lines().last().unwrap_or_default().to_owned();
    assert!(line.starts_with("at=20") && line.contains("input=\"say \\\"hi\\\"\""), "{line}");
    let history = bot.socat("HISTORY");
    assert!(
        history.lines().next().is_some_and(|line| line.contains("number=1 from=\"\" to=A code=0")),
        "{history}"
    );
    watch.set_nonblocking(false).unwrap_or_default();
    bot.socat("DIE");
    assert_eq!(bot.sexton.wait(), 0);
    let mut rest = String::new();
    watch.read_to_string(&mut rest).unwrap_or_default();
    assert!(rest.contains("to=C"), "{rest}");
}

#[test]
fn client_prints_the_response_and_exits_with_an_error_on_ko() {
    let other = bot("{initial: KOALA, terminal: C, states: [{tag: KOALA}, {tag: C}]}");
    let bot = bot(SIMPLE);
    bot.wait_for("ran", "A\n");
    let done = bot.ctl(&["STATE"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "A\n"));
    let done = bot.ctl(&["WAIT", "S1"]);
    assert_eq!((done.code, done.stderr.as_str()), (1, "sexton: KO 3\n"));
    let done = bot.ctl(&["WAIT", "B", "{\"a\":", "1}"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "OK\n"));
    assert!(bot.text("ran").contains("B {\"a\": 1}\n"));
    assert_eq!(bot.ctl(&["GOTO", "B", "two\nlines"]).code, 64);
    // A state whose name starts with KO is not an error.
    let done = other.ctl(&["STATE"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "KOALA\n"));
    // The socket of another program that sends no response.
    let silent = bot.path("silent");
    let listener = UnixListener::bind(&silent).unwrap_or_else(|error| panic!("{error}"));
    let hang_up = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.read_to_string(&mut String::new())
    });
    let silent = silent.to_string_lossy().into_owned();
    let done = crate::harness::Sexton::new(["automaton", "ctl", "-s", &silent, "STATE"]).done();
    assert!(done.code == 69 && done.stderr.contains("closed the connection without a response"), "{done:?}");
    assert!(
        hang_up.join().is_ok_and(|read| read.is_ok_and(|length| length == 6)),
        "the client did not send its request"
    );
    let directory = testkit::private_directory();
    let nowhere = directory.path().join("none").to_string_lossy().into_owned();
    let done = crate::harness::Sexton::new(["automaton", "ctl", "-s", &nowhere, "STATE"]).done();
    assert_eq!(done.code, 69);
    assert!(done.stderr.contains("cannot connect to the automaton at"), "{}", done.stderr);
}

#[test]
fn socket_is_private_to_its_owner_by_default() {
    let mode = |bot: &super::Bot| fs::metadata(bot.socket()).map_or(0, |it| it.permissions().mode() & 0o777);
    assert_eq!(mode(&bot(SIMPLE)), 0o600);
    // The mode is set after the socket was bound with 0600.
    let becomes = |bot: &super::Bot, expected: u32| {
        wait_until("the mode of the socket", || (mode(bot) == expected).then_some(()));
    };
    becomes(&bot(&format!("socketMode: 666\n{SIMPLE}")), 0o666);
    becomes(&bot_with(&format!("socketMode: 666\n{SIMPLE}"), &["--socket-mode", "660"]), 0o660);
}

#[test]
fn stale_socket_is_replaced_and_a_live_one_is_not() {
    let first = bot(SIMPLE);
    let socket = first.socket().to_string_lossy().into_owned();
    let second = spawn_bot(SIMPLE, &["--socket", &socket]);
    drop(second);
    let another = |socket: &str| {
        let file = first.path("bot.yml").to_string_lossy().into_owned();
        crate::harness::Sexton::new(["-p", "none", "automaton", &file, "-s", socket])
    };
    let done = another(&socket).done();
    assert_eq!(done.code, 69);
    assert!(done.stderr.contains("in use by another sexton"), "{}", done.stderr);
    assert_eq!(first.socat("STATE"), "A\n", "the first automaton is unaffected");
    // The socket of another program that uses no lock.
    let other = first.path("other");
    let listener = UnixListener::bind(&other).unwrap_or_else(|error| panic!("{error}"));
    let done = another(&other.to_string_lossy()).done();
    assert!(done.code == 69 && done.stderr.contains("in use by another program"), "{}", done.stderr);
    drop(listener);
    let mut replacement = another(&other.to_string_lossy()).start();
    wait_until("the stale socket to be replaced", || (socat(&other, b"STATE\n") == "A\n").then_some(()));
    assert_eq!(replacement.ended(), None);
    for (path, part) in [
        (format!("{}/{}", first.path("").display(), "x".repeat(120)), "the path is too long"),
        (first.path("bot.yml").to_string_lossy().into_owned(), "is not a socket"),
        ("/proc/none/sock".to_owned(), "no such file"),
    ] {
        let done = another(&path).done();
        assert!(done.code == 69 && done.stderr.contains(part), "{path}: {}", done.stderr);
    }
}
