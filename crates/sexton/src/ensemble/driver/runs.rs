//! Runs of the callback: from the decision to run it to what is kept of it.

use std::sync::Arc;

use engine::{Signal, SignalScope};
use ensemble::callbacks::Run;
use ensemble::leader::{self, Effect, ListSnapshot};
use ensemble::state::State;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::{Driver, LAST_WORDS, News, REMEMBERED, RETRY, Running};
use crate::ensemble::callback;
use crate::ensemble::state::save_patiently;
use linux::clock::rfc3339_millis;
use linux::process_table::{MARK, ProcessTable, RunEvent};
use linux::spawn::spawn;

impl Driver {
    pub(super) fn woke(&mut self) {
        self.reap();
        if self.is_unguarded() && self.guard_tried + RETRY <= Instant::now() {
            self.stand_guard();
        }
        let (now, instant) = (self.now(), Instant::now());
        let Some(master) = &mut self.master else { return };
        if let Some(running) = &mut master.running
            && running.exit.is_none()
            && running.until <= instant
        {
            running.late = true;
            // It is looked at again when it has ended.
            running.until = instant + LAST_WORDS;
            log::warn!("the callback took longer than {:?}, and is killed", master.plan.callback_deadline);
            self.groups.signal(running.term, Signal::KILL, SignalScope::Everything);
            self.groups.signal_strays();
            return;
        }
        if let Some(over) = master.clears.take() {
            return self.over(over);
        }
        if master.plan.callback.is_none() {
            return;
        }
        let registry = Arc::clone(&master.registry);
        let effect = master.leader.tick(
            now,
            || registry.roster().digest(),
            |digest| {
                let roster = registry.roster();
                let list =
                    roster.registered().map(|known| (known.member.id.clone(), Arc::clone(&known.text)));
                ListSnapshot { digest, list: list.collect(), pods: roster.json() }
            },
        );
        self.carry_out(effect);
    }

    /// What the leader wants done.
    pub(super) fn carry_out(&mut self, effect: Option<Effect>) {
        match effect {
            Some(Effect::Load(term)) => self.load(term),
            Some(Effect::ClearDigest(run, state)) => self.save(run, state, false),
            Some(Effect::Save(run, state)) => self.save(run, state, true),
            Some(Effect::Start(run, told)) => self.start(run, told),
            Some(Effect::Kill(_)) => self.kill(),
            Some(Effect::TermEnded(term)) => self.over(term),
            None => {}
        }
    }

    pub(super) fn heard(&mut self, news: News) {
        let now = self.now();
        let Some(master) = &mut self.master else { return };
        let effect = match news {
            News::Loaded(term, state) => {
                master.leader.loaded(term, state, now);
                self.table.shown().state = master.leader.state().state.clone();
                None
            }
            News::DigestCleared(run, well) => master.leader.digest_cleared(run, well, now),
            News::Printed(run, state) => master.leader.ended(run, Some(state), now),
            News::Saved(run, written) => {
                let well = written.is_some();
                let effect = master.leader.saved(run, written, now);
                self.table.shown().state = master.leader.state().state.clone();
                let message = if well { "the callback has ended well" } else { "the callback has failed" };
                self.tell("callback", message);
                effect
            }
        };
        self.carry_out(effect);
    }

    /// Writes what is kept of callbacks, before a run or after it.
    fn save(&self, run: Run, mut state: State, after: bool) {
        let Some(master) = &self.master else { return };
        let (states, news, before) =
            (master.states.clone(), master.news.0.clone(), master.leader.state().state.clone());
        let counters = Arc::clone(&self.table.counters);
        tokio::spawn(async move {
            let over = || news.is_closed();
            let mut saved = save_patiently(&states, &state, over).await;
            if let Err(why) = &saved
                && after
                && state.state != before
            {
                log::warn!("the callback's state stays as it was: {why}");
                counters.callback_failed();
                state.state = before;
                saved = save_patiently(&states, &state, over).await;
            }
            let well =
                saved.inspect_err(|why| log::debug!("the callback's run does not count: {why}")).is_ok();
            let told =
                if after { News::Saved(run, well.then_some(state)) } else { News::DigestCleared(run, well) };
            // Nobody there any more: nobody wants to know.
            let _ = news.send(told);
        });
    }

