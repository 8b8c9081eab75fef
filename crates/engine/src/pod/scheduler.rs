//! The scheduler: starts jobs whose needs are met, and stops jobs whose dependents have exited.
//!
//! ```text
//! dirty job ─┬─ stop requested ──► dependents exited? ──yes──► stop signal
//!            └─ waiting ─► name still in use? needs met? peers? lease? ──► start
//!                                    └─ a need is impossible ──► blocked
//! ```

use std::time::Duration;

use super::Pod;
use crate::cause::{Cause, TerminalReason};
use crate::condition::ConditionStatus;
use crate::effect::Effect;
use crate::job::{Job, Phase};
use crate::plan::Need;
use crate::{JobId, PodPhase, Time};

impl Pod {
    /// Re-evaluates every dirty job: starts it if its needs are met, stops it if its dependents have exited.
    pub(super) fn reconcile(&mut self, now: Time, out: &mut Vec<Effect>) {
        while let Some(id) = self.dirty.pop_first() {
            let job = &self.jobs[id.0];
            if job.awaits_stop() {
                if self.fast_shutdown || !self.has_stopping_dependents(id) {
                    let share = self.share(id, now);
                    let fast = self.fast_shutdown;
                    self.with(id, now, out, |job, cx| job.stop(share, fast, cx));
                }
            } else if self.began && self.phase == PodPhase::Up && job.is_wanted() && !job.retired {
                match job.phase {
                    Phase::Waiting { .. } | Phase::Campaigning { won: true, .. } => {
                        self.start_if_possible(id, now, out);
                    }
                    Phase::Done(TerminalReason::NeedFailed { .. })
                        if self
                            .worst_need(id)
                            .is_none_or(|(_, status)| status != ConditionStatus::Impossible) =>
                    {
                        self.with(id, now, out, Job::reconsider);
                    }
                    _ => {}
                }
            }
        }
    }

    fn start_if_possible(&mut self, id: JobId, now: Time, out: &mut Vec<Effect>) {
        let job = &self.jobs[id.0];
        // A start on request overrides a death dependency.
        if !job.has_pending_start()
            && let Some(text) = self.fired_death_dependency(id)
        {
            let signal = job.plan.stop_signal;
            return self.with(id, now, out, |job, cx| job.request_stop(&Cause::Peer(text), signal, cx));
        }
        let name = &job.plan.name;
        if self.retiring.contains_key(name) {
            let need = format!("the previous {name} to be exited");
            return self.with(id, now, out, |job, cx| job.wait_for(need, cx));
        }
        let Some((need, status)) = self.worst_need(id) else {
            if self.jobs[id.0].plan.start_dependencies.is_empty() {
                return self.with(id, now, out, Job::proceed);
            }
            let peers = std::mem::take(&mut self.peers);
            self.with(id, now, out, |job, cx| job.await_peers(&peers, cx));
            self.peers = peers;
            return;
        };
        let name = self.jobs[need.job.0].plan.name.clone();
        if status == ConditionStatus::Impossible {
            self.with(id, now, out, |job, cx| job.need_failed(name, need.condition, cx));
        } else {
            let need = format!("{name} to be {}", need.condition.label());
            self.with(id, now, out, |job, cx| job.wait_for(need, cx));
        }
    }

    /// The first need that is impossible, or else the first that is pending; None: all are met.
    fn worst_need(&self, id: JobId) -> Option<(Need, ConditionStatus)> {
        let needs = self.jobs[id.0].plan.needs.iter();
        let mut open = needs.filter_map(|need| {
            let status = self
                .jobs
                .get(need.job.0)
                .map_or(ConditionStatus::Impossible, |other| other.status_of(need.condition));
            (status != ConditionStatus::Met).then_some((*need, status))
        });
        let first = open.next()?;
        Some(if first.1 == ConditionStatus::Impossible {
            first
        } else {
            open.find(|(_, status)| *status == ConditionStatus::Impossible).unwrap_or(first)
        })
    }

    /// Whether a dependent is to be stopped first.
    fn has_stopping_dependents(&self, id: JobId) -> bool {
        let stopping = |other: &JobId| {
            let job = &self.jobs[other.0];
            !job.is_wanted() && !job.is_done()
        };
        self.dependents[id.0].iter().any(stopping)
    }

    /// The time that a job may take to stop, if the shutdown has a time limit.
    pub(super) fn share(&self, id: JobId, now: Time) -> Option<Duration> {
        let end_by = self.end_by?;
        Some(end_by.since(now) / self.stages[id.0].max(1))
    }
}
