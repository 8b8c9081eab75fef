//! Random plans and acts.

use std::time::Duration;

use engine::{
    CodeMap, Condition, DependencyTerm, DurationRange, ExitRule, Expression, JobId, JobPlan, KillMode, Need,
    NotifyMessage, PeerExit, PeerStatus, Plan, PodSettings, Policy, PostStart, ProbePlan, Probes, Restart,
    RestartDelay, RestartLimit, RestartRule, Signal, SpawnErrorKind, StartDependency, StartLimitAction,
    TimeoutAction,
};
use proptest::prelude::*;

use crate::acts::{Act, Action, PEERS, TaskResult};
use crate::world::Habits;

pub(crate) fn habits() -> impl Strategy<Value = Habits> {
    (any::<bool>(), proptest::bool::weighted(0.2))
        .prop_map(|(ignore_stop, unkillable)| Habits { ignore_stop, unkillable })
}

fn duration(to_ms: u64) -> impl Strategy<Value = Duration> {
    (0..=to_ms).prop_map(Duration::from_millis)
}

fn range(to_ms: u64) -> impl Strategy<Value = DurationRange> {
    (duration(to_ms), duration(to_ms)).prop_map(|(a, b)| DurationRange { from: a.min(b), to: a.max(b) })
}

fn restart() -> impl Strategy<Value = Restart> {
    let delay = prop_oneof![
        Just(RestartDelay::Fixed(Duration::ZERO)),
        duration(8000).prop_map(RestartDelay::Fixed),
        (range(8000), duration(5000), any::<bool>()).prop_map(|(range, reset_after, first_at_once)| {
            RestartDelay::Exponential { range, reset_after, first_at_once }
        }),
    ];
    let limit = proptest::option::of(
        (0u32..4, duration(20_000)).prop_map(|(restarts, window)| RestartLimit { restarts, window }),
    );
    let policy =
        prop_oneof![1 => Just(Policy::Never), 1 => Just(Policy::OnFailure), 2 => Just(Policy::Always)];
    let rule =
        (0i32..4, any::<bool>()).prop_map(|(code, negated)| RestartRule { codes: vec![code, 9], negated });
    let rules = proptest::collection::vec(rule, 0..2);
    let limit_action = prop_oneof![
        Just(StartLimitAction::End),
        Just(StartLimitAction::Exit),
        Just(StartLimitAction::Hold),
        Just(StartLimitAction::Ignore)
    ];
    (policy, rules, delay, limit, limit_action).prop_map(|(policy, rules, delay, limit, limit_action)| {
        Restart { policy, rules, delay, limit, limit_action }
    })
}

fn probe() -> impl Strategy<Value = ProbePlan> {
    let thresholds = (1u32..3, 1u32..3, proptest::option::of(duration(2000)), any::<bool>());
    let period = (200u64..3000).prop_map(Duration::from_millis);
    (duration(2000), period, thresholds).prop_map(
        |(initial_delay, period, (success_threshold, failure_threshold, grace, restarts))| ProbePlan {
            initial_delay,
            period,
            timeout: Duration::from_secs(1),
            success_threshold,
            failure_threshold,
            grace,
            restarts,
        },
    )
}

