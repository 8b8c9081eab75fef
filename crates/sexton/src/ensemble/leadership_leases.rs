//! Leases on the leadership, for processes that run on the leader: a client on this machine is granted a lease while this
//! pod leads, and keeps it alive like that of a lock ([`crate::locks::client`]).
//!
//! ```text
//! leadership   0 ............ 3/5 T: given up ........ 9/10 T: the guard kills ... T: another pod may lead
//! lease on it       granted before that ──► 9/10 of T/3 later the guard of its holder kills
//! ```
//!
//! A lease lasts for at most a third of that of the leadership, and is granted and renewed only before the leadership would
//! be given up; so no process with such a lease exists when another pod may lead. The leadership is released voluntarily
//! only when no lease on it is left.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, post};
use axum::{Extension, Router, body::Bytes};
use engine::RunId;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::routes::ApiState;
use crate::locks::client::{TTL_HEADER, WAIT_HEADER};
use crate::locks::guard::Guard;
use crate::locks::server::span;
use engine::lease::{BootInstant, LeaseTiming};
use linux::clock::boot_now;
use net::json::json_response;
use net::server::Caller;

/// The maximum wait that a client may request.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The maximum number of leases.
const MAX: usize = 1000;

/// The leases on the leadership of this pod.
#[derive(Debug)]
pub struct LeadershipLeases {
    /// The key that clients must know: they belong to the same `up`.
    key: Option<String>,
    guard: Guard,
    books: Mutex<Books>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Books {
    led: Option<Led>,
    leases: BTreeMap<String, (BootInstant, Duration)>,
    newest: u64,
}

#[derive(Debug, Clone, Copy)]
struct Led {
    run: RunId,
    fence: u64,
    ttl: Duration,
}

/// The response to a request for a lease.
#[derive(Debug, PartialEq, Eq)]
enum Granted {
    Yes(String, u64),
    NotLeading,
    TooLong(Duration),
    TooMany,
}

/// The response to a keepalive.
#[derive(Debug, PartialEq, Eq)]
enum Kept {
    Yes,
    /// It continues without extension: its holder stops in time.
    NotNow,
    Gone,
}

impl Books {
    fn sweep(&mut self, now: BootInstant) {
        self.leases.retain(|_, (lapses, _)| *lapses > now);
    }

    /// Whether the leadership would not be given up yet. `until` is when the guard would end it.
    fn leads(&self, until: Option<BootInstant>, now: BootInstant) -> Option<Led> {
        let led = self.led?;
        let pace = LeaseTiming::of(led.ttl);
        let margin = pace.guard_after() - pace.stop_after();
        until.is_some_and(|until| now + margin < until).then_some(led)
    }

    fn grant(&mut self, ttl: Duration, until: Option<BootInstant>, now: BootInstant) -> Granted {
        self.sweep(now);
        let Some(led) = self.leads(until, now) else { return Granted::NotLeading };
        if ttl > spec::ensemble::derived_lease_ttl(led.ttl) {
            return Granted::TooLong(spec::ensemble::derived_lease_ttl(led.ttl));
        }
        if self.leases.len() >= MAX {
            return Granted::TooMany;
        }
        self.newest += 1;
        // Unique among all incarnations of this program.
        let id = format!("{}-{}-{}", std::process::id(), led.fence, self.newest);
        self.leases.insert(id.clone(), (now + ttl, ttl));
        Granted::Yes(id, led.fence)
    }

    fn keep_alive(&mut self, id: &str, until: Option<BootInstant>, now: BootInstant) -> Kept {
        self.sweep(now);
        let leads = self.leads(until, now).is_some();
        match self.leases.get_mut(id) {
            None => Kept::Gone,
            Some(_) if !leads => Kept::NotNow,
            Some((lapses, ttl)) => {
                *lapses = now + *ttl;
                Kept::Yes
            }
        }
    }
}

impl LeadershipLeases {
    /// Leases on a leadership under this guard, for clients that know the key.
    #[must_use]
    pub fn new(key: Option<String>, guard: Guard) -> Self {
        Self { key, guard, books: Mutex::default(), changed: watch::Sender::new(()) }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until(&self, books: &Books) -> Option<BootInstant> {
        books.led.and_then(|led| self.guard.until(led.run))
    }

    /// The leadership begins: its run, and the time to live of its lease.
    pub(super) fn leads(&self, run: RunId, fence: u64, ttl: Duration) {
        self.books().led = Some(Led { run, fence, ttl });
        self.changed.send_replace(());
    }

    /// The leadership ends: no lease is extended.
    pub(super) fn ends(&self) {
        self.books().led = None;
        self.changed.send_replace(());
    }

    /// When the last lease expires, if there is one.
    pub(super) fn until_clear(&self) -> Option<BootInstant> {
        let mut books = self.books();
        books.sweep(boot_now());
        books.leases.values().map(|(lapses, _)| *lapses).max()
    }

    /// Notified of changes.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn grant(&self, ttl: Duration) -> Granted {
        let mut books = self.books();
        let until = self.until(&books);
        books.grant(ttl, until, boot_now())
    }

    fn keep_alive(&self, id: &str) -> Kept {
        let mut books = self.books();
        let until = self.until(&books);
        books.keep_alive(id, until, boot_now())
    }

