//! The driver of [`engine::lease::LeaseHolder`]: one lock for one run, at a lock server or by leadership.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use engine::RunId;
use engine::lease::{LeaseEffect, LeaseEvent, LeaseHolder, LeaseNotice};
use linux::clock::boot_now;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::client::{Claim, Granted, InUse, LockClient, Reply};
use super::guard::Guard;

/// A server that grants a lock.
pub trait LeaseServer: Send + Sync + 'static {
    /// Requests the lock; the server may wait for it to become free.
    fn acquire(&self, ttl: Duration, wait: Duration) -> impl Future<Output = Result<Reply, String>> + Send;
    /// Renews the lease. False: there is no such lease any more.
    fn keep_alive(&self, id: &str) -> impl Future<Output = Result<bool, String>> + Send;
    /// Releases the lease.
    fn release(&self, id: &str) -> impl Future<Output = Result<(), String>> + Send;
}

/// A lock server over HTTP, and the lock that is requested.
#[derive(Debug)]
pub struct Remote {
    /// The server.
    pub server: LockClient,
    /// The lock and its holder.
    pub claim: Claim,
}

impl LeaseServer for Remote {
    async fn acquire(&self, ttl: Duration, wait: Duration) -> Result<Reply, String> {
        self.server.acquire(&self.claim, ttl, wait).await
    }

    async fn keep_alive(&self, id: &str) -> Result<bool, String> {
        self.server.keep_alive(id).await
    }

    async fn release(&self, id: &str) -> Result<(), String> {
        self.server.release(id).await
    }
}

/// The lease that is wanted.
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    /// What messages call the lock: `the lock 'a'`.
    pub name: String,
    /// Time to live without a keepalive.
    pub ttl: Duration,
}

/// Acquires a lease, keeps it alive, and releases it when `resigned` fires or its sender is dropped.
pub async fn hold(
    run: RunId,
    request: LeaseRequest,
    server: impl LeaseServer,
    guard: Guard,
    notices: mpsc::UnboundedSender<(RunId, LeaseNotice)>,
    mut resigned: oneshot::Receiver<()>,
) {
    let LeaseRequest { name, ttl } = request;
    let mut holder = LeaseHolder::new(name.as_str(), ttl, boot_now());
    let mut in_flight: Option<Pin<Box<dyn Future<Output = LeaseEvent> + Send + '_>>> = None;
    let mut is_resigned = false;
    let mut events = VecDeque::from([LeaseEvent::TimerFired]);
    loop {
        let mut effects = Vec::new();
        while let Some(event) = events.pop_front() {
            holder.handle(boot_now(), event, &mut effects);
            for effect in effects.drain(..) {
                match effect {
                    LeaseEffect::CheckGuard => events.push_back(LeaseEvent::Guard(guard.is_running())),
                    LeaseEffect::Acquire { wait } => {
                        let server = &server;
                        in_flight = Some(Box::pin(async move { acquired(server.acquire(ttl, wait).await) }));
                    }
                    LeaseEffect::KeepAlive { id } => {
                        let server = &server;
                        in_flight = Some(Box::pin(async move { kept_alive(server.keep_alive(&id).await) }));
                    }
                    LeaseEffect::Release { id } => {
                        let (server, name) = (&server, &name);
                        in_flight = Some(Box::pin(async move { released(name, server.release(&id).await) }));
                    }
                    LeaseEffect::Cancel => in_flight = None,
                    LeaseEffect::ArmGuard(until) => guard.arm(run, until),
                    LeaseEffect::DisarmGuard => guard.disarm(run),
                    LeaseEffect::Warn(why) => log::warn!("{why}"),
                    // An error: the receiver is gone, and the holder is about to be dropped.
                    LeaseEffect::Report(notice) => drop(notices.send((run, notice))),
                }
            }
        }
        if holder.is_finished() {
            return;
        }
        let answer = async {
            match &mut in_flight {
                Some(request) => request.await,
                None => std::future::pending().await,
            }
        };
        let timer = async {
            match holder.deadline() {
                Some(due) => sleep(boot_now().until(due)).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            biased;
            _ = &mut resigned, if !is_resigned => {
                is_resigned = true;
                LeaseEvent::Resigned
            }
            event = answer => {
                in_flight = None;
                event
            }
            () = timer => LeaseEvent::TimerFired,
        };
        events.push_back(event);
    }
}

fn acquired(reply: Result<Reply, String>) -> LeaseEvent {
    match reply {
        Ok(Reply::Granted(Granted { id, fence })) => LeaseEvent::Granted { id, fence },
        Ok(Reply::InUse(InUse { value, .. })) => LeaseEvent::InUse { holder: value },
        Err(why) => LeaseEvent::Failed(why),
    }
}

fn kept_alive(reply: Result<bool, String>) -> LeaseEvent {
    match reply {
        Ok(true) => LeaseEvent::KeptAlive,
        Ok(false) => LeaseEvent::LeaseGone,
        Err(why) => LeaseEvent::Failed(why),
    }
}

fn released(name: &str, reply: Result<(), String>) -> LeaseEvent {
    match reply {
        Ok(()) => LeaseEvent::Released,
        Err(why) => {
            log::debug!("{name} is not released yet: {why}");
            LeaseEvent::Failed(why)
        }
    }
}
