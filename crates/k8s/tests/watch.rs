//! A watch in good times: what is told, and from which version it goes on.

use std::time::Duration;

use k8s::Limits;
use k8s::pretend::{After, Asked, Fault, Pretend, Verb, container, pod_of, state_running};
use k8s::watch::watch_pod;

use crate::harness::{NAME, NAMESPACE, Place, quick};

fn set_ready(server: &Pretend, ready: bool) {
    server.set_pod(Some(pod_of(NAMESPACE, NAME, &[container("web", ready, 0, &state_running())])));
}

/// The versions from which was watched.
fn versions(asked: &[Asked]) -> Vec<&str> {
    asked.iter().filter(|asked| asked.verb == Verb::Watch).map(Asked::version).collect()
}

fn lists(asked: &[Asked]) -> usize {
    asked.iter().filter(|asked| asked.verb == Verb::List).count()
}

#[tokio::test]
async fn a_pod_is_followed_from_before_its_birth_to_after_its_death() {
    let place = Place::new();
    let mut watching = place.watch();
    assert_eq!(watching.pod().await, None);
    for ready in [false, true] {
        set_ready(&place.server, ready);
        let pod = watching.pod().await;
        let web = pod.as_ref().and_then(|pod| pod.container("web"));
        assert_eq!(web.map(|web| web.ready), Some(ready), "{pod:?}");
    }
    place.server.set_pod(None);
    assert_eq!(watching.pod().await, None);
    set_ready(&place.server, true);
    assert!(watching.pod().await.is_some());

    let asked = place.server.asked();
    assert_eq!(asked[0].target, "/api/v1/namespaces/shop/pods?fieldSelector=metadata.name%3Dweb-0");
    let query = |name: &str| asked[1].query.get(name).map_or("", String::as_str);
    assert_eq!((query("watch"), query("allowWatchBookmarks")), ("1", "true"));
    assert_eq!((query("fieldSelector"), query("resourceVersion")), ("metadata.name=web-0", "1000"));
    let seconds: u64 = query("timeoutSeconds").parse().unwrap_or_default();
    assert!((240..=300).contains(&seconds), "{seconds}");
    assert_eq!(asked.len(), 2, "one watch was enough");
}

#[tokio::test]
async fn what_happens_between_the_list_and_the_watch_is_not_missed() {
    let place = Place::new();
    // No watch begins until the pod has appeared and was changed.
    for _ in 0..10_000 {
        place.server.fail_next(Verb::Watch, Fault::status(503));
    }
    let mut watching = place.watch();
    assert_eq!(watching.pod().await, None);
    assert!(watching.trouble().await.contains("503"));
    set_ready(&place.server, false);
    set_ready(&place.server, true);
    place.server.mend();
    watching.version("1001").await;
    watching.version("1002").await;
}

#[tokio::test]
async fn a_watch_that_ends_goes_on_from_the_newest_version_and_bookmarks_move_it() {
    let place = Place::with_pod();
    let mut watching = place.watch();
    watching.version("1001").await;
    place.server.until("a watch", |_, watches| watches == 1).await;
    set_ready(&place.server, true);
    watching.version("1002").await;
    place.server.end_watches(b"", After::End);
    place
        .server
        .until("the next", |asked, watches| versions(asked) == ["1001", "1002"] && watches == 1)
        .await;
    place.server.bookmark();
    place.server.end_watches(b"", After::Drop);
    let asked =
        place.server.until("the next", |asked, watches| versions(asked).len() == 3 && watches == 1).await;
    assert_eq!((versions(&asked), lists(&asked)), (vec!["1001", "1002", "1003"], 1));
    // Nothing of all this was worth telling.
    set_ready(&place.server, false);
    watching.version("1004").await;
}

