//! Counters of a pod of an ensemble: for Prometheus, some also for statsd with the names of the older tool.

use std::net::{SocketAddr, UdpSocket};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// The counters.
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
    /// Registers the counters, all zero.
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
            keepalives_sent: counter("keepalives_sent", "Keepalives sent, to each master"),
            keepalives_received: counter("keepalives_received", "Keepalives accepted"),
            keepalives_refused: counter("keepalives_refused", "Keepalives refused"),
            locks: counter("leaderships", "Leaderships won by this master"),
            changes: counter("digest_changes", "Changes of the list"),
            callbacks: counter("callbacks", "Runs of the callback"),
            faults: counter("callback_faults", "Runs of the callback that failed or printed no JSON"),
            statsd: socket,
        }
    }

    fn emit(&self, name: &str) {
        if let Some(socket) = &self.statsd {
            // Datagrams are lost if there is no statsd.
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
