//! States, scripts and shutdown.

use std::fs;

use testkit::{tree, wait_until};

use super::{SIMPLE, bot, bot_with, spawn_bot};
use crate::harness::child;

#[test]
fn runs_the_initial_script_at_start_and_the_terminal_script_at_shutdown() {
    for request in ["TERM", "INT", "DIE"] {
        let bot = bot(SIMPLE);
        bot.wait_for("ran", "A\n");
        match request {
            "TERM" => bot.sexton.signal(libc::SIGTERM),
            "INT" => bot.sexton.signal(libc::SIGINT),
            _ => assert_eq!(bot.socat("DIE"), "OK\n"),
        }
        let (ran, socket) = (bot.path("ran"), bot.socket());
        let super::Bot { sexton, directory } = bot;
        assert_eq!(sexton.done().code, 0);
        assert_eq!(fs::read_to_string(ran).unwrap_or_default(), "A\nC\n", "{request}");
        assert!(!socket.exists(), "the socket is removed on exit");
        drop(directory);
    }
}

#[test]
fn exits_with_the_exit_code_of_the_terminal_script() {
    let mut bot = bot(&SIMPLE.replace("'echo C >> $DIR/ran'", "exit 5"));
    bot.socat("DIE");
    assert_eq!(bot.sexton.wait(), 5);
}

#[test]
fn transitions_follow_tags_and_patterns() {
    let mut bot = bot(SIMPLE);
    bot.wait_for("ran", "A\n");
    assert_eq!(bot.socat("STATE"), "A\n");
    assert_eq!(bot.socat("GOTO A"), "KO\n", "A does not list itself as a next state");
    assert_eq!(bot.socat("GOTO X"), "KO\n");
    assert_eq!(bot.socat("WAIT S1"), "KO 3\n", "the script failed");
    assert_eq!(bot.socat("STATE"), "S1\n");
    assert_eq!(bot.socat("WAIT B x  y "), "OK\n");
    assert_eq!(bot.text("ran"), "A\nB x  y \n", "the payload is passed unchanged");
    assert_eq!(bot.socat("GOTO C bye"), "OK\n", "the terminal state is reachable from any state");
    assert_eq!(bot.sexton.wait(), 0);
}

#[test]
fn scripts_receive_set_variables_the_socket_path_and_the_payload() {
    let bot = bot(
        "{initial: A, terminal: C, states: [{tag: A, next: A, shell: 'echo \"$K|$INPUT|$SOCKET|$PWD|$KEEP\" >> $DIR/ran'}, {tag: C}]}",
    );
    bot.wait_for("ran", "\n");
    let directory = bot.sexton.path("").to_string_lossy().trim_end_matches('/').to_owned();
    let socket = bot.socket().display().to_string();
    assert_eq!(bot.text("ran"), format!("||{socket}|{directory}|\n"));
    let payload = r#"{"counter": 123, "quote": "'$(touch x)`"}"#;
    assert_eq!(bot.socat("SET K some value "), "OK\n");
    assert_eq!(bot.socat(&format!("WAIT A {payload}")), "OK\n");
    let second = bot.text("ran").lines().nth(1).map(str::to_owned).unwrap_or_default();
    assert!(second.starts_with(&format!("some value |{payload}|{socket}|")), "{second}");
    assert!(!bot.sexton.path("x").exists());
}

#[test]
fn script_that_requests_a_transition_before_its_end_is_not_interrupted() {
    let bot = bot(&format!(
        "{{initial: A, terminal: C, states: [{{tag: A, next: B, shell: 'trap \"echo cut >> $DIR/ran\" TERM; {} automaton ctl -s $SOCKET GOTO B; echo last >> $DIR/ran'}}, {{tag: B, shell: 'echo B >> $DIR/ran'}}, {{tag: C}}]}}",
        crate::harness::SEXTON
    ));
    bot.wait_for("ran", "B\n");
    assert_eq!(bot.text("ran"), "last\nB\n");
}

