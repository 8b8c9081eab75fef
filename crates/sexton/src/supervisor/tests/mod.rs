//! Tests of [`Supervisor::handle`] with recorded effects: no process, file or clock takes part.

mod fake;

use std::time::Duration;

use engine::{Event, Exit, Outcome, PodPhase, ProbeResult, Refusal, RunId, Signal};

use super::{LockChange, MemoryUse, SupervisorEvent};
use crate::control::{Command, ControlError, ProcessAction};
use fake::started;
use linux::process_table::RunEvent;
use spec::reload::Reloaded;

const SECOND: Duration = Duration::from_secs(1);
const TERM: Exit = Exit::Signal(Signal::TERM);

fn process(name: &str, action: ProcessAction) -> impl FnOnce(crate::control::Reply<Outcome>) -> Command {
    let name = name.to_owned();
    move |reply| Command::Process { name, action, reply }
}

#[test]
fn restarts_after_an_exit_in_the_order_journal_output_report_spawn() {
    let mut supervisor = started("processes: {web: {command: x, backoff: {firstAtOnce: false}}}");
    assert_eq!(supervisor.calls_except(&["notify Ready"]), ["spawn web as 1"]);
    supervisor.exit_of(1, Exit::Code(3));
    let calls = supervisor.calls_except(&["notify"]);
    assert_eq!(calls, ["close output of 1", "journal: exit of 1"]);
    supervisor.advance(2 * SECOND);
    assert_eq!(supervisor.calls_except(&["notify"]), ["spawn web as 2"]);
    assert!(supervisor.hub.view().processes[0].pid.is_some());
}

#[test]
fn spawns_a_process_only_when_its_dependency_is_ready() {
    let mut supervisor = started(
        "processes: {db: {command: x, readinessProbe: {tcpSocket: {port: 1}}}, web: {command: x, dependsOn: db}}",
    );
    assert_eq!(supervisor.calls(), ["spawn db as 1", "probe 2"]);
    let passed = Event::Probed { attempt: engine::AttemptId(2), result: ProbeResult::Passed };
    supervisor.handle(SupervisorEvent::AttemptFinished(passed.clone()));
    supervisor.settle();
    let spawned = supervisor.calls_except(&["notify"]);
    assert_eq!(spawned, ["spawn web as 3"]);
    // The result of an attempt that is not in progress is dropped.
    let generation = supervisor.pod.generation();
    supervisor.handle(SupervisorEvent::AttemptFinished(passed));
    assert_eq!(supervisor.pod.generation(), generation);
}

#[test]
fn writes_the_tombstone_of_a_process_before_its_dependency_is_signalled() {
    let mut supervisor = started(
        "graveyard: {directory: /graveyard}\n\
         processes: {db: {command: x}, web: {command: x, dependsOn: db, tombstone: web}}",
    );
    supervisor.calls();
    supervisor.receive(Signal::TERM);
    assert_eq!(supervisor.calls_except(&["notify", "tombstone"]), ["signal 2: TERM"]);
    supervisor.exit_of(2, TERM);
    let calls = supervisor.calls_except(&["notify", "journal", "close"]);
    assert_eq!(calls, ["tombstone of web: died; published: running,running", "signal 1: TERM"]);
}

#[test]
fn publishes_and_notifies_only_after_the_tombstone_is_written() {
    let mut supervisor = started(
        "graveyard: {directory: /graveyard}\n\
         processes: {job: {command: x, restartPolicy: Never, tombstone: job}, web: {command: x}}",
    );
    let calls = supervisor.calls_except(&["spawn"]);
    assert!(calls[0].starts_with("tombstone of job: ") && calls[0].contains("born"), "{calls:?}");
    supervisor.exit_of(1, Exit::Code(0));
    let calls = supervisor.calls_except(&["close"]);
    assert_eq!(calls[0], "journal: exit of 1");
    // At the time of the write, the process was still published as running.
    assert_eq!(calls[1], "tombstone of job: died; published: running,running");
    assert!(calls[2].starts_with("notify Status: job: "), "{calls:?}");
    assert_eq!(supervisor.hub.view().processes[0].status.label(), "stopped");
}

#[test]
fn answers_a_stop_request_when_the_process_has_exited() {
    let mut supervisor = started("processes: {web: {command: x}, db: {command: x}}");
    supervisor.calls();
    let mut answer = supervisor.ask(process("web", ProcessAction::Stop));
    assert_eq!(supervisor.calls_except(&["notify"]), ["signal 1: TERM"]);
    assert!(answer.try_recv().is_err(), "it has not exited yet");
    supervisor.exit_of(1, TERM);
    assert_eq!(answer.try_recv(), Ok(Ok(Outcome::Changed)));
    let mut again = supervisor.ask(process("web", ProcessAction::Stop));
    assert_eq!(again.try_recv(), Ok(Ok(Outcome::Unchanged)));
}

