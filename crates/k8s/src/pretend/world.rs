//! What the server knows, and what it was told to do wrong.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::body::Piece;
use super::shapes;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// One pod.
    Get,
    /// The pods of a namespace.
    List,
    /// What happens to them.
    Watch,
    /// Anything else.
    Other,
}

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An answer with this code, and a `Status` as its body.
    Status {
        /// The code of HTTP.
        code: u16,
        /// One word, such as `InternalError`.
        reason: String,
        /// A sentence.
        message: String,
        /// The header `Retry-After`, in seconds.
        retry_after: Option<u64>,
    },
    /// 403, in the words of the API's RBAC.
    Forbidden,
    /// 401, since the token was replaced by this one in the meantime.
    RotatedToken(String),
    /// 200 with this body.
    Body(Vec<u8>, After),
    /// No answer, ever.
    Hang,
    /// The connection is closed instead of an answer.
    Drop,
}

impl Fault {
    /// An answer with this code and nothing special about it.
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
            410 => "The resourceVersion for the provided watch is too old.".to_owned(),
            _ => format!("the server was told to answer {code}"),
        };
        Self::Status { code, reason: reason.to_owned(), message, retry_after: None }
    }

    /// The same, and when to ask again.
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

/// What comes after a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It ends well.
    End,
    /// The connection is closed in the midst of it.
    Drop,
    /// Nothing, ever.
    Hang,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What it asks for.
    pub verb: Verb,
    /// In which namespace.
    pub namespace: String,
    /// Of which pod.
    pub name: String,
    /// With which token.
    pub token: String,
    /// Who asks.
    pub agent: String,
    /// Path and query as they came.
    pub target: String,
    /// The query.
    pub query: BTreeMap<String, String>,
    /// When.
    pub at: Instant,
}

impl Asked {
    /// From which version a watch is asked for.
    #[must_use]
    pub fn version(&self) -> &str {
        self.query.get("resourceVersion").map_or("", String::as_str)
    }
}

impl Verb {
    /// As RBAC has it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Other => "use",
        }
    }
}

/// What the server knows.
pub(super) struct World {
    known: Mutex<Known>,
    /// Counts whatever a test may wait for.
    changes: watch::Sender<u64>,
}

struct Known {
    token: String,
    /// Where the token stands in files.
    token_files: Vec<PathBuf>,
    pod: Option<Value>,
    node: Option<Value>,
    version: u64,
    /// Events after this version are remembered.
    oldest: u64,
    events: Vec<(u64, Bytes)>,
    watches: Vec<Watch>,
    /// Bodies that never end.
    endless: Vec<UnboundedSender<Piece>>,
    faults: VecDeque<(Verb, Fault)>,
    asked: Vec<Asked>,
    trickle: bool,
}

struct Watch {
    namespace: String,
    name: String,
    bookmarks: bool,
    sender: UnboundedSender<Piece>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            known: Mutex::new(Known {
                token: "pretend-token-1".to_owned(),
                token_files: Vec::new(),
                pod: None,
                node: None,
                version: 1000,
                oldest: 0,
                events: Vec::new(),
                watches: Vec::new(),
                endless: Vec::new(),
                faults: VecDeque::new(),
                asked: Vec::new(),
                trickle: false,
            }),
            changes: watch::Sender::new(0),
        }
    }
}

impl World {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn give_token(&self, directory: &Path) {
        let mut known = self.known();
        let file = directory.join("token");
        replace(&file, known.token.as_bytes());
        known.token_files.push(file);
    }

    pub(super) fn rotate_token(&self, token: &str) {
        let mut known = self.known();
        token.clone_into(&mut known.token);
        for file in &known.token_files {
            replace(file, token.as_bytes());
        }
    }

    pub(super) fn knows(&self, token: &str) -> bool {
        self.known().token == token
    }

    pub(super) fn set_pod(&self, pod: Option<Value>) {
        let mut known = self.known();
        known.version += 1;
        let version = known.version;
        let (kind, mut object) = match (known.pod.take(), pod) {
            (None, None) => return,
            (None, Some(new)) => ("ADDED", new),
            (Some(_), Some(new)) => ("MODIFIED", new),
            (Some(old), None) => ("DELETED", old),
        };
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let line = Bytes::from(shapes::event(kind, &object));
        known.events.push((version, line.clone()));
        let (namespace, name) = (text(&object, "namespace"), text(&object, "name"));
        for watch in &known.watches {
            if watch.namespace == namespace && watch.name == name {
                let _ = watch.sender.send(Piece::Data(line.clone()));
            }
        }
        known.pod = Some(object).filter(|_| kind != "DELETED");
    }

