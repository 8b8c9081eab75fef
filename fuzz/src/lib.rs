//! What several fuzz targets share.

use std::collections::BTreeMap;

use engine::pod::Seed;
use engine::{Effect, Event, Pod, Signal, Time};
use config::compile::{CliOverrides, from_text};

/// Compiles a configuration; if it is valid, the engine starts its plan and shuts it down.
pub fn compile(text: &str) {
    let environment = BTreeMap::from([("HOME", "/root")]);
    let Ok(plan) = from_text(text, None, &CliOverrides::default(), &environment) else { return };
    let mut pod = Pod::new(Seed { plan: plan.plan, seed: 1 });
    let mut effects = Vec::new();
    pod.step(Time::ZERO, Event::Started, &mut effects);
    pod.step(Time::ZERO, Event::Signalled(Signal::TERM), &mut effects);
    assert!(pod.check_indexes().is_ok());
    let started = effects.iter().any(|effect| matches!(effect, Effect::Spawn { .. }));
    let ended = effects.iter().any(|effect| matches!(effect, Effect::End { .. }));
    assert!(started || ended, "nothing is started, and it does not end");
}
