//! What only one can hold: a task for each run that wants it, and the [guard](crate::locks::guard) of those that have it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use engine::lease::LeaseNotice;
use engine::{Event, Exit, JobId, RunId};
use ensemble::lock::Holder;
use jiff::Timestamp;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Driver;
use crate::cli::AS_SEXTON;
use crate::locks::FENCE;
use crate::locks::client::Claim;
use crate::locks::guard::Guard;
use crate::locks::holder::{LeaseRequest, Remote, hold};
use linux::clock::boot_now;
use linux::clock::rfc3339_millis;
use linux::process_table::ProcessTable;
use linux::spawn::{Output, Start, spawn};
use spec::environment::Environment as _;
use spec::environment::Real;
use spec::program::Program;
use spec::program::ourselves;
use spec::text::describe;

/// How long giving back locks may hold us up when we end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How soon a guard that could not be started is tried again.
const WITHOUT_GUARD: Duration = Duration::from_secs(1);
/// The descriptor on which the guard is told what to do.
pub const ORDERS: i32 = 3;

/// What there is of locks.
pub(super) struct Tenures {
    pub(super) guard: Guard,
    guard_ended: Option<oneshot::Receiver<Exit>>,
    /// How each run's task is told to give back.
    held: BTreeMap<RunId, oneshot::Sender<()>>,
    /// The number that each run is told.
    fences: BTreeMap<RunId, u64>,
    tasks: JoinSet<()>,
    told: (mpsc::UnboundedSender<ToRun>, mpsc::UnboundedReceiver<ToRun>),
}

/// What there is to tell of a run's lock.
type ToRun = (RunId, LeaseNotice);

impl Default for Tenures {
    fn default() -> Self {
        Self {
            guard: Guard::default(),
            guard_ended: None,
            held: BTreeMap::new(),
            fences: BTreeMap::new(),
            tasks: JoinSet::new(),
            told: mpsc::unbounded_channel(),
        }
    }
}

impl Tenures {
    /// What a run is told of what it holds.
    pub(super) fn variable(&self, run: RunId) -> Option<(&'static str, OsString)> {
        self.fences.get(&run).map(|fence| (FENCE, fence.to_string().into()))
    }

    /// Nothing of a run is there any more.
    pub(super) fn resign(&mut self, run: RunId) {
        self.fences.remove(&run);
        if let Some(held) = self.held.remove(&run) {
            // The task has ended by itself: there is nothing to give back.
            let _ = held.send(());
        }
    }

    /// What there is to tell of a run's lock; None: the guard has ended.
    pub(super) async fn news(&mut self) -> Option<ToRun> {
        let unguarded = !self.guard.is_running() && !self.held.is_empty();
        let guard_ended = async {
            match &mut self.guard_ended {
                Some(ended) => drop(ended.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(told) = self.told.1.recv() => return Some(told),
            () = guard_ended => {}
            // Those that run have none: it is tried again.
            () = sleep(WITHOUT_GUARD), if unguarded => return None,
        }
        log::warn!("the guard of the locks has ended: another takes its place");
        self.guard_ended = None;
        self.guard.exited();
        None
    }

    /// Lets what is given back get there, but not for long.
    pub(super) async fn finish(&mut self) {
        // What nothing could end is held until it lapses.
        let kept = self.held.len();
        let given_back = async { while self.tasks.len() > kept && self.tasks.join_next().await.is_some() {} };
        let _ = timeout(LAST_WORDS, given_back).await;
    }
}

impl Driver {
    /// Wants the lock of a process, for a run of it.
    pub(super) fn campaign(&mut self, id: JobId, run: RunId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(lock) = job.lock.clone() else {
            // A plan of the engine without one of ours: nothing is there to be wanted.
            return self.events.push_back(Event::Won(run));
        };
        let name = job.constants.name.to_string();
        if !self.tenures.guard.is_running() {
            self.start_guard();
        }
        let claim = Claim { key: lock.name.clone(), holder: holder(&name) };
        let (resign, resigned) = oneshot::channel();
        let (guard, told) = (self.tenures.guard.clone(), self.tenures.told.0.clone());
        self.tenures.held.insert(run, resign);
        // Those that have ended are not kept.
        while self.tenures.tasks.try_join_next().is_some() {}
        let wanted = LeaseRequest { name: format!("the lock '{}'", lock.name), ttl: lock.ttl };
        let grantor = Remote { server: lock.server, claim };
        self.tenures.tasks.spawn(hold(run, wanted, grantor, guard, told, resigned));
    }

    pub(super) fn tenure(&mut self, (run, told): ToRun) {
        match told {
            LeaseNotice::Waiting(why) => {
                if !self.tenures.guard.is_running() {
                    self.start_guard();
                }
                self.feed(Event::Campaigning(run, why));
            }
            LeaseNotice::Held(fence) => {
                // One that was given up meanwhile is on its way back.
                if self.tenures.held.contains_key(&run) {
                    self.tenures.fences.insert(run, fence);
                    self.feed(Event::Won(run));
                }
            }
            LeaseNotice::Lost { why, kill_by } => {
                let gone_by = self.clock.now() + boot_now().until(kill_by);
                self.feed(Event::Lost { run, why, gone_by });
            }
        }
    }

    /// Starts a guard, and tells it all that it has to know.
    pub(super) fn start_guard(&mut self) {
        match start_guard(&self.tenures.guard, &mut self.groups) {
            Ok(ended) => self.tenures.guard_ended = Some(ended),
            Err(why) => log::error!("the locks have no guard: {why}"),
        }
    }
}

/// Starts a guard as a helper, and tells it all that it has to know. Its end is told by what is returned.
pub fn start_guard(guard: &Guard, groups: &mut ProcessTable) -> Result<oneshot::Receiver<Exit>, String> {
    let (orders, pipe) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| describe(&error.into()))?;
    nonblocking(&pipe).map_err(|error| describe(&error))?;
    let words = [AS_SEXTON.to_owned(), "lock".to_owned(), "guard".to_owned(), std::process::id().to_string()];
    let program = Program {
        command: ourselves().into(),
        arguments: words.iter().map(OsString::from).collect(),
        without_variables: spec::notify::OUR_VARIABLES.to_vec(),
        ..Program::default()
    };
    let mut start = Start::with(Output::Discard, Output::Inherit);
    start.descriptor = Some((orders, ORDERS));
    let pid = spawn(&program, start).map_err(|error| error.message)?;
    let (told, ended) = oneshot::channel();
    groups.enter_helper(pid, told);
    guard.started(File::from(pipe));
    Ok(ended)
}

fn nonblocking(pipe: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(pipe)?;
    Ok(rustix::fs::fcntl_setfl(pipe, flags | rustix::fs::OFlags::NONBLOCK)?)
}

/// Who we are, for those who wait for what we hold.
fn holder(process: &str) -> Holder {
    let variable = |name: &str| Real.get(name).map(|value| value.to_string_lossy().into_owned());
    let host = variable("HOSTNAME").unwrap_or_else(|| {
        let name = rustix::system::uname();
        name.nodename().to_string_lossy().into_owned()
    });
    let labels = [("namespace", variable("POD_NAMESPACE")), ("node", variable("NODE_NAME"))];
    let labels = labels.into_iter().filter_map(|(label, value)| Some((label.to_owned(), value?)));
    let more = [("process", process.to_owned()), ("pid", std::process::id().to_string())];
    Holder {
        value: format!("{host}/{process}"),
        labels: labels.chain(more.map(|(label, value)| (label.to_owned(), value))).collect(),
        timestamp: Some(rfc3339_millis(Timestamp::now())),
    }
}
