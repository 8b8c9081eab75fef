//! TLS: encryption, and client certificates as credentials.

use testkit::servers::certificates::{Authority, Certificate};
use testkit::servers::free_ports;
use testkit::{TempDir, wait_until};

use super::{place, store};
use crate::harness::{Running, Sexton};

struct Certificates {
    directory: TempDir,
    authority: Authority,
    master: Certificate,
}

impl Certificates {
    fn new() -> Self {
        let directory = place();
        let authority = Authority::new(directory.path(), "ca");
        let master = authority.sign("master", "IP:127.0.0.1,DNS:localhost");
        Self { directory, authority, master }
    }

    fn ca(&self) -> String {
        self.authority.certificate().display().to_string()
    }
}

fn own(certificate: &Certificate) -> [String; 4] {
    let path = |path: &std::path::Path| path.display().to_string();
    ["--tls-cert".to_owned(), path(&certificate.certificate), "--tls-key".to_owned(), path(&certificate.key)]
}

/// A pod that speaks TLS.
fn pod(port: u16, arguments: &[String]) -> Running {
    let front = ["ensemble", "--app", "demo", "-i", "127.0.0.1", "--statsd", "none", "-p"].map(str::to_owned);
    Sexton::new(front.iter().chain([&port.to_string()]).chain(arguments)).start()
}

fn arguments(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|word| (*word).to_owned()).collect()
}

fn ask(port: u16, scheme: &str, certificates: &[String], what: &[&str]) -> crate::harness::Done {
    let at = format!("{scheme}://127.0.0.1:{port}");
    let front = ["ensemble", what[0], "--pod", &at].map(str::to_owned);
    Sexton::new(front.iter().chain(certificates).chain(&arguments(&what[1..]))).done()
}

