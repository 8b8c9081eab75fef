//! HTTP API of a pod of an ensemble, in addition to the routes of every status socket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Router, body::Bytes};
use ensemble::member::{Keepalive, LONGEST};
use ensemble::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::commands::{self, Outcome};
use super::counters::Counters;
use super::leadership_leases::{self, LeadershipLeases};
use super::proof::{self, AccessPolicy, Refusal};
use crate::probes::SpawnSender;
use net::json::{json_response, no_browsers};
use net::query::Query;
use net::server::Caller;

/// Status of the leadership and of callbacks.
#[derive(Debug, Clone, Default)]
pub struct LeaderStatus {
    /// Fencing token, if this pod is the leader.
    pub fence: Option<u64>,
    /// Reason why this pod is not the leader.
    pub why: String,
    /// Output of the last callback.
    pub state: Value,
    /// The last runs, oldest first.
    pub callbacks: Vec<Value>,
}

/// State shared by the handlers.
#[derive(Clone)]
pub struct ApiState {
    /// Name of this pod.
    pub id: String,
    /// Name of the ensemble.
    pub app: String,
    /// The members, if this pod is a master.
    pub registry: Option<Arc<Registry>>,
    pub leader: Arc<Mutex<LeaderStatus>>,
    pub counters: Arc<Counters>,
    /// Requests to start processes.
    pub runner: SpawnSender,
    pub policy: Arc<AccessPolicy>,
    /// User and group of commands, if set.
    pub invoke_user: Option<(u32, u32)>,
    /// Leases that depend on the leadership.
    pub leadership_leases: Arc<LeadershipLeases>,
    /// Requests to shut down.
    pub down: mpsc::UnboundedSender<()>,
}

impl ApiState {
    /// Locks the status of the leadership.
    pub fn leader_status(&self) -> MutexGuard<'_, LeaderStatus> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles a keepalive from a client with these credentials.
    pub(super) async fn take(&self, text: &[u8], credentials: &proof::Credentials) -> Result<(), Refused> {
        let taken = self.try_take(text, credentials).await;
        if taken.is_ok() { &self.counters.keepalives_received } else { &self.counters.keepalives_refused }
            .inc();
        taken
    }

    async fn try_take(&self, text: &[u8], credentials: &proof::Credentials) -> Result<(), Refused> {
        let Some(registry) = &self.registry else { return Err(Refused::Invalid(NOT_A_MASTER.to_owned())) };
        self.policy.may_report(credentials).map_err(|refusal| Refused::Unauthorized(refusal.why()))?;
        let keepalive =
            Keepalive::read(text, &self.app).map_err(|error| Refused::Invalid(error.to_string()))?;
        registry.report(&keepalive).await.map_err(|error| Refused::Store(error.to_string()))
    }
}

