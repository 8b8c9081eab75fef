//! Many members at once, members with the same address, and clocks that differ.

use std::io::{Read as _, Write as _};
use std::path::Path;

use serde_json::json;
use testkit::http::connect;
use testkit::servers::etcd::Etcd;
use testkit::servers::free_ports;
use testkit::wait_until;

use super::{Pod, callback, calls, keepalive, never_overlap, place, store};
use crate::harness::{SEXTON, Sexton};

/// The number of members, and of connections.
const MEMBERS: usize = 10_000;
const CONNECTIONS: usize = 200;

/// Sends all keepalives over one connection, and returns how many were accepted.
fn say(port: u16, keepalives: &[String]) -> usize {
    let mut stream = connect(([127, 0, 0, 1], port).into()).unwrap_or_else(|error| panic!("{error}"));
    let mut taken = 0;
    for body in keepalives {
        let head = format!("PUT /ping HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        let mut answer = Vec::new();
        let mut byte = [0; 512];
        while !answer.ends_with(b"\n") || !answer.windows(4).any(|it| it == b"\r\n\r\n") {
            let read = stream.read(&mut byte).unwrap_or_else(|error| panic!("{error}"));
            assert!(read > 0, "cut off");
            answer.extend_from_slice(&byte[..read]);
        }
        taken += usize::from(answer.starts_with(b"HTTP/1.1 200"));
    }
    taken
}

#[test]
fn ten_thousand_members_that_join_at_once_are_all_listed() {
    let directory = place();
    let master = Pod::start(&["--role", "master", "--member-ttl", "10m", "--store", &store(&directory)]);
    let all: Vec<_> =
        (0..MEMBERS).map(|number| keepalive(&format!("pod-{number}"), &json!(number)).to_string()).collect();
    let taken: usize = std::thread::scope(|scope| {
        let port = master.port;
        let shares: Vec<_> =
            all.chunks(MEMBERS / CONNECTIONS).map(|share| scope.spawn(move || say(port, share))).collect();
        shares.into_iter().map(|share| share.join().unwrap_or(0)).sum()
    });
    assert_eq!(taken, MEMBERS, "{}", master.sexton.stderr());
    assert_eq!(master.json("/v1/digest")["pods"], MEMBERS);
    let pods = master.json("/v1/pods");
    let numbers: Vec<_> = pods.as_array().into_iter().flatten().filter_map(|it| it["seq"].as_u64()).collect();
    assert!(numbers.len() == MEMBERS && numbers.is_sorted_by(|a, b| a < b));
    // The same list in pages.
    let (mut after, mut read) = (0, Vec::new());
    loop {
        let page = master.json(&format!("/v1/pods?after={after}&limit=3000"));
        let page: Vec<_> =
            page.as_array().into_iter().flatten().filter_map(|it| it["seq"].as_u64()).collect();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3000);
        after = *last;
        read.extend(page);
    }
    assert_eq!(read, numbers);
    assert_eq!(master.ask("GET", "/v1/pods?limit=few", &[], "").code, 400);
}

#[test]
fn members_with_the_same_address_are_distinct() {
    let directory = place();
    let master = Pod::start(&["--role", "master", "--store", &store(&directory)]);
    for id in ["a", "b"] {
        assert_eq!(master.ping(&keepalive(id, &json!(1))).code, 200);
    }
    let pods = master.json("/v1/pods");
    assert_eq!((&pods[0]["ip"], &pods[0]["id"], &pods[1]["id"]), (&pods[1]["ip"], &json!("a"), &json!("b")));
}

/// Sexton in a time namespace with an offset.
fn in_another_time(offset: &str, arguments: &[&str]) -> Sexton {
    let front = ["-rT", "--boottime", offset, "--monotonic", offset, "--kill-child", "--fork", SEXTON];
    Sexton::program(Path::new("/usr/bin/unshare"), front.iter().chain(arguments))
}

#[test]
fn clocks_may_differ_by_days() {
    let etcd = Etcd::start(1);
    let directory = place();
    let run = callback(&directory, "sleep 0.2");
    let ports = free_ports(3);
    let numbers: Vec<_> = ports.iter().map(u16::to_string).collect();
    let endpoints = etcd.endpoints().join(",");
    let master = |offset: &str, number: usize| {
        let arguments = [
            "ensemble",
            "--app",
            "demo",
            "-i",
            "127.0.0.1",
            "-p",
            &numbers[number],
            "--statsd",
            "none",
            "--role",
            "master",
            "--id",
            &numbers[number],
            "--callback",
            &run,
            "--damper",
            "100ms",
            "--fail-over",
            "5s",
            "--member-ttl",
            "5s",
            "--etcd",
            &endpoints,
        ];
        Pod { sexton: in_another_time(offset, &arguments).start(), port: ports[number] }
    };
    let (one, two) = (master("86400", 0), master("604800", 1));
    for pod in [&one, &two] {
        wait_until("a master", || testkit::servers::answers(pod.port).then_some(()));
    }
    let masters = format!("127.0.0.1:{},127.0.0.1:{}", one.port, two.port);
    let arguments = [
        "ensemble",
        "--app",
        "demo",
        "-i",
        "127.0.0.1",
        "-p",
        &numbers[2],
        "--statsd",
        "none",
        "--role",
        "member",
        "--id",
        "m",
        "--masters",
        &masters,
        "--member-ttl",
        "5s",
    ];
    let member = in_another_time("31536000", &arguments).start();
    one.wait_for_names(&["m"]);
    two.wait_for_names(&["m"]);
    let leads = |pod: &Pod| pod.json("/v1/leader")["leads"] == true;
    let first = wait_until("a leader", || [&one, &two].into_iter().find(|pod| leads(pod)));
    let other = if first.port == one.port { &two } else { &one };
    wait_until("the callback has run", || calls(directory.path()).contains("end").then_some(()));
    assert_eq!(first.ask("POST", "/down", &[], "").code, 200);
    wait_until(&format!("another leader; {}", other.sexton.stderr()), || leads(other).then_some(()));
    assert_eq!(other.names(), ["m"], "it was there all the time");
    assert_eq!(other.json("/v1/pods")[0]["seq"], 1);
    drop(member);
    never_overlap(directory.path());
}
