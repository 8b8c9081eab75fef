//! The event loop: turns what happens into one [`SupervisorEvent`] at a time, and leaves the work to
//! [`Supervisor::handle`].

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use engine::{Event, Time};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::linux_system::{LinuxSystem, Senders};
use super::locks::RunLocks;
use super::{MemoryUse, PeerChanges, Supervisor, SupervisorDeps, SupervisorEvent};
use crate::control::Command;
use crate::logs::capture::{Outputs, Patience};
use crate::probes::SpawnRequest;
use crate::tombstones::Graveyard;
use crate::tombstones::external_peers::tell_to_quit;
use linux::cgroup::Cgroups;
use linux::notify_listener::NotifyDatagram;
use linux::process_table::ProcessTable;
use linux::reap;
use linux::signals::SignalStream;
use spec::environment::Real;
use spec::logs::OUTPUT_RESERVE;

/// The length of the queue of notifications from processes; senders wait while it is full.
const NOTIFICATIONS: usize = 64;
/// A deadline that is handled this late shows that the supervisor was suspended or the machine stalled.
const STALLED: Duration = Duration::from_millis(250);
/// How long deadlines are held back then.
const STALL_GRACE: Duration = Duration::from_millis(250);
/// How long a reader that takes nothing of the output is waited for if all processes ended on their own.
const STALLED_READER: Duration = Duration::from_secs(30);
/// The part of the time for the output that is left for sexton's own log.
const OWN_LOG_RESERVE: Duration = Duration::from_secs(1);
/// The time limit for killing the commands of probes and hooks at shutdown, and the pause between two looks.
const HELPERS_TIMEOUT: Duration = Duration::from_secs(2);
const HELPERS_PAUSE: Duration = Duration::from_millis(5);
/// The exit code when a mandatory quit request failed and everything else succeeded.
const QUIT_FAILED: i32 = 1;

/// The receiving ends of the event loop.
struct Inbox {
    signals: SignalStream,
    results: mpsc::UnboundedReceiver<Event>,
    helpers: mpsc::UnboundedReceiver<SpawnRequest>,
    notifications: mpsc::Receiver<NotifyDatagram>,
    measured: mpsc::UnboundedReceiver<Vec<MemoryUse>>,
    commands: Option<mpsc::Receiver<Command>>,
    /// The interval of keepalives to the service manager, and when the next one is due.
    keepalive: Option<(Duration, Instant)>,
}

/// Supervises processes until all have exited, and returns the exit code.
pub async fn run(deps: SupervisorDeps) -> io::Result<i32> {
    let (mut supervisor, mut inbox, peers) = open(deps);
    supervisor.handle(SupervisorEvent::Started { peers });
    let mut stall = Stall::default();
    while supervisor.exit.is_none() {
        let hold = stall.hold(supervisor.lateness(), Instant::now());
        if hold.is_none() && supervisor.is_due() {
            // What has arrived counts before a deadline does. The first yield lets sockets be polled, the second one lets
            // the tasks run that read them.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            supervisor.handle(inbox.pending()?);
            supervisor.handle(SupervisorEvent::TimerFired);
            // Signals, results and clients get their turn even when the next deadline has passed already.
            tokio::task::yield_now().await;
            supervisor.handle(inbox.pending()?);
        } else {
            let event = next_event(&mut supervisor, &mut inbox, hold).await?;
            supervisor.handle(event);
            tokio::task::yield_now().await;
        }
    }
    shut_down(supervisor, inbox).await
}

/// Detects that the supervisor was suspended, or the machine stalled: a deadline is very late. Its processes may have been
/// stalled too, and what they have sent may not have been read: deadlines are held back for a moment.
#[derive(Debug, Default)]
struct Stall {
    until: Option<Instant>,
}

impl Stall {
    /// Returns until when deadlines are held back, if they are.
    fn hold(&mut self, late: Option<Duration>, now: Instant) -> Option<Instant> {
        if late.is_none_or(|late| late < STALLED) {
            self.until = None;
            return None;
        }
        let until = *self.until.get_or_insert(now + STALL_GRACE);
        Some(until).filter(|until| now < *until)
    }
}

