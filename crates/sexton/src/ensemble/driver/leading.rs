//! Campaigns for the leadership, leads, and gives it up.

use std::io;
use std::sync::Arc;

use engine::RunId;
use engine::lease::LeaseNotice;
use ensemble::leader;
use ensemble::lock::Holder;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::{Driver, POLL_INTERVAL, SHUTDOWN_LIMIT, TaskResult, Term};
use crate::ensemble::leadership::Leadership;
use crate::ensemble::state::PAUSE;
use crate::locks::guard_start::start_guard;
use crate::locks::holder::{LeaseRequest, hold};
use linux::clock::boot_now;
use linux::clock::rfc3339_millis;

impl Driver {
    /// Campaigns for the leadership, if the plan needs it.
    pub(super) fn campaign(&mut self) {
        let Some(master) = &mut self.master else { return };
        if master.term.is_some() || !master.plan.wants_to_lead() {
            return;
        }
        self.newest_term += 1;
        let run = RunId(self.newest_term);
        let server = Leadership {
            locks: master.locks.clone(),
            holder: Holder {
                value: self.plan.id.clone(),
                timestamp: Some(rfc3339_millis(Timestamp::now())),
                ..Holder::default()
            },
        };
        let ttl = spec::ensemble::leader_lease_ttl(master.plan.fail_over, master.locks.wait_after_lapse());
        let request = LeaseRequest { name: "the leadership".to_owned(), ttl };
        let (resign, resigned) = oneshot::channel();
        let task =
            tokio::spawn(hold(run, request, server, self.guard.clone(), master.notices.0.clone(), resigned));
        master.term = Some(Term { run, resign, task });
        self.ensure_guard();
    }

    pub(super) fn ensure_guard(&mut self) {
        if !self.guard.is_running() {
            self.guard_tried = Instant::now();
            match start_guard(&self.guard, &mut self.groups) {
                Ok(ended) => self.guard_ended = Some(ended),
                Err(why) => log::error!("cannot start the guard of callbacks: {why}"),
            }
        }
    }

    pub(super) fn lease_notice(&mut self, run: RunId, notice: LeaseNotice) {
        let Some(master) = &mut self.master else { return };
        if master.term.as_ref().is_none_or(|term| term.run != run) {
            return;
        }
        let term = leader::Term(run.0);
        let effect = match notice {
            LeaseNotice::Waiting(why) => {
                self.api.leader_status().why = why;
                None
            }
            LeaseNotice::Held(fence) => {
                let ttl =
                    spec::ensemble::leader_lease_ttl(master.plan.fail_over, master.locks.wait_after_lapse());
                self.api.leadership_leases.leads(run, fence, ttl);
                let effect = master.leader.won(term, fence);
                self.api.counters.lock_obtained();
                {
                    let mut status = self.api.leader_status();
                    (status.fence, status.why) = (Some(fence), String::new());
                }
                self.publish("leads", &format!("became leader (fencing token {fence})"));
                Some(effect)
            }
            LeaseNotice::Lost { why, .. } => {
                self.api.leadership_leases.ends();
                let effect = master.leader.lost(term);
                {
                    let mut status = self.api.leader_status();
                    (status.fence, status.why) = (None, why.clone());
                }
                self.publish("deposed", &format!("lost the leadership: {why}"));
                effect
            }
        };
        self.perform(effect);
    }

    /// Loads the state of the last callback, on any master.
    pub(super) fn load(&self, term: leader::Term) {
        let Some(master) = &self.master else { return };
        let (states, results) = (master.states.clone(), master.results.0.clone());
        let registry = Arc::clone(&master.registry);
        tokio::spawn(async move {
            // No callback gets a partial list.
            registry.wait_listed().await;
            loop {
                match states.load().await {
                    Ok(state) => break drop(results.send(TaskResult::Loaded(term, state))),
                    Err(error) => log::warn!("cannot load the state, retrying: {error}"),
                }
                sleep(PAUSE).await;
            }
        });
    }

    /// Ends a term after the callback is gone: resigns once no lease depends on the leadership.
    pub(super) fn end_term(&mut self, over: leader::Term) {
        let Some(master) = &mut self.master else { return };
        master.ending_term = Some(over).filter(|_| self.api.leadership_leases.until_clear().is_some());
        if master.ending_term.is_some() {
            return;
        }
        if let Some(term) = master.term.take_if(|term| term.run.0 == over.0) {
            // Fails if the task has ended: then there is nothing to release.
            let _ = term.resign.send(());
        }
        self.campaign();
    }

    /// Stops the callback, then releases the leadership.
    pub(super) async fn shut_down(&mut self) -> io::Result<()> {
        self.kill();
        let until = Instant::now() + SHUTDOWN_LIMIT;
        while self.master.as_ref().is_some_and(|master| master.running.is_some()) && Instant::now() < until {
            tokio::select! {
                signals = self.signals.next() => drop(signals?),
                () = sleep(POLL_INTERVAL) => {}
            }
            self.reap();
        }
        self.groups.kill_helpers();
        // Keep the leadership until the processes that depend on it have stopped.
        self.api.leadership_leases.ends();
        let mut lease_changes = self.api.leadership_leases.changes();
        while let Some(lapses) = self.api.leadership_leases.until_clear() {
            let _ = timeout(boot_now().until(lapses), lease_changes.changed()).await;
        }
        let Some(master) = &mut self.master else { return Ok(()) };
        let Some(term) = master.term.take() else { return Ok(()) };
        if master.running.is_some() {
            log::error!("cannot kill the callback: the leadership is not released and will expire");
            term.task.abort();
        } else {
            let _ = term.resign.send(());
            let _ = timeout(SHUTDOWN_LIMIT, term.task).await;
        }
        Ok(())
    }
}
