//! What follows a run: the restart policy, its delay and its limit.

use std::time::Duration;

use engine::snapshot::TerminalReason;
use engine::{
    Cause, Event, Exit, JobId, JobPhase, JobPlan, JobSnapshot, Policy, Request, RestartDelay, RestartLimit,
    RunId, Signal, SpawnErrorKind,
};

use super::{Checked, Step, check};
use crate::world::World;

/// The minimum delay after a failed start.
const BETWEEN_FAILED_STARTS: Duration = Duration::from_millis(100);

/// Whether the policy restarts a process that has exited with this code.
fn policy_restarts(plan: &JobPlan, code: i32) -> bool {
    let by_rule = plan.restart.rules.iter().any(|rule| rule.codes.contains(&code) != rule.negated);
    by_rule
        || match plan.restart.policy {
            Policy::Never => false,
            Policy::OnFailure => code != 0,
            Policy::Always => true,
        }
}

/// What terminated a process that was sent no stop signal, from the terminal or by forwarding.
fn exit_cause(plan: &JobPlan, exit: Exit, forwarded: Option<Signal>) -> Cause {
    let from_keys = |signal: Signal| plan.terminal && matches!(signal, Signal::INT | Signal::QUIT);
    match exit {
        Exit::Signal(signal) if forwarded == Some(signal) => Cause::Signal(signal),
        Exit::Signal(signal) if from_keys(signal) => Cause::Terminal(signal),
        Exit::Code(code) if from_keys(Signal(code - 128)) => Cause::Terminal(Signal(code - 128)),
        Exit::Signal(_) | Exit::Code(_) => Cause::Exited(exit),
    }
}

impl World {
    /// The restarts of a job that count, within the window.
    fn recent_restarts(&self, job: JobId, limit: RestartLimit) -> usize {
        let restarts = self.restarts.iter().filter(|(restarted, _)| *restarted == job);
        restarts.filter(|(_, at)| self.now.since(*at) < limit.window).count()
    }

    pub(crate) fn restarts_stay_within_limit(&self, job: JobId) -> Checked {
        let Some(limit) = self.plans[&job].restart.limit else { return Ok(()) };
        let recent = self.recent_restarts(job, limit);
        check(recent <= limit.restarts as usize, || format!("{recent} restarts within {:?}", limit.window))
    }

    /// The run that is over by this event, with no process left, and why.
    fn run_over(&self, step: &Step<'_>) -> Option<(RunId, Option<Cause>)> {
        match step.event {
            Event::SpawnFailed(run, error) => Some((*run, Some(Cause::SpawnFailed(error.clone())))),
            Event::Exited { run, leftovers: false, .. } | Event::Cleared(run) => Some((*run, None)),
            _ => None,
        }
    }

