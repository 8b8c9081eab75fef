//! The command line of `process-wrapper`: Go's flags, with one dash or two, and its environment.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::{Errand, What};
use crate::config::duration;
use crate::config::environment::Environment;
use crate::config::resolve::{RawMode, RawOptions, RawUp, UsageError, default_control};

/// The name by which this personality is called.
pub const NAME: &str = "process-wrapper";

/// Where the old tool answers.
const HEALTH_SOCKET: &str = ":8111";
/// Its readiness file.
const READINESS_FILE: &str = "/tmp/started";
/// How long its processes may take to end.
const DEADLINE: &str = "10s";
/// How long `-wait` waits.
const WAIT_DEADLINE: Duration = Duration::from_secs(120);

/// What was asked for.
#[derive(Debug)]
pub enum Parsed {
    /// Look after processes.
    Live(Box<(RawOptions, RawMode)>, bool),
    /// Wait until they are healthy.
    Wait(Errand),
    /// Print this.
    Print(String),
}

/// Its flags: name, whether a value follows, and what it is for.
const FLAGS: [(&str, bool, &str); 17] = [
    ("config", true, "file with the list of processes (else the variable CONFIG)"),
    ("skip-commands", true, "names that are left out: a,b"),
    ("readiness-file", true, "file that is there while all are healthy (/tmp/started)"),
    ("graceful-shutdown-deadline", true, "how long everything may take to end (10s)"),
    ("wait", false, "only wait until the readiness file is there"),
    ("wait-deadline", true, "how long (2m)"),
    ("debug", false, "say more"),
    ("version", false, "print the version"),
    ("help", false, "print this"),
    ("control", true, "path of a control socket (none; not of the old tool)"),
    ("shared-lock", false, "not yet"),
    ("shared-lock-url", true, "not yet"),
    ("shared-lock-etcd-tls", false, "not yet"),
    ("envoy-drain", false, "not yet"),
    ("pyroscope-url", true, "not yet"),
    ("prommerge-empty-on-failure", false, "accepted; /prommerge is not there yet"),
    ("prommerge-async", false, "accepted; /prommerge is not there yet"),
];
/// Flags that have no effect before `/prommerge` is there.
const MERGING: [&str; 3] = ["prommerge-sort", "prommerge-omit-meta", "prommerge-supress-errors"];
/// Flags that are refused until this sexton can do what they say.
const NOT_YET: [&str; 5] =
    ["shared-lock", "shared-lock-url", "shared-lock-etcd-tls", "envoy-drain", "pyroscope-url"];
/// Variables that are refused until then.
const VARIABLES_NOT_YET: [&str; 6] = [
    "HANDLE_TERMINATION",
    "HANDLE_PREEMPTION",
    "ENVOY_DRAIN_URL",
    "METRICS_SERVER_ADDRESS",
    "METRICS_JSON_EXTRA_LABELS",
    "METRICS_EXTRA_LABELS_FILE_PATH",
];

