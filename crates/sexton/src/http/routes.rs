//! Which path means what.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::sync::{broadcast, watch};

use super::health::{self, Question};
use super::status;
use crate::config::Answers;
use crate::config::duration;
use crate::hub::{Change, Hub};
use crate::metrics;
use crate::view::View;

const JSON: &str = "application/json";
const JSON_LINES: &str = "application/x-ndjson";
const TEXT: &str = "text/plain; charset=utf-8";

#[derive(Debug, Clone)]
struct Shared {
    hub: Arc<Hub>,
    answers: Answers,
}

/// The routes over what this hub knows.
pub fn router(hub: Arc<Hub>, answers: Answers) -> Router {
    let router = Router::new()
        .route("/", get(state))
        .route("/liveness", get(|shared, query| health(shared, query, Question::Live)))
        .route("/readiness", get(|shared, query| health(shared, query, Question::Ready)))
        .route("/startup", get(|shared, query| health(shared, query, Question::Started)))
        .route("/metrics", get(metrics_text))
        .route("/v1/process", get(process))
        .route("/v1/events", get(events));
    let router = if answers.any_path { router.fallback(get(state)) } else { router.fallback(no_such_path) };
    router.with_state(Shared { hub, answers })
}

async fn state(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let list = shared.answers.list || Query(query.as_deref()).has("list");
    let body = status::state(&shared.hub.view(), list);
    answer(StatusCode::OK, JSON, body)
}

async fn process(State(shared): State<Shared>) -> Response {
    answer(StatusCode::OK, JSON, status::processes(&shared.hub.view()))
}

async fn metrics_text(State(shared): State<Shared>) -> Response {
    let text = shared.hub.metrics.text(&shared.hub.view());
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
    match health::ask(&shared.hub, question, patience).await {
        Ok(()) => answer(StatusCode::OK, TEXT, Bytes::from_static(b"ok\n")),
        Err(reason) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n").into()),
    }
}

async fn events(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let (recent, following) = shared.hub.changes();
    let recent: Vec<u8> = recent.iter().flat_map(|change| json_line(change)).collect();
    if !Query(query.as_deref()).has("follow") {
        return answer(StatusCode::OK, JSON_LINES, recent.into());
    }
    let follower = Follower { recent: recent.into(), following, views: shared.hub.views() };
    let frames = stream::unfold(follower, |follower| async {
        follower.next().await.map(|(line, follower)| (Ok::<_, Infallible>(Frame::data(line)), follower))
    });
    with_type(StatusCode::OK, JSON_LINES, Body::new(StreamBody::new(frames)))
}

/// What was told, and then what is told. A follower that does not keep up misses some; the numbers show it.
struct Follower {
    recent: Bytes,
    following: broadcast::Receiver<Arc<Change>>,
    views: watch::Receiver<Arc<View>>,
}

impl Follower {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let recent = std::mem::take(&mut self.recent);
        if !recent.is_empty() {
            return Some((recent, self));
        }
        loop {
            let told = tokio::select! {
                biased;
                told = self.following.recv() => told,
                // All has been told that there was to tell.
                _ = self.views.wait_for(|view| view.over) => return None,
            };
            match told {
                Ok(change) => return Some((json_line(&change).into(), self)),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
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

async fn no_such_path() -> Response {
    const PATHS: &str =
        "no such path; there are /, /liveness, /readiness, /startup, /metrics, /v1/process, /v1/events\n";
    answer(StatusCode::NOT_FOUND, TEXT, Bytes::from_static(PATHS.as_bytes()))
}

fn answer(code: StatusCode, kind: &'static str, body: Bytes) -> Response {
    with_type(code, kind, Body::from(body))
}

fn with_type(code: StatusCode, kind: &'static str, body: Body) -> Response {
    // A proxy that kept an old answer would make every check worthless.
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (code, headers, body).into_response()
}

/// The words behind the question mark.
struct Query<'a>(Option<&'a str>);

impl Query<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let mut words =
            self.0.unwrap_or_default().split('&').map(|word| word.split_once('=').unwrap_or((word, "")));
        words.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "0" | "false"))
    }
}
