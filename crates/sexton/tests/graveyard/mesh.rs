//! Servers that are waited for, and told to end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use crate::harness::Sexton;

/// A server that answers each request with the next of these codes (the last for ever), and tells what it was asked.
fn server(codes: &'static [u16]) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
    let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
    let (told, asked) = mpsc::channel();
    thread::spawn(move || {
        let last = codes.last().copied().unwrap_or(200);
        let mut codes = codes.iter().copied();
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            let _ = lines.find(String::is_empty);
            let code = codes.next().unwrap_or(last);
            let answer = format!("HTTP/1.1 {code} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = (&stream).write_all(answer.as_bytes());
            if told.send(first).is_err() {
                return;
            }
        }
    });
    (format!("http://{address}"), asked)
}

fn run(options: &[&str], command: &[&str]) -> Sexton {
    Sexton::new([&["-v", "-p", "none", "run"][..], options, &["--"], command].concat())
}

#[test]
fn a_start_waits_for_a_server() {
    let (url, asked) = server(&[503, 503, 200]);
    let done = run(&["--wait-for", &format!("{url}/ready")], &["true"]).done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("not ready: HTTP 503"), "{}", done.stderr);
    assert_eq!(asked.try_iter().collect::<Vec<_>>(), ["GET /ready HTTP/1.1"; 3]);
}

#[test]
fn a_wait_for_a_server_has_an_end_and_may_go_on() {
    let port = crate::up::free_port();
    let url = format!("http://127.0.0.1:{port}/ready");
    let done = run(&["--wait-for", &url, "--birth-timeout", "150ms"], &["true"]).done();
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(
        done.stderr.contains(&format!("timed out after 150ms waiting for {url} to be ready")),
        "{}",
        done.stderr
    );
    let done = run(&["--wait-for", &format!("{url}@100ms?")], &["true"]).done();
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn others_are_told_to_end_when_we_have_ended() {
    let (url, asked) = server(&[503, 200]);
    let done = run(&["--quit", &format!("{url}/quitquitquit")], &["sh", "-c", "exit 3"]).done();
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert_eq!(asked.try_iter().collect::<Vec<_>>(), ["POST /quitquitquit HTTP/1.1"; 2]);
}

#[test]
fn they_are_not_told_if_we_have_failed_and_that_is_not_wanted() {
    let (url, asked) = server(&[200]);
    let options = ["--quit", &url, "--quit-when", "success"];
    assert_eq!(run(&options, &["false"]).done().code, 1);
    assert_eq!(asked.try_iter().count(), 0);
    assert_eq!(run(&options, &["true"]).done().code, 0);
    assert_eq!(asked.try_iter().count(), 1);
}

#[test]
fn if_they_cannot_be_told_that_is_an_error_only_where_it_is_said_to_be() {
    let port = crate::up::free_port();
    for (word, code) in [("@100ms", 0), ("@100ms?", 0), ("@100ms!", 1)] {
        let done = run(&["--quit", &format!("http://127.0.0.1:{port}{word}")], &["true"]).done();
        assert_eq!(done.code, code, "{word}: {}", done.stderr);
        assert!(done.stderr.contains("quit request failed within 100ms"), "{}", done.stderr);
    }
}

#[test]
fn whoever_asks_us_to_end_does_not_wait_for_others() {
    // It accepts and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
    let address = silent.local_addr().unwrap_or_else(|error| panic!("{error}"));
    let sexton = run(&["--quit", &format!("http://{address}@1000s")], &["true"]).start();
    let (_connection, _) = silent.accept().unwrap_or_else(|error| panic!("{error}"));
    let done = sexton.stop();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("skipping the remaining quit requests"), "{}", done.stderr);
}
