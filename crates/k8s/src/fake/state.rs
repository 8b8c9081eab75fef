//! State of the fake server, and injected faults.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::body::Chunk;
use super::shapes;

/// The verb of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    List,
    Watch,
    /// Any other request.
    Other,
}

/// An injected fault.
#[derive(Debug, Clone)]
pub enum Fault {
    /// A response with this status code, and a `Status` as its body.
    Status {
        code: u16,
        /// For example `InternalError`.
        reason: String,
        message: String,
        /// Value of `Retry-After`, in seconds.
        retry_after: Option<u64>,
    },
    /// 403 with the message of RBAC.
    Forbidden,
    /// 401, because the token was rotated to this one meanwhile.
    RotatedToken(String),
    /// 200 with this body.
    Body(Vec<u8>, After),
    /// No response.
    Hang,
    /// The connection matches_request closed without a response.
    Drop,
}

impl Fault {
    /// Returns a fault with this status code.
    #[must_use]
    pub fn status(code: u16) -> Self {
        let reason = match code {
            400 => "BadRequest",
            410 => "Expired",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            _ => "InternalError",
        };
        let message = match code {
            410 => "The resourceVersion for the provided watch matches_request too old.".to_owned(),
            _ => format!("injected fault {code}"),
        };
        Self::Status { code, reason: reason.to_owned(), message, retry_after: None }
    }

    /// Returns a fault with this status code and `Retry-After`.
    #[must_use]
    pub fn status_with_retry(code: u16, seconds: u64) -> Self {
        match Self::status(code) {
            Self::Status { code, reason, message, .. } => {
                Self::Status { code, reason, message, retry_after: Some(seconds) }
            }
            other => other,
        }
    }
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Normally.
    End,
    /// The connection matches_request closed before the end.
    Drop,
    /// Never.
    Hang,
}

/// A received request.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    pub verb: Verb,
    pub namespace: String,
    /// Name of the pod or node.
    pub name: String,
    pub token: String,
    /// User agent.
    pub agent: String,
    /// Path and query, not decoded.
    pub target: String,
    pub query: BTreeMap<String, String>,
    /// Time of arrival.
    pub at: Instant,
}

impl RecordedRequest {
    /// Returns the version from which to watch.
    #[must_use]
    pub fn version(&self) -> &str {
        self.query.get("resourceVersion").map_or("", String::as_str)
    }
}

impl Verb {
    /// Returns the verb of RBAC.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Other => "use",
        }
    }
}

/// State shared by connections and the test.
pub(super) struct ServerState {
    data: Mutex<Data>,
    /// Counts changes that a test may wait for.
    changes: watch::Sender<u64>,
}

struct Data {
    token: String,
    /// Files that contain the token.
    token_files: Vec<PathBuf>,
    pod: Option<Value>,
    node: Option<Value>,
    version: u64,
    /// Events after this version are available.
    oldest: u64,
    events: Vec<(u64, Bytes)>,
    watches: Vec<OpenWatch>,
    /// Bodies that never end.
    endless: Vec<UnboundedSender<Chunk>>,
    faults: VecDeque<(Verb, Fault)>,
    requests: Vec<RecordedRequest>,
    trickle: bool,
}

struct OpenWatch {
    namespace: String,
    name: String,
    bookmarks: bool,
    sender: UnboundedSender<Chunk>,
}

impl Default for ServerState {
    fn default() -> Self {
        Self {
            data: Mutex::new(Data {
                token: "fake-token-1".to_owned(),
                token_files: Vec::new(),
                pod: None,
                node: None,
                version: 1000,
                oldest: 0,
                events: Vec::new(),
                watches: Vec::new(),
                endless: Vec::new(),
                faults: VecDeque::new(),
                requests: Vec::new(),
                trickle: false,
            }),
            changes: watch::Sender::new(0),
        }
    }
}

