//! An ensemble of pods: members, masters, the leader and its callback.

mod certificates;
mod faults;
mod identity;
mod leaders;
mod list;
mod network;
mod rpc;
mod scale;
mod stores;
mod up;

use std::path::Path;

use serde_json::{Value, json};
use testkit::http::{self, Answer};
use testkit::servers::free_ports;
use testkit::{TempDir, private_directory, wait_until};

use crate::harness::{Running, Sexton};

/// A pod.
struct Pod {
    sexton: Running,
    port: u16,
}

impl Pod {
    fn start(arguments: &[&str]) -> Self {
        let port = free_ports(1)[0];
        let number = port.to_string();
        let front = ["ensemble", "--app", "demo", "-i", "127.0.0.1", "-p", &number, "--statsd", "none"];
        let sexton = Sexton::new(front.iter().chain(arguments)).start();
        wait_until(&format!("a pod; {}", sexton.stderr()), || testkit::servers::answers(port).then_some(()));
        Self { sexton, port }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let address = ([127, 0, 0, 1], self.port).into();
        let answer = http::with_body(address, (method, path), headers, body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}; {}", self.sexton.stderr()))
    }

    fn json(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, &[], "");
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}: {answer:?}"))
    }

    /// The names of the members in the order of the list.
    fn names(&self) -> Vec<String> {
        let all = self.json("/v1/pods");
        all.as_array().into_iter().flatten().filter_map(|it| Some(it["id"].as_str()?.to_owned())).collect()
    }

    #[track_caller]
    fn wait_for_names(&self, names: &[&str]) {
        wait_until(&format!("{names:?}, not {:?}; {}", self.names(), self.sexton.stderr()), || {
            (self.names() == names).then_some(())
        });
    }

    fn ping(&self, keepalive: &Value) -> Answer {
        self.ask("PUT", "/ping", &[], &keepalive.to_string())
    }
}

/// A keepalive of a member.
fn keepalive(id: &str, payload: &Value) -> Value {
    json!({"app": "demo", "id": id, "ip": "10.0.0.9", "key": "x", "nonce": "n", "payload": payload, "role": "r"})
}

/// A callback that writes a line for each run into `calls`: when it began and ended, and its input. After that
/// comes a script of its own.
fn callback(directory: &TempDir, script: &str) -> String {
    let path = directory.path().join("callback");
    let calls = directory.path().join("calls").display().to_string();
    let text = format!(
        "#!/bin/sh\nexec 9>>{calls}.lock; flock -n 9 || echo overlap >> {calls}\necho \"begin $FENCE $MD5 $CHANGES\" >> {calls}\n{script}\necho \"end $FENCE $MD5\" >> {calls}\n"
    );
    testkit::executable(&path, &text);
    path.display().to_string()
}

fn calls(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("calls")).unwrap_or_default()
}

/// Runs never overlap: each beginning is followed by its end, or by the beginning of a higher leader.
fn never_overlap(directory: &Path) {
    let text = calls(directory);
    assert!(!text.contains("overlap"), "{text}");
    let mut running: Option<u64> = None;
    let mut newest = 0;
    for line in text.lines() {
        let mut arguments = line.split(' ');
        let (what, fence) =
            (arguments.next(), arguments.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0));
        assert!(fence >= newest, "{fence} after {newest}: {text}");
        if what == Some("begin") {
            assert!(running.is_none_or(|before| before < fence), "two at once: {text}");
            running = Some(fence);
        } else {
            assert_eq!(running.take(), Some(fence), "{text}");
        }
        newest = fence;
    }
}

fn store(directory: &TempDir) -> String {
    directory.path().join("store").display().to_string()
}

fn place() -> TempDir {
    private_directory()
}
