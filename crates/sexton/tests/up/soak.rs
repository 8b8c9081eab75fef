//! Random kills: restarts, order and counts stay consistent. `SOAK_SECONDS` sets the duration.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::up;
use crate::harness::send;

/// Chance with a seed, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

#[test]
fn random_kills_keep_restarts_order_and_counts_consistent() {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let mut text = "backoff: {initial: 0}\nprocesses:\n".to_owned();
    for n in 0..12 {
        let needs = if n % 3 == 0 { "[]".to_owned() } else { format!("[p{}]", n - 1) };
        text += &format!(
            "  p{n}: {{command: [sh, -c, 'echo start >> $DIR/p{n}; exec sleep 1000'], dependsOn: {needs}, livenessProbe: {{exec: {{command: ['true']}}, periodSeconds: 100ms, timeoutSeconds: 10, failureThreshold: 10}}}}\n"
        );
    }
    let mut up = up(&text);
    let mut dice = Dice(7);
    let mut kills = [0_u64; 12];
    let mut killed = BTreeSet::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        let n = usize::try_from(dice.below(12)).unwrap_or(0);
        let name = format!("p{n}");
        match dice.below(10) {
            0 => drop(up.ask(&["restart", &name])),
            1 => drop(up.ask(&["signal", "TERM", &name])),
            _ => {
                let process = up.process(&name);
                if let (Some(pid), Some("running")) = (process["pid"].as_i64(), process["phase"].as_str()) {
                    let pid = i32::try_from(pid).unwrap_or(0);
                    // It may have exited since.
                    let there = testkit::tree::descendants(up.sexton.pid()).contains_key(&pid);
                    if there && killed.insert(pid) {
                        send(pid, libc::SIGKILL);
                        kills[n] += 1;
                    }
                }
            }
        }
    }
    testkit::wait_until("each kill has led to a start, and all are ready again", || {
        let mut starts = |n: usize| up.process(&format!("p{n}"))["starts"].as_u64().unwrap_or(0);
        let all = kills.iter().enumerate().all(|(n, kills)| starts(n) > *kills);
        (all && up.sexton.get("/readiness").code == 200).then_some(())
    });
    let metrics = up.sexton.get("/metrics").body;
    for (n, kills) in kills.iter().enumerate() {
        let process = up.process(&format!("p{n}"));
        let starts = process["starts"].as_u64().unwrap_or(0);
        let reported = u64::try_from(up.text(&format!("p{n}")).lines().count()).unwrap_or(0);
        // One that was killed before its shell had come so far has said nothing.
        assert!(
            reported <= starts && reported + kills >= starts,
            "p{n}: {reported} of {starts} starts, {kills} kills"
        );
        assert!(
            metrics.contains(&format!("sexton_process_starts_total{{process=\"p{n}\"}} {starts}")),
            "{metrics}"
        );
    }
    testkit::wait_until("nothing is left unreaped", || {
        (testkit::tree::zombies(up.sexton.pid()) == 0).then_some(())
    });
    let sleeping =
        testkit::tree::descendants(up.sexton.pid()).values().filter(|name| *name == "sleep").count();
    assert_eq!(sleeping, 12, "one of each");
    let stderr = up.sexton.stderr();
    up.sexton.signal(libc::SIGTERM);
    assert_eq!(up.sexton.wait(), 0, "{stderr}");
}