fn open(deps: SupervisorDeps) -> (Supervisor<LinuxSystem>, Inbox, PeerChanges) {
    reap::adopt_orphans();
    let (results, results_receiver) = mpsc::unbounded_channel();
    let (helpers, helpers_receiver) = mpsc::unbounded_channel();
    let (notifications, notifications_receiver) = mpsc::channel(NOTIFICATIONS);
    let (measured, measured_receiver) = mpsc::unbounded_channel();
    let keepalive = deps.notify.watchdog().map(|interval| (interval, Instant::now() + interval));
    let (graveyard, peers) = deps.graveyard.unzip();
    let system = LinuxSystem {
        clock: deps.clock,
        processes: ProcessTable::new(deps.up.is_none()),
        cgroups: deps.up.as_ref().and_then(|_| Cgroups::find(&Real)),
        outputs: deps.outputs,
        terminal: deps.terminal,
        journal: deps.journal,
        notify: deps.notify,
        graveyard,
        attempts: BTreeMap::new(),
        listeners: BTreeMap::new(),
        locks: RunLocks::default(),
        senders: Senders { results, helpers, notifications, measured },
    };
    let supervisor =
        Supervisor::new(system, deps.mode, deps.seed, deps.clock, deps.processes, deps.hub, deps.up);
    let inbox = Inbox {
        signals: deps.signals,
        results: results_receiver,
        helpers: helpers_receiver,
        notifications: notifications_receiver,
        measured: measured_receiver,
        commands: deps.commands,
        keepalive,
    };
    (supervisor, inbox, peers.unwrap_or_default())
}

/// Waits for the next event, and adds the results and notifications that have arrived by then.
async fn next_event(
    supervisor: &mut Supervisor<LinuxSystem>,
    inbox: &mut Inbox,
    hold: Option<Instant>,
) -> io::Result<SupervisorEvent> {
    let clock = supervisor.clock;
    let until = |at: Option<Time>| sleep_until_some(at.map(|at| clock.instant(at)));
    let timer = sleep_until_some(supervisor.deadline().map(|at| hold.unwrap_or_else(|| clock.instant(at))));
    let leftovers = until(supervisor.leftovers_check.map(|(at, _)| at));
    let memory = until(supervisor.memory_check);
    let keepalive = sleep_until_some(inbox.keepalive.map(|(_, at)| at));
    let LinuxSystem { graveyard, locks, .. } = &mut supervisor.system;
    let event = tokio::select! {
        biased;
        signals = inbox.signals.next() => SupervisorEvent::Signals(signals?),
        Some(request) = inbox.helpers.recv() => SupervisorEvent::HelperRequested(request),
        peers = peer_changes(graveyard) => SupervisorEvent::PeersChanged(peers),
        Some(result) = inbox.results.recv() => SupervisorEvent::AttemptFinished(result),
        event = locks.next(clock) => event,
        Some(notification) = inbox.notifications.recv() => SupervisorEvent::Notified(notification),
        Some(over) = inbox.measured.recv() => SupervisorEvent::MemoryMeasured(over),
        // Fired by the loop, after what has arrived meanwhile.
        () = timer => SupervisorEvent::Batch(Vec::new()),
        command = next_command(&mut inbox.commands) => SupervisorEvent::Command(command),
        () = leftovers => SupervisorEvent::LeftoversDue,
        () = memory => SupervisorEvent::MemoryCheckDue,
        () = keepalive => {
            inbox.keepalive = inbox.keepalive.map(|(interval, _)| (interval, Instant::now() + interval));
            SupervisorEvent::KeepaliveDue
        }
    };
    let mut events = vec![event];
    inbox.take_results(&mut events);
    for _ in 0..NOTIFICATIONS {
        let Ok(notification) = inbox.notifications.try_recv() else { break };
        events.push(SupervisorEvent::Notified(notification));
    }
    Ok(SupervisorEvent::Batch(events))
}

impl Inbox {
    /// What has arrived: all signals, notifications, results and commands of probes, and the request of one client.
    fn pending(&mut self) -> io::Result<SupervisorEvent> {
        let mut events = Vec::new();
        events.extend(self.signals.at_once()?.map(SupervisorEvent::Signals));
        self.take_results(&mut events);
        for _ in 0..NOTIFICATIONS {
            let Ok(notification) = self.notifications.try_recv() else { break };
            events.push(SupervisorEvent::Notified(notification));
        }
        while let Ok(request) = self.helpers.try_recv() {
            events.push(SupervisorEvent::HelperRequested(request));
        }
        let command = self.commands.as_mut().and_then(|commands| commands.try_recv().ok());
        events.extend(command.map(SupervisorEvent::Command));
        Ok(SupervisorEvent::Batch(events))
    }

    fn take_results(&mut self, events: &mut Vec<SupervisorEvent>) {
        while let Ok(result) = self.results.try_recv() {
            events.push(SupervisorEvent::AttemptFinished(result));
        }
    }
}

/// All processes have exited: sends the quit requests, releases locks and writes the remaining output.
async fn shut_down(mut supervisor: Supervisor<LinuxSystem>, mut inbox: Inbox) -> io::Result<i32> {
    if let Some(commands) = &mut inbox.commands {
        commands.close();
        while let Ok(command) = commands.try_recv() {
            supervisor.handle(SupervisorEvent::Command(command));
        }
    }
    let patience = output_patience(&supervisor);
    let Supervisor { mut system, exit, .. } = supervisor;
    let signals = inbox.signals;
    let code = exit.map_or(0, |(code, _)| code);
    let code = send_quit_requests(system.graveyard.as_ref(), &signals, code).await?;
    system.locks.finish().await;
    let LinuxSystem { outputs, attempts, mut processes, .. } = system;
    for task in attempts.values() {
        task.abort();
    }
    stop_helpers(&mut processes).await;
    pass_on_output(outputs, &signals, patience).await?;
    Ok(code)
}

