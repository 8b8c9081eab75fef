//! The command line of `process-wrapper`: Go's flags, with one dash or two, and its environment.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::{ClientCommand, ClientRequest};
use config::options::{CommonOptions, ListenOptions, ModeOptions, UpOptions, UsageError, default_control};
use spec::duration;
use spec::environment::Environment;

/// The executable name of this personality.
pub const NAME: &str = "process-wrapper";

/// The default address of its status socket.
const HEALTH_SOCKET: &str = ":8111";
/// The default readiness file.
const READINESS_FILE: &str = "/tmp/started";
/// The default time limit of the shutdown.
const DEADLINE: &str = "10s";
/// The default time limit of `-wait`.
const WAIT_DEADLINE: Duration = Duration::from_secs(120);

/// The default address of its lock server.
const LEASE_SOCKET: &str = ":8191";
/// Its certificates for etcd: option of sexton, variable, default file.
const CERTIFICATES: [(&str, &str, &str); 3] = [
    ("--etcd-ca", "SHARED_LEASE_ETCD_CA_CERT", "/cert/tls/ca.crt"),
    ("--etcd-cert", "SHARED_LEASE_ETCD_CLIENT_CERT", "/cert/tls/tls.crt"),
    ("--etcd-key", "SHARED_LEASE_ETCD_CLIENT_KEY", "/cert/tls/tls.key"),
];

/// A parsed command line.
#[derive(Debug)]
pub enum Parsed {
    /// Run processes; true: with a debug log.
    Live(Box<(CommonOptions, ModeOptions)>, bool),
    /// Wait until the processes are healthy.
    Wait(ClientCommand),
    Print(String),
}

/// Its flags: name, whether a value follows, and description.
const FLAGS: [(&str, bool, &str); 17] = [
    ("config", true, "file with the list of processes (default: the variable CONFIG)"),
    ("skip-commands", true, "names of processes to skip: a,b"),
    ("readiness-file", true, "file that exists while all processes are healthy (/tmp/started)"),
    ("graceful-shutdown-deadline", true, "time limit of the shutdown of all processes (10s)"),
    ("wait", false, "wait until the readiness file exists, and exit"),
    ("wait-deadline", true, "time limit of -wait (2m)"),
    ("debug", false, "log at debug level"),
    ("version", false, "print the version"),
    ("help", false, "print this help"),
    ("control", true, "path of a control socket (default: none; not in the original tool)"),
    ("shared-lock", false, "also run a lock server, on SHARED_LEASE_SOCKET (:8191)"),
    ("shared-lock-url", true, "URL of the lock server (http://localhost:8191)"),
    ("shared-lock-etcd-tls", false, "use TLS for SHARED_LEASE_ETCD_ENDPOINTS"),
    ("envoy-drain", false, "not supported yet"),
    ("pyroscope-url", true, "not supported yet"),
    ("prommerge-empty-on-failure", false, "accepted without effect: /prommerge is not supported yet"),
    ("prommerge-async", false, "accepted without effect: /prommerge is not supported yet"),
];
/// Flags that are accepted without effect until `/prommerge` is supported.
const MERGING: [&str; 3] = ["prommerge-sort", "prommerge-omit-meta", "prommerge-supress-errors"];
/// Flags that are rejected until they are supported.
const NOT_YET: [&str; 2] = ["envoy-drain", "pyroscope-url"];
/// Variables that are rejected until they are supported.
const VARIABLES_NOT_YET: [&str; 6] = [
    "HANDLE_TERMINATION",
    "HANDLE_PREEMPTION",
    "ENVOY_DRAIN_URL",
    "METRICS_SERVER_ADDRESS",
    "METRICS_JSON_EXTRA_LABELS",
    "METRICS_EXTRA_LABELS_FILE_PATH",
];

