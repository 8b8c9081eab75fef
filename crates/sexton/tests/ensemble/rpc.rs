//! ZeroRPC on the same port: the reference client, sexton's own, and clients that violate the protocol.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testkit::http::connect;

use super::{Pod, keepalive, place, store};
use crate::harness::{Sexton, python_of_tools, skipped};

#[test]
fn the_reference_client_of_zerorpc_works() {
    let Some(python) = python_of_tools() else {
        return skipped("the Python package zerorpc: ./test installs it into target/test-tools");
    };
    let directory = place();
    let token = directory.path().join("token");
    std::fs::write(&token, "s3cret").unwrap_or_default();
    let path = token.display().to_string();
    let master = Pod::start(&["--role", "master", "--store", &store(&directory), "--token-file", &path]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ensemble/rpc_client.py");
    let asked = Command::new(python)
        .arg(script)
        .args([&master.port.to_string(), "s3cret", &keepalive("by-rpc", &json!({"x": 1})).to_string()])
        .output()
        .unwrap_or_else(|error| panic!("{error}"));
    let reported = String::from_utf8_lossy(&asked.stdout);
    let why = String::from_utf8_lossy(&asked.stderr);
    let mut all = serde_json::Map::new();
    for line in reported.lines() {
        if let Ok(Value::Object(map)) = serde_json::from_str(line) {
            all.extend(map);
        }
    }
    assert!(asked.status.success(), "{reported}\n{why}\n{}", master.sexton.stderr());
    let all = Value::Object(all);
    assert_eq!((&all["name"], &all["args"]), (&json!("sexton"), &json!([{"name": "json"}])), "{all}");
    assert_eq!(all["methods"], json!(["events", "invoke", "ping"]));
    assert_eq!((&all["pong"], &all["ping"]), (&json!(["pong", "sexton"]), &json!("OK")));
    assert_eq!((&all["bad"]["error"], &all["unknown"]["error"]), (&json!("ValueError"), &json!("NameError")));
    for what in ["no_token", "wrong"] {
        assert_eq!(all[what]["error"], "PermissionError", "{all}");
    }
    assert_eq!(
        all["slow"]["answer"], "{\"cmd\":\"sleep 7; echo $INPUT\"}\n",
        "no secrets for commands: {all}"
    );
    assert!(all["events"].as_array().is_some_and(|events| events.contains(&json!("changed"))), "{all}");
    assert_eq!(all["first"], 1);
    assert_eq!(master.names(), ["by-rpc"]);
    assert_eq!(master.json("/v1/digest")["pods"], 1, "HTTP on the same port");
}

#[test]
fn members_and_commands_may_use_zerorpc() {
    let directory = place();
    let token = directory.path().join("token");
    std::fs::write(&token, "s3cret").unwrap_or_default();
    let path = token.display().to_string();
    let master = Pod::start(&[
        "--role",
        "master",
        "--store",
        &store(&directory),
        "--token-file",
        &path,
        "--authenticated-keepalives",
    ]);
    let refused = master.ping(&keepalive("stranger", &json!(1)));
    assert_eq!(refused.code, 401, "{refused:?}");
    let at = format!("zerorpc://127.0.0.1:{}", master.port);
    let arguments =
        ["--role", "member", "--masters", &at, "--id", "pod-2", "--ip", "10.0.0.2", "--token-file", &path];
    let silent = Pod::start(&arguments);
    silent.sexton.wait_for_stderr("PermissionError: the token is missing or wrong");
    drop(silent);
    let member = Pod::start(&[&arguments[..], &["--authenticated-keepalives"]].concat());
    master.wait_for_names(&["pod-2"]);
    let ask = |arguments: &[&str]| {
        let done = Sexton::new(["ensemble"].iter().chain(arguments).chain(&["--pod", &at])).done();
        assert_eq!(done.code, 0, "{arguments:?}: {}", done.stderr);
        done.stdout
    };
    assert_eq!(ask(&["invoke", "--token-file", &path, "echo hello"]), "hello\n");
    let events = ask(&["events"]);
    assert!(events.lines().any(|line| line.contains(r#""event":"changed""#)), "{events}");
    let done = Sexton::new(["ensemble", "invoke", "--pod", &at, "true"]).done();
    assert!(done.code == 69 && done.stderr.contains("PermissionError"), "{done:?}");
    assert_eq!(member.sexton.stop().code, 0);
    master.wait_for_names(&[]);
}

#[test]
fn a_client_that_violates_the_protocol_is_disconnected_alone() {
    let directory = place();
    let master = Pod::start(&["--role", "master", "--store", &store(&directory)]);
    let greeting = {
        let mut greeting = [0; 64];
        (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
        greeting[12..16].copy_from_slice(b"NULL");
        greeting
    };
    let ready = b"\x04\x1b\x05READY\x0bSocket-Type\0\0\0\x06DEALER";
    let mut ready = ready.to_vec();
    ready[1] = u8::try_from(ready.len() - 2).unwrap_or(0);
    for bad in [
        // A frame of 2^63 bytes, one with unknown flags, and invalid MessagePack.
        &[2, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..],
        &[0xf0, 1],
        &[1, 0, 0, 3, 0x93, 0xc1, 0xc1],
        &[0, 1, 0xc0],
    ] {
        let mut stream =
            connect(([127, 0, 0, 1], master.port).into()).unwrap_or_else(|error| panic!("{error}"));
        let said = [&greeting[..], &ready, bad].concat();
        stream.write_all(&said).unwrap_or_else(|error| panic!("{error}"));
        let mut answer = Vec::new();
        // Disconnected: end of file or a reset, not a timeout.
        let ended = stream.read_to_end(&mut answer);
        let is_cut = ended.as_ref().map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |_| true);
        assert!(is_cut, "{bad:?}: {ended:?}");
        assert_eq!(answer.get(..10), greeting.get(..10), "greeted: {answer:?}");
    }
    assert_eq!(master.ping(&keepalive("a", &json!(1))).code, 200);
}
