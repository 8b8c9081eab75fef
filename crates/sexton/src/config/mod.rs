//! From text to plans.
//!
//! Options and files become [`Settings`]: complete, validated, with every default filled in. Nothing is bound, started or
//! written here.

pub(crate) mod accounts;
pub mod automaton;
pub mod dsn;
pub mod duration;
pub mod environment;
pub mod options;
pub mod pod;
pub mod raw;
pub mod read;
pub mod tree;
pub mod up;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use engine::{Plan, Span};
use serde::{Deserialize, Serialize};

use crate::ensemble::plan::UnresolvedPlan;
use crate::graveyard::PodPlan;
use crate::lock::LockPlan;
use crate::process::Pid;
use crate::process::spawn::Program;

/// The settings of a mode that runs until it is stopped.
#[derive(Debug)]
pub struct Settings {
    pub listen: Listen,
    pub answers: HttpCompat,
    pub mode: Mode,
    /// File of the event journal.
    pub journal: Option<PathBuf>,
}

/// Address of the HTTP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listen {
    /// No server.
    Nowhere,
    At {
        address: SocketAddr,
        /// Also listen on the next free port above.
        side: bool,
    },
    /// The listening socket passed by the service manager.
    Activated,
}

/// Compatibility switches of HTTP responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpCompat {
    /// The status is a list with one object, as in newer versions of kapo.
    pub list: bool,
    /// Unknown paths return the status.
    pub any_path: bool,
    /// There are many processes; the routes for them exist.
    pub many: bool,
    /// /liveness returns the same as /readiness, as with process-wrapper's files.
    pub liveness_is_readiness: bool,
}

/// A mode that runs until it is stopped.
#[derive(Debug)]
pub enum Mode {
    /// One supervised process.
    Own(Box<SingleProcessSettings>),
    /// Processes that were started by others.
    Watch(Watch),
    /// Many supervised processes.
    Up(Box<Up>),
    Automaton(Automaton),
    LockServer(LockServer),
    Ensemble(Box<UnresolvedPlan>),
}

/// A lock server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockServer {
    pub store: StorePlan,
}

/// The storage of locks and ensembles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorePlan {
    /// A local file, used by one process.
    Embedded(PathBuf),
    Etcd {
        endpoints: Vec<String>,
        /// CA bundle for the certificates of the nodes.
        ca: Option<PathBuf>,
        /// Client certificate and its key.
        identity: Option<(PathBuf, PathBuf)>,
        /// User name and password file.
        user: Option<(String, PathBuf)>,
    },
}

impl StorePlan {
    /// Whether the store may expire a lease before its time to live has passed.
    #[must_use]
    pub const fn may_lapse_early(&self) -> bool {
        matches!(self, Self::Etcd { .. })
    }
}

/// A state machine of scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Automaton {
    pub file: PathBuf,
    /// Path of its section in the file, with `/` between keys.
    pub section: Option<String>,
    /// None: the path in the file, or the default.
    pub socket: Option<PathBuf>,
    /// None: the mode in the file, or 600.
    pub socket_mode: Option<u32>,
    /// The output of the scripts is logged.
    pub debug: bool,
}

/// Many supervised processes.
#[derive(Debug)]
pub struct Up {
    pub source: up::Source,
    pub beside: up::CliOverrides,
    /// None: no control socket.
    pub control: Option<ControlPath>,
}

/// The path of the control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPath {
    pub path: PathBuf,
    /// It was set explicitly: if it cannot be bound, nothing is started.
    pub asked_for: bool,
}

/// A supervised process, as `run` and `supervise` have it.
#[derive(Debug)]
pub struct SingleProcessSettings {
    /// The mode in the status: `run` or `supervise`.
    pub word: &'static str,
    pub name: String,
    pub program: Program,
    pub output: OutputPlan,
    pub plan: Plan,
    /// The lifetime as configured, for the status.
    pub ttl: Option<Span>,
    /// The restart delay or linger time as configured, for the status.
    pub wait: Duration,
    pub pod: Option<PodPlan>,
    /// The process runs only while this lock is held.
    pub lock: Option<LockPlan>,
}

/// What is done with the output of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputPlan {
    pub stdout: StreamPlan,
    pub stderr: StreamPlan,
}

/// What is done with one output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamPlan {
    /// The process writes to sexton's own stream.
    Inherit,
    Discard,
    /// Each line becomes a log record.
    Records,
}

/// Processes that were started by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    pub whom: ProcessSelector,
    /// Interval between scans of the process list.
    pub every: Duration,
}

/// Selects the processes to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessSelector {
    /// All with this executable name.
    Named(String),
    /// The one with this process ID.
    Numbered(Pid),
}

impl OutputPlan {
    /// Discards both streams.
    #[must_use]
    pub const fn discard() -> Self {
        Self { stdout: StreamPlan::Discard, stderr: StreamPlan::Discard }
    }
}
