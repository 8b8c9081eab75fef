//! `sexton ensemble status|pods|leader|digest|state|callbacks|events|invoke`: requests to a pod.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;
use thiserror::Error;

use crate::client::table::aligned;
use crate::ensemble::commands::LIMIT;
use crate::ensemble::peers::Dialer;
use crate::locks::client::{shown, within};
use crate::store;
use config::options::{IdentityOptions, UsageError, tls_files};
use spec::ensemble::Peer;
use spec::text;
use spec::tls::TlsFiles;

/// A subcommand of `sexton ensemble`.
#[derive(Debug, Subcommand)]
pub enum EnsembleCommand {
    #[command(flatten)]
    Pod(PodSubcommand),
    /// Render a Jinja template with what is known of this pod, its node and the members
    ///
    /// Variables: id, namespace, ip, labels, annotations, node (name, ip, labels, annotations) and pods (from --pod, as
    /// callbacks see them). An undefined variable is an error; test with `default` or `is defined`.
    Render {
        #[command(flatten)]
        identity: IdentityOptions,
        /// Master to query for the members: HOST or HOST:PORT [default: no members]
        #[arg(long, value_name = "POD")]
        pod: Option<String>,
        /// CA bundle (PEM) for the certificate of the master [default: system CAs]
        #[arg(long, value_name = "FILE")]
        tls_ca: Option<PathBuf>,
        /// Output file [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Template file
        #[arg(value_name = "TEMPLATE")]
        template: PathBuf,
    },
    /// Run the plan in $SEXTON_ENSEMBLE_PLAN, as `up` resolved it
    #[command(hide = true)]
    RunPlan,
}

/// A request to a pod of an ensemble.
#[derive(Debug, Subcommand)]
pub enum PodSubcommand {
    /// Show the state of a master: whether it leads, the digest, the last callback, the members
    Status(PodOptions),
    /// Show past events, one JSON object a line
    Events {
        /// Follow new events
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        pod: PodOptions,
    },
    /// Show the members that are up, in their order
    Pods(PodOptions),
    /// Show whether the master leads, and its fencing token
    Leader(PodOptions),
    /// Show the digest of the member list
    Digest(PodOptions),
    /// Show the output of the last callback
    State(PodOptions),
    /// Show the last runs of the callback
    Callbacks(PodOptions),
    /// Run a shell command on a pod and print its output
    Invoke {
        /// File with the token that the pod requires
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        #[command(flatten)]
        pod: PodOptions,
        /// Shell command
        command: String,
    },
}