    pub(super) fn set_node(&self, node: Option<Value>) {
        self.known().node = node;
    }

    pub(super) fn version(&self) -> String {
        self.known().version.to_string()
    }

    pub(super) fn bookmark(&self) {
        let mut known = self.known();
        known.version += 1;
        let line = Bytes::from(shapes::bookmark(known.version));
        for watch in known.watches.iter().filter(|watch| watch.bookmarks) {
            let _ = watch.sender.send(Piece::Data(line.clone()));
        }
    }

    pub(super) fn compact(&self) {
        let mut known = self.known();
        known.oldest = known.version;
        known.events.clear();
    }

    pub(super) fn say(&self, text: &[u8]) {
        let text = Bytes::copy_from_slice(text);
        for watch in &self.known().watches {
            let _ = watch.sender.send(Piece::Data(text.clone()));
        }
    }

    pub(super) fn end_watches(&self, last_words: &[u8], after: After) {
        if !last_words.is_empty() {
            self.say(last_words);
        }
        let mut known = self.known();
        for watch in std::mem::take(&mut known.watches) {
            match after {
                After::End => drop(watch.sender.send(Piece::End)),
                After::Drop => drop(watch.sender.send(Piece::Drop)),
                After::Hang => known.endless.push(watch.sender),
            }
        }
        drop(known);
        self.changed();
    }

    pub(super) fn fail_next(&self, verb: Verb, fault: Fault) {
        self.known().faults.push_back((verb, fault));
    }

    pub(super) fn mend(&self) {
        self.known().faults.clear();
    }

    pub(super) fn trickle(&self, on: bool) {
        self.known().trickle = on;
    }

    pub(super) fn trickles(&self) -> bool {
        self.known().trickle
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.known().asked.clone()
    }

    pub(super) fn watches(&self) -> usize {
        let mut known = self.known();
        known.watches.retain(|watch| !watch.sender.is_closed());
        known.watches.len()
    }

    /// Writes a request down, and says what is to go wrong with it.
    pub(super) fn note(&self, asked: &Asked) -> Option<Fault> {
        let mut known = self.known();
        known.asked.push(asked.clone());
        let next = known.faults.iter().position(|(verb, _)| *verb == asked.verb);
        let fault = next.and_then(|at| known.faults.remove(at)).map(|(_, fault)| fault);
        drop(known);
        self.changed();
        fault
    }

    pub(super) fn keep(&self, sender: UnboundedSender<Piece>) {
        self.known().endless.push(sender);
    }

    pub(super) fn get(&self, asked: &Asked) -> Option<Vec<u8>> {
        let known = self.known();
        let all = known.pod.iter().chain(&known.node);
        all.filter(|it| is(it, asked)).map(|it| it.to_string().into_bytes()).next()
    }

    pub(super) fn list(&self, asked: &Asked) -> Vec<u8> {
        let known = self.known();
        let pods: Vec<_> = known.pod.iter().filter(|pod| is(pod, asked)).collect();
        shapes::list(known.version, &pods).to_string().into_bytes()
    }

    /// Tells a watch what has happened since its version, and from now on what happens.
    pub(super) fn watch(&self, asked: &Asked, sender: UnboundedSender<Piece>) {
        let mut known = self.known();
        let from: u64 = asked.version().parse().unwrap_or_default();
        if from < known.oldest {
            let text = format!("too old resource version: {from} ({})", known.oldest);
            let status = shapes::status(410, "Expired", &text, None);
            let _ = sender.send(Piece::Data(Bytes::from(shapes::event("ERROR", &status))));
            let _ = sender.send(Piece::End);
            return;
        }
        for (_, line) in known.events.iter().filter(|(version, _)| *version > from) {
            let _ = sender.send(Piece::Data(line.clone()));
        }
        known.watches.push(Watch {
            namespace: asked.namespace.clone(),
            name: asked.name.clone(),
            bookmarks: asked.query.get("allowWatchBookmarks").is_some_and(|it| it == "true"),
            sender,
        });
        drop(known);
        self.changed();
    }
}

fn is(pod: &Value, asked: &Asked) -> bool {
    text(pod, "namespace") == asked.namespace && text(pod, "name") == asked.name
}

fn text<'a>(pod: &'a Value, field: &str) -> &'a str {
    pod["metadata"][field].as_str().unwrap_or_default()
}

/// Writes a file so that nobody reads half of it, as the kubelet does.
pub(super) fn replace(file: &Path, content: &[u8]) {
    let beside = file.with_extension("new");
    let written = std::fs::write(&beside, content).and_then(|()| std::fs::rename(&beside, file));
    written.unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
}