#[test]
fn running_script_is_stopped_with_its_process_group() {
    let bot = bot(
        "{initial: A, terminal: C, states: [{tag: A, next: B, shell: 'sleep 1000 & echo $! >> $DIR/pids; echo $$ >> $DIR/pids; sleep 1000'}, {tag: B, shell: 'echo B >> $DIR/ran'}, {tag: C}]}",
    );
    wait_until("both process IDs", || (bot.text("pids").lines().count() == 2).then_some(()));
    let start = std::time::Instant::now();
    assert_eq!(bot.socat("WAIT B"), "OK\n");
    assert!(start.elapsed().as_millis() >= 900, "it must get one second to exit: {:?}", start.elapsed());
    for pid in bot.text("pids").lines().filter_map(|pid| pid.parse().ok()) {
        wait_until("the process to exit", || (!tree::is_alive(pid)).then_some(()));
    }
}

#[test]
fn script_that_ignores_sigterm_is_killed() {
    let command: Vec<_> = child(["deaf", "$DIR/there"])
        .iter()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let bot = bot(&format!(
        "{{initial: A, terminal: C, states: [{{tag: A, next: B, shell: 'exec {}'}}, {{tag: B}}, {{tag: C}}]}}",
        command.join(" ")
    ));
    wait_until("the script to ignore SIGTERM", || bot.path("there").exists().then_some(()));
    assert_eq!(bot.socat("WAIT B"), "OK\n");
    assert!(bot.ctl(&["HISTORY"]).stdout.contains("to=A code=137"), "{}", bot.ctl(&["HISTORY"]).stdout);
}

#[test]
fn forced_script_runs_to_completion() {
    let bot = bot(
        "{initial: A, terminal: C, states: [{tag: A, force: true, next: B, shell: 'trap \"echo cut >> $DIR/ran\" TERM; until [ -e $DIR/go ]; do sleep 0.01; done; echo done >> $DIR/ran'}, {tag: B, shell: 'echo B >> $DIR/ran'}, {tag: C}]}",
    );
    assert_eq!(bot.socat("GOTO B"), "OK\n");
    // Longer than a script without `force` would get.
    let start = std::time::Instant::now();
    wait_until("more than a second", || (start.elapsed().as_millis() > 1300).then_some(()));
    assert_eq!(bot.socat("STATE"), "A\n");
    fs::write(bot.path("go"), "").unwrap_or_default();
    bot.wait_for("ran", "B\n");
    assert_eq!(bot.text("ran"), "done\nB\n");
}

#[test]
fn transitions_are_queued_in_order() {
    let bot = bot(
        "{initial: A, terminal: C, states: [{tag: A, force: true, next: '*', shell: 'until [ -e $DIR/go ]; do sleep 0.01; done'}, {tag: B, next: D, shell: 'echo \"B $INPUT\" >> $DIR/ran'}, {tag: D, next: B, shell: 'echo \"D $INPUT\" >> $DIR/ran'}, {tag: C}]}",
    );
    let clients: Vec<_> = ["WAIT B 1", "WAIT D 2", "WAIT B 3", "WAIT A 4"]
        .map(|line| {
            let socket = bot.socket();
            let client = std::thread::spawn(move || super::socat(&socket, format!("{line}\n").as_bytes()));
            // One after the other: wait until the automaton has accepted this client.
            let number = line.split(' ').next_back().unwrap_or_default().to_owned();
            wait_until("the connection to be accepted", || {
                (number.parse::<usize>().is_ok_and(|n| open_connections(&bot) >= n)).then_some(())
            });
            client
        })
        .into();
    fs::write(bot.path("go"), "").unwrap_or_default();
    let responses: Vec<_> = clients.into_iter().map(|client| client.join().unwrap_or_default()).collect();
    assert_eq!(responses, ["OK\n", "OK\n", "OK\n", "KO\n"], "{}", bot.sexton.stderr());
    assert_eq!(bot.text("ran"), "B 1\nD 2\nB 3\n");
}

/// The number of accepted client connections that are still open.
fn open_connections(bot: &super::Bot) -> usize {
    let path = bot.socket().to_string_lossy().into_owned();
    let unix = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    // Connected (state 03) on the server side: only that side has the name.
    unix.lines().filter(|line| line.ends_with(&path) && line.split_whitespace().nth(5) == Some("03")).count()
}