#[test]
fn an_answer_is_sent_after_its_result_is_published() {
    let mut supervisor = started("processes: {web: {command: x}, db: {command: x}}");
    let mut answer = supervisor.ask(process("web", ProcessAction::Stop));
    supervisor.reaps(1, RunEvent::Exited { exit: TERM, leftovers: false, out_of_memory: false });
    supervisor.apply(SupervisorEvent::Signals(vec![Signal::CHLD]));
    assert!(answer.try_recv().is_err(), "nothing is published yet");
    supervisor.publish();
    assert!(supervisor.hub.view().processes[0].state.starts_with("stopped"));
    assert_eq!(answer.try_recv(), Ok(Ok(Outcome::Changed)));
}

#[test]
fn an_unknown_process_is_refused_with_a_hint() {
    let mut supervisor = started("processes: {web: {command: x}}");
    let mut answer = supervisor.ask(process("wbe", ProcessAction::Stop));
    let message = "there is no process 'wbe', did you mean 'web'?".to_owned();
    assert_eq!(answer.try_recv(), Ok(Err(ControlError::Unknown(message))));
}

#[test]
fn a_reload_adds_removes_restarts_and_keeps() {
    let mut supervisor =
        started("processes: {keep: {command: x}, change: {command: x}, remove: {command: x}}");
    supervisor.calls();
    supervisor.system.configuration =
        "processes: {keep: {command: x}, change: {command: y}, add: {command: x}}";
    let mut answer = supervisor.ask(Command::Reload);
    let names = |name: &str| vec![name.to_owned()];
    let reloaded =
        Reloaded { added: names("add"), changed: names("change"), removed: names("remove"), kept: 1 };
    assert_eq!(answer.try_recv(), Ok(Ok(reloaded)));
    let calls = supervisor.calls_except(&["notify"]);
    assert_eq!(
        calls,
        ["plan output of change", "plan output of add", "signal 2: TERM", "signal 3: TERM", "spawn add as 4"]
    );
    supervisor.exit_of(2, TERM);
    supervisor.exit_of(3, TERM);
    let calls = supervisor.calls_except(&["notify", "journal", "close"]);
    assert_eq!(calls, ["remove change", "spawn change as 5", "remove remove"]);
    let view = supervisor.hub.view();
    let names: Vec<_> = view.processes.iter().map(|process| &*process.name).collect();
    assert_eq!(names, ["keep", "change", "add"]);
}

#[test]
fn an_invalid_configuration_changes_nothing() {
    let mut supervisor = started("processes: {web: {command: x}}");
    supervisor.calls();
    supervisor.system.configuration = "processes: {web: {comand: x}}";
    let mut answer = supervisor.ask(Command::Reload);
    assert!(matches!(answer.try_recv(), Ok(Err(ControlError::Configuration(_)))));
    supervisor.receive(Signal::HUP);
    assert_eq!(supervisor.calls(), Vec::<String>::new());
}

#[test]
fn a_failed_spawn_becomes_an_event_and_is_retried() {
    let mut supervisor = started("processes: {web: {command: x, backoff: {firstAtOnce: false}}}");
    supervisor.exit_of(1, Exit::Code(1));
    supervisor.calls();
    supervisor.system.spawn_error = Some("no process left");
    supervisor.advance(2 * SECOND);
    let calls = supervisor.calls_except(&["notify"]);
    assert_eq!(calls, ["spawn web as 2", "journal: failed spawn of 2"]);
    assert!(supervisor.deadline() > Some(supervisor.system_time()), "it waits for the back-off delay");
    supervisor.system.spawn_error = None;
    supervisor.advance(5 * SECOND);
    assert_eq!(supervisor.calls_except(&["notify"]), ["spawn web as 3"]);
}

#[test]
fn a_second_sigterm_changes_nothing_and_a_second_sigint_kills() {
    let mut supervisor = started("processes: {web: {command: x}}");
    supervisor.calls();
    supervisor.receive(Signal::TERM);
    assert_eq!(supervisor.calls_except(&["notify"]), ["signal 1: TERM"]);
    supervisor.advance(SECOND);
    supervisor.receive(Signal::TERM);
    assert_eq!(supervisor.calls_except(&["notify"]), Vec::<String>::new());
    supervisor.receive(Signal::INT);
    supervisor.calls();
    supervisor.receive(Signal::INT);
    assert_eq!(supervisor.calls_except(&["notify"]), ["signal 1: KILL"]);
}

