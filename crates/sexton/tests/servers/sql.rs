//! `sql` probes and hooks: MariaDB and PostgreSQL.

use testkit::servers::certificates::Certificate;
use testkit::servers::mariadb::MariaDb;
use testkit::servers::postgres::Postgres;

use super::{Certificates, probed, saying, unready};
use crate::up::up;

fn mysql(port: u16) -> String {
    format!("app:s3cretPW@tcp(127.0.0.1:{port})/shop")
}

fn postgres(port: u16) -> String {
    format!("postgres://app:s3cretPW@127.0.0.1:{port}/app?sslmode=disable")
}

/// A hook prepares the database; the probe succeeds until the row is deleted.
fn is_guarded(variable: &str, dsn: &str, other: &str) {
    let mut up = up(&format!(
        r#"
processes:
  app:
    command: [sleep, inf]
    env: {{{variable}: "{dsn}"}}
    lifecycle:
      postStart:
        deadline: 20s
        sql:
          queries:
            - create table tenants (name varchar(20), number int)
            - insert into tenants values ('payments', 1), (null, 2)
    readinessProbe: {{sql: {{queries: ["select name from tenants"], contains: [payments]}}, periodSeconds: 100ms, timeoutSeconds: 5, failureThreshold: 1}}
  after:
    command: [sleep, inf]
    dependsOn: [app]
    env: {{{variable}: "{dsn}"}}
    readinessProbe: {{sql: {{queries: ["select count(*) + 5 from tenants", "select 1.50, 2"], contains: [7, 1.50]}}, periodSeconds: 100ms, timeoutSeconds: 5}}
  late:
    command: [sleep, inf]
    dependsOn: [after]
    env: {{{variable}: "{other}"}}
    lifecycle: {{postStart: {{sql: {{queries: ["delete from tenants where name = 'payments'"]}}}}}}
"#
    ));
    up.wait_ready("after");
    up.wait_ready("late");
    let reported = unready(&mut up, "'payments' not found in the first column (1 rows)");
    assert_eq!(reported["starts"], 1, "readiness restarts nothing");
}

#[test]
fn mariadb_probes_and_hooks_work() {
    let server = MariaDb::start();
    let socket = format!("app:s3cretPW@unix({})/shop", server.socket().display());
    is_guarded("MYSQL_DSN", &mysql(server.port), &socket);
}

#[test]
fn postgres_probes_and_hooks_work() {
    let server = Postgres::start();
    let directory = server.socket_directory().display();
    let socket = format!("host={directory} port={} user=app password='s3cretPW' dbname=app", server.port);
    is_guarded("POSTGRES_DSN", &postgres(server.port), &socket);
}

#[test]
fn a_failed_hook_stops_the_process_and_is_explained() {
    let server = Postgres::start();
    let mut up = up(&format!(
        "processes:\n  app:\n    command: [sleep, inf]\n    env: {{POSTGRES_DSN: \"{}\"}}\n    lifecycle: {{postStart: {{sql: {{queries: [\"insert into nowhere values (1)\"]}}}}}}\n",
        postgres(server.port)
    ));
    let app = up.wait_until("app", "restarted", |it| it["starts"].as_u64() >= Some(2));
    let reason = app["lastExit"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("relation \"nowhere\" does not exist (42P01)"), "{reason}");
}

#[test]
fn a_kept_connection_fails_with_its_server_and_is_reopened() {
    let mut server = MariaDb::start();
    let select = "sql: {queries: [\"select 1\"], contains: [1]}";
    let mut up = probed(&[("MYSQL_DSN", &mysql(server.port))], select);
    up.wait_ready("app");
    server.kill();
    unready(&mut up, "mysql at 127.0.0.1");
    server.restart();
    up.wait_ready("app");
    let mut server = Postgres::start();
    let mut up = probed(&[("POSTGRES_DSN", &postgres(server.port))], "sql: {}");
    up.wait_ready("app");
    server.kill();
    unready(&mut up, "postgres at 127.0.0.1");
    server.restart();
    up.wait_ready("app");
}

