//! A pretend server draws what happens; each decision is held against a model that knows the rules in another way.

use proptest::prelude::*;

use super::*;

fn pod(version: &str) -> PodState {
    PodState { uid: "u".to_owned(), resource_version: version.to_owned(), containers: vec![] }
}

fn listed(pod: Option<PodState>, version: &str) -> Happened {
    Happened::Listed(Listed { pod, version: version.to_owned() })
}

fn event(version: &str, pod: Change) -> Happened {
    Happened::Event(Event { version: version.to_owned(), pod })
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

fn cut() -> KubeError {
    KubeError::Cut { request: "/x".to_owned() }
}

fn forbidden() -> KubeError {
    let (namespace, message) = ("shop".to_owned(), "m".to_owned());
    KubeError::Forbidden { account: None, verb: "watch", namespace, message }
}

fn watch(from: &str) -> Ask {
    Ask::Watch { from: from.to_owned() }
}

/// A machine that watches from version 7, and has told a pod.
fn watching() -> Steps {
    let mut steps = Steps::new(Pace::default());
    assert_eq!(steps.ask(), Ask::List);
    let step = steps.step(listed(Some(pod("5")), "7"), 0.0);
    assert_eq!(step, Step { tell: Some(Update::Pod(Some(pod("5")))), then: Then::Ask(Duration::ZERO) });
    assert_eq!(steps.ask(), watch("7"));
    steps
}

fn pause(step: &Step) -> u128 {
    match step.then {
        Then::Ask(pause) => pause.as_millis(),
        Then::Read => panic!("no pause: {step:?}"),
    }
}

#[test]
fn a_watch_goes_on_from_the_newest_version() {
    let mut steps = watching();
    assert_eq!(steps.step(event("8", Change::Now(pod("8"))), 0.0).tell, Some(Update::Pod(Some(pod("8")))));
    assert_eq!(steps.step(event("12", Change::None), 0.0), Step { tell: None, then: Then::Read });
    assert_eq!(steps.step(event("", Change::None), 0.0).then, Then::Read);
    let step = steps.step(Happened::Ended(cut()), 0.0);
    assert_eq!((step.tell.clone(), pause(&step), steps.ask()), (None, 800, watch("12")));
    assert_eq!(steps.step(event("13", Change::Gone), 0.0).tell, Some(Update::Pod(None)));
}

#[test]
fn a_watch_that_stood_is_begun_again_at_once() {
    let mut steps = watching();
    assert_eq!(steps.step(Happened::Stood, 0.0), Step { tell: None, then: Then::Read });
    assert_eq!(pause(&steps.step(Happened::Ended(cut()), 0.0)), 0);
    assert_eq!(pause(&steps.step(Happened::Ended(cut()), 0.0)), 800, "the next one did not stand");
    steps.step(Happened::Stood, 0.0);
    assert_eq!(pause(&steps.step(Happened::Failed(status(410, None)), 0.0)), 0);
    assert_eq!(steps.ask(), Ask::List);
}

#[test]
fn a_version_that_is_gone_is_no_trouble_unless_each_is() {
    let mut steps = watching();
    for (again, expected) in [(1, 800), (2, 1600), (3, 3200), (4, 6400)] {
        let step = steps.step(Happened::Failed(status(410, None)), 0.0);
        assert_eq!((pause(&step), steps.ask()), (expected, Ask::List));
        assert_eq!(step.tell.is_some(), again == 3, "{again}: {step:?}");
        steps.step(listed(Some(pod("5")), "9"), 0.0);
        assert_eq!(steps.ask(), watch("9"));
    }
}

#[test]
fn trouble_is_told_once_for_each_kind_and_a_pod_ends_it() {
    let mut steps = Steps::new(Pace::default());
    let tells = |steps: &mut Steps, error: KubeError| steps.step(Happened::Failed(error), 0.0).tell;
    assert_eq!(tells(&mut steps, refused()), Some(Update::Trouble(refused())));
    assert_eq!(tells(&mut steps, refused()), None);
    assert_eq!(tells(&mut steps, status(500, None)), Some(Update::Trouble(status(500, None))));
    assert_eq!(tells(&mut steps, refused()), None);
    assert_eq!(steps.step(listed(None, "3"), 0.0).tell, Some(Update::Pod(None)));
    assert_eq!(tells(&mut steps, refused()), Some(Update::Trouble(refused())), "of the watch");
    assert_eq!(tells(&mut steps, refused()), None);
    assert_eq!(steps.ask(), watch("3"));
    assert_eq!(steps.step(Happened::Stood, 0.0).tell, Some(Update::Pod(None)), "it works again");
    assert_eq!(steps.step(event("4", Change::None), 0.0).tell, None);
}

#[test]
fn a_good_list_does_not_end_the_trouble_of_a_watch() {
    let mut steps = watching();
    for again in 0..5 {
        let step = steps.step(Happened::Broken(malformed()), 0.0);
        assert_eq!(step.tell.is_some(), again == 0, "{again}");
        assert_eq!(pause(&step), 800 << again.min(4));
        assert_eq!(steps.ask(), Ask::List);
        assert_eq!(steps.step(listed(Some(pod("5")), "9"), 0.0).tell, None);
    }
    assert_eq!(steps.step(event("10", Change::None), 0.0).tell, Some(Update::Pod(Some(pod("5")))));
}

#[test]
fn a_watch_that_is_missing_a_permission_is_asked_for_again_and_no_list() {
    let mut steps = watching();
    for error in [forbidden(), refused(), status(500, None), status(429, None), status(503, None)] {
        steps.step(Happened::Failed(error), 0.0);
        assert_eq!(steps.ask(), watch("7"));
    }
    for happened in [
        Happened::Failed(status(400, None)),
        Happened::Failed(status(504, None)),
        Happened::Failed(status(410, None)),
        Happened::Broken(status(500, None)),
        Happened::Broken(malformed()),
    ] {
        let mut steps = watching();
        steps.step(happened, 0.0);
        assert_eq!(steps.ask(), Ask::List);
    }
}

#[test]
fn a_server_is_left_alone_as_long_as_it_asks() {
    for mut steps in [Steps::new(Pace::default()), watching()] {
        assert_eq!(pause(&steps.step(Happened::Failed(status(429, Some(7))), 0.0)), 7000);
        assert_eq!(pause(&steps.step(Happened::Failed(status(503, Some(7))), 1.0)), 7800);
        assert_eq!(
            pause(&steps.step(Happened::Failed(status(429, Some(0))), 0.0)),
            3200,
            "never less than its turn"
        );
    }
}

#[test]
fn watches_that_end_at_once_are_told_when_it_happens_again_and_again() {
    let mut steps = watching();
    for again in 1..6 {
        assert_eq!(steps.step(Happened::Ended(cut()), 0.0).tell.is_some(), again == 3, "{again}");
        assert_eq!(steps.ask(), watch("7"));
    }
    assert_eq!(steps.step(Happened::Stood, 0.0).tell, Some(Update::Pod(Some(pod("5")))));
}

/// What the pretend server does next, if it fits what it was asked.
#[derive(Debug, Clone)]
enum Drawn {
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

fn drawn() -> impl Strategy<Value = Drawn> {
    prop_oneof![
        4 => Just(Drawn::Good),
        1 => Just(Drawn::Bookmark),
        2 => Just(Drawn::Change),
        1 => Just(Drawn::Remove),
        1 => Just(Drawn::Stand),
        2 => Just(Drawn::End),
        2 => error().prop_map(Drawn::Fail),
        2 => error().prop_map(Drawn::Break),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_rules_hold(happenings in proptest::collection::vec((drawn(), 0.0..=1.0f64), 0..200)) {
        let pace = Pace::default();
        let mut steps = Steps::new(pace);
        // The world: a counter of versions and the pod; and what a listener knows.
        let mut version = 100u32;
        let mut world: Option<PodState> = None;
        let mut newest: Option<String> = None;
        let mut told: Vec<Option<PodState>> = Vec::new();
        let mut troubles: Vec<(bool, Kind)> = Vec::new();
        let mut stood = false;
        for (drawn, chance) in happenings {
            let listing = steps.ask() == Ask::List;
            version += 1;
            let happened = match (&drawn, listing) {
                (Drawn::Fail(error), _) => Happened::Failed(error.clone()),
                (Drawn::Break(error), false) => Happened::Broken(error.clone()),
                (_, true) => {
                    newest = Some(version.to_string());
                    listed(world.clone(), &version.to_string())
                }
                (Drawn::Good | Drawn::End, false) => Happened::Ended(cut()),
                (Drawn::Stand, false) => { stood = true; Happened::Stood }
                (change, false) => {
                    newest = Some(version.to_string());
                    let change = match change {
                        Drawn::Change => Change::Now(pod(&version.to_string())),
                        Drawn::Remove => Change::Gone,
                        _ => Change::None,
                    };
                    match &change {
                        Change::Now(pod) => world = Some(pod.clone()),
                        Change::Gone => world = None,
                        Change::None => {}
                    }
                    event(&version.to_string(), change)
                }
            };
            let is_list = matches!(happened, Happened::Listed(_));
            let goes_on = matches!(happened, Happened::Stood | Happened::Event(_));
            let Step { tell, then } = steps.step(happened, chance);
            match tell {
                Some(Update::Pod(pod)) => { told.push(pod); troubles.clear(); }
                Some(Update::Trouble(error)) => {
                    let trouble = (listing, error.kind());
                    prop_assert!(!troubles.contains(&trouble), "told again: {error}");
                    troubles.push(trouble);
                }
                None => {}
            }
            // Whatever has come from the server was told, and a watch that works is no trouble.
            if is_list || goes_on {
                prop_assert_eq!(told.last(), Some(&world));
            }
            if goes_on {
                prop_assert!(troubles.is_empty());
            }
            // Nothing is asked in a tight loop.
            match then {
                Then::Read => prop_assert!(goes_on),
                Then::Ask(pause) => {
                    prop_assert!(!goes_on);
                    let at_once = is_list || (stood && !listing);
                    let late_enough = match &drawn {
                        Drawn::Fail(error) | Drawn::Break(error) if !is_list => error.retry_after().unwrap_or_default(),
                        _ => Duration::ZERO,
                    };
                    prop_assert!(pause >= late_enough);
                    prop_assert!(at_once || pause >= pace.first, "{pause:?} after {drawn:?}");
                    prop_assert!(pause <= pace.longest + pace.first);
                    stood = false;
                }
            }
            // Versions only go forward, and a list is asked for only when the watch cannot go on.
            match steps.ask() {
                Ask::Watch { from } => prop_assert_eq!(Some(from), newest.clone()),
                Ask::List => {
                    let cannot = match &drawn {
                        Drawn::Break(_) => true,
                        Drawn::Fail(error) => matches!(error.kind(), Kind::Status(400 | 410)),
                        _ => false,
                    };
                    prop_assert!(listing || cannot, "{drawn:?}");
                }
            }
        }
    }
}