/// Kills the commands of probes and hooks, and what they have left behind.
async fn stop_helpers(processes: &mut ProcessTable) {
    processes.kill_helpers();
    let until = Instant::now() + HELPERS_TIMEOUT;
    while processes.any_helpers() && Instant::now() < until {
        processes.reap();
        sleep(HELPERS_PAUSE).await;
    }
}

/// How long to wait until the reader of the output has taken it. After a stop request, no longer than the time for the
/// shutdown. If all processes ended on their own, a reader that takes something is waited for until it has taken all.
fn output_patience(supervisor: &Supervisor<LinuxSystem>) -> Patience {
    let pod = &supervisor.pod;
    if !pod.stop_requested() {
        return Patience { stalled: STALLED_READER, until: None };
    }
    let reserve = pod.settings().deadline.map_or(OUTPUT_RESERVE, |deadline| deadline.min(OUTPUT_RESERVE));
    let end_by = pod.end_by().map_or_else(Instant::now, |at| supervisor.clock.instant(at));
    Patience {
        stalled: reserve,
        until: Some(end_by.max(Instant::now()) + reserve.saturating_sub(OWN_LOG_RESERVE)),
    }
}

/// Passes on the remaining output. The first stop signal limits the time for that, the next one ends it.
async fn pass_on_output(
    mut outputs: Outputs,
    signals: &SignalStream,
    mut patience: Patience,
) -> io::Result<()> {
    let stop_signal = async || loop {
        if signals.next().await?.iter().any(|signal| signal.ends_a_program()) {
            return Ok::<_, io::Error>(());
        }
    };
    loop {
        tokio::select! {
            () = outputs.finish(patience) => break,
            stopped = stop_signal() => stopped?,
        }
        if patience.until.is_some() {
            log::warn!("received a stop signal: not waiting until the remaining output is read");
            break;
        }
        let until = Instant::now() + OUTPUT_RESERVE.saturating_sub(OWN_LOG_RESERVE);
        patience = Patience { until: Some(until), ..patience };
    }
    let lines = outputs.discard();
    if lines > 0 {
        log::warn!(lines = lines; "the last lines of output are lost: their reader did not take them in time");
    }
    Ok(())
}

/// Sends the quit requests to peers, and returns the exit code with their failures taken into account.
async fn send_quit_requests(
    graveyard: Option<&Graveyard>,
    signals: &SignalStream,
    code: i32,
) -> io::Result<i32> {
    let Some(graveyard) = graveyard else { return Ok(code) };
    let requests = graveyard.to_quit(code);
    let sent = tell_to_quit(requests);
    tokio::pin!(sent);
    let failed = loop {
        tokio::select! {
            sent = &mut sent => break !sent,
            signals = signals.next() => if signals?.iter().any(|signal| signal.ends_a_program()) {
                log::warn!("received a stop signal: skipping the remaining quit requests");
                break requests.iter().any(|request| request.fatal);
            }
        }
    };
    Ok(if failed && code == 0 { QUIT_FAILED } else { code })
}

/// Waits for changes of peers; forever, if there is no graveyard.
async fn peer_changes(graveyard: &mut Option<Graveyard>) -> PeerChanges {
    match graveyard {
        Some(graveyard) => graveyard.changes().await,
        None => std::future::pending().await,
    }
}

/// Waits for a request of a client; forever, if there is no control socket.
async fn next_command(commands: &mut Option<mpsc::Receiver<Command>>) -> Command {
    if let Some(commands) = commands
        && let Some(command) = commands.recv().await
    {
        return command;
    }
    std::future::pending().await
}

/// Sleeps until then; forever without a time.
async fn sleep_until_some(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_held_back_once_after_a_stall() {
        let (mut stall, now) = (Stall::default(), Instant::now());
        let late = |millis| Some(Duration::from_millis(millis));
        assert_eq!(stall.hold(None, now), None);
        assert_eq!(stall.hold(late(5), now), None, "timers are always a little late");
        let until = stall.hold(late(4000), now);
        assert_eq!(until, Some(now + STALL_GRACE));
        assert_eq!(stall.hold(late(4100), now + STALL_GRACE / 2), until, "not longer");
        assert_eq!(stall.hold(late(4300), now + STALL_GRACE), None);
        assert_eq!(stall.hold(None, now + STALL_GRACE), None);
        assert!(stall.hold(late(4000), now + STALL_GRACE).is_some(), "after the next stall again");
    }
}
