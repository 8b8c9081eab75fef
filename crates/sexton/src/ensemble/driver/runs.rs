//! Runs of the callback: from the decision to run it to its saved state.

use std::sync::Arc;

use engine::{Signal, SignalScope};
use ensemble::callbacks::Run;
use ensemble::leader::{self, Effect, ListSnapshot};
use ensemble::state::State;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::{Driver, RETRY, Running, SHUTDOWN_LIMIT, STATUS_RUNS, TaskResult};
use crate::ensemble::callback;
use crate::ensemble::state::save_with_retries;
use linux::clock::rfc3339_millis;
use linux::process_table::{MARK, ProcessTable, RunEvent};
use linux::spawn::spawn;

impl Driver {
    pub(super) fn on_timer(&mut self) {
        self.reap();
        if self.is_unguarded() && self.guard_tried + RETRY <= Instant::now() {
            self.ensure_guard();
        }
        let (now, instant) = (self.now(), Instant::now());
        let Some(master) = &mut self.master else { return };
        if let Some(running) = &mut master.running
            && running.exit.is_none()
            && running.until <= instant
        {
            running.late = true;
            // Checked again in case it survives SIGKILL.
            running.until = instant + SHUTDOWN_LIMIT;
            log::warn!("killing the callback: it took longer than {:?}", master.plan.callback_deadline);
            self.groups.signal(running.term, Signal::KILL, SignalScope::Everything);
            self.groups.signal_strays();
            return;
        }
        if let Some(over) = master.ending_term.take() {
            return self.end_term(over);
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
        self.perform(effect);
    }

    /// Carries out an effect of the leader.
    pub(super) fn perform(&mut self, effect: Option<Effect>) {
        match effect {
            Some(Effect::Load(term)) => self.load(term),
            Some(Effect::ClearDigest(run, state)) => self.save(run, state, false),
            Some(Effect::Save(run, state)) => self.save(run, state, true),
            Some(Effect::Start(run, input)) => self.start(run, input),
            Some(Effect::Kill(_)) => self.kill(),
            Some(Effect::TermEnded(term)) => self.end_term(term),
            None => {}
        }
    }

    pub(super) fn handle_result(&mut self, result: TaskResult) {
        let now = self.now();
        let Some(master) = &mut self.master else { return };
        let effect = match result {
            TaskResult::Loaded(term, state) => {
                master.leader.loaded(term, state, now);
                self.api.leader_status().state = master.leader.state().state.clone();
                None
            }
            TaskResult::DigestCleared(run, success) => master.leader.digest_cleared(run, success, now),
            TaskResult::Printed(run, state) => master.leader.ended(run, Some(state), now),
            TaskResult::Saved(run, written) => {
                let success = written.is_some();
                let effect = master.leader.saved(run, written, now);
                self.api.leader_status().state = master.leader.state().state.clone();
                let message = if success { "callback succeeded" } else { "callback failed" };
                self.publish("callback", message);
                effect
            }
        };
        self.perform(effect);
    }

    /// Saves the state, before or after a run.
    fn save(&self, run: Run, mut state: State, after: bool) {
        let Some(master) = &self.master else { return };
        let (states, results, before) =
            (master.states.clone(), master.results.0.clone(), master.leader.state().state.clone());
        let counters = Arc::clone(&self.api.counters);
        tokio::spawn(async move {
            let shutting_down = || results.is_closed();
            let mut saved = save_with_retries(&states, &state, shutting_down).await;
            if let Err(why) = &saved
                && after
                && state.state != before
            {
                log::warn!("the state of the callback is unchanged: {why}");
                counters.callback_failed();
                state.state = before;
                saved = save_with_retries(&states, &state, shutting_down).await;
            }
            let success = saved.inspect_err(|why| log::debug!("the callback will run again: {why}")).is_ok();
            let result = if after {
                TaskResult::Saved(run, success.then_some(state))
            } else {
                TaskResult::DigestCleared(run, success)
            };
            // Fails at shutdown.
            let _ = results.send(result);
        });
    }

    fn start(&mut self, run: Run, input: leader::CallbackInput) {
        let Some(master) = &mut self.master else { return };
        let term_run = master.term.as_ref().map(|term| term.run);
        // Do not start a run that could execute when another master may lead already.
        let until = term_run.and_then(|run| self.guard.until(run));
        let (Some(term_run), Some(until), Some(command)) = (term_run, until, &master.plan.callback) else {
            let now = self.began.elapsed();
            let effect = master.leader.ended(run, None, now);
            return self.perform(effect);
        };
        let made = callback::program(command, &input).and_then(|made| Ok((made, callback::start()?)));
        let outcome = match made {
            Ok(((program, files), (mut start, printed))) => {
                start.variables.push((MARK, ProcessTable::mark(term_run).into()));
                start.not_after = Some(until.0);
                spawn(&program, start).map(|pid| (pid, files, printed)).map_err(|error| error.message)
            }
            Err(error) => Err(spec::text::describe(&error)),
        };
        self.api.counters.callback_invoked();
        match outcome {
            Ok((pid, files, printed)) => {
                self.groups.enter(term_run, pid, None);
                self.guard.group(term_run, pid);
                master.running = Some(Running {
                    run,
                    term: term_run,
                    input,
                    started: Timestamp::now(),
                    printed: Some(printed),
                    _files: files,
                    until: Instant::now() + master.plan.callback_deadline,
                    exit: None,
                    late: false,
                });
            }
            Err(why) => {
                log::error!("cannot start the callback: {why}");
                self.api.counters.callback_failed();
                let now = self.began.elapsed();
                let effect = master.leader.ended(run, None, now);
                self.perform(effect);
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
        for event in self.groups.reap() {
            let Some(master) = &mut self.master else { continue };
            let Some(running) = master.running.as_mut().filter(|running| running.term == event.run) else {
                continue;
            };
            match event.what {
                RunEvent::Exited { exit, leftovers, .. } => {
                    running.exit = Some(exit);
                    if leftovers {
                        // Kill the processes that it left behind.
                        self.groups.signal(event.run, Signal::KILL, SignalScope::Everything);
                        self.groups.signal_strays();
                    } else {
                        self.run_gone();
                    }
                }
                RunEvent::Cleared => self.run_gone(),
                RunEvent::Suspended(_) | RunEvent::Resumed => {}
            }
        }
    }

    /// Handles the end of a run: no process of it is left.
    pub(super) fn run_gone(&mut self) {
        let Some(master) = &mut self.master else { return };
        let Some(running) = master.running.take() else { return };
        let exit = running.exit.unwrap_or(engine::Exit::Code(0));
        let success = exit.shell_code() == 0 && !running.late;
        let Running { run, input, started, printed, .. } = running;
        let entry = json!({
            "at": rfc3339_millis(started),
            "digest": *input.seen.digest,
            "fence": input.fence,
            "pods": input.seen.list.len(),
            "exit": exit.to_string(),
        });
        {
            let mut all = self.api.leader_status();
            all.callbacks.push(entry);
            let excess = all.callbacks.len().saturating_sub(STATUS_RUNS);
            all.callbacks.drain(..excess);
        }
        let leads = master.leader.fence().is_some();
        if leads && success {
            let (results, counters) = (master.results.0.clone(), Arc::clone(&self.api.counters));
            tokio::spawn(async move {
                let printed = match printed {
                    Some(printed) => timeout(SHUTDOWN_LIMIT, printed.finish()).await.unwrap_or_default(),
                    None => Vec::new(),
                };
                let (state, fault) = callback::next_state(&input.state, &printed);
                if let Some(fault) = fault {
                    log::warn!("the state of the callback is unchanged: {fault}");
                    counters.callback_failed();
                }
                // Fails at shutdown.
                let _ = results.send(TaskResult::Printed(run, state));
            });
            return;
        }
        if leads {
            log::warn!("callback failed: {exit}");
            self.api.counters.callback_failed();
            self.publish("callback", "callback failed");
        }
        let now = self.now();
        let Some(master) = &mut self.master else { return };
        let effect = master.leader.ended(run, None, now);
        self.perform(effect);
    }
}
