//! Tokens and certificates.

use std::time::Duration;

use k8s::fake::{FakeApiServer, Fault, Verb};
use k8s::{Client, Config, Kind, KubeError, Limits};

use crate::harness::{NAME, NAMESPACE, TestCluster, quick};

#[tokio::test]
async fn reads_a_rotated_token() {
    let cluster = TestCluster::with_pod();
    let client = cluster.client();
    assert!(matches!(client.pod(NAMESPACE, NAME).await, Ok(Some(_))));
    cluster.server.rotate_token("second");
    assert!(matches!(client.pod(NAMESPACE, NAME).await, Ok(Some(_))));
    let tokens: Vec<_> = cluster.server.requests().into_iter().map(|request| request.token).collect();
    assert_eq!(tokens, ["fake-token-1", "second"]);
}

#[tokio::test]
async fn retries_with_a_token_rotated_during_the_request() {
    let cluster = TestCluster::with_pod();
    cluster.server.fail_next(Verb::Get, Fault::RotatedToken("second".to_owned()));
    assert!(matches!(cluster.client().pod(NAMESPACE, NAME).await, Ok(Some(_))));
    let tokens: Vec<_> = cluster.server.requests().into_iter().map(|request| request.token).collect();
    assert_eq!(tokens, ["fake-token-1", "second"]);
}

#[tokio::test]
async fn reports_the_file_of_a_refused_token() {
    let cluster = TestCluster::with_pod();
    let client = cluster.client();
    let file = cluster.account.path().join("token");
    assert!(std::fs::write(&file, "stale\n").is_ok());
    let error = client.pod(NAMESPACE, NAME).await.err().unwrap_or_else(|| panic!("no error"));
    let text = error.to_string();
    assert!(text.contains(&file.display().to_string()) && text.contains("401"), "{text}");
    assert!(!text.contains("stale"), "the error contains the token: {text}");
    assert_eq!(cluster.server.requests().len(), 1);

    assert!(std::fs::remove_file(&file).is_ok());
    let text = client.pod(NAMESPACE, NAME).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(text.contains("the token in") && text.contains("automountServiceAccountToken"), "{text}");
}

#[tokio::test]
async fn a_server_with_another_ca_gets_no_token() {
    let cluster = TestCluster::with_pod();
    let mut config = cluster.server.config(cluster.account.path()).unwrap_or_else(|error| panic!("{error}"));
    let other = testkit::private_directory();
    let other_server = FakeApiServer::start(other.path());
    let account = testkit::private_directory();
    config.ca_file = other_server.config(account.path()).map(|config| config.ca_file).unwrap_or_default();
    let error = error_of(config).await;
    assert_eq!(error.kind(), Kind::Certificate);
    let text = error.to_string();
    assert!(text.contains("not signed by a CA in") && text.contains("ca.crt"), "{text}");
    assert_eq!(cluster.server.requests().len(), 0);
}

#[tokio::test]
async fn a_server_with_another_name_gets_no_token() {
    let cluster = TestCluster::named("IP:127.0.0.2,DNS:localhost");
    cluster.server.set_pod(Some(k8s::fake::pod(NAMESPACE, NAME)));
    let config = cluster.server.config(cluster.account.path()).unwrap_or_else(|error| panic!("{error}"));
    let error = error_of(config.clone()).await;
    assert_eq!(error.kind(), Kind::Certificate);
    assert!(error.to_string().contains("not valid for '127.0.0.1'"), "{error}");
    assert_eq!(cluster.server.requests().len(), 0);

    // The same server by its name.
    let client = Client::with_limits(Config { host: "localhost".to_owned(), ..config }, quick());
    let client = client.unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(client.pod(NAMESPACE, NAME).await, Ok(Some(_))));
}

#[tokio::test]
async fn a_server_without_tls_times_out() {
    let cluster = TestCluster::new();
    let mut config = cluster.server.config(cluster.account.path()).unwrap_or_else(|error| panic!("{error}"));
    let listener =
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("{error}"));
    config.port = listener.local_addr().map(|address| address.port()).unwrap_or_default();
    let limits = Limits { connect: Duration::from_millis(50), ..quick() };
    let client = Client::with_limits(config, limits).unwrap_or_else(|error| panic!("{error}"));
    let answered = tokio::time::timeout(testkit::LIMIT, client.pod(NAMESPACE, NAME)).await;
    let Ok(Err(error)) = answered else { panic!("no error: {answered:?}") };
    let text = error.to_string();
    assert!(text.contains("gave no connection within 50ms"), "{text}");
}

#[test]
fn refuses_a_bundle_without_certificates() {
    let cluster = TestCluster::new();
    let config = cluster.server.config(cluster.account.path()).unwrap_or_else(|error| panic!("{error}"));
    for (content, why) in [
        ("", "no certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "invalid certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", "not PEM"),
    ] {
        assert!(std::fs::write(&config.ca_file, content).is_ok());
        let text = Client::new(config.clone()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains(why) && text.contains(&config.ca_file.display().to_string()), "{text}");
    }
}

#[tokio::test]
async fn accepts_a_bundle_of_several_certificates() {
    let cluster = TestCluster::with_pod();
    let config = cluster.server.config(cluster.account.path()).unwrap_or_else(|error| panic!("{error}"));
    let other = testkit::private_directory();
    let other_server = FakeApiServer::start(other.path());
    let account = testkit::private_directory();
    let first = other_server.config(account.path()).map(|config| config.ca_file).unwrap_or_default();
    let both = [first, config.ca_file.clone()].map(|file| std::fs::read_to_string(file).unwrap_or_default());
    assert!(std::fs::write(&config.ca_file, both.concat()).is_ok());
    let client = Client::with_limits(config, quick()).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(client.pod(NAMESPACE, NAME).await, Ok(Some(_))));
}

async fn error_of(config: Config) -> KubeError {
    let client = Client::with_limits(config, quick()).unwrap_or_else(|error| panic!("{error}"));
    match client.pod(NAMESPACE, NAME).await {
        Err(error) => error,
        Ok(pod) => panic!("no error: {pod:?}"),
    }
}
