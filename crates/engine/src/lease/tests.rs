use proptest::prelude::*;

use super::*;

const TTL: Duration = Duration::from_secs(15);
const START: BootInstant = BootInstant(1_000_000_000_000);

fn at(after: Duration) -> BootInstant {
    START + after
}

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A holder, and what it has asked for last.
struct Case {
    holder: LeaseHolder,
    now: BootInstant,
}

impl Case {
    fn new() -> Self {
        Self { holder: LeaseHolder::new("the lock 'a'", TTL, START), now: START }
    }

    fn send(&mut self, event: LeaseEvent) -> Vec<LeaseEffect> {
        let mut out = Vec::new();
        self.holder.handle(self.now, event, &mut out);
        out
    }

    fn at(&mut self, after: f64, event: LeaseEvent) -> Vec<LeaseEffect> {
        self.now = at(secs(after));
        self.send(event)
    }

    fn timer(&mut self, after: f64) -> Vec<LeaseEffect> {
        self.at(after, LeaseEvent::TimerFired)
    }

    /// Acquired: the confirming keepalive is sent at 1 s and answered at 3 s.
    fn held() -> Self {
        let mut case = Self::new();
        assert_eq!(case.timer(0.0), [LeaseEffect::CheckGuard]);
        assert_eq!(case.send(LeaseEvent::Guard(true)), [LeaseEffect::Acquire { wait: ACQUIRE_WAIT }]);
        let granted = LeaseEvent::Granted { id: "x".to_owned(), fence: 7 };
        assert_eq!(case.at(1.0, granted), [keep_alive()]);
        assert!(!case.holder.holds(), "a grant that is not confirmed does not count");
        let confirmed = case.at(3.0, LeaseEvent::KeptAlive);
        // Counted from 1 s, when the keepalive was sent: 0.9 × 15 s = 13.5 s later.
        assert_eq!(
            confirmed,
            [LeaseEffect::ArmGuard(at(secs(14.5))), LeaseEffect::Report(LeaseNotice::Held(7))]
        );
        assert!(case.holder.holds());
        case
    }
}

fn keep_alive() -> LeaseEffect {
    LeaseEffect::KeepAlive { id: "x".to_owned() }
}

fn lost(effects: &[LeaseEffect]) -> Option<(&str, BootInstant)> {
    effects.iter().find_map(|effect| match effect {
        LeaseEffect::Report(LeaseNotice::Lost { why, kill_by }) => Some((why.as_str(), *kill_by)),
        _ => None,
    })
}

#[test]
fn counts_a_lease_from_the_sending_of_its_keepalive() {
    let mut case = Case::held();
    // Renewed a third of the ttl after the sending at 1 s, not after the answer at 3 s.
    assert_eq!(case.holder.deadline(), Some(at(secs(6.0))));
    assert_eq!(case.timer(6.0), [keep_alive()]);
    assert_eq!(case.at(8.0, LeaseEvent::KeptAlive), [LeaseEffect::ArmGuard(at(secs(19.5)))]);
    assert_eq!(case.holder.deadline(), Some(at(secs(11.0))));
    // Stopped 9 s after the sending at 6 s.
    assert_eq!(case.timer(11.0), [keep_alive()]);
    case.at(11.1, LeaseEvent::Failed("refused".to_owned()));
    case.now = at(secs(15.0));
    let effects = case.send(LeaseEvent::TimerFired);
    let (why, kill_by) = lost(&effects).expect("lost at 15 s");
    assert!(why.contains("about to expire: refused"), "{why}");
    assert_eq!(kill_by, at(secs(6.0 + 12.75)));
}

#[test]
fn keeps_no_lease_that_was_not_confirmed() {
    let mut case = Case::new();
    case.timer(0.0);
    case.send(LeaseEvent::Guard(true));
    case.at(1.0, LeaseEvent::Granted { id: "x".to_owned(), fence: 7 });
    assert_eq!(case.holder.deadline(), Some(at(secs(3.5))), "a sixth of the ttl for the answer");
    let effects = case.timer(3.5);
    assert_eq!(effects, [LeaseEffect::Cancel, LeaseEffect::Release { id: "x".to_owned() }]);
    let effects = case.at(3.6, LeaseEvent::Released);
    assert!(
        matches!(&effects[..], [LeaseEffect::Report(LeaseNotice::Waiting(why))] if why.contains("no answer"))
    );
    assert!(!case.holder.holds());
    // The next attempt follows after the back-off delay.
    assert_eq!(case.holder.deadline(), Some(at(secs(3.7))));
    assert_eq!(case.timer(3.7), [LeaseEffect::CheckGuard]);
}

