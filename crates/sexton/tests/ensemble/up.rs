//! `ensemble:` in a file for `up`: the payload, and processes that run on the leader.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::servers::etcd::Etcd;
use testkit::servers::free_ports;
use testkit::{TempDir, wait_until};

use super::{Pod, place, store};
use crate::up::{Up, up};

/// A file with a web server and a worker that writes when it begins and ends.
fn file(directory: &TempDir, id: &str, port: u16, more: &str) -> String {
    let log = directory.path().join("log").display().to_string();
    let worker = format!(
        "exec 9>>{log}.lock; flock -n 9 || echo \"overlap $FENCE\" >> {log}; echo \"begin $FENCE {id}\" >> {log}; trap 'echo \"end $FENCE {id}\" >> {log}; exit 0' TERM; while :; do sleep 0.1; done"
    );
    format!(
        "processes:\n  web:\n    command: [sleep, inf]\n  worker:\n    command: [bash, -c, {}]\n    env: {{}}\n    when: leader\nensemble:\n  role: both\n  app: shop\n  id: {id}\n  ip: 10.0.0.1\n  interface: 127.0.0.1\n  statsd: none\n  port: {port}\n{more}",
        serde_json::to_string(&worker.replace('$', "$$")).unwrap_or_default(),
    )
}

fn pid(pod: &mut Up, name: &str) -> i32 {
    pod.process(name)["pid"]
        .as_i64()
        .and_then(|pid| i32::try_from(pid).ok())
        .unwrap_or_else(|| panic!("{name}"))
}

/// Kills it, and its processes that neither a guard nor the death of the parent would end.
fn kill(pod: &mut Up) {
    let web = pid(pod, "web");
    pod.sexton.signal(libc::SIGKILL);
    crate::harness::send(web, libc::SIGKILL);
}

fn log(directory: &TempDir) -> String {
    std::fs::read_to_string(directory.path().join("log")).unwrap_or_default()
}

fn get(port: u16, path: &str) -> Value {
    let answer = testkit::http::with_body(([127, 0, 0, 1], port).into(), ("GET", path), &[], "");
    serde_json::from_str(&answer.map(|answer| answer.body).unwrap_or_default()).unwrap_or_default()
}

#[test]
fn the_payload_is_the_state_of_the_processes_and_the_worker_runs_on_the_leader() {
    let directory = place();
    let port = free_ports(1)[0];
    let more = format!("  payload: status\n  failOver: 6s\n  store: {}\n", store(&directory));
    let mut pod = up(&file(&directory, "pod-1", port, &more));
    pod.wait_until("worker", "running", |it| it["phase"] == "running");
    let fence = get(port, "/v1/leader")["fence"].to_string();
    wait_until("begun", || log(&directory).contains(&format!("begin {fence} pod-1")).then_some(()));
    let payload = || get(port, "/v1/pods")[0]["payload"].clone();
    wait_until(&format!("reported: {}", payload()), || {
        let reported = payload();
        let phases = |name: &str| reported["processes"][name]["phase"].clone();
        (phases("web") == "running" && phases("worker") == "running").then_some(())
    });
    // A change is reported at once, long before the next keepalive.
    pod.asked(&["stop", "web"]);
    wait_until("the exit is reported", || {
        (payload()["processes"]["web"]["phase"] != "running").then_some(())
    });
    assert!(payload()["processes"]["web"]["phase"].is_string());
    // The ensemble stops last, and releases the leadership when the worker has exited.
    pod.asked(&["end"]);
    wait_until("ended", || log(&directory).contains(&format!("end {fence} pod-1")).then_some(()));
}

