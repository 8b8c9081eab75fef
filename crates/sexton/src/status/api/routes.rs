//! The read-only routes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::json;
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::Instant;

use super::health::{self, Question};
use super::status;
use crate::control::{Command, ControlError};
use crate::status::View;
use crate::status::hub::{Change, Hub};
use crate::status::metrics;
use linux::blocking;
use linux::clock::{Clock, rfc3339};
use linux::resource_usage;
use linux::resource_usage::ResourceUsage;
use net::query::Query;
use spec::duration;
use spec::listen::HttpCompat;
use spec::program::Pid;

pub(super) const JSON: &str = "application/json";
pub(super) const JSON_LINES: &str = "application/x-ndjson";
const EVENT_STREAM: &str = "text/event-stream";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// How long a measurement of resource usage is cached, since it reads all processes.
const USAGE_VALID: Duration = Duration::from_millis(250);

/// State shared by the handlers.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) hub: Arc<Hub>,
    pub(super) answers: HttpCompat,
    pub(super) clock: Clock,
}

/// Creates the routes of a hub, with additional ones for several processes.
pub fn router(hub: Arc<Hub>, answers: HttpCompat, clock: Clock) -> Router {
    let router = reading();
    let router = if answers.many {
        router
            .route("/status", get(healthy))
            .route("/pids", get(pids))
            .route("/pidof", get(pid_of))
            .route("/heartbeat", get(last_heart_beat).patch(heart_beat))
    } else {
        router
    };
    let router = if answers.any_path { router.fallback(get(state)) } else { router.fallback(no_such_path) };
    router.with_state(Shared { hub, answers, clock })
}

/// Creates the routes that all sockets have.
pub(super) fn reading() -> Router<Shared> {
    Router::new()
        .route("/", get(state))
        .route("/liveness", get(|shared, query| health(shared, query, Question::Live)))
        .route("/readiness", get(|shared, query| health(shared, query, Question::Ready)))
        .route("/startup", get(|shared, query| health(shared, query, Question::Started)))
        .route("/metrics", get(metrics_text))
        .route("/v1/process", get(processes))
        .route("/v1/processes", get(processes))
        .route("/v1/processes/{name}", get(process))
        .route("/v1/events", get(events))
}

async fn state(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let list = shared.answers.list || Query(query.as_deref()).has("list");
    let body = status::state(&shared.hub.view(), list);
    answer(StatusCode::OK, JSON, body)
}

/// Returns the resource usage of processes, measured on a blocking thread; nothing, if there can be none.
async fn usage(hub: &Hub, view: &View) -> Arc<BTreeMap<Pid, ResourceUsage>> {
    let mut last = hub.usage.lock().await;
    if let Some((at, figures)) = &*last
        && at.elapsed() < USAGE_VALID
    {
        return Arc::clone(figures);
    }
    let roots: Vec<Pid> = view.processes.iter().filter_map(|process| process.pid).collect();
    let figures = blocking::run(move || resource_usage::measure(&roots)).await.unwrap_or_default();
    let figures = Arc::new(figures);
    *last = Some((Instant::now(), Arc::clone(&figures)));
    figures
}

async fn processes(State(shared): State<Shared>) -> Response {
    let view = shared.hub.view();
    let usage = usage(&shared.hub, &view).await;
    answer(StatusCode::OK, JSON, status::processes(&view, &usage, |at| shared.clock.of_day(at)))
}

async fn process(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    let view = shared.hub.view();
    let Some(process) = view.find(&name) else { return unknown(&view, &name) };
    let usage = usage(&shared.hub, &view).await;
    answer(StatusCode::OK, JSON, status::one(process, &usage))
}

/// Returns 404, with the most similar name.
pub(super) fn unknown(view: &View, name: &str) -> Response {
    let hint = spec::suggest::hint(name, view.processes.iter().map(|process| &*process.name));
    answer(StatusCode::NOT_FOUND, TEXT, format!("there is no process '{name}'{hint}\n").into())
}

async fn metrics_text(State(shared): State<Shared>) -> Response {
    let view = shared.hub.view();
    let usage = if shared.answers.many { usage(&shared.hub, &view).await } else { Arc::default() };
    let text = shared.hub.metrics.text(&view, &usage, &shared.hub.logs);
    answer(StatusCode::OK, metrics::CONTENT_TYPE, text.into())
}

async fn health(State(shared): State<Shared>, RawQuery(query): RawQuery, question: Question) -> Response {
    let query = Query(query.as_deref());
    let limit = match query.get("timeout").map(duration::parse) {
        None => None,
        Some(Ok(limit)) => Some(limit),
        Some(Err(error)) => {
            return answer(StatusCode::BAD_REQUEST, TEXT, format!("timeout: {error}\n").into());
        }
    };
    let patience = if query.has("wait") { limit.unwrap_or(Duration::MAX) } else { Duration::ZERO };
    // Configurations with one check for both use readiness for liveness.
    let question = if shared.answers.liveness_is_readiness && question == Question::Live {
        Question::Ready
    } else {
        question
    };
    match health::ask(&shared.hub, question, patience).await {
        Ok(()) => answer(StatusCode::OK, TEXT, Bytes::from_static(b"ok\n")),
        Err(reason) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n").into()),
    }
}

// === routes of process-wrapper ===

fn by_name<T: serde::Serialize>(
    view: &View,
    value: impl Fn(&crate::status::ProcessView) -> Option<T>,
) -> Response {
    let map: BTreeMap<&str, T> =
        view.processes.iter().filter_map(|process| Some((&*process.name, value(process)?))).collect();
    if map.is_empty() {
        return StatusCode::NO_CONTENT.into_response();
    }
    let mut body = serde_json::to_vec(&map).unwrap_or_default();
    body.push(b'\n');
    answer(StatusCode::OK, JSON, body.into())
}

