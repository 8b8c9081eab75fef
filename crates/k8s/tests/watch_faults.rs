//! Watches with faults: reported failures, next requests, and recovery.

use std::time::Duration;

use k8s::fake::{After, Fault, RecordedRequest, Verb, container, pod_of, state_running};
use k8s::{Limits, Pace};

use crate::harness::{NAME, NAMESPACE, TestCluster, TestWatch, quick};

fn change(cluster: &TestCluster) {
    cluster.server.set_pod(Some(pod_of(NAMESPACE, NAME, &[container("web", true, 0, &state_running())])));
}

/// What was requests for: L for a list, and the versions from which was watched.
fn sequence(requests: &[RecordedRequest]) -> Vec<&str> {
    requests
        .iter()
        .map(|request| match request.verb {
            Verb::List => "L",
            _ => request.version(),
        })
        .collect()
}

/// Starts a watch of a pod and waits for its version 1001.
async fn started(cluster: &TestCluster) -> TestWatch {
    let mut watch = cluster.watch();
    watch.version("1001").await;
    cluster.server.wait_for("a watch", |_, watches| watches == 1).await;
    watch
}

#[tokio::test]
async fn lists_again_after_status_410() {
    let cluster = TestCluster::with_pod();
    let mut watch = started(&cluster).await;
    cluster.server.fail_next(Verb::Watch, Fault::status(410));
    cluster.server.end_watches(b"", After::End);
    let requests =
        cluster.server.wait_for("all", |requests, watches| requests.len() == 5 && watches == 1).await;
    assert_eq!(sequence(&requests), ["L", "1001", "1001", "L", "1001"]);
    change(&cluster);
    watch.version("1002").await;
}

#[tokio::test]
async fn lists_again_after_an_expired_event() {
    let cluster = TestCluster::with_pod();
    let mut watch = started(&cluster).await;
    // The changes during the outage are compacted before the next watch.
    for _ in 0..10_000 {
        cluster.server.fail_next(Verb::Watch, Fault::status(503));
    }
    cluster.server.end_watches(b"", After::Drop);
    assert!(watch.failure().await.contains("503"));
    change(&cluster);
    cluster.server.compact();
    cluster.server.clear_faults();
    // The list returns what the watch missed.
    watch.version("1002").await;
    let requests = cluster.server.wait_for("the watch", |_, watches| watches == 1).await;
    let sequence = sequence(&requests);
    assert_eq!(sequence[sequence.len() - 3..], ["1001", "L", "1002"], "{sequence:?}");
    change(&cluster);
    watch.version("1003").await;
}

#[tokio::test]
async fn reports_each_kind_of_failure_once_until_the_next_pod() {
    let cluster = TestCluster::with_pod();
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
        cluster.server.fail_next(Verb::List, fault);
    }
    let mut watch = cluster.watch();
    for part in [
        "responded with 500",
        "the service account shop:default may not list pods in namespace shop: it needs a Role with get, list and watch",
        "to the API server",
        "<html>",
    ] {
        let failure = watch.failure().await;
        assert!(failure.contains(part), "{failure}");
    }
    watch.version("1001").await;
    assert_eq!(sequence(&cluster.server.requests()).iter().filter(|it| **it == "L").count(), 10);
}

#[tokio::test]
async fn retries_a_forbidden_watch_until_it_is_allowed() {
    let cluster = TestCluster::with_pod();
    for _ in 0..3 {
        cluster.server.fail_next(Verb::Watch, Fault::Forbidden);
    }
    let mut watch = cluster.watch();
    watch.version("1001").await;
    let failure = watch.failure().await;
    assert!(failure.contains("shop:default may not watch pods in namespace shop"), "{failure}");
    // The unchanged pod is reported because the watch works again.
    watch.version("1001").await;
    assert_eq!(sequence(&cluster.server.requests()), ["L", "1001", "1001", "1001", "1001"]);
}

#[tokio::test]
async fn recovers_when_a_refused_token_is_replaced() {
    let cluster = TestCluster::with_pod();
    let client = cluster.client();
    let file = cluster.account.path().join("token");
    assert!(std::fs::write(&file, "stale").is_ok());
    let mut watch = TestWatch::new(&client);
    let failure = watch.failure().await;
    assert!(failure.contains("does not accept the token"), "{failure}");
    cluster.server.wait_for("more tries", |requests, _| requests.len() >= 3).await;
    cluster.server.rotate_token("second");
    watch.version("1001").await;
}

