//! An automaton as a section of a configuration file for `up`.

use std::fs;

use super::socat;
use crate::harness::{SEXTON, Sexton};
use crate::up::{With, place, up_in};

const FILE: &str = "
automaton:
  socket: $DIR/sock
  initial: A
  terminal: C
  states:
  - {tag: A, shell: 'echo A >> $DIR/ran', next: [B]}
  - {tag: B, shell: 'echo \"B $INPUT\" >> $DIR/ran', next: [A]}
  - {tag: C, shell: 'echo C >> $DIR/ran'}
processes:
  web: {command: sleep 1000, dependsOn: automaton}
";

#[test]
fn state_is_shown_by_status_metrics_events_and_why() {
    let mut up = up_in(place(FILE), &With::default());
    up.wait_ready("web");
    let socket = up.path("sock");
    assert_eq!(socat(&socket, b"WAIT B x\n"), "OK\n");
    up.wait_until("automaton", "in state B", |it| it["said"] == "state B");
    assert!(up.asked(&["status"]).contains("running: state B"), "{}", up.asked(&["status"]));
    assert!(up.asked(&["why", "automaton"]).contains("entered B from A"));
    assert!(up.asked(&["events"]).contains("entered A"));
    let metrics = up.sexton.get("/metrics").body;
    assert!(metrics.contains("sexton_automaton_state{process=\"automaton\",state=\"B\"} 1"), "{metrics}");
    let ran = up.path("ran");
    up.sexton.signal(libc::SIGTERM);
    assert_eq!(up.sexton.wait(), 0, "{}", up.sexton.stderr());
    assert_eq!(fs::read_to_string(ran).unwrap_or_default(), "A\nB x\nC\n");
}

#[test]
fn process_with_a_separate_automaton_file_is_restarted_when_the_file_changes() {
    let automaton =
        "initial: A\nterminal: C\nsocket: $DIR/sock\nstates: [{tag: A, next: B}, {tag: B}, {tag: C}]\n";
    let text = "processes: {bot: {automaton: bot.yml}, web: {command: sleep 1000}}\n";
    let directory = place(text);
    let path = directory.path().to_string_lossy().into_owned();
    let write = |automaton: &str| {
        fs::write(directory.path().join("bot.yml"), automaton.replace("$DIR", &path)).unwrap_or_default();
    };
    write(automaton);
    let file = directory.path().join("sexton.yaml").to_string_lossy().into_owned();
    let control = directory.path().join("control").to_string_lossy().into_owned();
    let up = Sexton::new(["-p", "none", "up", &file, "--control", &control]).start();
    let socket = directory.path().join("sock");
    let state = || if socket.exists() { socat(&socket, b"STATE\n") } else { String::new() };
    testkit::wait_until("state A", || (state() == "A\n").then_some(()));
    assert_eq!(socat(&socket, b"WAIT B\n"), "OK\n");
    let reload = || Sexton::new(["reload", "--control", &control]).done();
    assert!(reload().stdout.contains("2 unchanged"));
    assert_eq!(state(), "B\n", "an unchanged automaton keeps its state");
    write(&automaton.replace("tag: B}", "tag: B, shell: echo}"));
    assert!(reload().stdout.contains("bot: restarted"));
    testkit::wait_until("state A again", || (state() == "A\n").then_some(()));
    // An invalid file is rejected with the position of the error, and nothing changes.
    write("initial: A\n");
    let refused = reload();
    assert!(refused.code != 0 && refused.stderr.contains("terminal is missing"), "{refused:?}");
    drop(up);
}

#[test]
fn list_element_is_found_by_name_and_its_script_output_is_logged() {
    let bot = "{name: bot, automaton: {socket: $DIR/sock, initial: A, terminal: C, states: [{tag: A, shell: 'echo loud'}, {tag: C}]}}";
    let mut up =
        up_in(place(&format!("processes: [{bot}, {{name: web, command: sleep 1000}}]\n")), &With::default());
    up.wait_ready("bot");
    testkit::wait_until("the script output in the log", || {
        up.asked(&["logs", "bot"]).contains("loud").then_some(())
    });
    // A process is inserted before it, and it is restarted before the file is reloaded.
    let text =
        format!("processes: [{{name: first, command: x}}, {bot}, {{name: web, command: sleep 1000}}]\n");
    up.rewrite(&text);
    up.asked(&["restart", "bot"]);
    up.wait_ready("bot");
    assert_eq!(socat(&up.path("sock"), b"STATE\n"), "A\n");
    up.sexton.signal(libc::SIGTERM);
    assert_eq!(up.sexton.wait(), 0, "{}", up.sexton.stderr());
}

#[test]
fn invalid_sections_are_reported_with_their_position() {
    let check = |text: &str| {
        let directory = place(text);
        Sexton::new(["check", &directory.path().join("sexton.yaml").to_string_lossy()]).done()
    };
    let done = check(&FILE.replace("next: [B]", "next: [D]").replace("initial: A", "initial: Z"));
    assert_eq!(done.code, 78);
    for part in ["automaton.initial: unknown state 'Z'", "automaton.states[0].next: 'D' matches no state"] {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    // A file that refers to itself, and two automata with the same socket.
    let done = check("automaton: sexton.yaml\nprocesses: {web: {command: x}}\n");
    assert!(
        done.code == 78 && done.stderr.contains("a reference to another file is not allowed here"),
        "{done:?}"
    );
    let states = "initial: A, terminal: C, states: [{tag: A}, {tag: C}]";
    let done = check(&format!(
        "processes: {{a: {{automaton: {{{states}}}}}, b: {{automaton: {{{states}}}}}, c: {{replicas: 2, automaton: {{socket: c, {states}}}}}}}\n"
    ));
    for part in [
        "processes.b.automaton: control socket /var/run/automaton.sock is used by another automaton",
        "processes.c.automaton: replicas are not supported",
    ] {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    assert!(!done.stderr.contains("command is missing"), "{}", done.stderr);
    // Without a configuration file the automaton has no file to read.
    let text = format!("automaton: {{socket: c, {states}}}\nprocesses: {{web: {{command: x}}}}\n");
    let directory = testkit::private_directory();
    let program = directory.path().join("process-wrapper");
    std::os::unix::fs::symlink(SEXTON, &program).unwrap_or_else(|error| panic!("{error}"));
    let done = Sexton::program(&program, [""; 0]).env("CONFIG", text).done();
    assert!(done.stderr.contains("an automaton requires a configuration file"), "{}", done.stderr);
    let done = check(
        "automaton: none.yml\nprocesses: {automaton: {command: x}, web: {command: x, automaton: {}}}\n",
    );
    for part in
        ["duplicate process 'automaton'", "cannot be combined with command", "none.yml", "states is missing"]
    {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
}
