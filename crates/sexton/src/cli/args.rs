//! The words of `sexton`, exactly as they may be written. What they mean is [`crate::config::resolve`]'s.

mod ensemble;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

pub use ensemble::{EnsembleAsk, EnsembleClient, EnsembleOptions, IdentityOptions};

/// Looks after the life of processes.
///
/// While processes are looked after, an HTTP server answers for them: / (state), /readiness, /liveness,
/// /startup, /metrics, /v1/processes and /v1/events.
///
/// Options of all commands may stand before or after the command's name. For each there is a variable,
/// SEXTON_ and the option's name in capitals (SEXTON_GRACE_PERIOD); for those that kapo had, KAPO_ works too.
#[derive(Debug, Parser)]
#[command(name = "sexton", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = EXIT_CODES)]
pub struct Sexton {
    #[command(flatten)]
    pub(super) shared: Shared,
    /// Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: 6666]
    #[arg(short, long, value_name = "PORT", allow_hyphen_values = true)]
    pub(super) port: Option<String>,
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: the process's own, or 128+n when signal n ended it; 126 not executable, 127 not found;
64 usage, 69 cannot listen (port taken), 71 system error.";

/// Options of all commands.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of all commands")]
pub struct Shared {
    /// The address to listen at: IPv4 or IPv6 [default: 0.0.0.0]
    #[arg(short, long, value_name = "ADDRESS", allow_hyphen_values = true)]
    pub(super) interface: Option<String>,
    /// Also listen at the next free port above, and report it
    #[arg(short = 'b', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) sidebind: Option<String>,
    /// Take the listener from the service manager (LISTEN_FDS); port and interface do not count then
    #[arg(short = 's', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) socket_activation: Option<String>,
    /// Pass on the process's standard output [default: true]
    #[arg(short = 'S', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) stdout: Option<String>,
    /// Pass on the process's standard error [default: true]
    #[arg(short = 'E', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) stderr: Option<String>,
    /// Pass on the process's output as log records with time stamps
    #[arg(short = 'L', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) stdlog: Option<String>,
    /// Answer / with the bare object, or with a list [default: object]
    #[arg(long, value_name = "object|list")]
    pub(super) status_format: Option<String>,
    /// Say more on standard error: once for what happens, twice for how
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) verbose: u8,
    /// The form of our own log: logfmt, text, or by whether standard error is a terminal [default: auto]
    #[arg(long, value_name = "auto|logfmt|text")]
    pub(super) log_format: Option<String>,
    /// Write every event to this file as a line of JSON, for `sexton debug replay`
    #[arg(long, value_name = "FILE", hide = true)]
    pub(super) debug_journal: Option<String>,
}

/// Options of a process of our own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of run and supervise")]
pub struct OwnOptions {
    /// What the process is called in logs and metrics [default: the command's file name]
    #[arg(long)]
    pub(super) name: Option<String>,
    /// End it after so long; of a range such as 10s..40s, a random part is drawn at each start; 0 is never
    #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) ttl: Option<String>,
    /// From the stop signal to KILL [default: 30s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) grace_period: Option<String>,
    /// What it is sent when it shall end, and when we get TERM [default: TERM]
    #[arg(long, value_name = "SIGNAL", allow_hyphen_values = true)]
    pub(super) stop_signal: Option<String>,
}

