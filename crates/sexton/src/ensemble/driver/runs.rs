//! Runs of the callback: from the decision to run it to what is kept of it.

use std::sync::Arc;

use engine::{Reach, Signal};
use ensemble::callbacks::{Effect, Run};
use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::{Begin, Driver, LAST_WORDS, News, REMEMBERED, Running};
use crate::clock::rfc3339_millis;
use crate::ensemble::callback;
use crate::ensemble::state::State;
use crate::process::group::{Groups, MARK, ToRun};
use crate::process::spawn::spawn;

impl Driver {
    pub(super) fn woke(&mut self) {
        self.reap();
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
            self.groups.signal(running.term, Signal::KILL, Reach::Everything);
            self.groups.signal_strays();
            return;
        }
        let registry = Arc::clone(&master.registry);
        if let Some(Effect::Start(run, digest)) = master.callbacks.woke(now, || registry.roster().digest()) {
            self.prepare(run, digest);
        }
    }

    /// Before a run the store forgets what was seen: if we are gone before it has ended, another runs it anew. That is
    /// written only as long as we lead.
    pub(super) fn prepare(&mut self, run: Run, digest: Arc<str>) {
        let Some(master) = &mut self.master else { return };
        let Some(fence) = master.term.as_ref().and_then(|term| term.fence) else { return };
        let (list, pods) = {
            let roster = master.registry.roster();
            let list: Vec<_> =
                roster.known().map(|known| (known.member.id.clone(), Arc::clone(&known.text))).collect();
            (list, roster.json())
        };
        master.begins = Some((run, Begin { digest, list, pods }));
        let state = State { digest: None, fence, ..master.state.clone() };
        let (states, news) = (master.states.clone(), master.news.0.clone());
        tokio::spawn(async move {
            let told = match states.save_patiently(&state, || news.is_closed()).await {
                Ok(()) => News::Begins(run, state),
                Err(why) => News::Ended(run, Err(why)),
            };
            // Nobody there any more: nobody wants to know.
            let _ = news.send(told);
        });
    }

    pub(super) fn begins(&mut self, run: Run, state: State) {
        let Some(master) = &mut self.master else { return };
        let Some((_, begin)) = master.begins.take_if(|(begins, _)| *begins == run) else { return };
        if master.callbacks.running() != Some(run) {
            return;
        }
        master.state = state;
        self.start(run, begin);
    }

    pub(super) fn start(&mut self, run: Run, begin: Begin) {
        let Some(master) = &mut self.master else { return };
        let (Some(term), Some(words)) = (&master.term, &master.plan.callback) else { return };
        let Begin { digest, list, pods } = begin;
        let told = callback::Told {
            fence: term.fence.unwrap_or(0),
            digest: Arc::clone(&digest),
            pods,
            state: master.state.state.clone(),
            changes: callback::changes(&master.last_list, &list),
        };
        let term_run = term.run;
        let made = callback::program(words, &told).and_then(|made| Ok((made, callback::start()?)));
        let started = match made {
            Ok(((program, files), (mut start, printed))) => {
                start.variables.push((MARK, Groups::mark(term_run).into()));
                spawn(&program, start).map(|pid| (pid, files, printed)).map_err(|error| error.message)
            }
            Err(error) => Err(crate::words::describe(&error)),
        };
        self.table.counters.callback_invoked();
        match started {
            Ok((pid, files, printed)) => {
                self.groups.enter(term_run, pid, None);
                self.guard.group(term_run, pid);
                master.running = Some(Running {
                    run,
                    term: term_run,
                    digest,
                    list,
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
                master.callbacks.ended(run, false, now);
            }
        }
    }

    pub(super) fn kill(&mut self) {
        if let Some(running) = self.master.as_ref().and_then(|master| master.running.as_ref()) {
            self.groups.signal(running.term, Signal::KILL, Reach::Everything);
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
                ToRun::Exited { exit, leftovers, .. } => {
                    running.exit = Some(exit);
                    if leftovers {
                        // What it has left behind goes with it.
                        self.groups.signal(happened.run, Signal::KILL, Reach::Everything);
                        self.groups.signal_strays();
                    } else {
                        self.cleared();
                    }
                }
                ToRun::Cleared => self.cleared(),
                ToRun::Suspended(_) | ToRun::Resumed => {}
            }
        }
    }

    /// Nothing of the callback is there any more.
    pub(super) fn cleared(&mut self) {
        let Some(master) = &mut self.master else { return };
        let Some(mut running) = master.running.take() else { return };
        let exit = running.exit.unwrap_or(engine::Exit::Code(0));
        let well = exit.shell_code() == 0 && !running.late;
        let shown = json!({
            "at": rfc3339_millis(running.began),
            "digest": *running.digest,
            "fence": master.term.as_ref().and_then(|term| term.fence),
            "pods": running.list.len(),
            "exit": exit.to_string(),
        });
        {
            let mut all = self.table.shown();
            all.callbacks.push(shown);
            let over = all.callbacks.len().saturating_sub(REMEMBERED);
            all.callbacks.drain(..over);
        }
        let lost = master.term.as_ref().is_none_or(|term| term.lost);
        let fence = master.term.as_ref().and_then(|term| term.fence).unwrap_or(0);
        let (run, news) = (running.run, master.news.0.clone());
        if lost || !well {
            if !lost {
                log::warn!("the callback has ended with {exit}");
                self.table.counters.callback_failed();
            }
            let why = format!("it ended with {exit}");
            // Nobody there any more: nobody wants to know.
            let _ = news.send(News::Ended(run, Err(why)));
            return self.resign_if_clear();
        }
        master.last_list = std::mem::take(&mut running.list);
        let (states, before, digest) =
            (master.states.clone(), master.state.clone(), Arc::clone(&running.digest));
        let (printed, counters) = (running.printed.take(), Arc::clone(&self.table.counters));
        tokio::spawn(async move {
            let printed = match printed {
                Some(printed) => timeout(LAST_WORDS, printed.finish()).await.unwrap_or_default(),
                None => Vec::new(),
            };
            let (mut state, mut fault) = callback::kept(&before, &printed, &digest, fence);
            let over = || news.is_closed();
            let mut saved = states.save_patiently(&state, over).await;
            if let Err(why) = &saved
                && state.state != before.state
            {
                fault = Some(why.clone());
                state.state = before.state;
                saved = states.save_patiently(&state, over).await;
            }
            if let Some(fault) = fault {
                log::warn!("the callback's state stays as it was: {fault}");
                counters.callback_failed();
            }
            let _ = news.send(News::Ended(run, saved.map(|()| state)));
        });
    }

    pub(super) fn callback_ended(&mut self, run: Run, result: Result<State, String>) {
        let now = self.now();
        let Some(master) = &mut self.master else { return };
        let well = match result {
            Ok(state) => {
                self.table.shown().state = state.state.clone();
                master.state = state;
                true
            }
            Err(why) => {
                log::debug!("the callback's run does not count: {why}");
                false
            }
        };
        master.callbacks.ended(run, well, now);
        self.tell("callback", if well { "the callback has ended well" } else { "the callback has failed" });
    }
}
