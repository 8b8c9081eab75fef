//! Invoked under the name `process-wrapper`: its flags, files and responses.

use std::os::unix::fs::symlink;

use testkit::{private_directory, wait_until};

use super::free_port;
use crate::harness::{SEXTON, Sexton};

fn wrapper(directory: &std::path::Path) -> std::path::PathBuf {
    let link = directory.join("process-wrapper");
    symlink(SEXTON, &link).unwrap_or_else(|error| panic!("{error}"));
    link
}

/// Its answers are looked for where its log says.
#[test]
fn a_list_runs_answers_and_stops() {
    let directory = private_directory();
    let there = directory.path().display();
    let port = free_port();
    let list = format!(
        "- name: web\n  entrypoint: python3\n  args: [-m, http.server, '{port}', --bind, 127.0.0.1]\n  dir: {there}\n  readiness:\n    period: 100ms\n    delay: 0s\n    http: {{url: 'http://127.0.0.1:{port}/'}}\n    tcp: {{socket: '127.0.0.1:{port}'}}\n  postStart:\n    command: {{entrypoint: touch, args: [{there}/post-started]}}\n- name: worker\n  entrypoint: sh\n  args: [-c, 'echo $KIND $PLACE; exec sleep 1000']\n  envs: {{KIND: map, PLACE: map}}\n  envsFile: {there}/env\n  replicas: 2\n- name: left-out\n  entrypoint: touch\n  args: [{there}/left-out]\n"
    );
    std::fs::write(directory.path().join("list.yaml"), list).unwrap_or_default();
    std::fs::write(directory.path().join("env"), "PLACE=\"file\"\n\n").unwrap_or_default();
    let link = wrapper(directory.path());
    let arguments = [
        "-config",
        &format!("{there}/list.yaml"),
        "-skip-commands=left-out",
        "--readiness-file",
        &format!("{there}/started"),
        "-debug",
    ]
    .map(str::to_owned);
    let mut sexton = Sexton::program(&link, arguments).env("HEALTH_SOCKET", "127.0.0.1:0").start();
    let waiting = std::process::Command::new(&link)
        .args(["-wait", "-readiness-file", &format!("{there}/started"), "-wait-deadline", "25s"])
        .status();
    assert!(waiting.is_ok_and(|status| status.success()), "{}", sexton.stderr());
    assert!(directory.path().join("post-started").exists());
    assert_eq!((sexton.get("/liveness").code, sexton.get("/readiness?wait").code), (200, 200));
    assert_eq!(sexton.json("/status"), serde_json::json!({"web": true, "worker_0": true, "worker_1": true}));
    assert!(sexton.text("stdout").contains("msg=\"map file\""), "{}", sexton.text("stdout"));
    assert!(!directory.path().join("left-out").exists());
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 0, "{}", sexton.stderr());
    assert!(
        !directory.path().join("started").exists(),
        "the readiness file goes at the first moment of a stop"
    );
}

#[test]
fn the_readiness_block_restarts_a_process_that_is_not_ready() {
    let directory = private_directory();
    let list = serde_json::json!([{"Name": "web", "Entrypoint": "sleep", "Args": ["1000"], "Readiness": {"Period": "50ms", "Delay": "0s", "FailureThreshold": 2, "File": {"Path": directory.path().join("good")}}}]);
    let link = wrapper(directory.path());
    let arguments = ["-readiness-file".to_owned(), directory.path().join("started").display().to_string()];
    let mut sexton = Sexton::program(&link, arguments)
        .env("HEALTH_SOCKET", "127.0.0.1:0")
        .env("CONFIG", list.to_string())
        .start();
    wait_until("restarts", || {
        (sexton.json("/v1/processes")["processes"][0]["starts"].as_u64() >= Some(2)).then_some(())
    });
    assert_eq!(
        (sexton.get("/liveness").code, sexton.get("/readiness").code),
        (503, 503),
        "liveness and readiness are one"
    );
    let process = sexton.process();
    assert_eq!(process["lastExit"]["reasonLabel"], "readiness_probe");
    std::fs::write(directory.path().join("good"), "").unwrap_or_default();
    wait_until("health", || (sexton.get("/liveness").code == 200).then_some(()));
    assert_eq!(sexton.stop().code, 0);
}

#[test]
fn unsupported_flags_are_rejected() {
    let directory = private_directory();
    let link = wrapper(directory.path());
    let done = Sexton::program(&link, [""; 0]).done();
    assert!(done.code == 64 && done.stderr.contains("nothing to run"), "{}", done.stderr);
    let list = "[{\"name\": \"a\", \"entrypoint\": \"true\", \"promTarget\": \"http://x\"}]";
    let done = Sexton::program(&link, [""; 0]).env("CONFIG", list).env("HEALTH_SOCKET", "127.0.0.1:0").done();
    assert!(done.code == 78 && done.stderr.contains("[0].promTarget: not supported"), "{}", done.stderr);
}
