//! `watch`: answers for processes that somebody else started.
//!
//! The process list is looked at again and again, since Linux tells nobody of strangers' births. Deaths are
//! told at once: each process that was found is held by a pidfd.

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
use linux::pidfd::Held;
use linux::procfs;
use linux::procfs::Stat;
use linux::signals::SignalStream;
use linux::{reap, terminal};
use spec::program::Pid;
use spec::watch::{ProcessSelector, Watch};

/// How long the parent of a process may take to reap it before its end is told without how it ended; that
/// follows when it is known.
const REAPED_WITHIN: Duration = Duration::from_millis(100);

/// How long to go on waiting for that.
const LEARNT_WITHIN: Duration = Duration::from_secs(60);

/// The end of a process that we held: which, and how it ended if the system said.
type Ended = (ObservedProcess, Option<Exit>);

/// Looks until somebody tells us to end.
pub struct Watcher {
    watch: Watch,
    side_port: u16,
    clock: Clock,
    roster: ProcessWatchSet,
    held: BTreeMap<(u32, u64), AbortHandle>,
    /// When each who is there, or went last, was started: fixed when it came.
    starts: BTreeMap<(u32, u64), Timestamp>,
    ends: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
    /// The first that had the number that we watch: a later one is somebody else.
    numbered: Option<u64>,
    generation: u64,
    ever: bool,
    over: bool,
    /// When the last went.
    went_at: Option<Timestamp>,
    notify: Notify,
    hub: Arc<Hub>,
}

impl Watcher {
    /// Looks for the first time. An error: there is no process list.
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
            numbered: None,
            generation: 0,
            ever: false,
            over: false,
            went_at: None,
            notify,
            hub,
        };
        this.look()?;
        this.publish();
        Ok(this)
    }

    /// Looks again and again. Returns the exit code, 0, when a signal asks us to end.
    pub async fn run(mut self, signals: SignalStream) -> io::Result<i32> {
        self.notify.ready(&format!("watching {}", self.whom()));
        let watchdog = self.notify.watchdog();
        let mut alive_at = watchdog.map(|every| Instant::now() + every);
        let mut look_at = Instant::now() + self.watch.every;
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
                            log::info!(signal:% = signal; "told to end");
                            self.notify.stopping("told to end");
                            self.over = true;
                            self.publish();
                            return Ok(0);
                        }
                        if signal.suspends() {
                            terminal::suspend_ourselves(signal);
                        }
                    }
                }
                ended = self.ends.1.recv() => if let Some((who, exit)) = ended {
                    // From here on the holder can only tell how it ended, which it may learn later.
                    self.held.remove(&(who.pid, who.start_ticks));
                    let moved = self.roster.exited(self.clock.now(), who.pid, who.start_ticks, exit);
                    self.moved(moved.into_iter().collect());
                    self.publish();
                },
                () = sleep_until(look_at) => {
                    match self.look() {
                        Ok(()) => self.publish(),
                        Err(error) => log::error!("cannot look at the process list: {error}"),
                    }
                    look_at = Instant::now() + self.watch.every;
                }
                () = alive => {
                    self.notify.alive();
                    alive_at = watchdog.map(|every| Instant::now() + every);
                }
            }
        }
    }

    fn look(&mut self) -> io::Result<()> {
        let mut found: Vec<ObservedProcess> = match self.watch.selector.clone() {
            ProcessSelector::Named(name) => {
                let own = std::process::id();
                let all = procfs::processes()?.into_iter();
                let living = all.filter(|stat| !stat.is_zombie() && u32::try_from(stat.pid) != Ok(own));
                living
                    .filter_map(|stat| sighting_if(&stat, |arguments| is_called(&stat, arguments, &name)))
                    .collect()
            }
            ProcessSelector::Numbered(pid) => match procfs::stat(pid) {
                Ok(stat)
                    if !stat.is_zombie()
                        && *self.numbered.get_or_insert(stat.start_ticks) == stat.start_ticks =>
                {
                    sighting_if(&stat, |_| true).into_iter().collect()
                }
                Ok(_) => Vec::new(),
                Err(error) if procfs::is_gone(&error) => {
                    // No such process, or no process list at all?
                    procfs::processes().map(|_| Vec::new())?
                }
                Err(error) => return Err(error),
            },
        };
        // One that has ended, but that we hold: whoever holds it tells its end, and how.
        let held = |who: &&ObservedProcess| self.held.contains_key(&(who.pid, who.start_ticks));
        let missing = |who: &&ObservedProcess| {
            !found.iter().any(|seen| (seen.pid, seen.start_ticks) == (who.pid, who.start_ticks))
        };
        let ended: Vec<_> = self
            .roster
            .present()
            .iter()
            .filter(held)
            .filter(missing)
            .filter(|who| has_ended(who))
            .cloned()
            .collect();
        found.extend(ended);
        let moved = self.roster.update(self.clock.now(), found);
        self.moved(moved);
        Ok(())
    }

    fn moved(&mut self, moved: Vec<Moved>) {
        for moved in moved {
            match moved {
                Moved::Appeared(who) => {
                    self.ever = true;
                    if let Some(at) = started_at(who.start_ticks) {
                        self.starts.insert((who.pid, who.start_ticks), at);
                    }
                    self.hold(&who);
                    self.tell("came", &who, "is there".to_owned());
                }
                Moved::Exited(departure) => {
                    self.went_at = Some(Timestamp::now());
                    if let Some(task) =
                        self.held.remove(&(departure.process.pid, departure.process.start_ticks))
                    {
                        task.abort();
                    }
                    let how = departure.exit.map(|exit| format!(", with {exit}")).unwrap_or_default();
                    self.tell("went", &departure.process, format!("has ended{how}"));
                }
            }
        }
    }

    /// Waits for the end of a process in the background. Without a pidfd the next look finds it.
    fn hold(&mut self, who: &ObservedProcess) {
        let Ok(pid) = Pid::try_from(who.pid) else { return };
        let held = match Held::open(pid) {
            Ok(held) => held,
            Err(error) => {
                log::debug!(pid = pid; "cannot hold the process: {error}");
                return;
            }
        };
        // Between the look and now its number may have become somebody else's.
        if procfs::stat(pid).is_ok_and(|stat| stat.start_ticks != who.start_ticks) {
            return;
        }
        let (ends, sighting) = (self.ends.0.clone(), who.clone());
        let task = tokio::spawn(async move {
            // If nobody listens, we are ending.
            if held.ended().await.is_ok() {
                let at_once = timeout(REAPED_WITHIN, held.reaped()).await.ok();
                let _ = ends.send((sighting.clone(), at_once.flatten()));
                if at_once.is_none()
                    && let Ok(exit) = timeout(LEARNT_WITHIN, held.reaped()).await
                {
                    let _ = ends.send((sighting, exit));
                }
            }
        });
        self.held.insert((who.pid, who.start_ticks), task.abort_handle());
    }

    fn whom(&self) -> String {
        match &self.watch.selector {
            ProcessSelector::Named(name) => format!("called '{name}'"),
            ProcessSelector::Numbered(pid) => format!("with number {pid}"),
        }
    }

    fn tell(&self, event: &'static str, who: &ObservedProcess, message: String) {
        let name = who.arguments.first().cloned().unwrap_or_default();
        log::info!(process:% = name, pid = who.pid; "{message}");
        self.hub.tell(Change {
            number: 0,
            at: String::new(),
            process: name,
            run: None,
            pid: i32::try_from(who.pid).ok(),
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
            roster.present().iter().chain(last).any(|who| (who.pid, who.start_ticks) == (pid, ticks))
        };
        self.starts.retain(|(pid, ticks), _| known(*pid, *ticks));
        let present: Vec<_> = self.roster.present().iter().map(|who| self.shown(who)).collect();
        let health = Health::watched(!present.is_empty(), self.ever, &self.whom());
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

    fn shown(&self, who: &ObservedProcess) -> ProcessView {
        let (command, arguments) = who
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
            pid: i32::try_from(who.pid).ok(),
            started_at: self.starts.get(&(who.pid, who.start_ticks)).copied(),
            exit_code: self.roster.last().and_then(|last| last.exit).map_or(0, Exit::shell_code),
            wait: self.watch.every,
            side_port: self.side_port,
            ..ProcessView::default()
        }
    }

    /// Nobody is there: whoever went last, or nobody at all.
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
        ProcessView { status, pid: None, ended_at: self.went_at, ..self.shown(&last.process) }
    }
}