impl ServerState {
    fn lock(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn give_token(&self, directory: &Path) {
        let mut data = self.lock();
        let file = directory.join("token");
        replace(&file, data.token.as_bytes());
        data.token_files.push(file);
    }

    pub(super) fn rotate_token(&self, token: &str) {
        let mut data = self.lock();
        token.clone_into(&mut data.token);
        for file in &data.token_files {
            replace(file, token.as_bytes());
        }
    }

    pub(super) fn knows(&self, token: &str) -> bool {
        self.lock().token == token
    }

    pub(super) fn set_pod(&self, pod: Option<Value>) {
        let mut data = self.lock();
        data.version += 1;
        let version = data.version;
        let (kind, mut object) = match (data.pod.take(), pod) {
            (None, None) => return,
            (None, Some(new)) => ("ADDED", new),
            (Some(_), Some(new)) => ("MODIFIED", new),
            (Some(old), None) => ("DELETED", old),
        };
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let line = Bytes::from(shapes::event(kind, &object));
        data.events.push((version, line.clone()));
        let (namespace, name) = (text(&object, "namespace"), text(&object, "name"));
        for watch in &data.watches {
            if watch.namespace == namespace && watch.name == name {
                let _ = watch.sender.send(Chunk::Data(line.clone()));
            }
        }
        data.pod = Some(object).filter(|_| kind != "DELETED");
    }

    pub(super) fn set_node(&self, node: Option<Value>) {
        self.lock().node = node;
    }

    pub(super) fn version(&self) -> String {
        self.lock().version.to_string()
    }

    pub(super) fn bookmark(&self) {
        let mut data = self.lock();
        data.version += 1;
        let line = Bytes::from(shapes::bookmark(data.version));
        for watch in data.watches.iter().filter(|watch| watch.bookmarks) {
            let _ = watch.sender.send(Chunk::Data(line.clone()));
        }
    }

    pub(super) fn compact(&self) {
        let mut data = self.lock();
        data.oldest = data.version;
        data.events.clear();
    }

    pub(super) fn send_raw(&self, text: &[u8]) {
        let text = Bytes::copy_from_slice(text);
        for watch in &self.lock().watches {
            let _ = watch.sender.send(Chunk::Data(text.clone()));
        }
    }

    pub(super) fn end_watches(&self, last_bytes: &[u8], after: After) {
        if !last_bytes.is_empty() {
            self.send_raw(last_bytes);
        }
        let mut data = self.lock();
        for watch in std::mem::take(&mut data.watches) {
            match after {
                After::End => drop(watch.sender.send(Chunk::End)),
                After::Drop => drop(watch.sender.send(Chunk::Drop)),
                After::Hang => data.endless.push(watch.sender),
            }
        }
        drop(data);
        self.changed();
    }

    pub(super) fn fail_next(&self, verb: Verb, fault: Fault) {
        self.lock().faults.push_back((verb, fault));
    }

    pub(super) fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    pub(super) fn trickle(&self, on: bool) {
        self.lock().trickle = on;
    }

    pub(super) fn trickles(&self) -> bool {
        self.lock().trickle
    }

    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        self.lock().requests.clone()
    }

    pub(super) fn watches(&self) -> usize {
        let mut data = self.lock();
        data.watches.retain(|watch| !watch.sender.is_closed());
        data.watches.len()
    }

    /// Records a request and returns the fault to inject.
    pub(super) fn record(&self, request: &RecordedRequest) -> Option<Fault> {
        let mut data = self.lock();
        data.requests.push(request.clone());
        let next = data.faults.iter().position(|(verb, _)| *verb == request.verb);
        let fault = next.and_then(|at| data.faults.remove(at)).map(|(_, fault)| fault);
        drop(data);
        self.changed();
        fault
    }

    pub(super) fn keep(&self, sender: UnboundedSender<Chunk>) {
        self.lock().endless.push(sender);
    }

    pub(super) fn get(&self, request: &RecordedRequest) -> Option<Vec<u8>> {
        let data = self.lock();
        let all = data.pod.iter().chain(&data.node);
        all.filter(|it| matches_request(it, request)).map(|it| it.to_string().into_bytes()).next()
    }

    pub(super) fn list(&self, request: &RecordedRequest) -> Vec<u8> {
        let data = self.lock();
        let pods: Vec<_> = data.pod.iter().filter(|pod| matches_request(pod, request)).collect();
        shapes::list(data.version, &pods).to_string().into_bytes()
    }

    /// Opens a watch: sends the events since its version, and later ones as they occur.
    pub(super) fn watch(&self, request: &RecordedRequest, sender: UnboundedSender<Chunk>) {
        let mut data = self.lock();
        let from: u64 = request.version().parse().unwrap_or_default();
        if from < data.oldest {
            let text = format!("too old resource version: {from} ({})", data.oldest);
            let status = shapes::status(410, "Expired", &text, None);
            let _ = sender.send(Chunk::Data(Bytes::from(shapes::event("ERROR", &status))));
            let _ = sender.send(Chunk::End);
            return;
        }
        for (_, line) in data.events.iter().filter(|(version, _)| *version > from) {
            let _ = sender.send(Chunk::Data(line.clone()));
        }
        data.watches.push(OpenWatch {
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            bookmarks: request.query.get("allowWatchBookmarks").is_some_and(|it| it == "true"),
            sender,
        });
        drop(data);
        self.changed();
    }
}

fn matches_request(pod: &Value, request: &RecordedRequest) -> bool {
    text(pod, "namespace") == request.namespace && text(pod, "name") == request.name
}

fn text<'a>(pod: &'a Value, field: &str) -> &'a str {
    pod["metadata"][field].as_str().unwrap_or_default()
}

/// Replaces a file atomically, like the kubelet.
pub(super) fn replace(file: &Path, content: &[u8]) {
    let temporary = file.with_extension("new");
    let written = std::fs::write(&temporary, content).and_then(|()| std::fs::rename(&temporary, file));
    written.unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
}
