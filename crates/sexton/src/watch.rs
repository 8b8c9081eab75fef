//! `watch`: status of processes that sexton did not start.
//!
//! The process list is polled, since Linux does not report the start of unrelated processes. Exits are reported
//! immediately through a pidfd for each process.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use engine::Exit;
use engine::process_watch::{Change as Moved, ObservedProcess, ProcessWatchSet};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::status::hub::{Change, Hub};
use crate::status::{Health, ProcessView, Status, View};
use linux::clock::Clock;
use linux::notify::Notify;
use linux::pidfd::PidFd;
use linux::procfs;
use linux::procfs::Stat;
use linux::signals::SignalStream;
use linux::{reap, terminal};
use spec::program::Pid;
use spec::watch::{ProcessSelector, Watch};

/// How long to wait for the parent to reap a process before its exit is reported without the exit status, which follows
/// when it is known.
const REAP_TIMEOUT: Duration = Duration::from_millis(100);

/// How long to wait for the exit status after that.
const LATE_REAP_TIMEOUT: Duration = Duration::from_secs(60);

/// The exit of a watched process, and its exit status if known.
type Ended = (ObservedProcess, Option<Exit>);

/// Watches processes until a stop request.
pub struct Watcher {
    watch: Watch,
    side_port: u16,
    clock: Clock,
    roster: ProcessWatchSet,
    held: BTreeMap<(u32, u64), AbortHandle>,
    /// Start times of the present processes and of the last one that exited; fixed at the first sighting.
    starts: BTreeMap<(u32, u64), Timestamp>,
    ends: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
    /// Start ticks of the first process with the watched PID: a later one is a different process.
    start_ticks: Option<u64>,
    generation: u64,
    ever_present: bool,
    over: bool,
    /// When the last process exited.
    went_at: Option<Timestamp>,
    notify: Notify,
    hub: Arc<Hub>,
}

impl Watcher {
    /// Performs the first scan. Fails if there is no process list.
    pub fn new(
        watch: Watch,
        side_port: u16,
        clock: Clock,
        notify: Notify,
        hub: Arc<Hub>,
    ) -> io::Result<Self> {
        let mut this = Self {
            watch,
            side_port,
            clock,
            roster: ProcessWatchSet::default(),
            held: BTreeMap::new(),
            starts: BTreeMap::new(),
            ends: mpsc::unbounded_channel(),
            start_ticks: None,
            generation: 0,
            ever_present: false,
            over: false,
            went_at: None,
            notify,
            hub,
        };
        this.scan()?;
        this.publish();
        Ok(this)
    }

    /// Watches until a signal requests the stop. Returns the exit code, 0.
    pub async fn run(mut self, signals: SignalStream) -> io::Result<i32> {
        self.notify.ready(&format!("watching {}", self.description()));
        let watchdog = self.notify.watchdog();
        let mut alive_at = watchdog.map(|every| Instant::now() + every);
        let mut scan_at = Instant::now() + self.watch.every;
        loop {
            let alive = async {
                match alive_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                signals = signals.next() => {
                    let _ = reap::reap();
                    for signal in signals? {
                        if signal.ends_a_program() {
                            log::info!(signal:% = signal; "shutting down: received SIG{signal}");
                            self.notify.stopping("shutting down");
                            self.over = true;
                            self.publish();
                            return Ok(0);
                        }
                        if signal.suspends() {
                            terminal::suspend_self(signal);
                        }
                    }
                }
                ended = self.ends.1.recv() => if let Some((process, exit)) = ended {
                    // The task only learns the exit status from here on, perhaps later.
                    self.held.remove(&(process.pid, process.start_ticks));
                    let changes = self.roster.exited(self.clock.now(), process.pid, process.start_ticks, exit);
                    self.apply(changes.into_iter().collect());
                    self.publish();
                },
                () = sleep_until(scan_at) => {
                    match self.scan() {
                        Ok(()) => self.publish(),
                        Err(error) => log::error!("cannot read the process list: {error}"),
                    }
                    scan_at = Instant::now() + self.watch.every;
                }
                () = alive => {
                    self.notify.alive();
                    alive_at = watchdog.map(|every| Instant::now() + every);
                }
            }
        }
    }

