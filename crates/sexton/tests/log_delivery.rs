//! Delivery of the output of processes: nothing is lost, whatever the reader does.

use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Read as _};

use serde_json::Value;
use testkit::wait_until;

use crate::harness::{Running, Sexton, child, wrapping};
use crate::up::{place, up_with_stdout};

fn pipe() -> (PipeReader, PipeWriter) {
    std::io::pipe().unwrap_or_else(|error| panic!("{error}"))
}

/// The numbers of the lines, which end with one.
fn numbers(text: &str) -> Vec<u64> {
    let number = |line: &str| line.rsplit(['=', ' ', '"']).find_map(|word| word.parse().ok());
    text.lines().filter_map(number).collect()
}

fn read_all(mut reader: PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap_or_else(|error| panic!("{error}"));
    text
}

/// The value of a metric of the only process.
fn metric(sexton: &mut Running, name: &str) -> f64 {
    let metrics = sexton.get("/metrics").body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_default()
}

const BLOCKED: &str = "sexton_process_output_blocked_seconds_total";

#[test]
fn a_process_whose_output_is_not_read_is_blocked_and_loses_nothing() {
    let (reader, writer) = pipe();
    let mut up = up_with_stdout(
        "logs: {format: logfmt}\nprocesses:\n  w: {command: [sh, -c, 'seq 1 100000; printf 100001'], restartPolicy: Never}\n  idle: {command: [sleep, inf]}\n",
        writer,
    );
    up.wait_ready("idle");
    up.sexton.wait_for_stderr("blocked in its writes");
    assert_eq!(up.sexton.get("/liveness").code, 200);
    assert!(metric(&mut up.sexton, &format!("{BLOCKED}{{process=\"w\"}}")) > 4.0);
    assert!(up.asked(&["why", "w"]).contains("blocked in its writes"), "{}", up.asked(&["why", "w"]));
    // Supervision goes on: another process is restarted.
    up.asked(&["restart", "idle"]);
    let mut reader = BufReader::new(reader);
    let mut text = String::new();
    for _ in 0..100_001 {
        reader.read_line(&mut text).unwrap_or_else(|error| panic!("{error}"));
    }
    assert!(numbers(&text).into_iter().eq(1..=100_001), "all lines, once, in order");
    up.wait_for_phase("w", "done");
    assert!(!up.asked(&["why", "w"]).contains("blocked in its writes now"));
}

#[test]
fn output_of_ended_runs_comes_before_that_of_the_next() {
    // Each run but the last ends with some of its output in the pipe.
    let script = "n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) > n; seq $((n * 4000 + 1)) $((n * 4000 + 4000)); [ $n -ge 19 ]";
    for format in ["logfmt", "raw"] {
        let (reader, writer) = pipe();
        let text = format!(
            "logs: {{format: {format}}}\nbackoff: {{initial: 0s}}\nprocesses:\n  w: {{command: [sh, -c, 'cd $DIR; {}'], restartPolicy: OnFailure}}\n",
            script.replace("$(", "$$(").replace("$n", "$$n")
        );
        let mut up = up_with_stdout(&text, writer);
        up.wait_until("w", "restarted", |it| it["starts"].as_u64() > Some(4));
        let all = numbers(&read_all(reader));
        assert!(all.iter().copied().eq(1..=80_000), "{format}: {} lines", all.len());
        assert_eq!(up.sexton.wait(), 0);
    }
}

#[test]
fn all_is_passed_on_after_the_last_process_has_ended() {
    let (reader, writer) = pipe();
    let mut sexton =
        Sexton::with_server(wrapping(&["run", "-L"], child(["burst", "5000"]))).stdout(writer).start();
    wait_until("the process has ended", || sexton.descendants().is_empty().then_some(()));
    // Nothing is read until it waits for the reader alone.
    sexton.wait_for_phase("done");
    assert_eq!(numbers(&read_all(reader)).len(), 5000);
    assert_eq!(sexton.wait(), 0);
    assert_eq!(sexton.stderr().matches("lost").count(), 0, "{}", sexton.stderr());
}

#[test]
fn a_stop_does_not_wait_for_ever_for_the_reader_and_counts_what_is_lost() {
    let (reader, writer) = pipe();
    let text = "terminationGracePeriodSeconds: 4\nlogs: {format: logfmt}\nprocesses:\n  w: {command: [seq, 1, 6000], restartPolicy: Never}\n  idle: {command: [sleep, inf]}\n";
    let mut up = up_with_stdout(text, writer);
    up.wait_for_phase("w", "done");
    up.sexton.signal(libc::SIGTERM);
    up.sexton.wait();
    let stderr = up.sexton.stderr();
    let lost = stderr.lines().find(|line| line.contains("the last lines of output are lost"));
    let lost = lost.and_then(|line| line.split("lines=").nth(1)?.split(' ').next()?.parse::<usize>().ok());
    let read = numbers(&read_all(reader)).len();
    // A part of the write in progress may have been taken.
    let total = read + lost.unwrap_or_else(|| panic!("no count: {stderr}"));
    assert!(read > 0 && (6000..=6000 + 800).contains(&total), "{read} read, {lost:?} lost");
}

