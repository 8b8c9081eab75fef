//! One node or several of etcd, on loopback or in network namespaces.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::certificates::{Authority, Certificate};
use super::{Process, free_ports, run, wait_for};
use crate::wait_until;

/// A cluster.
#[derive(Debug)]
pub struct Etcd {
    directory: TempDir,
    nodes: Vec<Node>,
    security: Option<Security>,
    extra: Vec<String>,
}

#[derive(Debug)]
struct Node {
    host: String,
    client: u16,
    peer: u16,
    /// The network namespace that it is in.
    namespace: Option<String>,
    process: Option<Process>,
}

/// What clients and nodes show each other.
#[derive(Debug, Clone)]
pub struct Security {
    /// Who has signed all of it.
    pub ca: PathBuf,
    /// That of the nodes.
    pub server: Certificate,
    /// That of clients.
    pub client: Certificate,
}

impl Etcd {
    /// Starts so many nodes.
    #[must_use]
    pub fn start(nodes: usize) -> Self {
        Self::start_with(nodes, false, &[])
    }

    /// Starts so many nodes that want certificates of everybody.
    #[must_use]
    pub fn start_with_tls(nodes: usize) -> Self {
        Self::start_with(nodes, true, &[])
    }

    /// Starts so many nodes with these options.
    #[must_use]
    pub fn start_with(nodes: usize, tls: bool, extra: &[&str]) -> Self {
        let ports = free_ports(2 * nodes);
        let nodes = ports.chunks(2).map(|ports| Node {
            host: "127.0.0.1".to_owned(),
            client: ports[0],
            peer: ports[1],
            namespace: None,
            process: None,
        });
        Self::begin(nodes.collect(), tls, extra)
    }

    /// Starts a node in each of these network namespaces, with this address there.
    #[must_use]
    pub fn start_in(places: &[(String, String)]) -> Self {
        let nodes = places.iter().map(|(namespace, host)| Node {
            host: host.clone(),
            client: 2379,
            peer: 2380,
            namespace: Some(namespace.clone()),
            process: None,
        });
        Self::begin(nodes.collect(), false, &[])
    }

    fn begin(nodes: Vec<Node>, tls: bool, extra: &[&str]) -> Self {
        let directory = crate::private_directory();
        let security = tls.then(|| {
            let ca = Authority::new(directory.path(), "ca");
            let names = "IP:127.0.0.1,DNS:localhost";
            let (server, client) = (ca.sign("server", names), ca.sign("client", names));
            Security { ca: ca.certificate(), server, client }
        });
        let extra = extra.iter().map(|word| (*word).to_owned()).collect();
        let mut it = Self { directory, nodes, security, extra };
        for number in 0..it.nodes.len() {
            it.launch(number);
        }
        for number in 0..it.nodes.len() {
            it.wait(number);
        }
        it
    }

    fn scheme(&self) -> &'static str {
        if self.security.is_some() { "https" } else { "http" }
    }

    /// Where clients find a node.
    #[must_use]
    pub fn endpoint(&self, number: usize) -> String {
        let node = &self.nodes[number];
        format!("{}://{}:{}", self.scheme(), node.host, node.client)
    }

    /// Where clients find them all.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.nodes.len()).map(|number| self.endpoint(number)).collect()
    }

    /// The certificates, where there are any.
    #[must_use]
    pub fn security(&self) -> Option<&Security> {
        self.security.as_ref()
    }

    fn log(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("log{number}"))
    }

    fn launch(&mut self, number: usize) {
        let scheme = self.scheme();
        let cluster: Vec<_> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(number, node)| format!("n{number}={scheme}://{}:{}", node.host, node.peer))
            .collect();
        let node = &self.nodes[number];
        let (client, peer) = (
            format!("{scheme}://{}:{}", node.host, node.client),
            format!("{scheme}://{}:{}", node.host, node.peer),
        );
        let mut command = match &node.namespace {
            None => Command::new("etcd"),
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{namespace}")).arg("etcd");
                command
            }
        };
        command
            .args(["--name", &format!("n{number}"), "--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client, "--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &cluster.join(",")])
            .args(["--heartbeat-interval", "50", "--election-timeout", "500", "--unsafe-no-fsync"])
            .args(["--logger", "zap", "--log-outputs", "stderr", "--data-dir"])
            .arg(self.directory.path().join(format!("data{number}")))
            .args(&self.extra);
        if let Some(security) = &self.security {
            let path = |path: &Path| path.to_string_lossy().into_owned();
            let (ca, certificate, key) =
                (path(&security.ca), path(&security.server.certificate), path(&security.server.key));
            command
                .args(["--cert-file", &certificate, "--key-file", &key, "--client-cert-auth"])
                .args(["--trusted-ca-file", &ca, "--peer-cert-file", &certificate, "--peer-key-file", &key])
                .args(["--peer-client-cert-auth", "--peer-trusted-ca-file", &ca]);
        }
        let log = self.log(number);
        self.nodes[number].process = Some(Process::start(&mut command, &log));
    }

    /// Waits until a node serves, which it does when it knows a leader.
    fn wait(&mut self, number: usize) {
        let (log, mut ask) = (self.log(number), self.ctl(Some(number)));
        ask.args(["endpoint", "health", "--command-timeout=500ms"]);
        if let Some(process) = &mut self.nodes[number].process {
            wait_for("etcd", process, &log, || succeeds(&mut ask));
        }
    }

    /// A command of etcdctl for one node or all.
    #[must_use]
    pub fn ctl(&self, number: Option<usize>) -> Command {
        let endpoints = number.map_or_else(|| self.endpoints(), |number| vec![self.endpoint(number)]);
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").arg("--endpoints").arg(endpoints.join(","));
        if let Some(security) = &self.security {
            command.arg("--cacert").arg(&security.ca);
            command.arg("--cert").arg(&security.client.certificate).arg("--key").arg(&security.client.key);
        }
        command
    }

    /// Runs a command of etcdctl and returns what it prints.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> String {
        run(self.ctl(None).args(arguments))
    }

    /// The number of the node that leads, as one that answers says it.
    #[must_use]
    pub fn leader(&self) -> usize {
        wait_until("a leader", || {
            (0..self.nodes.len()).find(|number| {
                let mut command = self.ctl(Some(*number));
                command.args(["endpoint", "status", "-w", "simple", "--command-timeout=500ms"]);
                let Some(line) = printed(&mut command) else { return false };
                // endpoint, id, version, size, is leader, …
                line.split(", ").nth(4) == Some("true")
            })
        })
    }

    /// Kills a node.
    pub fn kill(&mut self, number: usize) {
        self.nodes[number].process = None;
    }

    /// Starts a node again that was killed.
    pub fn revive(&mut self, number: usize) {
        self.launch(number);
    }

    /// Starts a node again that was killed, and waits until it serves.
    pub fn restart(&mut self, number: usize) {
        self.launch(number);
        self.wait(number);
    }

    /// Sends a signal to a node, such as STOP or CONT.
    pub fn signal(&self, number: usize, signal: i32) {
        if let Some(process) = &self.nodes[number].process {
            process.signal(signal);
        }
    }

    /// Kills all nodes and starts them again, with what they have on disk.
    pub fn restart_all(&mut self) {
        for number in 0..self.nodes.len() {
            self.kill(number);
        }
        for number in 0..self.nodes.len() {
            self.launch(number);
        }
        for number in 0..self.nodes.len() {
            self.wait(number);
        }
    }
}

fn succeeds(command: &mut Command) -> bool {
    printed(command).is_some()
}

#[expect(clippy::disallowed_methods, reason = "tests start programs as anybody does")]
fn printed(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