/// Options of what is beside a process in its pod.
///
/// A dependency is NAME or NAME:CONDITION (started, ready, exited, succeeded, failed), where NAME is a tombstone in the
/// graveyard or the whole path of one elsewhere; a|b is any of them, a+b both; @TIMEOUT and ? (go on then) may
/// follow.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of run and supervise, for containers of one pod")]
pub struct PodOptions {
    /// The directory that the containers share. We carve a tombstone there, called as the process is (--name)
    /// [default: /graveyard, if a dependency is given]
    #[arg(long, value_name = "DIR")]
    pub(super) graveyard: Option<String>,
    /// The mode of that directory, if we make it [default: 1777]
    #[arg(long, value_name = "OCTAL")]
    pub(super) graveyard_mode: Option<String>,
    /// Also look at it this often, where changes are not told (network volumes) [default: 1s there, else never]
    #[arg(long, value_name = "DURATION")]
    pub(super) graveyard_poll: Option<String>,
    /// End when any of these has ended: main or main:failed,a+b [env: SEXTON_DEATH_DEPS]
    #[arg(long = "death-dep", visible_alias = "death-deps", value_name = "DEPS")]
    pub(super) death_deps: Vec<String>,
    /// Start when all of these are ready: proxy or proxy,db:started@1m? [env: SEXTON_BIRTH_DEPS]
    #[arg(long = "birth-dep", visible_alias = "birth-deps", value_name = "DEPS")]
    pub(super) birth_deps: Vec<String>,
    /// How long to wait for each of them before giving up with exit code 1; 0 is for ever [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub(super) birth_timeout: Option<String>,
    /// A death by which we have ended before counts again after this time, if whoever died has not come back
    /// [default: 10m]
    #[arg(long, value_name = "DURATION")]
    pub(super) rebirth_timeout: Option<String>,
    /// Exit codes that stand for others; caused is any end that was wanted: 143=0,caused=0
    #[arg(long, value_name = "MAP")]
    pub(super) exit_codes: Option<String>,
    /// Ask the Kubernetes API about the containers of this pod: birth dependencies may be any of them
    #[arg(long, value_name = "POD")]
    pub(super) pod_name: Option<String>,
    /// The pod's namespace [default: that of the service account]
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) namespace: Option<String>,
    /// Start when these servers are ready (GET answers 200 to 399): URLs, or istio, envoy, linkerd, cloud-sql-proxy
    #[arg(long, value_name = "SERVERS")]
    pub(super) wait_for: Vec<String>,
    /// Tell these to end when we have ended (POST): URLs, or istio, envoy, linkerd, cloud-sql-proxy; ! behind one makes
    /// it an error if that does not work
    #[arg(long, value_name = "SERVERS")]
    pub(super) quit: Vec<String>,
    /// Tell them always, or only when our exit code is 0 [default: always]
    #[arg(long, value_name = "always|success")]
    pub(super) quit_when: Option<String>,
}

/// Options of `supervise`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of supervise")]
pub struct SuperviseOptions {
    /// The first and the longest pause before a restart; it doubles, a fifth more or less by chance
    /// [default: 5s..5m]
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true)]
    pub(super) backoff: Option<String>,
    /// After a run of this length the pause begins anew [default: 60s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) backoff_reset: Option<String>,
    /// Give up when it would have to be restarted more often than so within the window [default: never]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(super) max_restarts: Option<String>,
    /// The window of --max-restarts [default: 10m]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) restart_window: Option<String>,
}

/// Options of `up`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of up")]
pub struct UpOptions {
    /// Where the control socket is, or none [default: /run/sexton.sock; if we are not root, sexton.sock in $XDG_RUNTIME_DIR or $HOME]
    #[arg(long, value_name = "PATH")]
    pub(super) control: Option<String>,
    /// A file that is there while all processes are healthy
    #[arg(long, value_name = "FILE")]
    pub(super) readiness_file: Option<String>,
    /// It stays when health is lost; it still goes when everything ends
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) readiness_file_sticky: Option<String>,
    /// The process whose exit code becomes ours, and whose end ends everything
    #[arg(long, value_name = "NAME")]
    pub(super) exit_from: Option<String>,
    /// How long everything may take to end [default: terminationGracePeriodSeconds of the file, less a little]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) shutdown_deadline: Option<String>,
}

/// Options of all that ask a running `up`.
#[derive(Debug, Clone, Args)]
pub struct Client {
    /// Where it is asked: its control socket
    #[arg(long, value_name = "PATH")]
    pub(super) control: Option<String>,
    /// For people or for programs
    #[arg(short, long, value_name = "FORM", value_parser = ["table", "json"], default_value = "table")]
    pub(super) output: String,
}

/// Options of start, stop and restart.
#[derive(Debug, Clone, Args)]
pub struct WishOptions {
    /// Whom
    #[arg(required = true)]
    pub(super) names: Vec<String>,
    /// How long to wait for it [default: for ever]
    #[arg(short, long, value_name = "DURATION")]
    pub(super) timeout: Option<String>,
    /// Of all that ask
    #[command(flatten)]
    pub(super) client: Client,
}