#[test]
fn a_lease_that_expired_before_it_was_confirmed_is_requested_again() {
    let mut case = Case::new();
    case.timer(0.0);
    case.send(LeaseEvent::Guard(true));
    case.at(1.0, LeaseEvent::Granted { id: "x".to_owned(), fence: 7 });
    let effects = case.at(2.0, LeaseEvent::LeaseGone);
    assert!(matches!(&effects[..], [LeaseEffect::Report(LeaseNotice::Waiting(_))]), "{effects:?}");
    assert_eq!(case.timer(2.1), [LeaseEffect::CheckGuard]);
}

#[test]
fn stops_in_time_while_no_keepalive_is_answered() {
    let mut case = Case::held();
    assert_eq!(case.timer(6.0), [keep_alive()]);
    // The timeout of the keepalive, then the retry a second later.
    assert_eq!(case.holder.deadline(), Some(at(secs(8.5))));
    let effects = case.timer(8.5);
    assert!(matches!(&effects[..], [LeaseEffect::Cancel, LeaseEffect::Warn(_)]));
    assert_eq!(case.timer(9.5), [keep_alive()]);
    // 0.6 × 15 s after the sending at 1 s.
    assert_eq!(case.holder.deadline(), Some(at(secs(10.0))));
    let effects = case.timer(10.0);
    // Nothing is released while a process of the run may be left.
    assert!(matches!(&effects[..], [LeaseEffect::Cancel, LeaseEffect::Report(LeaseNotice::Lost { .. })]));
    assert_eq!(lost(&effects).map(|(_, kill_by)| kill_by), Some(at(secs(1.0 + 12.75))));
    assert!(!case.holder.holds());
    assert_eq!(case.holder.deadline(), None, "nothing is sent until the run is gone");
    assert_eq!(
        case.at(12.0, LeaseEvent::Resigned),
        [LeaseEffect::DisarmGuard, LeaseEffect::Release { id: "x".to_owned() }]
    );
}

#[test]
fn an_answer_that_comes_too_late_does_not_renew() {
    let mut case = Case::held();
    assert_eq!(case.timer(6.0), [keep_alive()]);
    // The machine was suspended: the answer is read after the run had to be stopped.
    assert_eq!(case.at(10.0, LeaseEvent::KeptAlive), []);
    assert!(lost(&case.timer(10.0)).is_some());
}

#[test]
fn a_lease_that_the_server_does_not_know_is_lost_at_once() {
    let mut case = Case::held();
    case.timer(6.0);
    let effects = case.at(6.2, LeaseEvent::LeaseGone);
    let (why, kill_by) = lost(&effects).expect("lost");
    assert!(why.contains("has expired"), "{why}");
    assert_eq!(kill_by, at(secs(6.2)));
}

#[test]
fn releases_until_the_lease_has_expired() {
    let mut case = Case::held();
    case.at(4.0, LeaseEvent::Resigned);
    assert!(!case.holder.holds());
    case.at(4.1, LeaseEvent::Failed("refused".to_owned()));
    assert_eq!(case.holder.deadline(), Some(at(secs(5.1))));
    assert_eq!(case.timer(5.1), [LeaseEffect::Release { id: "x".to_owned() }]);
    assert!(!case.holder.is_finished());
    // 15 s after the resignation no retry is due any more.
    case.at(18.5, LeaseEvent::Failed("refused".to_owned()));
    assert!(case.holder.is_finished());
}

#[test]
fn a_resignation_cancels_what_is_in_flight() {
    let mut case = Case::new();
    case.timer(0.0);
    case.send(LeaseEvent::Guard(true));
    assert_eq!(case.at(1.0, LeaseEvent::Resigned), [LeaseEffect::Cancel]);
    assert!(case.holder.is_finished());
    assert_eq!(case.at(2.0, LeaseEvent::Granted { id: "x".to_owned(), fence: 7 }), []);
    let mut case = Case::held();
    case.timer(6.0);
    let effects = case.at(7.0, LeaseEvent::Resigned);
    assert_eq!(
        effects,
        [LeaseEffect::Cancel, LeaseEffect::DisarmGuard, LeaseEffect::Release { id: "x".to_owned() }]
    );
}

#[test]
fn asks_a_server_that_does_not_wait_a_few_times_within_a_lease() {
    let mut case = Case::new();
    case.timer(0.0);
    case.send(LeaseEvent::Guard(true));
    case.at(0.1, LeaseEvent::InUse { holder: "b".to_owned() });
    assert_eq!(case.holder.deadline(), Some(at(secs(2.1))));
    case.timer(2.1);
    case.send(LeaseEvent::Guard(true));
    case.at(21.0, LeaseEvent::InUse { holder: "b".to_owned() });
    assert_eq!(case.holder.deadline(), Some(at(secs(21.0))), "a server that waited is asked again at once");
}

