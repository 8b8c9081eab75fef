//! Two masters on one etcd: the second leads when the first has exited, was killed or is suspended.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::servers::etcd::Etcd;
use testkit::{TempDir, wait_until};

use super::{Pod, callback, calls, keepalive, never_overlap, place};

const FAIL_OVER: Duration = Duration::from_secs(5);

fn master(etcd: &Etcd, run: &str, id: &str) -> Pod {
    let endpoints = etcd.endpoints().join(",");
    Pod::start(&[
        "--role",
        "master",
        "--id",
        id,
        "--callback",
        run,
        "--damper",
        "100ms",
        "--fail-over",
        "5s",
        "--member-ttl",
        "60s",
        "--etcd",
        &endpoints,
    ])
}

/// The leader.
#[track_caller]
fn leader<'a>(masters: &[&'a Pod]) -> &'a Pod {
    wait_until("a leader", || masters.iter().find(|it| it.json("/v1/leader")["leads"] == true).copied())
}

/// A change made through a master is followed by a complete callback run.
#[track_caller]
fn wait_for_change(directory: &TempDir, through: &Pod, id: &str) {
    assert_eq!(through.ping(&keepalive(id, &json!(1))).code, 200);
    let digest = through.json("/v1/digest")["digest"].as_str().unwrap_or_default().to_owned();
    wait_until(
        &format!("a callback for {id}; {} {}", calls(directory.path()), through.sexton.stderr()),
        || {
            let text = calls(directory.path());
            text.lines().any(|line| line.starts_with("end") && line.ends_with(&digest)).then_some(())
        },
    );
}

/// A callback that takes long enough to be interrupted.
const SLOW: &str = "sleep 0.5";

#[test]
fn a_leader_that_exits_is_replaced_at_once_and_a_killed_one_after_its_lease() {
    let etcd = Etcd::start(1);
    let directory = place();
    let run = callback(&directory, SLOW);
    let (one, two) = (master(&etcd, &run, "one"), master(&etcd, &run, "two"));
    wait_for_change(&directory, &one, "a");
    // Both have the same list.
    wait_until("the same digest", || (one.json("/v1/digest") == two.json("/v1/digest")).then_some(()));
    let first_leads = leader(&[&one, &two]).port == one.port;
    let (leads, waits) = if first_leads { (one, two) } else { (two, one) };
    let begun = Instant::now();
    assert_eq!(leads.sexton.stop().code, 0);
    leader(&[&waits]);
    // Without a release, it would take two thirds of the fail-over time at least.
    assert!(begun.elapsed() < FAIL_OVER * 3 / 5, "not released at once: {:?}", begun.elapsed());
    wait_for_change(&directory, &waits, "b");
    // A leader is killed during a callback.
    let third = master(&etcd, &run, "three");
    assert_eq!(waits.ping(&keepalive("c", &json!(1))).code, 200);
    wait_until("a callback has begun", || {
        let text = calls(directory.path());
        (text.matches("begin").count() > text.matches("end").count()).then_some(())
    });
    waits.sexton.signal(libc::SIGKILL);
    leader(&[&third]);
    wait_for_change(&directory, &third, "d");
    never_overlap(directory.path());
    // Only keys of the ensemble are written: the name of another may have the same beginning.
    let keys = etcd.run(&["get", "--prefix", "--keys-only", ""]);
    let keys: Vec<_> = keys.lines().filter(|key| !key.is_empty()).collect();
    assert!(keys.len() > 3 && keys.iter().all(|key| key.starts_with("/kontrol/default/demo/")), "{keys:?}");
}

#[test]
fn a_suspended_leader_overlaps_with_no_other_and_changes_nothing() {
    let etcd = Etcd::start(1);
    let directory = place();
    // Each also writes before it exits.
    let run = callback(&directory, "sleep 1; echo \"{\\\"by\\\": $FENCE}\"");
    let (one, two) = (master(&etcd, &run, "one"), master(&etcd, &run, "two"));
    wait_for_change(&directory, &one, "a");
    let (leads, waits) = if leader(&[&one, &two]).port == one.port { (&one, &two) } else { (&two, &one) };
    assert_eq!(waits.ping(&keepalive("b", &json!(1))).code, 200);
    wait_until("a callback has begun", || {
        (calls(directory.path()).matches("begin").count() >= 2).then_some(())
    });
    leads.sexton.signal(libc::SIGSTOP);
    leader(&[waits]);
    wait_for_change(&directory, waits, "c");
    leads.sexton.signal(libc::SIGCONT);
    wait_until("it knows that it does not lead", || {
        (leads.json("/v1/leader")["leads"] == false).then_some(())
    });
    wait_for_change(&directory, waits, "d");
    let fence = waits.json("/v1/leader")["fence"].clone();
    wait_until("its state", || (waits.json("/state")["by"] == fence).then_some(()));
    never_overlap(directory.path());
}

#[test]
fn a_restart_of_the_cluster_loses_no_change() {
    let mut etcd = Etcd::start(3);
    let directory = place();
    let run = callback(&directory, "echo 1");
    let (one, two) = (master(&etcd, &run, "one"), master(&etcd, &run, "two"));
    wait_for_change(&directory, &one, "a");
    etcd.restart_all();
    wait_until(&format!("taken; {}", two.sexton.stderr()), || {
        (two.ping(&keepalive("b", &json!(1))).code == 200).then_some(())
    });
    leader(&[&one, &two]);
    wait_for_change(&directory, &two, "c");
    wait_until("the same digest", || (one.json("/v1/digest") == two.json("/v1/digest")).then_some(()));
    let leads = etcd.leader();
    etcd.kill(leads);
    wait_until(&format!("taken; {}", one.sexton.stderr()), || {
        (one.ping(&keepalive("d", &json!(1))).code == 200).then_some(())
    });
    wait_for_change(&directory, &one, "e");
    never_overlap(directory.path());
}
