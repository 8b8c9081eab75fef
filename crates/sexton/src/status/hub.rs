//! The published status: the newest [`View`], and a stream of [`Change`]s.
//!
//! There is one writer (the supervisor, after each step of the engine). Readers never wait for it and never query the
//! engine.

use net::server::ConnectionMetrics;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use crate::control::Controls;
use crate::logs::buffer as logs;
use crate::status::View;
use crate::status::metrics::Metrics;
use linux::resource_usage::ResourceUsage;
use spec::program::Pid;

/// Number of kept changes, and how far a subscriber may lag behind.
const KEPT: usize = 256;
/// Number of kept changes of each process, so that one that restarts often does not displace the others.
const KEPT_OF_EACH: usize = 12;

/// Cached resource usage by PID and its time. The lock makes requests measure one at a time.
pub type Usage = tokio::sync::Mutex<Option<(Instant, Arc<BTreeMap<Pid, ResourceUsage>>)>>;

/// An event in the format of the API.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Counts from 1; a gap shows a subscriber that it has missed some.
    pub number: u64,
    /// Time, in RFC 3339.
    pub at: String,
    /// Name of the process.
    pub process: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Stable label of the event.
    pub event: &'static str,
    /// Stable label of the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// Text for people.
    pub message: String,
}

/// The published status and events.
#[derive(Debug)]
pub struct Hub {
    latest: watch::Sender<Arc<View>>,
    changes: broadcast::Sender<Arc<Change>>,
    recent: Mutex<Recent>,
    pub metrics: Metrics,
    /// Recent output of the processes.
    pub logs: Arc<logs::Recent>,
    /// Cached resource usage.
    pub usage: Usage,
    /// Requests to the supervisor, if it accepts any.
    pub controls: Option<Controls>,
}

#[derive(Debug, Default)]
struct Recent {
    newest: u64,
    kept: VecDeque<Arc<Change>>,
    /// The last changes of each process.
    of: BTreeMap<String, VecDeque<Arc<Change>>>,
    /// Time of the last heartbeat of each process.
    heartbeats: BTreeMap<String, Timestamp>,
}

impl ConnectionMetrics for Hub {
    fn opened(&self) {
        self.metrics.connections.inc();
    }

    fn closed(&self) {
        self.metrics.connections.dec();
    }

    fn cut(&self) {
        self.metrics.connections.dec();
        self.metrics.connections_cut.inc();
    }
}

impl Hub {
    /// Creates a hub with an initial view.
    #[must_use]
    pub fn new(view: View) -> Self {
        Self {
            latest: watch::Sender::new(Arc::new(view)),
            changes: broadcast::Sender::new(KEPT),
            recent: Mutex::default(),
            metrics: Metrics::new(),
            logs: Arc::default(),
            usage: Usage::default(),
            controls: None,
        }
    }

    /// Returns the newest view.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.latest.borrow())
    }

    /// Subscribes to views, starting with the newest.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.latest.subscribe()
    }

    /// Publishes a view.
    pub fn publish(&self, view: View) {
        self.latest.send_replace(Arc::new(view));
    }

    /// Publishes an event, with the next number and the current time.
    pub fn publish_event(&self, mut change: Change) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.newest += 1;
        change.number = recent.newest;
        change.at = linux::clock::rfc3339(Timestamp::now());
        let change = Arc::new(change);
        if recent.kept.len() == KEPT {
            recent.kept.pop_front();
        }
        recent.kept.push_back(Arc::clone(&change));
        let own = recent.of.entry(change.process.clone()).or_default();
        if own.len() == KEPT_OF_EACH {
            own.pop_front();
        }
        own.push_back(Arc::clone(&change));
        // Fails if there are no subscribers.
        let _ = self.changes.send(change);
    }

    /// Records a heartbeat of a process.
    pub fn record_heartbeat(&self, process: &str) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.heartbeats.insert(process.to_owned(), Timestamp::now());
    }

    /// Returns the time of the last heartbeat of a process.
    #[must_use]
    pub fn last_heartbeat(&self, process: &str) -> Option<Timestamp> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).heartbeats.get(process).copied()
    }

    /// Returns the last changes of one process, oldest first.
    #[must_use]
    pub fn changes_of(&self, process: &str) -> Vec<Arc<Change>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.of.get(process).into_iter().flatten().cloned().collect()
    }

    /// Returns the last changes and a subscription to the following ones, without a gap.
    #[must_use]
    pub fn changes(&self) -> (Vec<Arc<Change>>, broadcast::Receiver<Arc<Change>>) {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        (recent.kept.iter().cloned().collect(), self.changes.subscribe())
    }
}
