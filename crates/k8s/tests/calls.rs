//! Single calls: a pod, no pod, and the answers that are neither.

use std::net::SocketAddr;
use std::time::Duration;

use k8s::pretend::{After, Fault, Verb};
use k8s::{Client, Kind, KubeError, Limits, State};
use testkit::LIMIT;
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::harness::{NAME, NAMESPACE, Place, quick};

#[tokio::test]
async fn a_pod_is_read_with_all_its_containers() {
    let place = Place::with_pod();
    let client = place.client();
    let pod = client.pod(NAMESPACE, NAME).await.unwrap_or_else(|error| panic!("{error}"));
    let pod = pod.unwrap_or_else(|| panic!("no pod"));
    assert_eq!(pod.resource_version, place.server.version());
    let proxy = pod.container("proxy").unwrap_or_else(|| panic!("{pod:?}"));
    assert!(proxy.init && proxy.ready && proxy.started && proxy.state == State::Running);
    assert_eq!(pod.containers.len(), 5);

    let asked = place.server.asked();
    assert_eq!(asked[0].target, "/api/v1/namespaces/shop/pods/web-0");
    assert_eq!(asked[0].agent, concat!("sexton/", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn the_real_limits_let_a_call_through() {
    let place = Place::with_pod();
    let client = place.client_with(Limits::default());
    assert!(matches!(client.pod(NAMESPACE, NAME).await, Ok(Some(_))));
}

#[tokio::test]
async fn no_pod_is_no_error() {
    let place = Place::new();
    assert_eq!(place.client().pod(NAMESPACE, NAME).await, Ok(None));
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_not_sent() {
    let place = Place::new();
    let client = place.client();
    for (namespace, name) in
        [("shop", "a/b"), ("shop", ".."), ("shop", "web?x=1"), ("../x", "web"), ("", "web")]
    {
        let error = client.pod(namespace, name).await.err().unwrap_or_else(|| panic!("{namespace}/{name}"));
        assert!(matches!(error, KubeError::Name { .. }), "{error}");
    }
    assert_eq!(place.server.asked().len(), 0);
}

#[tokio::test]
async fn bytes_that_come_one_by_one_make_an_answer() {
    let place = Place::with_pod();
    place.server.trickle(true);
    assert!(matches!(place.client().pod(NAMESPACE, NAME).await, Ok(Some(_))));
}

async fn error(place: &Place, limits: Limits) -> KubeError {
    match timeout(LIMIT, place.client_with(limits).pod(NAMESPACE, NAME)).await {
        Ok(Err(error)) => error,
        pod => panic!("no error: {pod:?}"),
    }
}

#[tokio::test]
async fn answers_that_say_no_are_told_in_the_servers_words() {
    let place = Place::with_pod();
    place.server.fail_next(Verb::Get, Fault::status(500));
    let text = error(&place, quick()).await.to_string();
    assert_eq!(
        text,
        "the API server answers 500 to '/api/v1/namespaces/shop/pods/web-0': the server was told to answer 500"
    );
    place.server.fail_next(Verb::Get, Fault::status_with_retry(429, 3));
    assert_eq!(error(&place, quick()).await.retry_after(), Some(Duration::from_secs(3)));
    place.server.fail_next(Verb::Get, Fault::Forbidden);
    let text = error(&place, quick()).await.to_string();
    for part in [
        "the service account shop:default may not get pods in namespace shop",
        "it needs a Role with get, list and watch on pods (docs/kubernetes/role.yaml)",
        "cannot get resource \"pods\" in API group \"\"",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn answers_that_make_no_sense_are_shown() {
    let place = Place::with_pod();
    for content in ["<html>Sign in</html>", "", "[]", "{\"metadata\":"] {
        place.server.fail_next(Verb::Get, Fault::Body(content.into(), After::End));
        let error = error(&place, quick()).await;
        assert_eq!(error.kind(), Kind::Answer, "{error}");
        assert!(error.to_string().contains(content), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error() {
    let place = Place::with_pod();
    place.server.fail_next(Verb::Get, Fault::Body(b"{\"metadata\":{}".to_vec(), After::Drop));
    assert_eq!(error(&place, quick()).await.kind(), Kind::Connection);
    place.server.fail_next(Verb::Get, Fault::Drop);
    assert_eq!(error(&place, quick()).await.kind(), Kind::Connection);
}

#[tokio::test]
async fn an_answer_that_does_not_come_or_does_not_end_is_given_up() {
    let place = Place::with_pod();
    let limits = || Limits { head: Duration::from_millis(50), ..quick() };
    place.server.fail_next(Verb::Get, Fault::Hang);
    let text = error(&place, limits()).await.to_string();
    assert!(text.contains("gave no answer within 50ms"), "{text}");
    let limits = Limits { body: Duration::from_millis(50), ..quick() };
    place.server.fail_next(Verb::Get, Fault::Body(b"{".to_vec(), After::Hang));
    let text = error(&place, limits).await.to_string();
    assert!(text.contains("gave no whole answer within 50ms"), "{text}");
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_given_up() {
    let place = Place::with_pod();
    place.server.fail_next(Verb::Get, Fault::Body(vec![b' '; (16 << 20) + 1], After::Hang));
    let text = error(&place, quick()).await.to_string();
    assert!(text.contains("is longer than 16777216 bytes"), "{text}");
}

#[tokio::test]
async fn nobody_there_is_an_error_that_says_where() {
    let place = Place::new();
    let mut config = place.server.config(place.account.path()).unwrap_or_else(|error| panic!("{error}"));
    // Bound, so that nobody else gets the port; nobody listens there.
    let socket = TcpSocket::new_v4().unwrap_or_else(|error| panic!("{error}"));
    assert!(socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).is_ok());
    config.port = socket.local_addr().map(|address| address.port()).unwrap_or_default();
    let port = config.port;
    let client = Client::with_limits(config, quick()).unwrap_or_else(|error| panic!("{error}"));
    let text = client.pod(NAMESPACE, NAME).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(text, format!("cannot connect to the API server 127.0.0.1:{port}: connection refused"));
}

#[tokio::test]
async fn who_a_pod_and_its_node_are_is_read() {
    let place = Place::with_pod();
    let client = place.client();
    let pod = client.pod_identity(NAMESPACE, NAME).await;
    let pod = pod.unwrap_or_else(|error| panic!("{error}")).unwrap_or_else(|| panic!("no pod"));
    assert_eq!(pod.labels.get("app").map(String::as_str), Some("web"));
    assert_eq!(
        (pod.ip.as_deref(), pod.host_ip.as_deref(), pod.node.as_deref()),
        (Some("10.244.1.9"), Some("192.168.7.4"), Some("node-1"))
    );
    assert_eq!(client.node("node-1").await, Ok(None));
    place.server.set_node(Some(serde_json::json!({
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
    assert!(place.server.asked().iter().all(|asked| !asked.target.contains("..")));
}
