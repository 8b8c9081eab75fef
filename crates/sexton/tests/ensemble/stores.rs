//! A slow store, and a full one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::servers::etcd::Etcd;
use testkit::wait_until;

use super::{Pod, callback, calls, keepalive, never_overlap, place};

fn master(etcd: &Etcd, run: &str, more: &[&str]) -> Pod {
    let endpoints = etcd.endpoints().join(",");
    let arguments = ["--role", "master", "--callback", run, "--damper", "100ms", "--etcd", &endpoints];
    Pod::start(&[&arguments[..], more].concat())
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn pass(time: Duration) {
    let begun = Instant::now();
    wait_until("time passes", || (begun.elapsed() >= time).then_some(()));
}

#[test]
fn a_slow_store_costs_no_leadership_and_no_change() {
    let etcd = Etcd::start(1);
    let directory = place();
    let run = callback(&directory, "echo 1");
    let master = master(&etcd, &run, &["--fail-over", "30s", "--member-ttl", "60s"]);
    assert_eq!(master.ping(&keepalive("a", &json!(0))).code, 200);
    wait_until("it leads", || (master.json("/v1/leader")["leads"] == true).then_some(()));
    let fence = master.json("/v1/leader")["fence"].clone();
    // As with a busy disk: responses only for a moment every half second.
    let slow = AtomicBool::new(true);
    std::thread::scope(|scope| {
        // Not slow any more, whatever the outcome.
        let _ends = Ends(&slow);
        scope.spawn(|| {
            while slow.load(Ordering::Relaxed) {
                etcd.signal(0, libc::SIGSTOP);
                pass(Duration::from_millis(300));
                etcd.signal(0, libc::SIGCONT);
                pass(Duration::from_millis(150));
            }
        });
        for number in 1..12 {
            let answer = master.ping(&keepalive("a", &json!(number)));
            assert_eq!(answer.code, 200, "{answer:?}");
        }
        let digest = master.json("/v1/digest")["digest"].as_str().unwrap_or_default().to_owned();
        wait_until(&format!("reported; {}", master.sexton.stderr()), || {
            let calls = calls(directory.path());
            calls.lines().last().filter(|line| line.starts_with("end") && line.ends_with(&digest)).map(drop)
        });
    });
    assert_eq!(master.json("/v1/leader")["fence"], fence, "{}", master.sexton.stderr());
    never_overlap(directory.path());
}

#[test]
fn a_full_store_keeps_its_members_and_accepts_others_when_there_is_room() {
    let etcd = Etcd::start_with(1, false, &["--quota-backend-bytes", "2000000"]);
    let directory = place();
    let run = callback(&directory, "echo 1");
    let master = master(&etcd, &run, &["--member-ttl", "4s"]);
    assert_eq!(master.ping(&keepalive("a", &json!(0))).code, 200);
    let value = "x".repeat(100_000);
    // The size is checked only from time to time.
    let full = (0..1000).any(|number| {
        assert_eq!(master.ping(&keepalive("a", &json!(0))).code, 200);
        let put = etcd.ctl(None).args(["put", &format!("/f/{number}"), &value]).output();
        put.is_ok_and(|put| String::from_utf8_lossy(&put.stderr).contains("space exceeded"))
    });
    assert!(full, "it is never full");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        assert_eq!(master.ping(&keepalive("a", &json!(0))).code, 200, "one that is known says nothing new");
        pass(Duration::from_millis(500));
    }
    let answer = master.ping(&keepalive("b", &json!(0)));
    assert!(answer.code == 503 && answer.body.contains("full"), "{answer:?}");
    assert_eq!(master.names(), ["a"]);
    // Room is made.
    let make = |arguments: &[&str]| {
        let done = etcd.ctl(None).args(arguments).output();
        assert!(done.as_ref().is_ok_and(|done| done.status.success()), "{arguments:?}: {done:?}");
    };
    make(&["del", "--prefix", "/f/"]);
    // Keys deleted after this revision are still kept.
    make(&["compact", "--physical", &revision(&etcd)]);
    make(&["defrag"]);
    make(&["alarm", "disarm"]);
    let begun = Instant::now();
    for id in ["a", "b"] {
        loop {
            let answer = master.ping(&keepalive(id, &json!(0)));
            if answer.code == 200 {
                break;
            }
            assert!(begun.elapsed() < testkit::LIMIT, "{answer:?}; {}", etcd.run(&["alarm", "list"]));
        }
    }
    master.wait_for_names(&["a", "b"]);
}

fn revision(etcd: &Etcd) -> String {
    let reported: serde_json::Value =
        serde_json::from_str(&etcd.run(&["get", "/none", "--write-out", "json"])).unwrap_or_default();
    reported["header"]["revision"].to_string()
}
