//! The command line of `kapo`: its switches come before the command, and long options may have one dash.

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use config::options::{
    CommonOptions, ListenOptions, ModeOptions, ProcessOptions, RunOptions, SuperviseOptions, WatchOptions,
};

/// The executable name of this personality.
pub const NAME: &str = "kapo";

/// Wrap any command with a status socket (sexton as a replacement of kapo)
#[derive(Debug, Parser)]
#[command(name = NAME, version, max_term_width = 100, disable_help_subcommand = true)]
struct Kapo {
    /// Port of the status socket [env: KAPO_PORT] [default: 6666]
    #[arg(short, long, value_name = "PORT", allow_hyphen_values = true)]
    port: Option<String>,
    /// Address of the status socket [env: KAPO_INTERFACE] [default: 0.0.0.0]
    #[arg(short, long, value_name = "ADDRESS", allow_hyphen_values = true)]
    interface: Option<String>,
    /// Also listen on the next free port above --port [env: KAPO_SIDEBIND]
    #[arg(short = 'b', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sidebind: Option<String>,
    /// Use the listening socket passed by systemd [env: KAPO_SOCKET_ACTIVATION]
    #[arg(short = 's', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    socket_activation: Option<String>,
    /// Forward the standard output of the program [env: KAPO_STDOUT]
    #[arg(short = 'S', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    stdout: Option<String>,
    /// Forward the standard error of the program [env: KAPO_STDERR]
    #[arg(short = 'E', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    stderr: Option<String>,
    /// Forward the output as log records [env: KAPO_STDLOG]
    #[arg(short = 'L', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    stdlog: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a program once
    #[command(visible_alias = "r")]
    Run {
        /// Stop the program after this time; 0: never [env: KAPO_TTL] [default: 0]
        #[arg(short, long, value_name = "SECONDS", allow_hyphen_values = true)]
        ttl: Option<String>,
        /// Keep the status socket open this long after the program has exited [env: KAPO_WAIT] [default: 0]
        #[arg(short, long, value_name = "SECONDS", allow_hyphen_values = true)]
        wait: Option<String>,
        /// Command to run, and its arguments
        #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
        arguments: Vec<OsString>,
    },
    /// Run a program and restart it whenever it exits
    #[command(visible_alias = "s")]
    Supervise {
        /// Delay before a restart [env: KAPO_WAIT] [default: 5]
        #[arg(short, long, value_name = "SECONDS", allow_hyphen_values = true)]
        wait: Option<String>,
        /// Command to run, and its arguments
        #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
        arguments: Vec<OsString>,
    },
    /// Expose the state of programs that were started by others
    #[command(visible_alias = "w")]
    Watch {
        /// Watch only the process with this ID [env: KAPO_WATCHPID]
        #[arg(short, long, value_name = "PID", allow_hyphen_values = true)]
        pid: Option<String>,
        /// Interval between scans of the process list [env: KAPO_WAIT] [default: 5]
        #[arg(short, long, value_name = "SECONDS", allow_hyphen_values = true)]
        wait: Option<String>,
        /// Name of the executable
        name: Option<String>,
    },
}

/// Parses the command line of kapo.
pub fn parse(arguments: Vec<OsString>) -> Result<(CommonOptions, ModeOptions), clap::Error> {
    let matches = Kapo::command().try_get_matches_from(two_dashes(arguments))?;
    let kapo = Kapo::from_arg_matches(&matches)?;
    let common = CommonOptions {
        listen: ListenOptions { port: kapo.port, interface: kapo.interface },
        sidebind: kapo.sidebind,
        socket_activation: kapo.socket_activation,
        stdout: kapo.stdout,
        stderr: kapo.stderr,
        stdlog: kapo.stdlog,
        ..CommonOptions::default()
    };
    let mode = match kapo.command {
        Command::Run { ttl, wait, arguments } => {
            let process = ProcessOptions { ttl, ..ProcessOptions::default() };
            ModeOptions::Run(Box::new(RunOptions {
                wait,
                process,
                command: arguments,
                ..RunOptions::default()
            }))
        }
        Command::Supervise { wait, arguments } => {
            // Only `run` had a lifetime: KAPO_TTL must not have an effect here.
            let process = ProcessOptions { ttl: Some("0".to_owned()), ..ProcessOptions::default() };
            ModeOptions::Supervise(Box::new(SuperviseOptions {
                wait,
                process,
                command: arguments,
                ..SuperviseOptions::default()
            }))
        }
        Command::Watch { pid, wait, name } => ModeOptions::Watch(WatchOptions { name, pid, wait }),
    };
    Ok((common, mode))
}

/// Go programs accept their flags with one dash or two (`-port`, `--port`). Arguments from the wrapped command on are
/// left unchanged.
fn two_dashes(arguments: Vec<OsString>) -> Vec<OsString> {
    const SWITCHES: [&str; 7] =
        ["sidebind", "socket-activation", "stdout", "stderr", "stdlog", "help", "version"];
    const WITH_VALUE: [&str; 5] = ["port", "interface", "ttl", "wait", "pid"];
    let mut arguments = arguments.into_iter();
    let mut out: Vec<OsString> = arguments.by_ref().take(1).collect();
    let mut commands = 0;
    let mut value_follows = false;
    for word in arguments {
        let text = word.to_str().unwrap_or_default();
        let name = text.trim_start_matches('-').split('=').next().unwrap_or_default();
        let is_option = text.starts_with('-') && commands < 2 && !value_follows;
        if text == "--" {
            commands = 2;
        } else if !is_option && !value_follows {
            commands += 1;
        }
        let known_with_value = WITH_VALUE.contains(&name) || (name.len() == 1 && "pitw".contains(name));
        value_follows = is_option && known_with_value && !text.contains('=');
        let one_dash = is_option && !text.starts_with("--") && name.len() > 1;
        if one_dash && (SWITCHES.contains(&name) || WITH_VALUE.contains(&name)) {
            out.push(format!("-{text}").into());
        } else {
            out.push(word);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dashes(line: &str) -> String {
        let arguments = two_dashes(line.split(' ').map(Into::into).collect());
        arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_dash_becomes_two_before_the_wrapped_command() {
        assert_eq!(
            dashes("kapo -port 80 -stdout run -ttl=5 x -port 1"),
            "kapo --port 80 --stdout run --ttl=5 x -port 1"
        );
        assert_eq!(dashes("kapo -p 80 -SE run -- -wait 5"), "kapo -p 80 -SE run -- -wait 5");
        assert_eq!(dashes("kapo --port -stdout run x"), "kapo --port -stdout run x");
        assert_eq!(dashes("kapo supervise -wait 5 ./x -wait 6"), "kapo supervise --wait 5 ./x -wait 6");
    }

    #[test]
    fn the_command_starts_at_the_first_word_without_a_dash() -> Result<(), clap::Error> {
        let (options, mode) =
            parse("kapo -SEL r -t 5 ./worker.py --ttl 7 -w".split(' ').map(Into::into).collect())?;
        assert!(options.stdout.is_some() && options.stderr.is_some() && options.stdlog.is_some());
        let ModeOptions::Run(run) = mode else { panic!("{mode:?}") };
        assert_eq!(run.process.ttl.as_deref(), Some("5"));
        assert_eq!(run.command, ["./worker.py", "--ttl", "7", "-w"]);
        Ok(())
    }
}
