//! The examples, as a new user runs them.

use std::path::{Path, PathBuf};

use crate::harness::{Done, SEXTON, Sexton};
use crate::up::free_port;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

fn run(script: &str) -> Done {
    Sexton::program(&example(script), [free_port().to_string()]).env("SEXTON", SEXTON).done()
}

/// All of these stand in it, in this order.
#[track_caller]
fn in_order(done: &Done, parts: &[&str]) {
    let mut rest = done.stdout.as_str();
    for part in parts {
        let Some(at) = rest.find(part) else { panic!("{part} is missing: {} {}", done.stdout, done.stderr) };
        rest = &rest[at..];
    }
}

#[test]
fn a_job_with_a_sidecar() {
    let done = run("job-with-sidecar/local.sh");
    assert_eq!(done.code, 0, "{} {}", done.stdout, done.stderr);
    let words = [
        "proxy: starting",
        "report: the answer is 42",
        "proxy: received SIGTERM",
        "job: report exited with 0, proxy with 0",
        "report  dead",
    ];
    in_order(&done, &words);
}

#[test]
fn a_client_and_its_server() {
    let done = run("client-server/local.sh");
    assert_eq!(done.code, 0, "{} {}", done.stdout, done.stderr);
    in_order(&done, &["client: the server says 3", "server: exiting after 3 requests", "server  dead"]);
}

/// The words of a container in a manifest: its command and its arguments, behind our own.
fn words_of(manifest: &str, container: &str) -> Vec<String> {
    let text = std::fs::read_to_string(example(manifest)).unwrap_or_default();
    let block =
        text.split("- name: ").find(|part| part.lines().next() == Some(container)).unwrap_or_default();
    let list = |key: &str| {
        let from = block.split(&format!("{key}: [")).nth(1).unwrap_or_default();
        let words = from.split(']').next().unwrap_or_default().split(',');
        words.map(|word| word.trim().trim_matches('"').to_owned()).collect::<Vec<_>>()
    };
    [list("command"), list("args")].concat().into_iter().skip(1).filter(|word| !word.is_empty()).collect()
}

/// What the manifest does and what the script does is the same, but for places.
#[test]
fn the_job_in_the_manifest_is_that_of_the_script() {
    for (container, options) in
        [("proxy", "--death-dep report --exit-codes caused=0"), ("report", "--birth-dep proxy")]
    {
        let words = words_of("job-with-sidecar/job.yaml", container).join(" ");
        assert!(words.contains(options) && words.contains(&format!("--name {container} ")), "{words}");
        let script = std::fs::read_to_string(example("job-with-sidecar/local.sh")).unwrap_or_default();
        assert!(options.split(" --").all(|option| script.contains(option)), "{options}");
    }
    // It is understood: it gets as far as to the graveyard, which it may not make here.
    let words = words_of("job-with-sidecar/job.yaml", "report");
    let words = words.iter().map(|word| if word == "/graveyard" { "/proc/graveyard" } else { word });
    let done = Sexton::new(words).done();
    assert_eq!(done.code, 73, "{}", done.stderr);
}