fn has_ended(who: &ObservedProcess) -> bool {
    let stat = Pid::try_from(who.pid).ok().and_then(|pid| procfs::stat(pid).ok());
    stat.is_none_or(|stat| stat.start_ticks != who.start_ticks || stat.is_zombie())
}

fn sighting_if(stat: &Stat, wanted: impl FnOnce(&[String]) -> bool) -> Option<ObservedProcess> {
    let arguments = procfs::arguments(stat.pid).unwrap_or_default();
    // A process that has overwritten its arguments still has a name.
    let arguments = if arguments.is_empty() { vec![stat.comm.clone()] } else { arguments };
    wanted(&arguments).then(|| ObservedProcess {
        pid: u32::try_from(stat.pid).unwrap_or(0),
        start_ticks: stat.start_ticks,
        arguments,
    })
}

/// By the name of what is executed: the kernel's name for it (which for a script is the script's), the file
/// name of the executable, or that of the first argument.
fn is_called(stat: &Stat, arguments: &[String], name: &str) -> bool {
    // The kernel's name is cut to 15 bytes: a longer one needs more than that to be told.
    const KERNEL_NAME: usize = 15;
    let by_kernel = name.len() <= KERNEL_NAME && stat.comm == name;
    let first = arguments.first().and_then(|first| first.rsplit('/').next());
    by_kernel || first == Some(name) || procfs::executable_name(stat.pid).as_deref() == Some(name)
}

/// The start of a process as a time of day. The kernel counts its ticks (proc_pid_stat(5)) from boot.
fn started_at(start_ticks: u64) -> Option<Timestamp> {
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since_boot =
        Duration::new(u64::try_from(since_boot.tv_sec).ok()?, u32::try_from(since_boot.tv_nsec).ok()?);
    let started = Duration::from_millis(start_ticks.checked_mul(1000)? / ticks_per_second.max(1));
    Timestamp::now().checked_sub(since_boot.saturating_sub(started)).ok()
}