/// The pod to query.
#[derive(Debug, Clone, Args)]
pub struct PodOptions {
    /// Pod to query: HOST or HOST:PORT, with http:// (the default), https://, zerorpc:// or zerorpcs://
    #[arg(long, value_name = "POD", default_value = "localhost")]
    pod: String,
    /// CA bundle (PEM) for the certificate of the pod [default: system CAs]
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Client certificate (PEM), if the pod requires one
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Key of the client certificate (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

/// A pod and the request to it.
#[derive(Debug)]
pub struct PodCommand {
    pod: Peer,
    tls: TlsFiles,
    request: PodRequest,
}

#[derive(Debug)]
enum PodRequest {
    Get(&'static str),
    Status,
    Events { follow: bool },
    Invoke { command: String, token: Option<PathBuf> },
}

/// The pod did not respond, or refused the request.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct PodError(String);

impl PodCommand {
    /// Checks the options.
    pub fn new(command: PodSubcommand) -> Result<Self, UsageError> {
        let (options, request) = match command {
            PodSubcommand::Status(pod) => (pod, PodRequest::Status),
            PodSubcommand::Pods(pod) => (pod, PodRequest::Get("/v1/pods")),
            PodSubcommand::Leader(pod) => (pod, PodRequest::Get("/v1/leader")),
            PodSubcommand::Digest(pod) => (pod, PodRequest::Get("/v1/digest")),
            PodSubcommand::State(pod) => (pod, PodRequest::Get("/state")),
            PodSubcommand::Callbacks(pod) => (pod, PodRequest::Get("/v1/callbacks")),
            PodSubcommand::Events { follow, pod } => (pod, PodRequest::Events { follow }),
            PodSubcommand::Invoke { token_file, pod, command } => {
                (pod, PodRequest::Invoke { command, token: token_file })
            }
        };
        let PodOptions { pod, tls_ca, tls_cert, tls_key } = options;
        let at = pod.parse();
        let pod = at.map_err(|why| UsageError(format!("--pod '{}': {why}", text::hide_credentials(&pod))))?;
        Ok(Self { pod, tls: tls_files(tls_cert, tls_key, tls_ca)?, request })
    }
}

/// Sends the request and prints the response.
pub fn run(command: PodCommand) -> Result<(), PodError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| PodError(error.to_string()))?;
    let PodCommand { pod, tls, request } = command;
    let token = match &request {
        PodRequest::Invoke { token: Some(path), .. } => {
            Some(store::token(path).map_err(|error| PodError(error.to_string()))?.into())
        }
        _ => None,
    };
    let dialer = Dialer::new([&pod], tls, token).map_err(PodError)?;
    let limit = LIMIT * 2;
    let response = runtime.block_on(async {
        match request {
            PodRequest::Get(path) => within(limit, dialer.get(&pod, path)).await,
            PodRequest::Status => within(limit, status(&dialer, &pod)).await,
            PodRequest::Invoke { command, .. } => within(limit, dialer.invoke(&pod, &command)).await,
            PodRequest::Events { follow } => {
                let mut failed = None;
                let line = |line: &[u8]| match write(line) {
                    Ok(()) => true,
                    Err(error) => {
                        failed = Some(error);
                        false
                    }
                };
                let done = dialer.events(&pod, follow, line).await;
                match failed.filter(|error| error.kind() != io::ErrorKind::BrokenPipe) {
                    Some(error) => Err(text::describe(&error)),
                    None => done.map(|()| String::new()),
                }
            }
        }
    });
    print(response.map_err(PodError)?.as_bytes()).map_err(|error| PodError(text::describe(&error)))
}

fn write(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush())
}

fn print(text: &[u8]) -> io::Result<()> {
    match write(text) {
        // The reader has closed the pipe (`| head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// The complete state, as text.
async fn status(dialer: &Dialer, pod: &Peer) -> Result<String, String> {
    let get = async |path: &str| {
        let text = dialer.get(pod, path).await?;
        serde_json::from_str::<Value>(&text).map_err(|error| format!("{pod}{path}: invalid JSON: {error}"))
    };
    let (leader, digest) = (get("/v1/leader").await?, get("/v1/digest").await?);
    let (pods, callbacks) = (get("/v1/pods").await?, get("/v1/callbacks").await?);
    Ok(table(&leader, &digest, &pods, &callbacks))
}

fn table(leader: &Value, digest: &Value, pods: &Value, callbacks: &Value) -> String {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => shown(text),
        other => shown(&other.to_string()),
    };
    let leads = if leader["leads"] == true {
        format!("leader, fencing token {}", text(&leader["fence"]))
    } else {
        format!("not leader: {}", text(&leader["why"]))
    };
    let last = match callbacks.as_array().and_then(|all| all.last()) {
        Some(run) => {
            format!("at {}, {} pods, {}", text(&run["at"]), text(&run["pods"]), text(&run["exit"]))
        }
        None => "none on this master".to_owned(),
    };
    let mut rows = vec![["SEQ", "ID", "IP", "ROLE", "PAYLOAD"].map(str::to_owned)];
    rows.extend(pods.as_array().into_iter().flatten().map(|pod| {
        [text(&pod["seq"]), text(&pod["id"]), text(&pod["ip"]), text(&pod["role"]), text(&pod["payload"])]
    }));
    format!(
        "master:        {} {leads}\ndigest:        {}\nlast callback: {last}\n\n{}",
        text(&leader["id"]),
        text(&digest["digest"]),
        aligned(&rows, |_| None)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn control_characters_in_members_are_removed() {
        let pods =
            json!([{"seq": 1, "id": "a", "ip": "10.0.0.1", "role": "x\ny", "payload": {"z": "\u{1b}[2J"}}]);
        let leader = json!({"id": "m", "leads": false, "why": "another leads"});
        let text = table(&leader, &json!({"digest": "d", "pods": 1}), &pods, &json!([]));
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(!text.contains('\u{1b}') && text.contains("m not leader: another leads"), "{text}");
    }
}
