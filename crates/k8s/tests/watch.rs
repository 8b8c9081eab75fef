//! Watches without faults: updates, and the versions from which they resume.

use std::time::Duration;

use k8s::Limits;
use k8s::fake::{After, FakeApiServer, Fault, RecordedRequest, Verb, container, pod_of, state_running};
use k8s::watch::watch_pod;

use crate::harness::{NAME, NAMESPACE, TestCluster, quick};

fn set_ready(server: &FakeApiServer, ready: bool) {
    server.set_pod(Some(pod_of(NAMESPACE, NAME, &[container("web", ready, 0, &state_running())])));
}

/// Returns the versions of all watch requests.
fn versions(requests: &[RecordedRequest]) -> Vec<&str> {
    requests.iter().filter(|request| request.verb == Verb::Watch).map(RecordedRequest::version).collect()
}

fn lists(requests: &[RecordedRequest]) -> usize {
    requests.iter().filter(|request| request.verb == Verb::List).count()
}

#[tokio::test]
async fn follows_a_pod_from_creation_to_deletion() {
    let cluster = TestCluster::new();
    let mut watch = cluster.watch();
    assert_eq!(watch.pod().await, None);
    for ready in [false, true] {
        set_ready(&cluster.server, ready);
        let pod = watch.pod().await;
        let web = pod.as_ref().and_then(|pod| pod.container("web"));
        assert_eq!(web.map(|web| web.ready), Some(ready), "{pod:?}");
    }
    cluster.server.set_pod(None);
    assert_eq!(watch.pod().await, None);
    set_ready(&cluster.server, true);
    assert!(watch.pod().await.is_some());

    let requests = cluster.server.requests();
    assert_eq!(requests[0].target, "/api/v1/namespaces/shop/pods?fieldSelector=metadata.name%3Dweb-0");
    let query = |name: &str| requests[1].query.get(name).map_or("", String::as_str);
    assert_eq!((query("watch"), query("allowWatchBookmarks")), ("1", "true"));
    assert_eq!((query("fieldSelector"), query("resourceVersion")), ("metadata.name=web-0", "1000"));
    let seconds: u64 = query("timeoutSeconds").parse().unwrap_or_default();
    assert!((240..=300).contains(&seconds), "{seconds}");
    assert_eq!(requests.len(), 2, "one watch was sufficient");
}

#[tokio::test]
async fn misses_no_change_between_list_and_watch() {
    let cluster = TestCluster::new();
    // No watch succeeds until the pod was created and changed.
    for _ in 0..10_000 {
        cluster.server.fail_next(Verb::Watch, Fault::status(503));
    }
    let mut watch = cluster.watch();
    assert_eq!(watch.pod().await, None);
    assert!(watch.failure().await.contains("503"));
    set_ready(&cluster.server, false);
    set_ready(&cluster.server, true);
    cluster.server.clear_faults();
    watch.version("1001").await;
    watch.version("1002").await;
}

#[tokio::test]
async fn resumes_from_the_newest_version_or_bookmark() {
    let cluster = TestCluster::with_pod();
    let mut watch = cluster.watch();
    watch.version("1001").await;
    cluster.server.wait_for("a watch", |_, watches| watches == 1).await;
    set_ready(&cluster.server, true);
    watch.version("1002").await;
    cluster.server.end_watches(b"", After::End);
    cluster
        .server
        .wait_for("the next", |requests, watches| versions(requests) == ["1001", "1002"] && watches == 1)
        .await;
    cluster.server.bookmark();
    cluster.server.end_watches(b"", After::Drop);
    let requests = cluster
        .server
        .wait_for("the next", |requests, watches| versions(requests).len() == 3 && watches == 1)
        .await;
    assert_eq!((versions(&requests), lists(&requests)), (vec!["1001", "1002", "1003"], 1));
    // None of this causes an update.
    set_ready(&cluster.server, false);
    watch.version("1004").await;
}

#[tokio::test]
async fn repeats_the_event_of_an_incomplete_line() {
    let cluster = TestCluster::with_pod();
    let mut watch = cluster.watch();
    watch.version("1001").await;
    for (after, version) in [(After::End, "1002"), (After::Drop, "1003")] {
        cluster.server.wait_for("a watch", |_, watches| watches == 1).await;
        cluster.server.end_watches(b"{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Pod\",\"meta", after);
        set_ready(&cluster.server, true);
        watch.version(version).await;
    }
    let requests = cluster.server.requests();
    assert_eq!((versions(&requests), lists(&requests)), (vec!["1001", "1001", "1002"], 1));
}

#[tokio::test]
async fn reads_events_in_chunks_of_any_size() {
    for trickle in [false, true] {
        let cluster = TestCluster::with_pod();
        cluster.server.trickle(trickle);
        let mut watch = cluster.watch();
        watch.version("1001").await;
        cluster.server.wait_for("a watch", |_, watches| watches == 1).await;
        // In one chunk: two events, one of another pod, an empty line, an unknown type, and the first half of a
        // fifth, which ends in the next chunk.
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
        cluster.server.send_raw(text.concat().as_bytes());
        watch.version("2001").await;
        watch.version("2002").await;
        cluster.server.send_raw(end.as_bytes());
        watch.version("2004").await;
    }
}

#[tokio::test]
async fn restarts_a_silent_watch() {
    let cluster = TestCluster::with_pod();
    // The server keeps two connections open, beyond the time it was requests for.
    for _ in 0..2 {
        cluster.server.fail_next(Verb::Watch, Fault::Body(Vec::new(), After::Hang));
    }
    let limits = Limits { watch: Duration::from_millis(100), silence: Duration::from_millis(50), ..quick() };
    let mut watch = cluster.watch_with(limits);
    watch.version("1001").await;
    let requests = cluster.server.wait_for("a third", |requests, _| versions(requests).len() == 3).await;
    assert!(requests[2].at - requests[1].at >= Duration::from_millis(150));
    assert_eq!(requests[2].query.get("timeoutSeconds").map(String::as_str), Some("1"));
    assert_eq!((versions(&requests), lists(&requests)), (vec!["1001"; 3], 1));
    set_ready(&cluster.server, true);
    watch.version("1002").await;
}

#[tokio::test]
async fn a_watch_ends_when_the_receiver_is_dropped() {
    // While watching, while waiting for a response, and during a pause.
    let cluster = TestCluster::with_pod();
    let mut watch = cluster.watch();
    watch.version("1001").await;
    cluster.server.wait_for("a watch", |_, watches| watches == 1).await;
    assert_eq!(watch.dropped().await, Ok(()));

    cluster.server.fail_next(Verb::List, Fault::Hang);
    let watch = cluster.watch();
    cluster.server.wait_for("a list", |requests, _| lists(requests) == 2).await;
    assert_eq!(watch.dropped().await, Ok(()));

    cluster.server.fail_next(Verb::List, Fault::status_with_retry(503, 300));
    let mut watch = cluster.watch();
    assert!(watch.failure().await.contains("503"));
    assert_eq!(watch.dropped().await, Ok(()));
}

#[tokio::test]
async fn an_invalid_name_ends_the_watch() {
    let cluster = TestCluster::new();
    let (updates, mut received) = tokio::sync::mpsc::channel(1);
    let ended = watch_pod(&cluster.client(), NAMESPACE, "a/b", updates).await;
    assert!(ended.is_err_and(|error| error.to_string().contains("invalid name of a pod 'a/b'")));
    assert_eq!(received.recv().await, None);
    assert_eq!(cluster.server.requests().len(), 0);
}
