//! Options of several commands: the HTTP server, the log, the output of the process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr as _;

use clap::{ArgAction, Args};
use schemars::JsonSchema;

use super::{Personality, Resolver, UsageError};
use crate::file::scalars::Text;
use spec::listen::{HttpCompat, Listen};
use spec::logs::{OnFull, OutputPlan, StreamPlan};

/// The default port of the HTTP server.
pub const DEFAULT_PORT: u16 = 6666;

/// The address of the HTTP server.
#[derive(Debug, Clone, Default, Args, JsonSchema)]
pub struct ListenOptions {
    /// IP address of the HTTP server [default: 0.0.0.0]
    #[arg(short, long, value_name = "ADDRESS", allow_hyphen_values = true)]
    pub interface: Option<String>,
    /// Port of the HTTP server; 0 for any free port, 'none' for no server
    /// [default: 6666; ensemble: 8000; lock serve: 8191; lock hold: none]
    #[arg(short, long, value_name = "PORT", allow_hyphen_values = true)]
    #[schemars(with = "Option<Text>")]
    pub port: Option<String>,
}

/// The log of sexton itself.
#[derive(Debug, Clone, Default, Args)]
pub struct LogOptions {
    /// Increase log verbosity (-v info, -vv debug); `up`, `automaton`, `ensemble` and `lock serve` log at info by default
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
    /// Format of sexton's log; auto: text on a terminal, otherwise logfmt [default: auto]
    #[arg(long, value_name = "auto|logfmt|text")]
    pub log_format: Option<String>,
}

/// Options of all commands that run or watch processes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of all commands")]
pub struct CommonOptions {
    #[command(flatten)]
    pub listen: ListenOptions,
    /// Also listen on the next free port above --port, and log it
    #[arg(short = 'b', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub sidebind: Option<String>,
    /// Use the listening socket passed by the service manager (LISTEN_FDS); ignores --port and --interface
    #[arg(short = 's', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub socket_activation: Option<String>,
    /// Forward the standard output of the process [default: true]
    #[arg(short = 'S', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub stdout: Option<String>,
    /// Forward the standard error of the process [default: true]
    #[arg(short = 'E', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub stderr: Option<String>,
    /// Forward the output of the process as log records with timestamps
    #[arg(short = 'L', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub stdlog: Option<String>,
    /// What happens to output that is written faster than it is read, if it is forwarded as log records; block: the
    /// process waits in its writes, and nothing is lost; drop: lines are dropped and counted [default: block]
    #[arg(long, value_name = "block|drop", allow_hyphen_values = true)]
    pub on_full: Option<String>,
    /// Format of the response of /: one object, or a list with one object [default: object]
    #[arg(long, value_name = "object|list")]
    pub status_format: Option<String>,
    #[command(flatten)]
    pub log: LogOptions,
    /// Append every event to this file as one line of JSON, for `sexton debug replay`
    #[arg(long, value_name = "FILE", hide = true)]
    pub debug_journal: Option<String>,
}

impl CommonOptions {
    /// No HTTP server.
    #[must_use]
    pub fn without_server() -> Self {
        Self { listen: ListenOptions::on_port("none"), ..Self::default() }
    }

    /// Merges the options before the command name; those after it take precedence. Each `-v` counts.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        Self {
            listen: ListenOptions {
                interface: self.listen.interface.or(before.listen.interface),
                port: self.listen.port.or(before.listen.port),
            },
            sidebind: self.sidebind.or(before.sidebind),
            socket_activation: self.socket_activation.or(before.socket_activation),
            stdout: self.stdout.or(before.stdout),
            stderr: self.stderr.or(before.stderr),
            stdlog: self.stdlog.or(before.stdlog),
            on_full: self.on_full.or(before.on_full),
            status_format: self.status_format.or(before.status_format),
            log: LogOptions {
                verbose: self.log.verbose + before.log.verbose,
                log_format: self.log.log_format.or(before.log.log_format),
            },
            debug_journal: self.debug_journal.or(before.debug_journal),
        }
    }
}

impl ListenOptions {
    /// This port, on the default interface.
    #[must_use]
    pub fn on_port(port: &str) -> Self {
        Self { interface: None, port: Some(port.to_owned()) }
    }
}

impl Resolver<'_> {
    pub(super) fn http_compat(&self, format: Option<String>) -> Result<HttpCompat, UsageError> {
        let kapo = self.personality == Personality::Kapo;
        let list = self.given(format, "--status-format", "STATUS_FORMAT")?.map(|given| {
            given.parse(|text| match text {
                "list" => Ok(true),
                "object" => Ok(false),
                _ => Err("expected object or list"),
            })
        });
        Ok(HttpCompat {
            list: list.transpose()?.unwrap_or(kapo),
            any_path: kapo,
            many: false,
            liveness_is_readiness: self.personality == Personality::ProcessWrapper,
        })
    }

    pub(super) fn listen(&self, options: &CommonOptions, default: u16) -> Result<Listen, UsageError> {
        let activated =
            self.switch(options.socket_activation.clone(), "--socket-activation", "SOCKET_ACTIVATION")?;
        let side = self.switch(options.sidebind.clone(), "--sidebind", "SIDEBIND")?.unwrap_or(false);
        let interface = self.given(options.listen.interface.clone(), "--interface", "INTERFACE")?;
        let interface = interface.map(|given| given.parse(parse_interface)).transpose()?;
        let port = self.given(options.listen.port.clone(), "--port", "PORT")?;
        let port = port.map(|given| given.parse(parse_port)).transpose()?.unwrap_or(Some(default));
        if activated == Some(true) {
            return Ok(Listen::Activated);
        }
        let Some(port) = port else { return Ok(Listen::Nowhere) };
        let address = SocketAddr::new(interface.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port);
        Ok(Listen::At { address, side })
    }

    pub(super) fn on_full(&self, options: &CommonOptions) -> Result<Option<OnFull>, UsageError> {
        let given = self.given(options.on_full.clone(), "--on-full", "ON_FULL")?;
        given.map(|given| given.parse(|text| OnFull::named(text).ok_or("expected block or drop"))).transpose()
    }

    pub(super) fn output(&self, options: &CommonOptions) -> Result<OutputPlan, UsageError> {
        let stdout = self.switch(options.stdout.clone(), "--stdout", "STDOUT")?;
        let stderr = self.switch(options.stderr.clone(), "--stderr", "STDERR")?;
        let records = self.switch(options.stdlog.clone(), "--stdlog", "STDLOG")?.unwrap_or(false);
        // sexton forwards both streams by default; kapo forwarded neither, unless records were requested without
        // naming a stream.
        let default =
            self.personality != Personality::Kapo || (records && stdout.is_none() && stderr.is_none());
        let stream = |wanted: Option<bool>| match (wanted.unwrap_or(default), records) {
            (false, _) => StreamPlan::Discard,
            (true, true) => StreamPlan::Records,
            (true, false) => StreamPlan::Inherit,
        };
        Ok(OutputPlan { stdout: stream(stdout), stderr: stream(stderr) })
    }
}

fn parse_port(text: &str) -> Result<Option<u16>, &'static str> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "expected a port from 1 to 65535, 0 for any free port, or none")
}

fn parse_interface(text: &str) -> Result<IpAddr, &'static str> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare == "localhost" {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    IpAddr::from_str(bare).map_err(|_| "expected an IP address such as 127.0.0.1 or ::1, or localhost")
}
