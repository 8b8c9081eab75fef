//! The lock server.
//!
//! | request | response |
//! | --- | --- |
//! | `POST /lease` | 201 with the id, 202 while another holds it |
//! | `POST /keepalive` | 200; 204 if it has expired |
//! | `DELETE /lease/ID` | 200: it is released |
//! | `GET /v1/locks` | all held locks |
//! | `GET /health` | 200, or 503 if the store does not respond |

use std::time::Duration;

use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Router, body::Bytes};
use ensemble::lock::{Acquired, Locks};
use ensemble::{LeaseId, StoreError};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::client::{Claim, TTL_HEADER, WAIT_HEADER};
use net::json::{json_response, no_browsers};
use spec::duration;
use spec::lock::{DEFAULT_TTL, check_ttl};

/// The maximum size of a request body, in bytes.
const LONGEST_BODY: usize = 64 << 10;
/// The maximum size of a holder's description, in bytes: it is kept as long as the lock is held.
const LONGEST_HOLDER: usize = 4 << 10;
/// The maximum wait that a client may request.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The time limit of a health check of the store.
const WELL_WITHIN: Duration = Duration::from_secs(2);

/// The routes.
pub fn router(locks: Locks) -> Router {
    Router::new()
        .route("/lease", post(acquire))
        .route("/lease/{id}", delete(release))
        .route("/keepalive", post(keep_alive))
        .route("/health", get(health))
        .route("/v1/locks", get(list))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(from_fn(no_browsers))
        .with_state(locks)
}

fn wrong(why: impl Into<String>) -> Response {
    json_response(StatusCode::BAD_REQUEST, &json!({"error": why.into()}))
}

fn failed(error: &StoreError) -> Response {
    let code = if error.is_retryable() {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    log::warn!("{error}");
    json_response(code, &json!({"error": error.to_string()}))
}

/// A duration in a header: in the format of Go, or a number of seconds.
pub(crate) fn span(headers: &HeaderMap, name: &str) -> Result<Option<Duration>, String> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().map_err(|_| format!("{name} is no text"))?;
    match text.parse::<u64>() {
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds))),
        Err(_) => duration::parse(text).map(Some).map_err(|error| format!("{name} '{text}': {error}")),
    }
}

async fn acquire(
    State(locks): State<Locks>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(error) => return wrong(error.body_text()),
    };
    let claim: Claim = match serde_json::from_slice(&body) {
        Ok(claim) => claim,
        Err(error) => return wrong(format!("expected JSON with key, value, labels and timestamp: {error}")),
    };
    let (ttl, wait) = match (span(&headers, TTL_HEADER), span(&headers, WAIT_HEADER)) {
        (Ok(ttl), Ok(wait)) => (ttl.unwrap_or(DEFAULT_TTL), wait.unwrap_or_default().min(LONGEST_WAIT)),
        (Err(why), _) | (_, Err(why)) => return wrong(why),
    };
    let said = &claim.holder;
    let labels: usize = said.labels.iter().map(|(name, value)| name.len() + value.len()).sum();
    if said.value.len() + labels + said.timestamp.as_ref().map_or(0, String::len) > LONGEST_HOLDER {
        return wrong(format!("value, labels and timestamp are longer than {LONGEST_HOLDER} bytes"));
    }
    if let Err(why) = check_ttl(ttl)
        .map_err(|why| format!("{TTL_HEADER}: {why}"))
        .and_then(|()| spec::lock::check_name(&claim.key))
    {
        return wrong(why);
    }
    match locks.acquire(&claim.key, &claim.holder, ttl, Instant::now() + wait).await {
        Ok(Acquired::Held { lease, ttl, fence }) => json_response(
            StatusCode::CREATED,
            &json!({"id": lease.to_string(), "key": claim.key, "fence": fence.0, "ttl": format!("{ttl:?}")}),
        ),
        Ok(Acquired::Taken(taken)) => json_response(StatusCode::ACCEPTED, &shown(&taken)),
        Err(error) => failed(&error),
    }
}

fn shown(taken: &ensemble::lock::Taken) -> Value {
    let mut shown = serde_json::to_value(&taken.holder).unwrap_or_default();
    shown["key"] = taken.name.as_str().into();
    shown["fence"] = taken.fence.0.into();
    shown
}

/// The id in a body: JSON with `id`, or the id itself.
fn id_of(body: &[u8]) -> Option<LeaseId> {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(map)) => map.get("id")?.as_str()?.to_owned(),
        Ok(Value::String(text)) => text,
        _ => String::from_utf8(body.to_vec()).ok()?,
    };
    text.trim().parse().ok()
}

async fn keep_alive(State(locks): State<Locks>, body: Result<Bytes, BytesRejection>) -> Response {
    let Some(lease) = body.ok().and_then(|body| id_of(&body)) else {
        return wrong("expected JSON with the id that POST /lease has given");
    };
    match locks.keep_alive(lease).await {
        Ok(ttl) => {
            json_response(StatusCode::OK, &json!({"id": lease.to_string(), "ttl": format!("{ttl:?}")}))
        }
        Err(StoreError::LeaseGone(_)) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => failed(&error),
    }
}

async fn release(State(locks): State<Locks>, Path(id): Path<String>) -> Response {
    let Ok(lease) = id.parse::<LeaseId>() else {
        return wrong("expected the id that POST /lease has given");
    };
    match locks.release(lease).await {
        Ok(()) => json_response(StatusCode::OK, &json!({"id": id})),
        Err(error) => failed(&error),
    }
}

async fn list(State(locks): State<Locks>) -> Response {
    match locks.list().await {
        Ok(all) => json_response(StatusCode::OK, &all.iter().map(shown).collect()),
        Err(error) => failed(&error),
    }
}

async fn health(State(locks): State<Locks>) -> Response {
    match timeout(WELL_WITHIN, locks.look()).await {
        Ok(Ok(_)) => json_response(StatusCode::OK, &json!({"status": "ok"})),
        Ok(Err(error)) => {
            json_response(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": error.to_string()}))
        }
        Err(_) => json_response(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({"error": format!("the store did not answer within {WELL_WITHIN:?}")}),
        ),
    }
}
