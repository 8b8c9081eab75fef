//! The examples of the documentation, run as a new user runs them.

use std::path::{Path, PathBuf};

use crate::harness::{Done, SEXTON, Sexton};
use crate::up::free_port;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

fn run(script: &str) -> Done {
    Sexton::program(&example(script), [free_port().to_string()]).env("SEXTON", SEXTON).done()
}

/// Asserts that the output contains all parts in this order.
#[track_caller]
fn assert_in_order(done: &Done, parts: &[&str]) {
    let mut rest = done.stdout.as_str();
    for part in parts {
        let Some(at) = rest.find(part) else { panic!("{part} is missing: {} {}", done.stdout, done.stderr) };
        rest = &rest[at..];
    }
}

#[test]
fn sidecar_is_stopped_after_the_job() {
    let done = run("job-with-sidecar/local.sh");
    assert_eq!(done.code, 0, "{} {}", done.stdout, done.stderr);
    let parts = [
        "proxy: starting",
        "report: the answer is 42",
        "proxy: received SIGTERM",
        "job: report exited with 0, proxy with 0",
        "report  dead",
    ];
    assert_in_order(&done, &parts);
}

#[test]
fn server_is_stopped_after_the_client() {
    let done = run("client-server/local.sh");
    assert_eq!(done.code, 0, "{} {}", done.stdout, done.stderr);
    assert_in_order(
        &done,
        &["client: the server says 3", "server: exiting after 3 requests", "server  dead"],
    );
}

/// The command and arguments of a container in a manifest, without the program itself.
fn arguments_of(manifest: &str, container: &str) -> Vec<String> {
    let text = std::fs::read_to_string(example(manifest)).unwrap_or_default();
    let block =
        text.split("- name: ").find(|part| part.lines().next() == Some(container)).unwrap_or_default();
    let list = |key: &str| {
        let from = block.split(&format!("{key}: [")).nth(1).unwrap_or_default();
        let arguments = from.split(']').next().unwrap_or_default().split(',');
        arguments.map(|argument| argument.trim().trim_matches('"').to_owned()).collect::<Vec<_>>()
    };
    [list("command"), list("args")]
        .concat()
        .into_iter()
        .skip(1)
        .filter(|argument| !argument.is_empty())
        .collect()
}

/// The manifest and the script use the same options, except for paths.
#[test]
fn manifest_and_script_use_the_same_options() {
    for (container, options) in
        [("proxy", "--death-dep report --exit-codes caused=0"), ("report", "--birth-dep proxy")]
    {
        let arguments = arguments_of("job-with-sidecar/job.yaml", container).join(" ");
        assert!(
            arguments.contains(options) && arguments.contains(&format!("--name {container} ")),
            "{arguments}"
        );
        let script = std::fs::read_to_string(example("job-with-sidecar/local.sh")).unwrap_or_default();
        assert!(options.split(" --").all(|option| script.contains(option)), "{options}");
    }
    // The arguments are valid: it fails only at the graveyard, which cannot be created here.
    let arguments = arguments_of("job-with-sidecar/job.yaml", "report");
    let arguments =
        arguments.iter().map(|argument| if argument == "/graveyard" { "/proc/graveyard" } else { argument });
    let done = Sexton::new(arguments).done();
    assert_eq!(done.code, 73, "{}", done.stderr);
}
