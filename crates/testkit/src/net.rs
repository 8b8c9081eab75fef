//! Networks for a test, made of namespaces that only it sees, and cut where it wants.

use std::process::Command;

use crate::servers::run;

/// The variable that shows a test that it runs inside.
const INSIDE: &str = "SEXTON_TEST_INSIDE";

/// Is this test inside namespaces of its own (user, network, mounts)? If not, it is started again in such, and has done
/// its work when this returns false. It is named as the test program lists it.
#[must_use]
pub fn inside_namespaces(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        run(Command::new("ip").args(["link", "set", "lo", "up"]));
        return true;
    }
    let program = std::env::current_exe().unwrap_or_else(|error| panic!("{error}"));
    // Names of namespaces are files below /run, which is to be this test's own.
    let script = r#"mount -t tmpfs none /run && exec "$0" --exact "$1" --nocapture --test-threads=1"#;
    let printed = run(Command::new("unshare")
        .args(["-rnm", "--kill-child", "--fork", "sh", "-c", script])
        .arg(program)
        .arg(test)
        .env(INSIDE, "yes"));
    assert!(printed.contains("1 passed"), "{test} was not run:\n{printed}");
    false
}

/// Several hosts and this machine at one switch.
#[derive(Debug)]
pub struct Network {
    hosts: usize,
}

impl Network {
    /// Makes so many hosts. Only where a test is [inside namespaces](inside_namespaces), which end with it.
    #[must_use]
    pub fn new(hosts: usize) -> Self {
        let ip = |arguments: &str| run(Command::new("ip").args(arguments.split(' ')));
        ip("link add switch type bridge");
        ip("addr add 10.97.0.254/24 dev switch");
        ip("link set switch up");
        for host in 0..hosts {
            let (name, number) = (Self::name(host), host + 1);
            ip(&format!("netns add {name}"));
            ip(&format!("link add e0 netns {name} type veth peer name port{host}"));
            ip(&format!("link set port{host} master switch up"));
            ip(&format!("-n {name} addr add 10.97.0.{number}/24 dev e0"));
            ip(&format!("-n {name} link set e0 up"));
            ip(&format!("-n {name} link set lo up"));
        }
        Self { hosts }
    }

    fn name(host: usize) -> String {
        format!("host{host}")
    }

    /// The namespace of each host and its address.
    #[must_use]
    pub fn places(&self) -> Vec<(String, String)> {
        (0..self.hosts).map(|host| (Self::name(host), format!("10.97.0.{}", host + 1))).collect()
    }

    /// Cuts a host off from the other hosts, not from this machine.
    pub fn cut_off_from_others(&self, host: usize) {
        for other in (0..self.hosts).filter(|other| *other != host) {
            // Unreachable means dropped packets, without an error.
            Self::route(host, "add", other);
            Self::route(other, "add", host);
        }
    }

    /// All hear each other again.
    pub fn heal(&self, host: usize) {
        for other in (0..self.hosts).filter(|other| *other != host) {
            Self::route(host, "del", other);
            Self::route(other, "del", host);
        }
    }

    /// Cuts off a host from the others and from this machine; its programs get no errors.
    pub fn unplug(&self, host: usize) {
        run(Command::new("ip").args(["link", "set", &format!("port{host}"), "nomaster"]));
    }

    /// The opposite of [`unplug`](Self::unplug).
    pub fn plug(&self, host: usize) {
        run(Command::new("ip").args(["link", "set", &format!("port{host}"), "master", "switch"]));
    }

    fn route(host: usize, verb: &str, to: usize) {
        let address = format!("10.97.0.{}/32", to + 1);
        run(Command::new("ip").args(["-n", &Self::name(host), "route", verb, "blackhole", &address]));
    }
}
