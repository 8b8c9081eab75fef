//! From text to plans.
//!
//! Options and files become [`Settings`]: complete, validated, with every default filled in. Nothing is bound, started or
//! written here.
#![forbid(unsafe_code)]

pub(crate) mod accounts;
pub mod automaton;
pub mod compile;
pub mod file;
pub mod options;
pub mod pod;
pub mod yaml;

use spec::listen::{HttpCompat, Listen};
use spec::logs::{OnFull, OutputPlan};
use spec::store::StorePlan;
use spec::watch::Watch;
use std::path::PathBuf;
use std::time::Duration;

use engine::{DurationRange, Plan};

use spec::ensemble::UnresolvedPlan;
use spec::lock::LockPlan;
use spec::pod::PodPlan;
use spec::program::Program;

/// The settings of a mode that runs until it is stopped.
#[derive(Debug)]
pub struct Settings {
    pub listen: Listen,
    pub answers: HttpCompat,
    pub mode: Mode,
    /// File of the event journal.
    pub journal: Option<PathBuf>,
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
    pub source: compile::Source,
    pub overrides: compile::CliOverrides,
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
    /// What happens to output that is not read.
    pub on_full: OnFull,
    pub plan: Plan,
    /// The lifetime as configured, for the status.
    pub ttl: Option<DurationRange>,
    /// The restart delay or linger time as configured, for the status.
    pub wait: Duration,
    pub pod: Option<PodPlan>,
    /// The process runs only while this lock is held.
    pub lock: Option<LockPlan>,
}
