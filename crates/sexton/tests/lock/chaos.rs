//! Several clients compete for one lock while servers are killed, suspended and cut off, and clients suspended and killed.
//!
//! The holder of the lock appends its fencing token to one file, again and again. The order of the file is the order
//! of the writes: if the tokens never decrease, the lock never had two holders by the order of the store.
//!
//! `SEXTON_CHAOS=180` sets the duration in seconds; `SEXTON_CHAOS_SEED` repeats a run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use testkit::net::{Network, inside_namespaces};
use testkit::servers::etcd::Etcd;
use testkit::{private_directory, wait_until};

use super::Locks;
use crate::harness::{Running, Sexton};

/// The number of clients.
const CLIENTS: usize = 5;
/// The default duration.
const SECONDS: u64 = 15;

/// Repeatable pseudo-random numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        // splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((it ^ (it >> 31)) % limit as u64).unwrap_or(0)
    }
}

fn pass(time: Duration) {
    let begun = Instant::now();
    wait_until("time passes", || (begun.elapsed() >= time).then_some(()));
}

/// A client.
struct Client {
    running: Running,
    stopped_until: Option<Instant>,
}

fn client(server: &Locks, log: &Path) -> Client {
    let script = format!("while :; do echo $FENCE >> {}; sleep 0.01; done", log.display());
    let arguments = [
        "lock",
        "hold",
        "--lock-ttl",
        "2s",
        "--grace-period",
        "1s",
        "--url",
        &server.url(),
        "prize",
        "--",
        "sh",
        "-c",
        &script,
    ];
    Client { running: Sexton::new(arguments).start(), stopped_until: None }
}

/// The tokens in the file; they never decrease.
fn fences(log: &PathBuf, reported: &str) -> Vec<u64> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut distinct: Vec<u64> = Vec::new();
    for (line, number) in text.lines().enumerate() {
        let fence: u64 = number.parse().unwrap_or_else(|_| panic!("line {line}: {number}"));
        match distinct.last() {
            Some(last) if *last == fence => {}
            Some(last) => {
                assert!(fence > *last, "line {line}: {fence} after {last}: two held it at once\n{reported}");
                distinct.push(fence);
            }
            None => distinct.push(fence),
        }
    }
    distinct
}

/// Faults that are injected and repaired.
trait World {
    /// Injects or repairs a fault, and describes it.
    fn act(&mut self, dice: &mut Dice) -> String;
    fn mend(&mut self);
    fn servers(&self) -> &[Locks];
}

fn fight(mut world: impl World) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("SEXTON_CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let lasts = Duration::from_secs(number("SEXTON_CHAOS").unwrap_or(SECONDS));
    let mut dice = Dice(seed);
    let directory = private_directory();
    let log = directory.path().join("log");
    let mut reported = format!("SEXTON_CHAOS_SEED={seed}\n");
    let fresh = |world: &dyn World, dice: &mut Dice| {
        let servers = world.servers();
        client(&servers[dice.below(servers.len())], &log)
    };
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| fresh(&world, &mut dice)).collect();
    let begun = Instant::now();
    while begun.elapsed() < lasts {
        pass(Duration::from_millis(50 + 50 * dice.below(8) as u64));
        let which = dice.below(CLIENTS);
        let act = match dice.below(8) {
            0 => {
                clients[which].running.signal(libc::SIGKILL);
                format!("KILL client {which}")
            }
            1 => {
                clients[which].running.signal(libc::SIGTERM);
                format!("TERM client {which}")
            }
            2 => {
                let pause = Duration::from_millis(500 * (1 + dice.below(8) as u64));
                clients[which].running.signal(libc::SIGSTOP);
                clients[which].stopped_until = Some(Instant::now() + pause);
                format!("STOP client {which} for {pause:?}")
            }
            3..=5 => world.act(&mut dice),
            _ => String::new(),
        };
        if !act.is_empty() {
            let _ = writeln!(reported, "{:?} {act}", begun.elapsed());
        }
        for client in &mut clients {
            if client.stopped_until.is_some_and(|until| until <= Instant::now()) {
                client.running.signal(libc::SIGCONT);
                client.stopped_until = None;
            }
            if client.running.ended().is_some() {
                *client = fresh(&world, &mut dice);
            }
        }
        let _ = fences(&log, &reported);
    }
    world.mend();
    for client in &clients {
        client.running.signal(libc::SIGCONT);
    }
    // When everything is repaired, one client gets the lock, and then another.
    for _ in 0..2 {
        let before = fences(&log, &reported).last().copied();
        for client in &clients {
            client.running.signal(libc::SIGTERM);
        }
        wait_until(&format!("another holder\n{reported}"), || {
            for client in &mut clients {
                if client.running.ended().is_some() {
                    *client = fresh(&world, &mut dice);
                }
            }
            (fences(&log, &reported).last().copied() > before).then_some(())
        });
    }
    let all = fences(&log, &reported);
    eprintln!("{} holders, one after the other, in {:?}; seed {seed}", all.len(), begun.elapsed());
    // The last two are of the final check.
    assert!(all.len() >= 3, "hardly any holder: {all:?}\n{reported}");
}

