//! `redis` probes.

use testkit::servers::redis::Redis;

use super::{Certificates, probed, saying, unready};

fn at(url: &str) -> String {
    format!("redis: {{url: \"{url}\"}}")
}

#[test]
fn redis_probes_work_over_every_kind_of_address() {
    let certificates = Certificates::new();
    let mut server = Redis::start(Some(certificates.good()));
    let (port, tls, ca) = (server.port, server.tls_port, certificates.ca());
    for url in [
        format!("redis://:pw@127.0.0.1:{port}"),
        format!("redis://app:s3cretPW@127.0.0.1:{port}/0"),
        format!("rediss://app:s3cretPW@127.0.0.1:{tls}?cacertfile={ca}"),
        format!("rediss://app:s3cretPW@127.0.0.1:{tls}?verify=none"),
        format!("unix://app:s3cretPW@{}", server.socket().display()),
    ] {
        let mut up = probed(&[], &at(&url));
        up.wait_ready("app");
    }
    let url = format!("redis://app:s3cretPW@127.0.0.1:{port}");
    let mut up = probed(&[("REDIS_URL", &url)], "redis: {}");
    up.wait_ready("app");
    server.kill();
    unready(&mut up, "connection refused");
}

#[test]
fn errors_of_redis_are_reported_without_secrets() {
    let certificates = Certificates::new();
    let server = Redis::start(Some(certificates.good()));
    let (port, stranger) = (server.port, certificates.stranger());
    for (url, part) in [
        (format!("redis://127.0.0.1:{port}"), "NOAUTH Authentication required."),
        (format!("redis://app:wr0ngPW@127.0.0.1:{port}"), "WRONGPASS"),
        (format!("rediss://app:s3cretPW@127.0.0.1:{}?cacertfile={stranger}", server.tls_port), "ertificate"),
        (
            format!("redis://app:s3cretPW@127.0.0.1:{}", saying(b"HTTP/1.1 400 Bad\r\n")),
            "not a Redis response: HTTP/1.1 400 Bad",
        ),
        (format!("redis://app:s3cretPW@127.0.0.1:{}", saying(b"")), "no response within 3s"),
    ] {
        let mut up = probed(&[], &at(&url));
        let reported = unready(&mut up, part);
        assert!(!reported.to_string().contains("wr0ngPW"), "{reported}");
    }
}
