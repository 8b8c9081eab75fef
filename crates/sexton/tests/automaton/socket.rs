//! Clients, polite and otherwise.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};

use testkit::wait_until;

use super::{SIMPLE, bot, bot_with, socat, starting};

#[test]
fn what_is_no_command_is_ko() {
    let bot = bot(SIMPLE);
    bot.wait_for("ran", "A\n");
    for line in
        ["", "state", "STATE now", "GOTO", "GOTO ", "FLY", "GET / HTTP/1.1", "SET", "SET 1 x", "SET INPUT x"]
    {
        assert_eq!(bot.socat(line), "KO\n", "{line:?}");
    }
    for said in [&b"\x16\x03\x01\x02\x00\xff\xfe"[..], b"GOTO B a\0b\n", b"\n", b""] {
        assert_eq!(socat(&bot.socket(), said), "KO\n", "{said:?}");
    }
    assert_eq!(bot.socat("STATE"), "A\n");
}

#[test]
fn payloads_have_their_limits() {
    let bot = bot(
        "{initial: A, terminal: C, states: [{tag: A, next: A, shell: 'printf %s \"$INPUT\" | wc -c > $DIR/size'}, {tag: C}]}",
    );
    let with = |size: usize| bot.socat(&format!("WAIT A {}", "x".repeat(size)));
    bot.wait_for("size", "0\n");
    assert_eq!(with(100_000), "OK\n");
    assert_eq!(bot.text("size").trim(), "100000");
    assert_eq!(with(128 << 10), "KO\n", "more than a variable holds");
    assert_eq!(with(1 << 20), "KO\n");
    assert_eq!(with(3 << 20), "KO\n", "more than a line holds");
    for number in 0..8 {
        assert_eq!(bot.socat(&format!("SET K{number} {}", "x".repeat(120_000))), "OK\n");
    }
    assert_eq!(bot.socat(&format!("SET K9 {}", "x".repeat(120_000))), "KO\n", "more than all may hold");
    assert_eq!(with(3), "OK\n", "and scripts still start");
}

#[test]
fn a_line_ends_with_a_newline_or_with_the_input() {
    let bot = bot(SIMPLE);
    bot.wait_for("ran", "A\n");
    assert_eq!(socat(&bot.socket(), b"STATE"), "A\n", "half-closed");
    // A newline, and neither a half-close nor patience.
    let mut stream = UnixStream::connect(bot.socket()).unwrap_or_else(|error| panic!("{error}"));
    stream.write_all(b"STATE\n").unwrap_or_default();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap_or_default();
    assert_eq!(answer, "A\n");
    // Of ten lines the first counts.
    assert_eq!(socat(&bot.socket(), "GOTO B\n".repeat(10).as_bytes()), "OK\n");
    wait_until("one B", || (bot.text("ran") == "A\nB \n").then_some(()));
    // Byte by byte.
    let mut stream = UnixStream::connect(bot.socket()).unwrap_or_else(|error| panic!("{error}"));
    for byte in b"STATE\n" {
        stream.write_all(&[*byte]).unwrap_or_default();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap_or_default();
    assert_eq!(answer, "B\n");
}

#[test]
fn whoever_says_nothing_reads_nothing_or_hangs_up_holds_up_nobody() {
    let bot = bot(
        "{initial: A, terminal: C, states: [{tag: A, next: B}, {tag: B, next: A, shell: 'until [ -e $DIR/go ]; do sleep 0.01; done'}, {tag: C}]}",
    );
    let connect = || UnixStream::connect(bot.socket()).unwrap_or_else(|error| panic!("{error}"));
    let silent: Vec<_> = (0..1000).map(|_| connect()).collect();
    let mut gone = connect();
    gone.write_all(b"WAIT B\n").unwrap_or_default();
    bot.wait_for_state("B");
    drop(gone);
    // One that watches and never reads, and one that has shut both ways.
    let mut deaf = connect();
    deaf.write_all(b"WATCH\n").unwrap_or_default();
    let mut shut = connect();
    shut.write_all(b"WATCH\n").unwrap_or_default();
    shut.shutdown(Shutdown::Both).unwrap_or_default();
    fs::write(bot.path("go"), "").unwrap_or_default();
    for _ in 0..100 {
        assert_eq!(bot.ctl(&["WAIT", "A"]).stdout, "OK\n");
        assert_eq!(bot.ctl(&["WAIT", "B"]).stdout, "OK\n");
    }
    drop((silent, deaf));
}

#[test]
fn a_thousand_clients_at_once_get_an_answer_each() {
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
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_default();
        assert_eq!(answer, "A\n");
    }
}

#[test]
fn whoever_waits_when_it_ends_is_told() {
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
        // Whoever comes later is served later.
        bot.wait_for_state("C");
        fs::write(bot.path("go"), "").unwrap_or_default();
        for mut stream in streams {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{error}"));
            assert!(answer == "KO 4\n" || answer == "KO\n", "{answer:?}");
        }
        assert_eq!(bot.sexton.wait(), 4);
    }
}