/// Where something is kept: in a file of this machine, or in etcd.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where it is kept")]
pub struct StoreOptions {
    /// The file [default: below /var/lib/sexton, or ~/.local/state/sexton]
    #[arg(long, value_name = "FILE", conflicts_with = "etcd")]
    pub(super) store: Option<String>,
    /// Keep it in etcd: its nodes, a,b,c; host, host:port or a URL
    #[arg(long, value_name = "URLS")]
    pub(super) etcd: Option<String>,
    /// Who may have signed etcd's certificates (PEM)
    #[arg(long, value_name = "FILE")]
    pub(super) etcd_ca: Option<String>,
    /// Our certificate for etcd (PEM)
    #[arg(long, value_name = "FILE")]
    pub(super) etcd_cert: Option<String>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE")]
    pub(super) etcd_key: Option<String>,
    /// Our name at etcd
    #[arg(long, value_name = "NAME")]
    pub(super) etcd_user: Option<String>,
    /// The file with the password that goes with it
    #[arg(long, value_name = "FILE")]
    pub(super) etcd_password_file: Option<String>,
}

/// What to do with locks.
#[derive(Debug, Subcommand)]
pub enum LockCommand {
    /// Serve locks over HTTP, kept in a file of this machine or in etcd
    Serve {
        /// Of a store
        #[command(flatten)]
        store: StoreOptions,
        /// Of all commands
        #[command(flatten)]
        shared: Shared,
        /// Where it listens [default: 8191]
        #[arg(short, long, value_name = "PORT", allow_hyphen_values = true)]
        port: Option<String>,
    },
    /// Run a command only while a lock is ours: wait for it, and end the command before another can have it
    ///
    /// The command is told the number of the lock, which rises with every holder, in FENCE. When the lock is lost the
    /// command is asked to end after 3/5 of the time to live without an answer of the server, and killed after 17/20.
    Hold {
        /// How long the lock lasts without a sign of life of ours [default: 2s]
        #[arg(long, value_name = "DURATION")]
        lock_ttl: Option<String>,
        /// The lock server [default: http://localhost:8191]
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// Of a process of our own
        #[command(flatten)]
        own: OwnOptions,
        /// Of all commands
        #[command(flatten)]
        shared: Shared,
        /// Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: none]
        #[arg(short, long, value_name = "PORT", allow_hyphen_values = true)]
        port: Option<String>,
        /// The name of the lock
        lock: String,
        /// What to run, and its arguments
        #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
        words: Vec<OsString>,
    },
    /// List the locks that are held, and by whom
    List {
        /// The lock server [default: http://localhost:8191]
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// As a table or as JSON
        #[arg(short, long, value_name = "FORM", default_value = "table", value_parser = ["table", "json"])]
        output: String,
    },
    /// Guard the runs of another sexton
    #[command(hide = true)]
    Guard {
        /// Whose
        pid: i32,
    },
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a process once; when it ends, so do we, with its exit code
    #[command(visible_alias = "r")]
    Run {
        /// Keep answering so long after it ended [default: 0]
        #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true)]
        wait: Option<String>,
        /// Of a process of our own
        #[command(flatten)]
        own: OwnOptions,
        /// Of its pod
        #[command(flatten)]
        pod: PodOptions,
        /// Of all commands
        #[command(flatten)]
        shared: Shared,
        /// Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: 6666]
        #[arg(short, long, value_name = "PORT", allow_hyphen_values = true)]
        port: Option<String>,
        /// What to run, and its arguments
        #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
        words: Vec<OsString>,
    },
    /// Run a process again whenever it ends, after a pause
    #[command(visible_alias = "s")]
    Supervise {
        /// Always pause so long before a restart, instead of --backoff
        #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true)]
        wait: Option<String>,
        /// Of this command
        #[command(flatten)]
        more: SuperviseOptions,
        /// Of a process of our own
        #[command(flatten)]
        own: OwnOptions,
        /// Of its pod
        #[command(flatten)]
        pod: PodOptions,
        /// Of all commands
        #[command(flatten)]
        shared: Shared,
        /// Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: 6666]
        #[arg(short, long, value_name = "PORT", allow_hyphen_values = true)]
        port: Option<String>,
        /// What to run, and its arguments
        #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
        words: Vec<OsString>,
    },
    /// Answer for processes that somebody else started
    ///
    /// They are found by the name of what they execute. The exit code of a process that is not ours is
    /// known from Linux 6.15 on; before that, 0 is answered.
    #[command(visible_alias = "w")]
    Watch {
        /// Watch this one process only
        #[arg(short, long, value_name = "PID", allow_hyphen_values = true)]
        pid: Option<String>,
        /// The pause between looks at the process list [default: 5s]
        #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true)]
        wait: Option<String>,
        /// Of all commands
        #[command(flatten)]
        shared: Shared,
        /// Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: 6666]
        #[arg(long, value_name = "PORT", allow_hyphen_values = true)]
        port: Option<String>,
        /// The name of what they execute
        name: Option<String>,
    },
    /// Run many processes from one file: order, probes, restarts, hooks, logs
    ///
    /// The file is our own (sexton.yaml), a list of process-wrapper's, or a Kubernetes manifest with a pod in it.
    /// TERM and QUIT stop everything in order, INT at once; HUP reads the file again; USR1 prints the state.
    Up {
        /// The file [default: sexton.yaml]
        file: Option<String>,
        /// Of this command
        #[command(flatten)]
        more: UpOptions,
        /// Of all commands
        #[command(flatten)]
        shared: Shared,
        /// Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: 6666]
        #[arg(short, long, value_name = "PORT", allow_hyphen_values = true)]
        port: Option<String>,
    },
    /// Check a file for `up`, and print the plan that it makes
    Check {
        /// The file [default: sexton.yaml]
        file: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of sexton.yaml, for editors
    Schema,
    /// Locks: serve them, hold one, list them
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Lock {
        /// What to do with them
        #[command(subcommand)]
        command: LockCommand,
    },
    /// Show the processes of a running `up`
    Status {
        /// Only these
        names: Vec<String>,
        /// Again every second
        #[arg(short, long)]
        watch: bool,
        /// Of all that ask
        #[command(flatten)]
        client: Client,
    },
    /// Show what processes have written
    Logs {
        /// Only these
        names: Vec<String>,
        /// And what they write
        #[arg(short, long)]
        follow: bool,
        /// How many lines of before
        #[arg(short = 'n', long, value_name = "LINES", default_value_t = 100)]
        tail: usize,
        /// In which form [default: pretty on a terminal, else logfmt]
        #[arg(short, long, value_name = "FORM", value_parser = ["logfmt", "json", "raw", "pretty"])]
        output: Option<String>,
        /// Where it is asked
        #[arg(long, value_name = "PATH")]
        control: Option<String>,
    },
    /// Show what has happened
    Events {
        /// Only of these
        names: Vec<String>,
        /// And what happens
        #[arg(short, long)]
        follow: bool,
        /// Of all that ask
        #[command(flatten)]
        client: Client,
    },
    /// Tell what led to the present state of a process
    Why {
        /// Which
        name: String,
        /// Of all that ask
        #[command(flatten)]
        client: Client,
    },
    /// Start processes, and wait until they have started
    Start {
        /// Of start, stop and restart
        #[command(flatten)]
        wish: WishOptions,
    },
    /// Stop processes, and wait until they have ended; they stay down until somebody starts them
    Stop {
        /// Of start, stop and restart
        #[command(flatten)]
        wish: WishOptions,
    },
    /// Stop processes and start them anew, and wait until they have started
    Restart {
        /// Of start, stop and restart
        #[command(flatten)]
        wish: WishOptions,
    },
    /// Send a signal to the process groups of processes
    Signal {
        /// Its name or number
        signal: String,
        /// Whom
        #[arg(required = true)]
        names: Vec<String>,
        /// Of all that ask
        #[command(flatten)]
        client: Client,
    },
    /// Read the file again, and change what has changed; a file that is not all right changes nothing
    Reload {
        /// Of all that ask
        #[command(flatten)]
        client: Client,
    },
    /// Stop everything, as TERM does
    End {
        /// Of all that ask
        #[command(flatten)]
        client: Client,
    },
    /// Wait until all processes are healthy
    Wait {
        /// How long at most [default: for ever]
        #[arg(short, long, value_name = "DURATION")]
        timeout: Option<String>,
        /// Wait for this file, instead of asking
        #[arg(long, value_name = "FILE")]
        readiness_file: Option<PathBuf>,
        /// Of all that ask
        #[command(flatten)]
        client: Client,
    },
    /// Print the names of the processes, for completions
    #[command(hide = true)]
    Names {
        /// Of all that ask
        #[command(flatten)]
        client: Client,
    },
    /// Run shell scripts by a state machine that is driven over a unix socket
    ///
    /// A state's script is run when the state is entered. TERM, INT and DIE lead to the terminal state; when its script
    /// has ended so do we, with its exit code.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Automaton {
        /// The file with the states, or one for `up` that has a section automaton
        #[arg(required = true)]
        file: Option<String>,
        /// Where it is asked [default: the file's, else /var/run/automaton.sock]
        #[arg(short, long, value_name = "PATH")]
        socket: Option<String>,
        /// Who may ask it, in octal [default: the file's, else 600]
        #[arg(long, value_name = "OCTAL")]
        socket_mode: Option<String>,
        /// Log into this file, which is put aside when it has 64 KiB (three of those are kept) [default: standard error]
        #[arg(short, long, value_name = "FILE")]
        log: Option<PathBuf>,
        /// Log what the scripts print
        #[arg(short, long)]
        debug: bool,
        /// Only check the file
        #[arg(long, conflicts_with_all = ["dot"])]
        check: bool,
        /// Only print the machine as a graph, for Graphviz
        #[arg(long)]
        dot: bool,
        /// The way to the section of the file
        #[arg(long, hide = true)]
        section: Option<String>,
        /// The address to listen at: IPv4 or IPv6 [default: 0.0.0.0]
        #[arg(short, long, value_name = "ADDRESS", allow_hyphen_values = true)]
        interface: Option<String>,
        /// Say more: how, and not only what happens
        #[arg(short, long, action = ArgAction::Count)]
        verbose: u8,
        /// The form of our own log: logfmt, text, or by whether standard error is a terminal [default: auto]
        #[arg(long, value_name = "auto|logfmt|text")]
        log_format: Option<String>,
        /// Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: 6666]
        #[arg(short, long, value_name = "PORT", allow_hyphen_values = true)]
        port: Option<String>,
        /// Ask a running one
        #[command(subcommand)]
        ctl: Option<Ctl>,
    },
    /// An ensemble of pods: members report, masters keep an ordered list, the one that leads runs a callback
    ///
    /// The callback is told the list (PODS, PODS_FILE), its digest (MD5), what the last run printed (STATE, STATE_FILE),
    /// what has changed (CHANGES) and the number of the leader (FENCE). What it prints, JSON, is the next state.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Ensemble {
        /// Of this command
        #[command(flatten)]
        more: Box<EnsembleOptions>,
        /// The address to listen at: IPv4 or IPv6 [default: 0.0.0.0]
        #[arg(short, long, value_name = "ADDRESS", allow_hyphen_values = true)]
        interface: Option<String>,
        /// Say more: how, and not only what happens
        #[arg(short, long, action = ArgAction::Count)]
        verbose: u8,
        /// The form of our own log: logfmt, text, or by whether standard error is a terminal [default: auto]
        #[arg(long, value_name = "auto|logfmt|text")]
        log_format: Option<String>,
        /// Where it listens [default: 8000]
        #[arg(short, long, value_name = "PORT", allow_hyphen_values = true)]
        port: Option<String>,
        /// Ask a running one
        #[command(subcommand)]
        ask: Option<EnsembleAsk>,
    },
    /// List the tombstones of a graveyard: who was born, is ready, has died
    Graves {
        /// The directory [default: /graveyard]
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
        /// For people or for programs
        #[arg(short, long, value_name = "FORM", value_parser = ["table", "json"], default_value = "table")]
        output: String,
    },
    /// Make links to this program under the names of the tools it stands in for
    Install {
        /// Copy this program there too, as sexton, for containers that share the directory
        #[arg(long)]
        copy: bool,
        /// Where
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// For those who look for a fault in sexton itself
    #[command(hide = true)]
    Debug {
        /// What to look at
        #[command(subcommand)]
        command: Debug,
    },
}

/// Ask a running automaton.
#[derive(Debug, Subcommand)]
pub enum Ctl {
    /// Say a line to a running automaton and print the answer: STATE, GOTO TAG, WAIT TAG (a payload may follow), SET KEY VALUE, DIE, HISTORY, WATCH
    Ctl {
        /// Where it is asked [default: /var/run/automaton.sock]
        #[arg(short, long, value_name = "PATH")]
        socket: Option<PathBuf>,
        /// The words of the line
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

/// For those who look for a fault.
#[derive(Debug, Subcommand)]
pub enum Debug {
    /// Repeat the events of a journal and show what the engine made of them
    Replay {
        /// Written by --debug-journal
        file: PathBuf,
    },
}
