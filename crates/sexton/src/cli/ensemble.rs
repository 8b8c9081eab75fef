//! `sexton ensemble status|pods|leader|digest|state|callbacks|events|invoke`.

use std::io::{self, Write as _};
use std::path::PathBuf;

use serde_json::Value;
use thiserror::Error;

use super::args::{EnsembleAsk, EnsembleClient};
use crate::client::table::aligned;
use crate::config::resolve::{UsageError, tls_files};
use crate::ensemble::commands::LIMIT;
use crate::ensemble::peers::{Dialer, Peer};
use crate::locks::client::{shown, within};
use crate::store;
use spec::text;
use spec::tls::Files;

/// What to ask a pod.
#[derive(Debug)]
pub struct AskPod {
    pod: Peer,
    tls: Files,
    what: What,
}

#[derive(Debug)]
enum What {
    Get(&'static str),
    Status,
    Events { follow: bool },
    Invoke { command: String, token: Option<PathBuf> },
}

/// Why there is no answer.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct AskError(String);

/// Understands what is to be asked.
pub fn asked(ask: EnsembleAsk) -> Result<AskPod, UsageError> {
    let (client, what) = match ask {
        EnsembleAsk::Status(client) => (client, What::Status),
        EnsembleAsk::Pods(client) => (client, What::Get("/v1/pods")),
        EnsembleAsk::Leader(client) => (client, What::Get("/v1/leader")),
        EnsembleAsk::Digest(client) => (client, What::Get("/v1/digest")),
        EnsembleAsk::State(client) => (client, What::Get("/state")),
        EnsembleAsk::Callbacks(client) => (client, What::Get("/v1/callbacks")),
        EnsembleAsk::Events { follow, client } => (client, What::Events { follow }),
        EnsembleAsk::Render { .. } => unreachable!("it asks nobody"),
        EnsembleAsk::Invoke { token_file, client, command } => {
            (client, What::Invoke { command, token: token_file })
        }
    };
    let EnsembleClient { pod, tls_ca, tls_cert, tls_key } = client;
    let at = pod.parse();
    let pod = at.map_err(|why| UsageError(format!("--pod '{}': {why}", text::without_login(&pod))))?;
    Ok(AskPod { pod, tls: tls_files(tls_cert, tls_key, tls_ca)?, what })
}

/// Asks, and prints what is told.
pub fn ask(asked: AskPod) -> Result<(), AskError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| AskError(error.to_string()))?;
    let AskPod { pod, tls, what } = asked;
    let token = match &what {
        What::Invoke { token: Some(path), .. } => {
            Some(store::token(path).map_err(|error| AskError(error.to_string()))?.into())
        }
        _ => None,
    };
    let dialer = Dialer::new([&pod], tls, token).map_err(AskError)?;
    let limit = LIMIT * 2;
    let told = runtime.block_on(async {
        match what {
            What::Get(path) => within(limit, dialer.get(&pod, path)).await,
            What::Status => within(limit, status(&dialer, &pod)).await,
            What::Invoke { command, .. } => within(limit, dialer.invoke(&pod, &command)).await,
            What::Events { follow } => {
                let mut failed = None;
                let line = |line: &[u8]| match write(line) {
                    Ok(()) => true,
                    Err(error) => {
                        failed = Some(error);
                        false
                    }
                };
                let told = dialer.events(&pod, follow, line).await;
                match failed.filter(|error| error.kind() != io::ErrorKind::BrokenPipe) {
                    Some(error) => Err(text::describe(&error)),
                    None => told.map(|()| String::new()),
                }
            }
        }
    });
    print(told.map_err(AskError)?.as_bytes()).map_err(|error| AskError(text::describe(&error)))
}

fn write(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush())
}

fn print(text: &[u8]) -> io::Result<()> {
    match write(text) {
        // Whoever does not want to read on (`| head`) makes no error of it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// All of it, for people.
async fn status(dialer: &Dialer, pod: &Peer) -> Result<String, String> {
    let get = async |path: &str| {
        let text = dialer.get(pod, path).await?;
        serde_json::from_str::<Value>(&text).map_err(|error| format!("{pod}{path}: no JSON: {error}"))
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
        format!("leads, fence {}", text(&leader["fence"]))
    } else {
        format!("does not lead: {}", text(&leader["why"]))
    };
    let last = match callbacks.as_array().and_then(|all| all.last()) {
        Some(run) => {
            format!("at {}, for {} pods, {}", text(&run["at"]), text(&run["pods"]), text(&run["exit"]))
        }
        None => "none by this master".to_owned(),
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
    fn what_strangers_say_of_themselves_stays_on_its_line() {
        let pods =
            json!([{"seq": 1, "id": "a", "ip": "10.0.0.1", "role": "x\ny", "payload": {"z": "\u{1b}[2J"}}]);
        let leader = json!({"id": "m", "leads": false, "why": "another leads"});
        let told = table(&leader, &json!({"digest": "d", "pods": 1}), &pods, &json!([]));
        assert_eq!(told.lines().count(), 6, "{told}");
        assert!(!told.contains('\u{1b}') && told.contains("m does not lead: another leads"), "{told}");
    }
}
