//! Members: they join, change, restart, leave, or die.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::chance::Chance;
use super::master::{Place, TTL};
use crate::member::Keepalive;

/// The time limit of a master's response.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// One member.
#[derive(Debug)]
pub(super) struct Member {
    number: u64,
    chance: Chance,
    payload: AtomicU64,
    nonce: AtomicU64,
    away_until: Mutex<Option<Instant>>,
    /// It reports that it leaves.
    leaves: AtomicBool,
    changed: Notify,
}

impl Member {
    pub(super) fn new(number: u64, chance: &Chance) -> Arc<Self> {
        Arc::new(Self {
            number,
            chance: chance.clone(),
            payload: AtomicU64::new(0),
            nonce: AtomicU64::new(0),
            away_until: Mutex::default(),
            leaves: AtomicBool::new(false),
            changed: Notify::new(),
        })
    }

    pub(super) fn id(&self) -> String {
        format!("member-{:02}", self.number)
    }

    fn keepalive(&self, down: bool) -> Keepalive {
        Keepalive {
            app: "demo".to_owned(),
            id: self.id(),
            ip: "10.0.0.1".to_owned(),
            key: "x".to_owned(),
            nonce: self.nonce.load(Ordering::Relaxed).to_string(),
            payload: self.payload.load(Ordering::Relaxed).into(),
            role: "r".to_owned(),
            down,
        }
    }

    fn go(&self, time: Duration) {
        *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + time);
        self.nonce.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Leaves, and returns after a while.
    pub(super) fn leave(&self, time: Duration) {
        self.leaves.store(true, Ordering::Relaxed);
        self.go(time);
    }

    /// Sends nothing for a while.
    pub(super) fn die(&self, time: Duration) {
        self.go(time);
    }

    pub(super) fn restart(&self) {
        self.nonce.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Changes the payload, possibly to an earlier one.
    pub(super) fn change(&self, payload: u64) {
        self.payload.store(payload, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Stays away until the faults are over.
    pub(super) fn settle(&self, calm: bool) {
        let mut away = self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = *away {
            let long = calm && until > Instant::now() + Duration::from_secs(15);
            *away = long.then(|| Instant::now() + Duration::from_secs(1_000_000));
        }
        self.changed.notify_one();
    }

    pub(super) fn payload(&self) -> u64 {
        self.payload.load(Ordering::Relaxed)
    }

    pub(super) fn is_up(&self) -> bool {
        self.away().is_none()
    }

    fn away(&self) -> Option<Duration> {
        let mut away = self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        let left = away.map(|until| until.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            *away = None;
        }
        left.filter(|left| *left > Duration::ZERO)
    }

    pub(super) async fn live(self: Arc<Self>, places: Vec<Arc<Place>>) {
        sleep(self.chance.between(0, 5_000)).await;
        loop {
            if let Some(left) = self.away() {
                if self.leaves.swap(false, Ordering::Relaxed) {
                    // With the nonce of the incarnation that ends.
                    let mut last = self.keepalive(true);
                    last.nonce = (self.nonce.load(Ordering::Relaxed) - 1).to_string();
                    self.tell(&last, &places).await;
                }
                let _ = timeout(left, self.changed.notified()).await;
                continue;
            }
            let said = self.keepalive(false);
            let well = self.tell(&said, &places).await;
            let pause = if well { TTL * 3 / 4 } else { Duration::from_secs(2) };
            let _ = timeout(pause, self.changed.notified()).await;
        }
    }

    /// Sends a keepalive to two of the masters.
    async fn tell(&self, keepalive: &Keepalive, places: &[Arc<Place>]) -> bool {
        let first = self.number as usize % places.len();
        let mut well = true;
        for place in [&places[first], &places[(first + 1) % places.len()]] {
            sleep(self.chance.between(1, 40)).await;
            let accepted = timeout(ANSWER_WITHIN, place.receive(keepalive.clone())).await;
            well &= accepted == Ok(true);
        }
        well
    }
}
