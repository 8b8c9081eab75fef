//! Who the server is, and who we are to it.

use std::time::Duration;

use k8s::pretend::{Fault, Pretend, Verb};
use k8s::{Client, Config, Kind, KubeError, Limits};

use crate::harness::{NAME, NAMESPACE, Place, quick};

#[tokio::test]
async fn a_token_that_is_replaced_is_read_again() {
    let place = Place::with_pod();
    let client = place.client();
    assert!(matches!(client.pod(NAMESPACE, NAME).await, Ok(Some(_))));
    place.server.rotate_token("second");
    assert!(matches!(client.pod(NAMESPACE, NAME).await, Ok(Some(_))));
    let tokens: Vec<_> = place.server.asked().into_iter().map(|asked| asked.token).collect();
    assert_eq!(tokens, ["pretend-token-1", "second"]);
}

#[tokio::test]
async fn a_token_that_is_replaced_meanwhile_is_tried_at_once() {
    let place = Place::with_pod();
    place.server.fail_next(Verb::Get, Fault::RotatedToken("second".to_owned()));
    assert!(matches!(place.client().pod(NAMESPACE, NAME).await, Ok(Some(_))));
    let tokens: Vec<_> = place.server.asked().into_iter().map(|asked| asked.token).collect();
    assert_eq!(tokens, ["pretend-token-1", "second"]);
}

#[tokio::test]
async fn a_token_that_is_refused_is_tried_once_and_named() {
    let place = Place::with_pod();
    let client = place.client();
    let file = place.account.path().join("token");
    assert!(std::fs::write(&file, "stale\n").is_ok());
    let error = client.pod(NAMESPACE, NAME).await.err().unwrap_or_else(|| panic!("no error"));
    let text = error.to_string();
    assert!(text.contains(&file.display().to_string()) && text.contains("401"), "{text}");
    assert!(!text.contains("stale"), "a token is nobody's business: {text}");
    assert_eq!(place.server.asked().len(), 1);

    assert!(std::fs::remove_file(&file).is_ok());
    let text = client.pod(NAMESPACE, NAME).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(text.contains("the token in") && text.contains("automountServiceAccountToken"), "{text}");
}

#[tokio::test]
async fn a_server_of_another_ca_gets_no_token() {
    let place = Place::with_pod();
    let mut config = place.server.config(place.account.path()).unwrap_or_else(|error| panic!("{error}"));
    let other = testkit::private_directory();
    let elsewhere = Pretend::start(other.path());
    let account = testkit::private_directory();
    config.ca_file = elsewhere.config(account.path()).map(|config| config.ca_file).unwrap_or_default();
    let error = failed(config).await;
    assert_eq!(error.kind(), Kind::Certificate);
    let text = error.to_string();
    assert!(text.contains("no CA in") && text.contains("ca.crt has signed it"), "{text}");
    assert_eq!(place.server.asked().len(), 0);
}

#[tokio::test]
async fn a_server_of_another_name_gets_no_token() {
    let place = Place::named("IP:127.0.0.2,DNS:localhost");
    place.server.set_pod(Some(k8s::pretend::pod(NAMESPACE, NAME)));
    let config = place.server.config(place.account.path()).unwrap_or_else(|error| panic!("{error}"));
    let error = failed(config.clone()).await;
    assert_eq!(error.kind(), Kind::Certificate);
    assert!(error.to_string().contains("it is not for '127.0.0.1'"), "{error}");
    assert_eq!(place.server.asked().len(), 0);

    // The same server by the name that it has.
    let client = Client::with_limits(Config { host: "localhost".to_owned(), ..config }, quick());
    let client = client.unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(client.pod(NAMESPACE, NAME).await, Ok(Some(_))));
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_not_waited_for() {
    let place = Place::new();
    let mut config = place.server.config(place.account.path()).unwrap_or_else(|error| panic!("{error}"));
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
fn a_bundle_without_certificates_is_refused() {
    let place = Place::new();
    let config = place.server.config(place.account.path()).unwrap_or_else(|error| panic!("{error}"));
    for (content, why) in [
        ("", "holds no certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds a bad certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", "is no PEM"),
    ] {
        assert!(std::fs::write(&config.ca_file, content).is_ok());
        let text = Client::new(config.clone()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains(why) && text.contains(&config.ca_file.display().to_string()), "{text}");
    }
}

#[tokio::test]
async fn a_bundle_may_hold_several() {
    let place = Place::with_pod();
    let config = place.server.config(place.account.path()).unwrap_or_else(|error| panic!("{error}"));
    let other = testkit::private_directory();
    let elsewhere = Pretend::start(other.path());
    let account = testkit::private_directory();
    let first = elsewhere.config(account.path()).map(|config| config.ca_file).unwrap_or_default();
    let both = [first, config.ca_file.clone()].map(|file| std::fs::read_to_string(file).unwrap_or_default());
    assert!(std::fs::write(&config.ca_file, both.concat()).is_ok());
    let client = Client::with_limits(config, quick()).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(client.pod(NAMESPACE, NAME).await, Ok(Some(_))));
}

async fn failed(config: Config) -> KubeError {
    let client = Client::with_limits(config, quick()).unwrap_or_else(|error| panic!("{error}"));
    match client.pod(NAMESPACE, NAME).await {
        Err(error) => error,
        Ok(pod) => panic!("no error: {pod:?}"),
    }
}
