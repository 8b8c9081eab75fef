//! The options of `run`, `supervise` and `lock hold`: one process.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use engine::{
    DurationRange, ExitRule, JobPlan, Plan, PodSettings, Probes, Restart, RestartDelay, RestartLimit, Signal,
};
use spec::duration::{parse as parse_duration, parse_span};
use spec::program::Program;
use spec::text::base_name;

use super::locks::LockOptions;
use super::pod::{PodOptions, ResolvedPod};
use super::values::{parse_backoff, parse_count, parse_kill_mode, parse_stop_signal};
use super::{CommonOptions, Personality, Resolver, UsageError};
use crate::SingleProcessSettings;

/// The default time between the stop signal and SIGKILL, as in Kubernetes.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// The default of the first back-off delay, and of the interval between scans of the process list.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// The default of the longest back-off delay.
const DEFAULT_LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The default run time after which the back-off delay resets.
const DEFAULT_BACKOFF_RESET: Duration = Duration::from_secs(60);
/// The default window in which restarts are counted.
const DEFAULT_RESTART_WINDOW: Duration = Duration::from_secs(600);
/// How long to wait for a process after SIGKILL.
const ABANDON_AFTER: Duration = Duration::from_secs(10);

/// Options of a supervised process.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of run and supervise")]
pub struct ProcessOptions {
    /// Name of the process in logs and metrics [default: file name of the command]
    #[arg(long)]
    pub name: Option<String>,
    /// Stop the process after this time; a range such as 10s..40s draws a random time at each start; 0: never
    /// [default: 0]
    #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true)]
    pub ttl: Option<String>,
    /// Time between the stop signal and SIGKILL [default: 30s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub grace_period: Option<String>,
    /// Signal used to stop the process, and sent when sexton receives SIGTERM [default: TERM]
    #[arg(long, value_name = "SIGNAL", allow_hyphen_values = true)]
    pub stop_signal: Option<String>,
    /// Receivers of the stop signal and of forwarded signals; main: the main process, and when it has exited the processes
    /// that it left behind; group: its whole process group at once [default: main]
    #[arg(long, value_name = "main|group", allow_hyphen_values = true)]
    pub kill_mode: Option<String>,
}

/// Options of `run`.
#[derive(Debug, Clone, Default, Args)]
pub struct RunOptions {
    /// Keep the HTTP server running this long after the process has exited [default: 0]
    #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true)]
    pub wait: Option<String>,
    #[command(flatten)]
    pub process: ProcessOptions,
    #[command(flatten)]
    pub pod: PodOptions,
    /// Command to run, and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, help_heading = None)]
    pub command: Vec<OsString>,
}

/// Options of restarts.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of supervise")]
pub struct RestartOptions {
    /// Shortest and longest back-off delay before a restart; it doubles with every restart, +/- 20% at random
    /// [default: 5s..5m]
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true)]
    pub backoff: Option<String>,
    /// Reset the back-off delay after a run of this length [default: 60s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub backoff_reset: Option<String>,
    /// Give up after more than this many restarts within --restart-window, 0 to 100000 [default: unlimited]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub max_restarts: Option<String>,
    /// Time window of --max-restarts [default: 10m]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub restart_window: Option<String>,
}

/// Options of `supervise`.
#[derive(Debug, Clone, Default, Args)]
pub struct SuperviseOptions {
    /// Fixed delay before a restart, instead of --backoff
    #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true)]
    pub wait: Option<String>,
    #[command(flatten)]
    pub restart: RestartOptions,
    #[command(flatten)]
    pub process: ProcessOptions,
    #[command(flatten)]
    pub pod: PodOptions,
    /// Command to run, and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, help_heading = None)]
    pub command: Vec<OsString>,
}

/// Options of `lock hold`.
#[derive(Debug, Clone, Default, Args)]
pub struct HoldOptions {
    #[command(flatten)]
    pub lock: LockOptions,
    #[command(flatten)]
    pub process: ProcessOptions,
    /// Command to run, and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, help_heading = None)]
    pub command: Vec<OsString>,
}

/// The parts in which the modes of a single process differ.
struct SingleMode {
    /// `run` or `supervise`.
    word: &'static str,
    restart: Restart,
    stop_on: Vec<Signal>,
    linger: Duration,
    /// The delay or linger time shown in the status.
    wait: Duration,
    lock: Option<LockOptions>,
}