#[test]
fn a_connection_closed_between_two_probes_is_no_failure() {
    let server = MariaDb::start();
    // The server closes it after a second; the probe comes every two.
    let mut up = up(&format!(
        "processes:\n  app:\n    command: [sleep, inf]\n    env: {{MYSQL_DSN: \"{}\"}}\n    readinessProbe: {{sql: {{queries: [\"set session wait_timeout = 1\", \"select 1\"], contains: [1]}}, periodSeconds: 2, timeoutSeconds: 5, failureThreshold: 1}}\n",
        mysql(server.port)
    ));
    up.wait_ready("app");
    // The second and third probe are done.
    let begun = std::time::Instant::now();
    let app = up.wait_until("app", "three probes later", |_| begun.elapsed().as_millis() > 4500);
    assert_eq!(app["ready"], true, "{app}");
    assert!(!up.sexton.stderr().contains("probe failed"), "{}", up.sexton.stderr());
}

#[test]
fn a_connection_terminated_by_an_administrator_is_no_failure() {
    let server = Postgres::start();
    let mut up = up(&format!(
        "processes:\n  app:\n    command: [sleep, inf]\n    env: {{POSTGRES_DSN: \"{0}\"}}\n    readinessProbe: {{sql: {{queries: [\"select 1\"]}}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 1}}\n  operator:\n    command: [sleep, inf]\n    dependsOn: [app]\n    env: {{POSTGRES_DSN: \"{0}\"}}\n    lifecycle: {{postStart: {{sql: {{queries: [\"select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and usename = current_user\"]}}}}}}\n",
        postgres(server.port)
    ));
    up.wait_ready("operator");
    let begun = std::time::Instant::now();
    let app = up.wait_until("app", "two probes later", |_| begun.elapsed().as_millis() > 2500);
    assert_eq!(app["ready"], true, "{app}");
    assert!(!up.sexton.stderr().contains("probe failed"), "{}", up.sexton.stderr());
}

#[test]
fn a_server_that_does_not_answer_is_a_failure_within_the_limit() {
    for dsn in [("MYSQL_DSN", mysql(saying(b""))), ("POSTGRES_DSN", postgres(saying(b"")))] {
        let mut up = probed(&[(dsn.0, &dsn.1)], "sql: {}");
        unready(&mut up, "no response within 3s");
    }
    // A suspended server keeps the connection and does not respond.
    let server = MariaDb::start();
    let mut up = probed(&[("MYSQL_DSN", &mysql(server.port))], "sql: {queries: [select 1]}");
    up.wait_ready("app");
    server.signal(libc::SIGSTOP);
    unready(&mut up, "no response within 3s");
    server.signal(libc::SIGCONT);
    up.wait_ready("app");
}

#[test]
fn missing_and_refusing_servers_are_explained() {
    let (mariadb, postgresql) = (MariaDb::start(), Postgres::start());
    let unused = crate::up::free_port();
    let wrong = |dsn: String| dsn.replace("s3cretPW", "wr0ngPW");
    for (variable, dsn, part) in [
        ("MYSQL_DSN", mysql(unused), "connection refused"),
        ("POSTGRES_DSN", postgres(unused), "connection refused"),
        ("MYSQL_DSN", wrong(mysql(mariadb.port)), "Access denied for user 'app'"),
        (
            "POSTGRES_DSN",
            wrong(postgres(postgresql.port)),
            "password authentication failed for user \"app\" (28P01)",
        ),
        ("MYSQL_DSN", mysql(mariadb.port).replace("/shop", "/nothing"), "nothing"),
        (
            "POSTGRES_DSN",
            postgres(postgresql.port).replace("/app?", "/nothing?"),
            "database \"nothing\" does not exist",
        ),
    ] {
        let mut up = probed(&[(variable, &dsn)], "sql: {}");
        let reported = unready(&mut up, part);
        assert!(
            !reported.to_string().contains("wr0ngPW") && !up.sexton.stderr().contains("wr0ngPW"),
            "{reported}"
        );
    }
}

