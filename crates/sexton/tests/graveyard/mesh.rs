//! `--wait-for` and `--quit`: servers that the start waits for, and servers that are requested to quit.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use crate::harness::Sexton;

/// Starts a server that responds with these codes in turn (then always the last); returns its URL and the received request lines.
fn server(codes: &'static [u16]) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
    let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
    let (sender, requests) = mpsc::channel();
    thread::spawn(move || {
        let last = codes.last().copied().unwrap_or(200);
        let mut codes = codes.iter().copied();
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            let _ = lines.find(String::is_empty);
            let code = codes.next().unwrap_or(last);
            let response = format!("HTTP/1.1 {code} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = (&stream).write_all(response.as_bytes());
            if sender.send(first).is_err() {
                return;
            }
        }
    });
    (format!("http://{address}"), requests)
}

fn run(options: &[&str], command: &[&str]) -> Sexton {
    Sexton::new([&["-v", "-p", "none", "run"][..], options, &["--"], command].concat())
}

#[test]
fn start_waits_for_a_server() {
    let (url, requests) = server(&[503, 503, 200]);
    let done = run(&["--wait-for", &format!("{url}/ready")], &["true"]).done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("not ready: HTTP 503"), "{}", done.stderr);
    assert_eq!(requests.try_iter().collect::<Vec<_>>(), ["GET /ready HTTP/1.1"; 3]);
}

#[test]
fn wait_for_a_server_times_out_and_may_be_optional() {
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
fn quit_request_is_sent_and_retried_after_the_command_exits() {
    let (url, requests) = server(&[503, 200]);
    let done = run(&["--quit", &format!("{url}/quitquitquit")], &["sh", "-c", "exit 3"]).done();
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert_eq!(requests.try_iter().collect::<Vec<_>>(), ["POST /quitquitquit HTTP/1.1"; 2]);
}

#[test]
fn quit_when_success_sends_no_request_after_a_failure() {
    let (url, requests) = server(&[200]);
    let options = ["--quit", &url, "--quit-when", "success"];
    assert_eq!(run(&options, &["false"]).done().code, 1);
    assert_eq!(requests.try_iter().count(), 0);
    assert_eq!(run(&options, &["true"]).done().code, 0);
    assert_eq!(requests.try_iter().count(), 1);
}

#[test]
fn failed_quit_request_is_an_error_only_when_required() {
    let port = crate::up::free_port();
    for (suffix, code) in [("@100ms", 0), ("@100ms?", 0), ("@100ms!", 1)] {
        let done = run(&["--quit", &format!("http://127.0.0.1:{port}{suffix}")], &["true"]).done();
        assert_eq!(done.code, code, "{suffix}: {}", done.stderr);
        assert!(done.stderr.contains("quit request failed within 100ms"), "{}", done.stderr);
    }
}

#[test]
fn stop_request_cancels_pending_quit_requests() {
    // It accepts connections and never responds.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
    let address = silent.local_addr().unwrap_or_else(|error| panic!("{error}"));
    let sexton = run(&["--quit", &format!("http://{address}@1000s")], &["true"]).start();
    let (_connection, _) = silent.accept().unwrap_or_else(|error| panic!("{error}"));
    let done = sexton.stop();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("skipping the remaining quit requests"), "{}", done.stderr);
}