#[test]
fn exits_are_handled_before_stop_signals_of_the_same_read() {
    let mut supervisor = started("processes: {web: {command: x}}");
    supervisor.calls();
    supervisor.reaps(1, RunEvent::Exited { exit: Exit::Code(0), leftovers: false, out_of_memory: false });
    supervisor.handle(SupervisorEvent::Signals(vec![Signal::TERM, Signal::CHLD]));
    supervisor.settle();
    let calls = supervisor.calls_except(&["notify", "journal", "close", "remove"]);
    assert!(!calls.iter().any(|call| call.starts_with("signal")), "{calls:?}");
    assert!(supervisor.exit.is_some());
}

#[test]
fn a_lost_lock_stops_the_process_and_then_kills_it() {
    let mut supervisor = started(
        "processes: {web: {command: x, terminationGracePeriodSeconds: 600, lock: {name: a, url: 'http://127.0.0.1:1'}}}",
    );
    assert_eq!(supervisor.calls(), ["acquire a for 1"]);
    let acquired = || LockChange::Acquired { fence: 7 };
    supervisor.handle(SupervisorEvent::LockChanged(RunId(1), acquired()));
    supervisor.settle();
    assert_eq!(supervisor.calls_except(&["notify"]), ["spawn web as 1"]);
    let gone_by = supervisor.system_time() + 4 * SECOND;
    let lost = LockChange::Lost { why: "the lease expired".to_owned(), gone_by };
    supervisor.handle(SupervisorEvent::LockChanged(RunId(1), lost));
    assert_eq!(supervisor.calls_except(&["notify"]), ["signal 1: TERM"]);
    supervisor.advance(4 * SECOND);
    assert_eq!(supervisor.calls_except(&["notify"]), ["signal 1: KILL"]);
    supervisor.exit_of(1, Exit::Signal(Signal::KILL));
    let calls = supervisor.calls_except(&["notify", "journal", "close"]);
    assert_eq!(calls[0], "release lock of 1", "only when no process of the run is left");
    // An acquisition that arrives after the release is dropped.
    supervisor.handle(SupervisorEvent::LockChanged(RunId(1), acquired()));
    assert!(!supervisor.calls().iter().any(|call| call.starts_with("spawn")));
}

#[test]
fn the_guard_is_ensured_while_a_lock_is_awaited() {
    let mut supervisor =
        started("processes: {web: {command: x, lock: {name: a, url: 'http://127.0.0.1:1'}}}");
    supervisor.calls();
    let waiting = LockChange::Waiting("held by another".to_owned());
    supervisor.handle(SupervisorEvent::LockChanged(RunId(1), waiting));
    supervisor.handle(SupervisorEvent::LockGuardMissing);
    assert_eq!(supervisor.calls(), ["ensure guard", "ensure guard"]);
    assert!(supervisor.hub.view().processes[0].state.contains("held by another"));
}

#[test]
fn no_request_is_left_unanswered_at_shutdown() {
    let mut supervisor = started(
        "processes: {db: {command: x, readinessProbe: {tcpSocket: {port: 1}}}, web: {command: x, dependsOn: db}}",
    );
    let mut waiting = supervisor.ask(process("web", ProcessAction::Start));
    let mut restart = supervisor.ask(process("db", ProcessAction::Restart));
    let mut end = supervisor.ask(Command::End);
    let refused = |refusal| Ok(Err(ControlError::Refused(refusal)));
    assert_eq!(waiting.try_recv(), refused(Refusal::ShuttingDown));
    supervisor.exit_of(1, TERM);
    assert!(supervisor.exit.is_some());
    assert_eq!(restart.try_recv(), refused(Refusal::ShuttingDown));
    assert!(end.try_recv().is_ok());
    // Requests that arrive after the last process has exited.
    let mut late = supervisor.ask(process("db", ProcessAction::Start));
    assert_eq!(late.try_recv(), refused(Refusal::ShuttingDown));
    let mut late = supervisor.ask(Command::Reload);
    assert!(matches!(late.try_recv(), Ok(Err(ControlError::Refused(Refusal::ShuttingDown)))));
}

#[test]
fn shutdown_publishes_then_writes_the_termination_message_and_removes_the_readiness_file() {
    let mut supervisor = started(
        "readinessFile: /run/ready\nprocesses: {web: {command: x, restartPolicy: Never}, db: {command: x}}",
    );
    let calls = supervisor.calls_except(&["notify"]);
    assert_eq!(calls, ["remove readiness file", "spawn web as 1", "spawn db as 2", "create readiness file"]);
    supervisor.exit_of(1, Exit::Code(3));
    assert_eq!(supervisor.calls_except(&["notify", "journal", "close"]), ["remove readiness file"]);
    supervisor.receive(Signal::TERM);
    supervisor.calls();
    supervisor.exit_of(2, TERM);
    assert_eq!(supervisor.exit.map(|(code, _)| code), Some(3));
    let calls = supervisor.calls_except(&["notify", "journal", "close"]);
    assert_eq!(calls.len(), 1);
    assert!(calls[0].starts_with("termination message, published: web: "), "{calls:?}");
}

