//! What a pod of an ensemble counts: for Prometheus, and some of it for statsd under the names of the older tool.

use std::net::{SocketAddr, UdpSocket};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// What is counted, and sent to statsd.
#[derive(Debug)]
pub struct Counters {
    statsd: Option<UdpSocket>,
    keepalives_sent: Counter,
    pub(super) keepalives_received: Counter,
    pub(super) keepalives_refused: Counter,
    locks: Counter,
    changes: Counter,
    callbacks: Counter,
    faults: Counter,
}

impl Counters {
    /// From nothing, among all that is counted.
    #[must_use]
    pub fn new(statsd: Option<SocketAddr>, all: &mut Registry) -> Self {
        let metrics = all.sub_registry_with_prefix("sexton_ensemble");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            metrics.register(name, help, counter.clone());
            counter
        };
        let socket = statsd.and_then(|to| {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).ok()?;
            socket.connect(to).ok()?;
            socket.set_nonblocking(true).ok()?;
            Some(socket)
        });
        Self {
            keepalives_sent: counter("keepalives_sent", "Keepalives that were sent, to each master"),
            keepalives_received: counter("keepalives_received", "Keepalives that were taken"),
            keepalives_refused: counter("keepalives_refused", "Keepalives that were not taken"),
            locks: counter("leaderships", "How often this master has begun to lead"),
            changes: counter("digest_changes", "How often another list was seen"),
            callbacks: counter("callbacks", "How often the callback was run"),
            faults: counter("callback_faults", "How often it failed, or printed no JSON"),
            statsd: socket,
        }
    }

    fn emit(&self, name: &str) {
        if let Some(socket) = &self.statsd {
            // Nobody listens: nobody counts.
            let _ = socket.send(format!("{name},tier=kontrol:1|c").as_bytes());
        }
    }

    pub(super) fn keepalive_emitted(&self) {
        self.keepalives_sent.inc();
        self.emit("keepalive_emitted");
    }

    pub(super) fn lock_obtained(&self) {
        self.locks.inc();
        self.emit("lock_obtained");
    }

    pub(super) fn md5_changed(&self) {
        self.changes.inc();
        self.emit("md5_changed");
    }

    pub(super) fn callback_invoked(&self) {
        self.callbacks.inc();
        self.emit("callback_invoked");
    }

    pub(super) fn callback_failed(&self) {
        self.faults.inc();
    }
}
