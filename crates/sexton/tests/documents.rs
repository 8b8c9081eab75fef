//! Manual pages and completions are made from the command line, and those in the repository are current.
//! `UPDATE_DOCUMENTS=1 cargo test -p sexton documents` writes them.

use std::fs;
use std::path::{Path, PathBuf};

use clap_complete::Shell;

use crate::harness::{Sexton, wrapping};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[track_caller]
pub(crate) fn is_current(path: &Path, made: &[u8]) {
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        let parent = path.parent().unwrap_or(path);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(path, made))
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    let have = fs::read(path).unwrap_or_default();
    assert!(
        have == made,
        "{} is not current: UPDATE_DOCUMENTS=1 cargo test -p sexton documents",
        path.display()
    );
}

#[test]
fn manual_pages_are_current() {
    let directory = repository().join("docs/man");
    let mut command = sexton::cli::command();
    command.build();
    let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned();
    let pages = std::iter::once(("sexton".to_owned(), command.clone()));
    for (name, command) in pages.chain(visible.map(|sub| (format!("sexton-{}", sub.get_name()), sub))) {
        let mut page = Vec::new();
        let manual =
            clap_mangen::Man::new(command.display_name(name.clone())).title(name.to_uppercase()).date("");
        manual.render(&mut page).unwrap_or_else(|error| panic!("{name}: {error}"));
        is_current(&directory.join(format!("{name}.1")), &page);
    }
}

#[test]
fn completions_are_current() {
    let directory = repository().join("docs/completions");
    for (shell, file) in [(Shell::Bash, "sexton.bash"), (Shell::Zsh, "_sexton"), (Shell::Fish, "sexton.fish")]
    {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut sexton::cli::command(), "sexton", &mut text);
        is_current(&directory.join(file), &text);
    }
}

#[test]
fn the_example_worker_ends_between_two_jobs_and_the_code_is_its_own() {
    let worker = repository().join("examples/worker.py").into_os_string();
    let words = ["--dowork", "myqueue", "--job", "0.01"].map(std::ffi::OsString::from);
    let wrapped = |more: &[&str]| {
        std::iter::once(worker.clone()).chain(words.clone()).chain(more.iter().map(Into::into)).collect()
    };
    let sexton = Sexton::answering(wrapping(&["run"], wrapped(&[]))).start();
    sexton.wait_for_file("stdout");
    let done = sexton.stop();
    assert_eq!(done.code, 0);
    assert!(done.stdout.contains("myqueue: told to end after "), "{}", done.stdout);

    let mut sexton =
        Sexton::answering(wrapping(&["supervise", "--wait", "0"], wrapped(&["--fail-after", "2"]))).start();
    testkit::wait_until("a restart", || (sexton.json("/")["ExitCode"] == 3).then_some(()));
}

#[test]
fn the_readmes_requests_are_answered() {
    let text = fs::read_to_string(repository().join("README.md")).unwrap_or_default();
    let asked = text
        .lines()
        .filter(|line| line.trim_start().starts_with("curl "))
        .filter_map(|line| line.split("localhost:6666").nth(1));
    let paths: Vec<_> = asked.map(|path| if path.is_empty() { "/" } else { path }).collect();
    assert!(paths.len() >= 3, "{paths:?}");
    let mut sexton = Sexton::answering(["run", "--", "sleep", "1000"]).start();
    sexton.wrapped();
    for path in paths {
        assert_eq!(sexton.get(path).code, 200, "{path}");
    }
}

/// The examples of a document: fenced blocks of shell commands.
fn commands(document: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(document)).unwrap_or_default();
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line.starts_with("```sh");
        } else if inside && line.trim_start().starts_with("sexton ") {
            found.push(line.trim().split("  #").next().unwrap_or_default().trim_end().to_owned());
        }
    }
    found
}

#[test]
fn every_command_in_the_documents_is_understood() {
    let documents = ["README.md", "docs/guide/one-process.md", "docs/reference/status-socket.md"];
    let mut seen = 0;
    for document in documents {
        for line in commands(document) {
            let words = line.trim_end_matches('&').trim_end().split(' ').filter(|word| !word.is_empty());
            let words: Vec<String> = words.map(|word| word.trim_matches('\'').to_owned()).collect();
            let parsed = sexton::cli::command().try_get_matches_from(&words);
            assert!(
                parsed.is_ok() || words.contains(&"--help".to_owned()),
                "{document}: {line}: {:?}",
                parsed.err()
            );
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} commands found: has the form of the documents changed?");
}