#[test]
fn the_deadline_is_that_of_the_engine_unless_processes_wait_to_be_spawned() {
    let mut supervisor = started("processes: {web: {command: x, backoff: {firstAtOnce: false}}}");
    assert_eq!(supervisor.deadline(), supervisor.pod.deadline());
    supervisor.exit_of(1, Exit::Code(1));
    let retry_at = supervisor.deadline();
    assert!(retry_at.is_some_and(|at| at > supervisor.system_time()));
    assert_eq!(retry_at, supervisor.pod.deadline());
    // Before the deadline, the timer does nothing.
    let generation = supervisor.pod.generation();
    supervisor.handle(SupervisorEvent::TimerFired);
    assert_eq!(supervisor.pod.generation(), generation);
    supervisor.system_advance(2 * SECOND);
    supervisor.handle(SupervisorEvent::TimerFired);
    assert_eq!(supervisor.deadline(), Some(supervisor.system_time()), "a process waits to be spawned");
}

#[test]
fn slow_spawns_leave_time_for_other_events() {
    let mut supervisor = started("processes: {a: {command: x}, b: {command: x}, c: {command: x}}");
    for run in 1..=3 {
        supervisor.reaps(run, RunEvent::Exited { exit: TERM, leftovers: false, out_of_memory: false });
    }
    supervisor.system.spawn_time = Duration::from_millis(3);
    supervisor.handle(SupervisorEvent::Signals(vec![Signal::CHLD]));
    supervisor.handle(SupervisorEvent::TimerFired);
    supervisor.calls();
    supervisor.handle(SupervisorEvent::TimerFired);
    assert_eq!(supervisor.calls_except(&["notify"]).len(), 1);
    assert!(supervisor.is_due());
}

#[test]
fn leftovers_are_looked_for_with_growing_pauses_until_the_run_is_cleared() {
    let mut supervisor = started("processes: {web: {command: x}}");
    supervisor.calls();
    supervisor.reaps(1, RunEvent::Exited { exit: TERM, leftovers: true, out_of_memory: false });
    supervisor.receive(Signal::CHLD);
    assert_eq!(supervisor.calls_except(&["notify", "journal", "signal"]), ["drain output of 1"]);
    let pause =
        |supervisor: &super::Supervisor<fake::Fake>| supervisor.leftovers_check.map(|(_, pause)| pause);
    assert_eq!(pause(&supervisor), Some(Duration::from_millis(10)));
    supervisor.advance(Duration::from_millis(10));
    supervisor.handle(SupervisorEvent::LeftoversDue);
    assert_eq!(pause(&supervisor), Some(Duration::from_millis(20)));
    supervisor.reaps(1, RunEvent::Cleared);
    supervisor.receive(Signal::CHLD);
    assert_eq!(pause(&supervisor), None);
    let calls = supervisor.calls_except(&["notify", "journal", "signal"]);
    assert_eq!(calls[0], "close output of 1");
}

#[test]
fn memory_above_the_limit_stops_the_process() {
    let mut supervisor = started("processes: {web: {command: x, resources: {limits: {memory: 1Mi}}}}");
    supervisor.calls();
    supervisor.handle(SupervisorEvent::MemoryCheckDue);
    assert_eq!(supervisor.calls(), ["measure memory of 1: limit 1048576"]);
    assert_eq!(supervisor.memory_check, None, "one measurement at a time");
    let over = MemoryUse { run: RunId(1), used: 2 << 20, limit: 1 << 20 };
    supervisor.handle(SupervisorEvent::MemoryMeasured(vec![over]));
    assert_eq!(supervisor.calls_except(&["notify"]), ["signal 1: KILL"]);
    assert!(supervisor.memory_check.is_some());
}

#[test]
fn events_of_a_batch_are_published_once() {
    let mut supervisor = started("processes: {web: {command: x}, db: {command: x}}");
    let mut views = supervisor.hub.views();
    views.mark_unchanged();
    let before = views.borrow().generation;
    for run in [1, 2] {
        supervisor.reaps(run, RunEvent::Exited { exit: TERM, leftovers: false, out_of_memory: false });
    }
    let keepalive = SupervisorEvent::KeepaliveDue;
    let signals = SupervisorEvent::Signals(vec![Signal::CHLD]);
    supervisor.handle(SupervisorEvent::Batch(vec![keepalive, signals]));
    assert!(views.has_changed().is_ok_and(|changed| changed));
    let view = views.borrow_and_update().clone();
    assert!(view.generation > before && view.processes.iter().all(|process| process.pid.is_none()));
    assert!(supervisor.calls().contains(&"notify Alive: ".to_owned()));
    assert_eq!(*supervisor.pod.phase(), PodPhase::Up);
}