impl Resolver<'_> {
    pub(super) fn run(
        &self,
        common: &CommonOptions,
        options: RunOptions,
        lock: Option<LockOptions>,
    ) -> Result<SingleProcessSettings, UsageError> {
        let RunOptions { wait, process, pod, command } = options;
        let linger = self.duration(wait, "--wait", "WAIT")?.unwrap_or_default();
        let mode = SingleMode {
            word: "run",
            restart: Restart::never(),
            stop_on: vec![Signal::TERM],
            linger,
            wait: linger,
            lock,
        };
        self.single(common, process, pod, command, mode)
    }

    pub(super) fn hold(
        &self,
        common: &CommonOptions,
        options: HoldOptions,
    ) -> Result<SingleProcessSettings, UsageError> {
        let HoldOptions { lock, process, command } = options;
        self.run(common, RunOptions { process, command, ..RunOptions::default() }, Some(lock))
    }

    pub(super) fn supervise(
        &self,
        common: &CommonOptions,
        options: SuperviseOptions,
    ) -> Result<SingleProcessSettings, UsageError> {
        let SuperviseOptions { wait, restart, process, pod, command } = options;
        let restart = self.restart(wait, restart)?;
        let wait = match &restart.delay {
            RestartDelay::Fixed(wait) => *wait,
            RestartDelay::Exponential { range, .. } => range.from,
        };
        let mode = SingleMode {
            word: "supervise",
            restart,
            stop_on: vec![Signal::TERM, Signal::INT, Signal::QUIT],
            linger: Duration::ZERO,
            wait,
            lock: None,
        };
        self.single(common, process, pod, command, mode)
    }

    fn restart(&self, wait: Option<String>, options: RestartOptions) -> Result<Restart, UsageError> {
        let mut wait = self.given(wait, "--wait", "WAIT")?;
        let mut backoff = self.given(options.backoff, "--backoff", "BACKOFF")?;
        if let (Some(fixed), Some(growing)) = (&wait, &backoff) {
            // The command line takes precedence over the environment.
            match (fixed.typed, growing.typed) {
                (true, false) => backoff = None,
                (false, true) => wait = None,
                _ => {
                    let (fixed, growing) = (&fixed.origin, &growing.origin);
                    let why = "mutually exclusive: a delay is either fixed or growing";
                    return Err(UsageError(format!("{fixed} and {growing} are {why}")));
                }
            }
        }
        let wait = wait.map(|given| given.parse(parse_duration)).transpose()?;
        let reset_after = self.duration(options.backoff_reset, "--backoff-reset", "BACKOFF_RESET")?;
        let pause = match (wait, self.personality) {
            (Some(wait), _) => RestartDelay::Fixed(wait),
            (None, Personality::Kapo) => RestartDelay::Fixed(DEFAULT_WAIT),
            (None, _) => {
                let default = DurationRange { from: DEFAULT_WAIT, to: DEFAULT_LONGEST_PAUSE };
                let range = backoff.map(|given| given.parse(parse_backoff)).transpose()?.unwrap_or(default);
                RestartDelay::Exponential {
                    range,
                    reset_after: reset_after.unwrap_or(DEFAULT_BACKOFF_RESET),
                    first_at_once: false,
                }
            }
        };
        let window = self.duration(options.restart_window, "--restart-window", "RESTART_WINDOW")?;
        let restarts = self.given(options.max_restarts, "--max-restarts", "MAX_RESTARTS")?;
        let restarts = restarts.map(|given| given.parse(parse_count)).transpose()?;
        if restarts.is_none() && window.is_some() {
            return Err(UsageError("--restart-window requires --max-restarts".to_owned()));
        }
        let limit = restarts
            .map(|restarts| RestartLimit { restarts, window: window.unwrap_or(DEFAULT_RESTART_WINDOW) });
        Ok(Restart::always(pause, limit))
    }

    fn single(
        &self,
        common: &CommonOptions,
        process: ProcessOptions,
        pod: PodOptions,
        command: Vec<OsString>,
        mode: SingleMode,
    ) -> Result<SingleProcessSettings, UsageError> {
        let SingleMode { word, restart, stop_on, linger, wait, lock } = mode;
        let mut arguments = command.into_iter();
        let Some(command) = arguments.next() else {
            return Err(UsageError(format!(
                "nothing to {word}: expected a command, as in '{word} -- ./worker.py'"
            )));
        };
        let output = self.output(common)?;
        let on_full = self.on_full(common)?.unwrap_or_default();
        let ttl =
            self.given(process.ttl, "--ttl", "TTL")?.map(|given| given.parse(parse_span)).transpose()?;
        let ttl = ttl.filter(|span| !span.to.is_zero());
        let grace = self.duration(process.grace_period, "--grace-period", "GRACE_PERIOD")?;
        let stop_signal = self.given(process.stop_signal, "--stop-signal", "STOP_SIGNAL")?;
        let stop_signal = stop_signal.map(|given| given.parse(parse_stop_signal)).transpose()?;
        let kill_mode = self.given(process.kill_mode, "--kill-mode", "KILL_MODE")?;
        let kill_mode = kill_mode.map(|given| given.parse(parse_kill_mode)).transpose()?;
        let name = self.given(process.name, "--name", "NAME")?;
        if self.personality == Personality::Kubexit && name.is_none() {
            let why = "KUBEXIT_NAME is not set: expected the name of the tombstone";
            return Err(UsageError(why.to_owned()));
        }
        let name = name.map_or_else(|| base_name(&command), |given| given.text);
        let ResolvedPod { plan: pod, awaits, dies_with, rebirth, codes } =
            self.resolve_pod_options(pod, &name)?;
        let lock = lock.map(|lock| self.lock(lock)).transpose()?;
        let job = JobPlan {
            name: name.clone(),
            start_dependencies: awaits,
            needs_lease: lock.is_some(),
            death_dependencies: Vec::new(),
            tombstone: false,
            restart,
            ttl,
            stop_signal: stop_signal.unwrap_or(Signal::TERM),
            kill_mode: kill_mode.unwrap_or_default(),
            grace: grace.unwrap_or(DEFAULT_GRACE),
            abandon_after: ABANDON_AFTER,
            terminal: self.terminal,
            must_start: true,
            needs: Vec::new(),
            sidecar: false,
            probes: Probes::default(),
            notifies: false,
            start_deadline: None,
            watchdog: None,
            post_start: None,
            pre_stop: false,
        };
        let frame = PodSettings {
            stop_on,
            fast_shutdown: None,
            forward: true,
            linger,
            deadline: None,
            exit: ExitRule::FirstInPlan,
            codes,
            death_dependencies: dies_with,
            rebirth,
            tombstone: pod.as_ref().is_some_and(|pod| pod.name.is_some()),
        };
        let plan = Plan { jobs: vec![job], pod: frame };
        let program = Program {
            command,
            arguments: arguments.collect(),
            without_variables: spec::notify::SERVICE_MANAGER_VARIABLES.to_vec(),
            ..Program::default()
        };
        Ok(SingleProcessSettings { word, name, program, output, on_full, plan, ttl, wait, pod, lock })
    }
}
