//! Routes of the control socket: the read-only ones, and those that change something.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use engine::{Outcome, Signal};
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::json;
use tokio::sync::{broadcast, oneshot, watch};

use super::routes::{JSON, Shared, TEXT, answer, reading, unknown, with_type};
use crate::control::{Command, ControlError, ProcessAction};
use crate::logs::buffer::{Assembler, Line, OutputChunk};
use crate::logs::record::{ConsoleStyle, FormattedTime, RecordFormatter};
use crate::status::View;
use crate::status::hub::Hub;
use linux::clock::Clock;
use net::query::Query;
use spec::listen::HttpCompat;
use spec::logs::LogFormat;

/// Maximum number of past log lines in a response.
const MAX_LINES: usize = 10_000;

/// Creates the routes of the control socket.
pub fn control_router(hub: Arc<Hub>, answers: HttpCompat, clock: Clock) -> Router {
    reading()
        .route("/v1/processes/{name}/why", get(why))
        .route("/v1/processes/{name}/start", post(|shared, name| wish(shared, name, ProcessAction::Start)))
        .route("/v1/processes/{name}/stop", post(|shared, name| wish(shared, name, ProcessAction::Stop)))
        .route(
            "/v1/processes/{name}/restart",
            post(|shared, name| wish(shared, name, ProcessAction::Restart)),
        )
        .route("/v1/processes/{name}/signal", post(signal))
        .route("/v1/logs", get(logs))
        .route("/v1/reload", post(reload))
        .route("/v1/end", post(end))
        .fallback(no_such_control_path)
        .with_state(Shared { hub, answers, clock })
}

async fn no_such_control_path() -> Response {
    const PATHS: &str = "no such path; there are /readiness and its like, /metrics, /v1/processes[/NAME[/why|/start|/stop|/restart|/signal]], /v1/events, /v1/logs, /v1/reload, /v1/end\n";
    answer(StatusCode::NOT_FOUND, TEXT, Bytes::from_static(PATHS.as_bytes()))
}

async fn asked<T>(
    hub: &Hub,
    make: impl FnOnce(crate::control::Reply<T>) -> Command,
) -> Result<T, ControlError> {
    let ended = || ControlError::Refused(engine::Refusal::ShuttingDown);
    let controls = hub.controls.as_ref().ok_or_else(ended)?;
    let (reply, result) = oneshot::channel();
    controls.send(make(reply)).await.map_err(|_| ended())?;
    result.await.map_err(|_| ended())?
}