/// One server with an embedded store.
struct Alone {
    servers: Vec<Locks>,
    stopped: bool,
    dead: bool,
}

impl World for Alone {
    fn act(&mut self, dice: &mut Dice) -> String {
        let server = &mut self.servers[0];
        let act = match (self.dead, self.stopped, dice.below(5)) {
            (true, ..) => {
                server.restart();
                self.dead = false;
                "the server is started again"
            }
            (false, true, _) => {
                server.signal(libc::SIGCONT);
                self.stopped = false;
                "the server goes on"
            }
            (false, false, 0) => {
                server.kill();
                self.dead = true;
                "the server is killed"
            }
            // It is up longer than it is down.
            (false, false, 2..) => "",
            (false, false, _) => {
                server.signal(libc::SIGSTOP);
                self.stopped = true;
                "the server is stopped"
            }
        };
        act.to_owned()
    }

    fn mend(&mut self) {
        if self.dead {
            self.servers[0].restart();
        }
        self.servers[0].signal(libc::SIGCONT);
    }

    fn servers(&self) -> &[Locks] {
        &self.servers
    }
}

#[test]
fn a_lock_of_the_embedded_store_never_has_two_holders() {
    let directory = private_directory();
    let servers = vec![Locks::embedded(&directory.path().join("store"))];
    fight(Alone { servers, stopped: false, dead: false });
}

/// Two servers and three nodes of etcd, each on its own host.
struct Many {
    network: Network,
    etcd: Etcd,
    servers: Vec<Locks>,
    /// The current faults: at most one of a node and one of a server, so that there is a majority.
    node: Option<(usize, Wrong)>,
    server: Option<(usize, Wrong)>,
}

#[derive(Debug, Clone, Copy)]
enum Wrong {
    Dead,
    Stopped,
    CutOff,
}

impl Many {
    fn mend_node(&mut self) -> String {
        let Some((node, wrong)) = self.node.take() else { return String::new() };
        match wrong {
            Wrong::Dead => self.etcd.revive(node),
            Wrong::Stopped => self.etcd.signal(node, libc::SIGCONT),
            Wrong::CutOff => self.network.heal(node),
        }
        format!("node {node} is no more {wrong:?}")
    }

    fn mend_server(&mut self) -> String {
        let Some((server, wrong)) = self.server.take() else { return String::new() };
        match wrong {
            Wrong::Dead => self.servers[server].restart(),
            Wrong::Stopped | Wrong::CutOff => self.servers[server].signal(libc::SIGCONT),
        }
        format!("server {server} is no more {wrong:?}")
    }
}

impl World for Many {
    fn act(&mut self, dice: &mut Dice) -> String {
        match dice.below(5) {
            0..=2 if self.node.is_some() => self.mend_node(),
            0..=2 => {
                let node = if dice.below(2) == 0 { self.etcd.leader() } else { dice.below(3) };
                let wrong = [Wrong::Dead, Wrong::Stopped, Wrong::CutOff][dice.below(3)];
                match wrong {
                    Wrong::Dead => self.etcd.kill(node),
                    Wrong::Stopped => self.etcd.signal(node, libc::SIGSTOP),
                    Wrong::CutOff => self.network.cut_off_from_others(node),
                }
                self.node = Some((node, wrong));
                format!("node {node} is {wrong:?}")
            }
            _ if self.server.is_some() => self.mend_server(),
            _ => {
                let server = dice.below(2);
                let wrong = [Wrong::Dead, Wrong::Stopped][dice.below(2)];
                match wrong {
                    Wrong::Dead => self.servers[server].kill(),
                    Wrong::Stopped | Wrong::CutOff => self.servers[server].signal(libc::SIGSTOP),
                }
                self.server = Some((server, wrong));
                format!("server {server} is {wrong:?}")
            }
        }
    }

    fn mend(&mut self) {
        let _ = (self.mend_node(), self.mend_server());
    }

    fn servers(&self) -> &[Locks] {
        &self.servers
    }
}

#[test]
fn a_lock_of_etcd_never_has_two_holders() {
    if !inside_namespaces("lock::chaos::a_lock_of_etcd_never_has_two_holders") {
        return;
    }
    let network = Network::new(3);
    let etcd = Etcd::start_in(&network.places());
    let arguments = vec!["--etcd".to_owned(), etcd.endpoints().join(",")];
    let servers = vec![Locks::start(arguments.clone()), Locks::start(arguments)];
    fight(Many { network, etcd, servers, node: None, server: None });
}
