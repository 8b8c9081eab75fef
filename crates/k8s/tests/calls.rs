//! Single requests: existing and missing pods, and errors.

use std::net::SocketAddr;
use std::time::Duration;

use k8s::fake::{After, Fault, Verb};
use k8s::{Client, Kind, KubeError, Limits, RunState};
use testkit::LIMIT;
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::harness::{NAME, NAMESPACE, TestCluster, quick};

#[tokio::test]
async fn reads_a_pod_with_all_its_containers() {
    let cluster = TestCluster::with_pod();
    let client = cluster.client();
    let pod = client.pod(NAMESPACE, NAME).await.unwrap_or_else(|error| panic!("{error}"));
    let pod = pod.unwrap_or_else(|| panic!("no pod"));
    assert_eq!(pod.resource_version, cluster.server.version());
    let proxy = pod.container("proxy").unwrap_or_else(|| panic!("{pod:?}"));
    assert!(proxy.init && proxy.ready && proxy.started && proxy.state == RunState::Running);
    assert_eq!(pod.containers.len(), 5);

    let requests = cluster.server.requests();
    assert_eq!(requests[0].target, "/api/v1/namespaces/shop/pods/web-0");
    assert_eq!(requests[0].agent, concat!("sexton/", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn the_default_limits_allow_a_request() {
    let cluster = TestCluster::with_pod();
    let client = cluster.client_with(Limits::default());
    assert!(matches!(client.pod(NAMESPACE, NAME).await, Ok(Some(_))));
}

#[tokio::test]
async fn a_missing_pod_is_no_error() {
    let cluster = TestCluster::new();
    assert_eq!(cluster.client().pod(NAMESPACE, NAME).await, Ok(None));
}

#[tokio::test]
async fn does_not_send_invalid_names() {
    let cluster = TestCluster::new();
    let client = cluster.client();
    for (namespace, name) in
        [("shop", "a/b"), ("shop", ".."), ("shop", "web?x=1"), ("../x", "web"), ("", "web")]
    {
        let error = client.pod(namespace, name).await.err().unwrap_or_else(|| panic!("{namespace}/{name}"));
        assert!(matches!(error, KubeError::Name { .. }), "{error}");
    }
    assert_eq!(cluster.server.requests().len(), 0);
}

#[tokio::test]
async fn reads_a_response_byte_by_byte() {
    let cluster = TestCluster::with_pod();
    cluster.server.trickle(true);
    assert!(matches!(cluster.client().pod(NAMESPACE, NAME).await, Ok(Some(_))));
}

async fn error(cluster: &TestCluster, limits: Limits) -> KubeError {
    match timeout(LIMIT, cluster.client_with(limits).pod(NAMESPACE, NAME)).await {
        Ok(Err(error)) => error,
        pod => panic!("no error: {pod:?}"),
    }
}

#[tokio::test]
async fn reports_refusals_with_the_message_of_the_server() {
    let cluster = TestCluster::with_pod();
    cluster.server.fail_next(Verb::Get, Fault::status(500));
    let text = error(&cluster, quick()).await.to_string();
    assert_eq!(
        text,
        "the API server responded with 500 to '/api/v1/namespaces/shop/pods/web-0': injected fault 500"
    );
    cluster.server.fail_next(Verb::Get, Fault::status_with_retry(429, 3));
    assert_eq!(error(&cluster, quick()).await.retry_after(), Some(Duration::from_secs(3)));
    cluster.server.fail_next(Verb::Get, Fault::Forbidden);
    let text = error(&cluster, quick()).await.to_string();
    for part in [
        "the service account shop:default may not get pods in namespace shop",
        "it needs a Role with get, list and watch on pods (docs/kubernetes/role.yaml)",
        "cannot get resource \"pods\" in API group \"\"",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn reports_invalid_responses_with_their_content() {
    let cluster = TestCluster::with_pod();
    for content in ["<html>Sign in</html>", "", "[]", "{\"metadata\":"] {
        cluster.server.fail_next(Verb::Get, Fault::Body(content.into(), After::End));
        let error = error(&cluster, quick()).await;
        assert_eq!(error.kind(), Kind::Response, "{error}");
        assert!(error.to_string().contains(content), "{error}");
    }
}

#[tokio::test]
async fn an_interrupted_response_is_an_error() {
    let cluster = TestCluster::with_pod();
    cluster.server.fail_next(Verb::Get, Fault::Body(b"{\"metadata\":{}".to_vec(), After::Drop));
    assert_eq!(error(&cluster, quick()).await.kind(), Kind::Connection);
    cluster.server.fail_next(Verb::Get, Fault::Drop);
    assert_eq!(error(&cluster, quick()).await.kind(), Kind::Connection);
}

#[tokio::test]
async fn a_missing_or_endless_response_times_out() {
    let cluster = TestCluster::with_pod();
    let limits = || Limits { head: Duration::from_millis(50), ..quick() };
    cluster.server.fail_next(Verb::Get, Fault::Hang);
    let text = error(&cluster, limits()).await.to_string();
    assert!(text.contains("gave no response within 50ms"), "{text}");
    let limits = Limits { body: Duration::from_millis(50), ..quick() };
    cluster.server.fail_next(Verb::Get, Fault::Body(b"{".to_vec(), After::Hang));
    let text = error(&cluster, limits).await.to_string();
    assert!(text.contains("gave no complete response within 50ms"), "{text}");
}

#[tokio::test]
async fn refuses_a_response_that_is_too_long() {
    let cluster = TestCluster::with_pod();
    cluster.server.fail_next(Verb::Get, Fault::Body(vec![b' '; (16 << 20) + 1], After::Hang));
    let text = error(&cluster, quick()).await.to_string();
    assert!(text.contains("is longer than 16777216 bytes"), "{text}");
}

#[tokio::test]
async fn reports_the_address_of_a_refused_connection() {
    let cluster = TestCluster::new();
    let mut config = cluster.server.config(cluster.account.path()).unwrap_or_else(|error| panic!("{error}"));
    // Bound but not listening, so that no other program gets the port.
    let socket = TcpSocket::new_v4().unwrap_or_else(|error| panic!("{error}"));
    assert!(socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).is_ok());
    config.port = socket.local_addr().map(|address| address.port()).unwrap_or_default();
    let port = config.port;
    let client = Client::with_limits(config, quick()).unwrap_or_else(|error| panic!("{error}"));
    let text = client.pod(NAMESPACE, NAME).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(text, format!("cannot connect to the API server 127.0.0.1:{port}: connection refused"));
}

#[tokio::test]
async fn reads_the_identity_of_a_pod_and_its_node() {
    let cluster = TestCluster::with_pod();
    let client = cluster.client();
    let pod = client.pod_identity(NAMESPACE, NAME).await;
    let pod = pod.unwrap_or_else(|error| panic!("{error}")).unwrap_or_else(|| panic!("no pod"));
    assert_eq!(pod.labels.get("app").map(String::as_str), Some("web"));
    assert_eq!(
        (pod.ip.as_deref(), pod.host_ip.as_deref(), pod.node.as_deref()),
        (Some("10.244.1.9"), Some("192.168.7.4"), Some("node-1"))
    );
    assert_eq!(client.node("node-1").await, Ok(None));
    cluster.server.set_node(Some(serde_json::json!({
        "metadata": {"name": "node-1", "labels": {"zone": "a"}},
        "status": {"addresses": [{"type": "Hostname", "address": "x"}, {"type": "InternalIP", "address": "10.0.0.1"}]}
    })));
    let node = client.node("node-1").await.unwrap_or_else(|error| panic!("{error}"));
    let node = node.unwrap_or_else(|| panic!("no node"));
    assert_eq!(
        (node.ip.as_deref(), node.labels.get("zone").map(String::as_str)),
        (Some("10.0.0.1"), Some("a"))
    );
    assert!(matches!(client.node("../x").await, Err(KubeError::Name { .. })));
    assert!(cluster.server.requests().iter().all(|request| !request.target.contains("..")));
}