#[test]
fn a_process_that_is_restarted_again_and_again_while_nothing_is_read_uses_up_no_descriptors() {
    let (reader, writer) = pipe();
    // One process fills all buffers, the other one leaves a line in a pipe of its own at each restart.
    let text = "logs: {format: raw}\nbackoff: {initial: 0s}\nprocesses:\n  fill: {command: [yes]}\n  w: {command: [sh, -c, 'echo line']}\n";
    let mut up = up_with_stdout(text, writer);
    up.wait_until("w", "restarted", |it| it["starts"].as_u64() > Some(200));
    let open = testkit::tree::descriptors(up.sexton.pid()).len();
    assert!(open < 200, "{open} descriptors");
    let lost = metric(&mut up.sexton, "sexton_log_lines_lost_total{stream=\"stdout\"}");
    assert!(lost > 0.0, "what is dropped is counted");
    drop(reader);
}

#[test]
fn with_on_full_drop_a_slow_reader_costs_lines_and_not_time() {
    for front in [
        ["run", "-L", "--on-full", "drop", "--wait", "1m"],
        ["run", "-L", "--wait", "1m", "--on-full=drop", "-v"],
    ] {
        let (reader, writer) = pipe();
        let mut sexton =
            Sexton::with_server(wrapping(&front, child(["burst", "200000"]))).stdout(writer).start();
        // Nothing has been read, and it has ended.
        sexton.wait_for_phase("done");
        sexton.signal(libc::SIGTERM);
        let text = read_all(reader);
        assert_eq!(sexton.wait(), 0);
        let reported: usize = text
            .lines()
            .filter(|line| line.contains("lines were dropped"))
            .filter_map(|line| line.split(" lines=").nth(1)?.parse::<usize>().ok())
            .sum();
        let records = text.lines().filter(|line| line.contains("stream=stdout")).count();
        assert!(reported > 0);
        assert_eq!(records + reported, 200_000);
    }
}

#[test]
fn logs_shows_the_records_that_are_in_the_output() {
    // A line over 64 KiB is two records; without records, the parts of such a line may be mixed with other lines.
    for (format, size, count) in
        [("logfmt", 100_000, 5), ("json", 100_000, 5), ("raw", 60_000, 4), ("pretty", 100_000, 5)]
    {
        let long = format!("head -c {size} /dev/zero | tr \"\\0\" x; echo");
        let text = format!(
            "logs: {{format: {format}, labels: {{app: shop}}}}\nprocesses:\n  w: {{command: [sh, -c, '{long}; echo a; echo \"level=warn msg=b\" >&2; printf \"c\\r\\n\"; exec sleep inf'], logs: {{labels: {{team: x}}}}}}\n"
        );
        let (reader, writer) = pipe();
        let up = up_with_stdout(&text, writer);
        let mut reader = BufReader::new(reader);
        let mut output = String::new();
        for _ in 0..count {
            assert!(reader.read_line(&mut output).is_ok_and(|length| length > 0), "{output}");
        }
        let written: Vec<&str> = output.lines().filter(|line| line.len() < 1000).collect();
        let shown = up.asked(&["logs"]);
        let shown: Vec<&str> = shown.lines().collect();
        for line in &written {
            assert!(shown.contains(line), "{format}: {line:?} is not in {shown:?}");
        }
        assert!(
            shown.iter().all(|line| output.lines().any(|written| written == *line)),
            "{format}: {shown:?}"
        );
    }
}

#[test]
fn logs_that_are_followed_are_the_records_that_are_in_the_output() {
    let text = "logs: {format: logfmt, labels: {app: shop}}\nprocesses:\n  w: {command: [sh, -c, 'echo begin; while [ ! -e $DIR/go ]; do sleep 0.01; done; head -c 200000 /dev/zero | tr \"\\0\" x; echo; echo end; exec sleep inf']}\n";
    let (reader, writer) = pipe();
    let up = up_with_stdout(text, writer);
    let mut reader = BufReader::new(reader);
    let mut begin = String::new();
    reader.read_line(&mut begin).unwrap_or_else(|error| panic!("{error}"));
    let mut client = up.client(&["logs", "-f"]);
    let mut followed = BufReader::new(client.stdout.take().unwrap_or_else(|| panic!("no output")));
    let mut first = String::new();
    followed.read_line(&mut first).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(first, begin);
    std::fs::write(up.path("go"), "").unwrap_or_else(|error| panic!("{error}"));
    let until_end = |reader: &mut dyn std::io::BufRead| {
        let mut output = String::new();
        while !output.contains("msg=end") {
            assert!(reader.read_line(&mut output).is_ok_and(|length| length > 0), "{output}");
        }
        output
    };
    let (output, followed) = (until_end(&mut reader), until_end(&mut followed));
    let _ = client.kill().and_then(|()| client.wait());
    assert_eq!(output, followed);
    assert_eq!(output.matches("partial=true").count(), 3);
}

#[test]
fn values_of_structured_lines_keep_their_types() {
    let line =
        r#"{"severity_text":"ERROR","body":"no","n":1.50,"ok":true,"none":null,"o":{"a":[1,"x"]},"s":"1"}"#;
    let directory = place(&format!(
        "logs: {{format: json}}\nprocesses:\n  w: {{command: [echo, '{line}'], restartPolicy: Never}}\n"
    ));
    let file = directory.path().join("sexton.yaml").display().to_string();
    let done = Sexton::without_server(["up", "--control", "none", &file]).done();
    let record: Value =
        serde_json::from_str(done.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {done:?}"));
    assert_eq!((&record["level"], &record["msg"]), (&"error".into(), &"no".into()));
    let expected: Value = serde_json::from_str(line).unwrap_or_default();
    for key in ["n", "ok", "none", "o", "s"] {
        assert_eq!(record[key], expected[key], "{key}");
    }
    assert!(done.stdout.contains("\"n\":1.50"), "{}", done.stdout);
}
