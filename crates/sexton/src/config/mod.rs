//! From words to a plan.
//!
//! What the user wrote ([`crate::cli`] reads it, and nothing else) becomes [`Settings`]: complete, validated,
//! with every default filled in. Nothing is bound, started or written while that is done.

pub(crate) mod accounts;
pub mod automaton;
pub mod dsn;
pub mod duration;
pub mod environment;
pub mod pod;
pub mod raw;
pub mod read;
pub mod resolve;
pub mod tree;
pub mod up;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use engine::{DurationRange, Plan};

use crate::ensemble::plan::Draft;
use crate::graveyard::PodPlan;
use crate::lock::LockPlan;
use crate::process::Pid;
use crate::process::spawn::Program;

/// All that one of our three modes needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Where to answer.
    pub listen: Listen,
    /// How to answer.
    pub answers: Answers,
    /// What to do.
    pub mode: Mode,
    /// Where the event journal goes.
    pub journal: Option<PathBuf>,
}

/// Where to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    Nowhere,
    /// At this address, and with `side` at the next free port above too.
    At {
        /// The address.
        address: SocketAddr,
        /// Also bind the next free port above.
        side: bool,
    },
    /// On the listener that the service manager hands us.
    Activated,
}

/// In whose manner to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    /// A list, as newer kapo has it, rather than the bare object.
    pub list: bool,
    /// The state at any path that means nothing else.
    pub any_path: bool,
    /// There are many processes: more may be asked.
    pub many: bool,
    /// Liveness asks what readiness asks, as in process-wrapper's files.
    pub liveness_is_readiness: bool,
}

/// What to do.
#[derive(Debug)]
pub enum Mode {
    /// Look after a process of our own.
    Own(Box<Own>),
    /// Look at processes of others.
    Watch(Watch),
    /// Look after many processes of our own.
    Up(Box<Up>),
    /// Run scripts by a state machine.
    Automaton(Automaton),
    /// Serve locks.
    LockServer(LockServer),
    /// Be a pod of an ensemble.
    Ensemble(Box<Draft>),
}

/// A lock server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockServer {
    /// Where they are kept.
    pub store: StorePlan,
}

/// A store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlan {
    /// In this file, for us alone.
    Embedded(PathBuf),
    /// In etcd.
    Etcd {
        /// Its nodes.
        endpoints: Vec<String>,
        /// Who may have signed their certificates.
        ca: Option<PathBuf>,
        /// Our certificate and its key.
        identity: Option<(PathBuf, PathBuf)>,
        /// Our name there, and the file with the password.
        user: Option<(String, PathBuf)>,
    },
}

impl StorePlan {
    /// Is it of the kind that may end leases that are alive?
    #[must_use]
    pub const fn may_lapse_early(&self) -> bool {
        matches!(self, Self::Etcd { .. })
    }
}

/// A state machine of scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Automaton {
    /// Where it is described.
    pub file: PathBuf,
    /// The way to its section there, with `/` between.
    pub section: Option<String>,
    /// Where it is asked; None: where the file says, or at the usual place.
    pub socket: Option<PathBuf>,
    /// Who may ask it; None: whom the file says, or us alone.
    pub socket_mode: Option<u32>,
    /// What the scripts print is logged.
    pub debug: bool,
}

/// Many processes of our own.
#[derive(Debug)]
pub struct Up {
    /// Where the plan comes from.
    pub source: up::Source,
    /// What is said beside it.
    pub beside: up::Beside,
    /// Where the control socket is; None: there is none.
    pub control: Option<ControlPath>,
}

/// Where the control socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPath {
    /// The path.
    pub path: PathBuf,
    /// Somebody has said so: without it nothing is begun.
    pub asked_for: bool,
}

/// A process of our own.
#[derive(Debug)]
pub struct Own {
    /// What it is called in the answers: `run` or `supervise`.
    pub word: &'static str,
    /// What people call the process.
    pub name: String,
    /// What to start.
    pub program: Program,
    /// What becomes of its output.
    pub output: OutputPlan,
    /// When and how often.
    pub plan: Plan,
    /// The lifetime as the user gave it, for the answers.
    pub ttl: Option<DurationRange>,
    /// The pause or linger as the user gave it, for the answers.
    pub wait: Duration,
    /// What there is beside it in its pod.
    pub pod: Option<PodPlan>,
    /// It runs only while we hold this.
    pub lock: Option<LockPlan>,
}

/// What becomes of the output of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputPlan {
    /// Of its standard output.
    pub stdout: StreamPlan,
    /// Of its standard error.
    pub stderr: StreamPlan,
}

/// What becomes of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamPlan {
    /// It goes where ours goes, untouched.
    Inherit,
    /// It goes nowhere.
    Discard,
    /// It becomes log records.
    Records,
}

/// Processes of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Which.
    pub whom: Whom,
    /// The pause between looks at the process list.
    pub every: Duration,
}

/// Which processes of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// Those who execute something of this name.
    Named(String),
    /// This one.
    Numbered(Pid),
}

/// The words of a command: what to execute and its arguments.
pub type Words = Vec<OsString>;

impl OutputPlan {
    /// Nothing is passed on.
    #[must_use]
    pub const fn discard() -> Self {
        Self { stdout: StreamPlan::Discard, stderr: StreamPlan::Discard }
    }
}