#[test]
fn attempts_that_fail_are_repeated_with_back_off_delay() {
    let mut case = Case::new();
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let due = case.holder.deadline().expect("an attempt follows");
        case.now = due;
        assert_eq!(case.send(LeaseEvent::TimerFired), [LeaseEffect::CheckGuard]);
        case.send(LeaseEvent::Guard(true));
        case.send(LeaseEvent::Failed("refused".to_owned()));
        pauses.push(case.now.until(case.holder.deadline().expect("an attempt follows")).as_millis());
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 2000, 2000]);
}

#[test]
fn nothing_is_requested_without_a_guard() {
    let mut case = Case::new();
    case.timer(0.0);
    let effects = case.send(LeaseEvent::Guard(false));
    assert!(matches!(&effects[..], [LeaseEffect::Report(LeaseNotice::Waiting(_))]));
    assert_eq!(case.timer(2.0), [LeaseEffect::CheckGuard]);
}

#[test]
fn a_guard_kills_what_outlives_its_lease_and_looks_again() {
    let mut runs = GuardedRuns::default();
    let run = crate::RunId(1);
    runs.arm(run, at(secs(1.0)));
    assert_eq!((runs.due(at(secs(0.9))), runs.deadline()), (vec![], Some(at(secs(1.0)))));
    assert_eq!(runs.due(at(secs(1.0))), [(run, true)]);
    runs.killed(run, true, at(secs(1.0)));
    assert_eq!(runs.deadline(), Some(at(secs(1.005))));
    assert_eq!(runs.due(at(secs(1.005))), [(run, false)]);
    // Nothing was left, but the supervisor lives: something may still turn up.
    runs.killed(run, false, at(secs(1.005)));
    assert_eq!(runs.deadline(), Some(at(secs(1.015))));
    // A keepalive was answered meanwhile.
    runs.arm(run, at(secs(9.0)));
    assert_eq!(runs.deadline(), Some(at(secs(9.0))));
    assert_eq!(runs.orphan(), [run]);
    assert!(!runs.is_finished());
    assert_eq!(runs.due(at(secs(9.0))), [(run, true)]);
    runs.killed(run, false, at(secs(9.0)));
    assert!(runs.is_finished());
}

/// What a server may answer, and when.
#[derive(Debug, Clone)]
enum Answer {
    Yes,
    No,
    Failed,
    Never,
}