#[tokio::test]
async fn half_a_line_is_discarded_and_comes_again() {
    let place = Place::with_pod();
    let mut watching = place.watch();
    watching.version("1001").await;
    for (after, version) in [(After::End, "1002"), (After::Drop, "1003")] {
        place.server.until("a watch", |_, watches| watches == 1).await;
        place.server.end_watches(b"{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Pod\",\"meta", after);
        set_ready(&place.server, true);
        watching.version(version).await;
    }
    let asked = place.server.asked();
    assert_eq!((versions(&asked), lists(&asked)), (vec!["1001", "1001", "1002"], 1));
}

#[tokio::test]
async fn events_may_come_many_at_once_or_byte_by_byte() {
    for trickle in [false, true] {
        let place = Place::with_pod();
        place.server.trickle(trickle);
        let mut watching = place.watch();
        watching.version("1001").await;
        place.server.until("a watch", |_, watches| watches == 1).await;
        // In one piece: two events, one of another pod, an empty line, a type that is not known, and half of a
        // fifth, which ends in the next piece.
        let event = |version: u32, name: &str| {
            format!(
                "{{\"type\":\"MODIFIED\",\"object\":{{\"metadata\":{{\"name\":\"{name}\",\"resourceVersion\":\"{version}\"}}}}}}\n"
            )
        };
        let last = event(2004, NAME);
        let (begin, end) = last.split_at(last.len() / 2);
        let text = [
            &event(2001, NAME),
            &event(2002, NAME),
            &event(2003, "web-1"),
            "\n{\"type\":\"NEW\",\"object\":1}\n",
            begin,
        ];
        place.server.say(text.concat().as_bytes());
        watching.version("2001").await;
        watching.version("2002").await;
        place.server.say(end.as_bytes());
        watching.version("2004").await;
    }
}

#[tokio::test]
async fn a_watch_that_falls_silent_is_begun_again() {
    let place = Place::with_pod();
    // The server keeps two connections open, beyond the time it was asked for.
    for _ in 0..2 {
        place.server.fail_next(Verb::Watch, Fault::Body(Vec::new(), After::Hang));
    }
    let limits = Limits { watch: Duration::from_millis(100), silence: Duration::from_millis(50), ..quick() };
    let mut watching = place.watch_with(limits);
    watching.version("1001").await;
    let asked = place.server.until("a third", |asked, _| versions(asked).len() == 3).await;
    assert!(asked[2].at - asked[1].at >= Duration::from_millis(150));
    assert_eq!(asked[2].query.get("timeoutSeconds").map(String::as_str), Some("1"));
    assert_eq!((versions(&asked), lists(&asked)), (vec!["1001"; 3], 1));
    set_ready(&place.server, true);
    watching.version("1002").await;
}

#[tokio::test]
async fn a_watch_ends_when_nobody_listens() {
    // While it watches, while it waits for an answer, and while it pauses.
    let place = Place::with_pod();
    let mut watching = place.watch();
    watching.version("1001").await;
    place.server.until("a watch", |_, watches| watches == 1).await;
    assert_eq!(watching.dropped().await, Ok(()));

    place.server.fail_next(Verb::List, Fault::Hang);
    let watching = place.watch();
    place.server.until("a list", |asked, _| lists(asked) == 2).await;
    assert_eq!(watching.dropped().await, Ok(()));

    place.server.fail_next(Verb::List, Fault::status_with_retry(503, 300));
    let mut watching = place.watch();
    assert!(watching.trouble().await.contains("503"));
    assert_eq!(watching.dropped().await, Ok(()));
}

#[tokio::test]
async fn a_name_that_is_none_ends_the_watch() {
    let place = Place::new();
    let (updates, mut told) = tokio::sync::mpsc::channel(1);
    let ended = watch_pod(&place.client(), NAMESPACE, "a/b", updates).await;
    assert!(ended.is_err_and(|error| error.to_string().contains("'a/b' is no name of a pod")));
    assert_eq!(told.recv().await, None);
    assert_eq!(place.server.asked().len(), 0);
}