/// Reads its command line.
pub fn parse(words: &[OsString], environment: &dyn Environment) -> Result<Parsed, UsageError> {
    let mut given: Vec<(&'static str, String)> = Vec::new();
    let mut rest = words.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = rest.next() {
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            return Err(UsageError(format!("'{word}' is no flag (see '{NAME} -help')")));
        };
        let (name, value) =
            flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
        let merging = MERGING.iter().find(|known| **known == name).map(|known| (*known, false));
        let name = if name == "h" { "help" } else { name };
        let known =
            FLAGS.iter().find(|(known, _, _)| *known == name).map(|(known, takes, _)| (*known, *takes));
        let Some((name, takes_value)) = known.or(merging) else {
            let names = FLAGS.iter().map(|(name, _, _)| *name).chain(MERGING);
            let hint = crate::config::read::hint(name, names);
            return Err(UsageError(format!("unknown flag '-{name}'{hint} (see '{NAME} -help')")));
        };
        let value = match (value, takes_value) {
            (Some(value), _) => value,
            (None, true) => {
                rest.next().ok_or_else(|| UsageError(format!("-{name}: its value is missing")))?
            }
            (None, false) => "true".to_owned(),
        };
        given.push((name, value));
    }
    let value =
        |name: &str| given.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let on = |name: &str| value(name).is_some_and(|value| !matches!(value.as_str(), "false" | "0" | "f"));
    if on("help") {
        return Ok(Parsed::Print(help()));
    }
    if on("version") {
        return Ok(Parsed::Print(format!("{NAME} (sexton {})\n", env!("CARGO_PKG_VERSION"))));
    }
    if let Some((name, _)) = given.iter().find(|(name, value)| NOT_YET.contains(name) && value != "false") {
        return Err(UsageError(format!("-{name}: not yet: this sexton does not know how")));
    }
    if let Some(name) = VARIABLES_NOT_YET.into_iter().find(|name| environment.get(name).is_some()) {
        return Err(UsageError(format!("{name}: not yet: this sexton does not know how")));
    }
    let readiness_file = value("readiness-file").unwrap_or_else(|| READINESS_FILE.to_owned());
    if on("wait") {
        let patience = match value("wait-deadline") {
            None => WAIT_DEADLINE,
            Some(text) => duration::parse(&text)
                .map_err(|error| UsageError(format!("-wait-deadline '{text}': {error}")))?,
        };
        let file = Some(PathBuf::from(readiness_file));
        let what = What::Wait { patience: Some(patience), file };
        return Ok(Parsed::Wait(Errand { socket: default_control(environment), what, json: false }));
    }
    let socket = environment
        .get("HEALTH_SOCKET")
        .map_or_else(|| HEALTH_SOCKET.to_owned(), |word| word.to_string_lossy().into_owned());
    let Some((host, port)) = socket.rsplit_once(':') else {
        return Err(UsageError(format!("HEALTH_SOCKET '{socket}': expected host:port, or :port")));
    };
    let options = RawOptions {
        port: Some(port.to_owned()),
        interface: Some(host.to_owned()).filter(|host| !host.is_empty()),
        ..RawOptions::default()
    };
    let skip = value("skip-commands").unwrap_or_default();
    let up = RawUp {
        file: value("config"),
        control: value("control"),
        readiness_file: Some(readiness_file),
        shutdown_deadline: Some(value("graceful-shutdown-deadline").unwrap_or_else(|| DEADLINE.to_owned())),
        skip: skip.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        ..RawUp::default()
    };
    if up.file.is_none() && environment.get("CONFIG").is_none() {
        return Err(UsageError(
            "nothing to run: expected -config FILE, or the list in the variable CONFIG".to_owned(),
        ));
    }
    Ok(Parsed::Live(Box::new((options, RawMode::Up(up))), on("debug")))
}

fn help() -> String {
    let flags = FLAGS.iter().map(|(name, takes, what)| {
        let value = if *takes { " VALUE" } else { "" };
        format!("  -{:30} {what}\n", format!("{name}{value}"))
    });
    format!(
        "Runs many processes from a list (sexton, standing in for {NAME})\n\nUsage: {NAME} [flags]\n\n{}\nVariables: HEALTH_SOCKET (:8111), CONFIG, LOG_FORMAT\n",
        flags.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Variables = BTreeMap<&'static str, &'static str>;

    fn read(words: &str, variables: &Variables) -> Result<Parsed, String> {
        let words: Vec<OsString> = format!("{NAME} {words}").split_whitespace().map(Into::into).collect();
        parse(&words, variables).map_err(|error| error.0)
    }

    #[test]
    fn flags_have_one_dash_or_two_and_values_behind_a_blank_or_an_equals_sign() {
        for words in
            ["-config x -skip-commands a,b", "--config=x --skip-commands=a,b", "-config=x -skip-commands a,b"]
        {
            let parsed = read(words, &Variables::new());
            let Ok(Parsed::Live(live, false)) = parsed else { panic!("{parsed:?}") };
            let RawMode::Up(up) = live.1 else { panic!() };
            assert_eq!((up.file.as_deref(), up.skip), (Some("x"), vec!["a".to_owned(), "b".to_owned()]));
            assert_eq!(up.readiness_file.as_deref(), Some("/tmp/started"));
            assert_eq!(up.shutdown_deadline.as_deref(), Some("10s"));
            assert_eq!(live.0.port.as_deref(), Some("8111"));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let none = Variables::new();
        for (words, part) in [
            ("", "nothing to run"),
            ("-confg x", "did you mean 'config'"),
            ("config", "is no flag"),
            ("-config", "its value is missing"),
            ("-config x -shared-lock", "not yet"),
            ("-wait -wait-deadline soon", "-wait-deadline 'soon'"),
        ] {
            assert!(read(words, &none).is_err_and(|error| error.contains(part)), "{words}");
        }
        assert!(matches!(read("-wait", &none), Ok(Parsed::Wait(_))));
        let socket = Variables::from([("HEALTH_SOCKET", "nonsense"), ("CONFIG", "[]")]);
        assert!(read("", &socket).is_err_and(|error| error.contains("HEALTH_SOCKET")));
    }
}