#[tokio::test]
async fn respects_the_retry_delay_of_the_server() {
    let cluster = TestCluster::with_pod();
    cluster.server.fail_next(Verb::List, Fault::status_with_retry(429, 1));
    let mut watch = cluster.watch();
    assert!(watch.failure().await.contains("429"));
    watch.version("1001").await;
    let requests = cluster.server.requests();
    let pause = requests[1].at - requests[0].at;
    assert!(pause >= Duration::from_secs(1), "{pause:?}");
}

#[tokio::test]
async fn lists_again_after_an_error_event() {
    let cluster = TestCluster::with_pod();
    let mut watch = started(&cluster).await;
    cluster.server.send_raw(b"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"etcd is lost\",\"reason\":\"InternalError\",\"code\":500}}\n");
    assert!(watch.failure().await.contains("etcd is lost"));
    watch.version("1001").await;
    let requests =
        cluster.server.wait_for("a watch", |requests, watches| requests.len() == 4 && watches == 1).await;
    assert_eq!(sequence(&requests), ["L", "1001", "L", "1001"]);
}

#[tokio::test]
async fn lists_again_after_an_invalid_line() {
    let cluster = TestCluster::with_pod();
    let mut watch = started(&cluster).await;
    let mut huge = b"{\"type\":\"ADDED\",\"object\":{\"spec\":\"".to_vec();
    huge.resize((4 << 20) + 1, b'x');
    for (line, part) in
        [(huge, "is longer than 4194304 bytes"), (b"<html>\n".to_vec(), "it begins with: <html>")]
    {
        cluster.server.wait_for("a watch", |_, watches| watches == 1).await;
        cluster.server.send_raw(&line);
        let failure = watch.failure().await;
        assert!(failure.contains(part), "{failure}");
        watch.version("1001").await;
    }
    let requests =
        cluster.server.wait_for("a watch", |requests, watches| requests.len() == 6 && watches == 1).await;
    assert_eq!(sequence(&requests), ["L", "1001", "L", "1001", "L", "1001"]);
}

#[tokio::test]
async fn reads_a_line_close_to_the_limit() {
    let cluster = TestCluster::with_pod();
    let mut watch = started(&cluster).await;
    let mut pod = pod_of(NAMESPACE, NAME, &[]);
    pod["metadata"]["annotations"] = serde_json::json!({"big": "x".repeat((4 << 20) - 10_000)});
    cluster.server.set_pod(Some(pod));
    watch.version("1002").await;
}

#[tokio::test]
async fn delays_and_reports_watches_that_end_at_once() {
    let cluster = TestCluster::with_pod();
    for _ in 0..5 {
        cluster.server.fail_next(Verb::Watch, Fault::Body(Vec::new(), After::End));
    }
    // None of them stays open long enough to count as working.
    let pace = Pace { stood: testkit::LIMIT, ..quick().pace };
    let mut watch = cluster.watch_with(Limits { pace, ..quick() });
    watch.version("1001").await;
    let failure = watch.failure().await;
    assert!(failure.contains("closes each watch at once"), "{failure}");
    cluster.server.wait_for("a watch", |_, watches| watches == 1).await;
    cluster.server.bookmark();
    watch.version("1001").await;
    let requests = cluster.server.requests();
    assert_eq!(sequence(&requests), ["L", "1001", "1001", "1001", "1001", "1001", "1001"]);
    // 2, 4, 8, 10 and 10 ms at least.
    let took = requests[6].at - requests[1].at;
    assert!(took >= Duration::from_millis(34), "{took:?}");
}

#[tokio::test]
async fn recovers_after_a_disconnect() {
    let cluster = TestCluster::with_pod();
    let mut watch = started(&cluster).await;
    cluster.server.fail_next(Verb::Watch, Fault::Drop);
    cluster.server.fail_next(Verb::Watch, Fault::Drop);
    cluster.server.end_watches(b"", After::Drop);
    assert!(watch.failure().await.contains("to the API server"));
    watch.version("1001").await;
    change(&cluster);
    watch.version("1002").await;
}
