//! To want to lead, to lead, and to give it up.

use std::io;
use std::sync::Arc;

use engine::RunId;
use engine::lease::LeaseNotice;
use ensemble::leader;
use ensemble::lock::Holder;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::{Driver, LAST_WORDS, LOOK_AGAIN, News, Term};
use crate::ensemble::leadership::Leadership;
use crate::ensemble::state::PAUSE;
use crate::locks::guard_start::start_guard;
use crate::locks::holder::{LeaseRequest, hold};
use linux::clock::boot_now;
use linux::clock::rfc3339_millis;

impl Driver {
    /// Wants to lead, if there is something to run.
    pub(super) fn campaign(&mut self) {
        let Some(master) = &mut self.master else { return };
        if master.term.is_some() || !master.plan.wants_to_lead() {
            return;
        }
        self.newest_term += 1;
        let run = RunId(self.newest_term);
        let grantor = Leadership {
            locks: master.locks.clone(),
            holder: Holder {
                value: self.plan.id.clone(),
                timestamp: Some(rfc3339_millis(Timestamp::now())),
                ..Holder::default()
            },
        };
        let ttl = spec::ensemble::leader_lease_ttl(master.plan.fail_over, master.locks.wait_after_lapse());
        let wanted = LeaseRequest { name: "the leadership".to_owned(), ttl };
        let (resign, resigned) = oneshot::channel();
        let task =
            tokio::spawn(hold(run, wanted, grantor, self.guard.clone(), master.tenure.0.clone(), resigned));
        master.term = Some(Term { run, resign, task });
        self.stand_guard();
    }

    pub(super) fn stand_guard(&mut self) {
        if !self.guard.is_running() {
            self.guard_tried = Instant::now();
            match start_guard(&self.guard, &mut self.groups) {
                Ok(ended) => self.guard_ended = Some(ended),
                Err(why) => log::error!("callbacks have no guard: {why}"),
            }
        }
    }

    pub(super) fn tenure(&mut self, run: RunId, told: LeaseNotice) {
        let Some(master) = &mut self.master else { return };
        if master.term.as_ref().is_none_or(|term| term.run != run) {
            return;
        }
        let term = leader::Term(run.0);
        let effect = match told {
            LeaseNotice::Waiting(why) => {
                self.table.shown().why = why;
                None
            }
            LeaseNotice::Held(fence) => {
                let ttl =
                    spec::ensemble::leader_lease_ttl(master.plan.fail_over, master.locks.wait_after_lapse());
                self.table.tenants.leads(run, fence, ttl);
                let effect = master.leader.won(term, fence);
                self.table.counters.lock_obtained();
                {
                    let mut shown = self.table.shown();
                    (shown.fence, shown.why) = (Some(fence), String::new());
                }
                self.tell("leads", &format!("we lead, with number {fence}"));
                Some(effect)
            }
            LeaseNotice::Lost { why, .. } => {
                self.table.tenants.ends();
                let effect = master.leader.lost(term);
                {
                    let mut shown = self.table.shown();
                    (shown.fence, shown.why) = (None, why.clone());
                }
                self.tell("deposed", &format!("we do not lead any more: {why}"));
                effect
            }
        };
        self.carry_out(effect);
    }

    /// What the last callback saw, by whoever ran it.
    pub(super) fn load(&self, term: leader::Term) {
        let Some(master) = &self.master else { return };
        let (states, news) = (master.states.clone(), master.news.0.clone());
        let registry = Arc::clone(&master.registry);
        tokio::spawn(async move {
            // No callback is told of half a list.
            registry.is_listed().await;
            loop {
                match states.load().await {
                    Ok(state) => break drop(news.send(News::Loaded(term, state))),
                    Err(error) => log::warn!("the state is not there yet: {error}"),
                }
                sleep(PAUSE).await;
            }
        });
    }

    /// Nothing of the callback is left: another may lead, when nothing else runs by our leadership.
    pub(super) fn over(&mut self, over: leader::Term) {
        let Some(master) = &mut self.master else { return };
        master.clears = Some(over).filter(|_| self.table.tenants.until_clear().is_some());
        if master.clears.is_some() {
            return;
        }
        if let Some(term) = master.term.take_if(|term| term.run.0 == over.0) {
            // The task has ended: there is nothing to give back.
            let _ = term.resign.send(());
        }
        self.campaign();
    }

    /// At our end: the callback first, then the leadership.
    pub(super) async fn give_up(&mut self) -> io::Result<()> {
        self.kill();
        let until = Instant::now() + LAST_WORDS;
        while self.master.as_ref().is_some_and(|master| master.running.is_some()) && Instant::now() < until {
            tokio::select! {
                signals = self.signals.next() => drop(signals?),
                () = sleep(LOOK_AGAIN) => {}
            }
            self.reap();
        }
        self.groups.kill_helpers();
        // Who runs by our leadership ends by his own pace; we lead as long as that takes.
        self.table.tenants.ends();
        let mut tenants = self.table.tenants.changes();
        while let Some(lapses) = self.table.tenants.until_clear() {
            let _ = timeout(boot_now().until(lapses), tenants.changed()).await;
        }
        let Some(master) = &mut self.master else { return Ok(()) };
        let Some(term) = master.term.take() else { return Ok(()) };
        if master.running.is_some() {
            log::error!("the callback cannot be killed; the leadership is not given back, and lapses");
            term.task.abort();
        } else {
            let _ = term.resign.send(());
            let _ = timeout(LAST_WORDS, term.task).await;
        }
        Ok(())
    }
}
