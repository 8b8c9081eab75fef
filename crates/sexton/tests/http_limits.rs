//! Limits of the HTTP server: no client starves the others.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use testkit::{http, wait_until};

use crate::harness::{Running, Sexton};

fn running() -> Running {
    let mut sexton = Sexton::with_server(["run", "--", "sleep", "1000"]).start();
    sexton.wrapped();
    sexton
}

#[test]
fn a_connection_can_be_kept_for_many_requests() {
    let mut sexton = running();
    let mut stream = http::connect(sexton.address()).unwrap_or_else(|error| panic!("{error}"));
    let mut seen = String::new();
    for count in 1..=50 {
        stream.write_all(b"GET /liveness HTTP/1.1\r\nHost: x\r\n\r\n").unwrap_or_default();
        let mut buffer = [0; 4096];
        while seen.matches("ok\n").count() < count {
            let read = stream.read(&mut buffer).unwrap_or(0);
            assert!(read > 0, "closed after {count}: {seen}");
            seen += &String::from_utf8_lossy(&buffer[..read]);
        }
    }
    // Several at once, and HTTP/1.0.
    stream.write_all(&b"GET /liveness HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3)).unwrap_or_default();
    stream.write_all(b"GET /liveness HTTP/1.0\r\n\r\n").unwrap_or_default();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap_or_default();
    assert_eq!(rest.matches("ok\n").count(), 4, "{rest}");
}

#[test]
fn a_too_large_request_head_is_rejected() {
    let mut sexton = running();
    for head in [
        format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(1 << 20)),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(1 << 20)),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(1000)),
    ] {
        let stream = http::connect(sexton.address()).unwrap_or_else(|error| panic!("{error}"));
        if let Ok(answer) = http::raw(stream, head.as_bytes()) {
            assert!(matches!(answer.code, 400 | 414 | 431), "{answer:?}");
        }
    }
    assert_eq!(sexton.get("/liveness").code, 200);
}

#[test]
fn anything_but_http_is_rejected() {
    let mut sexton = running();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01"[..],
        b"\0\0\0\0\r\n\r\n",
        b"HELLO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        let stream = http::connect(sexton.address()).unwrap_or_else(|error| panic!("{error}"));
        let _ = stream.shutdown(std::net::Shutdown::Read);
        let _ = http::raw(&stream, bytes);
    }
    assert_eq!(sexton.get("/liveness").code, 200);
}

#[test]
fn a_request_body_is_not_kept() {
    let mut sexton = running();
    let mut stream = http::connect(sexton.address()).unwrap_or_else(|error| panic!("{error}"));
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\nxxxx")
        .unwrap_or_default();
    let mut buffer = [0; 64];
    let read = stream.read(&mut buffer).unwrap_or(0);
    assert!(buffer[..read].starts_with(b"HTTP/1.1 200"));
}

#[test]
fn ten_thousand_connections_do_not_starve_others() {
    let mut sexton = running();
    let address = sexton.address();
    let mut open: Vec<TcpStream> = Vec::new();
    let mut begun = 0;
    let many = 10_000.min(descriptors_to_spend());
    for number in 0..many {
        // A connection that comes too fast may be refused for a moment; a closed one does not matter.
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        begun += 1;
        // A third is silent, a third sends a part of a request, a third has had its response.
        match number % 3 {
            0 => {}
            1 => drop(stream.write_all(b"GET / HT")),
            _ => drop(stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")),
        }
        open.push(stream);
    }
    assert!(begun > many * 9 / 10 && begun > 2000, "{begun} of {many}");
    let asked = Instant::now();
    assert_eq!(sexton.get("/readiness").code, 200);
    assert!(asked.elapsed() < testkit::LIMIT / 4);
    let metrics = sexton.get("/metrics").body;
    let figure = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.parse::<u64>().ok()).unwrap_or_else(|| panic!("{name} in {metrics}"))
    };
    assert!(figure("sexton_http_connections") <= 1024);
    assert!(figure("sexton_http_connections_cut_total") > 0);
    assert!(figure("process_resident_memory_bytes") < 64 << 20, "{metrics}");
    drop(open);
    wait_until("all are forgotten", || {
        sexton.get("/metrics").body.contains("sexton_http_connections 1\n").then_some(())
    });
}

/// Raises the descriptor limit, and returns how many more descriptors this process may open.
fn descriptors_to_spend() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is valid for both calls.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX).saturating_sub(1000)
}

#[test]
fn a_follower_that_does_not_read_blocks_nothing_and_sees_the_gap() {
    let mut sexton =
        Sexton::with_server(["supervise", "--wait", "0", "--name", &"n".repeat(2000), "--", "true"]).start();
    let mut deaf = http::connect(sexton.address()).unwrap_or_else(|error| panic!("{error}"));
    deaf.write_all(b"GET /v1/events?follow HTTP/1.1\r\nHost: x\r\n\r\n").unwrap_or_default();
    // More than the system holds for a connection (tcp(7), tcp_wmem and tcp_rmem: 4 and 6 MiB at most).
    wait_until("12 MB of events", || (sexton.process()["starts"].as_i64() > Some(2000)).then_some(()));
    assert_eq!(sexton.get("/liveness").code, 200);
    let metrics = sexton.get("/metrics").body;
    let memory = metrics
        .lines()
        .find_map(|line| line.strip_prefix("process_resident_memory_bytes ")?.parse::<u64>().ok());
    assert!(memory.is_some_and(|bytes| bytes < 32 << 20), "{memory:?}");
    let mut last = 0;
    let mut gap = false;
    for line in std::io::BufRead::lines(std::io::BufReader::new(deaf)).map_while(Result::ok) {
        let number =
            line.strip_prefix("{\"number\":").and_then(|rest| rest.split(',').next()?.parse::<u64>().ok());
        let Some(number) = number else { continue };
        gap |= last > 0 && number > last + 1;
        last = number;
        if gap {
            break;
        }
    }
    assert!(gap, "{last} events without a gap");
}

#[test]
fn the_stream_of_a_follower_ends_with_the_process() {
    let mut sexton = Sexton::with_server(["run", "--", "sleep", "1000"]).start();
    let mut follower = http::connect(sexton.address()).unwrap_or_else(|error| panic!("{error}"));
    follower.write_all(b"GET /v1/events?follow HTTP/1.1\r\nHost: x\r\n\r\n").unwrap_or_default();
    sexton.wrapped();
    sexton.signal(libc::SIGTERM);
    let mut text = String::new();
    follower.read_to_string(&mut text).unwrap_or_default();
    assert!(text.contains("\"event\":\"exited\"") && text.contains("\"event\":\"done\""), "{text}");
    assert!(text.ends_with("\r\n0\r\n\r\n"), "the stream ends as it should: {text}");
    assert_eq!(sexton.wait(), 143);
}
