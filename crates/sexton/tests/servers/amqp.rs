//! `amqp`: RabbitMQ, which takes seconds to start: one test for several cases.

use testkit::servers::rabbitmq::RabbitMq;

use super::{Certificates, probed, saying, unready};

/// The variables of process-wrapper.
fn variables(port: u16) -> [(String, String); 3] {
    [
        ("AMQP_PROBE_RABBITMQ_DSN_TEMPLATE".to_owned(), format!("amqp://%v:%v@127.0.0.1:{port}")),
        ("AMQP_PROBE_RABBITMQ_USER".to_owned(), "app".to_owned()),
        ("AMQP_PROBE_RABBITMQ_PASS".to_owned(), "s3cretPW".to_owned()),
    ]
}

fn at(url: &str) -> String {
    format!("amqp: {{url: \"{url}\"}}")
}

#[test]
fn rabbitmq_probes_work_with_and_without_a_kept_connection() {
    let certificates = Certificates::new();
    let mut server = RabbitMq::start(Some(certificates.good()));
    let (port, ca, stranger) = (server.port, certificates.ca(), certificates.stranger());
    let owned = variables(port);
    let template: Vec<_> = owned.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for probe in ["amqp: {}", "amqp: {reuseConn: true}"] {
        let mut up = probed(&template, probe);
        up.wait_ready("app");
    }
    for (url, part) in [
        (format!("amqps://app:s3cretPW@127.0.0.1:{}/?cacertfile={ca}", server.tls_port), ""),
        (format!("amqps://app:s3cretPW@127.0.0.1:{}/?cacertfile={stranger}", server.tls_port), "ertificate"),
        (format!("amqp://app:wr0ngPW@127.0.0.1:{port}"), "403 ACCESS_REFUSED"),
        (
            format!("amqp://app:s3cretPW@127.0.0.1:{port}/nowhere"),
            "530 NOT_ALLOWED - vhost nowhere not found",
        ),
    ] {
        let mut up = probed(&[], &at(&url));
        if part.is_empty() {
            up.wait_ready("app");
        } else {
            let reported = unready(&mut up, part);
            assert!(!reported.to_string().contains("wr0ngPW"), "{reported}");
        }
    }
    // A connection that is kept outlives many heartbeats, and its end is seen at once: the next probe fails without
    // a request, and the one after it opens another connection.
    let mut kept = probed(&template, "amqp: {reuseConn: true}");
    kept.wait_ready("app");
    let begun = std::time::Instant::now();
    let app =
        kept.wait_until("app", "kept for longer than two heartbeats", |_| begun.elapsed().as_secs() >= 6);
    assert_eq!(app["ready"], true, "{}", kept.sexton.stderr());
    assert!(!kept.sexton.stderr().contains("probe failed"), "{}", kept.sexton.stderr());
    server.close_connections();
    kept.sexton.wait_for_stderr("320 CONNECTION_FORCED - bye");
    kept.wait_ready("app");
    let mut each = probed(&template, "amqp: {}");
    each.wait_ready("app");
    server.kill();
    // The kept connection is closed by the broker, or the next one is refused.
    unready(&mut kept, "127.0.0.1");
    unready(&mut each, "connection refused");
}

#[test]
fn a_server_that_is_not_a_broker_is_a_failure() {
    for (arguments, part) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "not an AMQP 0-9-1 response"),
        (b"AMQP\x00\x01\x00\x00", "the server requires another AMQP version"),
        (b"\x01\x00\x00\x7f\xff\xff\xff", "not an AMQP 0-9-1 response"),
        (b"\x01\x00\x00\x00\x00\x00\x02\x00\x0a\xce", "truncated AMQP method"),
        (b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x1e\xce", "expected connection.start"),
        (b"", "no response within 3s"),
    ] {
        let mut up = probed(&[], &at(&format!("amqp://app:s3cretPW@127.0.0.1:{}", saying(arguments))));
        unready(&mut up, part);
    }
}