/// Why a keepalive is refused.
#[derive(Debug)]
pub(super) enum Refused {
    /// The credentials are missing or wrong.
    Unauthorized(&'static str),
    /// The keepalive is invalid.
    Invalid(String),
    /// The store failed; the member has to send it again.
    Store(String),
}

/// Creates the routes of the TCP socket.
pub fn router(api: ApiState) -> Router {
    Router::new()
        .route("/ping", put(ping))
        .route("/state", get(state))
        .route("/script", put(script))
        .route("/down", post(down))
        .route("/v1/invoke", post(invoke))
        .route("/v1/pods", get(pods))
        .route("/v1/leader", get(leader))
        .route("/v1/digest", get(digest))
        .route("/v1/callbacks", get(callbacks))
        .merge(leadership_leases::router())
        .layer(DefaultBodyLimit::max(LONGEST))
        .layer(from_fn(no_browsers))
        .with_state(api)
}

const NOT_A_MASTER: &str = "this pod is not a master: it has no list";

fn not_a_master() -> Response {
    json_response(StatusCode::NOT_FOUND, &json!({"error": NOT_A_MASTER}))
}

async fn ping(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if api.registry.is_none() {
        return not_a_master();
    }
    let taken = match body {
        Ok(body) => api.take(&body, &proof::Credentials::with(&headers, caller)).await,
        Err(error) => {
            api.counters.keepalives_refused.inc();
            Err(Refused::Invalid(error.body_text()))
        }
    };
    match taken {
        Ok(()) => json_response(StatusCode::OK, &json!("OK")),
        Err(Refused::Unauthorized(why)) => json_response(StatusCode::UNAUTHORIZED, &json!({"error": why})),
        Err(Refused::Invalid(why)) => json_response(StatusCode::BAD_REQUEST, &json!({"error": why})),
        Err(Refused::Store(why)) => json_response(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": why})),
    }
}

async fn state(State(api): State<ApiState>) -> Response {
    json_response(StatusCode::OK, &api.leader_status().state)
}

async fn pods(State(api): State<ApiState>, RawQuery(query): RawQuery) -> Response {
    let Some(registry) = &api.registry else { return not_a_master() };
    let query = Query(query.as_deref());
    let number = |key: &str| match query.all(key).pop() {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| format!("{key} '{text}': expected a number")),
    };
    let (after, limit) = match (number("after"), number("limit")) {
        (Ok(after), Ok(limit)) => (after.unwrap_or(0), limit.unwrap_or(u64::MAX)),
        (Err(why), _) | (_, Err(why)) => {
            return json_response(StatusCode::BAD_REQUEST, &json!({"error": why}));
        }
    };
    let list = registry.roster().page(after, usize::try_from(limit).unwrap_or(usize::MAX));
    (StatusCode::OK, [(CONTENT_TYPE, "application/json")], format!("{list}\n")).into_response()
}

async fn digest(State(api): State<ApiState>) -> Response {
    let Some(registry) = &api.registry else { return not_a_master() };
    let (digest, pods) = {
        let mut roster = registry.roster();
        (roster.digest(), roster.len())
    };
    json_response(StatusCode::OK, &json!({"digest": *digest, "pods": pods}))
}

async fn leader(State(api): State<ApiState>) -> Response {
    if api.registry.is_none() {
        return not_a_master();
    }
    let status = api.leader_status();
    json_response(
        StatusCode::OK,
        &json!({"id": api.id, "leads": status.fence.is_some(), "fence": status.fence, "why": status.why}),
    )
}

async fn callbacks(State(api): State<ApiState>) -> Response {
    if api.registry.is_none() {
        return not_a_master();
    }
    json_response(StatusCode::OK, &Value::Array(api.leader_status().callbacks.clone()))
}

async fn outcome(
    api: &ApiState,
    credentials: &proof::Credentials,
    body: Result<Bytes, BytesRejection>,
) -> Result<Outcome, (StatusCode, String)> {
    api.policy.may_invoke(credentials).map_err(|refusal| {
        let code = match refusal {
            Refusal::Off => StatusCode::FORBIDDEN,
            Refusal::Unauthorized => StatusCode::UNAUTHORIZED,
        };
        (code, refusal.why().to_owned())
    })?;
    let wrong = |why: String| (StatusCode::BAD_REQUEST, why);
    let body = body.map_err(|error| wrong(error.body_text()))?;
    commands::run(&body, api.invoke_user, &api.runner).await.map_err(wrong)
}

/// Shuts down; only for local clients.
async fn down(State(api): State<ApiState>, Extension(caller): Extension<Caller>) -> Response {
    if !caller.local {
        return json_response(StatusCode::FORBIDDEN, &json!({"error": "only from this machine"}));
    }
    // Fails if it is shutting down already.
    let _ = api.down.send(());
    json_response(StatusCode::OK, &json!("OK"))
}

async fn script(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match outcome(&api, &proof::Credentials::with(&headers, caller), body).await {
        Ok(outcome) => outcome.text().into_response(),
        Err((code, why)) => json_response(code, &json!({"error": why})),
    }
}

async fn invoke(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match outcome(&api, &proof::Credentials::with(&headers, caller), body).await {
        Ok(outcome) => json_response(StatusCode::OK, &outcome.json()),
        Err((code, why)) => json_response(code, &json!({"error": why})),
    }
}