#[test]
fn only_the_leader_among_pods_on_one_etcd_runs_the_worker() {
    let etcd = Etcd::start(1);
    let directory = place();
    let more = format!("  failOver: 9s\n  etcd: {}\n", etcd.endpoints().join(","));
    let ports = free_ports(2);
    let pods: Vec<Up> = ["pod-1", "pod-2"]
        .iter()
        .zip(&ports)
        .map(|(id, port)| up(&file(&directory, id, *port, &more)))
        .collect();
    let working = |ending: usize| {
        wait_until(&format!("a worker runs; {}", log(&directory)), || {
            let text = log(&directory);
            let begun: Vec<_> = text.lines().filter(|line| line.starts_with("begin")).collect();
            (begun.len() > ending).then(|| begun.last().map(|line| (*line).to_owned()))?
        })
    };
    let first = working(0);
    let one_works = first.ends_with("pod-1");
    let (mut works, mut waits): (Option<Up>, Option<Up>) = (None, None);
    for (pod, is_first) in pods.into_iter().zip([true, false]) {
        *if is_first == one_works { &mut works } else { &mut waits } = Some(pod);
    }
    let (Some(mut works), Some(mut waits)) = (works, waits) else { panic!("two pods") };
    let it = waits.process("worker");
    assert!(it["phase"] != "running", "{it}");
    // The whole pod dies, and everything in it except the guards' charges.
    crate::harness::send(pid(&mut works, "ensemble"), libc::SIGKILL);
    kill(&mut works);
    let second = working(1);
    let fence = |line: &str| line.split(' ').nth(1).and_then(|fence| fence.parse::<u64>().ok());
    assert!(fence(&second) > fence(&first), "{first}, {second}");
    waits.wait_until("worker", "running", |it| it["phase"] == "running");
    waits.asked(&["end"]);
    let text = log(&directory);
    assert!(!text.contains("overlap"), "{text}");
}

#[test]
fn a_worker_stops_while_the_ensemble_does_not_answer() {
    let directory = place();
    let port = free_ports(1)[0];
    let more = format!("  failOver: 6s\n  store: {}\n", store(&directory));
    let mut pod = up(&file(&directory, "pod-1", port, &more));
    pod.wait_until("worker", "running", |it| it["phase"] == "running");
    let first = pod.process("worker")["pid"].as_i64().unwrap_or(0);
    let ensemble = pid(&mut pod, "ensemble");
    crate::harness::send(ensemble, libc::SIGSTOP);
    wait_until("asked to end, and gone", || {
        (!testkit::tree::is_alive(i32::try_from(first).unwrap_or(0))).then_some(())
    });
    assert!(log(&directory).contains("end "), "it could end by itself: {}", log(&directory));
    crate::harness::send(ensemble, libc::SIGCONT);
    pod.wait_until("worker", "running again", |it| it["phase"] == "running" && it["pid"] != first);
    let fences: Vec<u64> = log(&directory)
        .lines()
        .filter_map(|line| line.strip_prefix("begin ")?.split(' ').next()?.parse().ok())
        .collect();
    assert!(fences.is_sorted(), "{fences:?}");
}

#[test]
fn a_pod_campaigns_again_after_it_has_lost_the_leadership() {
    let directory = place();
    let port = free_ports(1)[0];
    let more = format!("  failOver: 3s\n  damper: 100ms\n  store: {}\n", store(&directory));
    let mut pod = up(&file(&directory, "pod-1", port, &more));
    pod.wait_until("worker", "running", |it| it["phase"] == "running");
    // The damper time has passed: there is no callback to run.
    wait_until("listed", || (get(port, "/v1/digest")["pods"] == 1).then_some(()));
    let fence = get(port, "/v1/leader")["fence"].as_u64();
    let ensemble = pid(&mut pod, "ensemble");
    let begun = std::time::Instant::now();
    crate::harness::send(ensemble, libc::SIGSTOP);
    wait_until("longer than the lease", || (begun.elapsed() > Duration::from_secs(4)).then_some(()));
    crate::harness::send(ensemble, libc::SIGCONT);
    wait_until("it leads again", || (get(port, "/v1/leader")["fence"].as_u64() > fence).then_some(()));
    pod.wait_until("worker", "running again", |it| it["phase"] == "running");
    assert_eq!(get(port, "/v1/callbacks"), json!([]));
}

#[test]
fn an_ensemble_whose_up_was_killed_gives_up_the_leadership() {
    let directory = place();
    let port = free_ports(1)[0];
    let more = format!("  failOver: 9s\n  store: {}\n", store(&directory));
    let text = file(&directory, "pod-1", port, &more);
    let mut first = up(&text);
    wait_until("it works", || log(&directory).contains("begin").then_some(()));
    let ensemble = pid(&mut first, "ensemble");
    kill(&mut first);
    let before = log(&directory);
    let mut second = up(&text);
    second.wait_until("worker", "running", |it| it["phase"] == "running");
    let text = wait_until("it works again", || {
        let text = log(&directory);
        (text.matches("begin").count() > before.matches("begin").count()).then_some(text)
    });
    assert!(!testkit::tree::is_alive(ensemble));
    let last = |text: &str| text.lines().rfind(|line| line.starts_with("begin")).map(str::to_owned);
    assert_ne!(last(&before), last(&text), "another leadership: {text}");
    assert!(!text.contains("overlap"), "{text}");
}