fn probes() -> impl Strategy<Value = Probes> {
    let some = || proptest::option::weighted(0.3, probe());
    (some(), some(), some()).prop_map(|(startup, liveness, readiness)| Probes {
        startup,
        liveness,
        readiness,
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        Just(Condition::Started),
        Just(Condition::Ready),
        Just(Condition::Succeeded),
        Just(Condition::Failed),
        Just(Condition::Exited)
    ]
}

fn expression() -> impl Strategy<Value = Expression> {
    let term = (any::<bool>(), condition()).prop_map(|(which, condition)| DependencyTerm {
        peer: PEERS[usize::from(which)].to_owned(),
        condition,
    });
    proptest::collection::vec(proptest::collection::vec(term, 1..3), 1..3).prop_map(Expression)
}

fn start_dependencies() -> impl Strategy<Value = Vec<StartDependency>> {
    let it = (expression(), proptest::option::of(duration(4000)), any::<bool>());
    let it = it.prop_map(|(expression, timeout, fail)| StartDependency {
        expression,
        timeout,
        at_timeout: if fail { TimeoutAction::Fail } else { TimeoutAction::StartAnyway },
    });
    prop_oneof![3 => Just(Vec::new()), 1 => proptest::collection::vec(it, 1..3)]
}

fn death_dependencies() -> impl Strategy<Value = Vec<Expression>> {
    prop_oneof![5 => Just(Vec::new()), 1 => proptest::collection::vec(expression(), 1..3)]
}

fn peer_status() -> impl Strategy<Value = PeerStatus> {
    let end =
        (proptest::option::of(0i32..2), any::<bool>()).prop_map(|(code, stale)| PeerExit { code, stale });
    prop_oneof![
        any::<bool>().prop_map(|ready| PeerStatus { started: true, ready, ended: None }),
        end.prop_map(|end| PeerStatus { started: false, ready: false, ended: Some(end) }),
    ]
}

/// The plan of a job, and the conditions that it may need of earlier jobs.
fn job() -> impl Strategy<Value = (JobPlan, [Option<Condition>; 3])> {
    let condition = prop_oneof![
        3 => Just(Condition::Started),
        3 => Just(Condition::Ready),
        1 => Just(Condition::Succeeded),
        1 => Just(Condition::Failed),
        1 => Just(Condition::Exited)
    ];
    let condition = || proptest::option::weighted(0.35, condition.clone());
    let hook =
        (duration(3000), any::<bool>()).prop_map(|(deadline, when_ready)| PostStart { deadline, when_ready });
    let more = (
        proptest::bool::weighted(0.15),
        probes(),
        proptest::bool::weighted(0.15),
        proptest::option::weighted(0.3, duration(5000)),
        proptest::option::weighted(0.25, duration(5000)),
        proptest::option::weighted(0.25, hook),
        proptest::bool::weighted(0.25),
        any::<bool>(),
        (
            start_dependencies(),
            death_dependencies(),
            any::<bool>(),
            proptest::bool::weighted(0.25),
            prop_oneof![Just(KillMode::Main), Just(KillMode::Group)],
        ),
    );
    let needs = [condition(), condition(), condition()];
    (restart(), proptest::option::of(range(5000)), duration(6000), duration(3000), any::<bool>(), more, needs)
        .prop_map(|(restart, ttl, grace, abandon_after, terminal, more, needs)| {
            let (
                sidecar,
                probes,
                notifies,
                start_deadline,
                watchdog,
                post_start,
                pre_stop,
                must_start,
                of_peers,
            ) = more;
            let (start_dependencies, death_dependencies, tombstone, needs_lease, kill_mode) = of_peers;
            let plan = JobPlan {
                needs_lease,
                name: "p".to_owned(),
                needs: Vec::new(),
                start_dependencies,
                death_dependencies,
                tombstone,
                sidecar,
                restart,
                ttl,
                stop_signal: Signal::TERM,
                kill_mode,
                grace,
                abandon_after,
                terminal,
                must_start,
                probes,
                notifies,
                start_deadline,
                watchdog,
                post_start,
                pre_stop,
            };
            (plan, needs)
        })
}

pub(crate) fn plan() -> impl Strategy<Value = Plan> {
    let stop_on = prop_oneof![Just(vec![Signal::TERM]), Just(vec![Signal::TERM, Signal::INT, Signal::QUIT]),];
    let linger = prop_oneof![Just(Duration::ZERO), duration(4000)];
    let fast_shutdown = proptest::option::of(duration(1000).prop_map(|grace| (vec![Signal::INT], grace)));
    let settings = (
        stop_on,
        linger,
        fast_shutdown,
        any::<bool>(),
        proptest::option::of((500u64..9000).prop_map(Duration::from_millis)),
        0usize..8,
        (
            death_dependencies(),
            (1u64..5000).prop_map(Duration::from_millis),
            any::<bool>(),
            proptest::option::of(0i32..2),
        ),
    );
    (proptest::collection::vec(job(), 1..5), settings).prop_map(|(jobs, settings)| {
        let (stop_on, linger, fast_shutdown, forward, deadline, exit, of_peers) = settings;
        let (death_dependencies, rebirth, tombstone, caused) = of_peers;
        let codes = CodeMap { caused, codes: vec![(3, 0), (4, 5)] };
        let exit = match exit {
            from if from < jobs.len() => ExitRule::From(JobId(from)),
            5 => ExitRule::FirstInPlan,
            _ => ExitRule::FirstToFail,
        };
        let mut plans: Vec<JobPlan> = Vec::new();
        for (index, (mut plan, needs)) in jobs.into_iter().enumerate() {
            plan.name = format!("p{index}");
            plan.needs = (0..index)
                .filter_map(|job| Some(Need { job: JobId(job), condition: needs[job % 3]? }))
                .filter(|need| {
                    let may_end = plans[need.job.0].restart.may_end();
                    may_end || matches!(need.condition, Condition::Started | Condition::Ready)
                })
                .collect();
            plans.push(plan);
        }
        Plan {
            jobs: plans,
            pod: PodSettings {
                stop_on,
                fast_shutdown,
                forward,
                linger,
                deadline,
                exit,
                codes,
                death_dependencies,
                rebirth,
                tombstone,
            },
        }
    })
}

pub(crate) fn act() -> impl Strategy<Value = Act> {
    let kind = prop_oneof![
        Just(SpawnErrorKind::NotFound),
        Just(SpawnErrorKind::NotExecutable),
        Just(SpawnErrorKind::System)
    ];
    let signal = prop_oneof![
        2 => Just(Signal::TERM),
        2 => Just(Signal::INT),
        1 => Just(Signal::HUP),
        3 => Just(Signal(10)),
    ];
    prop_oneof![
        8 => duration(4000).prop_map(Act::Pass),
        2 => Just(Act::WakeEarly),
        10 => Just(Act::ReportSpawn),
        2 => kind.prop_map(Act::FailSpawn),
        8 => (0i32..20, any::<bool>(), any::<bool>())
            .prop_map(|(code, signal, leaving)| Act::Exit { code: code.max(i32::from(signal)), signal, leaving }),
        4 => Just(Act::Clear),
        1 => signal.prop_map(Act::Signal),
        1 => Just(Act::Suspend),
        1 => Just(Act::Resume),
        3 => any::<u8>().prop_map(Act::Stale),
        1 => Just(Act::RefuseAll),
        10 => prop_oneof![4 => Just(TaskResult::Pass), 2 => Just(TaskResult::Fail), 1 => Just(TaskResult::Impossible)]
            .prop_map(Act::Finish),
        3 => prop_oneof![
            2 => Just(NotifyMessage::Ready),
            2 => Just(NotifyMessage::Watchdog),
            1 => Just(NotifyMessage::WatchdogTrigger),
            1 => Just(NotifyMessage::Stopping),
            1 => duration(3000).prop_map(NotifyMessage::ExtendTimeout)
        ].prop_map(Act::Notify),
        1 => Just(Act::OverMemory),
        6 => Just(Act::Win),
        2 => duration(3000).prop_map(Act::Lose),
        3 => (
            prop_oneof![
                6 => Just(Action::Start),
                6 => Just(Action::Stop),
                6 => Just(Action::Restart),
                2 => Just(Action::Signal),
                1 => Just(Action::SignalGroup),
                1 => Just(Action::End)
            ],
            any::<u8>()
        ).prop_map(|(action, index)| Act::Ask(action, index)),
        5 => (any::<u8>(), peer_status()).prop_map(|(index, status)| Act::Peer(index, status)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(keep, change)| Act::Reload(keep, change)),
        1 => Just(Act::Reload(255, 0)),
    ]
}
