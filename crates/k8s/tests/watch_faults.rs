//! A watch in bad times: what is told, what is asked next, and that it comes through.

use std::time::Duration;

use k8s::pretend::{After, Asked, Fault, Verb, container, pod_of, state_running};
use k8s::{Limits, Pace};

use crate::harness::{NAME, NAMESPACE, Place, Watching, quick};

fn change(place: &Place) {
    place.server.set_pod(Some(pod_of(NAMESPACE, NAME, &[container("web", true, 0, &state_running())])));
}

/// What was asked for: L for a list, and the versions from which was watched.
fn course(asked: &[Asked]) -> Vec<&str> {
    asked
        .iter()
        .map(|asked| match asked.verb {
            Verb::List => "L",
            _ => asked.version(),
        })
        .collect()
}

/// A watch that stands, of a pod in version 1001 that was told.
async fn begun(place: &Place) -> Watching {
    let mut watching = place.watch();
    watching.version("1001").await;
    place.server.until("a watch", |_, watches| watches == 1).await;
    watching
}

#[tokio::test]
async fn a_version_that_is_gone_is_listed_anew_if_the_head_says_so() {
    let place = Place::with_pod();
    let mut watching = begun(&place).await;
    place.server.fail_next(Verb::Watch, Fault::status(410));
    place.server.end_watches(b"", After::End);
    let asked = place.server.until("all", |asked, watches| asked.len() == 5 && watches == 1).await;
    assert_eq!(course(&asked), ["L", "1001", "1001", "L", "1001"]);
    change(&place);
    watching.version("1002").await;
}

#[tokio::test]
async fn a_version_that_is_gone_is_listed_anew_if_an_event_says_so() {
    let place = Place::with_pod();
    let mut watching = begun(&place).await;
    // What happens while nobody can watch is forgotten before the next watch begins.
    for _ in 0..10_000 {
        place.server.fail_next(Verb::Watch, Fault::status(503));
    }
    place.server.end_watches(b"", After::Drop);
    assert!(watching.trouble().await.contains("503"));
    change(&place);
    place.server.compact();
    place.server.mend();
    // The list tells what the watch could not.
    watching.version("1002").await;
    let asked = place.server.until("the watch", |_, watches| watches == 1).await;
    let course = course(&asked);
    assert_eq!(course[course.len() - 3..], ["1001", "L", "1002"], "{course:?}");
    change(&place);
    watching.version("1003").await;
}

#[tokio::test]
async fn trouble_is_told_once_for_each_kind_and_a_pod_tells_that_it_is_over() {
    let place = Place::with_pod();
    for fault in [
        Fault::status(500),
        Fault::status(500),
        Fault::Forbidden,
        Fault::status(500),
        Fault::Forbidden,
        Fault::Drop,
        Fault::Drop,
        Fault::Body(b"<html>".to_vec(), After::End),
        Fault::Body(b"{\"items\":[]}".to_vec(), After::End),
    ] {
        place.server.fail_next(Verb::List, fault);
    }
    let mut watching = place.watch();
    for part in [
        "answers 500",
        "the service account shop:default may not list pods in namespace shop: it needs a Role with get, list and watch",
        "no answer of the API server",
        "<html>",
    ] {
        let trouble = watching.trouble().await;
        assert!(trouble.contains(part), "{trouble}");
    }
    watching.version("1001").await;
    assert_eq!(course(&place.server.asked()).iter().filter(|it| **it == "L").count(), 10);
}

#[tokio::test]
async fn a_watch_that_is_forbidden_is_asked_for_until_it_is_allowed() {
    let place = Place::with_pod();
    for _ in 0..3 {
        place.server.fail_next(Verb::Watch, Fault::Forbidden);
    }
    let mut watching = place.watch();
    watching.version("1001").await;
    let trouble = watching.trouble().await;
    assert!(trouble.contains("shop:default may not watch pods in namespace shop"), "{trouble}");
    // Nothing has changed but that it works.
    watching.version("1001").await;
    assert_eq!(course(&place.server.asked()), ["L", "1001", "1001", "1001", "1001"]);
}