    fn release(&self, id: &str) {
        self.books().leases.remove(id);
        self.changed.send_replace(());
    }
}

/// The routes for clients on this machine.
pub(super) fn router() -> Router<ApiState> {
    Router::new()
        .route("/lease", post(acquire))
        .route("/lease/{id}", delete(release))
        .route("/keepalive", post(keep_alive))
}

fn refused(code: StatusCode, why: impl Into<String>) -> Response {
    json_response(code, &json!({"error": why.into()}))
}

/// The response to clients on other machines.
fn from_afar(caller: Caller) -> Option<Response> {
    (!caller.local).then(|| refused(StatusCode::FORBIDDEN, "only from this machine"))
}

async fn acquire(
    State(table): State<ApiState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(refused) = from_afar(caller) {
        return refused;
    }
    let claim: Option<Value> = serde_json::from_slice(&body).ok();
    let key = claim.as_ref().and_then(|claim| claim["key"].as_str());
    if key.is_none() || key != table.leadership_leases.key.as_deref() {
        let why = "this ensemble belongs to another sexton up: only processes of that one can depend on its leadership";
        return refused(StatusCode::CONFLICT, why);
    }
    let (ttl, wait) = match (span(&headers, TTL_HEADER), span(&headers, WAIT_HEADER)) {
        (Ok(ttl), Ok(wait)) => (ttl.unwrap_or_default(), wait.unwrap_or_default().min(LONGEST_WAIT)),
        (Err(why), _) | (_, Err(why)) => return refused(StatusCode::BAD_REQUEST, why),
    };
    let until = Instant::now() + wait;
    let mut changes = table.leadership_leases.changes();
    loop {
        match table.leadership_leases.grant(ttl) {
            Granted::Yes(id, fence) => {
                return json_response(StatusCode::CREATED, &json!({"id": id, "key": key, "fence": fence}));
            }
            Granted::TooLong(longest) => {
                let why = format!("{TTL_HEADER}: expected {longest:?} at most, a third of the leadership's");
                return refused(StatusCode::BAD_REQUEST, why);
            }
            Granted::TooMany => return refused(StatusCode::SERVICE_UNAVAILABLE, format!("{MAX} hold one")),
            Granted::NotLeading => {}
        }
        if !matches!(timeout_at(until, changes.changed()).await, Ok(Ok(()))) {
            return json_response(
                StatusCode::ACCEPTED,
                &json!({"key": key, "value": "another pod of the ensemble"}),
            );
        }
    }
}

async fn keep_alive(
    State(table): State<ApiState>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Response {
    if let Some(refused) = from_afar(caller) {
        return refused;
    }
    let parsed: Option<Value> = serde_json::from_slice(&body).ok();
    let id = parsed.as_ref().and_then(|body| body["id"].as_str()).unwrap_or_default();
    match table.leadership_leases.keep_alive(id) {
        Kept::Yes => json_response(StatusCode::OK, &json!({"id": id})),
        Kept::NotNow => refused(StatusCode::SERVICE_UNAVAILABLE, "this pod does not lead any more"),
        Kept::Gone => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn release(
    State(table): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Response {
    if let Some(refused) = from_afar(caller) {
        return refused;
    }
    table.leadership_leases.release(&id);
    json_response(StatusCode::OK, &json!({"id": id}))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    proptest! {
        /// Whenever requests arrive, a holder with its own clock is gone before another pod may lead.
        #[test]
        fn no_lease_on_a_leadership_outlives_it(
            leadership in 3u64..100,
            part in 1u32..40,
            asks in proptest::collection::vec(0u64..2_000, 1..40),
            renewals in proptest::collection::vec(any::<bool>(), 40),
        ) {
            let ttl = SECOND * u32::try_from(leadership).unwrap_or(3);
            let lease = ttl / part.max(3);
            let mut books = Books { led: Some(Led { run: RunId(1), fence: 7, ttl }), ..Books::default() };
            let pace = LeaseTiming::of(ttl);
            let (mut now, mut confirmed) = (BootInstant(1_000_000_000_000), BootInstant(1_000_000_000_000));
            let mut id = None;
            for (ask, renewed) in asks.iter().zip(renewals) {
                now = now + Duration::from_millis(*ask);
                if renewed && now < confirmed + pace.stop_after() {
                    confirmed = now;
                }
                let until = Some(confirmed + pace.guard_after());
                let well = match &id {
                    None => match books.grant(lease, until, now) {
                        Granted::Yes(granted, fence) => {
                            prop_assert_eq!(fence, 7);
                            id = Some(granted);
                            true
                        }
                        other => {
                            prop_assert_eq!(other, Granted::NotLeading);
                            false
                        }
                    },
                    Some(held) => match books.keep_alive(held, until, now) {
                        Kept::Yes => true,
                        Kept::NotNow => false,
                        Kept::Gone => {
                            id = None;
                            false
                        }
                    },
                };
                if well {
                    // It counts from the time when the request was sent.
                    let gone = now + LeaseTiming::of(lease).guard_after();
                    prop_assert!(gone <= confirmed + pace.guard_after(), "{lease:?} of {ttl:?}");
                }
            }
        }
    }

    #[test]
    fn too_long_and_unknown_leases_are_rejected() {
        let mut books = Books::default();
        let now = BootInstant(1_000_000_000_000);
        let until = Some(now + SECOND * 9);
        assert_eq!(books.grant(SECOND, until, now), Granted::NotLeading);
        books.led = Some(Led { run: RunId(1), fence: 7, ttl: SECOND * 9 });
        assert_eq!(books.grant(SECOND * 4, until, now), Granted::TooLong(SECOND * 3));
        assert_eq!(books.keep_alive("x", until, now), Kept::Gone);
        let Granted::Yes(id, 7) = books.grant(SECOND * 3, until, now) else { panic!("not granted") };
        books.led = None;
        assert_eq!(books.keep_alive(&id, until, now + SECOND), Kept::NotNow);
        assert_eq!(books.keep_alive(&id, until, now + SECOND * 3), Kept::Gone);
    }
}