    fn start(&mut self, run: Run, told: leader::CallbackInput) {
        let Some(master) = &mut self.master else { return };
        let term_run = master.term.as_ref().map(|term| term.run);
        // What would be executed when another may lead already is not.
        let until = term_run.and_then(|run| self.guard.until(run));
        let (Some(term_run), Some(until), Some(words)) = (term_run, until, &master.plan.callback) else {
            let now = self.began.elapsed();
            let effect = master.leader.ended(run, None, now);
            return self.carry_out(effect);
        };
        let made = callback::program(words, &told).and_then(|made| Ok((made, callback::start()?)));
        let started = match made {
            Ok(((program, files), (mut start, printed))) => {
                start.variables.push((MARK, ProcessTable::mark(term_run).into()));
                start.not_after = Some(until.0);
                spawn(&program, start).map(|pid| (pid, files, printed)).map_err(|error| error.message)
            }
            Err(error) => Err(spec::text::describe(&error)),
        };
        self.table.counters.callback_invoked();
        match started {
            Ok((pid, files, printed)) => {
                self.groups.enter(term_run, pid, None);
                self.guard.group(term_run, pid);
                master.running = Some(Running {
                    run,
                    term: term_run,
                    told,
                    began: Timestamp::now(),
                    printed: Some(printed),
                    _files: files,
                    until: Instant::now() + master.plan.callback_deadline,
                    exit: None,
                    late: false,
                });
            }
            Err(why) => {
                log::error!("the callback is not started: {why}");
                self.table.counters.callback_failed();
                let now = self.began.elapsed();
                let effect = master.leader.ended(run, None, now);
                self.carry_out(effect);
            }
        }
    }

    pub(super) fn kill(&mut self) {
        if let Some(running) = self.master.as_ref().and_then(|master| master.running.as_ref()) {
            self.groups.signal(running.term, Signal::KILL, SignalScope::Everything);
            self.groups.signal_strays();
        }
    }

    pub(super) fn reap(&mut self) {
        for happened in self.groups.reap() {
            let Some(master) = &mut self.master else { continue };
            let Some(running) = master.running.as_mut().filter(|running| running.term == happened.run) else {
                continue;
            };
            match happened.what {
                RunEvent::Exited { exit, leftovers, .. } => {
                    running.exit = Some(exit);
                    if leftovers {
                        // What it has left behind goes with it.
                        self.groups.signal(happened.run, Signal::KILL, SignalScope::Everything);
                        self.groups.signal_strays();
                    } else {
                        self.cleared();
                    }
                }
                RunEvent::Cleared => self.cleared(),
                RunEvent::Suspended(_) | RunEvent::Resumed => {}
            }
        }
    }

    /// Nothing of the callback is there any more.
    pub(super) fn cleared(&mut self) {
        let Some(master) = &mut self.master else { return };
        let Some(running) = master.running.take() else { return };
        let exit = running.exit.unwrap_or(engine::Exit::Code(0));
        let well = exit.shell_code() == 0 && !running.late;
        let Running { run, told, began, printed, .. } = running;
        let shown = json!({
            "at": rfc3339_millis(began),
            "digest": *told.seen.digest,
            "fence": told.fence,
            "pods": told.seen.list.len(),
            "exit": exit.to_string(),
        });
        {
            let mut all = self.table.shown();
            all.callbacks.push(shown);
            let over = all.callbacks.len().saturating_sub(REMEMBERED);
            all.callbacks.drain(..over);
        }
        let leads = master.leader.fence().is_some();
        if leads && well {
            let (news, counters) = (master.news.0.clone(), Arc::clone(&self.table.counters));
            tokio::spawn(async move {
                let printed = match printed {
                    Some(printed) => timeout(LAST_WORDS, printed.finish()).await.unwrap_or_default(),
                    None => Vec::new(),
                };
                let (state, fault) = callback::kept(&told.state, &printed);
                if let Some(fault) = fault {
                    log::warn!("the callback's state stays as it was: {fault}");
                    counters.callback_failed();
                }
                // Nobody there any more: nobody wants to know.
                let _ = news.send(News::Printed(run, state));
            });
            return;
        }
        if leads {
            log::warn!("the callback has ended with {exit}");
            self.table.counters.callback_failed();
            self.tell("callback", "the callback has failed");
        }
        let now = self.now();
        let Some(master) = &mut self.master else { return };
        let effect = master.leader.ended(run, None, now);
        self.carry_out(effect);
    }
}
