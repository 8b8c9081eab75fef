//! Unit tests, and a property test that checks each decision against a model with random server behaviour.

use proptest::prelude::*;

use super::*;

fn pod(version: &str) -> PodState {
    PodState { uid: "u".to_owned(), resource_version: version.to_owned(), containers: vec![] }
}

fn listed(pod: Option<PodState>, version: &str) -> Input {
    Input::Listed(Listed { pod, version: version.to_owned() })
}

fn event(version: &str, pod: PodChange) -> Input {
    Input::Event(Event { version: version.to_owned(), pod })
}

fn status(code: u16, retry_after: Option<u64>) -> KubeError {
    let retry_after = retry_after.map(Duration::from_secs);
    KubeError::Status { request: "/x".to_owned(), code, message: "m".to_owned(), retry_after }
}

fn refused() -> KubeError {
    KubeError::Connect { server: "api:443".to_owned(), why: "connection refused".to_owned() }
}

fn malformed() -> KubeError {
    KubeError::Malformed { request: "/x".to_owned(), why: "w".to_owned(), beginning: "b".to_owned() }
}

fn ended_at_once() -> KubeError {
    KubeError::WatchesEndAtOnce { request: "/x".to_owned() }
}

fn forbidden() -> KubeError {
    let (namespace, message) = ("shop".to_owned(), "m".to_owned());
    KubeError::Forbidden { account: None, verb: "watch", namespace, message }
}

fn watch(from: &str) -> NextRequest {
    NextRequest::Watch { from: from.to_owned() }
}

/// Returns a machine that watches from version 7 and has reported a pod.
fn watching() -> WatchMachine {
    let mut machine = WatchMachine::new(Pace::default());
    assert_eq!(machine.next_request(), NextRequest::List);
    let decision = machine.step(listed(Some(pod("5")), "7"), 0.0);
    assert_eq!(
        decision,
        Decision { update: Some(Update::Pod(Some(pod("5")))), next: Next::Request(Duration::ZERO) }
    );
    assert_eq!(machine.next_request(), watch("7"));
    machine
}

fn pause(decision: &Decision) -> u128 {
    match decision.next {
        Next::Request(pause) => pause.as_millis(),
        Next::Read => panic!("no pause: {decision:?}"),
    }
}

#[test]
fn a_watch_resumes_from_the_newest_version() {
    let mut machine = watching();
    assert_eq!(
        machine.step(event("8", PodChange::Updated(pod("8"))), 0.0).update,
        Some(Update::Pod(Some(pod("8"))))
    );
    assert_eq!(machine.step(event("12", PodChange::None), 0.0), Decision { update: None, next: Next::Read });
    assert_eq!(machine.step(event("", PodChange::None), 0.0).next, Next::Read);
    let decision = machine.step(Input::Ended(ended_at_once()), 0.0);
    assert_eq!((decision.update.clone(), pause(&decision), machine.next_request()), (None, 800, watch("12")));
    assert_eq!(machine.step(event("13", PodChange::Deleted), 0.0).update, Some(Update::Pod(None)));
}

#[test]
fn a_watch_that_stayed_open_is_restarted_at_once() {
    let mut machine = watching();
    assert_eq!(machine.step(Input::StayedOpen, 0.0), Decision { update: None, next: Next::Read });
    assert_eq!(pause(&machine.step(Input::Ended(ended_at_once()), 0.0)), 0);
    assert_eq!(
        pause(&machine.step(Input::Ended(ended_at_once()), 0.0)),
        800,
        "the next watch did not stay open"
    );
    machine.step(Input::StayedOpen, 0.0);
    assert_eq!(pause(&machine.step(Input::RequestFailed(status(410, None)), 0.0)), 0);
    assert_eq!(machine.next_request(), NextRequest::List);
}

#[test]
fn reports_expired_versions_only_when_repeated() {
    let mut machine = watching();
    for (attempt, expected) in [(1, 800), (2, 1600), (3, 3200), (4, 6400)] {
        let decision = machine.step(Input::RequestFailed(status(410, None)), 0.0);
        assert_eq!((pause(&decision), machine.next_request()), (expected, NextRequest::List));
        assert_eq!(decision.update.is_some(), attempt == 3, "{attempt}: {decision:?}");
        machine.step(listed(Some(pod("5")), "9"), 0.0);
        assert_eq!(machine.next_request(), watch("9"));
    }
}

