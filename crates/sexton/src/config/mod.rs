//! From words to a plan.
//!
//! What the user wrote ([`crate::cli`] reads it, and nothing else) becomes [`Settings`]: complete, validated,
//! with every default filled in. Nothing is bound, started or written while that is done.

pub(crate) mod accounts;
pub mod automaton;
pub mod pod;
pub mod raw;
pub mod read;
pub mod resolve;
pub mod tree;
pub mod up;

use spec::listen::{Answers, Listen};
use spec::logs::OutputPlan;
use spec::store::StorePlan;
use spec::watch::Watch;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use engine::{DurationRange, Plan};

use crate::ensemble::plan::Draft;
use crate::locks::LockPlan;
use spec::pod::PodPlan;
use spec::program::Program;

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

/// The words of a command: what to execute and its arguments.
pub type Words = Vec<OsString>;