#[test]
fn a_foreign_server_on_the_port_is_a_failure() {
    // Among them are those that make sqlx panic.
    for (variable, arguments, part) in [
        ("MYSQL_DSN", &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "mysql at"),
        ("MYSQL_DSN", b"\x04\x00\x00\x00\xff\x00\x00\x00", "mysql at"),
        ("MYSQL_DSN", b"\x01\x00\x00\x00\xff", "mysql at"),
        ("MYSQL_DSN", b"\x05\x00\x00\x00\x0a1234", "mysql at"),
        ("POSTGRES_DSN", b"HTTP/1.1 400 Bad Request\r\n\r\n", "response"),
        ("POSTGRES_DSN", b"R\x00\x00\x00\x00", "postgres at"),
        ("POSTGRES_DSN", b"R\x00\x00\x00\x04", "postgres at"),
        ("POSTGRES_DSN", b"R\x7f\xff\xff\xff", "response"),
        ("POSTGRES_DSN", b"-ERR unknown command\r\n", "response"),
    ] {
        let port = saying(arguments);
        let dsn = if variable == "MYSQL_DSN" { mysql(port) } else { postgres(port) };
        let mut up = probed(&[(variable, &dsn)], "sql: {}");
        let reported = up.wait_until("app", part, |it| {
            it["state"]
                .as_str()
                .is_some_and(|state| state.contains(part) || state.contains("no response within"))
        });
        assert_eq!((&reported["starts"], &reported["ready"]), (&1.into(), &false.into()), "{arguments:?}");
        // The supervisor is still running, whatever the library has done.
        assert_eq!(up.sexton.get("/liveness").code, 200, "{}", up.sexton.stderr());
    }
}

#[test]
fn certificates_are_verified_as_configured() {
    let certificates = Certificates::new();
    let (ca, stranger) = (certificates.ca(), certificates.stranger());
    let my = |certificate: Certificate| MariaDb::start_with(Some(&certificate));
    let pg = |certificate: Certificate| Postgres::start_with(Some(&certificate));
    let (my_good, pg_good) = (my(certificates.good()), pg(certificates.good()));
    let (my_other, pg_old) = (my(certificates.of_another()), pg(certificates.expired()));
    let mysql = |port: u16, more: &str| format!("mysql://app:s3cretPW@127.0.0.1:{port}/shop?{more}");
    let postgres = |port: u16, more: &str| format!("postgres://app:s3cretPW@127.0.0.1:{port}/app?{more}");
    let encrypted = "sql: {queries: [\"show session status like 'Ssl_version'\"], contains: [Ssl_version]}";
    for (variable, dsn, part) in [
        ("MYSQL_DSN", mysql(my_good.port, &format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}")), ""),
        ("MYSQL_DSN", mysql(my_good.port, &format!("ssl-mode=VERIFY_CA&ssl-ca={stranger}")), "ertificate"),
        (
            "MYSQL_DSN",
            mysql(my_other.port, &format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}")),
            "not valid for name",
        ),
        ("MYSQL_DSN", mysql(my_other.port, &format!("ssl-mode=VERIFY_CA&ssl-ca={ca}")), ""),
        ("MYSQL_DSN", format!("app:s3cretPW@tcp(127.0.0.1:{})/shop?tls=skip-verify", my_other.port), ""),
        ("POSTGRES_DSN", postgres(pg_good.port, &format!("sslmode=verify-full&sslrootcert={ca}")), ""),
        (
            "POSTGRES_DSN",
            postgres(pg_good.port, &format!("sslmode=verify-full&sslrootcert={stranger}")),
            "ertificate",
        ),
        ("POSTGRES_DSN", postgres(pg_old.port, &format!("sslmode=verify-full&sslrootcert={ca}")), "xpired"),
        ("POSTGRES_DSN", postgres(pg_old.port, "sslmode=require"), ""),
    ] {
        let probe = match variable {
            "MYSQL_DSN" => encrypted,
            _ => "sql: {queries: [select ssl from pg_stat_ssl where pid = pg_backend_pid()], contains: [t]}",
        };
        let mut up = probed(&[(variable, &dsn)], probe);
        if part.is_empty() {
            up.wait_ready("app");
        } else {
            unready(&mut up, part);
        }
    }
}