#[test]
fn reports_each_kind_of_failure_once_until_the_next_pod() {
    let mut machine = WatchMachine::new(Pace::default());
    let fail =
        |machine: &mut WatchMachine, error: KubeError| machine.step(Input::RequestFailed(error), 0.0).update;
    assert_eq!(fail(&mut machine, refused()), Some(Update::Failed(refused())));
    assert_eq!(fail(&mut machine, refused()), None);
    assert_eq!(fail(&mut machine, status(500, None)), Some(Update::Failed(status(500, None))));
    assert_eq!(fail(&mut machine, refused()), None);
    assert_eq!(machine.step(listed(None, "3"), 0.0).update, Some(Update::Pod(None)));
    assert_eq!(fail(&mut machine, refused()), Some(Update::Failed(refused())), "a failure of the watch");
    assert_eq!(fail(&mut machine, refused()), None);
    assert_eq!(machine.next_request(), watch("3"));
    assert_eq!(machine.step(Input::StayedOpen, 0.0).update, Some(Update::Pod(None)), "the watch works again");
    assert_eq!(machine.step(event("4", PodChange::None), 0.0).update, None);
}

#[test]
fn a_successful_list_does_not_end_failures_of_the_watch() {
    let mut machine = watching();
    for attempt in 0..5 {
        let decision = machine.step(Input::Broken(malformed()), 0.0);
        assert_eq!(decision.update.is_some(), attempt == 0, "{attempt}");
        assert_eq!(pause(&decision), 800 << attempt.min(4));
        assert_eq!(machine.next_request(), NextRequest::List);
        assert_eq!(machine.step(listed(Some(pod("5")), "9"), 0.0).update, None);
    }
    assert_eq!(machine.step(event("10", PodChange::None), 0.0).update, Some(Update::Pod(Some(pod("5")))));
}

#[test]
fn repeats_the_watch_without_a_list_after_temporary_errors() {
    let mut machine = watching();
    for error in [forbidden(), refused(), status(500, None), status(429, None), status(503, None)] {
        machine.step(Input::RequestFailed(error), 0.0);
        assert_eq!(machine.next_request(), watch("7"));
    }
    for input in [
        Input::RequestFailed(status(400, None)),
        Input::RequestFailed(status(504, None)),
        Input::RequestFailed(status(410, None)),
        Input::Broken(status(500, None)),
        Input::Broken(malformed()),
    ] {
        let mut machine = watching();
        machine.step(input, 0.0);
        assert_eq!(machine.next_request(), NextRequest::List);
    }
}

#[test]
fn respects_the_retry_delay_of_the_server() {
    for mut machine in [WatchMachine::new(Pace::default()), watching()] {
        assert_eq!(pause(&machine.step(Input::RequestFailed(status(429, Some(7))), 0.0)), 7000);
        assert_eq!(pause(&machine.step(Input::RequestFailed(status(503, Some(7))), 1.0)), 7800);
        assert_eq!(
            pause(&machine.step(Input::RequestFailed(status(429, Some(0))), 0.0)),
            3200,
            "never less than the back-off delay"
        );
    }
}

#[test]
fn reports_watches_that_repeatedly_end_at_once() {
    let mut machine = watching();
    for attempt in 1..6 {
        assert_eq!(
            machine.step(Input::Ended(ended_at_once()), 0.0).update.is_some(),
            attempt == 3,
            "{attempt}"
        );
        assert_eq!(machine.next_request(), watch("7"));
    }
    assert_eq!(machine.step(Input::StayedOpen, 0.0).update, Some(Update::Pod(Some(pod("5")))));
}

/// The next action of the simulated server, if it fits the request.
#[derive(Debug, Clone)]
enum Action {
    Good,
    Bookmark,
    Change,
    Remove,
    Stand,
    Fail(KubeError),
    Break(KubeError),
    End,
}

