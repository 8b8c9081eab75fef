//! States, scripts, the end.

use std::fs;

use testkit::{tree, wait_until};

use super::{SIMPLE, bot, bot_with, starting};
use crate::harness::child;

#[test]
fn it_begins_with_the_initial_state_and_ends_with_the_terminal_one() {
    for end in ["TERM", "INT", "DIE"] {
        let bot = bot(SIMPLE);
        bot.wait_for("ran", "A\n");
        match end {
            "TERM" => bot.sexton.signal(libc::SIGTERM),
            "INT" => bot.sexton.signal(libc::SIGINT),
            _ => assert_eq!(bot.socat("DIE"), "OK\n"),
        }
        let (ran, socket) = (bot.path("ran"), bot.socket());
        let super::Bot { sexton, directory } = bot;
        assert_eq!(sexton.done().code, 0);
        assert_eq!(fs::read_to_string(ran).unwrap_or_default(), "A\nC\n", "{end}");
        assert!(!socket.exists(), "the socket goes with it");
        drop(directory);
    }
}

#[test]
fn its_exit_code_is_that_of_the_terminal_script() {
    let mut bot = bot(&SIMPLE.replace("'echo C >> $DIR/ran'", "exit 5"));
    bot.socat("DIE");
    assert_eq!(bot.sexton.wait(), 5);
}

#[test]
fn transitions_are_allowed_by_tags_and_patterns() {
    let mut bot = bot(SIMPLE);
    bot.wait_for("ran", "A\n");
    assert_eq!(bot.socat("STATE"), "A\n");
    assert_eq!(bot.socat("GOTO A"), "KO\n", "not from itself");
    assert_eq!(bot.socat("GOTO X"), "KO\n");
    assert_eq!(bot.socat("WAIT S1"), "KO 3\n", "its script has failed");
    assert_eq!(bot.socat("STATE"), "S1\n");
    assert_eq!(bot.socat("WAIT B x  y "), "OK\n");
    assert_eq!(bot.text("ran"), "A\nB x  y \n", "the payload is as it was");
    assert_eq!(bot.socat("GOTO C bye"), "OK\n", "from everywhere");
    assert_eq!(bot.sexton.wait(), 0);
}

#[test]
fn scripts_know_what_was_set_where_they_are_asked_and_what_came_with_the_request() {
    let bot = bot(
        "{initial: A, terminal: C, states: [{tag: A, next: A, shell: 'echo \"$K|$INPUT|$SOCKET|$PWD|$KEEP\" >> $DIR/ran'}, {tag: C}]}",
    );
    bot.wait_for("ran", "\n");
    let place = bot.sexton.path("").to_string_lossy().trim_end_matches('/').to_owned();
    let socket = bot.socket().display().to_string();
    assert_eq!(bot.text("ran"), format!("||{socket}|{place}|\n"));
    let payload = r#"{"counter": 123, "quote": "'$(touch x)`"}"#;
    assert_eq!(bot.socat("SET K some value "), "OK\n");
    assert_eq!(bot.socat(&format!("WAIT A {payload}")), "OK\n");
    let second = bot.text("ran").lines().nth(1).map(str::to_owned).unwrap_or_default();
    assert!(second.starts_with(&format!("some value |{payload}|{socket}|")), "{second}");
    assert!(!bot.sexton.path("x").exists());
}

#[test]
fn a_script_that_asks_for_the_next_state_as_its_last_act_is_not_cut() {
    let bot = bot(&format!(
        "{{initial: A, terminal: C, states: [{{tag: A, next: B, shell: 'trap \"echo cut >> $DIR/ran\" TERM; {} automaton ctl -s $SOCKET GOTO B; echo last >> $DIR/ran'}}, {{tag: B, shell: 'echo B >> $DIR/ran'}}, {{tag: C}}]}}",
        crate::harness::SEXTON
    ));
    bot.wait_for("ran", "B\n");
    assert_eq!(bot.text("ran"), "last\nB\n");
}

#[test]
fn a_script_that_stays_is_ended_with_its_whole_group() {
    let bot = bot(
        "{initial: A, terminal: C, states: [{tag: A, next: B, shell: 'sleep 1000 & echo $! >> $DIR/pids; echo $$ >> $DIR/pids; sleep 1000'}, {tag: B, shell: 'echo B >> $DIR/ran'}, {tag: C}]}",
    );
    wait_until("both", || (bot.text("pids").lines().count() == 2).then_some(()));
    let begun = std::time::Instant::now();
    assert_eq!(bot.socat("WAIT B"), "OK\n");
    assert!(begun.elapsed().as_millis() >= 900, "it had a second: {:?}", begun.elapsed());
    for pid in bot.text("pids").lines().filter_map(|pid| pid.parse().ok()) {
        wait_until("gone", || (!tree::is_alive(pid)).then_some(()));
    }
}

