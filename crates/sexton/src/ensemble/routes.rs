//! What an ensemble's pod answers, beside what every status socket answers.

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
use super::proof::{self, AccessPolicy, Refusal};
use super::tenants::{self, Tenants};
use crate::probes::SpawnSender;
use net::json::{no_browsers, told};
use net::query::Query;
use net::server::Caller;

/// What is shown of the leader and of callbacks.
#[derive(Debug, Clone, Default)]
pub struct LeaderStatus {
    /// We lead, with this number.
    pub fence: Option<u64>,
    /// Why we do not.
    pub why: String,
    /// What the last callback printed.
    pub state: Value,
    /// What the last runs were, the newest last.
    pub callbacks: Vec<Value>,
}

/// All that answers are made of.
#[derive(Clone)]
pub struct ApiState {
    /// Our name, and that of the ensemble.
    pub id: String,
    /// The name of the ensemble.
    pub app: String,
    /// The members, where we are a master.
    pub registry: Option<Arc<Registry>>,
    /// What is shown beside.
    pub shown: Arc<Mutex<LeaderStatus>>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The way to whoever starts processes.
    pub runner: SpawnSender,
    /// What has to be shown for what.
    pub proof: Arc<AccessPolicy>,
    /// The user and the group that commands run as, if they are not ours.
    pub invoke_user: Option<(u32, u32)>,
    /// Those who run by our leadership.
    pub tenants: Arc<Tenants>,
    /// Where a wish to end goes.
    pub down: mpsc::UnboundedSender<()>,
}

impl ApiState {
    /// What is shown.
    pub fn shown(&self) -> MutexGuard<'_, LeaderStatus> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a keepalive of whoever shows this.
    pub(super) async fn take(&self, text: &[u8], shown: &proof::Credentials) -> Result<(), Refused> {
        let taken = self.taken(text, shown).await;
        if taken.is_ok() { &self.counters.keepalives_received } else { &self.counters.keepalives_refused }
            .inc();
        taken
    }

    async fn taken(&self, text: &[u8], shown: &proof::Credentials) -> Result<(), Refused> {
        let Some(registry) = &self.registry else { return Err(Refused::Wrong(NO_MASTER.to_owned())) };
        self.proof.may_report(shown).map_err(|refusal| Refused::Unproven(refusal.why()))?;
        let keepalive =
            Keepalive::read(text, &self.app).map_err(|error| Refused::Wrong(error.to_string()))?;
        registry.report(&keepalive).await.map_err(|error| Refused::Store(error.to_string()))
    }
}

/// Why a keepalive is not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// Whoever sends it has shown nothing that is enough.
    Unproven(&'static str),
    /// It is none.
    Wrong(String),
    /// The store does not take it; it is to be sent again.
    Store(String),
}

/// What is answered over TCP.
pub fn router(table: ApiState) -> Router {
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
        .merge(tenants::router())
        .layer(DefaultBodyLimit::max(LONGEST))
        .layer(from_fn(no_browsers))
        .with_state(table)
}

const NO_MASTER: &str = "this pod is no master: it keeps no list";

fn no_master() -> Response {
    told(StatusCode::NOT_FOUND, &json!({"error": NO_MASTER}))
}

async fn ping(
    State(table): State<ApiState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if table.registry.is_none() {
        return no_master();
    }
    let taken = match body {
        Ok(body) => table.take(&body, &proof::Credentials::with(&headers, caller)).await,
        Err(error) => {
            table.counters.keepalives_refused.inc();
            Err(Refused::Wrong(error.body_text()))
        }
    };
    match taken {
        Ok(()) => told(StatusCode::OK, &json!("OK")),
        Err(Refused::Unproven(why)) => told(StatusCode::UNAUTHORIZED, &json!({"error": why})),
        Err(Refused::Wrong(why)) => told(StatusCode::BAD_REQUEST, &json!({"error": why})),
        Err(Refused::Store(why)) => told(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": why})),
    }
}

async fn state(State(table): State<ApiState>) -> Response {
    told(StatusCode::OK, &table.shown().state)
}

async fn pods(State(table): State<ApiState>, RawQuery(query): RawQuery) -> Response {
    let Some(registry) = &table.registry else { return no_master() };
    let query = Query(query.as_deref());
    let number = |key: &str| match query.all(key).pop() {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| format!("{key} '{text}': expected a number")),
    };
    let (after, limit) = match (number("after"), number("limit")) {
        (Ok(after), Ok(limit)) => (after.unwrap_or(0), limit.unwrap_or(u64::MAX)),
        (Err(why), _) | (_, Err(why)) => return told(StatusCode::BAD_REQUEST, &json!({"error": why})),
    };
    let list = registry.roster().page(after, usize::try_from(limit).unwrap_or(usize::MAX));
    (StatusCode::OK, [(CONTENT_TYPE, "application/json")], format!("{list}\n")).into_response()
}

async fn digest(State(table): State<ApiState>) -> Response {
    let Some(registry) = &table.registry else { return no_master() };
    let (digest, pods) = {
        let mut roster = registry.roster();
        (roster.digest(), roster.len())
    };
    told(StatusCode::OK, &json!({"digest": *digest, "pods": pods}))
}

async fn leader(State(table): State<ApiState>) -> Response {
    if table.registry.is_none() {
        return no_master();
    }
    let shown = table.shown();
    told(
        StatusCode::OK,
        &json!({"id": table.id, "leads": shown.fence.is_some(), "fence": shown.fence, "why": shown.why}),
    )
}

async fn callbacks(State(table): State<ApiState>) -> Response {
    if table.registry.is_none() {
        return no_master();
    }
    told(StatusCode::OK, &Value::Array(table.shown().callbacks.clone()))
}

async fn outcome(
    table: &ApiState,
    shown: &proof::Credentials,
    body: Result<Bytes, BytesRejection>,
) -> Result<Outcome, (StatusCode, String)> {
    table.proof.may_invoke(shown).map_err(|refusal| {
        let code = match refusal {
            Refusal::Off => StatusCode::FORBIDDEN,
            Refusal::Unproven => StatusCode::UNAUTHORIZED,
        };
        (code, refusal.why().to_owned())
    })?;
    let wrong = |why: String| (StatusCode::BAD_REQUEST, why);
    let body = body.map_err(|error| wrong(error.body_text()))?;
    commands::run(&body, table.invoke_user, &table.runner).await.map_err(wrong)
}

/// Only from this machine.
async fn down(State(table): State<ApiState>, Extension(caller): Extension<Caller>) -> Response {
    if !caller.near {
        return told(StatusCode::FORBIDDEN, &json!({"error": "only from this machine"}));
    }
    // It is ending already: so be it.
    let _ = table.down.send(());
    told(StatusCode::OK, &json!("OK"))
}

async fn script(
    State(table): State<ApiState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match outcome(&table, &proof::Credentials::with(&headers, caller), body).await {
        Ok(outcome) => outcome.text().into_response(),
        Err((code, why)) => told(code, &json!({"error": why})),
    }
}

async fn invoke(
    State(table): State<ApiState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match outcome(&table, &proof::Credentials::with(&headers, caller), body).await {
        Ok(outcome) => told(StatusCode::OK, &outcome.json()),
        Err((code, why)) => told(code, &json!({"error": why})),
    }
}
