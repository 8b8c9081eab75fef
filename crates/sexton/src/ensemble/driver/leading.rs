//! To want to lead, to lead, and to give it up.

use std::io;
use std::sync::Arc;

use engine::RunId;
use ensemble::callbacks::Effect;
use ensemble::lock::Holder;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::{Driver, LAST_WORDS, LOOK_AGAIN, News, Term};
use crate::clock::rfc3339_millis;
use crate::driver::start_guard;
use crate::ensemble::leadership::Leadership;
use crate::ensemble::state::{PAUSE, State};
use crate::lock::holder::{Told, Wanted, hold};

impl Driver {
    /// Wants to lead, if there is something to run.
    pub(super) fn campaign(&mut self) {
        let Some(master) = &mut self.master else { return };
        if master.term.is_some() || master.plan.callback.is_none() {
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
        let wanted = Wanted { name: "the leadership".to_owned(), ttl: master.plan.fail_over };
        let (resign, resigned) = oneshot::channel();
        let task =
            tokio::spawn(hold(run, wanted, grantor, self.guard.clone(), master.tenure.0.clone(), resigned));
        master.term = Some(Term { run, resign, task, fence: None, lost: false });
        self.stand_guard();
    }

    pub(super) fn stand_guard(&mut self) {
        if !self.guard.is_standing() {
            match start_guard(&self.guard, &mut self.groups) {
                Ok(ended) => self.guard_ended = Some(ended),
                Err(why) => log::error!("callbacks have no guard: {why}"),
            }
        }
    }

    pub(super) fn tenure(&mut self, run: RunId, told: Told) {
        let Some(master) = &mut self.master else { return };
        let Some(term) = master.term.as_mut().filter(|term| term.run == run) else { return };
        match told {
            Told::Waits(why) => self.table.shown().why = why,
            Told::Won(fence) => {
                term.fence = Some(fence);
                self.table.counters.lock_obtained();
                {
                    let mut shown = self.table.shown();
                    (shown.fence, shown.why) = (Some(fence), String::new());
                }
                // What the last callback saw, by whoever ran it.
                let (states, news) = (master.states.clone(), master.news.0.clone());
                let registry = Arc::clone(&master.registry);
                tokio::spawn(async move {
                    // No callback is told of half a list.
                    registry.is_listed().await;
                    loop {
                        match states.load().await {
                            Ok(state) => break drop(news.send(News::Loaded(run, state))),
                            Err(error) => log::warn!("the state is not there yet: {error}"),
                        }
                        sleep(PAUSE).await;
                    }
                });
                self.tell("leads", &format!("we lead, with number {fence}"));
            }
            Told::Lost { why, .. } => {
                term.lost = true;
                let effect = master.callbacks.lost();
                {
                    let mut shown = self.table.shown();
                    (shown.fence, shown.why) = (None, why.clone());
                }
                if let Some(Effect::Kill(_)) = effect {
                    self.kill();
                }
                self.tell("deposed", &format!("we do not lead any more: {why}"));
                self.resign_if_clear();
            }
        }
    }

    pub(super) fn loaded(&mut self, run: RunId, state: State) {
        let now = self.now();
        let Some(master) = &mut self.master else { return };
        if master.term.as_ref().is_none_or(|term| term.run != run || term.lost) {
            return;
        }
        master.callbacks.won(state.digest.as_deref().map(Into::into), now);
        self.table.shown().state = state.state.clone();
        master.state = state;
    }

    /// Another may lead when nothing of our callback is left.
    pub(super) fn resign_if_clear(&mut self) {
        let Some(master) = &mut self.master else { return };
        if master.running.is_none() && master.term.as_ref().is_some_and(|term| term.lost) {
            if let Some(term) = master.term.take() {
                // The task has ended: there is nothing to give back.
                let _ = term.resign.send(());
            }
            self.campaign();
        }
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
