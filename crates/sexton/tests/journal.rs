//! The event journal and its replay.

use std::fs;
use std::time::Duration;

use crate::harness::Sexton;

#[test]
fn a_journal_replays_to_the_same_result() {
    let arguments = [
        "supervise",
        "--debug-journal",
        "journal",
        "--wait",
        "10ms",
        "--max-restarts",
        "2",
        "--ttl",
        "1s..50s",
        "--",
        "sh",
        "-c",
        "exit 9",
    ];
    let mut sexton = Sexton::with_server(arguments).start();
    assert_eq!(sexton.wait(), 9);
    let log = sexton.stderr();
    let journal = sexton.text("journal");
    assert!(journal.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{journal}");
    let replayed =
        Sexton::new(["debug".as_ref(), "replay".as_ref(), sexton.path("journal").as_os_str()]).done();
    assert_eq!(replayed.code, 0, "{}", replayed.stderr);
    let count = |part: &str| replayed.stdout.matches(part).count();
    assert_eq!(
        (count("spawn   job 0 as run"), count("RestartLimitReached {"), count("end     with code 9")),
        (3, 1, 1)
    );
    // The random times to live are the same. The log has them rounded.
    let logged: Vec<_> = log
        .lines()
        .filter_map(|line| line.split("started, time to live ").nth(1)?.split('"').next())
        .collect();
    let replayed: Vec<_> = replayed
        .stdout
        .lines()
        .filter_map(|line| line.split("Started { ttl: Some(").nth(1)?.split("s)").next()?.parse().ok())
        .map(|seconds| engine::time::rounded(Duration::from_secs_f64(seconds)).to_string())
        .collect();
    assert_eq!(logged.len(), 3, "{log}");
    assert_eq!(logged, replayed, "{log}");
}

#[test]
fn an_invalid_journal_is_rejected_with_the_line_number() {
    let sexton = Sexton::without_server(["run", "--debug-journal", "journal", "--", "true"]);
    let mut sexton = sexton.start();
    sexton.wait();
    let good = sexton.text("journal");
    for (text, part) in [
        (String::new(), "is empty"),
        ("{}\n".to_owned(), "line 1"),
        (good.replacen("\"version\":3", "\"version\":99", 1), "version 99"),
        (format!("{good}{{\"at\":1}}\n"), "expected an event"),
    ] {
        fs::write(sexton.path("bad"), text).unwrap_or_default();
        let done = Sexton::new(["debug".as_ref(), "replay".as_ref(), sexton.path("bad").as_os_str()]).done();
        assert_eq!(done.code, 65);
        assert!(done.stderr.contains(part), "{}", done.stderr);
    }
    // A truncated journal is replayed as far as possible; an endless line is rejected.
    fs::write(sexton.path("bad"), &good[..good.len() - 5]).unwrap_or_default();
    let done = Sexton::new(["debug".as_ref(), "replay".as_ref(), sexton.path("bad").as_os_str()]).done();
    assert_eq!(done.code, 65);
    assert!(done.stdout.contains("spawn   job 0 as run 1"), "{}", done.stdout);
    let done = Sexton::new(["debug", "replay", "/dev/zero"]).done();
    assert!(done.code == 65 && done.stderr.contains("16 MiB"), "{}", done.stderr);
}

#[test]
fn an_error_at_the_start_of_the_journal_is_fatal_and_one_later_is_not() {
    let mut sexton = Sexton::without_server([
        "run",
        "--debug-journal",
        "no/such/directory",
        "--",
        "sh",
        "-c",
        "echo > started",
    ])
    .start();
    assert_eq!(sexton.wait(), 73);
    assert!(!sexton.path("started").exists());

    // A file-size limit acts like a full disk from the second line on.
    let script = format!(
        "ulimit -f 8; exec {} -p none supervise --debug-journal journal --wait 0 --max-restarts 200 -- sh -c 'exit 7'",
        crate::harness::SEXTON
    );
    let done = Sexton::program("/bin/sh".as_ref(), ["-c", &script]).done();
    assert_eq!(done.code, 7, "{}", done.stderr);
    assert!(done.stderr.contains("cannot write the event journal, closing it"), "{}", done.stderr);
}