#[test]
fn a_script_that_is_deaf_is_killed() {
    let deaf: Vec<_> =
        child(["deaf", "$DIR/there"]).iter().map(|w| w.to_string_lossy().into_owned()).collect();
    let bot = bot(&format!(
        "{{initial: A, terminal: C, states: [{{tag: A, next: B, shell: 'exec {}'}}, {{tag: B}}, {{tag: C}}]}}",
        deaf.join(" ")
    ));
    wait_until("deaf", || bot.path("there").exists().then_some(()));
    assert_eq!(bot.socat("WAIT B"), "OK\n");
    assert!(bot.ctl(&["HISTORY"]).stdout.contains("to=A code=137"), "{}", bot.ctl(&["HISTORY"]).stdout);
}

#[test]
fn a_forced_script_is_waited_for() {
    let bot = bot(
        "{initial: A, terminal: C, states: [{tag: A, force: true, next: B, shell: 'trap \"echo cut >> $DIR/ran\" TERM; until [ -e $DIR/go ]; do sleep 0.01; done; echo done >> $DIR/ran'}, {tag: B, shell: 'echo B >> $DIR/ran'}, {tag: C}]}",
    );
    assert_eq!(bot.socat("GOTO B"), "OK\n");
    // Longer than another would have had.
    let begun = std::time::Instant::now();
    wait_until("more than a second", || (begun.elapsed().as_millis() > 1300).then_some(()));
    assert_eq!(bot.socat("STATE"), "A\n");
    fs::write(bot.path("go"), "").unwrap_or_default();
    bot.wait_for("ran", "B\n");
    assert_eq!(bot.text("ran"), "done\nB\n");
}

#[test]
fn transitions_queue_in_order() {
    let bot = bot(
        "{initial: A, terminal: C, states: [{tag: A, force: true, next: '*', shell: 'until [ -e $DIR/go ]; do sleep 0.01; done'}, {tag: B, next: D, shell: 'echo \"B $INPUT\" >> $DIR/ran'}, {tag: D, next: B, shell: 'echo \"D $INPUT\" >> $DIR/ran'}, {tag: C}]}",
    );
    let clients: Vec<_> = ["WAIT B 1", "WAIT D 2", "WAIT B 3", "WAIT A 4"]
        .map(|line| {
            let socket = bot.socket();
            let client = std::thread::spawn(move || super::socat(&socket, format!("{line}\n").as_bytes()));
            // One after the other: the machine has it when it says so.
            let asked = line.split(' ').next_back().unwrap_or_default().to_owned();
            wait_until("asked", || (asked.parse::<usize>().is_ok_and(|n| waiting(&bot) >= n)).then_some(()));
            client
        })
        .into();
    fs::write(bot.path("go"), "").unwrap_or_default();
    let answers: Vec<_> = clients.into_iter().map(|client| client.join().unwrap_or_default()).collect();
    assert_eq!(answers, ["OK\n", "OK\n", "OK\n", "KO\n"], "{}", bot.sexton.stderr());
    assert_eq!(bot.text("ran"), "B 1\nD 2\nB 3\n");
}

/// How many clients have a connection that was accepted and not closed yet.
fn waiting(bot: &super::Bot) -> usize {
    let path = bot.socket().to_string_lossy().into_owned();
    let unix = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    // Connected (state 03), at our end: those have the name.
    unix.lines().filter(|line| line.ends_with(&path) && line.split_whitespace().nth(5) == Some("03")).count()
}