#[tokio::test]
async fn a_token_that_is_refused_may_be_mended() {
    let place = Place::with_pod();
    let client = place.client();
    let file = place.account.path().join("token");
    assert!(std::fs::write(&file, "stale").is_ok());
    let mut watching = Watching::new(&client);
    let trouble = watching.trouble().await;
    assert!(trouble.contains("does not accept the token"), "{trouble}");
    place.server.until("more tries", |asked, _| asked.len() >= 3).await;
    place.server.rotate_token("second");
    watching.version("1001").await;
}

#[tokio::test]
async fn a_server_that_is_busy_is_left_alone() {
    let place = Place::with_pod();
    place.server.fail_next(Verb::List, Fault::status_with_retry(429, 1));
    let mut watching = place.watch();
    assert!(watching.trouble().await.contains("429"));
    watching.version("1001").await;
    let asked = place.server.asked();
    let pause = asked[1].at - asked[0].at;
    assert!(pause >= Duration::from_secs(1), "{pause:?}");
}

#[tokio::test]
async fn an_error_as_an_event_is_told_and_a_list_follows() {
    let place = Place::with_pod();
    let mut watching = begun(&place).await;
    place.server.say(b"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"etcd is lost\",\"reason\":\"InternalError\",\"code\":500}}\n");
    assert!(watching.trouble().await.contains("etcd is lost"));
    watching.version("1001").await;
    let asked = place.server.until("a watch", |asked, watches| asked.len() == 4 && watches == 1).await;
    assert_eq!(course(&asked), ["L", "1001", "L", "1001"]);
}

#[tokio::test]
async fn a_line_that_is_too_long_or_no_json_is_told_and_a_list_follows() {
    let place = Place::with_pod();
    let mut watching = begun(&place).await;
    let mut huge = b"{\"type\":\"ADDED\",\"object\":{\"spec\":\"".to_vec();
    huge.resize((4 << 20) + 1, b'x');
    for (line, part) in
        [(huge, "is longer than 4194304 bytes"), (b"<html>\n".to_vec(), "it begins with: <html>")]
    {
        place.server.until("a watch", |_, watches| watches == 1).await;
        place.server.say(&line);
        let trouble = watching.trouble().await;
        assert!(trouble.contains(part), "{trouble}");
        watching.version("1001").await;
    }
    let asked = place.server.until("a watch", |asked, watches| asked.len() == 6 && watches == 1).await;
    assert_eq!(course(&asked), ["L", "1001", "L", "1001", "L", "1001"]);
}

#[tokio::test]
async fn a_line_of_almost_the_most_is_read() {
    let place = Place::with_pod();
    let mut watching = begun(&place).await;
    let mut pod = pod_of(NAMESPACE, NAME, &[]);
    pod["metadata"]["annotations"] = serde_json::json!({"big": "x".repeat((4 << 20) - 10_000)});
    place.server.set_pod(Some(pod));
    watching.version("1002").await;
}

#[tokio::test]
async fn watches_that_end_at_once_are_told_and_do_not_hurry() {
    let place = Place::with_pod();
    for _ in 0..5 {
        place.server.fail_next(Verb::Watch, Fault::Body(Vec::new(), After::End));
    }
    // None of them stands long enough to be good, however busy the machine is.
    let pace = Pace { stood: testkit::LIMIT, ..quick().pace };
    let mut watching = place.watch_with(Limits { pace, ..quick() });
    watching.version("1001").await;
    let trouble = watching.trouble().await;
    assert!(trouble.contains("ends each watch at once"), "{trouble}");
    place.server.until("a watch", |_, watches| watches == 1).await;
    place.server.bookmark();
    watching.version("1001").await;
    let asked = place.server.asked();
    assert_eq!(course(&asked), ["L", "1001", "1001", "1001", "1001", "1001", "1001"]);
    // 2, 4, 8, 10 and 10 ms at least.
    let took = asked[6].at - asked[1].at;
    assert!(took >= Duration::from_millis(34), "{took:?}");
}

#[tokio::test]
async fn a_server_that_goes_away_is_told_and_followed_when_it_is_back() {
    let place = Place::with_pod();
    let mut watching = begun(&place).await;
    place.server.fail_next(Verb::Watch, Fault::Drop);
    place.server.fail_next(Verb::Watch, Fault::Drop);
    place.server.end_watches(b"", After::Drop);
    assert!(watching.trouble().await.contains("no answer of the API server"));
    watching.version("1001").await;
    change(&place);
    watching.version("1002").await;
}