/// Parses its command line.
pub fn parse(arguments: &[OsString], environment: &dyn Environment) -> Result<Parsed, UsageError> {
    let mut given: Vec<(&'static str, String)> = Vec::new();
    let mut rest = arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = rest.next() {
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            return Err(UsageError(format!("'{word}' is not a flag (see '{NAME} -help')")));
        };
        let (name, value) =
            flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
        let merging = MERGING.iter().find(|known| **known == name).map(|known| (*known, false));
        let name = if name == "h" { "help" } else { name };
        let known =
            FLAGS.iter().find(|(known, _, _)| *known == name).map(|(known, takes, _)| (*known, *takes));
        let Some((name, takes_value)) = known.or(merging) else {
            let names = FLAGS.iter().map(|(name, _, _)| *name).chain(MERGING);
            let hint = spec::suggest::hint(name, names);
            return Err(UsageError(format!("unknown flag '-{name}'{hint} (see '{NAME} -help')")));
        };
        let value = match (value, takes_value) {
            (Some(value), _) => value,
            (None, true) => rest.next().ok_or_else(|| UsageError(format!("-{name}: missing value")))?,
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
        return Err(UsageError(format!("-{name} is not supported yet")));
    }
    if let Some(name) = VARIABLES_NOT_YET.into_iter().find(|name| environment.get(name).is_some()) {
        return Err(UsageError(format!("{name} is not supported yet")));
    }
    let readiness_file = value("readiness-file").unwrap_or_else(|| READINESS_FILE.to_owned());
    if on("wait") {
        let limit = match value("wait-deadline") {
            None => WAIT_DEADLINE,
            Some(text) => duration::parse(&text)
                .map_err(|error| UsageError(format!("-wait-deadline '{text}': {error}")))?,
        };
        let file = Some(PathBuf::from(readiness_file));
        let request = ClientRequest::Wait { limit: Some(limit), file };
        return Ok(Parsed::Wait(ClientCommand {
            socket: default_control(environment),
            request,
            json: false,
        }));
    }
    let (interface, port) = socket(environment, "HEALTH_SOCKET", HEALTH_SOCKET)?;
    let listen = ListenOptions { port: Some(port), interface };
    let options = CommonOptions { listen, ..CommonOptions::default() };
    let skip = value("skip-commands").unwrap_or_default();
    let up = UpOptions {
        file: value("config"),
        control: value("control"),
        readiness_file: Some(readiness_file),
        shutdown_deadline: Some(value("graceful-shutdown-deadline").unwrap_or_else(|| DEADLINE.to_owned())),
        lock_url: value("shared-lock-url"),
        lock_server: on("shared-lock")
            .then(|| lock_server(environment, on("shared-lock-etcd-tls")))
            .transpose()?,
        skip: skip.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        ..UpOptions::default()
    };
    let nothing_else = up.lock_server.is_none();
    if up.file.is_none() && environment.get("CONFIG").is_none() && nothing_else {
        return Err(UsageError(
            "nothing to run: expected -config FILE, or the list in the variable CONFIG".to_owned(),
        ));
    }
    Ok(Parsed::Live(Box::new((options, ModeOptions::Up(up))), on("debug")))
}

/// The interface and the port in a variable.
fn socket(
    environment: &dyn Environment,
    name: &str,
    default: &str,
) -> Result<(Option<String>, String), UsageError> {
    let socket =
        environment.get(name).map_or_else(|| default.to_owned(), |word| word.to_string_lossy().into_owned());
    let Some((host, port)) = socket.rsplit_once(':') else {
        return Err(UsageError(format!("{name} '{socket}': expected host:port, or :port")));
    };
    Ok((Some(host.to_owned()).filter(|host| !host.is_empty()), port.to_owned()))
}

/// The arguments of `lock serve`.
fn lock_server(environment: &dyn Environment, tls: bool) -> Result<Vec<String>, UsageError> {
    let variable = |name: &str| environment.get(name).map(|word| word.to_string_lossy().into_owned());
    let (interface, port) = socket(environment, "SHARED_LEASE_SOCKET", LEASE_SOCKET)?;
    let mut arguments = vec!["--port".to_owned(), port];
    if let Some(interface) = interface {
        arguments.extend(["--interface".to_owned(), interface]);
    }
    let endpoints = variable("SHARED_LEASE_ETCD_ENDPOINTS").filter(|endpoints| !endpoints.is_empty());
    let Some(endpoints) = endpoints else {
        if tls {
            return Err(UsageError(
                "-shared-lock-etcd-tls: SHARED_LEASE_ETCD_ENDPOINTS is not set".to_owned(),
            ));
        }
        return Ok(arguments);
    };
    // The flag decides, even if there are certificates.
    let scheme = if tls { "https" } else { "http" };
    let with_scheme = |endpoint: &str| {
        let endpoint = endpoint.trim();
        if endpoint.contains("://") { endpoint.to_owned() } else { format!("{scheme}://{endpoint}") }
    };
    let endpoints: Vec<_> = endpoints.split(',').map(with_scheme).collect();
    arguments.extend(["--etcd".to_owned(), endpoints.join(",")]);
    for (option, name, default) in CERTIFICATES {
        // Always given, because the server would read the variables itself.
        let path = if tls { variable(name).unwrap_or_else(|| default.to_owned()) } else { String::new() };
        arguments.extend([option.to_owned(), path]);
    }
    Ok(arguments)
}

fn help() -> String {
    let flags = FLAGS.iter().map(|(name, takes, what)| {
        let value = if *takes { " VALUE" } else { "" };
        format!("  -{:30} {what}\n", format!("{name}{value}"))
    });
    format!(
        "Run many processes from a list (sexton as a replacement of {NAME})\n\nUsage: {NAME} [flags]\n\n{}\nVariables: HEALTH_SOCKET (:8111), CONFIG, LOG_FORMAT, SHARED_LEASE_SOCKET (:8191), SHARED_LEASE_ETCD_ENDPOINTS,\nSHARED_LEASE_ETCD_CA_CERT, SHARED_LEASE_ETCD_CLIENT_CERT, SHARED_LEASE_ETCD_CLIENT_KEY (/cert/tls/{{ca.crt,tls.crt,tls.key}})\n",
        flags.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Variables = BTreeMap<&'static str, &'static str>;

    fn read(arguments: &str, variables: &Variables) -> Result<Parsed, String> {
        let arguments: Vec<OsString> =
            format!("{NAME} {arguments}").split_whitespace().map(Into::into).collect();
        parse(&arguments, variables).map_err(|error| error.0)
    }

    #[test]
    fn flags_have_one_dash_or_two_and_values_after_a_blank_or_an_equals_sign() {
        for arguments in
            ["-config x -skip-commands a,b", "--config=x --skip-commands=a,b", "-config=x -skip-commands a,b"]
        {
            let parsed = read(arguments, &Variables::new());
            let Ok(Parsed::Live(live, false)) = parsed else { panic!("{parsed:?}") };
            let ModeOptions::Up(up) = live.1 else { panic!() };
            assert_eq!((up.file.as_deref(), up.skip), (Some("x"), vec!["a".to_owned(), "b".to_owned()]));
            assert_eq!(up.readiness_file.as_deref(), Some("/tmp/started"));
            assert_eq!(up.shutdown_deadline.as_deref(), Some("10s"));
            assert_eq!(live.0.listen.port.as_deref(), Some("8111"));
        }
    }

    #[test]
    fn variables_set_the_address_and_the_store_of_the_lock_server() {
        let arguments = |arguments: &str, variables: &Variables| {
            let parsed = read(arguments, variables);
            let Ok(Parsed::Live(live, _)) = parsed else { panic!("{parsed:?}") };
            let ModeOptions::Up(up) = live.1 else { panic!() };
            (up.lock_server.unwrap_or_default().join(" "), up.lock_url)
        };
        let none = Variables::new();
        assert_eq!(arguments("-shared-lock", &none), ("--port 8191".to_owned(), None));
        let url = Some("http://locks".to_owned());
        assert_eq!(arguments("-config x -shared-lock-url http://locks", &none), (String::new(), url));
        let set = Variables::from([
            ("SHARED_LEASE_SOCKET", "127.0.0.1:1"),
            ("SHARED_LEASE_ETCD_ENDPOINTS", "a, https://b:2"),
            ("SHARED_LEASE_ETCD_CLIENT_KEY", "/key"),
        ]);
        let common = "--port 1 --interface 127.0.0.1 --etcd";
        assert_eq!(
            arguments("-shared-lock", &set).0,
            format!("{common} http://a,https://b:2 --etcd-ca  --etcd-cert  --etcd-key ")
        );
        assert_eq!(
            arguments("-shared-lock -shared-lock-etcd-tls", &set).0,
            format!(
                "{common} https://a,https://b:2 --etcd-ca /cert/tls/ca.crt --etcd-cert /cert/tls/tls.crt --etcd-key /key"
            )
        );
    }

    #[test]
    fn rejects_invalid_command_lines() {
        let none = Variables::new();
        for (arguments, part) in [
            ("", "nothing to run"),
            ("-confg x", "did you mean 'config'"),
            ("config", "is not a flag"),
            ("-config", "missing value"),
            ("-config x -envoy-drain", "not supported yet"),
            ("-shared-lock -shared-lock-etcd-tls", "SHARED_LEASE_ETCD_ENDPOINTS is not set"),
            ("-wait -wait-deadline soon", "-wait-deadline 'soon'"),
        ] {
            assert!(read(arguments, &none).is_err_and(|error| error.contains(part)), "{arguments}");
        }
        assert!(matches!(read("-wait", &none), Ok(Parsed::Wait(_))));
        let socket = Variables::from([("HEALTH_SOCKET", "nonsense"), ("CONFIG", "[]")]);
        assert!(read("", &socket).is_err_and(|error| error.contains("HEALTH_SOCKET")));
    }
}