#[test]
fn a_script_that_takes_too_long_has_failed_and_failure_leads_elsewhere() {
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
fn a_stop_in_any_phase_ends_in_the_terminal_script() {
    let scripts = ["sleep 1000", "trap '' TERM; while :; do sleep 0.01; done", "exit 1", "no-such-program"];
    for script in scripts {
        let text = format!(
            "initial: A\nterminal: C\nstates:\n- tag: A\n  shell: |\n    echo A >> $DIR/ran\n    {script}\n- {{tag: C, shell: echo C >> $DIR/ran}}\n"
        );
        let mut bot = bot(&text);
        bot.wait_for("ran", "A\n");
        bot.sexton.signal(libc::SIGTERM);
        // Again changes nothing: the terminal script runs once.
        bot.sexton.signal(libc::SIGTERM);
        assert_eq!(bot.sexton.wait(), 0, "{script}");
        assert_eq!(bot.text("ran"), "A\nC\n", "{script}");
    }
}

#[test]
fn whoever_asks_twice_does_not_wait_for_a_terminal_script_that_hangs() {
    let mut bot = bot(
        "{initial: A, terminal: C, states: [{tag: A}, {tag: C, shell: 'echo C > $DIR/ran; sleep 1000'}]}",
    );
    bot.sexton.signal(libc::SIGINT);
    bot.wait_for("ran", "C");
    assert_eq!(bot.socat("GOTO A"), "KO\n", "on the way to the end nothing else begins");
    assert_eq!(bot.socat("STATE"), "C\n");
    bot.sexton.signal(libc::SIGINT);
    assert_eq!(bot.sexton.wait(), 143);
}

#[test]
fn what_scripts_leave_behind_lives_on_between_states_and_not_behind_us() {
    let daemon = child(["daemon", "$DIR/daemon"]);
    let daemon: Vec<_> = daemon.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut bot = bot(&format!(
        "{{initial: A, terminal: C, states: [{{tag: A, next: B, shell: 'sleep 1000 & echo $! > $DIR/pid; {}'}}, {{tag: B}}, {{tag: C}}]}}",
        daemon.join(" ")
    ));
    bot.wait_for("daemon", "");
    let pids = wait_until("both", || {
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
fn a_script_that_prints_without_end_holds_up_nobody() {
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
fn what_scripts_print_is_not_logged_unless_asked_for() {
    let mut bot = bot(&SIMPLE.replace("'echo A >> $DIR/ran'", "'echo loud; echo A >> $DIR/ran'"));
    bot.wait_for("ran", "A\n");
    bot.socat("DIE");
    bot.sexton.wait();
    assert!(!bot.sexton.stderr().contains("loud") && bot.sexton.text("stdout").is_empty());
}

#[test]
fn it_answers_over_http_too() {
    let mut bot = bot(SIMPLE);
    bot.wait_for_state("A");
    bot.socat("WAIT B");
    assert_eq!(bot.sexton.get("/readiness").code, 200);
    let told = bot.sexton.json("/v1/process");
    assert_eq!(
        (&told["mode"], &told["processes"][0]["state"]),
        (&"automaton".into(), &"state B".into()),
        "{told}"
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
fn the_next_script_does_not_meet_what_the_last_has_left_when_it_was_told_to_end() {
    // The shell ends with TERM; what it has started in its group does so when it is told.
    let deaf = "(trap '' TERM; until [ -e $DIR/go ]; do sleep 0.01; done; echo deaf >> $DIR/ran) & touch $DIR/there; wait";
    let mut bot = bot(&format!(
        "initial: A\nterminal: C\nstates:\n- {{tag: A, next: B, shell: \"{deaf}\"}}\n- {{tag: B, shell: 'echo B >> $DIR/ran'}}\n- {{tag: C}}\n"
    ));
    bot.wait_for("there", "");
    wait_until("the start", || bot.path("there").exists().then_some(()));
    assert_eq!(bot.socat("GOTO B"), "OK\n");
    wait_until("the end of the shell", || {
        (bot.sexton.json("/v1/process")["processes"][0]["pid"].as_i64().unwrap_or(0) == 0).then_some(())
    });
    assert_eq!(bot.socat("STATE"), "A\n");
    fs::write(bot.path("go"), "").unwrap_or_default();
    bot.wait_for("ran", "B\n");
    assert_eq!(bot.text("ran"), "deaf\nB\n");
}

#[test]
fn scripts_that_cannot_be_started_and_lead_to_each_other_hold_up_nobody() {
    // A quarter of the stack is what the kernel takes for all arguments and variables (execve(2)).
    let mut bot = super::starting_below(
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
fn whoever_has_gone_to_the_last_state_and_asks_again_does_not_wait_for_it() {
    let mut bot = bot(
        "{initial: A, terminal: C, states: [{tag: A}, {tag: C, shell: 'trap \"\" INT; touch $DIR/there; sleep 1000'}]}",
    );
    assert_eq!(bot.socat("GOTO C"), "OK\n");
    wait_until("the last script", || bot.path("there").exists().then_some(()));
    bot.sexton.signal(libc::SIGINT);
    assert_eq!(bot.sexton.wait(), 143);
}

#[test]
fn a_script_that_cannot_be_started_has_failed() {
    // Without a PATH there is no shell.
    let mut bot =
        starting("{initial: A, terminal: C, states: [{tag: A, shell: x, on-failure: C}, {tag: C}]}", &[]);
    let code = bot.sexton.wait();
    assert_eq!(code, 0, "{}", bot.sexton.stderr());
    assert!(bot.sexton.stderr().contains("the script of A exited with code 127"), "{}", bot.sexton.stderr());
}