    /// A run is followed by a restart exactly if the policy, a request and the limit say so.
    pub(super) fn restart_policy_is_followed(&self, step: &Step<'_>) -> Checked {
        let Some((run, cause)) = self.run_over(step) else { return Ok(()) };
        let Some((id, job)) = self.jobs(step.before).find(|(_, job)| job.run == Some(run)) else {
            return Ok(());
        };
        let plan = &self.plans[&id];
        let Some(after) = step.after.get(id) else { return Ok(()) };
        let over = !self.processes.contains_key(&run);
        if !over {
            return Ok(());
        }
        let cause = cause.or_else(|| self.cause_of_exit(step, job, plan));
        let Some(cause) = cause else { return Ok(()) };
        let restarts = matches!(after.phase, JobPhase::Pausing { .. });
        let describe = |what: &str| format!("{id:?} {what} after {cause:?}: {:?}", after.phase);
        if job.ending.is_some() {
            return check(!restarts && matches!(after.phase, JobPhase::Done(_)), || {
                describe("was not completed although its stop was requested,")
            });
        }
        // A request overrides the policy.
        let asked = self
            .requests
            .values()
            .any(|open| matches!(open.action, Some(Request::Start(of) | Request::Restart(of)) if of == id));
        if cause == Cause::Request {
            return check(restarts, || describe("was not restarted on request"));
        }
        if asked {
            return Ok(());
        }
        let code = self.codes.get(&id).copied().unwrap_or_default();
        let hopeless = matches!(&cause, Cause::SpawnFailed(error) if error.kind != SpawnErrorKind::System)
            && plan.must_start
            && job.starts == 0;
        let planned = matches!(cause, Cause::Ttl(_) | Cause::LeaseLost(_));
        let wanted = !hopeless
            && match &cause {
                Cause::Terminal(_) => false,
                Cause::Ttl(_) => plan.restart.policy == Policy::Always,
                Cause::LeaseLost(_) => plan.restart.policy != Policy::Never,
                _ => policy_restarts(plan, code),
            };
        if !wanted {
            return check(after.phase == JobPhase::Done(TerminalReason::Exited), || {
                describe("was not completed although its policy does not restart it,")
            });
        }
        let counted = plan.restart.limit.filter(|_| !planned);
        // The restart of this step is counted already.
        let allowed = counted.is_none_or(|limit| {
            self.recent_restarts(id, limit) - usize::from(restarts) < limit.restarts as usize
        });
        if !allowed {
            let action = plan.restart.limit_action;
            return check(after.phase == JobPhase::Done(TerminalReason::RestartLimit(action)), || {
                describe("has reached its restart limit, and goes on")
            });
        }
        check(restarts, || describe("was not restarted although its policy says so"))?;
        self.delay_is_as_planned(plan, &cause, after)
    }

    fn delay_is_as_planned(&self, plan: &JobPlan, cause: &Cause, after: &JobSnapshot) -> Checked {
        let JobPhase::Pausing { retry_at, .. } = &after.phase else { return Ok(()) };
        let failed_start = matches!(cause, Cause::SpawnFailed(_));
        let least = if failed_start { BETWEEN_FAILED_STARTS } else { Duration::ZERO };
        let (from, to) = match &plan.restart.delay {
            RestartDelay::Fixed(delay) => (*delay, *delay),
            RestartDelay::Exponential { range, first_at_once: true, .. } => (Duration::ZERO, range.to),
            RestartDelay::Exponential { range, .. } => (range.from, range.to),
        };
        let delay = retry_at.since(self.now);
        check(from.max(least) <= delay && delay <= to.max(least), || {
            format!("restart after {delay:?}, planned {:?}", plan.restart.delay)
        })
    }

    /// Why the main process is gone, from what the engine knew before.
    fn cause_of_exit(&self, step: &Step<'_>, job: &JobSnapshot, plan: &JobPlan) -> Option<Cause> {
        let why = match &job.phase {
            JobPhase::Draining { why, .. }
            | JobPhase::Stopping { why, .. }
            | JobPhase::Killing { why, .. } => why.clone(),
            JobPhase::Starting | JobPhase::Running { .. } => {
                let Event::Exited { exit, .. } = step.event else { return None };
                // What was forwarded to it is in the cause of the exit, which is published.
                let forwarded = job.run.and_then(|run| self.forwarded.get(&run).copied());
                exit_cause(plan, *exit, forwarded)
            }
            _ => return None,
        };
        Some(match why {
            Cause::LeaderExited(exit) => Cause::Exited(exit),
            other => other,
        })
    }

    /// A delay that has expired is followed by the next attempt.
    pub(super) fn restart_delays_expire(&self, step: &Step<'_>) -> Checked {
        if *step.event != Event::TimerFired {
            return Ok(());
        }
        for (id, job) in self.jobs(step.before) {
            if let JobPhase::Pausing { retry_at, .. } = job.phase
                && retry_at <= self.now
            {
                let after = step.after.get(id);
                let same = after.is_some_and(|after| after.phase == job.phase && after.since == job.since);
                check(!same, || format!("{id:?} is not started again after its delay"))?;
            }
        }
        Ok(())
    }
}