    fn scan(&mut self) -> io::Result<()> {
        let mut found: Vec<ObservedProcess> = match self.watch.selector.clone() {
            ProcessSelector::Named(name) => {
                let own = std::process::id();
                let all = procfs::processes()?.into_iter();
                let living = all.filter(|stat| !stat.is_zombie() && u32::try_from(stat.pid) != Ok(own));
                living
                    .filter_map(|stat| observe_if(&stat, |arguments| has_name(&stat, arguments, &name)))
                    .collect()
            }
            ProcessSelector::Numbered(pid) => match procfs::stat(pid) {
                Ok(stat)
                    if !stat.is_zombie()
                        && *self.start_ticks.get_or_insert(stat.start_ticks) == stat.start_ticks =>
                {
                    observe_if(&stat, |_| true).into_iter().collect()
                }
                Ok(_) => Vec::new(),
                Err(error) if procfs::is_gone(&error) => {
                    // No such process, or no process list?
                    procfs::processes().map(|_| Vec::new())?
                }
                Err(error) => return Err(error),
            },
        };
        // Exited processes with a pidfd task count as present: the task reports their exit, with its status.
        let held = |process: &&ObservedProcess| self.held.contains_key(&(process.pid, process.start_ticks));
        let missing = |process: &&ObservedProcess| {
            !found.iter().any(|seen| (seen.pid, seen.start_ticks) == (process.pid, process.start_ticks))
        };
        let ended: Vec<_> = self
            .roster
            .present()
            .iter()
            .filter(held)
            .filter(missing)
            .filter(|process| has_ended(process))
            .cloned()
            .collect();
        found.extend(ended);
        let changes = self.roster.update(self.clock.now(), found);
        self.apply(changes);
        Ok(())
    }

    fn apply(&mut self, changes: Vec<Moved>) {
        for change in changes {
            match change {
                Moved::Appeared(process) => {
                    self.ever_present = true;
                    if let Some(at) = started_at(process.start_ticks) {
                        self.starts.insert((process.pid, process.start_ticks), at);
                    }
                    self.watch_exit(&process);
                    self.publish_event("came", &process, "found".to_owned());
                }
                Moved::Exited(departure) => {
                    self.went_at = Some(Timestamp::now());
                    if let Some(task) =
                        self.held.remove(&(departure.process.pid, departure.process.start_ticks))
                    {
                        task.abort();
                    }
                    let how = departure.exit.map(|exit| format!(" with {exit}")).unwrap_or_default();
                    self.publish_event("went", &departure.process, format!("exited{how}"));
                }
            }
        }
    }

    /// Waits for the exit of a process in a task. Without a pidfd the next scan detects it.
    fn watch_exit(&mut self, process: &ObservedProcess) {
        let Ok(pid) = Pid::try_from(process.pid) else { return };
        let held = match PidFd::open(pid) {
            Ok(held) => held,
            Err(error) => {
                log::debug!(pid = pid; "cannot open a pidfd: {error}");
                return;
            }
        };
        // The PID may have been reused since the scan.
        if procfs::stat(pid).is_ok_and(|stat| stat.start_ticks != process.start_ticks) {
            return;
        }
        let (ends, sighting) = (self.ends.0.clone(), process.clone());
        let task = tokio::spawn(async move {
            // Err: the watcher is shutting down.
            if held.ended().await.is_ok() {
                let early = timeout(REAP_TIMEOUT, held.reaped()).await.ok();
                let _ = ends.send((sighting.clone(), early.flatten()));
                if early.is_none()
                    && let Ok(exit) = timeout(LATE_REAP_TIMEOUT, held.reaped()).await
                {
                    let _ = ends.send((sighting, exit));
                }
            }
        });
        self.held.insert((process.pid, process.start_ticks), task.abort_handle());
    }

    fn description(&self) -> String {
        match &self.watch.selector {
            ProcessSelector::Named(name) => format!("named '{name}'"),
            ProcessSelector::Numbered(pid) => format!("with PID {pid}"),
        }
    }

    fn publish_event(&self, event: &'static str, process: &ObservedProcess, message: String) {
        let name = process.arguments.first().cloned().unwrap_or_default();
        log::info!(process:% = name, pid = process.pid; "{message}");
        self.hub.publish_event(Change {
            number: 0,
            at: String::new(),
            process: name,
            run: None,
            pid: i32::try_from(process.pid).ok(),
            event,
            cause: None,
            message,
        });
    }

