//! The description of a program: what to execute, and as what.

use std::ffi::OsString;
use std::path::PathBuf;

/// What to start, the same at each attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// What to execute; without a slash it is searched for in `PATH`.
    pub command: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables of our environment that are about us and not for it.
    pub without_variables: Vec<&'static str>,
    /// Variables beside those of our environment; the last of a name counts.
    pub variables: Vec<(OsString, OsString)>,
    /// Where it is started; inside of its root, if that is another.
    pub directory: Option<PathBuf>,
    /// What it is to be.
    pub attributes: Attributes,
}

/// What a process is to be, where that differs from what we are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Its user.
    pub user: Option<u32>,
    /// Its group.
    pub group: Option<u32>,
    /// Its supplementary groups.
    pub groups: Option<Vec<u32>>,
    /// Its root directory.
    pub chroot: Option<PathBuf>,
    /// The mask of the modes of its files.
    pub umask: Option<u32>,
    /// Limits: resource, soft, hard.
    pub rlimits: Vec<(i32, u64, u64)>,
    /// Its priority.
    pub nice: Option<i32>,
    /// How willingly the kernel kills it.
    pub oom_score_adj: Option<i32>,
    /// It leads a session of its own.
    pub setsid: bool,
    /// What it is sent when our thread ends.
    pub parent_death_signal: Option<i32>,
    /// No program that it executes gives it more privileges (set-user-ID and its like).
    pub no_new_privileges: bool,
}

/// More supplementary groups than a process of ours may be given.
pub const MOST_GROUPS: usize = 256;

/// First argument by which the executable acts as sexton, whatever name it is run under.
pub const AS_SEXTON: &str = "--as-sexton";

/// The variable in which `up` passes the plan of an ensemble, as JSON, to the process that runs it.
pub const PLAN_VARIABLE: &str = "SEXTON_ENSEMBLE_PLAN";

/// The program that we are. It may have been replaced since it was started; then it has no name any more.
#[must_use]
pub fn ourselves() -> PathBuf {
    std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| "/proc/self/exe".into())
}

/// The number of a process. Numbers are used again: one is only safe while the process is our unreaped
/// child, or while it leads a group that is not empty.
pub type Pid = i32;