#[test]
fn whoever_waits_leaves_room_for_others() {
    let mut bot = super::starting_below(
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
    // 100 open files are 36 places, three quarters of which may wait.
    bot.sexton.wait_for_stderr("too many clients");
    assert_eq!(bot.socat("STATE"), "A\n");
    drop(waiting);
    // They have hung up: there is room again.
    wait_until("room", || {
        let mut stream = UnixStream::connect(bot.socket()).ok()?;
        stream.write_all(b"WATCH\n").ok()?;
        stream.set_read_timeout(Some(std::time::Duration::from_millis(50))).ok()?;
        let said = stream.read(&mut [0; 4]);
        said.is_err().then_some(())
    });
    fs::write(bot.path("go"), "").unwrap_or_default();
    bot.socat("DIE");
    assert_eq!(bot.sexton.wait(), 0);
}

#[test]
fn history_and_watch_tell_of_transitions() {
    let mut bot = bot(SIMPLE);
    bot.wait_for("ran", "A\n");
    let mut watch = UnixStream::connect(bot.socket()).unwrap_or_else(|error| panic!("{error}"));
    watch.write_all(b"WATCH\n").unwrap_or_default();
    watch.shutdown(Shutdown::Write).unwrap_or_default();
    let mut told = Vec::new();
    let mut buffer = [0; 4096];
    // It follows when the first line comes: what is asked for before may be missed.
    while !String::from_utf8_lossy(&told).contains("to=B") {
        assert_eq!(bot.socat("WAIT B say \"hi\""), "OK\n");
        watch.set_nonblocking(true).unwrap_or_default();
        if let Ok(length) = watch.read(&mut buffer) {
            told.extend_from_slice(&buffer[..length]);
        }
    }
    let line = String::from_utf8_lossy(&told).lines().last().unwrap_or_default().to_owned();
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
fn the_client_prints_the_answer_and_tells_ko_by_its_code() {
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
    // A state whose name begins like a refusal.
    let done = other.ctl(&["STATE"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "KOALA\n"));
    // Somebody else's socket, where nothing is answered.
    let silent = bot.path("silent");
    let listener = UnixListener::bind(&silent).unwrap_or_else(|error| panic!("{error}"));
    let hang_up = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.read_to_string(&mut String::new())
    });
    let silent = silent.to_string_lossy().into_owned();
    let done = crate::harness::Sexton::new(["automaton", "ctl", "-s", &silent, "STATE"]).done();
    assert!(done.code == 69 && done.stderr.contains("closed the connection without a response"), "{done:?}");
    assert!(hang_up.join().is_ok_and(|said| said.is_ok_and(|length| length == 6)), "nobody came");
    let directory = testkit::private_directory();
    let nowhere = directory.path().join("none").to_string_lossy().into_owned();
    let done = crate::harness::Sexton::new(["automaton", "ctl", "-s", &nowhere, "STATE"]).done();
    assert_eq!(done.code, 69);
    assert!(done.stderr.contains("cannot connect to the automaton at"), "{}", done.stderr);
}

#[test]
fn the_socket_is_its_owners_unless_somebody_says_otherwise() {
    let mode = |bot: &super::Bot| fs::metadata(bot.socket()).map_or(0, |it| it.permissions().mode() & 0o777);
    assert_eq!(mode(&bot(SIMPLE)), 0o600);
    assert_eq!(mode(&bot(&format!("socketMode: 666\n{SIMPLE}"))), 0o666);
    assert_eq!(mode(&bot_with(&format!("socketMode: 666\n{SIMPLE}"), &["--socket-mode", "660"])), 0o660);
}

#[test]
fn a_stale_socket_is_told_from_a_live_one() {
    let first = bot(SIMPLE);
    let socket = first.socket().to_string_lossy().into_owned();
    let second = starting(SIMPLE, &["--socket", &socket]);
    drop(second);
    let again = |socket: &str| {
        let file = first.path("bot.yml").to_string_lossy().into_owned();
        crate::harness::Sexton::new(["-p", "none", "automaton", &file, "-s", socket])
    };
    let done = again(&socket).done();
    assert_eq!(done.code, 69);
    assert!(done.stderr.contains("in use by another sexton"), "{}", done.stderr);
    assert_eq!(first.socat("STATE"), "A\n", "it is unharmed");
    // Of another program that knows no lock.
    let other = first.path("other");
    let listener = UnixListener::bind(&other).unwrap_or_else(|error| panic!("{error}"));
    let done = again(&other.to_string_lossy()).done();
    assert!(done.code == 69 && done.stderr.contains("in use by another program"), "{}", done.stderr);
    drop(listener);
    let mut taken = again(&other.to_string_lossy()).start();
    wait_until("taken over", || (socat(&other, b"STATE\n") == "A\n").then_some(()));
    assert_eq!(taken.ended(), None);
    for (path, part) in [
        (format!("{}/{}", first.path("").display(), "x".repeat(120)), "the path is too long"),
        (first.path("bot.yml").to_string_lossy().into_owned(), "is not a socket"),
        ("/proc/none/sock".to_owned(), "no such file"),
    ] {
        let done = again(&path).done();
        assert!(done.code == 69 && done.stderr.contains(part), "{path}: {}", done.stderr);
    }
}