#[test]
fn connections_are_encrypted_and_certificates_authenticate() {
    let certificates = Certificates::new();
    let ca = arguments(&["--tls-ca", &certificates.ca()]);
    let port = free_ports(1)[0];
    let options =
        ["--role", "master", "--store", &store(&certificates.directory), "--authenticated-keepalives"];
    let master = pod(port, &[&arguments(&options)[..], &own(&certificates.master), &ca].concat());
    wait_until("a master", || (ask(port, "https", &ca, &["pods"]).code == 0).then_some(()));
    // Reading needs no certificate, commands do; without encryption there is no response.
    let known = certificates.authority.sign("member", "DNS:member");
    for (scheme, shown, what, code, part) in [
        ("https", ca.clone(), &["pods"][..], 0, "[]"),
        ("https", Vec::new(), &["pods"], 69, "certificate"),
        ("http", Vec::new(), &["pods"], 69, "failed:"),
        ("https", ca.clone(), &["invoke", "echo x"], 69, "no client certificate signed by the CA"),
        ("https", [&ca[..], &own(&known)].concat(), &["invoke", "echo x"], 0, "x\n"),
        ("zerorpcs", [&ca[..], &own(&known)].concat(), &["invoke", "echo y"], 0, "y\n"),
        ("zerorpcs", ca.clone(), &["invoke", "echo y"], 69, "PermissionError"),
    ] {
        let done = ask(port, scheme, &shown, what);
        let reported = if code == 0 { &done.stdout } else { &done.stderr };
        assert!(done.code == code && reported.contains(part), "{scheme} {what:?}: {done:?}");
    }
    // A certificate of another CA and an expired one do not count.
    let others = place();
    let stranger = Authority::new(others.path(), "other").sign("stranger", "DNS:stranger");
    let expired = certificates.authority.sign_expired("expired", "DNS:expired");
    for certificate in [&stranger, &expired] {
        let done = ask(port, "https", &[&ca[..], &own(certificate)].concat(), &["invoke", "echo x"]);
        assert!(done.code == 69 && done.stderr.contains("failed:"), "{done:?}");
    }
    let member = |id: &str, certificate: &Certificate| {
        let at = format!("https://127.0.0.1:{port}");
        let options = [
            "--role",
            "member",
            "--id",
            id,
            "--ip",
            "10.0.0.2",
            "--masters",
            &at,
            "--authenticated-keepalives",
        ];
        pod(free_ports(1)[0], &[&arguments(&options)[..], &own(certificate), &ca].concat())
    };
    let bad = member("bad", &expired);
    bad.wait_for_stderr("keepalive failed");
    let good = member("good", &known);
    wait_until(&format!("a member; {}", good.stderr()), || {
        ask(port, "https", &ca, &["pods"]).stdout.contains(r#""id":"good""#).then_some(())
    });
    assert!(!ask(port, "https", &ca, &["pods"]).stdout.contains("bad"));
    assert_eq!(good.stop().code, 0);
    wait_until("it has left", || (ask(port, "https", &ca, &["pods"]).stdout == "[]\n").then_some(()));
    drop(bad);
    assert_eq!(master.stop().code, 0);
}

#[test]
fn a_replaced_certificate_is_reloaded_and_a_broken_one_ignored() {
    let certificates = Certificates::new();
    let ca = arguments(&["--tls-ca", &certificates.ca()]);
    let port = free_ports(1)[0];
    let options = ["--role", "master", "--store", &store(&certificates.directory)];
    let master = pod(port, &[&arguments(&options)[..], &own(&certificates.master)].concat());
    wait_until("a master", || (ask(port, "https", &ca, &["pods"]).code == 0).then_some(()));
    let key = std::fs::read(&certificates.master.key).unwrap_or_default();
    std::fs::write(&certificates.master.key, "nonsense").unwrap_or_default();
    assert_eq!(ask(port, "https", &ca, &["pods"]).code, 0, "the one from before is as good as it was");
    master.wait_for_stderr("cannot reload certificates");
    std::fs::write(&certificates.master.key, key).unwrap_or_default();
    // Now an expired one: a client sees that it has changed.
    let expired = certificates.authority.sign_expired("late", "IP:127.0.0.1");
    std::fs::rename(&expired.key, &certificates.master.key).unwrap_or_default();
    std::fs::rename(&expired.certificate, &certificates.master.certificate).unwrap_or_default();
    let done = ask(port, "https", &ca, &["pods"]);
    assert!(done.code == 69 && done.stderr.contains("Expired"), "{done:?}");
    assert_eq!(master.stop().code, 0);
}

#[test]
fn unusable_certificates_are_rejected_before_anything_starts() {
    let certificates = Certificates::new();
    let bad = certificates.directory.path().join("bad.pem");
    std::fs::write(&bad, "nonsense").unwrap_or_default();
    let bad = bad.display().to_string();
    let empty = certificates.directory.path().join("empty");
    std::fs::write(&empty, " \n").unwrap_or_default();
    let empty = empty.display().to_string();
    let store = store(&certificates.directory);
    let master = arguments(&["ensemble", "--app", "demo", "--role", "master", "--store", &store]);
    let [_, certificate, _, key] = own(&certificates.master);
    for (options, code, part) in [
        (&["--tls-cert", &certificate][..], 64, "must be given together"),
        (&["--authenticated-keepalives"], 64, "requires credentials"),
        (&["--token-file", &empty], 78, "empty: expected a token, found nothing"),
        (&["--masters", "m"], 64, "--masters is for members"),
        (&["--tls-cert", &bad, "--tls-key", &key], 78, "bad.pem: expected a PEM certificate"),
        (&["--tls-cert", &certificate, "--tls-key", &bad], 78, "bad.pem: expected a PEM private key"),
        (
            &["--tls-cert", &certificate, "--tls-key", &key, "--tls-ca", &bad],
            78,
            "bad.pem: expected PEM certificates",
        ),
        (&["--tls-cert", "/nowhere", "--tls-key", &key], 78, "/nowhere: "),
    ] {
        let done = Sexton::new(master.iter().chain(&arguments(options))).done();
        assert!(done.code == code && done.stderr.contains(part), "{options:?}: {done:?}");
        assert!(!std::path::Path::new(&store).exists(), "{options:?}");
    }
}
