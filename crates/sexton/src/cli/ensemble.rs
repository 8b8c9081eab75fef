//! `sexton ensemble pods|leader|digest|state|callbacks|invoke`.

use std::path::PathBuf;

use hyper::{Method, StatusCode};
use thiserror::Error;

use super::args::{EnsembleAsk, EnsembleClient};
use crate::config::resolve::UsageError;
use crate::ensemble::commands::LIMIT;
use crate::ensemble::plan::DEFAULT_PORT;
use crate::lock::client::{Server, within};
use crate::words::describe;

/// What to ask a pod.
#[derive(Debug)]
pub struct AskPod {
    pod: Server,
    what: What,
}

#[derive(Debug)]
enum What {
    Get(&'static str),
    Invoke { command: String, token: Option<PathBuf> },
}

/// Why there is no answer.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct AskError(String);

/// Understands what is to be asked.
pub fn asked(ask: EnsembleAsk) -> Result<AskPod, UsageError> {
    let (client, what) = match ask {
        EnsembleAsk::Pods(client) => (client, What::Get("/v1/pods")),
        EnsembleAsk::Leader(client) => (client, What::Get("/v1/leader")),
        EnsembleAsk::Digest(client) => (client, What::Get("/v1/digest")),
        EnsembleAsk::State(client) => (client, What::Get("/state")),
        EnsembleAsk::Callbacks(client) => (client, What::Get("/v1/callbacks")),
        EnsembleAsk::Invoke { token_file, client, command } => {
            (client, What::Invoke { command, token: token_file })
        }
    };
    let EnsembleClient { pod } = client;
    let at = Server::at(&format!("http://{pod}"), DEFAULT_PORT);
    let pod =
        at.map_err(|why| UsageError(format!("--pod '{}': {why}", crate::words::without_login(&pod))))?;
    Ok(AskPod { pod, what })
}

/// Asks, and returns what is to be printed.
pub fn ask(asked: AskPod) -> Result<String, AskError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| AskError(error.to_string()))?;
    let AskPod { pod, what } = asked;
    let (method, path, headers, body) = match what {
        What::Get(path) => (Method::GET, path, Vec::new(), Vec::new()),
        What::Invoke { command, token } => {
            let headers = match token {
                None => Vec::new(),
                Some(path) => {
                    let read = std::fs::read_to_string(&path);
                    let token =
                        read.map_err(|error| AskError(format!("{}: {}", path.display(), describe(&error))))?;
                    vec![("authorization", format!("Bearer {}", token.trim()))]
                }
            };
            (Method::PUT, "/script", headers, serde_json::json!({"cmd": command}).to_string().into_bytes())
        }
    };
    let answer = runtime.block_on(within(LIMIT * 2, pod.exchange(method, path, &headers, body)));
    let (code, body) = answer.map_err(AskError)?;
    let text = String::from_utf8_lossy(&body).into_owned();
    if code == StatusCode::OK {
        Ok(text)
    } else {
        Err(AskError(format!("HTTP {}: {}", code.as_u16(), text.trim())))
    }
}