#[test]
fn failed_or_timed_out_script_leads_to_the_on_failure_state() {
    let bot = bot(
        "{initial: A, terminal: C, states: [{tag: A, next: S, shell: 'exit 7', on-failure: B}, {tag: B, timeout: 100ms, shell: 'trap \"exit 0\" TERM; while :; do sleep 0.01; done', on-failure: D}, {tag: D, shell: 'echo D >> $DIR/ran'}, {tag: S}, {tag: C}]}",
    );
    bot.wait_for("ran", "D\n");
    let history = bot.ctl(&["HISTORY"]).stdout;
    for part in ["from=\"\" to=A code=7", "from=A to=B code=0", "from=B to=D code=0"] {
        assert!(history.contains(part), "{part}: {history}");
    }
    assert!(bot.sexton.stderr().contains("(timeout)"), "{}", bot.sexton.stderr());
}

#[test]
fn stop_request_in_any_phase_runs_the_terminal_script() {
    let scripts = ["sleep 1000", "trap '' TERM; while :; do sleep 0.01; done", "exit 1", "no-such-program"];
    for script in scripts {
        let text = format!(
            "initial: A\nterminal: C\nstates:\n- tag: A\n  shell: |\n    echo A >> $DIR/ran\n    {script}\n- {{tag: C, shell: echo C >> $DIR/ran}}\n"
        );
        let mut bot = bot(&text);
        bot.wait_for("ran", "A\n");
        bot.sexton.signal(libc::SIGTERM);
        // A second signal has no effect: the terminal script runs once.
        bot.sexton.signal(libc::SIGTERM);
        assert_eq!(bot.sexton.wait(), 0, "{script}");
        assert_eq!(bot.text("ran"), "A\nC\n", "{script}");
    }
}

#[test]
fn second_stop_signal_kills_a_hanging_terminal_script() {
    let mut bot = bot(
        "{initial: A, terminal: C, states: [{tag: A}, {tag: C, shell: 'echo C > $DIR/ran; sleep 1000'}]}",
    );
    bot.sexton.signal(libc::SIGINT);
    bot.wait_for("ran", "C");
    assert_eq!(bot.socat("GOTO A"), "KO\n", "no transition is accepted during shutdown");
    assert_eq!(bot.socat("STATE"), "C\n");
    bot.sexton.signal(libc::SIGINT);
    assert_eq!(bot.sexton.wait(), 143);
}

#[test]
fn background_processes_survive_transitions_and_are_killed_on_exit() {
    let daemon = child(["daemon", "$DIR/daemon"]);
    let daemon: Vec<_> = daemon.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let mut bot = bot(&format!(
        "{{initial: A, terminal: C, states: [{{tag: A, next: B, shell: 'sleep 1000 & echo $! > $DIR/pid; {}'}}, {{tag: B}}, {{tag: C}}]}}",
        daemon.join(" ")
    ));
    bot.wait_for("daemon", "");
    let pids = wait_until("both process IDs", || {
        let pids: Vec<i32> =
            ["pid", "daemon"].iter().filter_map(|name| bot.text(name).trim().parse().ok()).collect();
        (pids.len() == 2).then_some(pids)
    });
    assert_eq!(bot.socat("WAIT B"), "OK\n");
    assert!(pids.iter().all(|pid| tree::is_alive(*pid)));
    bot.socat("DIE");
    assert_eq!(bot.sexton.wait(), 0);
    assert!(!pids.iter().any(|pid| tree::is_alive(*pid)));
}

#[test]
fn endless_script_output_does_not_block_requests() {
    let bot = bot_with(
        "{initial: A, terminal: C, states: [{tag: A, next: B, shell: 'yes'}, {tag: B, shell: 'echo from B; echo error >&2'}, {tag: C}]}",
        &["-d"],
    );
    assert_eq!(bot.socat("STATE"), "A\n");
    assert_eq!(bot.socat("WAIT B"), "OK\n");
    bot.sexton.wait_for_stderr("msg=\"from B\" state=B");
    bot.sexton.wait_for_stderr("msg=error state=B");
}

#[test]
fn script_output_is_not_logged_by_default() {
    let mut bot = bot(&SIMPLE.replace("'echo A >> $DIR/ran'", "'echo loud; echo A >> $DIR/ran'"));
    bot.wait_for("ran", "A\n");
    bot.socat("DIE");
    bot.sexton.wait();
    assert!(!bot.sexton.stderr().contains("loud") && bot.sexton.text("stdout").is_empty());
}

