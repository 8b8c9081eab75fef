//! The command line of `sexton`: commands, and the options of the client commands. The options of commands that run
//! something are in [`config::options`].

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::ensemble::EnsembleCommand;
use config::options::{
    AutomatonOptions, CommonOptions, EnsembleOptions, HoldOptions, RunOptions, StoreOptions,
    SuperviseOptions, UpOptions, WatchOptions,
};

/// Process supervisor and container init
///
/// An HTTP server exposes the state of the processes: / (state), /readiness, /liveness, /startup, /metrics,
/// /v1/processes and /v1/events.
///
/// Options of all commands may be given before or after the name of the command. Each has an environment variable:
/// SEXTON_ and the name of the option in capitals (SEXTON_GRACE_PERIOD); options of kapo also have KAPO_.
#[derive(Debug, Parser)]
#[command(name = "sexton", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = EXIT_CODES)]
pub struct Sexton {
    #[command(flatten)]
    pub(super) common: CommonOptions,
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: that of the process, or 128+n if signal n terminated it; 126 not executable,
127 not found; 64 usage error, 69 cannot listen (port in use), 71 system error.";

/// A command of `sexton`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a process once, and exit with its exit code
    #[command(visible_alias = "r")]
    Run {
        #[command(flatten)]
        run: RunOptions,
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Run a process and restart it whenever it exits, with a back-off delay
    #[command(visible_alias = "s")]
    Supervise {
        #[command(flatten)]
        supervise: SuperviseOptions,
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Expose the state of processes that were started by others
    ///
    /// They are found by the name of their executable. The exit code of a process that is not a child of sexton is
    /// available from Linux 6.15 on; on older kernels it is shown as 0.
    #[command(visible_alias = "w")]
    // -p is --pid here.
    #[command(mut_arg("port", |port| port.short(clap::builder::Resettable::Reset)))]
    Watch {
        #[command(flatten)]
        watch: WatchOptions,
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Run many processes from one file: start order, probes, restarts, hooks, logs
    ///
    /// The file is a sexton.yaml, a list of process-wrapper, or a Kubernetes manifest with a pod. SIGTERM and SIGQUIT
    /// shut down gracefully, in order; SIGINT shuts down fast; SIGHUP reloads the file; SIGUSR1 logs the state.
    Up {
        #[command(flatten)]
        up: UpOptions,
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Check a file for `up` and print the resulting plan
    Check {
        /// Configuration file [default: sexton.yaml]
        file: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of sexton.yaml, for editors
    Schema,
    /// Serve, hold and list distributed locks
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Lock {
        #[command(subcommand)]
        command: LockCommand,
    },
    /// Show the processes of a running `up`
    Status {
        /// Show only these processes
        names: Vec<String>,
        /// Refresh every second
        #[arg(short, long)]
        watch: bool,
        #[command(flatten)]
        client: ClientOptions,
    },
    /// Show the output of processes
    Logs {
        /// Show only these processes
        names: Vec<String>,
        /// Follow new output
        #[arg(short, long)]
        follow: bool,
        /// Number of earlier lines to show
        #[arg(short = 'n', long, value_name = "LINES", default_value_t = 100)]
        tail: usize,
        /// Output format [default: pretty on a terminal, else the records as they are in the output of sexton]
        #[arg(short, long, value_name = "FORMAT", value_parser = ["logfmt", "json", "raw", "pretty"])]
        output: Option<String>,
        #[command(flatten)]
        control: ControlOption,
    },
    /// Show past events
    Events {
        /// Show only events of these processes
        names: Vec<String>,
        /// Follow new events
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        client: ClientOptions,
    },
    /// Show the events that led to a process's current state
    Why {
        /// Process name
        name: String,
        #[command(flatten)]
        client: ClientOptions,
    },
    /// Start processes and wait until they have started
    Start(RequestOptions),
    /// Stop processes and wait until they have exited; they stay stopped until they are started again
    Stop(RequestOptions),
    /// Restart processes and wait until they have started
    Restart(RequestOptions),
    /// Send a signal to processes
    Signal {
        /// Send it to the whole process groups, whatever the kill mode is
        #[arg(long)]
        group: bool,
        /// Name or number of the signal
        signal: String,
        /// Process names
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        client: ClientOptions,
    },
    /// Reload the configuration and apply what has changed; an invalid file changes nothing
    Reload(ClientOptions),
    /// Shut down sexton and all processes, as SIGTERM does
    End(ClientOptions),
    /// Wait until all processes are healthy
    Wait {
        /// Time limit [default: none]
        #[arg(short, long, value_name = "DURATION")]
        timeout: Option<String>,
        /// Wait until this file exists, instead of connecting to the control socket
        #[arg(long, value_name = "FILE")]
        readiness_file: Option<PathBuf>,
        #[command(flatten)]
        client: ClientOptions,
    },
    /// Print the names of the processes, for shell completion
    #[command(hide = true)]
    Names(ClientOptions),
    /// Run shell scripts by a state machine that is driven over a unix socket
    ///
    /// The script of a state runs when the state is entered. SIGTERM, SIGINT and DIE lead to the terminal state; sexton
    /// exits with the exit code of its script.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Automaton {
        #[command(flatten)]
        automaton: AutomatonOptions,
        #[command(subcommand)]
        command: Option<AutomatonCommand>,
    },
    /// Run a pod of an ensemble: members report, masters keep an ordered list, the leader runs a callback
    ///
    /// The callback gets the list (PODS, PODS_FILE), its digest (MD5), the output of the last run (STATE, STATE_FILE), the
    /// changes (CHANGES) and the fencing token of the leader (FENCE). Its output, JSON, is the next state.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Ensemble {
        #[command(flatten)]
        ensemble: Box<EnsembleOptions>,
        #[command(subcommand)]
        command: Option<EnsembleCommand>,
    },
    /// List the tombstones of a graveyard: the state of the containers of a pod
    Graves {
        /// Directory of the graveyard [default: /graveyard]
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Create links to this executable under the names of the tools that it replaces
    Install {
        /// Also copy this executable there, as sexton, for containers that share the directory
        #[arg(long)]
        copy: bool,
        /// Directory of the links
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Debug sexton itself
    #[command(hide = true)]
    Debug {
        #[command(subcommand)]
        command: DebugCommand,
    },
}

/// A command about locks.
#[derive(Debug, Subcommand)]
pub enum LockCommand {
    /// Serve locks over HTTP, stored in a local file or in etcd
    Serve {
        #[command(flatten)]
        store: StoreOptions,
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Run a command only while holding a lock: wait for it, and stop the command before another holder can acquire it
    ///
    /// The command gets the fencing token of the lock, which increases with every holder, in FENCE. If the server does
    /// not respond, the command is stopped after 3/5 of the time to live and killed after 17/20.
    Hold {
        #[command(flatten)]
        hold: HoldOptions,
        #[command(flatten)]
        common: CommonOptions,
    },
    /// List the locks that are held, and their holders
    List {
        /// URL of the lock server [default: http://localhost:8191]
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Guard the runs of another sexton process
    #[command(hide = true)]
    Guard {
        /// Process ID of that sexton
        pid: i32,
    },
}

/// The form of the output of a client command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputForm {
    Table,
    Json,
}

/// Output form.
#[derive(Debug, Clone, Args)]
pub struct OutputOption {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub(super) output: OutputForm,
}

impl OutputOption {
    pub(super) fn is_json(&self) -> bool {
        self.output == OutputForm::Json
    }
}

/// The path of the control socket.
#[derive(Debug, Clone, Args)]
pub struct ControlOption {
    /// Control socket path
    #[arg(long, value_name = "PATH")]
    pub(super) control: Option<PathBuf>,
}

/// Options of the clients of a running `up`.
#[derive(Debug, Clone, Args)]
pub struct ClientOptions {
    #[command(flatten)]
    pub(super) control: ControlOption,
    #[command(flatten)]
    pub(super) output: OutputOption,
}

/// Options of start, stop and restart.
#[derive(Debug, Clone, Args)]
pub struct RequestOptions {
    /// Process names
    #[arg(required = true)]
    pub(super) names: Vec<String>,
    /// Time limit [default: none]
    #[arg(short, long, value_name = "DURATION")]
    pub(super) timeout: Option<String>,
    #[command(flatten)]
    pub(super) client: ClientOptions,
}

/// A client command of a running automaton.
#[derive(Debug, Subcommand)]
pub enum AutomatonCommand {
    /// Send a request to a running automaton and print the response: STATE, GOTO TAG, WAIT TAG (a payload may follow), SET KEY VALUE, DIE, HISTORY, WATCH
    Ctl {
        /// Control socket path [default: /var/run/automaton.sock]
        #[arg(short, long, value_name = "PATH")]
        socket: Option<PathBuf>,
        /// Request
        #[arg(value_name = "WORDS", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// A command that debugs sexton.
#[derive(Debug, Subcommand)]
pub enum DebugCommand {
    /// Replay the events of a journal and show the decisions of the engine
    Replay {
        /// File written by --debug-journal
        file: PathBuf,
    },
}
