//! Where what is known is to be had: the newest [`View`], and a stream of [`Change`]s.
//!
//! One writes (the driver, after each step of the engine); the others read, never wait for the writer, and
//! never ask the engine.

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

/// How many changes are kept for those who come later, and how far a follower may fall behind.
const KEPT: usize = 256;
/// How many changes of each process are kept, so that one that is often restarted does not displace the others.
const KEPT_OF_EACH: usize = 12;

/// How much the processes used, by number, and when that was. Asked for by one at a time.
pub type Usage = tokio::sync::Mutex<Option<(Instant, Arc<BTreeMap<Pid, ResourceUsage>>)>>;

/// Something that has happened, as people and programs are told.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Counts from 1; a gap tells a follower that it fell behind.
    pub number: u64,
    /// When, RFC 3339.
    pub at: String,
    /// To which process.
    pub process: String,
    /// Its attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    /// Its number in the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// A stable word.
    pub event: &'static str,
    /// Why, as a stable word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// For people.
    pub message: String,
}

/// The one place where what is known is to be had.
#[derive(Debug)]
pub struct Hub {
    latest: watch::Sender<Arc<View>>,
    changes: broadcast::Sender<Arc<Change>>,
    recent: Mutex<Recent>,
    /// What is counted.
    pub metrics: Metrics,
    /// What the processes wrote last.
    pub logs: Arc<logs::Recent>,
    /// How much the processes used when somebody asked last.
    pub usage: Usage,
    /// The way to the driver, where somebody may want something of it.
    pub controls: Option<Controls>,
}

#[derive(Debug, Default)]
struct Recent {
    told: u64,
    kept: VecDeque<Arc<Change>>,
    /// The last that concerned each process.
    of: BTreeMap<String, VecDeque<Arc<Change>>>,
    /// When each was last said to be alive.
    heard: BTreeMap<String, Timestamp>,
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
    /// A hub that knows this much to begin with.
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

    /// The newest.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.latest.borrow())
    }

    /// The newest, and each that follows.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.latest.subscribe()
    }

    /// From now on this is the newest.
    pub fn publish(&self, view: View) {
        self.latest.send_replace(Arc::new(view));
    }

    /// Something has happened; the hub gives it its number and its time.
    pub fn tell(&self, mut change: Change) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.told += 1;
        change.number = recent.told;
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
        // Nobody follows: nobody hears.
        let _ = self.changes.send(change);
    }

    /// Somebody has said that a process is alive.
    pub fn heard(&self, process: &str) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.heard.insert(process.to_owned(), Timestamp::now());
    }

    /// When somebody last said so.
    #[must_use]
    pub fn last_heard(&self, process: &str) -> Option<Timestamp> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).heard.get(process).copied()
    }

    /// The last changes of one process, the oldest first.
    #[must_use]
    pub fn changes_of(&self, process: &str) -> Vec<Arc<Change>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.of.get(process).into_iter().flatten().cloned().collect()
    }

    /// The last changes, and each that follows: none is missing between the two.
    #[must_use]
    pub fn changes(&self) -> (Vec<Arc<Change>>, broadcast::Receiver<Arc<Change>>) {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        (recent.kept.iter().cloned().collect(), self.changes.subscribe())
    }
}