#[test]
fn the_section_is_not_in_argv_and_a_change_of_it_restarts_the_pod() {
    let directory = place();
    let port = free_ports(1)[0];
    let with_damper = |damper: &str| {
        let more = format!("  failOver: 6s\n  damper: {damper}\n  store: {}\n", store(&directory));
        file(&directory, "pod-$(X)", port, &more)
    };
    let mut pod = up(&with_damper("100ms"));
    pod.wait_until("worker", "running", |it| it["phase"] == "running");
    let first = pid(&mut pod, "ensemble");
    let read = |name: &str| std::fs::read(format!("/proc/{first}/{name}")).unwrap_or_default();
    let argv = String::from_utf8_lossy(&read("cmdline")).into_owned();
    assert!(argv.contains("ensemble") && !argv.contains("shop") && !argv.contains("leader-"), "{argv}");
    wait_until("listed, with the name as written", || {
        (get(port, "/v1/pods")[0]["id"] == "pod-$(X)").then_some(())
    });
    let worker = pid(&mut pod, "worker");
    let variables = std::fs::read(format!("/proc/{worker}/environ")).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&variables).contains("SEXTON_ENSEMBLE_PLAN"));
    // A restart runs the same plan.
    crate::harness::send(first, libc::SIGKILL);
    pod.wait_until("ensemble", "restarted", |it| it["phase"] == "running" && it["pid"] != first);
    wait_until("listed again", || (get(port, "/v1/pods")[0]["id"] == "pod-$(X)").then_some(()));
    assert_eq!(pod.asked(&["reload"]), "3 unchanged\n");
    pod.rewrite(&with_damper("200ms"));
    assert_eq!(pod.asked(&["reload"]), "ensemble: restarted\n2 unchanged\n");
}

#[test]
fn the_example_runs_its_worker_on_the_leader() {
    let directory = place();
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/up/leader.yaml");
    let text = std::fs::read_to_string(example).unwrap_or_default();
    let text = text.replace("/tmp/sexton-shop.store", &store(&directory));
    let more = format!("  port: {}\n  interface: 127.0.0.1\n  statsd: none\n", free_ports(1)[0]);
    let mut pod = up(&format!("{text}{more}"));
    pod.wait_until("worker", "running", |it| it["phase"] == "running");
    wait_until("its arguments", || {
        pod.asked(&["logs", "worker"]).contains("working, fencing token").then_some(())
    });
}

#[test]
fn a_lease_on_the_leadership_has_a_maximum_and_needs_a_local_client() {
    let directory = place();
    let master = Pod::start(&[
        "--role",
        "master",
        "--leads",
        "word",
        "--fail-over",
        "6s",
        "--store",
        &store(&directory),
    ]);
    let ask = |ttl: &str| {
        let body = json!({"key": "word", "value": "test"}).to_string();
        master.ask("POST", "/lease", &[("x-lease-ttl", ttl), ("x-lease-wait", "20s")], &body)
    };
    let answer = ask("2s");
    assert_eq!(answer.code, 201, "{answer:?}");
    let id = serde_json::from_str::<Value>(&answer.body).unwrap_or_default()["id"].clone();
    let keep = |id: &Value| master.ask("POST", "/keepalive", &[], &json!({"id": id}).to_string()).code;
    assert_eq!((keep(&id), keep(&json!("none")), ask("3s").code), (200, 204, 400));
    let text = id.as_str().unwrap_or_default().to_owned();
    assert_eq!(master.ask("DELETE", &format!("/lease/{text}"), &[], "").code, 200);
    assert_eq!(keep(&id), 204);
    let other =
        master.ask("POST", "/lease", &[("x-lease-ttl", "1s")], r#"{"key": "another", "value": "test"}"#);
    assert_eq!(other.code, 409, "{other:?}");
    // A lease that is not released delays the exit until it expires.
    assert_eq!(ask("1s").code, 201);
    let begun = std::time::Instant::now();
    let done = master.sexton.stop();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(begun.elapsed() > Duration::from_millis(500), "{:?}", begun.elapsed());
}