fn answers() -> impl Strategy<Value = (Answer, u64, bool)> {
    let answer = prop_oneof![4 => Just(Answer::Yes), 1 => Just(Answer::No), 1 => Just(Answer::Failed), 1 => Just(Answer::Never)];
    // After so many milliseconds; and whether the process is paused until then (it reads no timer).
    (answer, prop_oneof![3 => 0u64..200, 1 => 0u64..8_000], prop::bool::weighted(0.1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_run_is_killed_before_another_client_may_hold_the_lease(ms in 500u64..86_400_000) {
        let timing = LeaseTiming::of(Duration::from_millis(ms));
        // A keepalive is tried twice at least before the lock counts as lost.
        let second = timing.renew_after() + timing.answer_within() + timing.retry_after();
        prop_assert!(second < timing.stop_after());
        prop_assert!(timing.stop_after() < timing.kill_after());
        prop_assert!(timing.kill_after() < timing.guard_after());
        prop_assert!(timing.guard_after().mul_f64(1.1) < timing.expires_after());
    }

    /// Against a server that answers late, not at all or falsely, with pauses of the whole process.
    #[test]
    fn holds_only_what_the_server_would_still_grant(
        ttl in 500u64..30_000,
        script in prop::collection::vec(answers(), 1..60),
        resign_at in prop::option::of(0u64..120_000),
    ) {
        let ttl = Duration::from_millis(ttl);
        let timing = LeaseTiming::of(ttl);
        let mut holder = LeaseHolder::new("x", ttl, START);
        let mut script = script.into_iter();
        let mut now = START;
        // The request in flight: its kind, when it was sent, its answer and when that arrives.
        let mut in_flight: Option<(LeaseEffect, BootInstant, Answer, BootInstant)> = None;
        // When the server received the last keepalive that it answered: not before it was sent.
        let mut confirmed: Option<BootInstant> = None;
        let (mut held, mut lost, mut armed, mut resigned) = (false, false, None, false);
        let mut out = Vec::new();
        let mut released = 0;
        for _ in 0..400 {
            if holder.is_finished() { break }
            let resign = resign_at.map(|ms| at(Duration::from_millis(ms))).filter(|_| !resigned);
            let arrives = in_flight.as_ref().filter(|(_, _, answer, _)| !matches!(answer, Answer::Never)).map(|it| it.3);
            let next = [holder.deadline(), resign, arrives].into_iter().flatten().min();
            // A holder without a deadline waits for the run to be gone.
            prop_assert!(next.is_some() || lost && !resigned, "{holder:?} waits for nothing");
            let next = next.unwrap_or(now);
            now = now.max(next);
            if holder.holds() && !lost {
                let sent = confirmed.expect("held without a confirmed keepalive");
                prop_assert!(armed == Some(sent + timing.guard_after()), "the guard is armed for what is held");
            }
            let event = if resign == Some(next) || (lost && !resigned && resign.is_none()) {
                resigned = true;
                LeaseEvent::Resigned
            } else if arrives == Some(next) {
                let (request, sent, answer, _) = in_flight.take().expect("in flight");
                match (&request, answer) {
                    (LeaseEffect::Acquire { .. }, Answer::Yes) => LeaseEvent::Granted { id: "i".to_owned(), fence: 1 },
                    (LeaseEffect::Acquire { .. }, Answer::No) => LeaseEvent::InUse { holder: "b".to_owned() },
                    (LeaseEffect::KeepAlive { .. }, Answer::Yes) => {
                        // The answer counts if the holder takes it.
                        let before = holder.clone();
                        let mut probe = before;
                        let mut effects = Vec::new();
                        probe.handle(now, LeaseEvent::KeptAlive, &mut effects);
                        if effects.iter().any(|effect| matches!(effect, LeaseEffect::ArmGuard(_))) {
                            confirmed = Some(sent);
                        }
                        LeaseEvent::KeptAlive
                    }
                    (LeaseEffect::KeepAlive { .. }, Answer::No) => LeaseEvent::LeaseGone,
                    (LeaseEffect::Release { .. }, Answer::Yes | Answer::No) => LeaseEvent::Released,
                    _ => LeaseEvent::Failed("refused".to_owned()),
                }
            } else {
                LeaseEvent::TimerFired
            };
            holder.handle(now, event, &mut out);
            for effect in out.drain(..) {
                match effect {
                    LeaseEffect::Cancel => {
                        prop_assert!(in_flight.take().is_some(), "nothing to cancel");
                    }
                    LeaseEffect::CheckGuard => {
                        prop_assert!(!resigned && in_flight.is_none());
                        let mut more = Vec::new();
                        holder.handle(now, LeaseEvent::Guard(true), &mut more);
                        prop_assert_eq!(more.len(), 1);
                        let (answer, ms, _) = script.next().unwrap_or((Answer::Yes, 1, false));
                        in_flight = Some((more.remove(0), now, answer, now + Duration::from_millis(ms)));
                    }
                    request @ (LeaseEffect::Acquire { .. } | LeaseEffect::KeepAlive { .. } | LeaseEffect::Release { .. }) => {
                        prop_assert!(in_flight.is_none(), "two requests in flight");
                        match &request {
                            LeaseEffect::Release { .. } => released += 1,
                            _ => prop_assert!(!resigned && !lost, "nothing is requested after that"),
                        }
                        let (answer, ms, paused) = script.next().unwrap_or((Answer::Yes, 1, false));
                        let arrives = now + Duration::from_millis(ms);
                        in_flight = Some((request, now, answer, arrives));
                        if paused { now = arrives }
                    }
                    LeaseEffect::ArmGuard(until) => armed = Some(until),
                    LeaseEffect::DisarmGuard => armed = None,
                    LeaseEffect::Report(LeaseNotice::Held(_)) => {
                        prop_assert!(!held, "reported twice");
                        held = true;
                    }
                    LeaseEffect::Report(LeaseNotice::Lost { kill_by, .. }) => {
                        prop_assert!(held && !lost);
                        lost = true;
                        let sent = confirmed.expect("held without a confirmed keepalive");
                        // Unless the server said that it is gone, the kill comes before the guard's and the expiry.
                        prop_assert!(kill_by <= (sent + timing.kill_after()).max(now));
                    }
                    LeaseEffect::Report(LeaseNotice::Waiting(_)) | LeaseEffect::Warn(_) => {}
                }
            }
            if holder.holds() {
                let sent = confirmed.expect("held without a confirmed keepalive");
                // Must happen: reported as lost before the run has to stop, unless the process itself was paused.
                let due = holder.deadline().expect("a holder always has a deadline");
                prop_assert!(due <= sent + timing.stop_after());
            }
        }
        if resigned && held {
            prop_assert!(released > 0, "a lease that was held is released");
        }
    }
}
