//! The shared lock: the server, `lock hold`, processes with a lock, and failures of all of them.

mod chaos;
mod faults;
mod server;
mod up;

use std::path::Path;

use serde_json::Value;
use testkit::http::{self, Answer};
use testkit::servers::free_ports;
use testkit::wait_until;

use crate::harness::{Running, Sexton};

/// A lock server with its store in a directory.
struct Locks {
    sexton: Option<Running>,
    port: u16,
    arguments: Vec<String>,
}

impl Locks {
    /// With the store in this file, created some time ago.
    fn embedded(store: &Path) -> Self {
        let mut it = Self::new_store(store);
        // It listens before the store is open.
        wait_until("a store", || store.exists().then_some(()));
        it.kill();
        it.restart();
        it
    }

    /// With a new store.
    fn new_store(store: &Path) -> Self {
        Self::start(vec!["--store".to_owned(), store.display().to_string()])
    }

    fn start(arguments: Vec<String>) -> Self {
        let mut it = Self { sexton: None, port: free_ports(1)[0], arguments };
        it.restart();
        it
    }

    /// On the same port as before.
    fn restart(&mut self) {
        let port = self.port.to_string();
        let arguments = ["lock", "serve", "-i", "127.0.0.1", "-p", &port].map(str::to_owned);
        let sexton = Sexton::new(arguments.iter().chain(&self.arguments)).start();
        let port = self.port;
        wait_until(&format!("a lock server; {}", sexton.stderr()), || {
            testkit::servers::answers(port).then_some(())
        });
        self.sexton = Some(sexton);
    }

    fn kill(&mut self) {
        self.sexton = None;
    }

    fn signal(&self, signal: i32) {
        if let Some(sexton) = &self.sexton {
            sexton.signal(signal);
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A request with a body and headers.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let address = ([127, 0, 0, 1], self.port).into();
        let answer = http::with_body(address, (method, path), headers, body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn json(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
        let answer = self.ask(method, path, headers, &body.to_string());
        (answer.code, serde_json::from_str(&answer.body).unwrap_or_default())
    }

    /// The names of held locks.
    fn held(&self) -> Vec<String> {
        let (_, all) = self.json("GET", "/v1/locks", &[], &Value::Null);
        let names =
            all.as_array().into_iter().flatten().filter_map(|it| Some(it["key"].as_str()?.to_owned()));
        names.collect()
    }
}

/// `sexton lock hold` with a shell command, in its own directory.
fn hold(locks: &Locks, name: &str, ttl: &str, script: &str) -> Running {
    Sexton::new([
        "-v",
        "lock",
        "hold",
        "--lock-ttl",
        ttl,
        "--url",
        &locks.url(),
        name,
        "--",
        "sh",
        "-c",
        script,
    ])
    .start()
}
