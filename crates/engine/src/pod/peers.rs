//! All processes and those of others: who begins or ends by what is known of them, and what they are told.

use super::Pod;
use crate::event::{Cause, Effect};
use crate::job::{Job, Phase};
use crate::peer::{Death, LifecycleRecord};
use crate::{JobId, PodPhase, Time};

impl Pod {
    /// What is known of peers is another: who may begin by that, and who has to end?
    pub(super) fn on_peers_changed(&mut self, now: Time, out: &mut Vec<Effect>) {
        if !self.began || self.phase != PodPhase::Up {
            return;
        }
        self.check_pod_death_dependencies(now, out);
        if self.phase != PodPhase::Up {
            return;
        }
        for id in self.order.clone() {
            let job = &self.jobs[id.0];
            if job.retired || !job.is_wanted() {
                continue;
            }
            if matches!(job.phase, Phase::Waiting { .. }) && !job.plan.start_dependencies.is_empty() {
                self.dirty.insert(id);
            }
            self.check_death_dependencies(id, now, out);
        }
    }

    pub(super) fn check_death_dependencies(&mut self, id: JobId, now: Time, out: &mut Vec<Effect>) {
        let job = &self.jobs[id.0];
        let signal = job.plan.stop_signal;
        if self.phase == PodPhase::Up
            && !job.is_done()
            && job.is_wanted()
            && let Some(what) = self.fired_death_dependency(id)
        {
            self.with(id, now, out, |job, cx| job.request_stop(&Cause::Peer(what), signal, cx));
            self.dirty.insert(id);
        }
    }

    pub(super) fn check_pod_death_dependencies(&mut self, now: Time, out: &mut Vec<Effect>) {
        let doom = self
            .settings
            .death_dependencies
            .iter()
            .find_map(|expression| self.peers.fired_death_dependency(expression));
        if let Some(what) = doom.filter(|_| self.began) {
            self.stop(&Cause::Peer(what), None, now, out);
        }
    }

    /// What dooms a process, if anything does.
    pub(super) fn fired_death_dependency(&self, id: JobId) -> Option<String> {
        self.jobs[id.0]
            .plan
            .death_dependencies
            .iter()
            .find_map(|expression| self.peers.fired_death_dependency(expression))
    }

    /// Tells the peers what is news to them, before all that this step has to tell others. That something is not
    /// ready any more can wait until those who are to end by the same event have been told.
    pub(super) fn carve(&mut self, at: usize, now: Time, out: &mut Vec<Effect>) {
        let mut carved = Vec::new();
        for id in std::mem::take(&mut self.to_carve) {
            if let Some((stone, withdraws)) = self.jobs[id.0].carve(&self.settings.codes, now) {
                let list = if withdraws { &mut *out } else { &mut carved };
                list.push(Effect::WriteTombstone { job: Some(id), record: stone });
            }
        }
        if self.settings.tombstone {
            let before = self.carved.clone().unwrap_or_default();
            let stone = self.stone(&before, now);
            if self.carved.is_none() || stone != before {
                let list = if stone.only_withdraws(self.carved.as_ref()) { &mut *out } else { &mut carved };
                list.push(Effect::WriteTombstone { job: None, record: stone.clone() });
                self.carved = Some(stone);
            }
        }
        out.splice(at..at, carved);
    }

    fn stone(&mut self, before: &LifecycleRecord, now: Time) -> LifecycleRecord {
        let ran = || self.order.iter().any(|id| self.jobs[id.0].starts > 0);
        self.born = self.born.or_else(|| ran().then_some(now));
        let over = matches!(self.phase, PodPhase::Lingering { .. } | PodPhase::Ended { .. });
        let death = || {
            let (code, from) = self.verdict();
            let job = from.or_else(|| self.order.first().copied()).map(|id| &self.jobs[id.0]);
            let reason = match (&job, self.order.len()) {
                (Some(job), 1) => job.last_words(),
                (Some(job), _) if from.is_some() => format!("{}: {}", job.plan.name, job.last_words()),
                _ => "all have ended".to_owned(),
            };
            Death { at: now, code, signal: job.and_then(Job::last_signal), reason }
        };
        LifecycleRecord {
            born: self.born,
            ready: (self.phase == PodPhase::Up && self.born.is_some() && self.unhealthy == 0)
                .then(|| before.ready.unwrap_or(now)),
            died: over.then(|| before.died.clone().unwrap_or_else(death)),
        }
    }
}
