//! The command line of `kubexit`: a command and its arguments, no options. Its settings are environment variables.

use std::ffi::OsString;

use config::options::{CommonOptions, ModeOptions, RunOptions, UsageError};

/// The executable name of this personality.
pub const NAME: &str = "kubexit";

const HELP: &str = "\
Run a command and record its start and exit for the other containers of the pod (sexton as a replacement of kubexit)

Usage: kubexit CMD [ARGS]...

  KUBEXIT_NAME          name of the tombstone (required)
  KUBEXIT_GRAVEYARD     directory shared by the containers [default: /graveyard]
  KUBEXIT_DEATH_DEPS    names, separated by commas: exit when one of them has exited
  KUBEXIT_GRACE_PERIOD  time between SIGTERM and SIGKILL [default: 30s]
  KUBEXIT_BIRTH_DEPS    names, separated by commas: start when all of them are ready
  KUBEXIT_BIRTH_TIMEOUT time limit of that wait [default: 30s]
  KUBEXIT_POD_NAME      query the Kubernetes API for their readiness, not only their tombstones
  KUBEXIT_NAMESPACE     namespace of the pod [default: that of the service account]
";

/// The help text.
#[must_use]
pub fn help() -> String {
    HELP.to_owned()
}

/// Parses the command line of kubexit. None: the help text is requested.
pub fn parse(arguments: Vec<OsString>) -> Result<Option<(CommonOptions, ModeOptions)>, UsageError> {
    let mut arguments: Vec<OsString> = arguments.into_iter().skip(1).collect();
    match arguments.first().and_then(|word| word.to_str()) {
        Some("-h" | "--help") => return Ok(None),
        Some("--") => drop(arguments.remove(0)),
        _ => {}
    }
    if arguments.is_empty() {
        return Err(UsageError("nothing to run: expected a command, as in 'kubexit ./worker.py'".to_owned()));
    }
    // It has no HTTP server.
    let run = RunOptions { command: arguments, ..RunOptions::default() };
    Ok(Some((CommonOptions::without_server(), ModeOptions::Run(Box::new(run)))))
}