async fn healthy(State(shared): State<Shared>) -> Response {
    by_name(&shared.hub.view(), |process| Some(process.own.as_ref()?.job.healthy))
}

async fn pids(State(shared): State<Shared>) -> Response {
    by_name(&shared.hub.view(), |process| process.pid)
}

fn named(query: Option<&str>) -> Option<String> {
    Query(query).all("name").into_iter().next().filter(|name| !name.is_empty())
}

fn no_name() -> Response {
    answer(StatusCode::BAD_REQUEST, TEXT, Bytes::from_static(b"name is missing: ?name=PROCESS\n"))
}

async fn pid_of(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let Some(name) = named(query.as_deref()) else { return no_name() };
    let view = shared.hub.view();
    match view.find(&name) {
        None => unknown(&view, &name),
        Some(process) => match process.pid {
            Some(pid) => answer(StatusCode::OK, TEXT, format!("{pid}\n").into()),
            None => StatusCode::NO_CONTENT.into_response(),
        },
    }
}

async fn heart_beat(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let Some(name) = named(query.as_deref()) else { return no_name() };
    let Some(controls) = &shared.hub.controls else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let (reply, result) = oneshot::channel();
    let sent = controls.send(Command::HeartBeat { name: name.clone(), reply }).await;
    match (sent, result.await) {
        (Ok(()), Ok(Ok(()))) => {
            shared.hub.record_heartbeat(&name);
            last_heart_beat_of(&shared, &name, StatusCode::ACCEPTED)
        }
        (Ok(()), Ok(Err(ControlError::Unknown(_)))) => unknown(&shared.hub.view(), &name),
        _ => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn last_heart_beat(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let Some(name) = named(query.as_deref()) else { return no_name() };
    let view = shared.hub.view();
    if view.find(&name).is_none() {
        return unknown(&view, &name);
    }
    last_heart_beat_of(&shared, &name, StatusCode::OK)
}

fn last_heart_beat_of(shared: &Shared, name: &str, code: StatusCode) -> Response {
    let last = shared.hub.last_heartbeat(name).map(rfc3339);
    answer(code, JSON, format!("{}\n", json!({ "name": name, "lastHeartBeat": last })).into())
}

// === events ===

async fn events(State(shared): State<Shared>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = Query(query.as_deref());
    let only = query.all("process");
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let streams = accept.is_some_and(|accept| accept.contains(EVENT_STREAM));
    let (form, kind): (fn(&Change) -> Vec<u8>, _) =
        if streams { (event_of_stream, EVENT_STREAM) } else { (json_line, JSON_LINES) };
    // A client that reconnects resumes after its last event.
    let seen = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let (recent, following) = shared.hub.changes();
    // A number above all known ones is from a previous run of sexton.
    let seen = seen.filter(|seen| recent.last().is_some_and(|last| last.number >= *seen));
    let wanted = |it: &&Arc<Change>| is_about(it, &only) && seen.is_none_or(|seen| it.number > seen);
    let recent: Vec<u8> = recent.iter().filter(wanted).flat_map(|change| form(change)).collect();
    if !query.has("follow") && !streams {
        return answer(StatusCode::OK, JSON_LINES, recent.into());
    }
    let follower = Follower { recent: recent.into(), following, views: shared.hub.views(), only, form };
    let frames = stream::unfold(follower, |follower| async {
        follower.next().await.map(|(line, follower)| (Ok::<_, Infallible>(Frame::data(line)), follower))
    });
    with_type(StatusCode::OK, kind, Body::new(StreamBody::new(frames)))
}

fn is_about(change: &Change, only: &[String]) -> bool {
    only.is_empty() || only.contains(&change.process)
}

/// A stream of recent and new events. A slow client misses some, which the numbers show.
struct Follower {
    recent: Bytes,
    following: broadcast::Receiver<Arc<Change>>,
    views: watch::Receiver<Arc<View>>,
    only: Vec<String>,
    /// Formats an event.
    form: fn(&Change) -> Vec<u8>,
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
                // All events have been sent.
                _ = self.views.wait_for(|view| view.over) => return None,
            };
            match received {
                Ok(change) if is_about(&change, &self.only) => {
                    return Some(((self.form)(&change).into(), self));
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

fn json_line(change: &Change) -> Vec<u8> {
    let mut line = serde_json::to_vec(change).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Formats a server-sent event (HTML standard).
fn event_of_stream(change: &Change) -> Vec<u8> {
    let data = serde_json::to_string(change).unwrap_or_default();
    format!("id: {}\nevent: {}\ndata: {data}\n\n", change.number, change.event).into_bytes()
}

pub(super) async fn no_such_path() -> Response {
    const PATHS: &str = "no such path; there are /, /liveness, /readiness, /startup, /metrics, /v1/processes, /v1/events, and for many processes /status, /pids, /pidof, /heartbeat\n";
    answer(StatusCode::NOT_FOUND, TEXT, Bytes::from_static(PATHS.as_bytes()))
}

pub(super) fn answer(code: StatusCode, kind: &'static str, body: Bytes) -> Response {
    with_type(code, kind, Body::from(body))
}

pub(super) fn with_type(code: StatusCode, kind: &'static str, body: Body) -> Response {
    // A cached response of a proxy would defeat the checks.
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (code, headers, body).into_response()
}