#[test]
fn state_is_available_over_http() {
    let mut bot = bot(SIMPLE);
    bot.wait_for_state("A");
    bot.socat("WAIT B");
    assert_eq!(bot.sexton.get("/readiness").code, 200);
    let view = bot.sexton.json("/v1/process");
    assert_eq!(
        (&view["mode"], &view["processes"][0]["state"]),
        (&"automaton".into(), &"state B".into()),
        "{view}"
    );
    let metrics = bot.sexton.get("/metrics").body;
    for line in [
        "sexton_automaton_transitions_total{process=\"bot\",state=\"B\"} 1",
        "sexton_automaton_state{process=\"bot\",state=\"B\"} 1",
        "sexton_automaton_state{process=\"bot\",state=\"A\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let events = bot.sexton.get("/v1/events").body;
    assert!(
        events.contains("entered B from A") && events.contains("the script of B exited with code 0"),
        "{events}"
    );
}

#[test]
fn next_script_starts_after_the_previous_process_group_has_exited() {
    // The shell exits on SIGTERM; its background job ignores it and exits once `go` exists.
    let script = "(trap '' TERM; until [ -e $DIR/go ]; do sleep 0.01; done; echo deaf >> $DIR/ran) & touch $DIR/there; wait";
    let mut bot = bot(&format!(
        "initial: A\nterminal: C\nstates:\n- {{tag: A, next: B, shell: \"{script}\"}}\n- {{tag: B, shell: 'echo B >> $DIR/ran'}}\n- {{tag: C}}\n"
    ));
    bot.wait_for("there", "");
    wait_until("the script to start", || bot.path("there").exists().then_some(()));
    assert_eq!(bot.socat("GOTO B"), "OK\n");
    wait_until("the shell to exit", || {
        (bot.sexton.json("/v1/process")["processes"][0]["pid"].as_i64().unwrap_or(0) == 0).then_some(())
    });
    assert_eq!(bot.socat("STATE"), "A\n");
    fs::write(bot.path("go"), "").unwrap_or_default();
    bot.wait_for("ran", "B\n");
    assert_eq!(bot.text("ran"), "deaf\nB\n");
}

#[test]
fn loop_of_unstartable_scripts_does_not_block_requests() {
    // The kernel limits arguments and environment together to a quarter of the stack limit (execve(2)).
    let mut bot = super::spawn_bot_with_launcher(
        &["/usr/bin/prlimit", "--stack=1048576"],
        "{initial: A, terminal: C, states: [{tag: A, next: B}, {tag: B, on-failure: D, shell: x}, {tag: D, on-failure: B, shell: x}, {tag: C}]}",
        &[],
    );
    bot.wait_for_state("A");
    for key in ["one", "two", "three"] {
        assert_eq!(bot.socat(&format!("SET {key} {}", "x".repeat(100_000))), "OK\n");
    }
    bot.socat("GOTO B");
    bot.sexton.wait_for_stderr("the script of D exited with code 126");
    for _ in 0..10 {
        assert_eq!(bot.socat("SET key value"), "OK\n");
    }
    let entered = bot.sexton.stderr().matches("entered ").count();
    assert!(entered < 100, "{entered} states were entered");
    bot.sexton.signal(libc::SIGTERM);
    assert_eq!(bot.sexton.wait(), 0);
}

#[test]
fn stop_signal_in_the_terminal_state_kills_its_script() {
    let mut bot = bot(
        "{initial: A, terminal: C, states: [{tag: A}, {tag: C, shell: 'trap \"\" INT; touch $DIR/there; sleep 1000'}]}",
    );
    assert_eq!(bot.socat("GOTO C"), "OK\n");
    wait_until("the terminal script to start", || bot.path("there").exists().then_some(()));
    bot.sexton.signal(libc::SIGINT);
    assert_eq!(bot.sexton.wait(), 143);
}

#[test]
fn script_that_cannot_be_started_counts_as_failed() {
    // The shell is not found without a PATH.
    let mut bot =
        spawn_bot("{initial: A, terminal: C, states: [{tag: A, shell: x, on-failure: C}, {tag: C}]}", &[]);
    let code = bot.sexton.wait();
    assert_eq!(code, 0, "{}", bot.sexton.stderr());
    assert!(bot.sexton.stderr().contains("the script of A exited with code 127"), "{}", bot.sexton.stderr());
}
