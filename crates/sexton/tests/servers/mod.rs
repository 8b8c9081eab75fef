//! Probes and hooks with real databases and brokers, healthy and failing.

mod amqp;
mod redis;
mod sql;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::thread;

use serde_json::Value;
use testkit::TempDir;
use testkit::servers::certificates::{Authority, Certificate};

use crate::up::{Up, up};

/// A process that sleeps, with these variables and this readiness probe.
fn probed(variables: &[(&str, &str)], probe: &str) -> Up {
    let mut text = "processes:\n  app:\n    command: [sleep, inf]\n    env:\n      NOTHING: x\n".to_owned();
    for (name, value) in variables {
        let _ = writeln!(text, "      {name}: {}", serde_json::json!(value));
    }
    let _ = writeln!(
        text,
        "    readinessProbe: {{{probe}, periodSeconds: 100ms, timeoutSeconds: 3, failureThreshold: 1}}"
    );
    up(&text)
}

/// Waits until it is not ready, with a reason that contains this.
#[track_caller]
fn unready(up: &mut Up, part: &str) -> Value {
    let reported = up.wait_until("app", part, |it| {
        it["ready"] == false && it["state"].as_str().is_some_and(|state| state.contains(part))
    });
    let everything = format!("{reported} {}", up.sexton.stderr());
    assert!(!everything.contains("s3cretPW"), "a secret is shown: {everything}");
    reported
}

/// A CA and its certificates: for 127.0.0.1, for another name, and an expired one.
struct Certificates {
    directory: TempDir,
    ca: Authority,
}

impl Certificates {
    fn new() -> Self {
        let directory = testkit::private_directory();
        let ca = Authority::new(directory.path(), "ca");
        Self { directory, ca }
    }

    fn good(&self) -> Certificate {
        self.ca.sign("good", "IP:127.0.0.1")
    }

    fn of_another(&self) -> Certificate {
        self.ca.sign("another", "DNS:other.example")
    }

    fn expired(&self) -> Certificate {
        self.ca.sign_expired("expired", "IP:127.0.0.1")
    }

    fn ca(&self) -> String {
        self.ca.certificate().display().to_string()
    }

    /// Another certificate authority.
    fn stranger(&self) -> String {
        Authority::new(self.directory.path(), "stranger").certificate().display().to_string()
    }
}

/// A server that sends this to every client and then only reads.
fn saying(arguments: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
    let port = listener.local_addr().map_or(0, |address| address.port());
    thread::spawn(move || {
        // Accepted connections stay open as long as the test runs.
        let mut kept = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.write_all(arguments);
            kept.push(stream);
        }
    });
    port
}