fn refused(error: &ControlError) -> Response {
    let code = match error {
        ControlError::Unknown(_) => StatusCode::NOT_FOUND,
        ControlError::Refused(_) => StatusCode::CONFLICT,
        ControlError::Configuration(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    answer(code, TEXT, format!("{error}\n").into())
}

async fn wish(State(shared): State<Shared>, Path(name): Path<String>, action: ProcessAction) -> Response {
    fulfilled(asked(&shared.hub, |reply| Command::Process { name, action, reply }).await)
}

fn fulfilled(result: Result<Outcome, ControlError>) -> Response {
    match result {
        Ok(how) => {
            let already = how == Outcome::Unchanged;
            answer(StatusCode::OK, JSON, format!("{}\n", json!({ "alreadySo": already })).into())
        }
        Err(error) => refused(&error),
    }
}

async fn signal(shared: State<Shared>, name: Path<String>, RawQuery(query): RawQuery) -> Response {
    let query = Query(query.as_deref());
    let text = query.all("signal").into_iter().next().unwrap_or_default();
    match text.parse::<Signal>() {
        Ok(signal) if query.has("group") => wish(shared, name, ProcessAction::SignalGroup(signal)).await,
        Ok(signal) => wish(shared, name, ProcessAction::Signal(signal)).await,
        Err(error) => answer(StatusCode::BAD_REQUEST, TEXT, format!("{error}\n").into()),
    }
}

async fn reload(State(shared): State<Shared>) -> Response {
    match asked(&shared.hub, Command::Reload).await {
        Ok(reloaded) => {
            let body = serde_json::to_vec(&reloaded).unwrap_or_default();
            answer(StatusCode::OK, JSON, body.into())
        }
        Err(error) => refused(&error),
    }
}

async fn end(State(shared): State<Shared>) -> Response {
    fulfilled(asked(&shared.hub, Command::End).await)
}

/// Returns the state of a process and the events that led to it, oldest first.
async fn why(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    let view = shared.hub.view();
    let Some(process) = view.find(&name) else { return unknown(&view, &name) };
    let changes = shared.hub.changes_of(&name);
    let chain: Vec<_> = changes.iter().map(|change| &**change).collect();
    let since = process.own.as_ref().and_then(|own| own.since).map(linux::clock::rfc3339_millis);
    let (blocked, is_blocked) = shared.hub.logs.blocked().get(&*name).copied().unwrap_or_default();
    let body = json!({
        "name": name,
        "state": process.state,
        "since": since,
        "ready": process.own.as_ref().map(|own| own.job.ready),
        "outputBlocked": is_blocked,
        "outputBlockedSeconds": blocked.as_secs_f64(),
        "chain": chain,
    });
    answer(StatusCode::OK, JSON, format!("{body}\n").into())
}

// === logs ===

async fn logs(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let query = Query(query.as_deref());
    let of = query.all("process");
    let view = shared.hub.view();
    if let Some(wrong) = of.iter().find(|name| view.find(name).is_none()) {
        return unknown(&view, wrong);
    }
    let format = match query.get("format") {
        None => None,
        Some("logfmt") => Some(LogFormat::Logfmt),
        Some("json") => Some(LogFormat::Json),
        Some("raw") => Some(LogFormat::Raw),
        Some("pretty") => Some(LogFormat::Pretty),
        Some(other) => {
            let message = format!("format '{other}': expected logfmt, json, raw or pretty\n");
            return answer(StatusCode::BAD_REQUEST, TEXT, message.into());
        }
    };
    let tail = match query.get("tail").map(str::parse::<usize>) {
        None => 100,
        Some(Ok(lines)) => lines.min(MAX_LINES),
        Some(Err(_)) => {
            return answer(
                StatusCode::BAD_REQUEST,
                TEXT,
                Bytes::from_static(b"tail: expected a number of lines\n"),
            );
        }
    };
    let width = view.processes.iter().map(|process| process.name.chars().count()).max().unwrap_or(0);
    let writer = Writer { format, colours: query.has("colours"), width: width.min(24), of };
    let following = shared.hub.logs.follow();
    let mut recent = Vec::new();
    for line in shared.hub.logs.lines(&writer.of, tail) {
        writer.append(&mut recent, &line);
    }
    if !query.has("follow") {
        return answer(StatusCode::OK, TEXT, recent.into());
    }
    let follower = Follower {
        recent: recent.into(),
        following,
        assembler: Assembler::default(),
        views: shared.hub.views(),
        writer,
    };
    let frames = stream::unfold(follower, |follower| async {
        follower.next().await.map(|(lines, follower)| (Ok::<_, Infallible>(Frame::data(lines)), follower))
    });
    with_type(StatusCode::OK, TEXT, Body::new(StreamBody::new(frames)))
}

/// Formats log lines.
struct Writer {
    /// None: that of each process, so that the records are those of sexton's output.
    format: Option<LogFormat>,
    colours: bool,
    width: usize,
    of: Vec<String>,
}

impl Writer {
    fn append(&self, out: &mut Vec<u8>, line: &Line) {
        let source = &line.source;
        let colour = self.colours.then(|| source.process.bytes().fold(0_u8, u8::wrapping_add) % 6);
        let style = ConsoleStyle { width: self.width, colour };
        let formatter = RecordFormatter::new(self.format.unwrap_or(source.format), source, style);
        formatter.append(out, &FormattedTime::at(line.time), &line.text, line.partial);
    }

    fn wants(&self, chunk: &OutputChunk) -> bool {
        self.of.is_empty() || self.of.iter().any(|name| **name == *chunk.source.process)
    }
}

/// A stream of recent and new log lines. A slow client misses some, and gets a note.
struct Follower {
    recent: Bytes,
    following: broadcast::Receiver<OutputChunk>,
    assembler: Assembler,
    views: watch::Receiver<Arc<View>>,
    writer: Writer,
}

impl Follower {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let recent = std::mem::take(&mut self.recent);
        if !recent.is_empty() {
            return Some((recent, self));
        }
        loop {
            let received = tokio::select! {
                biased;
                received = self.following.recv() => received,
                _ = self.views.wait_for(|view| view.over) => return None,
            };
            let mut out = Vec::new();
            match received {
                Ok(chunk) if self.writer.wants(&chunk) => {
                    self.assembler.take(&chunk, |line| self.writer.append(&mut out, &line));
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(chunks)) => {
                    out = format!("… {chunks} chunks of output are missing: the client is too slow\n")
                        .into_bytes();
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
            if !out.is_empty() {
                return Some((out.into(), self));
            }
        }
    }
}
