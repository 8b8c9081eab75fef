//! The command line of `kubexit`: what to run and its arguments, and no options. All else is in the environment.

use std::ffi::OsString;

use crate::config::resolve::{RawMode, RawOptions, RawOwn, UsageError};

/// The name by which this personality is called.
pub const NAME: &str = "kubexit";

const HELP: &str = "\
Runs a program and tells the other containers of the pod of its birth and death (sexton, standing in for kubexit).

Usage: kubexit CMD [ARGS]...

  KUBEXIT_NAME          the name of the tombstone (required)
  KUBEXIT_GRAVEYARD     the directory that the containers share [default: /graveyard]
  KUBEXIT_DEATH_DEPS    names, with commas between: when one of them has died, end
  KUBEXIT_GRACE_PERIOD  from TERM to KILL [default: 30s]
  KUBEXIT_BIRTH_DEPS    names, with commas between: start when all of them are ready
  KUBEXIT_BIRTH_TIMEOUT how long to wait for that [default: 30s]
  KUBEXIT_POD_NAME      ask the Kubernetes API whether they are ready, and not their tombstones alone
  KUBEXIT_NAMESPACE     the namespace of the pod [default: that of the service account]
";

/// The help.
#[must_use]
pub fn help() -> String {
    HELP.to_owned()
}

/// Reads kubexit's command line. None: somebody asks for help.
pub fn parse(words: Vec<OsString>) -> Result<Option<(RawOptions, RawMode)>, UsageError> {
    let mut words: Vec<OsString> = words.into_iter().skip(1).collect();
    match words.first().and_then(|word| word.to_str()) {
        Some("-h" | "--help") => return Ok(None),
        Some("--") => drop(words.remove(0)),
        _ => {}
    }
    if words.is_empty() {
        return Err(UsageError("nothing to run: expected a command, as in 'kubexit ./worker.py'".to_owned()));
    }
    // It answers nobody.
    let options = RawOptions { port: Some("none".to_owned()), ..RawOptions::default() };
    Ok(Some((options, RawMode::Run(RawOwn { words, ..RawOwn::default() }))))
}