fn error() -> impl Strategy<Value = KubeError> {
    prop_oneof![
        Just(refused()),
        Just(forbidden()),
        Just(malformed()),
        Just(status(410, None)),
        Just(status(500, None)),
        Just(status(429, Some(2))),
        Just(status(400, None)),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => Just(Action::Good),
        1 => Just(Action::Bookmark),
        2 => Just(Action::Change),
        1 => Just(Action::Remove),
        1 => Just(Action::Stand),
        2 => Just(Action::End),
        2 => error().prop_map(Action::Fail),
        2 => error().prop_map(Action::Break),
    ]
}

proptest! {
    #[test]
    fn random_inputs_keep_the_rules(actions in proptest::collection::vec((action(), 0.0..=1.0f64), 0..200)) {
        let pace = Pace::default();
        let mut machine = WatchMachine::new(pace);
        // The model: a counter of versions, the pod, and what the receiver knows.
        let mut version = 100u32;
        let mut current: Option<PodState> = None;
        let mut newest: Option<String> = None;
        let mut pods: Vec<Option<PodState>> = Vec::new();
        let mut failures: Vec<(bool, Kind)> = Vec::new();
        let mut stayed_open = false;
        for (action, random) in actions {
            let listing = machine.next_request() == NextRequest::List;
            version += 1;
            let input = match (&action, listing) {
                (Action::Fail(error), _) => Input::RequestFailed(error.clone()),
                (Action::Break(error), false) => Input::Broken(error.clone()),
                (_, true) => {
                    newest = Some(version.to_string());
                    listed(current.clone(), &version.to_string())
                }
                (Action::Good | Action::End, false) => Input::Ended(ended_at_once()),
                (Action::Stand, false) => { stayed_open = true; Input::StayedOpen }
                (change, false) => {
                    newest = Some(version.to_string());
                    let change = match change {
                        Action::Change => PodChange::Updated(pod(&version.to_string())),
                        Action::Remove => PodChange::Deleted,
                        _ => PodChange::None,
                    };
                    match &change {
                        PodChange::Updated(pod) => current = Some(pod.clone()),
                        PodChange::Deleted => current = None,
                        PodChange::None => {}
                    }
                    event(&version.to_string(), change)
                }
            };
            let is_list = matches!(input, Input::Listed(_));
            let continues = matches!(input, Input::StayedOpen | Input::Event(_));
            let Decision { update, next } = machine.step(input, random);
            match update {
                Some(Update::Pod(pod)) => { pods.push(pod); failures.clear(); }
                Some(Update::Failed(error)) => {
                    let failure = (listing, error.kind());
                    prop_assert!(!failures.contains(&failure), "reported again: {error}");
                    failures.push(failure);
                }
                None => {}
            }
            // Everything that the server sent was reported, and a working watch has no failures.
            if is_list || continues {
                prop_assert_eq!(pods.last(), Some(&current));
            }
            if continues {
                prop_assert!(failures.is_empty());
            }
            // There are no requests in a tight loop.
            match next {
                Next::Read => prop_assert!(continues),
                Next::Request(pause) => {
                    prop_assert!(!continues);
                    let at_once = is_list || (stayed_open && !listing);
                    let late_enough = match &action {
                        Action::Fail(error) | Action::Break(error) if !is_list => error.retry_after().unwrap_or_default(),
                        _ => Duration::ZERO,
                    };
                    prop_assert!(pause >= late_enough);
                    prop_assert!(at_once || pause >= pace.first, "{pause:?} after {action:?}");
                    prop_assert!(pause <= pace.longest + pace.first);
                    stayed_open = false;
                }
            }
            // Versions only advance, and a list is requested only if the watch cannot resume.
            match machine.next_request() {
                NextRequest::Watch { from } => prop_assert_eq!(Some(from), newest.clone()),
                NextRequest::List => {
                    let cannot = match &action {
                        Action::Break(_) => true,
                        Action::Fail(error) => matches!(error.kind(), Kind::Status(400 | 410)),
                        _ => false,
                    };
                    prop_assert!(listing || cannot, "{action:?}");
                }
            }
        }
    }
}
