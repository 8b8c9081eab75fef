//! Programs: an executable with its arguments, environment and attributes.

use std::ffi::OsString;
use std::path::PathBuf;

/// A program to start, the same at each attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// The executable; without a slash it is searched for in `PATH`.
    pub command: OsString,
    pub arguments: Vec<OsString>,
    /// Variables of the supervisor's environment that the process does not inherit.
    pub without_variables: Vec<&'static str>,
    /// Variables in addition to the inherited ones; the last one of a name counts.
    pub variables: Vec<(OsString, OsString)>,
    /// The working directory, inside the root directory if that is changed.
    pub directory: Option<PathBuf>,
    pub attributes: Attributes,
}

/// Attributes of a process that differ from those of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    pub user: Option<u32>,
    pub group: Option<u32>,
    /// Supplementary groups.
    pub groups: Option<Vec<u32>>,
    /// The root directory, chroot(2).
    pub chroot: Option<PathBuf>,
    pub umask: Option<u32>,
    /// Resource limits: resource, soft, hard; setrlimit(2).
    pub rlimits: Vec<(i32, u64, u64)>,
    /// The nice value, -20 to 19.
    pub nice: Option<i32>,
    /// -1000 to 1000; proc_pid_oom_score_adj(5).
    pub oom_score_adj: Option<i32>,
    /// Whether it leads a new session, setsid(2).
    pub setsid: bool,
    /// The signal that it receives when the supervisor's thread exits; PR_SET_PDEATHSIG(2const).
    pub parent_death_signal: Option<i32>,
    /// Whether set-user-ID programs and the like give it no more privileges; PR_SET_NO_NEW_PRIVS(2const).
    pub no_new_privileges: bool,
}

/// The maximum number of supplementary groups of a process.
pub const MAX_GROUPS: usize = 256;

/// First argument by which the executable acts as sexton, whatever name it is run under.
pub const AS_SEXTON: &str = "--as-sexton";

/// The variable in which `up` passes the plan of an ensemble, as JSON, to the process that runs it.
pub const PLAN_VARIABLE: &str = "SEXTON_ENSEMBLE_PLAN";

/// The path of the running executable. After the file has been replaced, `/proc/self/exe` still opens it.
#[must_use]
pub fn own_executable() -> PathBuf {
    std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| "/proc/self/exe".into())
}

/// A process ID. The kernel reuses IDs: one is only safe while the process is an unreaped child of the supervisor, or leads
/// a process group that is not empty.
pub type Pid = i32;
