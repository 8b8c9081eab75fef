//! Three masters and fifty members, each on its own host, and network partitions.

use std::path::Path;

use serde_json::Value;
use testkit::net::{Network, inside_namespaces};
use testkit::servers::etcd::Etcd;
use testkit::{TempDir, wait_until};

use super::{callback, calls, never_overlap, place};
use crate::harness::{Running, SEXTON, Sexton};

const MASTERS: usize = 3;
const MEMBERS: usize = 50;

struct Host {
    sexton: Option<Running>,
    address: String,
}

impl Host {
    fn start(place: &(String, String), arguments: &[&str]) -> Self {
        let (namespace, address) = place;
        let front = ["netns", "exec", namespace, SEXTON, "ensemble", "--app", "demo", "--statsd", "none"];
        let identity = ["--id", namespace, "--ip", address, "--member-ttl", "10s"];
        let sexton =
            Sexton::program(Path::new("/sbin/ip"), front.iter().chain(&identity).chain(arguments)).start();
        Self { sexton: Some(sexton), address: address.clone() }
    }

    fn get(&self, path: &str) -> Value {
        let Ok(address) = format!("{}:8000", self.address).parse() else { return Value::Null };
        let answer = testkit::http::with_body(address, ("GET", path), &[], "");
        serde_json::from_str(&answer.map(|answer| answer.body).unwrap_or_default()).unwrap_or_default()
    }

    /// The number of members on its list, and the digest.
    fn list(&self) -> (usize, Value) {
        let digest = self.get("/v1/digest");
        (
            digest["pods"].as_u64().and_then(|pods| usize::try_from(pods).ok()).unwrap_or(0),
            digest["digest"].clone(),
        )
    }

    fn leads(&self) -> bool {
        self.get("/v1/leader")["leads"] == true
    }

    fn stderr(&self) -> String {
        self.sexton.as_ref().map(Running::stderr).unwrap_or_default()
    }
}

/// Waits until these masters list so many members with one digest, and the last complete callback run saw them.
#[track_caller]
fn agree(masters: &[&Host], members: usize, directory: &TempDir) {
    let lists = || masters.iter().map(|master| master.list()).collect::<Vec<_>>();
    let logs: String = masters.iter().map(|master| master.stderr()).collect();
    wait_until(&format!("{members} on every list, not {:?}: {logs}", lists()), || {
        let lists = lists();
        let digest = lists[0].1.as_str()?.to_owned();
        let all = lists.iter().all(|list| *list == (members, Value::from(digest.as_str())));
        let calls = calls(directory.path());
        let last = calls.lines().last()?;
        (all && last.starts_with("end") && last.ends_with(&digest)).then_some(())
    });
}

#[track_caller]
fn leader(masters: &[&Host]) -> usize {
    wait_until("a leader", || masters.iter().position(|master| master.leads()))
}

#[test]
fn three_masters_and_fifty_members_agree_after_partitions() {
    if !inside_namespaces("ensemble::network::three_masters_and_fifty_members_agree_after_partitions") {
        return;
    }
    let network = Network::new(MASTERS + MEMBERS);
    let places = network.places();
    let etcd = Etcd::start_in(&places[..MASTERS]);
    let directory = place();
    let run = callback(&directory, "sleep 0.2");
    let endpoints = etcd.endpoints().join(",");
    let options = [
        "--role",
        "master",
        "--callback",
        &run,
        "--damper",
        "300ms",
        "--fail-over",
        "5s",
        "--etcd",
        &endpoints,
    ];
    let mut masters: Vec<_> = places[..MASTERS].iter().map(|place| Host::start(place, &options)).collect();
    let addresses: Vec<_> = places[..MASTERS].iter().map(|(_, address)| address.as_str()).collect();
    let addresses = addresses.join(",");
    let reports = ["--role", "member", "--masters", &addresses];
    let mut members: Vec<_> = places[MASTERS..].iter().map(|place| Host::start(place, &reports)).collect();
    agree(&masters.iter().collect::<Vec<_>>(), MEMBERS, &directory);
    let first = masters[0].get("/v1/pods");
    // The leader and its node of etcd are cut off from the others and from the members.
    let leads = leader(&masters.iter().collect::<Vec<_>>());
    network.unplug(leads);
    let others = |masters: &[Host]| -> Vec<usize> { (0..masters.len()).filter(|it| *it != leads).collect() };
    let rest: Vec<_> = others(&masters).into_iter().map(|it| &masters[it]).collect();
    leader(&rest);
    agree(&rest, MEMBERS, &directory);
    // Ten members are cut off meanwhile, and one dies.
    for host in MASTERS..MASTERS + 10 {
        network.unplug(host);
    }
    agree(&rest, MEMBERS - 10, &directory);
    network.plug(leads);
    agree(&masters.iter().collect::<Vec<_>>(), MEMBERS - 10, &directory);
    for host in MASTERS..MASTERS + 10 {
        network.plug(host);
    }
    agree(&masters.iter().collect::<Vec<_>>(), MEMBERS, &directory);
    // A member that stayed keeps its number; one that has returned has a new one.
    let seq = |pods: &Value, id: &str| {
        pods.as_array().and_then(|all| all.iter().find(|it| it["id"] == id)?["seq"].as_u64())
    };
    let second = masters[0].get("/v1/pods");
    let newest = first.as_array().and_then(|all| all.last()?["seq"].as_u64());
    for (number, (id, _)) in places[MASTERS..].iter().enumerate() {
        if number < 10 {
            assert!(seq(&second, id) > newest, "{id}");
        } else {
            assert_eq!(seq(&second, id), seq(&first, id), "{id}");
        }
    }
    // The leader dies during a change.
    let leads = leader(&masters.iter().collect::<Vec<_>>());
    if let Some(sexton) = members.pop().and_then(|mut member| member.sexton.take()) {
        sexton.signal(libc::SIGKILL);
    }
    if let Some(master) = &masters[leads].sexton {
        master.signal(libc::SIGKILL);
    }
    masters.remove(leads);
    agree(&masters.iter().collect::<Vec<_>>(), MEMBERS - 1, &directory);
    never_overlap(directory.path());
}