    fn publish(&mut self) {
        self.generation += 1;
        let roster = &self.roster;
        let known = |pid, ticks| {
            let last = roster.last().map(|last| &last.process);
            roster
                .present()
                .iter()
                .chain(last)
                .any(|process| (process.pid, process.start_ticks) == (pid, ticks))
        };
        self.starts.retain(|(pid, ticks), _| known(*pid, *ticks));
        let present: Vec<_> = self.roster.present().iter().map(|process| self.view(process)).collect();
        let health = Health::watched(!present.is_empty(), self.ever_present, &self.description());
        let processes = if present.is_empty() { vec![self.absent()] } else { present };
        self.hub.publish(View {
            generation: self.generation,
            mode: "watch",
            processes: processes.into_iter().map(Arc::new).collect(),
            health,
            ending: None,
            over: self.over,
        });
    }

    fn view(&self, process: &ObservedProcess) -> ProcessView {
        let (command, arguments) = process
            .arguments
            .split_first()
            .map_or_else(Default::default, |(first, rest)| (first.clone(), rest.to_vec()));
        ProcessView {
            name: match &self.watch.selector {
                ProcessSelector::Named(name) => name.as_str().into(),
                ProcessSelector::Numbered(_) => command.as_str().into(),
            },
            command,
            arguments,
            status: Status::Running,
            pid: i32::try_from(process.pid).ok(),
            started_at: self.starts.get(&(process.pid, process.start_ticks)).copied(),
            exit_code: self.roster.last().and_then(|last| last.exit).map_or(0, Exit::shell_code),
            wait: self.watch.every,
            side_port: self.side_port,
            ..ProcessView::default()
        }
    }

    /// The view without a present process: of the last one that exited, if any.
    fn absent(&self) -> ProcessView {
        let Some(last) = self.roster.last() else {
            let name = match &self.watch.selector {
                ProcessSelector::Named(name) => name.clone(),
                ProcessSelector::Numbered(pid) => pid.to_string(),
            };
            return ProcessView {
                name: name.as_str().into(),
                command: name,
                wait: self.watch.every,
                side_port: self.side_port,
                ..ProcessView::default()
            };
        };
        let status = match last.exit {
            Some(Exit::Signal(_)) => Status::Killed,
            Some(Exit::Code(_)) | None => Status::Stopped,
        };
        ProcessView { status, pid: None, ended_at: self.went_at, ..self.view(&last.process) }
    }
}

fn has_ended(process: &ObservedProcess) -> bool {
    let stat = Pid::try_from(process.pid).ok().and_then(|pid| procfs::stat(pid).ok());
    stat.is_none_or(|stat| stat.start_ticks != process.start_ticks || stat.is_zombie())
}

fn observe_if(stat: &Stat, wanted: impl FnOnce(&[String]) -> bool) -> Option<ObservedProcess> {
    let arguments = procfs::arguments(stat.pid).unwrap_or_default();
    // Fallback for a process that has overwritten its arguments.
    let arguments = if arguments.is_empty() { vec![stat.comm.clone()] } else { arguments };
    wanted(&arguments).then(|| ObservedProcess {
        pid: u32::try_from(stat.pid).unwrap_or(0),
        start_ticks: stat.start_ticks,
        arguments,
    })
}

/// Compares the name with the kernel's name of the process (for a script, that of the script), the file name of the
/// executable, and that of the first argument.
fn has_name(stat: &Stat, arguments: &[String], name: &str) -> bool {
    // The kernel truncates its name to 15 bytes, so that a longer one cannot be compared with it.
    const KERNEL_NAME: usize = 15;
    let by_kernel = name.len() <= KERNEL_NAME && stat.comm == name;
    let first = arguments.first().and_then(|first| first.rsplit('/').next());
    by_kernel || first == Some(name) || procfs::executable_name(stat.pid).as_deref() == Some(name)
}

/// The start time of a process. The kernel counts the ticks (proc_pid_stat(5)) from boot.
fn started_at(start_ticks: u64) -> Option<Timestamp> {
    let ticks_per_second = linux::sys::clock_ticks_per_second();
    let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since_boot =
        Duration::new(u64::try_from(since_boot.tv_sec).ok()?, u32::try_from(since_boot.tv_nsec).ok()?);
    let started = Duration::from_millis(start_ticks.checked_mul(1000)? / ticks_per_second.max(1));
    Timestamp::now().checked_sub(since_boot.saturating_sub(started)).ok()
}
